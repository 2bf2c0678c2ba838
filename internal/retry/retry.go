// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package retry computes the pauses of the collector's retry_on_failure.
package retry

import (
	"time"

	"github.com/cenkalti/backoff/v7"
	"go.opentelemetry.io/collector/config/configretry"
)

// Pauses computes the pauses between the attempts at one message or batch, which begin with New. One goroutine at a time may use it.
type Pauses struct {
	cfg     configretry.BackOffConfig
	start   time.Time
	backoff backoff.ExponentialBackOff
}

// New returns the pauses configured by cfg.
func New(cfg configretry.BackOffConfig) Pauses {
	return Pauses{cfg: cfg, start: time.Now(), backoff: backoff.ExponentialBackOff{
		InitialInterval:     cfg.InitialInterval,
		RandomizationFactor: cfg.RandomizationFactor,
		Multiplier:          cfg.Multiplier,
		MaxInterval:         cfg.MaxInterval,
	}}
}

// Next returns the next pause, at least minimum and at least 1 ns. It returns false if retries are disabled or the pause would exceed
// max_elapsed_time.
func (p *Pauses) Next(minimum time.Duration) (time.Duration, bool) {
	if !p.cfg.Enabled {
		return 0, false
	}
	pause := max(p.backoff.NextBackOff(), minimum, 1)
	return pause, p.cfg.MaxElapsedTime == 0 || pause <= p.cfg.MaxElapsedTime-time.Since(p.start)
}
