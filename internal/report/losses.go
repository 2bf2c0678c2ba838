// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"go.uber.org/zap"
)

// logInterval is the least time between two lines that say the same with other numbers.
const logInterval = 10 * time.Second

// losses are what the drain has lost since the last log of losses.
type losses struct {
	failed    int
	failure   error // the latest
	permanent bool  // reports whether no attempt could have helped against failure
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
		r.logger.Warn(r.messages.Overflow, zap.Int64("dropped_batches", since(overflowBatches)), zap.Int64("dropped_items", items))
	}
	if items := since(shutdownItems); items > 0 {
		r.logger.Warn(r.messages.Shutdown, zap.Int64("dropped_items", items))
	}
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
