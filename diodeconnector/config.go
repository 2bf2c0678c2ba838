// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configretry"

	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/validate"
)

// Config is the configuration of the connector. Each signal has its own diode.
type Config struct {
	DiodeConfig `mapstructure:",squash"`
	// RetryConfig configures the retries of a batch after an error that is not permanent.
	RetryConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// DiodeConfig configures the ring buffer of each signal.
type DiodeConfig = queue.Config

// DropPolicy selects the batch to drop when the diode is full.
type DropPolicy = queue.DropPolicy

// The drop policies.
const (
	DropOldest = queue.DropOldest // the batch that has waited longest
	DropNewest = queue.DropNewest // the batch being pushed
)

func createDefaultConfig() component.Config {
	return &Config{
		DiodeConfig: DiodeConfig{Capacity: 10_000, MaxItems: 40_000, DropPolicy: DropOldest},
		RetryConfig: configretry.NewDefaultBackOffConfig(),
	}
}

// Validate reports every invalid value, each with its key and what is allowed.
func (cfg *Config) Validate() error {
	return errors.Join(
		validate.Durations(cfg),
		validate.Retry("retry_on_failure", cfg.RetryConfig),
		cfg.DiodeConfig.Validate(""),
	)
}
