// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// logInterval is the least time between two lines that say the same with other numbers.
const logInterval = 10 * time.Second

// losses are what the drain has lost since the last log of losses.
type losses struct {
	rejected map[translate.Reason]int
	failed   int
	failure  *delivery.Error // the latest
	halved   int             // messages
	tooLarge *delivery.Error // the latest
}

// rejectHints say what to do about items that were rejected.
var rejectHints = map[translate.Reason]string{
	translate.ReasonEmpty:       "a log record has no body and no attributes, or a point has no value; check the sender",
	translate.ReasonMalformed:   "a histogram or summary contradicts itself, or a metric has no name; check the sender",
	translate.ReasonNegative:    "a monotonic sum is negative; check the sender",
	translate.ReasonNotFinite:   "Loggregator does not accept NaN or infinity; check the sender",
	translate.ReasonOutOfRange:  "a monotonic sum does not fit in the 64 bits of a Counter",
	translate.ReasonTemporality: "Loggregator does not add up these deltas; put the delta_to_cumulative processor before the exporter",
	translate.ReasonTooLarge:    "an envelope above 64 KiB would be lost behind the agent; shorten names or remove attributes with the transform processor",
}

// logLossesAt logs losses: at once, and then at most every logInterval. It returns the time until the
// next log; 0: there is nothing to log.
func (r *Report) logLossesAt(now time.Time) time.Duration {
	if !r.news.Load() {
		return 0
	}
	if wait := r.logged.Add(logInterval).Sub(now); wait > 0 {
		return wait
	}
	r.logged = now
	r.logLosses()
	return 0
}

func (r *Report) logLosses() {
	r.news.Store(false) // What is lost from here on sets it again.
	since := func(c pushCounter) int64 {
		before := r.loggedLosses[c]
		r.loggedLosses[c] = r.pushes.sum(c)
		return r.loggedLosses[c] - before
	}
	if items := since(overflowItems); items > 0 {
		r.logger.Warn("The diode is full: dropped batches. Loggregator or rate_limit is slower than the pipeline.",
			zap.Int64("dropped_batches", since(overflowBatches)), zap.Int64("dropped_items", items))
	}
	if items := since(shutdownItems); items > 0 {
		r.logger.Warn("Dropped items that could not be sent before shutdown. All signals of an exporter share 10 s.", zap.Int64("dropped_items", items))
	}

	r.mu.Lock()
	l := r.losses
	r.losses = losses{}
	r.mu.Unlock()
	for reason, items := range l.rejected {
		r.logRejected(reason, items)
	}
	if l.halved > 0 {
		r.logger.Warn("Loggregator refused messages as too large. They were split in half and sent again.",
			zap.Int("refused_messages", l.halved), zap.Error(l.tooLarge))
	}
	if l.failed > 0 {
		r.logger.Error("Gave up sending: Loggregator did not acknowledge these items. They are lost.",
			zap.Int("failed_items", l.failed), zap.Error(l.failure), zap.Bool("permanent", !l.failure.Retryable))
	}
}

func (r *Report) logRejected(reason translate.Reason, items int) {
	fields := []zap.Field{zap.String("reason", string(reason)), zap.Int("rejected_items", items)}
	// A scrape target that went away makes stale points, and an idle counter makes deltas of 0: nothing is wrong.
	if reason == translate.ReasonStale || reason == translate.ReasonZeroDelta {
		r.logger.Debug("Rejected items with nothing to send. This is normal.", fields...)
		return
	}
	if hint := rejectHints[reason]; hint != "" {
		fields = append(fields, zap.String("hint", hint))
	}
	r.logger.Warn("Rejected items that Loggregator cannot represent. They are lost.", fields...)
}
