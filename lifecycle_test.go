// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestStartMissingCertificate(t *testing.T) {
	f := newFixture(t)
	f.cfg.TLS.CertFile = "/no/such/file"
	e := f.create("logs")
	require.ErrorContains(t, e.Start(t.Context(), f.host), "/no/such/file")
	require.NoError(t, e.Shutdown(t.Context()))
}

func TestShutdownSendsQueue(t *testing.T) {
	f := newFixture(t)
	e := f.startStalled("logs", 0, 100, 0)
	for i := 1; i < 20; i++ {
		e.push(i*100, 100, 0)
	}
	done := make(chan error)
	go func() { done <- e.Shutdown(t.Context()) }()
	f.ingress.Resume()
	require.NoError(t, <-done)
	assert.Len(t, f.ingress.Envelopes(), 2000)
	f.checkIdentity("logs", 2000)
}

func TestShutdownDuringOutage(t *testing.T) {
	f := newFixture(t)
	f.retryInAnHour()
	f.ingress.Refuse(status.Error(codes.Unavailable, "gone"))
	e := f.start("logs")
	e.push(0, 100, 0)
	// The outage is logged when the first attempt is over.
	require.Eventually(t, func() bool { return len(f.lines("is not accepting envelopes")) == 1 }, waitAtMost, time.Millisecond)
	for i := 1; i < 5; i++ {
		e.push(i*100, 100, 0)
	}
	require.NoError(t, e.Shutdown(t.Context()), "an hour's pause does not hold it up")
	assert.Equal(t, 6, f.ingress.Calls(), "a last attempt for the first message, one for each other")
	assert.Equal(t, 500, f.sum("exporter_send_failed_log_records",
		attribute.String("error.type", "Unavailable"), attribute.Bool("error.permanent", false)))
	f.checkIdentity("logs", 500)
}

func TestShutdownDeadlineDropsQueue(t *testing.T) {
	f := newFixture(t)
	e := f.startStalled("logs", 0, 100, 0)
	for i := 1; i < 5; i++ {
		e.push(i*100, 100, 0)
	}
	empty := plog.NewLogs()
	empty.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	require.NoError(t, e.Component.(logsExporter).ConsumeLogs(t.Context(), empty))
	deadline, cancel := context.WithTimeout(t.Context(), time.Hour)
	cancel() // It is over.
	require.NoError(t, e.Shutdown(deadline))
	assert.Equal(t, 100, f.sum("exporter_send_failed_log_records", attribute.String("error.type", "Canceled")), "what was on its way")
	assert.Empty(t, f.host.Statuses(), "that it was cut off says nothing of Loggregator")
	assert.Equal(t, 401, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "shutdown")), "without a translation, which would reject one")
	assert.Zero(t, f.sum("exporter_enqueue_failed_log_records"))
	f.checkIdentity("logs", 501)
	require.Len(t, f.lines("Dropped items that could not be sent before shutdown"), 1)
}

func TestConsumeAfterShutdown(t *testing.T) {
	f := newFixture(t)
	e := f.start("logs")
	require.NoError(t, e.Shutdown(t.Context()))
	require.NoError(t, e.Shutdown(t.Context()), "twice")
	e.push(0, 7, 0)
	assert.Equal(t, 7, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "shutdown")))
}

func TestShutdownWithoutStart(t *testing.T) {
	f := newFixture(t)
	e := f.create("logs")
	e.push(0, 7, 0)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, 7, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "shutdown")))
}

func TestShutdownIdle(t *testing.T) {
	f := newFixture(t)
	for signal := range itemNames {
		require.NoError(t, f.start(signal).Shutdown(t.Context()))
		f.checkIdentity(signal, 0)
	}
	assert.Empty(t, f.logs.All())
}

// The signals of an exporter ID share one deadline, that of the first Shutdown: they send their last messages at the same time,
// although the collector shuts them down one after the other. A server that never responds delays them no longer. What is pushed
// meanwhile is counted.
func TestShutdownSharedDeadline(t *testing.T) {
	signals := []string{"logs", "metrics", "traces"}
	f := newFixture(t)
	var exporters []feed
	for _, signal := range signals {
		e := f.startStalled(signal, 0, 100, 0)
		exporters = append(exporters, e)
		e.push(100, 1000, 0)
	}
	start := time.Now()
	first, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for i, e := range exporters {
		ctx := t.Context() // Of itself it would wait for shutdownTimeout.
		if i == 0 {
			ctx = first
		}
		require.NoError(t, e.Shutdown(ctx))
		assert.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond, "what is on its way has that chance")
		for _, straggler := range exporters[i+1:] {
			straggler.push(2000, 10, 0)
		}
	}
	assert.Less(t, time.Since(start), shutdownTimeout)
	for i, signal := range signals {
		assert.Equal(t, counts{failed: 100, dropped: 1000 + 10*i}, f.counts(signal), signal)
		f.checkIdentity(signal, 1100+10*i)
	}
	assert.Empty(t, f.host.Statuses(), "that it was cut off says nothing of Loggregator")
}

// From the first Shutdown on, no signal of the exporter ID waits before an attempt.
func TestShutdownEndsBackoff(t *testing.T) {
	f := newFixture(t)
	f.retryInAnHour()
	f.ingress.Refuse(status.Error(codes.Unavailable, "gone"))
	logs, traces := f.start("logs"), f.start("traces")
	traces.push(0, 10, 0)
	// The outage is logged when the first attempt is over.
	require.Eventually(t, func() bool { return len(f.lines("is not accepting envelopes")) == 1 }, waitAtMost, time.Millisecond)
	require.NoError(t, logs.Shutdown(t.Context()))
	f.ingress.WaitFor(t, "the last attempt", func() bool { return f.ingress.Calls() == 2 })
	f.ingress.Resume()
	traces.push(10, 10, 0) // A receiver's, which is shut down later.
	f.ingress.WaitForEnvelopes(t, 10)
	require.NoError(t, traces.Shutdown(t.Context()))
	assert.Equal(t, counts{sent: 10, failed: 10}, f.counts("traces"))
	f.checkIdentity("traces", 20)
}

// When the deadline comes in the middle of a batch, acknowledged messages count as sent, the one in the attempt as failed, and the
// rest as dropped.
func TestShutdownDeadlineDuringBatch(t *testing.T) {
	f := newFixture(t)
	f.cfg.TimeoutConfig.Timeout = 0
	f.cfg.Batch.MaxEnvelopes = 10
	f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if batch[0].GetTags()["number"] == "50" {
			f.ingress.Stall()
		}
		return nil
	})
	e := f.start("logs")
	e.push(0, 200, 0)
	e.push(200, 10, 0)
	f.ingress.WaitFor(t, "the message that hangs", func() bool { return f.ingress.Calls() == 7 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.NoError(t, e.Shutdown(ctx))
	assert.Equal(t, counts{sent: 60, failed: 10, dropped: 140}, f.counts("logs"))
	f.checkIdentity("logs", 210)
	assert.Len(t, f.numbers("logs"), 60)
}

// Shutdown does not wait for the rate limit beyond its deadline.
func TestShutdownDuringRateLimit(t *testing.T) {
	f := newFixture(t)
	f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 1, Burst: 100}
	e := f.start("logs")
	e.push(0, 1000, 0)
	f.ingress.WaitForEnvelopes(t, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.NoError(t, e.Shutdown(ctx))
	assert.Equal(t, counts{sent: 100, dropped: 900}, f.counts("logs"))
	f.checkIdentity("logs", 1000)
}

// Pushes during and after Shutdown are counted, and none panics.
func TestConsumeDuringShutdown(t *testing.T) {
	for signal := range itemNames {
		t.Run(signal, func(t *testing.T) {
			const pushers, perBatch = 8, 3
			f := newFixture(t)
			f.cfg.Diode.Capacity = 5
			f.ingress.Slow(time.Millisecond)
			e := f.start(signal)
			var pushed, next atomic.Int64
			var closing atomic.Bool
			var wg sync.WaitGroup
			for range pushers {
				wg.Go(func() {
					for after := 0; after < 100; {
						if closing.Load() {
							after++
						}
						e.push(int(next.Add(perBatch)), perBatch, 0)
						pushed.Add(perBatch)
					}
				})
			}
			f.ingress.WaitForEnvelopes(t, 1)
			closing.Store(true)
			require.NoError(t, e.Shutdown(t.Context()))
			wg.Wait()
			c := f.counts(signal)
			assert.Zero(t, c.waiting)
			assert.Zero(t, c.failed)
			f.checkIdentity(signal, int(pushed.Load()))
			assert.Len(t, f.numbers(signal), c.sent)
			assert.Positive(t, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "shutdown")))
		})
	}
}

// Without a connection each message has its one attempt, without waiting for the rate limit.
func TestShutdownWithoutConnection(t *testing.T) {
	f := newFixture(t)
	f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 100, Burst: 100}
	f.retryInAnHour()
	f.ingress.Down()
	e := f.start("metrics")
	e.push(0, 100, 0)
	require.Eventually(t, func() bool { return len(f.lines("is not accepting envelopes")) == 1 }, waitAtMost, time.Millisecond)
	for i := range 50 { // At that rate they would take the better part of a minute.
		e.push(100+i*100, 100, 0)
	}
	require.NoError(t, e.Shutdown(t.Context()))
	c := f.counts("metrics")
	assert.Equal(t, 5100, c.failed+c.dropped)
	assert.Greater(t, c.failed, 2500, "all but what it met while it was connecting")
	f.checkIdentity("metrics", 5100)
}
