// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"
	otelexporter "go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exporterhelper"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/loggregatorexporter/loggregatorexporter"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// startExporter starts the exporter with its defaults before an ingress.
func startExporter(b *testing.B, ingress *ingresstest.Capture) otelexporter.Logs {
	b.Helper()
	factory := loggregatorexporter.NewFactory()
	cfg := factory.CreateDefaultConfig()
	require.NoError(b, confmap.NewFromStringMap(map[string]any{
		"endpoint": ingress.Addr(),
		"tls": map[string]any{
			"ca_file":   filepath.Join(ingress.Certs, ingresstest.CAFile),
			"cert_file": filepath.Join(ingress.Certs, ingresstest.ClientCertFile),
			"key_file":  filepath.Join(ingress.Certs, ingresstest.ClientKeyFile),
		},
	}).Unmarshal(cfg))
	logs, err := factory.CreateLogs(b.Context(), exportertest.NewNopSettings(factory.Type()), cfg)
	require.NoError(b, err)
	return logs
}

// startQueue starts exporterhelper with its queue of 1,000 batches before a pusher.
func startQueue(b *testing.B, push func(context.Context, plog.Logs) error) otelexporter.Logs {
	b.Helper()
	set := exportertest.NewNopSettings(loggregatorexporter.NewFactory().Type())
	logs, err := exporterhelper.NewLogs(b.Context(), set, struct{}{}, push,
		exporterhelper.WithQueue(configoptional.Some(exporterhelper.NewDefaultQueueConfig())))
	require.NoError(b, err)
	return logs
}

// BenchmarkPush is a push of 100 records, whatever is behind it. A peer that is full may drop or refuse: what counts is how long the
// pipeline is held up.
func BenchmarkPush(b *testing.B) {
	data := benchLogs(100, 1, 12)
	data.MarkReadOnly()
	stalled := make(chan struct{})
	ingress := ingresstest.StartCapture(b)
	ingress.Divert(func([]*loggregator_v2.Envelope) {})
	peers := []struct {
		name  string
		start func(b *testing.B) otelexporter.Logs
	}{
		{"exporter/behind=live", func(b *testing.B) otelexporter.Logs { return startExporter(b, ingress) }},
		{"exporter/behind=slow", func(b *testing.B) otelexporter.Logs {
			ingress.Slow(20 * time.Millisecond)
			return startExporter(b, ingress)
		}},
		{"exporter/behind=stalled", func(b *testing.B) otelexporter.Logs {
			ingress.Stall()
			return startExporter(b, ingress)
		}},
		{"sending_queue/behind=no-op", func(b *testing.B) otelexporter.Logs {
			return startQueue(b, func(context.Context, plog.Logs) error { return nil })
		}},
		{"sending_queue/behind=stalled", func(b *testing.B) otelexporter.Logs {
			return startQueue(b, func(context.Context, plog.Logs) error {
				<-stalled
				return nil
			})
		}},
	}
	for _, peer := range peers {
		for _, pushers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("peer=%s/pushers=%d", peer.name, pushers), func(b *testing.B) {
				logs := peer.start(b)
				require.NoError(b, logs.Start(b.Context(), componenttest.NewNopHost()))
				latencies := make([]time.Duration, b.N)
				var wg sync.WaitGroup
				b.ReportAllocs()
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
				slices.Sort(latencies)
				for _, q := range []float64{0.5, 0.99, 0.999} {
					b.ReportMetric(float64(latencies[int(q*float64(b.N-1))]), fmt.Sprintf("p%v-ns", 100*q))
				}
				if peer.name == "sending_queue/behind=stalled" {
					close(stalled) // Else its shutdown would wait for ever.
				}
				ingress.Resume()
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_ = logs.Shutdown(ctx)
				stalled = make(chan struct{})
			})
		}
	}
}
