// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package retry has the pauses of the collector's retry_on_failure.
package retry

import (
	"time"

	"github.com/cenkalti/backoff/v7"
	"go.opentelemetry.io/collector/config/configretry"
)

// Pauses are those between the attempts at one thing. They begin with New. One goroutine at a time may use them.
type Pauses struct {
	cfg     configretry.BackOffConfig
	start   time.Time
	backoff backoff.ExponentialBackOff
}

// New returns the pauses of cfg.
func New(cfg configretry.BackOffConfig) Pauses {
	return Pauses{cfg: cfg, start: time.Now(), backoff: backoff.ExponentialBackOff{
		InitialInterval:     cfg.InitialInterval,
		RandomizationFactor: cfg.RandomizationFactor,
		Multiplier:          cfg.Multiplier,
		MaxInterval:         cfg.MaxInterval,
	}}
}

// Next returns the next pause, at least 1 ns and at least. It returns false if no attempt should follow: retry_on_failure is off, or
// max_elapsed_time would be over.
func (p *Pauses) Next(least time.Duration) (time.Duration, bool) {
	if !p.cfg.Enabled {
		return 0, false
	}
	pause := max(p.backoff.NextBackOff(), least, 1)
	return pause, p.cfg.MaxElapsedTime == 0 || pause <= p.cfg.MaxElapsedTime-time.Since(p.start)
}
