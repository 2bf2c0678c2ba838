// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// exponentialPoint appends a point with the timestamp at. It makes metric a cumulative exponential histogram unless it already is one.
func exponentialPoint(metric pmetric.Metric, scale int32) pmetric.ExponentialHistogramDataPoint {
	if metric.Type() != pmetric.MetricTypeExponentialHistogram {
		metric.SetEmptyExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	}
	p := metric.ExponentialHistogram().DataPoints().AppendEmpty()
	p.SetTimestamp(at)
	p.SetScale(scale)
	return p
}

// setBuckets sets the buckets of one side, and adds their counts to that of the point.
func setBuckets(p pmetric.ExponentialHistogramDataPoint, side pmetric.ExponentialHistogramDataPointBuckets, offset int32, counts ...uint64) {
	side.SetOffset(offset)
	side.BucketCounts().FromRaw(counts)
	for _, n := range counts {
		p.SetCount(p.Count() + n)
	}
}

func setZeros(p pmetric.ExponentialHistogramDataPoint, threshold float64, n uint64) {
	p.SetZeroThreshold(threshold)
	p.SetZeroCount(n)
	p.SetCount(p.Count() + n)
}

func TestExponentialHistograms(t *testing.T) {
	type point = pmetric.ExponentialHistogramDataPoint
	of := func(scale int32, change func(point)) func(pmetric.Metric) {
		return func(m pmetric.Metric) { change(exponentialPoint(m, scale)) }
	}
	// six has one point, with 1, 2 and 3 observations in buckets 0 to 2.
	six := func(change func(point)) func(pmetric.Metric) {
		return of(0, func(p point) {
			setBuckets(p, p.Positive(), 0, 1, 2, 3)
			change(p)
		})
	}
	ones := func(n int) []uint64 {
		counts := make([]uint64, n)
		for i := range counts {
			counts[i] = 1
		}
		return counts
	}
	for name, row := range map[string]metricRow{
		"positive": {
			metric: six(func(p point) { p.SetSum(20) }),
			want: list(
				total("m_count", 6), gauge("m_sum", "", 20),
				bucket("1", 0), bucket("2", 1), bucket("4", 3), bucket("8", 6), bucket("+Inf", 6),
			),
		},
		"below one": {
			metric: of(0, func(p point) { setBuckets(p, p.Positive(), -2, 5, 6) }),
			want:   list(total("m_count", 11), bucket("0.25", 0), bucket("0.5", 5), bucket("1", 11), bucket("+Inf", 11)),
		},
		"finer scale": {
			metric: of(1, func(p point) { setBuckets(p, p.Positive(), 0, 5, 6) }),
			want:   list(total("m_count", 11), bucket("1", 0), bucket("1.4142135623730951", 5), bucket("2", 11), bucket("+Inf", 11)),
		},
		"coarser scale": {
			metric: of(-1, func(p point) { setBuckets(p, p.Positive(), 0, 5, 6) }),
			want:   list(total("m_count", 11), bucket("1", 0), bucket("4", 5), bucket("16", 11), bucket("+Inf", 11)),
		},
		"negative, zero and positive": {
			metric: of(0, func(p point) {
				setBuckets(p, p.Negative(), 1, 1, 2)
				setZeros(p, 0.5, 4)
				setBuckets(p, p.Positive(), 0, 8)
			}),
			want: list(
				total("m_count", 15), bucket("-8", 0), bucket("-4", 2), bucket("-2", 3), bucket("-0.5", 3), bucket("0.5", 7),
				bucket("1", 7), bucket("2", 15), bucket("+Inf", 15),
			),
		},
		"zero threshold of zero": {
			metric: of(0, func(p point) { setZeros(p, 0, 4); setBuckets(p, p.Negative(), 0, 1) }),
			want:   list(total("m_count", 5), bucket("-2", 0), bucket("-1", 1), bucket("0", 5), bucket("+Inf", 5)),
		},
		"zeros only": {
			metric: of(0, func(p point) { setZeros(p, 0.125, 4) }), want: list(total("m_count", 4), bucket("0.125", 4), bucket("+Inf", 4)),
		},
		"no observations": {metric: of(3, func(point) {}), want: list(total("m_count", 0), bucket("+Inf", 0))},
		"empty buckets at both ends and in between": {
			metric: of(0, func(p point) { setBuckets(p, p.Positive(), -1, 0, 1, 0, 2, 0, 0) }),
			want:   list(total("m_count", 3), bucket("1", 0), bucket("2", 1), bucket("4", 1), bucket("8", 3), bucket("+Inf", 3)),
		},
		"21 buckets, merged in pairs": {
			metric: of(0, func(p point) { setBuckets(p, p.Positive(), 1, ones(21)...) }),
			want: list(
				total("m_count", 21), bucket("1", 0), bucket("4", 1), bucket("16", 3), bucket("64", 5), bucket("256", 7), bucket("1024", 9),
				bucket("4096", 11), bucket("16384", 13), bucket("65536", 15), bucket("262144", 17), bucket("1.048576e+06", 19),
				bucket("4.194304e+06", 21), bucket("+Inf", 21),
			),
		},
		"both sides merged when one has too many buckets": {
			metric: of(0, func(p point) { setBuckets(p, p.Negative(), 0, ones(41)...); setBuckets(p, p.Positive(), 0, 7, 8) }),
			want: list(
				total("m_count", 56), bucket("-1.7592186044416e+13", 0), bucket("-1.099511627776e+12", 1), bucket("-6.8719476736e+10", 5),
				bucket("-4.294967296e+09", 9), bucket("-2.68435456e+08", 13), bucket("-1.6777216e+07", 17), bucket("-1.048576e+06", 21),
				bucket("-65536", 25), bucket("-4096", 29), bucket("-256", 33), bucket("-16", 37), bucket("-1", 41), bucket("1", 41),
				bucket("16", 56), bucket("+Inf", 56),
			),
		},
		"bounds equal as doubles": {
			metric: of(60, func(p point) { setBuckets(p, p.Positive(), 0, 1, 2) }),
			want:   list(total("m_count", 3), bucket("1", 3), bucket("+Inf", 3)),
		},
		"bounds too large for a double": {
			metric: of(-10, func(p point) { setBuckets(p, p.Negative(), -1, 1, 2); setBuckets(p, p.Positive(), -2, 4, 8, 16) }),
			want: list(
				total("m_count", 31), bucket("-1", 2), bucket("-"+smallest, 3), bucket("0", 3), bucket(smallest, 7), bucket("1", 15),
				bucket("+Inf", 31),
			),
		},
		"extreme scale and offsets": {
			metric: of(math.MinInt32, func(p point) {
				setBuckets(p, p.Negative(), math.MinInt32, 1)
				setBuckets(p, p.Positive(), math.MaxInt32, 2)
			}),
			want: list(total("m_count", 3), bucket("0", 1), bucket("+Inf", 3)),
		},
		"finest scale": {
			metric: of(math.MaxInt32, func(p point) { setBuckets(p, p.Positive(), math.MinInt32, ones(50)...) }),
			want:   list(total("m_count", 50), bucket("1", 50), bucket("+Inf", 50)),
		},
		"buckets inside the zero bucket": {
			metric: of(0, func(p point) { setZeros(p, 3, 4); setBuckets(p, p.Positive(), 0, 1, 2) }),
			want:   list(total("m_count", 7), bucket("3", 5), bucket("4", 7), bucket("+Inf", 7)),
		},
		"several points, one malformed": {
			metric: func(m pmetric.Metric) {
				setZeros(exponentialPoint(m, 0), 0, 1)
				exponentialPoint(m, 0).SetZeroThreshold(-1)
				setZeros(exponentialPoint(m, 0), 0, 2)
			},
			want: list(
				total("m_count", 1), bucket("0", 1), bucket("+Inf", 1), total("m_count", 2), bucket("0", 2), bucket("+Inf", 2),
			),
			rejected: rejectedOnce(ReasonMalformed),
		},
		"with tags and identity": {
			metric: of(0, func(p point) { setZeros(p, 0, 3); put(p.Attributes(), "k", "v", "instance_id", "7") }),
			want:   withInstance7(total("m_count", 3, "k", "v"), bucket("0", 3, "k", "v"), bucket("+Inf", 3, "k", "v")),
		},
		"delta": {
			metric: func(m pmetric.Metric) {
				exponentialPoint(m, 0)
				exponentialPoint(m, 0)
				m.ExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
			},
			rejected: map[Reason]int{ReasonTemporality: 2},
		},
		"unspecified temporality": {
			metric: func(m pmetric.Metric) {
				setZeros(exponentialPoint(m, 0), 0, 1)
				m.ExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityUnspecified)
			},
			want: list(total("m_count", 1), bucket("0", 1), bucket("+Inf", 1)),
		},
		"stale": {metric: six(func(p point) { p.SetFlags(stale) }), rejected: rejectedOnce(ReasonStale)},
		"NaN sum": {
			metric: six(func(p point) { p.SetSum(math.NaN()) }),
			want:   list(total("m_count", 6), bucket("1", 0), bucket("2", 1), bucket("4", 3), bucket("8", 6), bucket("+Inf", 6)),
		},
		"observations outside the buckets": {
			metric: six(func(p point) { p.SetCount(7) }),
			want:   list(total("m_count", 7), bucket("1", 0), bucket("2", 1), bucket("4", 3), bucket("8", 6), bucket("+Inf", 7)),
		},
		"attribute le": {
			metric: of(0, func(p point) { put(p.Attributes(), "le", "x") }),
			want:   list(total("m_count", 0, "exported_le", "x"), bucket("+Inf", 0, "exported_le", "x")),
		},
		"buckets above the count": {metric: six(func(p point) { p.SetCount(5) }), rejected: rejectedOnce(ReasonMalformed)},
		"bucket total of 2^64 or more": {
			metric: six(func(p point) { setBuckets(p, p.Negative(), 0, math.MaxUint64) }), rejected: rejectedOnce(ReasonMalformed),
		},
		"negative zero threshold": {metric: six(func(p point) { p.SetZeroThreshold(-1) }), rejected: rejectedOnce(ReasonMalformed)},
		"NaN zero threshold":      {metric: six(func(p point) { p.SetZeroThreshold(math.NaN()) }), rejected: rejectedOnce(ReasonMalformed)},
	} {
		t.Run(name, row.run)
	}
}

// smallest is 2^-1024, a subnormal double.
var smallest = strconv.FormatFloat(math.Ldexp(1, -1024), 'g', -1, 64)

// Each bucket counts the observations up to its bound, at any magnitude, however often the scale was lowered.
func TestExponentialHistogramCounts(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		scale := int32(rnd.IntN(9)) - 2
		observations := map[float64]uint64{}
		metrics, metric := oneMetric()
		metric.SetName("m")
		p := exponentialPoint(metric, scale)
		sides := map[bool]map[int32]uint64{true: {}, false: {}}
		zeros := uint64(0)
		for range 1 + rnd.IntN(300) {
			v := math.Exp(rnd.NormFloat64() * float64(1+seed%5))
			negative := rnd.IntN(3) == 0
			switch {
			case rnd.IntN(20) == 0:
				v = 0
				zeros++
			default:
				// The middle of the bucket, so that rounding can't move it into the next one.
				index := int32(math.Ceil(math.Ldexp(math.Log2(v), int(scale)))) - 1
				v = math.Exp2(math.Ldexp(float64(index)+0.5, -int(scale)))
				sides[negative][index]++
				if negative {
					v = -v
				}
			}
			observations[v]++
		}
		setZeros(p, 0, zeros)
		for negative, counts := range sides {
			side := p.Positive()
			if negative {
				side = p.Negative()
			}
			if len(counts) == 0 {
				continue
			}
			first := slices.Min(slices.Collect(maps.Keys(counts)))
			list := make([]uint64, slices.Max(slices.Collect(maps.Keys(counts)))-first+1)
			for index, n := range counts {
				list[index-first] = n
			}
			setBuckets(p, side, first, list...)
		}

		out := translateMetrics(t, defaults(), metrics)
		buckets := 0
		for _, e := range out.envelopes {
			if e.GetCounter().GetName() != "m_bucket" {
				continue
			}
			buckets++
			bound, err := strconv.ParseFloat(e.GetTags()["le"], 64)
			require.NoError(t, err)
			want := uint64(0)
			for v, n := range observations {
				if v <= bound {
					want += n
				}
			}
			require.Equal(t, want, e.GetCounter().GetTotal(), "seed %d, scale %d: observations up to %v", seed, scale, bound)
		}
		assert.LessOrEqual(t, buckets, 2*(maxExponentialBuckets+1)+2, "seed %d", seed)
		assert.Greater(t, buckets, 1, "seed %d", seed)
	}
}
