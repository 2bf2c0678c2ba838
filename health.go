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

// health follows the attempts to send, and tells the collector and its log when an outage begins and ends. It is the
// drain's alone.
type health struct {
	host      component.Host
	logger    *zap.Logger
	telemetry *telemetry

	outage   time.Time // since when nothing was acknowledged; zero: there is no outage
	attempts int       // since then
	logged   time.Time
}

func newHealth(host component.Host, logger *zap.Logger, telemetry *telemetry) *health {
	return &health{host: host, logger: logger, telemetry: telemetry}
}

func (h *health) observe(a ingress.Attempt) {
	h.telemetry.attempted(a.Duration)
	if a.Err == nil {
		h.succeeded()
	} else {
		h.failed(a)
	}
}

func (h *health) succeeded() {
	if h.outage.IsZero() {
		return
	}
	h.logger.Info("Loggregator takes envelopes again.",
		zap.Duration("outage", time.Since(h.outage)), zap.Int("failed_attempts", h.attempts))
	componentstatus.ReportStatus(h.host, componentstatus.NewEvent(componentstatus.StatusOK))
	h.outage, h.attempts = time.Time{}, 0
}

func (h *health) failed(a ingress.Attempt) {
	now := time.Now()
	if h.outage.IsZero() {
		h.outage = now
		componentstatus.ReportStatus(h.host, componentstatus.NewRecoverableErrorEvent(a.Err))
	}
	h.attempts++
	if now.Sub(h.logged) < logInterval {
		return
	}
	h.logged = now
	fields := []zap.Field{zap.Error(a.Err), zap.Int("failed_attempts", h.attempts)}
	if a.RetryIn > 0 {
		fields = append(fields, zap.Duration("retry_in", a.RetryIn))
	}
	h.logger.Warn("Loggregator does not take envelopes. New data waits in the diode.", fields...)
}
