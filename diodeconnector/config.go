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

// Config is the configuration of the connector. Each signal has a diode of its own.
type Config struct {
	// Capacity is how many batches can wait, for each signal.
	Capacity int `mapstructure:"capacity"`
	// MaxItems is how many log records, metric points or spans can wait, for each signal; 0 is no bound. A larger batch waits alone.
	MaxItems int `mapstructure:"max_items"`
	// MaxBytes is how many bytes can wait, for each signal, in the size that they have in OTLP; 0 is no bound. A larger batch waits alone.
	MaxBytes int `mapstructure:"max_bytes"`
	// DropPolicy is which batch is dropped when the diode is full.
	DropPolicy DropPolicy `mapstructure:"drop_policy"`
	// RetryConfig has the pauses after which a batch is passed on again when the next component returns an error that is not permanent.
	RetryConfig configretry.BackOffConfig `mapstructure:"retry_on_failure"`

	// prevent unkeyed literal initialization
	_ struct{}
}

// DropPolicy says which batch is dropped when the diode is full.
type DropPolicy string

const (
	// DropOldest drops the batch that has waited longest, and keeps what is new.
	DropOldest DropPolicy = queue.DropOldest
	// DropNewest drops the batch that was pushed, and keeps what waits.
	DropNewest DropPolicy = queue.DropNewest
)

func createDefaultConfig() component.Config {
	return &Config{
		Capacity:    10_000,
		MaxItems:    40_000,
		DropPolicy:  DropOldest,
		RetryConfig: configretry.NewDefaultBackOffConfig(),
	}
}

// Validate reports every value that can't work, each with its key and what is allowed.
func (cfg *Config) Validate() error {
	return errors.Join(
		validate.Durations(cfg),
		validate.Retry("retry_on_failure", cfg.RetryConfig),
		cfg.bounds().Validate(""),
	)
}

func (cfg *Config) bounds() queue.Bounds {
	return queue.Bounds{Capacity: cfg.Capacity, MaxItems: cfg.MaxItems, MaxBytes: cfg.MaxBytes, DropPolicy: string(cfg.DropPolicy)}
}
