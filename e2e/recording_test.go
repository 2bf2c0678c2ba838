// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// recording is what a Prometheus would know of a run: series of samples, each with its time. It is a storage for the PromQL
// engine. Prometheus' own has a database under it, which takes minutes to compile.
type recording struct {
	series map[string]*promql.Series // by their labels
	times  []int64                   // of the looks, in ms since 1970
}

func newRecording() *recording { return &recording{series: map[string]*promql.Series{}} }

// The labels that a Prometheus would give the collector.
var target = []string{"job", "otelcol", "instance", "demo"}

// look adds the metrics of a look, and that they could be read.
func (r *recording) look(l outage.Look) {
	for _, s := range l.Page {
		r.add(labels.NewBuilder(s.Metric).Set(target[0], target[1]).Set(target[2], target[3]).Labels(), l.At.UnixMilli(), s.Value)
	}
	r.up(l.At, 1)
}

// up adds whether the metrics could be read, under Prometheus' name for it.
func (r *recording) up(at time.Time, v float64) {
	r.add(labels.FromStrings(append(target, model.MetricNameLabel, "up")...), at.UnixMilli(), v)
}

// add puts a sample at the end of its series. Times in ms since 1970 never go back.
func (r *recording) add(metric labels.Labels, at int64, v float64) {
	s, ok := r.series[metric.String()]
	if !ok {
		s = &promql.Series{Metric: metric}
		r.series[metric.String()] = s
	}
	s.Floats = append(s.Floats, promql.FPoint{T: at, F: v})
	if n := len(r.times); n == 0 || r.times[n-1] != at {
		r.times = append(r.times, at)
	}
}

// span is from the first look to the last.
func (r *recording) span() (from, to time.Time) {
	return time.UnixMilli(r.times[0]), time.UnixMilli(r.times[len(r.times)-1])
}

// interval is the median time between two looks.
func (r *recording) interval() time.Duration {
	var between []int64
	for i, t := range r.times[1:] {
		between = append(between, t-r.times[i])
	}
	slices.Sort(between)
	return time.Duration(between[len(between)/2]) * time.Millisecond
}

// stretched is the recording as if each second of it had taken factor seconds. A series that ended before the last look is
// marked as Prometheus marks it.
func (r *recording) stretched(factor int64) *recording {
	s, first := newRecording(), r.times[0]
	at := func(t int64) int64 { return first + (t-first)*factor }
	for _, series := range r.series {
		for _, p := range series.Floats {
			s.add(series.Metric, at(p.T), p.F)
		}
		last := series.Floats[len(series.Floats)-1].T
		if next, _ := slices.BinarySearch(r.times, last+1); next < len(r.times) {
			s.add(series.Metric, at(r.times[next]), math.Float64frombits(value.StaleNaN))
		}
	}
	s.times = nil
	for _, t := range r.times {
		s.times = append(s.times, at(t))
	}
	return s
}

// end marks all series as ended, as Prometheus does when a target is gone.
func (r *recording) end(at time.Time) {
	for _, s := range r.series {
		r.add(s.Metric, at.UnixMilli(), math.Float64frombits(value.StaleNaN))
	}
}

// Querier makes the recording a storage.Queryable.
func (r *recording) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		selected := &seriesSet{SeriesSet: storage.EmptySeriesSet()}
		for _, s := range r.series {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
				selected.all = append(selected.all, s)
			}
		}
		return selected
	}}, nil
}

// seriesSet is at the series before the first of all.
type seriesSet struct {
	storage.SeriesSet // of none: it has no errors
	at                *promql.Series
	all               []*promql.Series
}

func (s *seriesSet) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.at, s.all = s.all[0], s.all[1:]
	return true
}

func (s *seriesSet) At() storage.Series { return promql.NewStorageSeries(*s.at) }

// newEngine makes a PromQL engine with the settings of a Prometheus.
func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
	})
}

// interpolate replaces Grafana's own variables, as for a chart of the whole recording.
func (r *recording) interpolate(expr string) string {
	from, to := r.span()
	return strings.NewReplacer("$__rate_interval", (4 * r.interval()).String(), "$__range", fmt.Sprintf("%dms", to.Sub(from).Milliseconds())).Replace(expr)
}

// ask asks a query as a chart of Grafana would.
func (r *recording) ask(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	engine := newEngine()
	defer engine.Close()
	query, err := engine.NewRangeQuery(ctx, r, nil, r.interpolate(expr), from, to, step)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	matrix, err := result.Matrix()
	if err != nil {
		return nil, err
	}
	// The points are the query's, which uses them again after Close.
	copied := make(promql.Matrix, len(matrix))
	for i, s := range matrix {
		copied[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)}
	}
	return copied, nil
}
