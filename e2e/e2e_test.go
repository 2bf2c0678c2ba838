// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e runs what a user runs: the collector that ocb built, as a process, with the loggregator-sink as its ingress.
package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// telemetrygen is the OpenTelemetry project's own generator of test data.
const telemetrygen = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0"

const when = 1_767_225_600_000_000_000 // 2026-01-01 00:00 UTC in ns

func log(timestamp int64, source, instance, payload string, stream loggregator_v2.Log_Type, tags map[string]string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Timestamp: timestamp, SourceId: source, InstanceId: instance, Tags: tags,
		Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(payload), Type: stream}}}
}

func counter(timestamp int64, source, instance, name string, delta, total uint64, tags map[string]string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Timestamp: timestamp, SourceId: source, InstanceId: instance, Tags: tags,
		Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{Name: name, Delta: delta, Total: total}}}
}

func gauge(timestamp int64, source, instance string, metrics map[string]*loggregator_v2.GaugeValue, tags map[string]string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Timestamp: timestamp, SourceId: source, InstanceId: instance, Tags: tags,
		Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{Metrics: metrics}}}
}

func with(tags map[string]string, more ...string) map[string]string {
	all := maps.Clone(tags)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// requireEnvelopes compares without regard to order: Loggregator keeps none.
func requireEnvelopes(t *testing.T, want, got []*loggregator_v2.Envelope) {
	t.Helper()
	lines := func(envelopes []*loggregator_v2.Envelope) string {
		var s []string
		for _, e := range envelopes {
			s = append(s, strings.ReplaceAll(protojson.MarshalOptions{}.Format(e), "  ", " "))
		}
		slices.Sort(s)
		return strings.Join(s, "\n")
	}
	rest := slices.Clone(got)
	for _, w := range want {
		i := slices.IndexFunc(rest, func(e *loggregator_v2.Envelope) bool { return proto.Equal(w, e) })
		if i < 0 {
			t.Fatalf("an envelope is missing:\n%s\ngot:\n%s", protojson.Format(w), lines(got))
		}
		rest = slices.Delete(rest, i, i+1)
	}
	require.Emptyf(t, rest, "want:\n%s\ngot:\n%s", lines(want), lines(got))
}

func ourLogs() (plog.Logs, []*loggregator_v2.Envelope) {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("cloudfoundry.app.id", "11111111-2222-3333-4444-555555555555")
	rl.Resource().Attributes().PutStr("cloudfoundry.app.name", "shop")
	rl.Resource().Attributes().PutStr("cloudfoundry.app.instance.id", "3")
	rl.Resource().Attributes().PutStr("cloudfoundry.process.type", "web")
	sl := rl.ScopeLogs().AppendEmpty()
	sl.Scope().SetName("checkout")
	sl.Scope().SetVersion("1.2")
	app := map[string]string{
		"app_id": "11111111-2222-3333-4444-555555555555", "app_name": "shop", "process_type": "web",
		"source_type": "APP/PROC/WEB", "otel_scope_name": "checkout", "otel_scope_version": "1.2",
	}

	plain := sl.LogRecords().AppendEmpty()
	plain.SetTimestamp(when)
	plain.Body().SetStr("order placed")
	plain.SetSeverityNumber(plog.SeverityNumberInfo2)
	plain.SetTraceID(pcommon.TraceID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	plain.SetSpanID(pcommon.SpanID{1, 2, 3, 4, 5, 6, 7, 8})
	plain.Attributes().PutInt("order", 42)
	plain.Attributes().PutStr("http.request.header.content_length", "10")

	failed := sl.LogRecords().AppendEmpty()
	failed.SetObservedTimestamp(when + 1)
	failed.Body().SetEmptyMap().PutStr("reason", "<out of stock>")
	failed.SetSeverityNumber(plog.SeverityNumberError)
	failed.SetSeverityText("FAILURE")

	event := sl.LogRecords().AppendEmpty()
	event.SetTimestamp(when + 2)
	event.SetEventName("order.shipped")
	event.Body().SetStr("by drone")

	sl.LogRecords().AppendEmpty().SetTimestamp(when) // Rejected: nothing in it.

	const source, instance = "11111111-2222-3333-4444-555555555555", "3"
	ofEvent := maps.Clone(app)
	delete(ofEvent, "source_type")
	return logs, []*loggregator_v2.Envelope{
		log(when, source, instance, "order placed", loggregator_v2.Log_OUT, with(app, "severity", "INFO2", "order", "42",
			"http.request.header.con_7c4d350b", "10",
			"trace_id", "0102030405060708090a0b0c0d0e0f10", "span_id", "0102030405060708")),
		log(when+1, source, instance, `{"reason":"<out of stock>"}`, loggregator_v2.Log_ERR, with(app, "severity", "FAILURE")),
		{Timestamp: when + 2, SourceId: source, InstanceId: instance, Tags: ofEvent,
			Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{Title: "order.shipped", Body: "by drone"}}},
	}
}

func ourMetrics() (pmetric.Metrics, []*loggregator_v2.Envelope) {
	const source, instance = "shop-metrics", "i-7"
	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", source)
	rm.Resource().Attributes().PutStr("service.instance.id", instance)
	sm := rm.ScopeMetrics().AppendEmpty()
	tags := map[string]string{"service_name": source, "service_instance_id": instance, "instance_id": instance}

	add := func(name, unit string) pmetric.Metric {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		return m
	}
	point := func(p pmetric.NumberDataPoint) pmetric.NumberDataPoint {
		p.SetTimestamp(when)
		return p
	}
	point(add("room.temperature", "Cel").SetEmptyGauge().DataPoints().AppendEmpty()).SetDoubleValue(21.5)
	point(add("room.visitors", "{person}").SetEmptyGauge().DataPoints().AppendEmpty()).SetIntValue(4)

	sum := add("http.requests", "{request}").SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := point(sum.DataPoints().AppendEmpty())
	p.SetIntValue(1 << 60)
	p.Attributes().PutStr("http.method", "GET")

	queue := add("queue.length", "").SetEmptySum()
	queue.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	point(queue.DataPoints().AppendEmpty()).SetIntValue(-3)

	// The deltatocumulative processor of the configuration makes a total of it.
	delta := add("bytes.sent", "By").SetEmptySum()
	delta.SetIsMonotonic(true)
	delta.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	p = point(delta.DataPoints().AppendEmpty())
	p.SetStartTimestamp(when - 1)
	p.SetIntValue(1000)

	histogram := add("latency", "ms").SetEmptyHistogram()
	histogram.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	h := histogram.DataPoints().AppendEmpty()
	h.SetTimestamp(when)
	h.SetCount(6)
	h.SetSum(31.5)
	h.ExplicitBounds().FromRaw([]float64{0.5, 10})
	h.BucketCounts().FromRaw([]uint64{1, 2, 3})

	exponential := add("payload", "By").SetEmptyExponentialHistogram()
	exponential.SetAggregationTemporality(pmetric.AggregationTemporalityDelta) // As above.
	e := exponential.DataPoints().AppendEmpty()
	e.SetStartTimestamp(when - 1)
	e.SetTimestamp(when)
	e.SetCount(4)
	e.SetSum(11)
	e.SetZeroCount(1)
	e.Positive().BucketCounts().FromRaw([]uint64{1, 2})

	summary := add("gc.pause", "s").SetEmptySummary().DataPoints().AppendEmpty()
	summary.SetTimestamp(when)
	summary.SetCount(9)
	summary.SetSum(0.75)
	quantile := summary.QuantileValues().AppendEmpty()
	quantile.SetQuantile(0.99)
	quantile.SetValue(0.25)

	negative := add("broken", "").SetEmptySum() // Rejected.
	negative.SetIsMonotonic(true)
	negative.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	point(negative.DataPoints().AppendEmpty()).SetIntValue(-1)

	return metrics, []*loggregator_v2.Envelope{
		gauge(when, source, instance, map[string]*loggregator_v2.GaugeValue{
			"room_temperature_celsius": {Unit: "Cel", Value: 21.5},
			"room_visitors":            {Unit: "{person}", Value: 4},
			"queue_length":             {Value: -3},
		}, tags),
		counter(when, source, instance, "http_requests_total", 0, 1<<60, with(tags, "http_method", "GET")),
		counter(when, source, instance, "bytes_sent_total", 0, 1000, tags),
		counter(when, source, instance, "latency_milliseconds_count", 0, 6, tags),
		gauge(when, source, instance, map[string]*loggregator_v2.GaugeValue{"latency_milliseconds_sum": {Unit: "ms", Value: 31.5}}, tags),
		counter(when, source, instance, "latency_milliseconds_bucket", 0, 1, with(tags, "le", "0.5")),
		counter(when, source, instance, "latency_milliseconds_bucket", 0, 3, with(tags, "le", "10")),
		counter(when, source, instance, "latency_milliseconds_bucket", 0, 6, with(tags, "le", "+Inf")),
		counter(when, source, instance, "payload_bytes_count", 0, 4, tags),
		gauge(when, source, instance, map[string]*loggregator_v2.GaugeValue{"payload_bytes_sum": {Unit: "By", Value: 11}}, tags),
		counter(when, source, instance, "payload_bytes_bucket", 0, 1, with(tags, "le", "0")),
		counter(when, source, instance, "payload_bytes_bucket", 0, 1, with(tags, "le", "1")),
		counter(when, source, instance, "payload_bytes_bucket", 0, 2, with(tags, "le", "2")),
		counter(when, source, instance, "payload_bytes_bucket", 0, 4, with(tags, "le", "4")),
		counter(when, source, instance, "payload_bytes_bucket", 0, 4, with(tags, "le", "+Inf")),
		gauge(when, source, instance, map[string]*loggregator_v2.GaugeValue{"gc_pause_seconds": {Unit: "s", Value: 0.25}}, with(tags, "quantile", "0.99")),
		gauge(when, source, instance, map[string]*loggregator_v2.GaugeValue{"gc_pause_seconds_sum": {Unit: "s", Value: 0.75}}, tags),
		counter(when, source, instance, "gc_pause_seconds_count", 0, 9, tags),
	}
}

func ourTraces() (ptrace.Traces, []*loggregator_v2.Envelope) {
	const source = "shop-traces"
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	rs.Resource().Attributes().PutStr("source_id", source)
	spans := rs.ScopeSpans().AppendEmpty().Spans()

	server := spans.AppendEmpty()
	server.SetName("GET /order")
	server.SetKind(ptrace.SpanKindServer)
	server.SetTraceID(pcommon.TraceID{1})
	server.SetSpanID(pcommon.SpanID{2})
	server.SetStartTimestamp(when)
	server.SetEndTimestamp(when + 5000)
	server.Status().SetCode(ptrace.StatusCodeError)
	server.Status().SetMessage("no stock")

	skewed := spans.AppendEmpty()
	skewed.SetName("query")
	skewed.SetKind(ptrace.SpanKindClient)
	skewed.SetParentSpanID(pcommon.SpanID{2})
	skewed.SetStartTimestamp(when + 10)
	skewed.SetEndTimestamp(when + 4)

	timer := func(timestamp int64, name string, begin, end int64, tags map[string]string) *loggregator_v2.Envelope {
		return &loggregator_v2.Envelope{Timestamp: timestamp, SourceId: source, InstanceId: "0", Tags: tags,
			Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{Name: name, Start: begin, Stop: end}}}
	}
	return traces, []*loggregator_v2.Envelope{
		timer(when+5000, "GET /order", when, when+5000, map[string]string{
			"trace_id": "01000000000000000000000000000000", "span_id": "0200000000000000",
			"span_kind": "server", "peer_type": "Server", "status_code": "error", "status_message": "no stock",
		}),
		timer(when+4, "query", when+10, when+10, map[string]string{
			"parent_span_id": "0200000000000000", "span_kind": "client", "clock_skew": "true",
		}),
	}
}

// pushOurs pushes logs, metrics and traces, and returns the envelopes that each has to become.
func pushOurs(t *testing.T, conn *grpc.ClientConn) [][]*loggregator_v2.Envelope {
	t.Helper()
	logs, wantLogs := ourLogs()
	metrics, wantMetrics := ourMetrics()
	traces, wantTraces := ourTraces()
	pushLogs(t, conn, logs)
	pushMetrics(t, conn, metrics)
	pushTraces(t, conn, traces)
	return [][]*loggregator_v2.Envelope{wantLogs, wantMetrics, wantTraces}
}

func TestOTLP(t *testing.T) {
	s := startSink(t)
	c := startCollector(t, s)
	conn := dial(t, c.grpcPort)

	all := pushOurs(t, conn)
	for _, want := range all {
		s.waitFor(want[0].GetSourceId(), len(want))
	}

	// The log file and the host's metrics need no push.
	file := s.waitFor("app.log", 2)
	assert.Equal(t, "first line", string(file[0].GetLog().GetPayload()))
	assert.Equal(t, "app.log", file[0].GetTags()["log.file.name"])
	host := s.waitFor("host", 5)
	names := map[string]bool{}
	for _, e := range host {
		for name := range e.GetGauge().GetMetrics() {
			names[name] = true
		}
	}
	assert.Contains(t, names, "system_memory_usage_bytes")

	// The metrics of the host are sent all the time: only logs and spans have exact counts.
	metric := func(name string, labels ...string) float64 {
		return c.metric(name, append(labels, "exporter", "loggregator")...)
	}
	c.eventually("the counters", func() bool {
		return c.metric("otelcol_exporter_loggregator_waiting_items") == 0 &&
			metric("otelcol_exporter_sent_log_records") == 5
	})
	assert.EqualValues(t, 2, metric("otelcol_exporter_sent_spans"))
	assert.EqualValues(t, 2, metric("otelcol_exporter_loggregator_envelopes", "signal", "traces"))
	assert.EqualValues(t, 5, metric("otelcol_exporter_loggregator_envelopes", "signal", "logs"))
	assert.EqualValues(t, 1, metric("otelcol_exporter_loggregator_rejected_items", "signal", "logs", "reason", "empty"))
	assert.EqualValues(t, 1, metric("otelcol_exporter_loggregator_rejected_items", "signal", "metrics", "reason", "negative"))
	assert.GreaterOrEqual(t, metric("otelcol_exporter_sent_metric_points"), 6.0)
	assert.Zero(t, c.metric("otelcol_exporter_loggregator_dropped_items"))
	assert.EqualValues(t, 1000, metric("otelcol_exporter_queue_capacity", "data_type", "logs"))

	assert.Zero(t, c.stop(), "exit code of the collector")
	for _, want := range all {
		requireEnvelopes(t, want, s.from(want[0].GetSourceId()))
	}
	assert.Zero(t, s.stop(), "exit code of the sink")
	assert.Contains(t, s.output(), "envelopes/s over")
}

func TestTelemetrygen(t *testing.T) {
	s := startSink(t)
	c := startCollector(t, s)
	generate := func(signal, flag string, n int, more ...string) {
		args := append([]string{"run", telemetrygen, signal, "--otlp-insecure", "--otlp-endpoint", fmt.Sprintf("127.0.0.1:%d", c.grpcPort),
			flag, fmt.Sprint(n), "--rate", "0", "--workers", "1", "--service", "gen-" + signal}, more...)
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = t.TempDir() // Outside of any module.
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		require.NoErrorf(t, err, "%s", out)
	}
	const n = 250
	generate("logs", "--logs", n, "--body", "hello", "--severity-text", "Warn", "--severity-number", "13")
	generate("metrics", "--metrics", n, "--metric-type", "Sum", "--aggregation-temporality", "cumulative")
	generate("traces", "--traces", n) // Each trace is two spans.

	logs := s.waitFor("gen-logs", n)
	metrics := s.waitFor("gen-metrics", n)
	traces := s.waitFor("gen-traces", 2*n)
	require.Len(t, logs, n)
	for _, e := range logs {
		require.Equal(t, "hello", string(e.GetLog().GetPayload()))
		require.Equal(t, loggregator_v2.Log_OUT, e.GetLog().GetType())
		require.Equal(t, "Warn", e.GetTags()["severity"])
		require.Equal(t, "OTEL", e.GetTags()["source_type"])
		require.Equal(t, "gen-logs", e.GetTags()["service.name"])
		require.WithinDuration(t, time.Now(), time.Unix(0, e.GetTimestamp()), time.Hour)
	}
	require.Len(t, metrics, n)
	for _, e := range metrics {
		require.Equal(t, "gen_total", e.GetCounter().GetName())
		require.Equal(t, "gen-metrics", e.GetTags()["service_name"])
	}
	require.Len(t, traces, 2*n)
	kinds := map[string]int{}
	for _, e := range traces {
		require.NotNil(t, e.GetTimer())
		require.GreaterOrEqual(t, e.GetTimer().GetStop(), e.GetTimer().GetStart())
		require.Len(t, e.GetTags()["trace_id"], 32)
		require.Len(t, e.GetTags()["span_id"], 16)
		kinds[e.GetTags()["span_kind"]]++
	}
	require.Equal(t, map[string]int{"client": n, "server": n}, kinds)

	c.eventually("the counters", func() bool { return c.metric("otelcol_exporter_sent_spans") == 2*n })
	assert.EqualValues(t, n+2, c.metric("otelcol_exporter_sent_log_records"), "and the two lines of the file")
	assert.Equal(t, c.metric("otelcol_receiver_accepted_spans"), c.metric("otelcol_exporter_sent_spans"))
}

// The built collector refuses a wrong configuration before it runs.
func TestValidate(t *testing.T) {
	for name, tt := range map[string]struct{ yaml, want string }{
		"empty endpoint": {`endpoint: ""`, "exporters::loggregator: endpoint: must not be empty; the Loggregator agent listens on 127.0.0.1:3458"},
		"capacity 0":     {"diode: {capacity: 0}", "exporters::loggregator: diode::capacity: must be from 1 to 8000000, not 0"},
		"unknown policy": {"diode: {drop_policy: random}", `exporters::loggregator: diode::drop_policy: must be "oldest" or "newest", not "random"`},
		"unreadable certificate": {"tls: {cert_file: /no/such/file, key_file: /no/such/file}",
			"exporters::loggregator: tls::cert_file: must be a file that the collector can read: open /no/such/file: no such file or directory"},
		"negative rate": {"rate_limit: {envelopes_per_second: -1}", "exporters::loggregator: rate_limit::envelopes_per_second: must be 0 (no limit) or more, not -1"},
		"unknown key":   {"diode: {color: red}", "color"},
		"key of other exporters": {"sending_queue: {queue_size: 10}, insecure: true",
			"has invalid keys: insecure, sending_queue\ninsecure: use tls::insecure\nsending_queue: use diode"},
		"no unit":               {"timeout: 5", "exporters::loggregator: timeout: must be 0s or at least 1ms, not 5ns; if the unit is missing, write 5s"},
		"endpoint without port": {"endpoint: localhost", "exporters::loggregator: endpoint: address localhost: missing port in address"},
		"negative timeout":      {"timeout: -1s", "exporters::loggregator::timeout: "},
		"right":                 {"timeout: 3s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "config.yaml")
			require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {grpc: {}}}}
exporters: {loggregator: {%s}}
service: {pipelines: {logs: {receivers: [otlp], exporters: [loggregator]}}}
`, tt.yaml), 0o600))
			out, err := exec.CommandContext(t.Context(), collectorBinary, "validate", "--config", config).CombinedOutput()
			if tt.want == "" {
				require.NoErrorf(t, err, "%s", out)
				return
			}
			require.Error(t, err)
			require.Contains(t, string(out), tt.want)
		})
	}
}

// Each example passes validate.
func TestExamplesValidate(t *testing.T) {
	s := startSink(t) // For its certificates.
	examples, err := filepath.Glob("../examples/*/config.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, config := range examples {
		t.Run(config, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), collectorBinary, "validate", "--config", config)
			cmd.Env = append(os.Environ(), "CERTS="+s.certs)
			out, err := cmd.CombinedOutput()
			require.NoErrorf(t, err, "%s", out)
		})
	}
}
