// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	otelexporter "go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/loggregatorexporter/loggregatorexporter"
)

// create returns a logs exporter with these settings.
func create(b *testing.B, factory otelexporter.Factory, settings map[string]any) otelexporter.Logs {
	b.Helper()
	cfg := factory.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	logs, err := factory.CreateLogs(b.Context(), exportertest.NewNopSettings(factory.Type()), cfg)
	require.NoError(b, err)
	return logs
}

// delivery is a started peer.
type delivery struct {
	push func(plog.Logs) // blocks while the peer is full
	stop func()
}

// deliverBy delivers with a collector exporter.
func deliverBy(b *testing.B, logs otelexporter.Logs) delivery {
	b.Helper()
	require.NoError(b, logs.Start(b.Context(), componenttest.NewNopHost()))
	return delivery{
		func(data plog.Logs) {
			if err := logs.ConsumeLogs(context.Background(), data); err != nil {
				b.Error(err)
			}
		},
		func() { require.NoError(b, logs.Shutdown(context.Background())) },
	}
}

// deliverByExporter delivers with this exporter, without a rate limit, in messages of at most the given number of envelopes.
func deliverByExporter(b *testing.B, s *sink, envelopes int) delivery {
	b.Helper()
	return deliverBy(b, create(b, loggregatorexporter.NewFactory(), map[string]any{
		"endpoint": s.address, "tls": s.settings(),
		"rate_limit": map[string]any{"envelopes_per_second": 0, "burst": envelopes},
		"diode":      map[string]any{"capacity": 100_000, "max_items": 0},
		"batch":      map[string]any{"max_envelopes": envelopes, "max_bytes": 4 << 20},
	}))
}

// deliverByOTLP delivers with the otlp exporter, which sends each batch as one message, up to ten at a time.
func deliverByOTLP(b *testing.B, s *sink) delivery {
	b.Helper()
	return deliverBy(b, create(b, otlpexporter.NewFactory(), map[string]any{
		"endpoint": s.address, "tls": s.settings(), "compression": "none",
		"sending_queue": map[string]any{"block_on_overflow": true},
	}))
}

var deliveries = []struct {
	peer  string
	start func(b *testing.B, s *sink) delivery
}{
	{"exporter", func(b *testing.B, s *sink) delivery { return deliverByExporter(b, s, 100) }},
	{"exporter_1000", func(b *testing.B, s *sink) delivery { return deliverByExporter(b, s, 1000) }},
	{"IngressClient", func(b *testing.B, s *sink) delivery {
		client, err := loggregator.NewIngressClient(s.client(b), loggregator.WithAddr(s.address))
		require.NoError(b, err)
		return delivery{
			func(data plog.Logs) { (&straightforward{emit: client.Emit}).logs(data) },
			func() { _ = client.CloseSend() }, // The response is io.EOF.
		}
	}},
	{"queue-structs-Send", func(b *testing.B, s *sink) delivery {
		// The pipeline waits when the queue is full, as with otlp here.
		return deliverBy(b, startQueue(b, sendStructs(b, s), func(q *exporterhelper.QueueBatchConfig) { q.BlockOnOverflow = true }))
	}},
	{"otlp", deliverByOTLP},
	{"otlp_100", func(b *testing.B, s *sink) delivery {
		otlp := deliverByOTLP(b, s)
		tenth := benchLogs(items/10, 4, 12)
		tenth.MarkReadOnly()
		return delivery{func(plog.Logs) {
			for range 10 {
				otlp.push(tenth)
			}
		}, otlp.stop}
	}},
}

// processorTime returns the processor time that this process has used.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDeliver delivers 20 batches of 1,000 records to a sink in another process, over mutual TLS and an established connection. No
// peer has a rate limit, and none loses data.
func BenchmarkDeliver(b *testing.B) {
	const batches = 20
	data := benchLogs(items, 4, 12)
	data.MarkReadOnly()
	s := startSink(b)
	for _, cores := range []int{1, 2} {
		for _, peer := range deliveries {
			b.Run(fmt.Sprintf("cores=%d/peer=%s", cores, peer.peer), func(b *testing.B) {
				if cores > runtime.NumCPU() {
					b.Skip("not enough cores")
				}
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				arrived := s.ask()
				d := peer.start(b, s)
				deliver := func(batches int) {
					for range batches {
						d.push(data)
					}
					arrived += int64(batches * items)
					s.waitFor(b, arrived)
				}
				deliver(batches)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				busy := processorTime(b)
				b.ResetTimer()
				deliver(b.N * batches)
				b.StopTimer()
				busy = processorTime(b) - busy
				runtime.ReadMemStats(&after)
				d.stop()
				n := float64(b.N * batches * items)
				b.ReportMetric(n/b.Elapsed().Seconds(), "items/s")
				b.ReportMetric(busy.Seconds()/n*1e6, "cpu-s/million")
				b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/item")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
