// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// Recording is what a Prometheus would know of a run: series of samples, each with its time. It is a storage for the PromQL
// engine. Prometheus' own has a database under it, which takes minutes to compile.
//
// Its file is compressed text: the samples of one look after the other, in the exposition format of Prometheus, each line
// with the time of the look in milliseconds since 1970.
type Recording struct {
	series []*promql.Series
	byName map[string][]*promql.Series // in the order of their first samples
	byKey  map[string]*promql.Series
	times  []int64 // of the looks, in ms since 1970
}

// NewRecording makes an empty one.
func NewRecording() *Recording {
	return &Recording{byName: map[string][]*promql.Series{}, byKey: map[string]*promql.Series{}}
}

// Add puts a sample at the end of its series. Times in ms since 1970 never go back.
func (r *Recording) Add(metric labels.Labels, at int64, v float64) {
	key := metric.String()
	s := r.byKey[key]
	if s == nil {
		s = &promql.Series{Metric: metric}
		r.byKey[key] = s
		r.series = append(r.series, s)
		name := metric.Get(model.MetricNameLabel)
		r.byName[name] = append(r.byName[name], s)
	}
	s.Floats = append(s.Floats, promql.FPoint{T: at, F: v})
	if n := len(r.times); n == 0 || r.times[n-1] != at {
		r.times = append(r.times, at)
	}
}

// AddPage adds the samples of a page of metrics. Those without a time of their own are of the time at.
func (r *Recording) AddPage(page []byte, at time.Time) error {
	p := textparse.NewPromParser(page, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case entry != textparse.EntrySeries:
			continue
		}
		_, ts, v := p.Series()
		when := at.UnixMilli()
		if ts != nil {
			when = *ts
		}
		var metric labels.Labels
		p.Labels(&metric)
		r.Add(metric, when, v)
	}
}

// Span is from the first look to the last.
func (r *Recording) Span() (from, to time.Time) {
	if len(r.times) == 0 {
		return time.Time{}, time.Time{}
	}
	return time.UnixMilli(r.times[0]), time.UnixMilli(r.times[len(r.times)-1])
}

// Interval is the median time between two looks.
func (r *Recording) Interval() time.Duration {
	if len(r.times) < 2 {
		return 0
	}
	var between []int64
	for i, t := range r.times[1:] {
		between = append(between, t-r.times[i])
	}
	slices.Sort(between)
	return time.Duration(between[len(between)/2]) * time.Millisecond
}

// Stretched is the recording as if each second of it had taken factor seconds. A series that ended before the last look is
// marked as Prometheus marks it.
func (r *Recording) Stretched(factor int64) *Recording {
	s := NewRecording()
	if len(r.times) == 0 {
		return s
	}
	first := r.times[0]
	at := func(t int64) int64 { return first + (t-first)*factor }
	for _, series := range r.series {
		for _, p := range series.Floats {
			s.Add(series.Metric, at(p.T), p.F)
		}
		last := series.Floats[len(series.Floats)-1].T
		if next, _ := slices.BinarySearch(r.times, last+1); next < len(r.times) {
			s.Add(series.Metric, at(r.times[next]), math.Float64frombits(value.StaleNaN))
		}
	}
	s.times = nil
	for _, t := range r.times {
		s.times = append(s.times, at(t))
	}
	return s
}

// End marks all series as ended, as Prometheus does when a target is gone.
func (r *Recording) End(at time.Time) {
	for _, s := range r.series {
		r.Add(s.Metric, at.UnixMilli(), math.Float64frombits(value.StaleNaN))
	}
}

// WriteFile writes the recording.
func (r *Recording) WriteFile(name string) error {
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	w := bufio.NewWriter(zip)
	next := make([]int, len(r.series))
	for _, t := range r.times {
		for i, s := range r.series {
			for ; next[i] < len(s.Floats) && s.Floats[next[i]].T == t; next[i]++ {
				writeSample(w, s.Metric, s.Floats[next[i]])
			}
		}
	}
	if err := errors.Join(w.Flush(), zip.Close()); err != nil {
		return err
	}
	return os.WriteFile(name, buf.Bytes(), 0o644)
}

func writeSample(w *bufio.Writer, metric labels.Labels, p promql.FPoint) {
	fmt.Fprint(w, metric.Get(model.MetricNameLabel))
	separator := "{"
	metric.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			fmt.Fprintf(w, "%s%s=%q", separator, l.Name, l.Value)
			separator = ","
		}
	})
	if separator == "," {
		fmt.Fprint(w, "}")
	}
	fmt.Fprintf(w, " %s %d\n", strconv.FormatFloat(p.F, 'g', -1, 64), p.T)
}

// ReadFile reads a recording.
func ReadFile(name string) (*Recording, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	text, err := io.ReadAll(zip)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := NewRecording()
	if err := r.AddPage(text, time.Time{}); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Querier makes the recording a storage.Queryable.
func (r *Recording) Querier(int64, int64) (storage.Querier, error) {
	return querier{storage.NoopQuerier(), r}, nil
}

type querier struct {
	storage.Querier
	recording *Recording
}

func (q querier) Select(
	_ context.Context, sorted bool, _ *storage.SelectHints, matchers ...*labels.Matcher,
) storage.SeriesSet {
	candidates := q.recording.series
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			candidates = q.recording.byName[m.Value]
		}
	}
	selected := &seriesSet{}
	for _, s := range candidates {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.Metric.Get(m.Name)) }) {
			selected.all = append(selected.all, s)
		}
	}
	if sorted {
		slices.SortFunc(selected.all, func(a, b *promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	}
	return selected
}

// seriesSet is at the series before the first of all.
type seriesSet struct {
	at  *promql.Series
	all []*promql.Series
}

func (s *seriesSet) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.at, s.all = s.all[0], s.all[1:]
	return true
}

func (s *seriesSet) At() storage.Series              { return promql.NewStorageSeries(*s.at) }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// NewEngine makes a PromQL engine with the settings of a Prometheus.
func NewEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
	})
}
