// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// What `make e2e` has built.
const (
	collectorBinary = "../build/collector/otelcol-loggregator"
	sinkBinary      = "../build/bin/loggregator-sink"
)

// waitAtMost is the timeout of every wait in these tests: far more than any should take.
const waitAtMost = 2 * time.Minute

// process is a program that runs until the test ends.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	exited chan struct{}
	killed atomic.Bool

	mu     sync.Mutex
	stderr bytes.Buffer
}

// start starts a program and calls onLine with each line of its standard output.
func start(t *testing.T, env []string, onLine func([]byte), binary string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = p
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		lines := bufio.NewReader(stdout)
		for {
			line, err := lines.ReadBytes('\n')
			cut := err != nil && p.killed.Load() // The kill came in the middle of the line.
			if len(line) > 0 && onLine != nil && !cut {
				onLine(bytes.TrimRight(line, "\n"))
			}
			if err != nil {
				break
			}
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop()
		// Such as of a name that the newest collector calls otherwise.
		for line := range strings.Lines(p.output()) {
			if strings.Contains(strings.ToLower(line), "deprecated") {
				t.Errorf("%s warns: %s", filepath.Base(binary), line)
			}
		}
		if t.Failed() {
			t.Logf("stderr of %s:\n%s", filepath.Base(binary), p.output())
		}
	})
	return p
}

// Write takes what the program writes to its standard error.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// stop asks the program to end, as Ctrl-C does, and returns its exit code.
func (p *process) stop() int {
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.exited:
	case <-time.After(waitAtMost):
		_ = p.cmd.Process.Kill()
		<-p.exited
		p.t.Errorf("%s did not end", p.cmd.Path)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill kills the program, and returns when all its output is read.
func (p *process) kill() {
	p.t.Helper()
	p.killed.Store(true)
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.exited
}

// eventually waits for a condition.
func (p *process) eventually(what string, condition func() bool) {
	p.t.Helper()
	deadline := time.Now().Add(waitAtMost)
	for !condition() {
		select {
		case <-p.exited:
			p.t.Fatalf("%s ended while the test waited for %s", p.cmd.Path, what)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s did not come", what)
		}
		time.Sleep(20 * time.Millisecond) // Between two looks.
	}
}

// sink is a loggregator-sink.
type sink struct {
	*process
	addr, certs string
	take        func(*loggregator_v2.Envelope)

	mu        sync.Mutex
	envelopes []*loggregator_v2.Envelope
}

func startSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{certs: filepath.Join(t.TempDir(), "certs")}
	s.take = s.keep
	s.listen(t, "127.0.0.1:0")
	return s
}

// startSinkAt starts a sink on an address, with the certificates of one before it, and calls take with each envelope.
func startSinkAt(t *testing.T, addr, certs string, take func(*loggregator_v2.Envelope)) *sink {
	t.Helper()
	s := &sink{certs: certs, take: take}
	s.listen(t, addr)
	return s
}

func (s *sink) listen(t *testing.T, addr string) {
	t.Helper()
	s.process = start(t, nil, s.line, sinkBinary, "-listen", addr, "-certs", s.certs, "-output", "json")
	s.eventually("the sink's address", func() bool {
		_, after, ok := strings.Cut(s.output(), "listening on ")
		s.addr, _, _ = strings.Cut(after, ";")
		return ok
	})
}

func (s *sink) line(line []byte) {
	e := &loggregator_v2.Envelope{}
	if err := protojson.Unmarshal(line, e); err != nil {
		s.t.Errorf("not an envelope: %q: %v", line, err)
		return
	}
	s.take(e)
}

func (s *sink) keep(e *loggregator_v2.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelopes = append(s.envelopes, e)
}

// all returns what has arrived since forget, or so far.
func (s *sink) all() []*loggregator_v2.Envelope {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.envelopes)
}

func (s *sink) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelopes = nil
}

// from returns what has arrived so far from a source ID.
func (s *sink) from(sourceID string) []*loggregator_v2.Envelope {
	var found []*loggregator_v2.Envelope
	for _, e := range s.all() {
		if e.GetSourceId() == sourceID {
			found = append(found, e)
		}
	}
	return found
}

// waitFor waits until n envelopes have arrived from a source ID.
func (s *sink) waitFor(sourceID string, n int) []*loggregator_v2.Envelope {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d envelopes of %s", n, sourceID), func() bool { return len(s.from(sourceID)) >= n })
	return s.from(sourceID)
}

// collector is the built collector.
type collector struct {
	*process
	grpcPort, httpPort, metricsPort, healthPort, pprofPort int
	logFile                                                string
}

// startCollector starts the collector on testdata/config.yaml.
func startCollector(t *testing.T, s *sink) *collector {
	t.Helper()
	_, sinkPort, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	ports := freePorts(t, 4)
	c := &collector{
		grpcPort: ports[0], httpPort: ports[1], metricsPort: ports[2], healthPort: ports[3],
		logFile: filepath.Join(t.TempDir(), "app.log"),
	}
	require.NoError(t, os.WriteFile(c.logFile, []byte("first line\nsecond line\n"), 0o600))
	c.process = start(t, []string{
		"SINK_PORT=" + sinkPort,
		"CERTS=" + s.certs,
		"LOG_FILE=" + c.logFile,
		"OTLP_GRPC_PORT=" + strconv.Itoa(c.grpcPort),
		"OTLP_HTTP_PORT=" + strconv.Itoa(c.httpPort),
		"METRICS_PORT=" + strconv.Itoa(c.metricsPort),
		"HEALTH_PORT=" + strconv.Itoa(c.healthPort),
	}, nil, collectorBinary, "--config", "testdata/config.yaml")
	c.eventually("the collector's readiness", func() bool { return c.get(c.healthPort, "/") != "" })
	return c
}

// dial makes a client of an OTLP receiver without TLS.
func dial(t *testing.T, port int) *grpc.ClientConn {
	t.Helper()
	return dialWith(t, port, insecure.NewCredentials())
}

func dialWith(t *testing.T, port int, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(loopback(port), grpc.WithTransportCredentials(creds))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports, err := outage.FreePorts(n)
	require.NoError(t, err)
	return ports
}

// get returns the body of a page of the collector, or an empty string.
func (c *collector) get(port int, path string) string {
	if code, body := c.fetch(port, path); code == http.StatusOK {
		return body
	}
	return ""
}

// fetch returns any response of the collector; the code is 0 if there is none.
func (c *collector) fetch(port int, path string) (code int, body string) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// page returns the collector's metrics; it is empty when they can't be read.
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
