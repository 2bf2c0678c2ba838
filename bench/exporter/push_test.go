// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	otelexporter "go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/loggregatorexporter/loggregatorexporter"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// startExporter creates an exporter that sends to an ingress, with default settings except for these.
func startExporter(b *testing.B, ingress *ingresstest.Capture, settings map[string]any) otelexporter.Logs {
	b.Helper()
	all := map[string]any{"endpoint": ingress.Addr(), "tls": sinkOf(ingress).settings()}
	maps.Copy(all, settings)
	return create(b, loggregatorexporter.NewFactory(), all)
}

// sinkOf returns an ingress in this process as a sink that peers can connect to.
func sinkOf(ingress *ingresstest.Capture) *sink {
	return &sink{certs: ingress.Certs, address: ingress.Addr()}
}

// startQueue creates an exporter of exporterhelper, with a queue of 1,000 batches in front of push.
func startQueue(b *testing.B, push func(context.Context, plog.Logs) error, changes ...func(*exporterhelper.QueueBatchConfig)) otelexporter.Logs {
	b.Helper()
	queue := exporterhelper.NewDefaultQueueConfig()
	for _, change := range changes {
		change(&queue)
	}
	set := exportertest.NewNopSettings(loggregatorexporter.NewFactory().Type())
	logs, err := exporterhelper.NewLogs(b.Context(), set, struct{}{}, push,
		exporterhelper.WithQueue(configoptional.Some(queue)))
	require.NoError(b, err)
	return logs
}

// channel is a bare channel of 1,000 batches. Batches that do not fit are dropped.
type channel struct {
	otelexporter.Logs // nil: its other methods are not called
	batches           chan plog.Logs
	drained           chan struct{}
}

func newChannel() *channel {
	return &channel{batches: make(chan plog.Logs, 1000), drained: make(chan struct{})}
}

func (c *channel) Start(context.Context, component.Host) error {
	go func() {
		defer close(c.drained)
		for range c.batches { // Discard.
		}
	}()
	return nil
}

func (c *channel) ConsumeLogs(_ context.Context, data plog.Logs) error {
	select {
	case c.batches <- data:
	default:
	}
	return nil
}

func (c *channel) Shutdown(context.Context) error {
	close(c.batches)
	<-c.drained
	return nil
}

// sendStructs returns a push function that sends go-loggregator's structs.
func sendStructs(b *testing.B, s *sink) func(context.Context, plog.Logs) error {
	b.Helper()
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(credentials.NewTLS(s.client(b))))
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	client := loggregator_v2.NewIngressClient(conn)
	return func(ctx context.Context, data plog.Logs) error {
		var failed error
		(&straightforward{send: func(batch *loggregator_v2.EnvelopeBatch) {
			if _, err := client.Send(ctx, batch); err != nil {
				failed = err
			}
		}}).logs(data)
		return failed
	}
}

// pushPeer is a peer of the push benchmarks.
type pushPeer struct {
	name  string
	start func(b *testing.B, ingress *ingresstest.Capture) otelexporter.Logs
}

var pushPeers = []pushPeer{
	{"exporter", func(b *testing.B, ingress *ingresstest.Capture) otelexporter.Logs {
		return startExporter(b, ingress, nil)
	}},
	{"sending_queue", func(b *testing.B, ingress *ingresstest.Capture) otelexporter.Logs {
		return startQueue(b, sendStructs(b, sinkOf(ingress)))
	}},
}

// BenchmarkPush pushes batches of 100 records, with different consumers behind the peer. A full peer may drop or refuse: what counts is
// how long the pipeline is blocked.
func BenchmarkPush(b *testing.B) {
	for _, behind := range []struct {
		name  string
		fault func(*ingresstest.Capture)
		peers []pushPeer
	}{
		{"live", func(*ingresstest.Capture) {}, pushPeers},
		{"slow", func(ingress *ingresstest.Capture) { ingress.Slow(20 * time.Millisecond) }, pushPeers},
		{"stalled", (*ingresstest.Capture).Stall, pushPeers},
		{"none", func(*ingresstest.Capture) {}, []pushPeer{
			{"sending_queue", func(b *testing.B, _ *ingresstest.Capture) otelexporter.Logs {
				return startQueue(b, func(context.Context, plog.Logs) error { return nil })
			}},
			{"channel", func(*testing.B, *ingresstest.Capture) otelexporter.Logs { return newChannel() }},
		}},
	} {
		for _, peer := range behind.peers {
			for _, pushers := range []int{1, 8, 64} {
				b.Run(fmt.Sprintf("pushers=%d/behind=%s/peer=%s", pushers, behind.name, peer.name), func(b *testing.B) {
					push(b, pushers, behind.fault, peer.start)
				})
			}
		}
	}
}

// BenchmarkPushGrowth pushes to a stalled peer, from an increasing number of goroutines, and into rings of increasing size.
func BenchmarkPushGrowth(b *testing.B) {
	for _, pushers := range []int{1, 2, 4, 8, 16, 32, 64} {
		for _, peer := range pushPeers {
			b.Run(fmt.Sprintf("grow=pushers/n=%d/peer=%s", pushers, peer.name), func(b *testing.B) {
				push(b, pushers, (*ingresstest.Capture).Stall, peer.start)
			})
		}
	}
	for _, size := range []int{10, 100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("grow=capacity/n=%d/peer=exporter", size), func(b *testing.B) {
			push(b, 1, (*ingresstest.Capture).Stall, func(b *testing.B, ingress *ingresstest.Capture) otelexporter.Logs {
				return startExporter(b, ingress, map[string]any{"diode": map[string]any{"capacity": size, "max_items": 0}})
			})
		})
	}
}

// push pushes b.N batches of 100 records from the given number of goroutines to a peer, and reports the latencies.
func push(b *testing.B, pushers int, fault func(*ingresstest.Capture), start func(*testing.B, *ingresstest.Capture) otelexporter.Logs) {
	b.Helper()
	data := benchLogs(100, 1, 12)
	data.MarkReadOnly()
	ingress := ingresstest.StartCapture(b)
	ingress.Divert(func([]*loggregator_v2.Envelope) {})
	fault(ingress)
	logs := start(b, ingress)
	require.NoError(b, logs.Start(b.Context(), componenttest.NewNopHost()))
	for range 2000 { // Fill the diode or the queue.
		_ = logs.ConsumeLogs(context.Background(), data)
	}
	if !strings.Contains(b.Name(), "behind=none") { // The connection and its allocations are not measured.
		ingress.WaitFor(b, "a call", func() bool { return ingress.Calls() > 0 })
	}
	latencies := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for p := range pushers {
		wg.Go(func() {
			for i := p; i < b.N; i += pushers {
				start := time.Now()
				_ = logs.ConsumeLogs(context.Background(), data)
				latencies[i] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/push") // The testing package rounds down.
	reportLatencies(b, latencies, 0.5, 0.99, 0.999)
	ingress.Resume() // Otherwise the queue's shutdown would wait forever.
	ingress.Down()
	abandon(logs)
}

// abandon shuts a peer down without waiting for its batches.
func abandon(logs otelexporter.Logs) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = logs.Shutdown(ctx)
}

func reportLatencies(b *testing.B, latencies []time.Duration, quantiles ...float64) {
	b.Helper()
	slices.Sort(latencies)
	for _, q := range quantiles {
		b.ReportMetric(float64(latencies[int(q*float64(len(latencies)-1))]), fmt.Sprintf("p%v-ns", 100*q))
	}
}

// heap returns the number of bytes in use on the heap.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkFull measures the memory of a component with 1,000 waiting batches of 1,000 records each, without that of the records, which
// all batches share. There is no connection, which would take the same memory in each peer.
func BenchmarkFull(b *testing.B) {
	data := benchLogs(items, 4, 12)
	data.MarkReadOnly()
	for _, peer := range []struct {
		name  string
		start func(release <-chan struct{}) otelexporter.Logs
	}{
		{"exporter", func(<-chan struct{}) otelexporter.Logs {
			return create(b, loggregatorexporter.NewFactory(), map[string]any{
				"endpoint": "127.0.0.1:1", "tls": map[string]any{"insecure": true}, // No listener.
				"diode": map[string]any{"max_items": 0},
			})
		}},
		{"sending_queue", func(release <-chan struct{}) otelexporter.Logs {
			return startQueue(b, func(context.Context, plog.Logs) error {
				<-release
				return nil
			})
		}},
	} {
		b.Run("peer="+peer.name, func(b *testing.B) {
			var bytes, garbage float64
			for range b.N {
				var empty, full runtime.MemStats
				before := heap()
				release := make(chan struct{})
				logs := peer.start(release)
				require.NoError(b, logs.Start(b.Context(), componenttest.NewNopHost()))
				runtime.ReadMemStats(&empty)
				for range 1000 {
					_ = logs.ConsumeLogs(context.Background(), data)
				}
				runtime.ReadMemStats(&full)
				garbage += float64(full.TotalAlloc - empty.TotalAlloc)
				bytes += heap() - before
				close(release)
				abandon(logs)
			}
			b.ReportMetric(bytes/float64(b.N)/1000, "heap-B/batch")
			b.ReportMetric(garbage/float64(b.N)/1000, "allocated-B/batch")
			b.ReportMetric(0, "ns/op")
		})
	}
}
