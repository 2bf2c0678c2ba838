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

// recording holds the series that a Prometheus server would have of a run. It is a storage for the PromQL engine. Prometheus' own
// storage includes a database, which takes minutes to compile.
type recording struct {
	series map[string]*promql.Series // by their labels
	times  []int64                   // of the snapshots, in ms since 1970
}

func newRecording() *recording { return &recording{series: map[string]*promql.Series{}} }

// target has the labels that Prometheus would give the collector.
var target = []string{"job", "otelcol", "instance", "demo"}

// record adds the metrics of a snapshot, and an up of 1.
func (r *recording) record(snapshot outage.Snapshot) {
	for _, s := range snapshot.Page {
		r.add(labels.NewBuilder(s.Metric).Set(target[0], target[1]).Set(target[2], target[3]).Labels(), snapshot.At.UnixMilli(), s.Value)
	}
	r.up(snapshot.At, 1)
}

// up adds a sample of Prometheus' metric up.
func (r *recording) up(at time.Time, v float64) {
	r.add(labels.FromStrings(append(target, model.MetricNameLabel, "up")...), at.UnixMilli(), v)
}

// add appends a sample to its series. Times, in ms since 1970, must not decrease.
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

// span returns the times of the first and the last snapshot.
func (r *recording) span() (from, to time.Time) {
	return time.UnixMilli(r.times[0]), time.UnixMilli(r.times[len(r.times)-1])
}

// interval returns the median time between two snapshots.
func (r *recording) interval() time.Duration {
	var between []int64
	for i, t := range r.times[1:] {
		between = append(between, t-r.times[i])
	}
	slices.Sort(between)
	return time.Duration(between[len(between)/2]) * time.Millisecond
}

// stretched returns the recording as if each second had taken factor seconds. A series that ended before the last snapshot gets
// Prometheus' staleness marker.
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

// end appends a staleness marker to all series, as Prometheus does when a target is gone.
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

// seriesSet iterates over series.
type seriesSet struct {
	storage.SeriesSet // an empty one, for the other methods
	at                *promql.Series
	all               []*promql.Series // after at
}

func (s *seriesSet) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.at, s.all = s.all[0], s.all[1:]
	return true
}

func (s *seriesSet) At() storage.Series { return promql.NewStorageSeries(*s.at) }

// newEngine returns a PromQL engine with Prometheus' settings.
func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
	})
}

// interpolate replaces Grafana's built-in variables, as in a chart of the whole recording.
func (r *recording) interpolate(expr string) string {
	from, to := r.span()
	return strings.NewReplacer("$__rate_interval", (4 * r.interval()).String(), "$__range", fmt.Sprintf("%dms", to.Sub(from).Milliseconds())).Replace(expr)
}

// rangeQuery runs a query as a Grafana chart would.
func (r *recording) rangeQuery(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
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
	// The query reuses the points after Close.
	copied := make(promql.Matrix, len(matrix))
	for i, s := range matrix {
		copied[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)}
	}
	return copied, nil
}
