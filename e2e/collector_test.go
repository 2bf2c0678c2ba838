// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// The programs that `make e2e` builds.
const (
	collectorBinary = "../build/collector/otelcol-loggregator"
	sinkBinary      = "../build/bin/loggregator-sink"
)

// process is a program that runs until the test ends.
type process struct {
	*outage.Process
	t *testing.T

	mu      sync.Mutex
	written bytes.Buffer
}

// start starts a program. It calls onLine with each line of its standard output. If onLine is nil, the standard output is kept together
// with the standard error.
func start(t *testing.T, cmd *exec.Cmd, onLine func([]byte)) *process {
	t.Helper()
	p, stdout := &process{t: t}, &lines{onLine: onLine}
	cmd.Stdout, cmd.Stderr = p, p
	if onLine != nil {
		cmd.Stdout = stdout
	}
	var err error
	p.Process, err = outage.Start(cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			assert.ErrorAs(t, err, new(*exec.ExitError), "a program may be killed, but must end")
		}
		assert.True(t, !p.ProcessState.Exited() || len(stdout.rest) == 0, "an incomplete last line of %s: %q", cmd.Path, stdout.rest)
		// For example a name that the newest collector has replaced.
		for line := range strings.Lines(p.output()) {
			assert.NotContains(t, strings.ToLower(line), "deprecated", "%s warns", filepath.Base(cmd.Path))
		}
		if t.Failed() {
			t.Logf("output of %s:\n%s", filepath.Base(cmd.Path), p.output())
		}
	})
	return p
}

// lines is a writer that calls onLine with each complete line.
type lines struct {
	onLine func([]byte)
	rest   []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.onLine(line)
		l.rest = rest
	}
}

// Write collects the output of the program.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written.String()
}

// eventually waits for a condition.
func (p *process) eventually(what string, condition func() bool) {
	p.t.Helper()
	require.NoError(p.t, p.Eventually(p.t.Context(), func() (bool, error) { return condition(), nil }), what)
}

// eventuallyWrites waits for a text in the output of the program.
func (p *process) eventuallyWrites(text string) {
	p.t.Helper()
	p.eventually(text, func() bool { return strings.Contains(p.output(), text) })
}

// sink is a running loggregator-sink.
type sink struct {
	*process
	addr, certs string
	receive     func(*loggregator_v2.Envelope)

	mu        sync.Mutex
	envelopes []*loggregator_v2.Envelope
}

// startSink starts a sink that keeps all envelopes.
func startSink(t *testing.T) *sink {
	t.Helper()
	var s *sink
	s = startSinkTo(t, func(e *loggregator_v2.Envelope) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.envelopes = append(s.envelopes, e)
	})
	return s
}

// startSinkTo starts a sink that calls receive with each envelope.
func startSinkTo(t *testing.T, receive func(*loggregator_v2.Envelope)) *sink {
	t.Helper()
	s := &sink{certs: filepath.Join(t.TempDir(), "certs"), receive: receive}
	s.listen(t, "127.0.0.1:0")
	return s
}

func discard(*loggregator_v2.Envelope) {}

// listen starts or restarts the sink on this address.
func (s *sink) listen(t *testing.T, addr string) {
	t.Helper()
	s.process = start(t, exec.Command(sinkBinary, "-listen", addr, "-certs", s.certs, "-output", "json"), func(line []byte) {
		e := &loggregator_v2.Envelope{}
		if assert.NoError(t, protojson.Unmarshal(line, e), "not an envelope: %q", line) {
			s.receive(e)
		}
	})
	s.eventually("the sink's address", func() bool {
		_, after, ok := strings.Cut(s.output(), "listening on ")
		s.addr, _, _ = strings.Cut(after, ";")
		return ok
	})
}

// all returns the envelopes that have arrived since the start or the last reset.
func (s *sink) all() []*loggregator_v2.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.envelopes)
}

func (s *sink) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelopes = nil
}

// from returns the envelopes of a source ID in all.
func (s *sink) from(sourceID string) []*loggregator_v2.Envelope {
	return slices.DeleteFunc(s.all(), func(e *loggregator_v2.Envelope) bool { return e.GetSourceId() != sourceID })
}

// waitFor waits for n envelopes of a source ID, and returns them.
func (s *sink) waitFor(sourceID string, n int) []*loggregator_v2.Envelope {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d envelopes of %s", n, sourceID), func() bool { return len(s.from(sourceID)) >= n })
	return s.from(sourceID)
}

// env returns the environment variables with which configurations find the sink.
func (s *sink) env() []string {
	_, port, _ := net.SplitHostPort(s.addr)
	return []string{"SINK=" + s.addr, "SINK_PORT=" + port, "CERTS=" + s.certs}
}

// settings returns the exporter's settings for the connection to the sink.
func (s *sink) settings() string {
	return fmt.Sprintf("endpoint: %q, tls: {ca_file: %[2]s/ca.crt, cert_file: %[2]s/client.crt, key_file: %[2]s/client.key}",
		s.addr, s.certs)
}

// collector is a running process of the built collector.
type collector struct {
	*process
	grpcPort, httpPort, metricsPort, healthPort, pprofPort int
}

// Settings that replace the addresses of an example's receiver and exporter.
const (
	onGRPCPort = `receivers::otlp::protocols::grpc::endpoint: "127.0.0.1:${env:OTLP_GRPC_PORT}"`
	toSink     = `exporters::loggregator::endpoint: "${env:SINK}"`
)

// startCollector starts the collector with a configuration and these overriding settings, each in the form of `--config yaml:`.
func startCollector(t *testing.T, config string, env []string, settings ...string) *collector {
	t.Helper()
	args := []string{"--config", config}
	for _, setting := range settings {
		args = append(args, "--config", "yaml:"+setting)
	}
	return runCollector(t, env, args...)
}

// componentStatus is the flag that makes the health check follow the component status. No example needs it.
const componentStatus = "--feature-gates=+extension.healthcheck.useComponentStatus"

// runCollector starts the collector with these arguments.
func runCollector(t *testing.T, env []string, args ...string) *collector {
	t.Helper()
	ports := freePorts(t, 5)
	c := &collector{grpcPort: ports[0], httpPort: ports[1], metricsPort: ports[2], healthPort: ports[3], pprofPort: ports[4]}
	cmd := exec.Command(collectorBinary, append(args, "--config",
		`yaml:service::telemetry::metrics::readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: "${env:METRICS_PORT}"}}}}]`)...)
	cmd.Env = append(os.Environ(), env...)
	for i, name := range []string{"OTLP_GRPC", "OTLP_HTTP", "METRICS", "HEALTH", "PPROF"} {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s_PORT=%d", name, ports[i]))
	}
	c.process = start(t, cmd, nil)
	c.eventuallyWrites("Everything is ready")
	return c
}

// startFull starts the collector with testdata/config.yaml and a log file of two lines.
func startFull(t *testing.T, s *sink) *collector {
	t.Helper()
	file := filepath.Join(t.TempDir(), "app.log")
	require.NoError(t, os.WriteFile(file, []byte("first line\nsecond line\n"), 0o600))
	c := startCollector(t, "testdata/config.yaml", append(s.env(), "LOG_FILE="+file))
	c.eventually("the collector's readiness", func() bool { return c.get(c.healthPort, "/") != "" })
	return c
}

// startPlain starts the collector with testdata/plain.yaml and these settings of the exporter.
func startPlain(t *testing.T, settings string, env ...string) *collector {
	t.Helper()
	return runCollector(t, env, componentStatus, "--config", "testdata/plain.yaml", "--config", "yaml:exporters: {loggregator: {"+settings+"}}")
}

// retryForever has settings with which the exporter soon notices that a sink is back, and never gives up an item.
const retryForever = "timeout: 1s, retry_on_failure: {initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0}"

// dial returns a client of the collector's OTLP receiver without TLS.
func (c *collector) dial() *grpc.ClientConn { return c.dialWith(insecure.NewCredentials()) }

func (c *collector) dialWith(creds credentials.TransportCredentials) *grpc.ClientConn {
	c.t.Helper()
	conn, err := grpc.NewClient(outage.Loopback(c.grpcPort), grpc.WithTransportCredentials(creds))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports, err := outage.FreePorts(n)
	require.NoError(t, err)
	return ports
}

// get returns the body of a page of the collector, or an empty string after an error.
func (c *collector) get(port int, path string) string {
	if code, body, err := outage.Get(outage.Loopback(port), path); err == nil && code == http.StatusOK {
		return string(body)
	}
	return ""
}

// page returns the collector's metrics. It is empty if they can't be read.
func (c *collector) page() outage.Page {
	c.t.Helper()
	page, err := outage.ParsePage([]byte(c.get(c.metricsPort, "/metrics")))
	require.NoError(c.t, err)
	return page
}

// metric returns the sum of all series of a metric with these labels, given as name, value, name, value.
func (c *collector) metric(name string, labels ...string) float64 {
	return c.page().Sum(name, labels...)
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(content)
}
