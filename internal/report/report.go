// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package report counts the items of a queue from the push until they are out, logs losses and outages, and reports the status of
// the component. The exporter and the connector have it in common.
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

// DropReason says why items were dropped. Its values are those of the attribute reason.
type DropReason string

// Why items are dropped.
const (
	DropOverflow DropReason = "overflow" // the queue was full
	DropShutdown DropReason = "shutdown" // the component was shut down
)

// Messages are the lines of the log. The peer is what data is passed on to.
type Messages struct {
	Overflow    string // the queue dropped items
	Shutdown    string // the shutdown dropped items
	Failed      string // items were given up after the last attempt
	Outage      string // the peer is unreachable; another attempt follows
	OutageLoses string // the peer is unreachable; no attempt follows
	Recovered   string // the peer is reachable again
}

// Report is the report of a queue and its drain. Any goroutine may call Accepted, Dropped and the methods that return numbers at any
// time. The other methods that count belong to one goroutine at a time, the drain's.
type Report struct {
	logger   *zap.Logger
	messages Messages
	others   func() // logs further losses
	pushes   pushes

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
	logged      time.Time           // when losses were logged last
	loggedDrops [pushCounters]int64 // the items that had been dropped until then

	mu     sync.Mutex
	losses losses
	outage outage
}

// New makes a report. It counts from then on, and logs and reports a status after Start. others, which may be nil, logs the losses
// that [Report.Lost] announced.
func New(logger *zap.Logger, messages Messages, others func()) *Report {
	return &Report{
		logger: logger, messages: messages, others: others,
		pushes: newPushes(), wake: make(chan struct{}, 1),
		outage: outage{logger: logger, messages: &messages},
	}
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

// Shutdown ends the goroutine, and logs the losses that were not logged yet.
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
		timer.Reset(min(r.logLossesAt(now), r.reportStatus(now)))
	}
}

// never says that nothing is due.
const never time.Duration = math.MaxInt64

// wakeUp wakes run. It never blocks.
func (r *Report) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default: // It will wake anyway.
	}
}

// Lost schedules the log of losses. The losses have to be counted before the call.
func (r *Report) Lost() {
	if !r.news.Load() && r.news.CompareAndSwap(false, true) {
		r.wakeUp()
	}
}

// AcceptedItems returns the number of items that were accepted.
func (r *Report) AcceptedItems() int64 { return r.pushes.sum(acceptedItems) }

// DroppedItems returns the number of items that were dropped for a reason.
func (r *Report) DroppedItems(reason DropReason) int64 { return r.pushes.sum(reason.counter()) }

func (reason DropReason) counter() pushCounter {
	if reason == DropOverflow {
		return overflowItems
	}
	return shutdownItems
}

// Waiting returns the number of items that were accepted and not counted out yet.
func (r *Report) Waiting() int64 {
	out := r.countedOut.Load() + r.DroppedItems(DropOverflow) + r.DroppedItems(DropShutdown)
	return r.pushes.sum(acceptedItems) - out // In this order: an item is accepted before it is counted out.
}

// Accepted counts items in, before they are in the queue.
func (r *Report) Accepted(items int) { r.pushes.add(acceptedItems, items) }

// Dropped counts items out that were dropped: a batch of the queue, or items that have left it.
func (r *Report) Dropped(reason DropReason, items int) {
	r.pushes.add(reason.counter(), items)
	r.Lost()
}

// Out counts items out that were not dropped.
func (r *Report) Out(items int) { r.countedOut.Add(int64(items)) }

// Failed counts items out after their last attempt failed.
func (r *Report) Failed(err error, permanent bool, items int) {
	r.Out(items)
	r.mu.Lock()
	r.losses.failed += items
	r.losses.failure, r.losses.permanent = err, permanent
	r.mu.Unlock()
	r.Lost()
}

// Attempted records whether an attempt reached the peer.
func (r *Report) Attempted(a Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.outage.attempted(a, time.Now()) {
		r.wakeUp()
	}
}

// reportStatus reports a change of the status that is due, and returns the time until the next one may be.
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

// Observe registers a metric that observe reads when it is exported.
func Observe(register func(metric.Int64Callback) error, observe func(metric.Int64Observer)) error {
	return register(func(_ context.Context, o metric.Int64Observer) error {
		observe(o)
		return nil
	})
}
