// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
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
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// sample is a point in Log Cache's answer to a query.
type sample struct {
	name   string
	labels map[string]string
	value  float64
	time   time.Time
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]`)

// samples returns the points of an envelope in Log Cache, which cleans names, keeps tags unchanged, and knows counters by their total.
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

// selector returns a query that selects only s.
func (s sample) selector() string {
	var matchers []string
	for _, name := range slices.Sorted(maps.Keys(s.labels)) {
		matchers = append(matchers, fmt.Sprintf("%s=%s", name, strconv.Quote(s.labels[name])))
	}
	return s.name + "{" + strings.Join(matchers, ",") + "}"
}

func TestPromQLSelectors(t *testing.T) {
	valid, invalid := 0, 0
	for _, g := range readGoldens(t, "metrics") {
		t.Run(g.name, func(t *testing.T) {
			for _, e := range g.envelopes {
				for _, s := range samples(e) {
					_, err := parser.NewParser(parser.Options{}).ParseExpr(s.selector())
					if !g.prometheusNames() {
						if err != nil {
							invalid++
						}
						continue
					}
					valid++
					require.NoError(t, err, s.selector())
				}
			}
		})
	}
	assert.Positive(t, valid, "metrics that can be queried")
	assert.Positive(t, invalid, "metrics that can't be queried with metrics.naming: otel")
}

// bucket counts the observations from lower to upper in an input.
type bucket struct {
	lower, upper float64
	count        uint64
}

// memory is a storage with one point per series. Prometheus' own includes a database, which takes minutes to compile.
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

// seriesSet iterates over all.
type seriesSet struct {
	storage.SeriesSet // an empty one, which has no errors
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

// quantiles are the quantiles to query. 0 is left out: Prometheus has no answer for it if the lowest bucket is empty.
var quantiles = []float64{0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1}

func TestHistogramQuantile(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1_000_000, Timeout: time.Minute})
	t.Cleanup(func() { assert.NoError(t, engine.Close()) })
	kinds := map[pmetric.MetricType]int{}
	for _, g := range readGoldens(t, "metrics") {
		if len(g.envelopes) == 0 || !bytes.Contains(g.input, []byte("istogram")) {
			continue
		}
		metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(g.input)
		require.NoError(t, err)
		kind, buckets, inputSums := inputHistogram(metrics)
		if kind == pmetric.MetricTypeEmpty {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			var (
				all          memory
				name         string
				bounds, sums []float64
				totals       []uint64
				count        uint64
				at           time.Time
			)
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
			require.Equal(t, inputSums, sums, "the sum, if the input has one")
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
	assert.Positive(t, kinds[pmetric.MetricTypeHistogram])
	assert.Positive(t, kinds[pmetric.MetricTypeExponentialHistogram])
}

// requireTotals checks each total against the counts of the input. A bound must not lie inside a bucket of the input, even an empty one: it
// is a bound of the input or, for merged buckets, outside all of them.
func requireTotals(t *testing.T, buckets []bucket, bounds []float64, totals []uint64) {
	t.Helper()
	for i, bound := range bounds {
		want := uint64(0)
		for _, b := range buckets {
			require.False(t, b.lower < bound && bound < b.upper, "bound %v inside the bucket from %v to %v", bound, b.lower, b.upper)
			if b.upper <= bound {
				want += b.count
			}
		}
		require.Equal(t, want, totals[i], "observations up to %v", bound)
	}
}

// requireQuantile compares a query result with the input. For an explicit histogram the result is known: Prometheus assumes that the
// observations in a bucket are spread evenly. For an exponential one it must lie in the bucket, possibly a merged one, that contains the
// quantile of the input.
func requireQuantile(t *testing.T, kind pmetric.MetricType, buckets []bucket, bounds []float64, q, got float64) {
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
	if kind == pmetric.MetricTypeHistogram {
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
	require.LessOrEqual(t, lower, in.lower, "a bound inside a bucket of the input")
	require.GreaterOrEqual(t, got, lower, "quantile %v", q)
	require.LessOrEqual(t, got, bounds[k], "quantile %v", q)
}

// inputHistogram returns the histogram point of a test case's input if there is exactly one: its buckets from lowest to highest, and its
// sum, if that is finite.
func inputHistogram(metrics pmetric.Metrics) (kind pmetric.MetricType, buckets []bucket, sums []float64) {
	points := 0
	take := func(of pmetric.MetricType, in []bucket, p interface {
		Count() uint64
		HasSum() bool
		Sum() float64
	},
	) {
		points++
		kind, buckets = of, in
		left := p.Count()
		for _, b := range buckets {
			left -= b.count
		}
		// Observations in no bucket are above all of them.
		if last := len(buckets) - 1; last >= 0 && math.IsInf(buckets[last].upper, 1) {
			buckets[last].count += left
		} else if last >= 0 && left > 0 {
			buckets = append(buckets, bucket{lower: buckets[last].upper, upper: math.Inf(1), count: left})
		}
		if p.HasSum() && !math.IsInf(p.Sum(), 0) && !math.IsNaN(p.Sum()) {
			sums = append(sums, p.Sum())
		}
	}
	for _, rm := range metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeHistogram:
					for _, p := range m.Histogram().DataPoints().All() {
						take(m.Type(), explicitBuckets(p), p)
					}
				case pmetric.MetricTypeExponentialHistogram:
					for _, p := range m.ExponentialHistogram().DataPoints().All() {
						take(m.Type(), exponentialBuckets(p), p)
					}
				}
			}
		}
	}
	if points != 1 {
		return pmetric.MetricTypeEmpty, nil, nil
	}
	return kind, buckets, sums
}

func explicitBuckets(p pmetric.HistogramDataPoint) (buckets []bucket) {
	bounds := slices.Concat([]float64{math.Inf(-1)}, p.ExplicitBounds().AsRaw(), []float64{math.Inf(1)})
	for i, n := range p.BucketCounts().All() {
		if !math.IsInf(bounds[i+1], -1) { // Nothing can be in this bucket.
			buckets = append(buckets, bucket{lower: bounds[i], upper: bounds[i+1], count: n})
		}
	}
	return buckets
}

func exponentialBuckets(p pmetric.ExponentialHistogramDataPoint) (buckets []bucket) {
	bound := func(side pmetric.ExponentialHistogramDataPointBuckets, i int) float64 {
		return math.Pow(2, math.Ldexp(float64(int(side.Offset())+i), -int(p.Scale())))
	}
	for i, n := range slices.Backward(p.Negative().BucketCounts().AsRaw()) {
		buckets = append(buckets, bucket{lower: -bound(p.Negative(), i+1), upper: -bound(p.Negative(), i), count: n})
	}
	if p.ZeroCount() > 0 {
		buckets = append(buckets, bucket{lower: -p.ZeroThreshold(), upper: p.ZeroThreshold(), count: p.ZeroCount()})
	}
	for i, n := range p.Positive().BucketCounts().All() {
		buckets = append(buckets, bucket{lower: bound(p.Positive(), i), upper: bound(p.Positive(), i+1), count: n})
	}
	return buckets
}
