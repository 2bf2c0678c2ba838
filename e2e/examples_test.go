// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
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
	"slices"
	"strings"
	"sync"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // The otlp exporter compresses with gzip.

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestExampleDeltaToCumulative(t *testing.T) {
	s := startSink(t)
	c := startCollector(t, "../examples/delta-to-cumulative/config.yaml", s.env())
	s.requireDelivery(c.dial(), readTelemetry(t, "delta-to-cumulative.yaml"), "metrics")
}

func TestExampleTransform(t *testing.T) {
	s := startSink(t)
	c := startCollector(t, "../examples/transform/config.yaml", s.env())
	s.requireDelivery(c.dial(), readTelemetry(t, "transform.yaml"), "logs", "metrics")
}

func TestExampleAppGateway(t *testing.T) {
	s := startSink(t)
	// The gateway reuses the sink's authority and certificates.
	dir := t.TempDir()
	for from, to := range map[string]string{"ca.crt": "ca.crt", "metron.crt": "server.crt", "metron.key": "server.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, to), []byte(read(t, filepath.Join(s.certs, from))), 0o600))
	}
	c := startCollector(t, "../examples/app-gateway/config.yaml", append(s.env(), "OTLP_CERTS="+dir), onGRPCPort, toSink)

	config := clientTLS(t, s.certs, "metron", read(t, s.certs+"/ca.crt"))
	conn, all := c.dialWith(credentials.NewTLS(config)), readTelemetry(t, "shop.yaml")
	s.requireDelivery(conn, all, "logs")

	// Data without an application gets the source ID of the gateway.
	push(t, conn, all, "metrics", "traces")
	for _, e := range all["metrics"].Envelopes {
		e.Tags["instance_id"] = "0"
	}
	want := slices.Concat(all["metrics"].Envelopes, all["traces"].Envelopes)
	for _, e := range want {
		e.SourceId, e.InstanceId = "app-gateway", "0"
	}
	requireEnvelopes(t, want, s.waitFor("app-gateway", len(want)))

	// The gateway refuses a client without a certificate.
	config.Certificates = nil
	requireRefused(t, c.dialWith(credentials.NewTLS(config)))
}

// clientTLS returns the configuration of a client with the sink's client certificate, for a server with this name and authority.
func clientTLS(t *testing.T, certs, server, authority string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certs+"/client.crt", certs+"/client.key")
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(authority)))
	return &tls.Config{RootCAs: pool, ServerName: server, Certificates: []tls.Certificate{pair}}
}

func requireRefused(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	_, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequest())
	require.Error(t, err)
}

func TestExampleHostAgent(t *testing.T) {
	s := startSink(t)
	dir := filepath.Join(t.TempDir(), "uaa")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "uaa.log"), []byte("started\nready\n"), 0o600))
	startCollector(t, "../examples/host-agent/config.yaml",
		append(s.env(), "LOG_FILES="+dir+"/*.log", "HOST_SOURCE_ID=vm", "HOST_INSTANCE_ID=i-17"),
		"receivers::file_log::start_at: beginning", toSink)

	var lines []string
	for _, e := range s.waitFor("uaa", 2) {
		lines = append(lines, string(e.GetLog().GetPayload()))
		assert.Equal(t, "i-17", e.GetInstanceId())
		assert.Equal(t, "VM", e.GetTags()["source_type"])
	}
	assert.ElementsMatch(t, []string{"started", "ready"}, lines)

	s.eventually("the host's metrics", func() bool {
		names := metrics(s.from("vm"))
		return !slices.ContainsFunc([]string{
			"system_cpu_load_average_1m", "system_cpu_time_seconds_total", "system_memory_usage_bytes", "system_network_io_bytes_total",
		}, func(name string) bool { _, ok := names[name]; return !ok })
	})
	for _, e := range s.from("vm") {
		assert.Equal(t, "i-17", e.GetTags()["instance_id"])
		assert.NotContains(t, e.GetTags(), "otel_scope_name")
	}
}

// metrics returns the values of metrics by name, followed by these tags if the envelope has them.
func metrics(envelopes []*loggregator_v2.Envelope, tags ...string) map[string]float64 {
	values := map[string]float64{}
	for _, e := range envelopes {
		label := ""
		for _, key := range tags {
			if value, ok := e.GetTags()[key]; ok {
				label += " " + key + "=" + value
			}
		}
		if c := e.GetCounter(); c != nil {
			values[c.GetName()+label] = float64(c.GetTotal())
		}
		for name, value := range e.GetGauge().GetMetrics() {
			values[name+label] = value.GetValue()
		}
	}
	return values
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
	startCollector(t, "../examples/prometheus/config.yaml", append(s.env(), "SCRAPE_TARGET="+target),
		"receivers::prometheus::config::global::scrape_interval: 100ms", toSink)

	// The series of a scrape, without timestamps and common tags.
	want := map[string]float64{
		`requests_total code=200`: 17, `queue_length`: 4.5, `latency_seconds_count`: 3, `latency_seconds_sum`: 2.25,
		`latency_seconds_bucket le=0.5`: 1, `latency_seconds_bucket le=+Inf`: 3, `up`: 1,
	}
	var got map[string]float64
	s.eventually("all series", func() bool {
		got = metrics(s.from("my-component"), "code", "le")
		maps.DeleteFunc(got, func(series string, _ float64) bool { return strings.HasPrefix(series, "scrape_") }) // About the scrape itself.
		return len(got) >= len(want)
	})
	assert.Equal(t, want, got)
	for _, e := range s.from("my-component") {
		assert.Equal(t, target, e.GetInstanceId())
	}
}

// Two routers behind one name accept only streams, and have certificates for the name doppler.
func TestExampleRouters(t *testing.T) {
	first := ingresstest.StartCapture(t)
	_, port, err := net.SplitHostPort(first.Addr())
	require.NoError(t, err)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Skipf("loopback has only one address: %v", err)
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
	c := startCollector(t, "../examples/routers/config.yaml",
		// The name in the example, with the name server of this test and the port of these routers.
		[]string{"CERTS=" + first.Certs, "SINK=dns://" + dns + "/doppler.service.cf.internal:" + port}, onGRPCPort, toSink)
	conn, all := c.dial(), readTelemetry(t, "shop.yaml")

	var pushed, arrived int
	c.eventually("envelopes at both routers", func() bool {
		push(t, conn, all, "logs")
		pushed += len(all["logs"].Envelopes)
		return len(routers[0].Envelopes()) > 0 && len(routers[1].Envelopes()) > 0
	})
	c.eventually("the rest", func() bool {
		arrived = len(routers[0].Envelopes()) + len(routers[1].Envelopes())
		return arrived >= pushed
	})
	assert.Equal(t, pushed, arrived)
	known := map[string]bool{}
	for _, e := range all["logs"].Envelopes {
		known[e.String()] = true
	}
	for _, router := range routers {
		for _, e := range router.Envelopes() {
			assert.True(t, known[e.String()], e)
		}
	}
}

// The exporter uses a proxy in the environment for a router, but not for an agent on loopback.
func TestProxyEnvironment(t *testing.T) {
	s := startSink(t)
	requests := make(chan string, 16)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.Method + " " + r.Host
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
		go io.Copy(router, client) // Both copies end with the connections.
		_, _ = io.Copy(client, router)
	}))
	defer proxy.Close()
	for _, tt := range []struct{ name, address, want string }{
		{"loopback", s.addr, ""},
		{"router", "doppler.service.cf.internal:8082", "CONNECT doppler.service.cf.internal:8082"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.reset()
			c := startCollector(t, "../examples/cloudfoundry/config.yaml",
				append(s.env(), "SINK="+tt.address, "HTTPS_PROXY="+proxy.URL, "NO_PROXY="), onGRPCPort, toSink)
			s.requireDelivery(c.dial(), readTelemetry(t, "shop.yaml"), "logs")
			if tt.want == "" {
				assert.Empty(t, requests)
				return
			}
			assert.Equal(t, tt.want, <-requests)
		})
	}
}

func TestExampleTwoExporters(t *testing.T) {
	s := startSink(t)
	file := filepath.Join(t.TempDir(), "audit.log")
	require.NoError(t, os.WriteFile(file, []byte("alice logged in\n"), 0o600))
	c := startCollector(t, "../examples/two-exporters/config.yaml", append(s.env(), "AUDIT_LOGS="+file),
		"receivers::file_log/audit::start_at: beginning", onGRPCPort,
		`exporters::loggregator/audit::endpoint: "${env:SINK}"`, `exporters::loggregator/rest::endpoint: "${env:SINK}"`)

	audit := s.waitFor("audit", 1)
	require.Len(t, audit, 1)
	assert.Equal(t, "alice logged in", string(audit[0].GetLog().GetPayload()))
	assert.Equal(t, "AUDIT", audit[0].GetTags()["source_type"])

	s.requireDelivery(c.dial(), readTelemetry(t, "shop.yaml"), signals...)
	require.Len(t, s.from("audit"), 1)
}

// backend is an OTLP receiver of logs whose bodies are numbers. It stalls while stalled is locked.
type backend struct {
	plogotlp.UnimplementedGRPCServer
	stalled sync.RWMutex
	mu      sync.Mutex
	numbers []int64
}

func startBackend(t *testing.T) (b *backend, addr string) {
	t.Helper()
	b = &backend{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	plogotlp.RegisterGRPCServer(server, b)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return b, listener.Addr().String()
}

func (b *backend) all() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.numbers)
}

func (b *backend) Export(ctx context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	b.stalled.RLock()
	defer b.stalled.RUnlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil { // Otherwise the attempt has timed out.
		for _, record := range request.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			b.numbers = append(b.numbers, record.Body().Int())
		}
	}
	return plogotlp.NewExportResponse(), ctx.Err()
}

// While the backend stalls, pushes into the receiver succeed at once. When it resumes, it gets the batch that the exporter was trying, and
// then the newest data. Every item is counted.
func TestExampleFreshFirst(t *testing.T) {
	const batch, maxItems, pushed = 100, 2000, 10_000
	b, addr := startBackend(t)
	c := startCollector(t, "../examples/fresh-first/config.yaml", []string{"BACKEND=" + addr}, onGRPCPort,
		fmt.Sprintf("connectors::diode::max_items: %d", maxItems),
		"connectors::diode::retry_on_failure::initial_interval: 10ms",
		"exporters::otlp_grpc::timeout: 500ms")
	client := plogotlp.NewGRPCClient(c.dial())
	var next int64
	push := func() {
		logs := plog.NewLogs()
		records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		for range batch {
			records.AppendEmpty().Body().SetInt(next)
			next++
		}
		_, err := client.Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs), grpc.WaitForReady(true))
		require.NoError(t, err)
	}
	count := func(what string) int {
		return int(c.metric("otelcol_connector_diode_"+what+"_items", "signal", "logs"))
	}

	push()
	c.eventually("the first batch", func() bool { return len(b.all()) == batch })
	b.stalled.Lock()
	push()
	c.eventually("a failed attempt", func() bool { return count("waiting") == batch && len(b.all()) == batch })
	for next < pushed {
		push() // Returns although the backend accepts nothing.
	}
	assert.Len(t, b.all(), batch)
	assert.Equal(t, pushed, count("accepted"))
	assert.Equal(t, pushed-2*batch-maxItems, count("dropped"), "dropped during the stall")
	b.stalled.Unlock()
	c.eventually("the rest", func() bool { return count("waiting") == 0 })

	arrived := b.all()
	assert.Equal(t, count("forwarded"), len(arrived))
	assert.Equal(t, pushed, len(arrived)+count("dropped")+count("forward_failed"))
	assert.Zero(t, count("forward_failed"))
	var want []int64
	for n := range int64(pushed) {
		if n < 2*batch || n >= pushed-maxItems {
			want = append(want, n)
		}
	}
	assert.Equal(t, want, arrived)
}
