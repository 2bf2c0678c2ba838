// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package report counts what becomes of items, logs losses and outages, and reports the status of the component.
//
// At every quiet moment
//
//	accepted = sent + send_failed + dropped + rejected + waiting
package report

import (
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"
	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// DropReason says why items were given up before they were sent. Its values are those of the attribute reason.
type DropReason string

// Why items are dropped.
const (
	DropOverflow DropReason = "overflow" // the queue was full
	DropShutdown DropReason = "shutdown" // the exporter was shut down
)

// Settings are the signal of an exporter, and those of its settings that are metrics.
type Settings struct {
	Signal             pipeline.Signal
	MaxItems           int
	EnvelopesPerSecond float64
}

// Queue is a queue whose length and capacity are metrics.
type Queue interface {
	Len() int
	Cap() int
}

// Report is the report of an exporter of one signal. Any goroutine may call Accepted and Dropped at any time. The other methods that
// count belong to one goroutine at a time, the drain's.
type Report struct {
	metrics *metrics
	logger  *zap.Logger
	pushes  pushes

	_ [cacheLine]byte
	// news reports whether there are losses that were not logged. A push reads it, and writes it at most once an interval.
	news atomic.Bool
	wake chan struct{} // of one
	_    [cacheLine]byte

	// countedOut is how many items the drain has counted out, other than as dropped.
	countedOut atomic.Int64

	// Since Start:
	host  component.Host
	quit  chan struct{}
	ended chan struct{}

	// run's alone, and after it Shutdown's:
	logged       time.Time           // when losses were logged last
	loggedLosses [pushCounters]int64 // what pushes had lost until then

	mu     sync.Mutex
	losses losses
	outage outage
}

// New makes a report. It counts from then on, and logs and reports a status after Start.
func New(set exporter.Settings, s Settings, q Queue) (*Report, error) {
	r := &Report{logger: set.Logger, pushes: newPushes(), wake: make(chan struct{}, 1)}
	r.outage.logger = set.Logger
	var err error
	r.metrics, err = newMetrics(set, s, q, r)
	return r, err
}

// Start starts the goroutine that logs losses and reports the status: no push waits for a log or for the collector.
func (r *Report) Start(host component.Host) {
	r.host = host
	r.quit, r.ended = make(chan struct{}), make(chan struct{})
	go r.run()
}

// StopStatus ends the reports of the status: the collector accepts none from a component that it stops.
func (r *Report) StopStatus() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outage.ended = true
}

// Shutdown ends the goroutine, and logs the losses that were not logged yet. The callbacks of the metrics stay registered: the last export,
// when the collector ends, includes what was dropped until then.
func (r *Report) Shutdown() {
	if r.quit != nil {
		close(r.quit)
		<-r.ended
	}
	r.logLosses()
}

// run logs losses and reports the status when they are due. It sleeps until something happens or a wait is over.
func (r *Report) run() {
	defer close(r.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.wake:
		case <-timer.C:
		case <-r.quit:
			return
		}
		now := time.Now()
		if wait := earlier(r.logLossesAt(now), r.reportStatus(now)); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// earlier returns the shorter of two waits, of which 0 is none.
func earlier(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// wakeUp wakes run. It never blocks.
func (r *Report) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default: // It will wake anyway.
	}
}

// lost schedules the log of losses. The losses have to be counted before the call.
func (r *Report) lost() {
	if !r.news.Load() && r.news.CompareAndSwap(false, true) {
		r.wakeUp()
	}
}

// Waiting returns the number of items that were accepted and not counted out yet.
func (r *Report) Waiting() int64 {
	out := r.countedOut.Load() + r.pushes.sum(overflowItems) + r.pushes.sum(shutdownItems)
	return r.pushes.sum(acceptedItems) - out // In this order: an item is accepted before it is counted out.
}

// Accepted counts items in, before they are in the queue.
func (r *Report) Accepted(items int) { r.pushes.add(acceptedItems, items) }

// Dropped counts items out that were given up before they were sent: a batch of the queue, or items that have left it.
func (r *Report) Dropped(reason DropReason, items int) {
	if reason == DropOverflow {
		r.pushes.add(overflowBatches, 1)
		r.pushes.add(overflowItems, items)
	} else {
		r.pushes.add(shutdownItems, items)
	}
	r.lost()
}

// Rejected counts items out that can't be translated.
func (r *Report) Rejected(reason translate.Reason, items int) {
	r.countedOut.Add(int64(items))
	r.metrics.ExporterLoggregatorRejectedItems.Add(background, int64(items), r.metrics.byReason(string(reason)))
	r.mu.Lock()
	if r.losses.rejected == nil {
		r.losses.rejected = map[translate.Reason]int{}
	}
	r.losses.rejected[reason] += items
	r.mu.Unlock()
	r.lost()
}

// Truncated counts items that were shortened, beside how they are counted out.
func (r *Report) Truncated(items int) {
	if items > 0 {
		r.metrics.ExporterLoggregatorTruncatedItems.Add(background, int64(items), r.metrics.bySignal)
	}
}

// Sent counts items out that Loggregator acknowledged, and their envelopes.
func (r *Report) Sent(o delivery.Outcome) {
	r.countedOut.Add(int64(o.Items))
	r.metrics.sentItems.Add(background, int64(o.Items), r.metrics.byExporter)
	r.metrics.ExporterLoggregatorEnvelopes.Add(background, int64(o.Envelopes), r.metrics.bySignal)
	r.metrics.ExporterLoggregatorBytes.Add(background, int64(o.Bytes), r.metrics.bySignal)
}

// Failed counts items out whose last attempt failed.
func (r *Report) Failed(err *delivery.Error, items int) {
	if items == 0 {
		return // They are counted with the rest of their item.
	}
	r.countedOut.Add(int64(items))
	r.metrics.failedItems.Add(background, int64(items), r.metrics.byError(err.Type(), !err.Retryable))
	r.mu.Lock()
	r.losses.failed += items
	r.losses.failure = err
	r.mu.Unlock()
	r.lost()
}

// Attempted records an attempt, and whether Loggregator could be reached.
func (r *Report) Attempted(a delivery.Attempt) {
	r.metrics.ExporterLoggregatorSendDuration.Record(background, a.Duration.Seconds(), r.metrics.bySignal)
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.Halved {
		r.losses.halved++
		r.losses.tooLarge = a.Err
		r.lost()
	}
	if r.outage.attempted(a, time.Now()) {
		r.wakeUp()
	}
}

// reportStatus reports a change of the status that is due, and returns the time until the next one may be; 0: none is expected.
func (r *Report) reportStatus(now time.Time) time.Duration {
	for {
		r.mu.Lock()
		event, wait := r.outage.due(now)
		r.mu.Unlock()
		if event == nil {
			return wait
		}
		componentstatus.ReportStatus(r.host, event)
	}
}
