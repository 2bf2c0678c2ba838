// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// The tag of a bucket's upper bound, and that of the last bucket.
const (
	boundTag = "le"
	infinity = "+Inf"
)

// histogram puts the points of a histogram out as Prometheus has it: a counter of observations, a gauge of their sum, and a
// counter for each bucket that includes the buckets below it. One that does not say its temporality is taken for cumulative.
func (m *Metrics) histogram(name, unit string, h pmetric.Histogram) {
	if h.AggregationTemporality() == pmetric.AggregationTemporalityDelta {
		m.reject(Temporality, h.DataPoints().Len())
		return
	}
	for _, p := range h.DataPoints().All() {
		if reason := m.histogramPoint(name, unit, p); reason != "" {
			m.reject(reason, 1)
		}
	}
}

func (m *Metrics) histogramPoint(name, unit string, p pmetric.HistogramDataPoint) Reason {
	switch {
	case p.Flags().NoRecordedValue():
		return Stale
	case p.HasSum() && !isFinite(p.Sum()):
		return NotFinite
	case !wellFormed(p):
		return Malformed
	}
	m.beginPoint(p.Attributes())
	if !m.seal(m.histogramRoom(name, unit)) {
		return TooLarge
	}
	timestamp := m.pointTime(p.Timestamp())
	m.message = envelope.AppendCounter(m.message[:0], name+"_count", 0, p.Count())
	m.emit(timestamp, "", "", 0)
	if p.HasSum() {
		m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name+"_sum", unit, p.Sum())
		m.message = envelope.AppendGauge(m.message[:0], m.gauge)
		m.emit(timestamp, "", "", 0)
	}
	below := uint64(0)
	for i, bound := range p.ExplicitBounds().All() {
		below += p.BucketCounts().At(i)
		m.bucket(timestamp, name, strconv.FormatFloat(bound, 'g', -1, 64), below, 0)
	}
	m.bucket(timestamp, name, infinity, p.Count(), 1)
	return ""
}

func (m *Metrics) bucket(timestamp int64, name, bound string, total uint64, items int) {
	m.message = envelope.AppendCounter(m.message[:0], name+"_bucket", 0, total)
	m.emit(timestamp, boundTag, bound, items)
}

// histogramRoom is what the largest envelope of a histogram takes beside what is sealed.
func (m *Metrics) histogramRoom(name, unit string) int {
	const longestBound = len("-2.2250738585072014e-308")
	m.message = envelope.AppendCounter(m.message[:0], name+"_bucket", 0, math.MaxUint64)
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name+"_sum", unit, math.MaxFloat64)
	return max(len(m.message)+tagSize(len(boundTag), longestBound), envelope.Size(len(m.gauge)))
}

// wellFormed says whether a point has one bucket more than bounds, or no buckets at all, bounds that are finite and grow,
// and as many observations in its buckets as in total.
func wellFormed(p pmetric.HistogramDataPoint) bool {
	bounds, counts := p.ExplicitBounds(), p.BucketCounts()
	if counts.Len() == 0 {
		return bounds.Len() == 0
	}
	if counts.Len() != bounds.Len()+1 {
		return false
	}
	for i, bound := range bounds.All() {
		if !isFinite(bound) || i > 0 && bound <= bounds.At(i-1) {
			return false
		}
	}
	total := uint64(0)
	for _, n := range counts.All() {
		if total+n < total {
			return false
		}
		total += n
	}
	return total == p.Count()
}
