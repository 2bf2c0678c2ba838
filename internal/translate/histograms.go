// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// boundTag is the key of the tag with the upper bound of a bucket.
var boundTag = newTagKey("le")

// infinity is the bound of the last bucket.
const infinity = "+Inf"

// formatNumber returns the shortest exact form of a bound or a quantile. Negative zero becomes 0.
func (m *Metrics) formatNumber(v float64) string {
	if v == 0 {
		return "0"
	}
	s, ok := m.numberCache[v]
	if !ok {
		s = strconv.FormatFloat(v, 'g', -1, 64)
		m.numberCache.put(v, s)
	}
	return s
}

// histogramNames are the names of the envelopes of a histogram.
type histogramNames struct{ bucket, count, sum string }

func (m *Metrics) histogramNames(name string) histogramNames {
	names, ok := m.histogramNameCache[name]
	if !ok {
		names = histogramNames{bucket: name + "_bucket", count: name + "_count", sum: name + "_sum"}
		if len(name) <= cachedKeyBytes {
			m.histogramNameCache.put(strings.Clone(name), names)
		}
	}
	return names
}

// longestNumber is the maximum length of a number from formatNumber, in bytes.
const longestNumber = len("-2.2250738585072014e-308")

// histogramPoint yields a point of a histogram in Prometheus form: a counter of observations, a gauge of their sum, and for each
// bucket a counter that includes the buckets below it.
func (m *Metrics) histogramPoint(name, unit string, p pmetric.HistogramDataPoint) Reason {
	if !wellFormed(p) {
		return ReasonMalformed
	}
	if !beginHistogram(m, name, unit, p) {
		return ReasonTooLarge
	}
	below := uint64(0)
	for i, bound := range p.ExplicitBounds().All() {
		below += p.BucketCounts().At(i)
		m.bucket(bound, below)
	}
	m.endHistogram(p.Count())
	return ""
}

// histogramData is the common interface of the points of both kinds of histograms.
type histogramData interface {
	Attributes() pcommon.Map
	Timestamp() pcommon.Timestamp
	Count() uint64
	HasSum() bool
	Sum() float64
}

// buckets is the state of the buckets being yielded.
type buckets struct {
	timestamp int64
	name      string
	// pending reports whether a bucket waits for the next one: of two with the same bound, only the later one is yielded.
	pending bool
	bound   float64
	total   uint64
}

// beginHistogram yields the count and the sum of a histogram. It reports false if the envelopes of the point would be too large. It is
// generic because an interface would cost an allocation per point.
func beginHistogram[P histogramData](m *Metrics, name, unit string, p P) bool {
	names := m.histogramNames(name)
	if !m.encodeCommon(p.Attributes(), boundTag, m.histogramRoom(names, unit), names.bucket, unit) {
		return false
	}
	m.buckets = buckets{timestamp: m.pointTime(p.Timestamp()), name: names.bucket}
	m.putTotal(m.buckets.timestamp, names.count, p.Count(), nil, "", 0)
	if p.HasSum() && isFinite(p.Sum()) {
		m.putGauge(m.buckets.timestamp, names.sum, unit, p.Sum(), nil, "")
	}
	return true
}

// putTotal yields one of the Counters of a point, with an additional tag unless key is nil.
func (m *Metrics) putTotal(timestamp int64, name string, total uint64, key *cleanKey, value string, items int) {
	m.message = envelope.AppendCounter(m.message[:0], name, 0, total)
	m.emit(timestamp, key, value, items)
}

// putGauge yields one of the Gauges of a histogram or summary, with an additional tag unless key is nil.
func (m *Metrics) putGauge(timestamp int64, name, unit string, number float64, key *cleanKey, value string) {
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name, unit, number)
	m.message = envelope.AppendGauge(m.message[:0], m.gauge)
	m.emit(timestamp, key, value, 0)
}

// bucket yields a bucket: the total of observations up to bound. Bounds and totals must not decrease.
func (m *Metrics) bucket(bound float64, total uint64) {
	b := &m.buckets
	switch {
	case math.IsInf(bound, -1):
		return // Nothing can be below it.
	case !b.pending:
		b.bound = bound
	case bound > b.bound:
		m.putBucket(m.formatNumber(b.bound), b.total, 0)
		b.bound = bound
	}
	b.pending, b.total = true, total
}

// endHistogram yields the last bucket, which contains all observations, and completes the point.
func (m *Metrics) endHistogram(count uint64) {
	if b := &m.buckets; b.pending && !math.IsInf(b.bound, 1) {
		m.putBucket(m.formatNumber(b.bound), b.total, 0)
	}
	m.putBucket(infinity, count, 1)
}

func (m *Metrics) putBucket(bound string, total uint64, items int) {
	m.putTotal(m.buckets.timestamp, m.buckets.name, total, boundTag, bound, items)
}

// histogramRoom returns the number of bytes that the largest envelope of a histogram takes in addition to the common part.
func (m *Metrics) histogramRoom(names histogramNames, unit string) int {
	m.message = envelope.AppendCounter(m.message[:0], names.bucket, 0, math.MaxUint64)
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], names.sum, unit, math.MaxFloat64)
	return max(len(m.message)+tagSize(len(boundTag.key), longestNumber), envelope.Size(len(m.gauge)))
}

// wellFormed reports whether a point has one more bucket than bounds (or none of either), increasing bounds, and no more observations in
// its buckets than in total. SDKs may send an infinite last bound.
func wellFormed(p pmetric.HistogramDataPoint) bool {
	bounds, counts := p.ExplicitBounds(), p.BucketCounts()
	if counts.Len() == 0 {
		return bounds.Len() == 0
	}
	if counts.Len() != bounds.Len()+1 {
		return false
	}
	for i, bound := range bounds.All() {
		if math.IsNaN(bound) || i > 0 && bound <= bounds.At(i-1) {
			return false
		}
	}
	total, ok := addUp(0, counts)
	return ok && total <= p.Count()
}

// addUp adds counts to total. It reports false if the sum does not fit in 64 bits.
func addUp(total uint64, counts pcommon.UInt64Slice) (uint64, bool) {
	for _, n := range counts.All() {
		if total+n < total {
			return 0, false
		}
		total += n
	}
	return total, true
}
