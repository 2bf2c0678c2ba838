// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// summaryPoint appends a point with the timestamp at. It makes metric a summary unless it already is one. quantiles alternates quantiles
// and values.
func summaryPoint(metric pmetric.Metric, count uint64, sum float64, quantiles ...float64) pmetric.SummaryDataPoint {
	if metric.Type() != pmetric.MetricTypeSummary {
		metric.SetEmptySummary()
	}
	p := metric.Summary().DataPoints().AppendEmpty()
	p.SetTimestamp(at)
	p.SetCount(count)
	p.SetSum(sum)
	for i := 0; i < len(quantiles); i += 2 {
		q := p.QuantileValues().AppendEmpty()
		q.SetQuantile(quantiles[i])
		q.SetValue(quantiles[i+1])
	}
	return p
}

func TestSummaries(t *testing.T) {
	type point = pmetric.SummaryDataPoint
	of := func(change func(point), quantiles ...float64) func(pmetric.Metric) {
		return func(m pmetric.Metric) {
			p := summaryPoint(m, 5, 12.5, quantiles...)
			if change != nil {
				change(p)
			}
		}
	}
	quantile := func(q string, v float64, tags ...string) *loggregator_v2.Envelope {
		return gauge("m", "", v, append(tags, "quantile", q)...)
	}
	for name, row := range map[string]metricRow{
		"quantiles": {
			metric: of(nil, 0, 0.5, 0.5, 2, 0.99, 7.25, 1, 8),
			want: list(
				quantile("0", 0.5), quantile("0.5", 2), quantile("0.99", 7.25), quantile("1", 8), gauge("m_sum", "", 12.5), total("m_count", 5),
			),
		},
		"no quantiles": {metric: of(nil), want: list(gauge("m_sum", "", 12.5), total("m_count", 5))},
		"quantiles that are not finite": {
			metric: of(nil, 0.5, math.NaN(), 0.9, 3, 0.99, math.Inf(1)),
			want:   list(quantile("0.9", 3), gauge("m_sum", "", 12.5), total("m_count", 5)),
		},
		"negative sum": {metric: of(func(p point) { p.SetSum(-3) }), want: list(gauge("m_sum", "", -3), total("m_count", 5))},
		"no timestamp": {
			metric: of(func(p point) { p.SetTimestamp(0) }, 0.5, 2),
			want:   list(timed(quantile("0.5", 2), now), timed(gauge("m_sum", "", 12.5), now), timed(total("m_count", 5), now)),
		},
		"with tags and identity": {
			metric: of(func(p point) { put(p.Attributes(), "k", "v", "instance_id", "7") }, 0.5, 2),
			want:   withInstance7(quantile("0.5", 2, "k", "v"), gauge("m_sum", "", 12.5, "k", "v"), total("m_count", 5, "k", "v")),
		},
		"attribute quantile": {
			metric: of(func(p point) { put(p.Attributes(), "quantile", "x") }, 0.5, 2),
			want: list(
				quantile("0.5", 2, "exported_quantile", "x"), gauge("m_sum", "", 12.5, "exported_quantile", "x"),
				total("m_count", 5, "exported_quantile", "x"),
			),
		},
		"NaN sum":      {metric: of(func(p point) { p.SetSum(math.NaN()) }, 0.5, 2), want: list(quantile("0.5", 2), total("m_count", 5))},
		"infinite sum": {metric: of(func(p point) { p.SetSum(math.Inf(1)) }, 0.5, 2), want: list(quantile("0.5", 2), total("m_count", 5))},
		"several points, one malformed": {
			metric: func(m pmetric.Metric) {
				summaryPoint(m, 1, 1)
				summaryPoint(m, 2, 2, 1.5, 2)
				summaryPoint(m, 3, 3)
			},
			want:     list(gauge("m_sum", "", 1), total("m_count", 1), gauge("m_sum", "", 3), total("m_count", 3)),
			rejected: rejectedOnce(ReasonMalformed),
		},
		"stale":             {metric: of(func(p point) { p.SetFlags(stale) }, 0.5, 2), rejected: rejectedOnce(ReasonStale)},
		"negative quantile": {metric: of(nil, -0.5, 1), rejected: rejectedOnce(ReasonMalformed)},
		"NaN quantile":      {metric: of(nil, math.NaN(), 1), rejected: rejectedOnce(ReasonMalformed)},
		"no name": {
			metric: func(m pmetric.Metric) {
				m.SetName("")
				summaryPoint(m, 1, 1, 0.5, 1)
			},
			rejected: rejectedOnce(ReasonMalformed),
		},
	} {
		t.Run(name, row.run)
	}
}
