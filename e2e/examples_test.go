// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// startExample runs the collector on an example that has an OTLP receiver, and connects to that.
func startExample(t *testing.T, s *sink, config string) *grpc.ClientConn {
	t.Helper()
	_, sinkPort, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	port := freePorts(t, 1)[0]
	start(t, []string{"SINK_PORT=" + sinkPort, "CERTS=" + s.certs, "OTLP_GRPC_PORT=" + strconv.Itoa(port)}, nil,
		collectorBinary, "--config", config)
	return dial(t, port)
}

// startOn runs the collector on a configuration, with these settings on top of it, each in the form that `--config yaml:` takes.
func startOn(t *testing.T, config string, env []string, settings ...string) *process {
	t.Helper()
	args := []string{"--config", config}
	for _, setting := range append(settings, "service::telemetry::metrics::level: none") {
		args = append(args, "--config", "yaml:"+setting)
	}
	return start(t, env, nil, collectorBinary, args...)
}

// endpoint is the setting that moves a component to an address.
func endpoint(component, address string) string {
	return fmt.Sprintf("%s::endpoint: %q", component, address)
}

// loopback is an address with this port.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// dialTLS makes a client of an OTLP receiver with TLS.
func dialTLS(t *testing.T, port int, config *tls.Config) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, port, credentials.NewTLS(config))
}

func pushLogs(t *testing.T, conn *grpc.ClientConn, logs plog.Logs) {
	t.Helper()
	_, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs), grpc.WaitForReady(true))
	require.NoError(t, err)
}

func pushTraces(t *testing.T, conn *grpc.ClientConn, traces ptrace.Traces) {
	t.Helper()
	_, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(traces), grpc.WaitForReady(true))
	require.NoError(t, err)
}

func pushMetrics(t *testing.T, conn *grpc.ClientConn, metrics pmetric.Metrics) {
	t.Helper()
	_, err := pmetricotlp.NewGRPCClient(conn).Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(metrics), grpc.WaitForReady(true))
	require.NoError(t, err)
}

func TestExampleDeltaToCumulative(t *testing.T) {
	s := startSink(t)
	conn := startExample(t, s, "../examples/delta-to-cumulative/config.yaml")
	const source = "shop"
	for k := range int64(2) {
		metrics := pmetric.NewMetrics()
		rm := metrics.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", source)
		sm := rm.ScopeMetrics().AppendEmpty()

		// An up-down counter, which the exporter alone would reject.
		m := sm.Metrics().AppendEmpty()
		m.SetName("queue.length")
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		p := m.Sum().DataPoints().AppendEmpty()
		p.SetStartTimestamp(when)
		p.SetTimestamp(pcommon.Timestamp(when + k + 1))
		p.SetIntValue(5 - 2*k)

		// A histogram, likewise.
		m = sm.Metrics().AppendEmpty()
		m.SetName("latency")
		m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		h := m.Histogram().DataPoints().AppendEmpty()
		h.SetStartTimestamp(when)
		h.SetTimestamp(pcommon.Timestamp(when + k + 1))
		h.SetCount(3)
		h.ExplicitBounds().FromRaw([]float64{1})
		h.BucketCounts().FromRaw([]uint64{1, 2})
		pushMetrics(t, conn, metrics)
	}
	tags := map[string]string{"service_name": source, "instance_id": "0"}
	var want []*loggregator_v2.Envelope
	for k := range int64(2) {
		n := uint64(k + 1)
		want = append(want,
			gauge(when+k+1, source, "0", map[string]*loggregator_v2.GaugeValue{"queue_length": {Value: float64(5 + 3*k)}}, tags),
			counter(when+k+1, source, "0", "latency_count", 0, 3*n, tags),
			counter(when+k+1, source, "0", "latency_bucket", 0, n, with(tags, "le", "1")),
			counter(when+k+1, source, "0", "latency_bucket", 0, 3*n, with(tags, "le", "+Inf")),
		)
	}
	requireEnvelopes(t, want, s.waitFor(source, len(want)))
}

func TestExampleTransform(t *testing.T) {
	s := startSink(t)
	conn := startExample(t, s, "../examples/transform/config.yaml")

	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("k8s.deployment.name", "orders")
	rl.Resource().Attributes().PutStr("k8s.pod.name", "orders-5d8c")
	r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(when)
	body := r.Body().SetEmptyMap()
	body.PutStr("message", "order 17 paid")
	body.PutInt("order", 17)
	r.Attributes().PutStr("http.request.header.Cookie", "secret")
	pushLogs(t, conn, logs)
	requireEnvelopes(t, []*loggregator_v2.Envelope{
		log(when, "orders", "orders-5d8c", "order 17 paid", loggregator_v2.Log_OUT, map[string]string{
			"k8s.deployment.name": "orders", "k8s.pod.name": "orders-5d8c", "order": "17", "source_type": "OTEL",
		}),
	}, s.waitFor("orders", 1))

	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	rm.Resource().Attributes().PutStr("telemetry.sdk.name", "opentelemetry")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("com.example.orders")
	m := sm.Metrics().AppendEmpty()
	m.SetName("queue.length")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(when)
	p.SetIntValue(4)
	p.Attributes().PutStr("url.full", "https://shop.example/orders/17")
	p.Attributes().PutStr("queue.name", "mail")
	pushMetrics(t, conn, metrics)
	requireEnvelopes(t, []*loggregator_v2.Envelope{
		gauge(when, "shop", "0", map[string]*loggregator_v2.GaugeValue{"queue_length": {Value: 4}},
			map[string]string{"service_name": "shop", "queue_name": "mail", "instance_id": "0"}),
	}, s.waitFor("shop", 1))
}

func TestExampleAppGateway(t *testing.T) {
	s := startSink(t)
	// The sink's authority and certificates are as good as any.
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certs, "client.crt"), filepath.Join(s.certs, "client.key"))
	require.NoError(t, err)
	ca, err := os.ReadFile(filepath.Join(s.certs, "ca.crt"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	dir := t.TempDir()
	for from, to := range map[string]string{"ca.crt": "ca.crt", "metron.crt": "server.crt", "metron.key": "server.key"} {
		content, err := os.ReadFile(filepath.Join(s.certs, from))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, to), content, 0o600))
	}
	port := freePorts(t, 1)[0]
	startOn(t, "../examples/app-gateway/config.yaml", []string{"CERTS=" + s.certs, "OTLP_CERTS=" + dir},
		endpoint("receivers::otlp::protocols::grpc", loopback(port)), endpoint("exporters::loggregator", s.addr))

	conn := dialTLS(t, port, &tls.Config{RootCAs: pool, ServerName: "metron", Certificates: []tls.Certificate{pair}})
	logs, want := ourLogs()
	pushLogs(t, conn, logs)
	requireEnvelopes(t, want, s.waitFor(want[0].GetSourceId(), len(want)))

	// Data without an application gets the source ID of the gateway.
	metrics, want := ourMetrics()
	pushMetrics(t, conn, metrics)
	traces, wantTraces := ourTraces()
	pushTraces(t, conn, traces)
	for _, e := range want {
		e.Tags = with(e.GetTags(), "instance_id", "0")
	}
	want = append(want, wantTraces...)
	for _, e := range want {
		e.SourceId, e.InstanceId = "app-gateway", "0"
	}
	requireEnvelopes(t, want, s.waitFor("app-gateway", len(want)))

	// The gateway refuses a client without a certificate.
	stranger := dialTLS(t, port, &tls.Config{RootCAs: pool, ServerName: "metron"})
	_, err = plogotlp.NewGRPCClient(stranger).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs))
	require.Error(t, err)
}

func TestExampleHostAgent(t *testing.T) {
	s := startSink(t)
	dir := filepath.Join(t.TempDir(), "uaa")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "uaa.log"), []byte("started\nready\n"), 0o600))
	startOn(t, "../examples/host-agent/config.yaml",
		[]string{"CERTS=" + s.certs, "LOG_FILES=" + dir + "/*.log", "HOST_SOURCE_ID=vm", "HOST_INSTANCE_ID=i-17"},
		"receivers::file_log::start_at: beginning", endpoint("exporters::loggregator", s.addr))

	var lines []string
	for _, e := range s.waitFor("uaa", 2) {
		lines = append(lines, string(e.GetLog().GetPayload()))
		assert.Equal(t, "i-17", e.GetInstanceId())
		assert.Equal(t, "VM", e.GetTags()["source_type"])
	}
	assert.ElementsMatch(t, []string{"started", "ready"}, lines)

	wanted := []string{"system_cpu_load_average_1m", "system_cpu_time_seconds_total", "system_memory_usage_bytes", "system_network_io_bytes_total"}
	names := map[string]bool{}
	s.eventually("the host's metrics", func() bool {
		for _, e := range s.from("vm") {
			names[e.GetCounter().GetName()] = true
			for name := range e.GetGauge().GetMetrics() {
				names[name] = true
			}
		}
		for _, name := range wanted {
			if !names[name] {
				return false
			}
		}
		return true
	})
	for _, e := range s.from("vm") {
		assert.Equal(t, "i-17", e.GetTags()["instance_id"])
		assert.NotContains(t, e.GetTags(), "otel_scope_name")
	}
}

func TestExamplePrometheus(t *testing.T) {
	s := startSink(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `# TYPE requests_total counter
requests_total{code="200"} 17
# TYPE queue_length gauge
queue_length 4.5
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.5"} 1
latency_seconds_bucket{le="+Inf"} 3
latency_seconds_sum 2.25
latency_seconds_count 3
# TYPE go_gc_cycles_total counter
go_gc_cycles_total 9
`)
	}))
	defer page.Close()
	target := strings.TrimPrefix(page.URL, "http://")
	startOn(t, "../examples/prometheus/config.yaml", []string{"CERTS=" + s.certs, "SCRAPE_TARGET=" + target},
		"receivers::prometheus::config::global::scrape_interval: 100ms", endpoint("exporters::loggregator", s.addr))

	// What each scrape makes, without the time and the tags that are the same for all.
	want := map[string]float64{
		`requests_total code=200`: 17, `queue_length`: 4.5, `latency_seconds_count`: 3, `latency_seconds_sum`: 2.25,
		`latency_seconds_bucket le=0.5`: 1, `latency_seconds_bucket le=+Inf`: 3, `up`: 1,
	}
	got := map[string]float64{}
	s.eventually("all series", func() bool {
		for _, e := range s.from("my-component") {
			label := ""
			for _, key := range []string{"code", "le"} {
				if value, ok := e.GetTags()[key]; ok {
					label = " " + key + "=" + value
				}
			}
			if c := e.GetCounter(); c != nil {
				got[c.GetName()+label] = float64(c.GetTotal())
			}
			for name, value := range e.GetGauge().GetMetrics() {
				got[name+label] = value.GetValue()
			}
		}
		for series := range want {
			if _, ok := got[series]; !ok {
				return false
			}
		}
		return true
	})
	maps.DeleteFunc(got, func(series string, _ float64) bool { return strings.HasPrefix(series, "scrape_") }) // Of the scrape itself.
	assert.Equal(t, want, got)
	for _, e := range s.from("my-component") {
		assert.Equal(t, target, e.GetInstanceId())
	}
}

// Two routers behind one name take streams only, and have certificates for doppler only.
func TestExampleRouters(t *testing.T) {
	first := ingresstest.StartCapture(t)
	_, port, err := net.SplitHostPort(first.Addr())
	require.NoError(t, err)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Skipf("loopback has one address only: %v", err)
	}
	require.NoError(t, l.Close())
	routers := []*ingresstest.Capture{first, ingresstest.StartCaptureAt(t, net.JoinHostPort("127.0.0.2", port))}
	for _, router := range routers {
		router.Router()
		pair, err := router.Authority.Issue("doppler")
		require.NoError(t, err)
		cert, err := pair.Certificate()
		require.NoError(t, err)
		router.Present(cert)
	}
	dns := ingresstest.StartDNS(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2})
	otlp := freePorts(t, 1)[0]
	c := startOn(t, "../examples/routers/config.yaml", []string{"CERTS=" + first.Certs},
		endpoint("receivers::otlp::protocols::grpc", loopback(otlp)),
		// The name of the example, at the name server of this test and the port of these routers.
		endpoint("exporters::loggregator", "dns://"+dns+"/doppler.service.cf.internal:"+port))
	conn := dial(t, otlp)

	var pushed, arrived int
	c.eventually("envelopes at both routers", func() bool {
		logs, want := ourLogs()
		pushLogs(t, conn, logs)
		pushed += len(want)
		return len(routers[0].Envelopes()) > 0 && len(routers[1].Envelopes()) > 0
	})
	c.eventually("the rest", func() bool {
		arrived = len(routers[0].Envelopes()) + len(routers[1].Envelopes())
		return arrived >= pushed
	})
	assert.Equal(t, pushed, arrived)
	_, want := ourLogs()
	known := map[string]bool{}
	for _, e := range want {
		known[e.String()] = true
	}
	for _, router := range routers {
		for _, e := range router.Envelopes() {
			assert.True(t, known[e.String()], e)
		}
	}
}

// A proxy in the environment is asked for the name of a router, not for an agent on loopback.
func TestProxyInTheEnvironment(t *testing.T) {
	s := startSink(t)
	asked := make(chan string, 16)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		router, err := net.Dial("tcp", s.addr)
		if !assert.NoError(t, err) {
			return
		}
		defer router.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer client.Close()
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(router, client)     // Until one of them ends.
		_, _ = io.Copy(client, router) // Likewise.
	}))
	defer proxy.Close()
	for _, tt := range []struct{ name, address, want string }{
		{"loopback", s.addr, ""},
		{"router", "doppler.service.cf.internal:8082", "CONNECT doppler.service.cf.internal:8082"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.forget()
			port := freePorts(t, 1)[0]
			startOn(t, "../examples/cloudfoundry/config.yaml", []string{"CERTS=" + s.certs, "HTTPS_PROXY=" + proxy.URL, "NO_PROXY="},
				endpoint("receivers::otlp::protocols::grpc", loopback(port)), endpoint("exporters::loggregator", tt.address))
			logs, want := ourLogs()
			pushLogs(t, dial(t, port), logs)
			requireEnvelopes(t, want, s.waitFor(want[0].GetSourceId(), len(want)))
			if tt.want == "" {
				assert.Empty(t, asked)
				return
			}
			assert.Equal(t, tt.want, <-asked)
		})
	}
}

func TestExampleTwoExporters(t *testing.T) {
	s := startSink(t)
	file := filepath.Join(t.TempDir(), "audit.log")
	require.NoError(t, os.WriteFile(file, []byte("alice logged in\n"), 0o600))
	otlp := freePorts(t, 1)[0]
	startOn(t, "../examples/two-exporters/config.yaml", []string{"CERTS=" + s.certs, "AUDIT_LOGS=" + file},
		"receivers::file_log/audit::start_at: beginning",
		endpoint("receivers::otlp::protocols::grpc", loopback(otlp)),
		endpoint("exporters::loggregator/audit", s.addr), endpoint("exporters::loggregator/rest", s.addr))
	conn := dial(t, otlp)

	audit := s.waitFor("audit", 1)
	require.Len(t, audit, 1)
	assert.Equal(t, "alice logged in", string(audit[0].GetLog().GetPayload()))
	assert.Equal(t, "AUDIT", audit[0].GetTags()["source_type"])

	for _, want := range pushOurs(t, conn) {
		requireEnvelopes(t, want, s.waitFor(want[0].GetSourceId(), len(want)))
	}
	require.Len(t, s.from("audit"), 1)
}
