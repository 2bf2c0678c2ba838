// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// maxExponentialBuckets is the maximum number of buckets on each side of an exponential histogram after downscaling.
const maxExponentialBuckets = 20

// exponentialPoint yields a point of an exponential histogram as an explicit histogram.
func (m *Metrics) exponentialPoint(name, unit string, p pmetric.ExponentialHistogramDataPoint) Reason {
	if !wellFormedExponential(p) {
		return ReasonMalformed
	}
	if !beginHistogram(m, name, unit, p) {
		return ReasonTooLarge
	}
	m.exponentialBuckets(p)
	m.endHistogram(p.Count())
	return ""
}

// exponentialBuckets yields the buckets from the lowest bound to the highest: negative observations, those around zero, positive ones. At
// scale s, bucket i holds the positive observations in (b^i, b^(i+1)] with b = 2^(2^-s), or the negative ones in [-b^(i+1), -b^i). Each
// side begins with the lower bound of its lowest bucket: without it, a query would assume that the bucket begins at zero, or has no lower
// bound at all.
func (m *Metrics) exponentialBuckets(p pmetric.ExponentialHistogramDataPoint) {
	positive, negative := trimmed(p.Positive()), trimmed(p.Negative())
	shift := max(positive.shift(), negative.shift())
	scale := int(p.Scale()) - shift
	total := uint64(0)
	if !negative.empty() {
		m.bucket(-exponentialBound(scale, negative.last()>>shift+1), 0)
		for i := negative.last() >> shift; i >= negative.first>>shift; i-- {
			total += negative.merged(i, shift)
			m.bucket(-exponentialBound(scale, i), total)
		}
	}
	if p.ZeroCount() > 0 {
		if !negative.empty() {
			m.bucket(-p.ZeroThreshold(), total)
		}
		total += p.ZeroCount()
		m.bucket(p.ZeroThreshold(), total)
	}
	if !positive.empty() {
		m.bucket(exponentialBound(scale, positive.first>>shift), total)
		for i := positive.first >> shift; i <= positive.last()>>shift; i++ {
			total += positive.merged(i, shift)
			m.bucket(exponentialBound(scale, i+1), total)
		}
	}
}

// exponentialBound returns b^index at the given scale: 2^(index / 2^scale). It overflows to infinity and underflows to zero.
func exponentialBound(scale int, index int64) float64 {
	return math.Pow(2, math.Ldexp(float64(index), -scale))
}

// exponentialSide holds the positive or negative buckets of an exponential histogram, without empty ones at the ends.
type exponentialSide struct {
	first  int64 // the index of the first bucket
	counts []uint64
}

func trimmed(b pmetric.ExponentialHistogramDataPointBuckets) exponentialSide {
	counts := b.BucketCounts()
	begin, end := 0, counts.Len()
	for begin < end && counts.At(begin) == 0 {
		begin++
	}
	for begin < end && counts.At(end-1) == 0 {
		end--
	}
	return exponentialSide{first: int64(b.Offset()) + int64(begin), counts: counts.AsRaw()[begin:end]}
}

func (s exponentialSide) empty() bool { return len(s.counts) == 0 }

// last returns the index of the last bucket.
func (s exponentialSide) last() int64 { return s.first + int64(len(s.counts)) - 1 }

// shift returns by how much to lower the scale so that few enough buckets remain. Each step merges buckets 2i and 2i+1 into bucket i.
func (s exponentialSide) shift() int {
	shift := 0
	for !s.empty() && s.last()>>shift-s.first>>shift >= maxExponentialBuckets {
		shift++
	}
	return shift
}

// merged returns the count of the bucket at index after the scale was lowered by shift.
func (s exponentialSide) merged(index int64, shift int) (count uint64) {
	begin := max(index<<shift, s.first)
	end := min((index+1)<<shift-1, s.last())
	for i := begin; i <= end; i++ {
		count += s.counts[i-s.first]
	}
	return count
}

// wellFormedExponential reports whether a point has no more observations in its buckets than in total, and a valid zero threshold.
func wellFormedExponential(p pmetric.ExponentialHistogramDataPoint) bool {
	if threshold := p.ZeroThreshold(); !isFinite(threshold) || threshold < 0 {
		return false
	}
	total, ok := addUp(p.ZeroCount(), p.Positive().BucketCounts())
	if ok {
		total, ok = addUp(total, p.Negative().BucketCounts())
	}
	return ok && total <= p.Count()
}
