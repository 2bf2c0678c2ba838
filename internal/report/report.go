// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package report counts the items of a queue from the push to their outcome, logs losses and outages, and reports the status of the
// component. The exporter and the connector share it.
package report

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"
)

// DropReason is the reason for a drop, as in the metric attribute reason.
type DropReason string

// The reasons to drop items.
const (
	DropOverflow DropReason = "overflow" // the queue was full
	DropShutdown DropReason = "shutdown" // the component was shut down
)

// Messages holds the log messages. The peer is the receiver of the data.
type Messages struct {
	Overflow    string // the queue dropped items
	Shutdown    string // the shutdown dropped items
	Failed      string // items were given up after the last attempt
	Outage      string // no data gets through; another attempt follows
	OutageLoses string // no data gets through; no attempt follows
	Recovered   string // the peer is reachable again
}

// A Report reports on a queue and its drain. Any goroutine may call Accepted, Dropped and the methods that return numbers at any time.
// The other counting methods may be called by one goroutine at a time, the drain.
type Report struct {
	logger   *zap.Logger
	messages Messages
	others   func() // logs other losses
	pushes   pushes

	_ [cacheLine]byte
	// news reports whether there are unlogged losses. Pushes read it, and write it at most once per logInterval.
	news atomic.Bool
	wake chan struct{} // with a buffer of one
	_    [cacheLine]byte

	// countedOut is the number of items counted by Out.
	countedOut atomic.Int64

	// Set by Start:
	host  component.Host
	quit  chan struct{}
	ended chan struct{}

	// Used only by run, and by Shutdown after run has ended:
	logged      time.Time           // when losses were last logged
	loggedDrops [pushCounters]int64 // the items dropped before that

	mu     sync.Mutex
	losses losses
	outage outage
}

// New returns a report. It counts immediately, and logs losses and reports the status after Start. others, which may be nil, logs the losses
// announced by [Report.Lost].
func New(logger *zap.Logger, messages Messages, others func()) *Report {
	return &Report{
		logger: logger, messages: messages, others: others,
		pushes: newPushes(), wake: make(chan struct{}, 1),
		outage: outage{logger: logger, messages: &messages},
	}
}

// Start starts the goroutine that logs losses and reports the status, so that no push waits for the log or for the collector.
func (r *Report) Start(host component.Host) {
	r.host = host
	r.quit, r.ended = make(chan struct{}), make(chan struct{})
	go r.run()
}

// StopStatus stops reporting the status: the collector accepts none from a component that it is stopping.
func (r *Report) StopStatus() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outage.ended = true
}

// Shutdown ends the goroutine and logs the remaining losses.
func (r *Report) Shutdown() {
	if r.quit != nil {
		close(r.quit)
		<-r.ended
	}
	r.logLosses()
}

// run logs losses and reports the status when they are due. It sleeps until it is woken or one of them is due.
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
		timer.Reset(min(r.logLossesAt(now), r.reportStatus(now)))
	}
}

// never is the time until the next log or status if none is due.
const never time.Duration = math.MaxInt64

// wakeUp wakes run. It never blocks.
func (r *Report) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default: // It is about to wake anyway.
	}
}

// Lost schedules a log of losses. They must be counted before the call.
func (r *Report) Lost() {
	if !r.news.Load() && r.news.CompareAndSwap(false, true) {
		r.wakeUp()
	}
}

// AcceptedItems returns the number of accepted items.
func (r *Report) AcceptedItems() int64 { return r.pushes.sum(acceptedItems) }

// DroppedItems returns the number of items dropped for a reason.
func (r *Report) DroppedItems(reason DropReason) int64 { return r.pushes.sum(reason.counter()) }

func (reason DropReason) counter() pushCounter {
	if reason == DropOverflow {
		return overflowItems
	}
	return shutdownItems
}

// Waiting returns the number of accepted items that have no outcome yet.
func (r *Report) Waiting() int64 {
	out := r.countedOut.Load() + r.DroppedItems(DropOverflow) + r.DroppedItems(DropShutdown)
	return r.pushes.sum(acceptedItems) - out // Read last: an item is accepted before it is counted out.
}

// Accepted counts items before they enter the queue.
func (r *Report) Accepted(items int) { r.pushes.add(acceptedItems, items) }

// Dropped counts dropped items: those of a batch in the queue, or items that have left it.
func (r *Report) Dropped(reason DropReason, items int) {
	r.pushes.add(reason.counter(), items)
	r.Lost()
}

// Out counts items that have an outcome other than a drop.
func (r *Report) Out(items int) { r.countedOut.Add(int64(items)) }

// Failed counts items whose last attempt failed. It includes Out.
func (r *Report) Failed(err error, permanent bool, items int) {
	r.Out(items)
	r.mu.Lock()
	r.losses.failed += items
	r.losses.failure, r.losses.permanent = err, permanent
	r.mu.Unlock()
	r.Lost()
}

// Attempted records the result of an attempt.
func (r *Report) Attempted(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outage.attempted(a, time.Now()) {
		r.wakeUp()
	}
}

// reportStatus reports the changes of the status that are due, and returns the time until the next may be due.
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

// Observe registers observe as the callback of a metric.
func Observe(register func(metric.Int64Callback) error, observe func(metric.Int64Observer)) error {
	return register(func(_ context.Context, o metric.Int64Observer) error {
		observe(o)
		return nil
	})
}
