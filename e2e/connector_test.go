// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // The exporter compresses.
)

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
	if ctx.Err() == nil { // Else the exporter has given up the attempt.
		for _, record := range request.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().All() {
			b.numbers = append(b.numbers, record.Body().Int())
		}
	}
	return plogotlp.NewExportResponse(), ctx.Err()
}

// While the backend stalls, receivers take everything at once. When it goes on, it gets the batch that the exporter had tried, and then the
// newest data. Every item is accounted for.
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
		push() // It returns although nothing gets through.
	}
	assert.Len(t, b.all(), batch)
	assert.Equal(t, pushed, count("accepted"))
	assert.Equal(t, pushed-2*batch-maxItems, count("dropped"), "at that moment")
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
