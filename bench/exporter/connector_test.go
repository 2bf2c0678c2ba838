// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	otelexporter "go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"

	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector"
)

// backend is an OTLP receiver. No call returns until stalled is closed.
type backend struct {
	plogotlp.UnimplementedGRPCServer
	addr    string
	stalled chan struct{}
	got     func(plog.Logs)
}

func startBackend(b *testing.B, got func(plog.Logs)) *backend {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	r := &backend{addr: listener.Addr().String(), stalled: make(chan struct{}), got: got}
	server := grpc.NewServer()
	plogotlp.RegisterGRPCServer(server, r)
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(server.Stop)
	return r
}

func (r *backend) Export(ctx context.Context, request plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	select {
	case <-r.stalled:
		r.got(request.Logs())
		return plogotlp.NewExportResponse(), nil
	case <-ctx.Done():
		return plogotlp.NewExportResponse(), ctx.Err()
	}
}

// otlpPeer is the otlp exporter behind a queue of 1,000 batches. stop is called once the backend accepts data.
type otlpPeer struct {
	name  string
	start func(b *testing.B, addr string) (push consumer.Logs, stop func())
}

var otlpPeers = []otlpPeer{
	{"diode", func(b *testing.B, addr string) (consumer.Logs, func()) {
		exporter := startOTLP(b, addr, false)
		factory := diodeconnector.NewFactory()
		cfg := factory.CreateDefaultConfig().(*diodeconnector.Config)
		cfg.Capacity, cfg.MaxItems = 1000, 0
		c, err := factory.CreateLogsToLogs(b.Context(), connectortest.NewNopSettings(factory.Type()), cfg, exporter)
		require.NoError(b, err)
		require.NoError(b, c.Start(b.Context(), componenttest.NewNopHost()))
		return c, func() {
			require.NoError(b, c.Shutdown(b.Context()))
			require.NoError(b, exporter.Shutdown(b.Context()))
		}
	}},
	{"sending_queue", func(b *testing.B, addr string) (consumer.Logs, func()) {
		exporter := startOTLP(b, addr, true)
		return exporter, func() { require.NoError(b, exporter.Shutdown(b.Context())) }
	}},
}

func startOTLP(b *testing.B, addr string, queue bool) otelexporter.Logs {
	b.Helper()
	logs := create(b, otlpexporter.NewFactory(), map[string]any{
		"endpoint": addr, "tls": map[string]any{"insecure": true}, "compression": "none", "timeout": "1m",
		"sending_queue": map[string]any{"enabled": queue},
	})
	require.NoError(b, logs.Start(b.Context(), componenttest.NewNopHost()))
	return logs
}

// BenchmarkConnectorPush pushes batches of 100 records as fast as it can, into the diode connector and into the exporter's own queue.
func BenchmarkConnectorPush(b *testing.B) {
	for _, behind := range []string{"live", "stalled"} {
		for _, peer := range otlpPeers {
			b.Run("behind="+behind+"/peer="+peer.name, func(b *testing.B) {
				r := startBackend(b, func(plog.Logs) {})
				if behind == "live" {
					close(r.stalled)
				}
				logs, stop := peer.start(b, r.addr)
				data := benchLogs(100, 1, 12)
				data.MarkReadOnly()
				for range 2000 { // Fill the queue.
					_ = logs.ConsumeLogs(context.Background(), data)
				}
				latencies := make([]time.Duration, b.N)
				b.ResetTimer()
				for i := range latencies {
					start := time.Now()
					_ = logs.ConsumeLogs(context.Background(), data) // The queue refuses.
					latencies[i] = time.Since(start)
				}
				b.StopTimer()
				reportLatencies(b, latencies, 0.5, 0.999)
				if behind == "stalled" {
					close(r.stalled)
				}
				stop()
			})
		}
	}
}

// BenchmarkAfterOutage counts the batches that arrive in the first second after an outage in which 5,000 batches were pushed, five times
// the capacity. The backend takes one batch per millisecond.
func BenchmarkAfterOutage(b *testing.B) {
	for _, peer := range otlpPeers {
		b.Run("peer="+peer.name, func(b *testing.B) {
			var newest, arrived float64
			for range b.N {
				const pushed, waits = 5000, 1000
				var mu sync.Mutex
				var numbers []int64
				r := startBackend(b, func(logs plog.Logs) {
					mu.Lock()
					defer mu.Unlock()
					time.Sleep(time.Millisecond)
					n, _ := logs.ResourceLogs().At(0).Resource().Attributes().Get("number")
					numbers = append(numbers, n.Int())
				})
				logs, stop := peer.start(b, r.addr)
				for i := range pushed {
					data := benchLogs(100, 1, 12)
					data.ResourceLogs().At(0).Resource().Attributes().PutInt("number", int64(i))
					_ = logs.ConsumeLogs(context.Background(), data)
				}
				close(r.stalled)
				time.Sleep(time.Second)
				mu.Lock()
				arrived += float64(len(numbers))
				for _, n := range numbers {
					if n >= pushed-waits {
						newest++
					}
				}
				mu.Unlock()
				stop()
			}
			b.ReportMetric(arrived/float64(b.N), "arrived-batches")
			b.ReportMetric(100*newest/arrived, "newest-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkConnectorFull measures the memory of a peer with 1,000 waiting batches, without that of the records, which all batches share.
func BenchmarkConnectorFull(b *testing.B) {
	data := benchLogs(100, 1, 12)
	data.MarkReadOnly()
	for _, peer := range otlpPeers {
		b.Run("peer="+peer.name, func(b *testing.B) {
			var bytes float64
			for range b.N {
				r := startBackend(b, func(plog.Logs) {})
				logs, stop := peer.start(b, r.addr)
				before := heap()
				for range 1000 {
					_ = logs.ConsumeLogs(context.Background(), data)
				}
				bytes += heap() - before
				close(r.stalled)
				stop()
			}
			b.ReportMetric(bytes/float64(b.N)/1000, "heap-B/batch")
			b.ReportMetric(0, "ns/op")
		})
	}
}
