// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
)

// pooled pushes items as the collector does with pooling: decoded from bytes, and let go of right after the push, so that
// the next ones are decoded into the same memory unless the exporter holds a reference.
var pooled = map[string]func(t *testing.T, e feed, first, n int){
	"logs": func(t *testing.T, e feed, first, n int) {
		encoded, err := (&plog.ProtoMarshaler{}).MarshalLogs(numberedLogs(first, n, 10))
		require.NoError(t, err)
		data, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(encoded)
		require.NoError(t, err)
		require.NoError(t, e.Component.(logsExporter).ConsumeLogs(t.Context(), data))
		pref.UnrefLogs(data)
	},
	"metrics": func(t *testing.T, e feed, first, n int) {
		encoded, err := (&pmetric.ProtoMarshaler{}).MarshalMetrics(numberedMetrics(first, n, 10))
		require.NoError(t, err)
		data, err := (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics(encoded)
		require.NoError(t, err)
		require.NoError(t, e.Component.(metricsExporter).ConsumeMetrics(t.Context(), data))
		pref.UnrefMetrics(data)
	},
	"traces": func(t *testing.T, e feed, first, n int) {
		encoded, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(numberedTraces(first, n, 10))
		require.NoError(t, err)
		data, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(encoded)
		require.NoError(t, err)
		require.NoError(t, e.Component.(tracesExporter).ConsumeTraces(t.Context(), data))
		pref.UnrefTraces(data)
	},
}

// Nothing is used after it was released: what waits in the diode arrives as it was pushed, and what was dropped from it, which
// the exporter lets go of, is not mixed into it.
func TestPooledDataIsReferenced(t *testing.T) {
	gate := pref.UseProtoPooling.ID()
	require.NoError(t, featuregate.GlobalRegistry().Set(gate, true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) })
	for signal, push := range pooled {
		t.Run(signal, func(t *testing.T) {
			const capacity, batches, perBatch = 50, 200, 3
			f := newFixture(t)
			f.cfg.Diode.Capacity = capacity
			f.cfg.TimeoutConfig.Timeout = 0
			f.ingress.Stall()
			e := f.start(signal)
			push(t, e, 0, perBatch)
			f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
			want := map[int]int{0: 1, 1: 1, 2: 1}
			for i := 1; i < batches; i++ {
				push(t, e, i*perBatch, perBatch)
				if i >= batches-capacity {
					for k := range perBatch {
						want[i*perBatch+k] = 1
					}
				}
			}
			f.ingress.Resume()
			f.ingress.WaitForEnvelopes(t, len(want))
			require.NoError(t, e.Shutdown(t.Context()))
			assert.Equal(t, want, f.numbers(signal))
			f.checkIdentity(signal, batches*perBatch)
		})
	}
}
