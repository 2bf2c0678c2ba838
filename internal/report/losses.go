// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"go.uber.org/zap"
)

// logInterval is the minimum time between two logs of losses, and between two warnings in an outage.
const logInterval = 10 * time.Second

// losses holds the failed items since losses were last logged.
type losses struct {
	failed    int
	failure   error // the latest
	permanent bool  // reports whether another attempt could not have helped
}

// logLossesAt logs new losses unless others were logged less than logInterval ago. It returns the time until the next log is due.
func (r *Report) logLossesAt(now time.Time) time.Duration {
	if !r.news.Load() {
		return never
	}
	if wait := r.logged.Add(logInterval).Sub(now); wait > 0 {
		return wait
	}
	r.logged = now
	r.logLosses()
	return never
}

func (r *Report) logLosses() {
	r.news.Store(false) // Later losses set it again.
	r.logDrops(DropOverflow, r.messages.Overflow)
	r.logDrops(DropShutdown, r.messages.Shutdown)
	if r.others != nil {
		r.others()
	}

	r.mu.Lock()
	l := r.losses
	r.losses = losses{}
	r.mu.Unlock()
	if l.failed > 0 {
		r.logger.Error(r.messages.Failed, zap.Int("failed_items", l.failed), zap.Error(l.failure), zap.Bool("permanent", l.permanent))
	}
}

func (r *Report) logDrops(reason DropReason, message string) {
	logged := &r.loggedDrops[reason.counter()]
	if items := r.DroppedItems(reason) - *logged; items > 0 {
		r.logger.Warn(message, zap.Int64("dropped_items", items))
		*logged += items
	}
}
