// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample is a point that Log Cache answers a query with.
type sample struct {
	name   string
	labels map[string]string
	value  float64
	time   time.Time
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]`)

// samples are the points of an envelope: Log Cache cleans names, takes tags as they are, and knows counters by their total.
func samples(e *loggregator_v2.Envelope) []sample {
	s := sample{labels: maps.Clone(e.GetTags()), time: time.Unix(0, e.GetTimestamp())}
	if s.labels == nil {
		s.labels = map[string]string{}
	}
	s.labels["source_id"] = e.GetSourceId()
	var all []sample
	add := func(name string, value float64) {
		s.name, s.value = notInNames.ReplaceAllString(name, "_"), value
		all = append(all, s)
	}
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Counter:
		add(m.Counter.GetName(), float64(m.Counter.GetTotal()))
	case *loggregator_v2.Envelope_Gauge:
		for name, v := range m.Gauge.GetMetrics() {
			add(name, v.GetValue())
		}
	case *loggregator_v2.Envelope_Timer:
		add(m.Timer.GetName(), float64(m.Timer.GetStop()-m.Timer.GetStart()))
	}
	return all
}

// selector is a query for just that sample.
func (s sample) selector() string {
	var matchers []string
	for _, name := range slices.Sorted(maps.Keys(s.labels)) {
		matchers = append(matchers, fmt.Sprintf("%s=%s", name, strconv.Quote(s.labels[name])))
	}
	return s.name + "{" + strings.Join(matchers, ",") + "}"
}

func TestPromQLSelectors(t *testing.T) {
	asked, cannot := 0, 0
	for _, g := range readGoldens(t, "metrics") {
		t.Run(g.name, func(t *testing.T) {
			for _, e := range g.envelopes {
				for _, s := range samples(e) {
					_, err := parser.NewParser(parser.Options{}).ParseExpr(s.selector())
					if !g.prometheusNames() {
						if err != nil {
							cannot++
						}
						continue
					}
					asked++
					require.NoError(t, err, s.selector())
				}
			}
		})
	}
	assert.Positive(t, asked, "metrics that can be asked for")
	assert.Positive(t, cannot, "metrics that can't be asked for with metrics.naming: otel")
}

// bucket has the observations from lower to upper in an input.
type bucket struct {
	lower, upper float64
	count        uint64
}

// memory is a storage with one point a series. Prometheus' own has a database under it, which takes minutes to compile.
type memory []promql.Series

func (m memory) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		selected := &seriesSet{SeriesSet: storage.EmptySeriesSet()}
		for _, series := range m {
			if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(series.Metric.Get(m.Name)) }) {
				selected.all = append(selected.all, series)
			}
		}
		return selected
	}}, nil
}

// seriesSet is at the series before the first of all.
type seriesSet struct {
	storage.SeriesSet // of none: it has no errors
	at                promql.Series
	all               memory
}

func (s *seriesSet) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.at, s.all = s.all[0], s.all[1:]
	return true
}

func (s *seriesSet) At() storage.Series { return promql.NewStorageSeries(s.at) }

// quantiles that are asked for. Of 0 Prometheus knows nothing when the lowest bucket is empty.
var quantiles = []float64{0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1}

func TestHistogramQuantile(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute})
	t.Cleanup(func() { assert.NoError(t, engine.Close()) })
	kinds := map[string]int{}
	for _, g := range readGoldens(t, "metrics") {
		kind, buckets := inputBuckets(t, g)
		if len(g.envelopes) == 0 || kind == "" {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			var all memory
			var name string
			var bounds []float64
			var totals []uint64
			var count uint64
			var sums []float64
			var at time.Time
			for _, e := range g.envelopes {
				for _, s := range samples(e) {
					all = append(all, promql.Series{
						Metric: labels.NewBuilder(labels.FromMap(s.labels)).Set("__name__", s.name).Labels(),
						Floats: []promql.FPoint{{T: s.time.UnixMilli(), F: s.value}},
					})
					at = s.time
					if strings.HasSuffix(s.name, "_sum") {
						sums = append(sums, s.value)
					}
				}
				if base, ok := strings.CutSuffix(e.GetCounter().GetName(), "_bucket"); ok {
					name = base
					bound, err := strconv.ParseFloat(e.GetTags()["le"], 64)
					require.NoError(t, err)
					bounds = append(bounds, bound)
					totals = append(totals, e.GetCounter().GetTotal())
				} else if strings.HasSuffix(e.GetCounter().GetName(), "_count") {
					count = e.GetCounter().GetTotal()
				}
			}
			require.NotEmpty(t, bounds)
			require.True(t, slices.IsSorted(bounds), "bounds %v", bounds)
			require.True(t, slices.IsSorted(totals), "totals %v", totals)
			require.True(t, math.IsInf(bounds[len(bounds)-1], 1), "the last bound")
			require.Equal(t, count, totals[len(totals)-1], "observations in the last bucket")
			require.Equal(t, inputSums(t, g), sums, "the sum, if the input has one")
			if len(buckets) == 0 {
				return
			}
			kinds[kind]++
			requireTotals(t, buckets, bounds, totals)

			for _, q := range quantiles {
				query, err := engine.NewInstantQuery(t.Context(), all, nil,
					fmt.Sprintf("histogram_quantile(%v, %s_bucket)", q, notInNames.ReplaceAllString(name, "_")), at.Add(time.Second))
				require.NoError(t, err)
				result := query.Exec(t.Context())
				require.NoError(t, result.Err)
				vector, err := result.Vector()
				require.NoError(t, err)
				require.Len(t, vector, 1)
				requireQuantile(t, kind, buckets, bounds, q, vector[0].F)
				query.Close()
			}
		})
	}
	assert.Positive(t, kinds["histogram"])
	assert.Positive(t, kinds["exponentialHistogram"])
}

// requireTotals checks each total against the counts of the input. A bound must not lie inside of a bucket of the input, even
// an empty one: it is one of the input's own, or, of merged buckets, outside of all of them.
func requireTotals(t *testing.T, buckets []bucket, bounds []float64, totals []uint64) {
	t.Helper()
	for i, bound := range bounds {
		want := uint64(0)
		for _, b := range buckets {
			require.False(t, b.lower < bound && bound < b.upper, "the bound %v inside of %v to %v", bound, b.lower, b.upper)
			if b.upper <= bound {
				want += b.count
			}
		}
		require.Equal(t, want, totals[i], "observations up to %v", bound)
	}
}

// requireQuantile compares an answer with what the input says. That of an ordinary histogram is known: Prometheus takes the
// observations in a bucket to be spread evenly. Of an exponential one it has to lie in the bucket, maybe of merged ones, in
// which the quantile of the input lies.
func requireQuantile(t *testing.T, kind string, buckets []bucket, bounds []float64, q, got float64) {
	t.Helper()
	total := uint64(0)
	for _, b := range buckets {
		total += b.count
	}
	rank, below := q*float64(total), uint64(0)
	i := slices.IndexFunc(buckets, func(b bucket) bool {
		below += b.count
		return b.count > 0 && float64(below) >= rank
	})
	require.GreaterOrEqual(t, i, 0)
	in := buckets[i]
	if kind == "histogram" {
		want := in.lower + (in.upper-in.lower)*(rank-float64(below-in.count))/float64(in.count)
		switch {
		case math.IsInf(in.upper, 1):
			want = in.lower
		case i == 0 && in.upper > 0:
			want = in.upper * rank / float64(in.count)
		}
		require.InDelta(t, want, got, 1e-9*math.Abs(want), "quantile %v", q)
		return
	}
	k, _ := slices.BinarySearch(bounds, in.upper)
	lower := math.Inf(-1)
	if k > 0 {
		lower = bounds[k-1]
	}
	require.LessOrEqual(t, lower, in.lower, "a bound inside of a bucket of the input")
	require.GreaterOrEqual(t, got, lower, "quantile %v", q)
	require.LessOrEqual(t, got, bounds[k], "quantile %v", q)
}

// inputBuckets are the buckets of the one point that the input of a case has, if that is a histogram's; from the lowest to
// the highest.
func inputBuckets(t *testing.T, g golden) (kind string, buckets []bucket) {
	t.Helper()
	var found []any
	find(g.input, func(key string, value any) {
		if key == "histogram" || key == "exponentialHistogram" {
			kind = key
			find(value, func(key string, value any) {
				if key == "dataPoints" {
					found = append(found, value.([]any)...)
				}
			})
		}
	})
	if len(found) != 1 {
		return "", nil
	}
	point := found[0].(map[string]any)
	if kind == "histogram" {
		bounds := append([]any{math.Inf(-1)}, list(point["explicitBounds"])...)
		for i, n := range list(point["bucketCounts"]) {
			b := bucket{lower: number(t, bounds[i]), upper: math.Inf(1), count: uint64(number(t, n))}
			if i+1 < len(bounds) {
				b.upper = number(t, bounds[i+1])
			}
			if !math.IsInf(b.upper, -1) { // Nothing is in that one.
				buckets = append(buckets, b)
			}
		}
		if len(buckets) > 0 {
			buckets[len(buckets)-1].count += inNoBucket(t, point, buckets)
		}
		return kind, buckets
	}
	bound := func(index float64) float64 { return math.Pow(2, math.Ldexp(index, -int(number(t, point["scale"])))) }
	side := func(key string) []bucket {
		var all []bucket
		s, _ := point[key].(map[string]any)
		for i, n := range list(s["bucketCounts"]) {
			index := number(t, s["offset"]) + float64(i)
			all = append(all, bucket{lower: bound(index), upper: bound(index + 1), count: uint64(number(t, n))})
		}
		return all
	}
	for _, b := range slices.Backward(side("negative")) {
		buckets = append(buckets, bucket{lower: -b.upper, upper: -b.lower, count: b.count})
	}
	if n := uint64(number(t, point["zeroCount"])); n > 0 {
		threshold := number(t, point["zeroThreshold"])
		buckets = append(buckets, bucket{lower: -threshold, upper: threshold, count: n})
	}
	buckets = append(buckets, side("positive")...)
	if n := inNoBucket(t, point, buckets); n > 0 {
		buckets = append(buckets, bucket{lower: buckets[len(buckets)-1].upper, upper: math.Inf(1), count: n})
	}
	return kind, buckets
}

// inNoBucket is how many observations of a point are in none of its buckets.
func inNoBucket(t *testing.T, point map[string]any, buckets []bucket) uint64 {
	t.Helper()
	n := uint64(number(t, point["count"]))
	for _, b := range buckets {
		n -= b.count
	}
	return n
}

// inputSums is the sum of the one point that the input of a case has, if it has one that is a number.
func inputSums(t *testing.T, g golden) (sums []float64) {
	t.Helper()
	find(g.input, func(key string, value any) {
		if key != "dataPoints" {
			return
		}
		for _, p := range list(value) {
			if sum, ok := p.(map[string]any)["sum"]; ok && !math.IsInf(number(t, sum), 0) && !math.IsNaN(number(t, sum)) {
				sums = append(sums, number(t, sum))
			}
		}
	})
	return sums
}

// find calls f with each key and value of the maps in value.
func find(value any, f func(key string, value any)) {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			f(key, v)
			find(v, f)
		}
	case []any:
		for _, v := range value {
			find(v, f)
		}
	}
}

func list(value any) []any {
	l, _ := value.([]any)
	return l
}

// number is a number of OTLP JSON, which may be in quotes; 0 if it is not there.
func number(t *testing.T, value any) float64 {
	t.Helper()
	if value == nil {
		return 0
	}
	n, err := strconv.ParseFloat(fmt.Sprint(value), 64)
	require.NoError(t, err)
	return n
}
