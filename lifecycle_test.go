// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Without a drain, Shutdown drops the waiting batches. Later pushes are dropped too.
func TestShutdownWithoutDrain(t *testing.T) {
	for name, cert := range map[string]string{"not started": "", "Start failed": "/no/such/file"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			e := f.create("logs")
			if cert != "" {
				f.cfg.TLS.CertFile = cert
				require.ErrorContains(t, e.Start(t.Context(), f.host), cert)
			}
			e.push(0, 7, 0)
			e.stop()
			e.stop() // The second call does nothing.
			e.push(7, 3, 0)
			f.check("logs", counts{dropped: 10})
			assert.Equal(t, 10, f.sum("exporter_loggregator_dropped_items", "reason=shutdown"))
		})
	}
}

// After the first Shutdown, no signal of the exporter ID pauses before an attempt. Each waiting message gets one attempt.
func TestShutdownDuringOutage(t *testing.T) {
	f := newFixture(t)
	f.retryInAnHour()
	logs, traces := f.start("logs"), f.start("traces")
	logs.push(1000, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1) // Connect first: a new connection would end the pause early.
	f.ingress.Refuse(status.Error(codes.Unavailable, "gone"))
	logs.push(0, 100, 0)
	traces.push(0, 100, 0)
	f.waitForStatuses(recoverable, recoverable) // Both first attempts have failed.
	assert.Equal(t, 1+2, f.ingress.Calls(), "the outage is reported long before the next attempt")
	for i := 1; i < 5; i++ {
		logs.push(i*100, 100, 0)
	}
	logs.stop()
	traces.settle()
	assert.Equal(t, 3+5+1, f.ingress.Calls(), "a last attempt for the first message, one for each of the others")
	f.ingress.Resume()
	traces.push(100, 10, 0) // From a receiver that is shut down later.
	f.ingress.WaitForEnvelopes(t, 1+10)
	traces.stop()
	traces.push(200, 1, 0)

	assert.Equal(t, 500, f.sum("exporter_send_failed_log_records", "error.type=Unavailable", "error.permanent=false"))
	f.check("logs", counts{sent: 1, failed: 500})
	f.check("traces", counts{sent: 10, failed: 100, dropped: 1})
	assert.Equal(t, 1, f.sum("exporter_loggregator_dropped_items", "reason=shutdown"))
}

// An outage that ends during Shutdown changes no status: the collector accepts none from a component that it is stopping.
func TestShutdownEndsOutage(t *testing.T) {
	f := newFixture(t)
	f.retryInAnHour()
	e := f.start("logs")
	e.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1) // Connect first: a new connection would end the pause early.
	f.ingress.Refuse(status.Error(codes.Unavailable, "out to lunch"))
	e.push(1, 1, 0)
	f.waitForStatuses(recoverable)
	f.ingress.Resume()
	e.stop()
	f.check("logs", counts{sent: 2})
	assert.Len(t, f.lines("Loggregator is reachable again"), 1)
	assert.Equal(t, []componentstatus.Status{recoverable}, f.host.Statuses())
}

// The signals of an exporter ID share the deadline of the first Shutdown: they send their last messages at the same time, although
// the collector shuts them down one after the other. A server that never responds delays them no further. Meanwhile, pushes are counted.
func TestShutdownSharedDeadline(t *testing.T) {
	signals := []string{"logs", "metrics", "traces"}
	f := newFixture(t)
	var exporters []feed
	for _, signal := range signals {
		e := f.startStalled(signal, 0, 100, 0)
		exporters = append(exporters, e)
		e.push(100, 999, 0)
	}
	rejected := plog.NewLogs() // Would be rejected if translated.
	rejected.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	exporters[0].consumeLogs(rejected)
	exporters[1].push(1099, 1, 0)
	exporters[2].push(1099, 1, 0)
	start := time.Now()
	first, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for i, e := range exporters {
		ctx := t.Context() // Without the first deadline, Shutdown would take shutdownTimeout.
		if i == 0 {
			ctx = first
		}
		require.NoError(t, e.Shutdown(ctx))
		assert.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond, "the messages in progress have until the deadline")
		for _, straggler := range exporters[i+1:] {
			straggler.push(2000, 10, 0)
		}
	}
	assert.Less(t, time.Since(start), shutdownTimeout)
	for i, signal := range signals {
		f.check(signal, counts{failed: 100, dropped: 1000 + 10*i})
		assert.Equal(t, 100, f.sum("exporter_send_failed_"+itemNames[signal], "error.type=Canceled"), "the message in progress fails")
		assert.Equal(t, 1000+10*i, f.sum("exporter_loggregator_dropped_items", "signal="+signal, "reason=shutdown"))
	}
	assert.Equal(t, 3000+10+20, f.logged("Dropped items that could not be sent before shutdown"))
	assert.Empty(t, f.host.Statuses(), "an interrupted attempt is not an outage")
}

// Without a context deadline, Shutdown takes at most 10 s for all signals of the exporter ID together, despite the rate limit.
func TestShutdownTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // Connections are refused at once, so fake time works.
		f := newFixture(t)
		f.ingress.Down()
		f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 1, Burst: 100}
		f.cfg.WaitForReady = true // Otherwise, messages do not wait for the rate limit without a connection.
		logs, traces := f.start("logs"), f.start("traces")
		logs.push(0, 200, 0)
		synctest.Wait() // The first message has used up the burst.
		traces.push(0, 200, 0)
		begin := time.Now()
		logs.stop()
		assert.Equal(t, 10*time.Second, time.Since(begin))
		traces.stop()
		assert.Equal(t, 10*time.Second, time.Since(begin))
		f.check("logs", counts{failed: 100, dropped: 100})
		f.check("traces", counts{dropped: 200})
	})
}

// If the deadline passes during a batch, acknowledged messages count as sent, the message in progress as failed, and the rest as dropped.
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
	f.ingress.WaitFor(t, "the hanging message", func() bool { return f.ingress.Calls() == 7 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.NoError(t, e.Shutdown(ctx))
	f.check("logs", counts{sent: 60, failed: 10, dropped: 140})
	assert.Len(t, f.numbers("logs"), 60)
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
			var next atomic.Int64
			push := func() { e.push(int(next.Add(perBatch)), perBatch, 0) }
			push()
			f.ingress.WaitForEnvelopes(t, 1)
			var stopped atomic.Bool
			var begun, wg sync.WaitGroup
			begun.Add(pushers)
			for range pushers {
				wg.Go(func() {
					push()
					begun.Done()
					for !stopped.Load() {
						push()
						runtime.Gosched() // One processor may have to do the sending too.
					}
					push()
				})
			}
			begun.Wait()
			e.stop()
			stopped.Store(true)
			wg.Wait()
			c := f.checkIdentity(signal, int(next.Load()))
			assert.Zero(t, c.waiting)
			assert.Zero(t, c.failed)
			assert.Len(t, f.ingress.Envelopes(), c.sent)
			assert.Len(t, f.numbers(signal), c.sent)
			assert.GreaterOrEqual(t, f.sum("exporter_loggregator_dropped_items", "reason=shutdown"), pushers*perBatch)
		})
	}
}
