// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// quantileTag is the key of the tag with the quantile of a summary's Gauge.
var quantileTag = newTagKey("quantile")

// summaryPoint yields a point of a summary in Prometheus form: a gauge for each quantile, a gauge of the sum of all observations,
// and a counter of observations.
func (m *Metrics) summaryPoint(name, unit string, p pmetric.SummaryDataPoint) Reason {
	if name == "" || !validQuantiles(p) {
		return ReasonMalformed
	}
	if !m.encodeCommon(p.Attributes(), quantileTag, m.summaryRoom(name, unit), name, unit) {
		return ReasonTooLarge
	}
	timestamp := m.pointTime(p.Timestamp())
	for _, q := range p.QuantileValues().All() {
		if !isFinite(q.Value()) {
			continue // Prometheus has NaN for quantiles without recent observations. The rest of the point is valid.
		}
		m.putGauge(timestamp, name, unit, q.Value(), quantileTag, m.formatNumber(q.Quantile()))
	}
	if isFinite(p.Sum()) {
		m.putGauge(timestamp, name+"_sum", unit, p.Sum(), nil, "")
	}
	m.putTotal(timestamp, name+"_count", p.Count(), nil, "", 1)
	return ""
}

// summaryRoom returns the number of bytes that the largest envelope of a summary takes in addition to the common part.
func (m *Metrics) summaryRoom(name, unit string) int {
	m.message = envelope.AppendCounter(m.message[:0], name+"_count", 0, math.MaxUint64)
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name+"_sum", unit, math.MaxFloat64)
	return max(len(m.message), envelope.Size(len(m.gauge))+tagSize(len(quantileTag.key), longestNumber))
}

// validQuantiles reports whether the quantiles of a point are from 0 to 1.
func validQuantiles(p pmetric.SummaryDataPoint) bool {
	for _, q := range p.QuantileValues().All() {
		if !(q.Quantile() >= 0 && q.Quantile() <= 1) { // Rejects NaN too.
			return false
		}
	}
	return true
}
