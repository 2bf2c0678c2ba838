// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
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

// shape is what the batches of a load are like. Each item has its ID in the payload or the name, and no two items have an
// attribute value in common.
type shape struct {
	items, resources, payload                      int
	logAttributes, pointAttributes, spanAttributes int
}

func (s shape) logs(first int) plog.Logs {
	data := plog.NewLogs()
	for k := range s.resources {
		rl := data.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("source_id", "logs")
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for id := first + k; id < first+s.items; id += s.resources {
			r := records.AppendEmpty()
			r.SetTimestamp(when)
			r.Body().SetStr(fmt.Sprintf("%0*d", s.payload, id))
			putAttributes(r.Attributes(), id, s.logAttributes)
		}
	}
	return data
}

func (s shape) metrics(first int) pmetric.Metrics {
	data := pmetric.NewMetrics()
	for k := range s.resources {
		rm := data.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("source_id", "metrics")
		metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
		for id := first + k; id < first+s.items; id += s.resources {
			m := metrics.AppendEmpty()
			m.SetName(fmt.Sprintf("load.%d", id))
			p := m.SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetTimestamp(when)
			p.SetDoubleValue(float64(id))
			putAttributes(p.Attributes(), id, s.pointAttributes)
		}
	}
	return data
}

func (s shape) traces(first int) ptrace.Traces {
	data := ptrace.NewTraces()
	for k := range s.resources {
		rs := data.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("source_id", "traces")
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for id := first + k; id < first+s.items; id += s.resources {
			span := spans.AppendEmpty()
			span.SetName(strconv.Itoa(id))
			span.SetKind(ptrace.SpanKindServer)
			span.SetStartTimestamp(when)
			span.SetEndTimestamp(when + 1)
			putAttributes(span.Attributes(), id, s.spanAttributes)
		}
	}
	return data
}

func putAttributes(attributes pcommon.Map, id, n int) {
	for k := range n {
		attributes.PutStr(fmt.Sprintf("load.attribute.%02d", k), fmt.Sprintf("value %d of item %d", k, id))
	}
}

// stream is the load of one signal: the items 0, 1, 2 and so on.
type stream struct {
	signal string // in the labels of the exporter's metrics, and the source ID
	items  string // in the names of the collector's metrics
	export func(first int) error
	sent   atomic.Int64 // items
}

// load sends the three signals to a collector until it is stopped.
type load struct {
	streams []*stream
	stop    func()
}

// startLoad sends so many items of each signal a second; 0 is as many as the collector takes.
func startLoad(t *testing.T, c *collector, s shape, rate int) *load {
	t.Helper()
	conn := dial(t, c.grpcPort)
	logs, metrics, traces := plogotlp.NewGRPCClient(conn), pmetricotlp.NewGRPCClient(conn), ptraceotlp.NewGRPCClient(conn)
	ctx, ready := context.Background(), grpc.WaitForReady(true)
	l := &load{streams: []*stream{
		{signal: "logs", items: "log_records", export: func(first int) error {
			_, err := logs.Export(ctx, plogotlp.NewExportRequestFromLogs(s.logs(first)), ready)
			return err
		}},
		{signal: "metrics", items: "metric_points", export: func(first int) error {
			_, err := metrics.Export(ctx, pmetricotlp.NewExportRequestFromMetrics(s.metrics(first)), ready)
			return err
		}},
		{signal: "traces", items: "spans", export: func(first int) error {
			_, err := traces.Export(ctx, ptraceotlp.NewExportRequestFromTraces(s.traces(first)), ready)
			return err
		}},
	}}
	stopped := make(chan struct{})
	var running sync.WaitGroup
	for _, st := range l.streams {
		running.Go(func() {
			var pace <-chan time.Time
			if rate > 0 {
				ticker := time.NewTicker(time.Second * time.Duration(s.items) / time.Duration(rate))
				defer ticker.Stop()
				pace = ticker.C
			} else {
				always := make(chan time.Time)
				close(always)
				pace = always
			}
			for {
				select {
				case <-stopped:
					return
				case <-pace:
				}
				if err := st.export(int(st.sent.Load())); err != nil {
					t.Errorf("the collector refused %s: %v", st.signal, err)
					return
				}
				st.sent.Add(int64(s.items))
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		close(stopped)
		running.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

// account is what the collector's metrics say about the items of one signal.
type account struct{ accepted, sent, failed, dropped, rejected, waiting int }

// accounts are those of all signals at one moment, in the order of the load's streams.
func (l *load) accounts(c *collector) []account {
	c.t.Helper()
	page := c.get(c.metricsPort, "/metrics")
	require.NotEmpty(c.t, page, "the metrics page") // Else all would be 0.
	var accounts []account
	for _, st := range l.streams {
		of := func(name string, labels ...string) int { return int(total(c.t, page, "otelcol_"+name, labels...)) }
		signal := fmt.Sprintf("signal=%q", st.signal)
		accounts = append(accounts, account{
			accepted: of("receiver_accepted_" + st.items),
			sent:     of("exporter_sent_" + st.items),
			failed:   of("exporter_send_failed_" + st.items),
			dropped:  of("exporter_loggregator_dropped_items", signal),
			rejected: of("exporter_loggregator_rejected_items", signal),
			waiting:  of("exporter_loggregator_waiting_items", signal),
		})
	}
	return accounts
}

// settle stops the load, waits until nothing waits in the collector, and returns what became of everything.
func (l *load) settle(c *collector) []account {
	c.t.Helper()
	l.stop()
	var accounts []account
	c.eventually("the end of what waits", func() bool {
		accounts = l.accounts(c)
		for _, a := range accounts {
			if a.waiting > 0 {
				return false
			}
		}
		return true
	})
	return accounts
}
