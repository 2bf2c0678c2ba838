// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
)

// health follows the attempts to send, and tells the collector and its log when an outage begins and ends. A message that
// was refused for what is in it is no outage; that is for losses to log. It is the drain's alone.
type health struct {
	host   component.Host
	logger *zap.Logger

	outage   time.Time // since when nothing was acknowledged; zero: there is no outage
	attempts int       // since then
	warned   bool      // of this outage
	lastWarn time.Time
}

func newHealth(host component.Host, logger *zap.Logger) *health {
	return &health{host: host, logger: logger}
}

func (h *health) observe(a ingress.Attempt) {
	switch {
	case a.Err == nil:
		h.succeeded()
	case a.Err.Everything:
		h.failed(a)
	}
}

func (h *health) succeeded() {
	if h.outage.IsZero() {
		return
	}
	componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	if h.warned {
		h.logger.Info("Loggregator takes envelopes again.",
			zap.Duration("outage", time.Since(h.outage)), zap.Int("failed_attempts", h.attempts))
	}
	h.outage, h.attempts, h.warned = time.Time{}, 0, false
}

func (h *health) failed(a ingress.Attempt) {
	now := time.Now()
	if h.outage.IsZero() {
		h.outage = now
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(a.Err))
	}
	h.attempts++
	if now.Sub(h.lastWarn) < logInterval {
		return
	}
	h.lastWarn, h.warned = now, true
	fields := []zap.Field{zap.Error(a.Err), zap.Int("failed_attempts", h.attempts)}
	if a.RetryIn == 0 {
		h.logger.Warn("Loggregator does not take envelopes. This message is given up.", fields...)
		return
	}
	h.logger.Warn("Loggregator does not take envelopes. New data waits in the diode.",
		append(fields, zap.Duration("retry_in", a.RetryIn))...)
}
