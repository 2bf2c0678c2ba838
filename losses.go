// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// logInterval is the least time between two lines that say the same with other numbers.
const logInterval = 10 * time.Second

// losses logs what was lost, with numbers, at once and then at most every logInterval. A goroutine of its own writes the
// log, so that a push never waits for one.
type losses struct {
	logger *zap.Logger
	news   chan struct{} // of one: there is something to log
	quit   chan struct{}
	ended  chan struct{}

	// What is pending since the last lines. A push counts with atomics, so that it waits for no other either.
	overflowBatches, overflowItems, shutdownItems atomic.Int64

	mu       sync.Mutex // for the drain's counts
	rejected map[translate.Reason]int
	failed   int
	failure  *ingress.Error // the latest
	halved   int            // messages
	tooLarge *ingress.Error // the latest
}

func newLosses(logger *zap.Logger) *losses {
	return &losses{logger: logger, news: make(chan struct{}, 1)}
}

func (l *losses) start() {
	l.quit, l.ended = make(chan struct{}), make(chan struct{})
	go l.run()
}

// stop logs what is pending and ends the goroutine.
func (l *losses) stop() {
	if l.quit != nil {
		close(l.quit)
		<-l.ended
	}
	l.log()
}

func (l *losses) run() {
	defer close(l.ended)
	for {
		select {
		case <-l.news:
			l.log()
		case <-l.quit:
			return
		}
		timer := time.NewTimer(logInterval)
		select {
		case <-timer.C:
		case <-l.quit:
			timer.Stop()
			return
		}
	}
}

// wake makes the goroutine look. It never blocks.
func (l *losses) wake() {
	select {
	case l.news <- struct{}{}:
	default: // It knows that there is something.
	}
}

func (l *losses) addDropped(reason dropReason, items int) {
	switch reason {
	case overflow:
		l.overflowBatches.Add(1)
		l.overflowItems.Add(int64(items))
	case shutdown:
		l.shutdownItems.Add(int64(items))
	}
	l.wake()
}

func (l *losses) addRejected(reason translate.Reason, items int) {
	l.mu.Lock()
	if l.rejected == nil {
		l.rejected = map[translate.Reason]int{}
	}
	l.rejected[reason] += items
	l.mu.Unlock()
	l.wake()
}

func (l *losses) addFailed(err *ingress.Error, items int) {
	l.mu.Lock()
	l.failed += items
	l.failure = err
	l.mu.Unlock()
	l.wake()
}

func (l *losses) addHalved(err *ingress.Error) {
	l.mu.Lock()
	l.halved++
	l.tooLarge = err
	l.mu.Unlock()
	l.wake()
}

// rejectHints say what a person can do about items that make no envelope.
var rejectHints = map[translate.Reason]string{
	translate.ReasonEmpty:       "a log record has no body and no attributes, or a point has no number; look at who sends it",
	translate.ReasonMalformed:   "the parts of a histogram or summary don't fit together, or a number has no name; look at who sends it",
	translate.ReasonNegative:    "a monotonic sum is below zero; look at who sends it",
	translate.ReasonNotFinite:   "Loggregator takes no NaN and no infinity; look at who sends it",
	translate.ReasonOutOfRange:  "a monotonic sum does not fit into the 64 bits of a Counter",
	translate.ReasonTemporality: "Loggregator keeps no sum of these deltas; put the delta_to_cumulative processor in front of the exporter",
	translate.ReasonTooLarge:    "an envelope above 64 KiB gets lost behind the agent; shorten names and drop attributes with the transform processor",
}

func (l *losses) log() {
	if items := l.overflowItems.Swap(0); items > 0 {
		l.logger.Warn("The diode is full: dropped batches. Loggregator, or rate_limit, is slower than the pipeline.",
			zap.Int64("dropped_batches", l.overflowBatches.Swap(0)), zap.Int64("dropped_items", items))
	}
	if items := l.shutdownItems.Swap(0); items > 0 {
		l.logger.Warn("Dropped what could not be sent before the shutdown. All signals of an exporter together have 10 s for that.", zap.Int64("dropped_items", items))
	}

	l.mu.Lock()
	rejected, failed, failure, halved, tooLarge := l.rejected, l.failed, l.failure, l.halved, l.tooLarge
	l.rejected, l.failed, l.failure, l.halved, l.tooLarge = nil, 0, nil, 0, nil
	l.mu.Unlock()
	for reason, items := range rejected {
		l.logRejected(reason, items)
	}
	if halved > 0 {
		l.logger.Warn("Loggregator refused messages as too large. They were sent again in halves.",
			zap.Int("refused_messages", halved), zap.Error(tooLarge))
	}
	if failed > 0 {
		l.logger.Error("Gave up sending: Loggregator did not acknowledge. These items are lost.",
			zap.Int("failed_items", failed), zap.Error(failure), zap.Bool("permanent", failure.Permanent))
	}
}

func (l *losses) logRejected(reason translate.Reason, items int) {
	fields := []zap.Field{zap.String("reason", string(reason)), zap.Int("rejected_items", items)}
	// A scrape target that went away makes stale points, and an idle counter makes deltas of 0: nothing is wrong.
	if reason == translate.ReasonStale || reason == translate.ReasonZeroDelta {
		l.logger.Debug("There is nothing to send of some items.", fields...)
		return
	}
	if hint := rejectHints[reason]; hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	l.logger.Warn("Rejected items that have no form in Loggregator. They are lost.", fields...)
}
