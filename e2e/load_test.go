// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// startCollectorWith starts the collector with these settings of the exporter, and nothing between it and the receiver.
func startCollectorWith(t *testing.T, env []string, settings string) *collector {
	t.Helper()
	ports := freePorts(t, 5)
	c := &collector{grpcPort: ports[0], metricsPort: ports[1], pprofPort: ports[2], healthPort: ports[3], httpPort: ports[4]}
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:%d"}, http: {endpoint: "127.0.0.1:%d"}}}}
exporters: {loggregator: {%s}}
extensions:
  pprof: {endpoint: "127.0.0.1:%d"}
  health_check:
    http: {endpoint: "127.0.0.1:%d", status: {path: /}}
    component_health: {include_permanent_errors: true, include_recoverable_errors: true, recovery_duration: 1ms}
service:
  extensions: [pprof, health_check]
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %d}}}}]}}
  pipelines:
    logs: {receivers: [otlp], exporters: [loggregator]}
    metrics: {receivers: [otlp], exporters: [loggregator]}
    traces: {receivers: [otlp], exporters: [loggregator]}
`, c.grpcPort, c.httpPort, settings, c.pprofPort, c.healthPort, c.metricsPort), 0o600))
	c.process = start(t, env, nil, collectorBinary, "--config", config,
		"--feature-gates=+extension.healthcheck.useComponentStatus")
	c.eventually("the metrics page", func() bool { return c.get(c.metricsPort, "/metrics") != "" })
	return c
}

// untiring are settings of the exporter with which it finds out soon that a sink is back, and fails no item.
const untiring = "timeout: 1s, retry_on_failure: {initial_interval: 100ms, max_interval: 500ms, max_elapsed_time: 0}"

// to is the part of the exporter's settings that leads to a sink.
func (s *sink) to() string {
	return fmt.Sprintf("endpoint: %q, tls: {ca_file: %[2]s/ca.crt, cert_file: %[2]s/client.crt, key_file: %[2]s/client.key}",
		s.addr, s.certs)
}

// status is a size of the process in /proc, in MiB.
func (p *process) status(field string) float64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(p.t, err)
	_, after, ok := strings.Cut(string(status), "\n"+field+":")
	require.Truef(p.t, ok, "no %s in\n%s", field, status)
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	require.NoError(p.t, err)
	return kib / 1024
}

func skipWithoutProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc")
	}
}

// uniform is the shape of batches of so many items of each signal.
func uniform(items, resources, payload int, attributes [3]int) outage.Shape {
	return outage.Shape{Items: [3]int{items, items, items}, Resources: resources, Payload: payload, Attributes: attributes}
}

// load is a load on a collector, until the test ends.
type load struct {
	*outage.Load
	c *collector
}

// startLoad pushes so many batches of each signal a second; 0 is as many as the collector takes.
func startLoad(t *testing.T, c *collector, s outage.Shape, batches int) *load {
	t.Helper()
	l := &load{outage.StartLoad(dial(t, c.grpcPort), s, batches, nil), c}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.c.t.Helper()
	assert.NoError(l.c.t, l.Stop())
}

// accounts returns the account of each signal at one moment.
func (l *load) accounts() []outage.Account {
	l.c.t.Helper()
	page := l.c.page()
	require.NotEmpty(l.c.t, page, "the metrics page") // Else all would be 0.
	return page.Accounts()
}

// settle stops the load, waits until nothing waits in the collector, and returns what became of everything.
func (l *load) settle() (accounts []outage.Account) {
	l.c.t.Helper()
	l.stop()
	l.c.eventually("the end of what waits", func() bool {
		accounts = l.accounts()
		return outage.Empty(accounts)
	})
	return accounts
}
