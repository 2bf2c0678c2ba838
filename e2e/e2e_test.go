// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the collector that ocb builds, as a process, with the loggregator-sink as its ingress.
package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// telemetrygen is the OpenTelemetry project's own generator of test data.
const telemetrygen = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0"

func TestOTLP(t *testing.T) {
	s := startSink(t)
	c := startFull(t, s)
	all := readTelemetry(t, "shop.yaml")
	s.requireDelivery(c.dial(), all, signals...)

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

	// The host's metrics are sent continuously: only logs and spans have exact counts.
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

	require.NoError(t, c.Stop())
	for _, signal := range signals { // No envelope is duplicated.
		assert.Len(t, s.from(all[signal].Envelopes[0].GetSourceId()), len(all[signal].Envelopes))
	}
	require.NoError(t, s.Stop())
	assert.Contains(t, s.output(), "envelopes/s over")
}

func TestTelemetrygen(t *testing.T) {
	s := startSink(t)
	c := startFull(t, s)
	generate := func(signal, flag string, n int, more ...string) {
		args := append([]string{"run", telemetrygen, signal, "--otlp-insecure", "--otlp-endpoint", fmt.Sprintf("127.0.0.1:%d", c.grpcPort),
			flag, fmt.Sprint(n), "--rate", "0", "--workers", "1", "--service", "gen-" + signal}, more...)
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "GOFLAGS=") // Outside of any module.
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
	assert.EqualValues(t, n+2, c.metric("otelcol_exporter_sent_log_records"), "including the two lines of the file")
	assert.Equal(t, c.metric("otelcol_receiver_accepted_spans"), c.metric("otelcol_exporter_sent_spans"))
}

// The command validate of the built collector refuses invalid settings.
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
		"valid":                 {"timeout: 3s", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := validate(t, "", "--config", fmt.Sprintf(`yaml:
receivers: {otlp: {protocols: {grpc: {}}}}
exporters: {loggregator: {%s}}
service: {pipelines: {logs: {receivers: [otlp], exporters: [loggregator]}}}
`, tt.yaml))
			if tt.want == "" {
				require.NoErrorf(t, err, out)
				return
			}
			require.Error(t, err)
			require.Contains(t, out, tt.want)
		})
	}
}

func TestExamplesValidate(t *testing.T) {
	s := startSink(t) // For its certificates.
	examples, err := filepath.Glob("../examples/*/config.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, config := range examples {
		t.Run(config, func(t *testing.T) {
			out, err := validate(t, s.certs, "--config", config)
			require.NoError(t, err, out)
		})
	}
}

// validate returns the output of the built collector's validate command.
func validate(t *testing.T, certs string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), collectorBinary, append([]string{"validate"}, args...)...)
	cmd.Env = append(os.Environ(), "CERTS="+certs)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// telemetry holds OTLP requests, and the resulting envelopes.
type telemetry struct {
	Requests  []any
	Envelopes envelopes
}

// envelopes can be read from protojson or from YAML with the same content.
type envelopes []*loggregator_v2.Envelope

// UnmarshalYAML decodes a list of envelopes.
func (e *envelopes) UnmarshalYAML(node *yaml.Node) error {
	var encoded []any
	if err := node.Decode(&encoded); err != nil {
		return err
	}
	for _, one := range encoded {
		text, err := json.Marshal(one)
		if err != nil {
			return err
		}
		*e = append(*e, &loggregator_v2.Envelope{})
		if err := protojson.Unmarshal(text, (*e)[len(*e)-1]); err != nil {
			return err
		}
	}
	return nil
}

// readTelemetry reads the telemetry in a file of testdata, by signal.
func readTelemetry(t *testing.T, file string) (all map[string]telemetry) {
	t.Helper()
	readYAML(t, "testdata/"+file, &all)
	return all
}

// signals lists all signals.
var signals = []string{"logs", "metrics", "traces"}

// push pushes the telemetry of these signals.
func push(t *testing.T, conn *grpc.ClientConn, all map[string]telemetry, signals ...string) {
	t.Helper()
	ready := grpc.WaitForReady(true)
	for _, signal := range signals {
		for _, request := range all[signal].Requests {
			encoded, err := json.Marshal(request)
			require.NoError(t, err)
			switch signal {
			case "logs":
				request := plogotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = plogotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			case "metrics":
				request := pmetricotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = pmetricotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			case "traces":
				request := ptraceotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			}
			require.NoError(t, err)
		}
	}
}

// requireDelivery pushes the telemetry of these signals, and requires that the sink gets exactly its envelopes from their sources.
func (s *sink) requireDelivery(conn *grpc.ClientConn, all map[string]telemetry, signals ...string) {
	s.t.Helper()
	push(s.t, conn, all, signals...)
	for _, signal := range signals {
		want := all[signal].Envelopes
		requireEnvelopes(s.t, want, s.waitFor(want[0].GetSourceId(), len(want)))
	}
}

// requireEnvelopes compares envelopes regardless of their order, which Loggregator does not keep.
func requireEnvelopes(t *testing.T, want, got []*loggregator_v2.Envelope) {
	t.Helper()
	texts := func(envelopes []*loggregator_v2.Envelope) (all []string) {
		for _, e := range envelopes {
			all = append(all, protojson.MarshalOptions{}.Format(e))
		}
		return all
	}
	require.ElementsMatch(t, texts(want), texts(got))
}
