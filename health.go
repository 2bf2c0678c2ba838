// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
)

const (
	// outageGrace is how long sends have to fail before the component is not well: connections break and come back.
	outageGrace = time.Second
	// permanentGrace is how long only a person must seem able to end an outage before that is reported, because the collector
	// lets no component come back from it.
	permanentGrace = 30 * time.Second
)

// health follows the attempts to send, and tells the collector and its log when an outage begins and ends. A message that
// was refused for what is in it is no outage, that is for losses to log; but it is one when all messages are refused.
//
// The drain observes. A timer of its own reports what lasts longer than outageGrace, because the next attempt can be long
// after that.
type health struct {
	host           component.Host
	logger         *zap.Logger
	permanentGrace time.Duration

	mu       sync.Mutex
	outage   *outage // nil: there is none
	lastWarn time.Time
	// permanent is whether a permanent error was reported. The collector takes no other status after that.
	permanent bool
	closing   bool
}

// outage is the time from the first attempt that failed to the first that succeeds.
type outage struct {
	err      *ingress.Error // the latest
	reported bool           // to the collector

	// As long as attempts fail as every other would have:
	since    time.Time // zero if they don't
	attempts int
	timer    *time.Timer
	warned   []string // the reasons that were logged

	// Of those the ones that fail for what only a person can mend.
	byHandSince time.Time
	byHand      int

	// As long as messages are refused for what is in them:
	refusedSince time.Time
	refused      int
}

func newHealth(host component.Host, logger *zap.Logger) *health {
	return &health{host: host, logger: logger, permanentGrace: permanentGrace}
}

// observe takes an attempt.
func (h *health) observe(a ingress.Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case a.Err == nil:
		h.succeeded()
	case !a.Halved:
		h.failed(a)
	case h.outage != nil: // What becomes of the message is not known yet, but somebody has answered.
		h.reached()
	}
}

// close ends the reports to the collector, which takes none from a component that it stops. The log goes on.
func (h *health) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closing = true
}

// stop ends the observation: nothing is reported after it, and observe may not be called.
func (h *health) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outage != nil {
		h.outage.reached()
		h.outage = nil
	}
}

// reached ends what follows from a server that can't be reached.
func (o *outage) reached() {
	if o.timer != nil {
		o.timer.Stop()
	}
	o.since, o.byHandSince, o.byHand = time.Time{}, time.Time{}, 0
	o.attempts, o.warned = 0, nil
}

// reached takes that the server has answered, whatever it has said: the log says so if it has said that it does not. The
// status waits for the first success.
func (h *health) reached() {
	o := h.outage
	if len(o.warned) > 0 {
		h.logger.Info("Loggregator takes envelopes again.",
			zap.Duration("outage", time.Since(o.since)), zap.Int("failed_attempts", o.attempts))
	}
	o.reached()
}

func (h *health) succeeded() {
	o := h.outage
	if o == nil {
		return
	}
	if o.reported && !h.permanent && !h.closing {
		componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	}
	h.reached()
	h.outage = nil
}

func (h *health) failed(a ingress.Attempt) {
	o := h.outage
	if o == nil {
		o = &outage{}
		h.outage = o
	}
	o.err = a.Err
	if a.Err.Everything {
		h.unreached(o, a)
	} else {
		h.reached()
		if o.refused++; o.refused == 1 {
			o.refusedSince = time.Now()
		}
	}
	h.report(o)
}

// unreached takes an attempt that failed as every other would have.
func (h *health) unreached(o *outage, a ingress.Attempt) {
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
		o.timer = time.AfterFunc(outageGrace, func() { h.lasts(o) })
	}
	o.attempts++
	switch {
	case a.Err.ByHand:
		if o.byHand++; o.byHand == 1 {
			o.byHandSince = now
		}
	case !a.Err.Guess: // With TLS 1.3 a refused certificate may look like a broken connection now and then.
		o.byHand = 0
	}
	h.warn(o, a)
}

// lasts is called when a server could not be reached for outageGrace.
func (h *health) lasts(o *outage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outage == o { // It has not ended meanwhile.
		h.report(o)
	}
}

// byHandAtLeast is how many attempts have to say that an outage is for a person to end.
const byHandAtLeast = 3

// report tells the collector of an outage that lasts: once that there is one, and once that it is for a person to end.
func (h *health) report(o *outage) {
	unreached := !o.since.IsZero() && time.Since(o.since) >= outageGrace
	refused := o.refused > 1 && time.Since(o.refusedSince) >= outageGrace
	switch {
	case h.permanent, h.closing, !unreached && !refused:
	case !o.reported:
		o.reported = true
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(o.err))
	case o.err.ByHand && o.byHand >= byHandAtLeast && time.Since(o.byHandSince) >= h.permanentGrace:
		h.permanent = true
		componentstatus.ReportStatus(h.host, componentstatus.NewPermanentErrorEvent(o.err))
	}
}

// warn logs an outage when it begins, and again when it gets another reason, at most every logInterval.
func (h *health) warn(o *outage, a ingress.Attempt) {
	now, reason := time.Now(), a.Err.Type()
	if !a.Err.Guess {
		reason += a.Err.Hint
	}
	if slices.Contains(o.warned, reason) || now.Sub(h.lastWarn) < logInterval {
		return
	}
	h.lastWarn, o.warned = now, append(o.warned, reason)
	fields := []zap.Field{zap.Error(a.Err), zap.Int("failed_attempts", o.attempts)}
	if a.RetryIn == 0 {
		h.logger.Warn("Loggregator does not take envelopes. This message is given up: its items are lost.", fields...)
		return
	}
	h.logger.Warn("Loggregator does not take envelopes. New data waits in the diode.",
		append(fields, zap.Duration("retry_in", a.RetryIn))...)
}
