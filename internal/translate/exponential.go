// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// maxExponentialBuckets is how many buckets a side of an exponential histogram has at most after it was downscaled.
const maxExponentialBuckets = 20

// exponentialPoint yields a point of an exponential histogram in the form of an explicit one.
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

// exponentialBuckets yields the buckets from the lowest bound to the highest: negative observations, those around zero,
// positive ones. At scale s, bucket i has the positive observations in (b^i, b^(i+1)] with b = 2^(2^-s), or the negative ones
// in [-b^(i+1), -b^i). Both sides also have the bound at which their outermost buckets begin: without it a query would take
// zero, or nothing at all, for the beginning of the lowest bucket.
func (m *Metrics) exponentialBuckets(p pmetric.ExponentialHistogramDataPoint) {
	positive, negative := observed(p.Positive()), observed(p.Negative())
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

// exponentialBound returns b^index at the given scale: 2^(index / 2^scale). Too large for a float64 it is infinite, too small zero.
func exponentialBound(scale int, index int64) float64 {
	return math.Pow(2, math.Ldexp(float64(index), -scale))
}

// exponentialSide is the positive or negative buckets of an exponential histogram, without empty ones at the ends.
type exponentialSide struct {
	first  int64 // the index of the first bucket
	counts []uint64
}

func observed(b pmetric.ExponentialHistogramDataPointBuckets) exponentialSide {
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

// shift returns how often to lower the scale by one, which merges buckets 2i and 2i+1 to bucket i, until there are few enough.
func (s exponentialSide) shift() int {
	shift := 0
	for !s.empty() && s.last()>>shift-s.first>>shift >= maxExponentialBuckets {
		shift++
	}
	return shift
}

// merged returns the count of the bucket at index after the scale was lowered shift times.
func (s exponentialSide) merged(index int64, shift int) (count uint64) {
	begin := max(index<<shift, s.first)
	end := min((index+1)<<shift-1, s.last())
	for i := begin; i <= end; i++ {
		count += s.counts[i-s.first]
	}
	return count
}

// wellFormedExponential reports whether a point has no more observations in its buckets than in total, and a zero bucket that
// has a width.
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
