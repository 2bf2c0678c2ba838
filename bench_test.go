// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
)

// attributes are so many of a length that is usual.
func attributes(m pcommon.Map, n int) {
	for i := range n {
		m.PutStr(fmt.Sprintf("http.request.attribute.%d", i), fmt.Sprintf("a value of %d", i))
	}
}

// BenchmarkConsume is a push of 1,000 items into a full diode, with and without a bound for bytes, which makes each push measure
// its data.
func BenchmarkConsume(b *testing.B) {
	const items = 1000
	logs, metrics, traces := numberedLogs(0, items, 0), numberedMetrics(0, items, 0), numberedTraces(0, items, 0)
	for i := range items {
		attributes(logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(i).Attributes(), 12)
		attributes(metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Sum().DataPoints().At(i).Attributes(), 6)
		attributes(traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(i).Attributes(), 10)
	}
	for _, bound := range []struct {
		name  string
		bytes int
	}{{"items", 0}, {"items and bytes", math.MaxInt}} {
		cfg := createDefaultConfig().(*Config)
		cfg.Diode.MaxBytes = bound.bytes
		factory, set := NewFactory(), exportertest.NewNopSettings(metadata.Type)
		l, err := factory.CreateLogs(b.Context(), set, cfg)
		require.NoError(b, err)
		m, err := factory.CreateMetrics(b.Context(), set, cfg)
		require.NoError(b, err)
		t, err := factory.CreateTraces(b.Context(), set, cfg)
		require.NoError(b, err)
		for _, push := range []struct {
			signal string
			push   func()
		}{
			{"logs", func() { _ = l.ConsumeLogs(b.Context(), logs) }},
			{"metrics", func() { _ = m.ConsumeMetrics(b.Context(), metrics) }},
			{"traces", func() { _ = t.ConsumeTraces(b.Context(), traces) }},
		} {
			for range 100 { // Full.
				push.push()
			}
			b.Run(fmt.Sprintf("bound=%s/%s", bound.name, push.signal), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					push.push()
				}
			})
		}
		require.NoError(b, l.Shutdown(b.Context()))
		require.NoError(b, m.Shutdown(b.Context()))
		require.NoError(b, t.Shutdown(b.Context()))
	}
}
