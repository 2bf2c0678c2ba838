// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Only insecure: true turns TLS off.
func TestInsecure(t *testing.T) {
	for name, tt := range map[string]struct {
		settings string
		want     byte
	}{
		"default":              {"", 0x16}, // A TLS handshake record.
		"no files":             {", tls: {}", 0x16},
		"insecure: false":      {", tls: {insecure: false}", 0x16},
		"insecure_skip_verify": {", tls: {insecure_skip_verify: true}", 0x16},
		"insecure: true":       {", tls: {insecure: true}", 'P'}, // HTTP/2 without TLS begins with PRI.
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			f := newFixture(t)
			f.cfg, err = load(t, "loggregator: {endpoint: "+l.Addr().String()+tt.settings+"}", "loggregator")
			require.NoError(t, err)
			e := f.start("logs")
			conn, err := l.Accept()
			require.NoError(t, err)
			first := make([]byte, 1)
			_, err = io.ReadFull(conn, first)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			e.stop()
			assert.Equal(t, tt.want, first[0])
		})
	}
}

// With identity.source_id.value set, no data can claim another source ID.
func TestSourceIDValue(t *testing.T) {
	f := newFixture(t)
	f.cfg.Identity.SourceID.Value = "ours"
	claim := func(attributes pcommon.Map) {
		for _, key := range append([]string{"origin", "source.id", "SourceId"}, f.cfg.Identity.SourceID.Attributes...) {
			attributes.PutStr(key, "theirs")
		}
	}
	logs := numberedLogs(0, 1, 0)
	resourceLogs := logs.ResourceLogs().At(0)
	claim(resourceLogs.Resource().Attributes())
	claim(resourceLogs.ScopeLogs().At(0).Scope().Attributes())
	claim(resourceLogs.ScopeLogs().At(0).LogRecords().At(0).Attributes())
	resourceLogs.ScopeLogs().At(0).LogRecords().AppendEmpty().SetEventName("theirs")
	metrics := numberedMetrics(0, 1, 0)
	claim(metrics.ResourceMetrics().At(0).Resource().Attributes())
	scopeMetrics := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	claim(scopeMetrics.At(0).Sum().DataPoints().At(0).Attributes())
	gauge := scopeMetrics.AppendEmpty()
	gauge.SetName("gauge")
	claim(gauge.Metadata())
	point := gauge.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetIntValue(1)
	claim(point.Attributes())
	traces := numberedTraces(0, 1, 0)
	claim(traces.ResourceSpans().At(0).Resource().Attributes())
	span := traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
	claim(span.Attributes())
	claim(span.Events().AppendEmpty().Attributes())
	f.cfg.Traces.SpanEvents = true

	l, m, s := f.start("logs"), f.start("metrics"), f.start("traces")
	l.consumeLogs(logs)
	require.NoError(t, m.Component.(metricsExporter).ConsumeMetrics(t.Context(), metrics))
	require.NoError(t, s.Component.(tracesExporter).ConsumeTraces(t.Context(), traces))
	for _, e := range []feed{l, m, s} {
		e.stop()
	}
	arrived := f.ingress.Envelopes()
	require.Len(t, arrived, 6)
	for _, envelope := range arrived {
		assert.Equal(t, "ours", envelope.GetSourceId(), "%v", envelope)
	}
}

// Neither the log under faults nor the configuration printed by the collector contains a secret or a payload.
func TestSecrets(t *testing.T) {
	const secret, payload = "correct-horse-battery-staple", "the-body-of-a-log"
	f := newFixture(t)
	f.cfg.Headers = configopaque.MapList{{Name: "authorization", Value: secret}}
	f.cfg.Diode = DiodeConfig{Capacity: 2, MaxItems: 10, DropPolicy: DropOldest}
	f.cfg.RetryConfig.MaxElapsedTime = 200 * time.Millisecond
	e := f.start("logs")
	push := func(n int) {
		logs := numberedLogs(0, n, 0)
		for _, record := range logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			record.Body().SetStr(payload)
			record.Attributes().PutStr("password", payload)
		}
		e.consumeLogs(logs)
	}
	push(1)
	f.ingress.WaitForEnvelopes(t, 1)
	for _, fault := range []error{
		status.Error(codes.Unavailable, "no"),
		status.Error(codes.Internal, "no"),
		status.Error(codes.ResourceExhausted, "larger than max"),
		status.Error(codes.PermissionDenied, "no"),
	} {
		f.ingress.Refuse(fault)
		for range 10 {
			push(2)
		}
		push(11) // Above max_items.
		empty := plog.NewLogs()
		empty.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		e.consumeLogs(empty)
		e.settle()
	}
	e.stop()
	require.NotEmpty(t, f.logs.All())
	for _, line := range f.logs.All() {
		text := fmt.Sprintf("%s %v", line.Message, line.ContextMap())
		assert.NotContains(t, text, secret)
		assert.NotContains(t, text, payload)
	}

	f.cfg.TLS.KeyPem = secret
	shown := confmap.New()
	require.NoError(t, shown.Marshal(f.cfg))
	text := fmt.Sprint(shown.ToStringMap())
	assert.NotContains(t, text, secret)
	assert.Contains(t, text, "[REDACTED]")
	assert.NotContains(t, fmt.Sprintf("%v %+v", f.cfg, f.cfg), secret)
}
