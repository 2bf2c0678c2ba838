// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// histogramPoint appends a point with the timestamp at, whose count is the sum of its buckets. It makes metric a cumulative
// histogram unless it already is one.
func histogramPoint(metric pmetric.Metric, bounds []float64, buckets ...uint64) pmetric.HistogramDataPoint {
	if metric.Type() != pmetric.MetricTypeHistogram {
		metric.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	}
	p := metric.Histogram().DataPoints().AppendEmpty()
	p.SetTimestamp(at)
	p.ExplicitBounds().FromRaw(bounds)
	p.BucketCounts().FromRaw(buckets)
	count := uint64(0)
	for _, n := range buckets {
		count += n
	}
	p.SetCount(count)
	return p
}

func bucket(le string, n uint64, tags ...string) *loggregator_v2.Envelope {
	return total("m_bucket", n, append(tags, "le", le)...)
}

func TestHistograms(t *testing.T) {
	type point = pmetric.HistogramDataPoint
	of := func(change func(point), bounds []float64, buckets ...uint64) func(pmetric.Metric) {
		return func(m pmetric.Metric) {
			p := histogramPoint(m, bounds, buckets...)
			if change != nil {
				change(p)
			}
		}
	}
	count := func(n uint64) func(point) {
		return func(p point) { p.SetCount(n) }
	}
	sum := func(v float64) func(point) {
		return func(p point) { p.SetSum(v) }
	}
	for name, row := range map[string]metricRow{
		"cumulative over buckets": {
			metric: of(sum(12.5), []float64{1, 2.5, 10}, 3, 0, 4, 5),
			want: list(
				total("m_count", 12), gauge("m_sum", "", 12.5),
				bucket("1", 3), bucket("2.5", 3), bucket("10", 7), bucket("+Inf", 12),
			),
		},
		"no sum":                {metric: of(nil, []float64{1}, 3, 4), want: list(total("m_count", 7), bucket("1", 3), bucket("+Inf", 7))},
		"zero sum":              {metric: of(sum(0), nil, 3), want: list(total("m_count", 3), gauge("m_sum", "", 0), bucket("+Inf", 3))},
		"negative sum":          {metric: of(sum(-2), nil, 3), want: list(total("m_count", 3), gauge("m_sum", "", -2), bucket("+Inf", 3))},
		"one bucket, no bounds": {metric: of(nil, nil, 3), want: list(total("m_count", 3), bucket("+Inf", 3))},
		"no buckets":            {metric: of(count(3), nil), want: list(total("m_count", 3), bucket("+Inf", 3))},
		"no observations":       {metric: of(nil, []float64{1}, 0, 0), want: list(total("m_count", 0), bucket("1", 0), bucket("+Inf", 0))},
		"shortest form of bounds": {
			metric: of(nil, []float64{-1, 0, 0.1, 1e6, 1.5e21}, 1, 1, 1, 1, 1, 1),
			want: list(
				total("m_count", 6), bucket("-1", 1), bucket("0", 2), bucket("0.1", 3), bucket("1e+06", 4), bucket("1.5e+21", 5), bucket("+Inf", 6),
			),
		},
		"largest counts": {
			metric: of(nil, []float64{1}, math.MaxUint64-1, 1),
			want:   list(total("m_count", math.MaxUint64), bucket("1", math.MaxUint64-1), bucket("+Inf", math.MaxUint64)),
		},
		"min, max, exemplars and start time not carried": {
			metric: of(func(p point) {
				p.SetMin(1)
				p.SetMax(2)
				p.SetStartTimestamp(5)
				p.Exemplars().AppendEmpty().SetDoubleValue(1)
			}, nil, 3),
			want: list(total("m_count", 3), bucket("+Inf", 3)),
		},
		"no timestamp": {
			metric: of(func(p point) { p.SetTimestamp(0) }, nil, 3),
			want:   list(timed(total("m_count", 3), now), timed(bucket("+Inf", 3), now)),
		},
		"with tags and identity": {
			metric: of(func(p point) { put(p.Attributes(), "k", "v", "instance_id", "7") }, nil, 3),
			want:   withInstance7(total("m_count", 3, "k", "v"), bucket("+Inf", 3, "k", "v")),
		},
		"attribute le": {
			metric: of(func(p point) { put(p.Attributes(), "le", "x", "k", "v") }, []float64{1}, 3, 4),
			want: list(
				total("m_count", 7, "k", "v", "exported_le", "x"), bucket("1", 3, "k", "v", "exported_le", "x"),
				bucket("+Inf", 7, "k", "v", "exported_le", "x"),
			),
		},
		"attributes le and exported_le": {
			metric: of(func(p point) { put(p.Attributes(), "le", "x", "exported_le", "y") }, nil, 7),
			want:   list(total("m_count", 7, "exported_le", "y;x"), bucket("+Inf", 7, "exported_le", "y;x")),
		},
		"infinite last bound": {
			metric: of(nil, []float64{1, math.Inf(1)}, 3, 4, 0), want: list(total("m_count", 7), bucket("1", 3), bucket("+Inf", 7)),
		},
		"observations above an infinite last bound": {
			metric: of(nil, []float64{1, math.Inf(1)}, 3, 4, 5), want: list(total("m_count", 12), bucket("1", 3), bucket("+Inf", 12)),
		},
		"infinite first bound": {
			metric: of(nil, []float64{math.Inf(-1), 1}, 0, 3, 4), want: list(total("m_count", 7), bucket("1", 3), bucket("+Inf", 7)),
		},
		"only infinite bounds": {
			metric: of(nil, []float64{math.Inf(-1), math.Inf(1)}, 1, 2, 4), want: list(total("m_count", 7), bucket("+Inf", 7)),
		},
		"observations outside the buckets": {
			metric: of(count(9), []float64{1}, 3, 4), want: list(total("m_count", 9), bucket("1", 3), bucket("+Inf", 9)),
		},
		"NaN sum":      {metric: of(sum(math.NaN()), []float64{1}, 3, 4), want: list(total("m_count", 7), bucket("1", 3), bucket("+Inf", 7))},
		"infinite sum": {metric: of(sum(math.Inf(-1)), nil, 3), want: list(total("m_count", 3), bucket("+Inf", 3))},
		"several points, one malformed": {
			metric: func(m pmetric.Metric) {
				put(histogramPoint(m, nil, 1).Attributes(), "k", "a")
				histogramPoint(m, []float64{1}, 1)
				put(histogramPoint(m, nil, 2).Attributes(), "k", "b")
			},
			want: list(
				total("m_count", 1, "k", "a"), bucket("+Inf", 1, "k", "a"), total("m_count", 2, "k", "b"), bucket("+Inf", 2, "k", "b"),
			),
			rejected: rejectedOnce(ReasonMalformed),
		},
		"delta": {
			metric: func(m pmetric.Metric) {
				histogramPoint(m, nil, 3)
				histogramPoint(m, nil, 4)
				m.Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			},
			rejected: map[Reason]int{ReasonTemporality: 2},
		},
		"unspecified temporality": {
			metric: func(m pmetric.Metric) {
				histogramPoint(m, nil, 3)
				m.Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityUnspecified)
			},
			want: list(total("m_count", 3), bucket("+Inf", 3)),
		},
		"stale":                        {metric: of(func(p point) { p.SetFlags(stale) }, nil, 3), rejected: rejectedOnce(ReasonStale)},
		"bounds without buckets":       {metric: of(count(3), []float64{1}), rejected: rejectedOnce(ReasonMalformed)},
		"one bucket too few":           {metric: of(nil, []float64{1, 2}, 3, 4), rejected: rejectedOnce(ReasonMalformed)},
		"one bucket too many":          {metric: of(nil, []float64{1}, 3, 4, 5), rejected: rejectedOnce(ReasonMalformed)},
		"buckets above the count":      {metric: of(count(6), []float64{1}, 3, 4), rejected: rejectedOnce(ReasonMalformed)},
		"bucket total of 2^64 or more": {metric: of(count(1), []float64{1}, math.MaxUint64, 2), rejected: rejectedOnce(ReasonMalformed)},
		"decreasing bounds":            {metric: of(nil, []float64{2, 1}, 3, 4, 5), rejected: rejectedOnce(ReasonMalformed)},
		"decreasing infinite bounds":   {metric: of(nil, []float64{math.Inf(1), math.Inf(-1)}, 3, 4, 5), rejected: rejectedOnce(ReasonMalformed)},
		"equal bounds":                 {metric: of(nil, []float64{1, 1}, 3, 4, 5), rejected: rejectedOnce(ReasonMalformed)},
		"NaN bound":                    {metric: of(nil, []float64{math.NaN()}, 3, 4), rejected: rejectedOnce(ReasonMalformed)},
	} {
		t.Run(name, row.run)
	}
}

// The attribute le of a resource is kept in the same way as that of a point.
func TestHistogramResourceBound(t *testing.T) {
	for name, row := range map[string]struct {
		resource []any
		want     string
	}{
		"attribute le":          {resource: []any{"le", "x"}, want: "x"},
		"attribute exported_le": {resource: []any{"exported_le", "y"}, want: "y"},
		"both":                  {resource: []any{"le", "x", "exported_le", "y"}, want: "y;x"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, e := range (item{kind: "histogram", data: scoped{resource: row.resource}}).translate(t).envelopes {
				assert.Equal(t, row.want, e.GetTags()["exported_le"])
			}
		})
	}
}

// withInstance7 sets the instance ID of metric envelopes to 7.
func withInstance7(envelopes ...*loggregator_v2.Envelope) []*loggregator_v2.Envelope {
	for _, e := range envelopes {
		e.InstanceId, e.Tags["instance_id"] = "7", "7"
	}
	return envelopes
}

func TestHistogramNames(t *testing.T) {
	for name, row := range map[string]struct {
		options          func(*Options)
		name, unit, want string
	}{
		"prometheus": {name: "http.server.duration", unit: "s", want: "http_server_duration_seconds"},
		"otel":       {options: otelNames, name: "http.server.duration", unit: "s", want: "http.server.duration"},
		// A histogram needs no name, because its envelopes have the suffixes.
		"empty": {},
	} {
		t.Run(name, func(t *testing.T) {
			metrics, metric := oneMetric()
			metric.SetName(row.name)
			metric.SetUnit(row.unit)
			histogramPoint(metric, nil, 3).SetSum(1.5)
			translateMetrics(t, options(row.options), metrics).requireEnvelopes(
				total(row.want+"_count", 3), gauge(row.want+"_sum", row.unit, 1.5), total(row.want+"_bucket", 3, "le", "+Inf"),
			)
		})
	}
}

// All envelopes of a point get the same truncated tags, so that they stay one series. The point counts once.
func TestHistogramTooLarge(t *testing.T) {
	out := item{kind: "histogram", data: scoped{record: []any{"k", strings.Repeat("v", envelope.MaxSize)}}}.translate(t)
	require.Len(t, out.envelopes, 4)
	for _, e := range out.envelopes {
		assert.Equal(t, out.envelopes[0].GetTags()["k"], e.GetTags()["k"])
	}
	assert.True(t, strings.HasSuffix(out.envelopes[0].GetTags()["k"], "…"))
	assert.Equal(t, 1, out.truncated)
	assert.Equal(t, 1, out.items)
}

// The last envelope of a histogram completes its item, however many buckets it has.
func TestHistogramItems(t *testing.T) {
	metrics, metric := oneMetric()
	bounds, buckets := []float64{}, []uint64{1}
	for i := range 500 {
		bounds, buckets = append(bounds, float64(i)), append(buckets, 1)
	}
	histogramPoint(metric, bounds, buckets...)
	out := translateMetrics(t, defaults(), metrics)
	assert.Len(t, out.envelopes, 502)
	assert.Equal(t, 1, out.items)
	assert.EqualValues(t, 501, out.envelopes[501].GetCounter().GetTotal())
}
