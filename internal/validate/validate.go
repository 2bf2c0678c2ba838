// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package validate checks settings. Its errors name the key and what is allowed.
package validate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/confmap"
)

// minDuration is below any sensible setting. A number without a unit, which the collector reads as nanoseconds, is even lower.
const minDuration = time.Millisecond

// UnitMissing reports whether d seems to be a number without a unit.
func UnitMissing(d time.Duration) bool { return d > 0 && d < minDuration }

// Durations returns an error for durations in cfg whose unit seems to be missing, including those in the collector's own settings.
func Durations(cfg any) error {
	conf := confmap.New()
	if err := conf.Marshal(cfg); err != nil {
		return err
	}
	var errs []error
	for _, key := range conf.AllKeys() {
		if d, ok := conf.Get(key).(time.Duration); ok && UnitMissing(d) {
			unit := "s"
			if d >= 1000 {
				unit = "ms"
			}
			errs = append(errs, fmt.Errorf("%s: must be 0s or at least %s, not %s; if the unit is missing, write %d%s", key, minDuration, d, d, unit))
		}
	}
	return errors.Join(errs...)
}

// Retry returns an error for a multiplier that shortens pauses.
func Retry(key string, retry configretry.BackOffConfig) error {
	if retry.Enabled && retry.Multiplier >= 0 && retry.Multiplier < 1 { // The collector refuses values below 0.
		return fmt.Errorf("%s::multiplier: must be at least 1, not %v, or each delay is shorter than the last", key, retry.Multiplier)
	}
	return nil
}

// InRange returns an error unless value is between least and most, inclusive.
func InRange(key string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("%s: must be from %d to %d, not %d", key, least, most, value)
	}
	return nil
}

// NotNegative returns an error for a limit below 0. 0 means no limit.
func NotNegative(key string, value int) error {
	if value < 0 {
		return fmt.Errorf("%s: must be 0 (no limit) or more, not %d", key, value)
	}
	return nil
}

// OneOf returns an error unless value is allowed.
func OneOf[S ~string](key string, value S, allowed ...S) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	quoted := make([]string, len(allowed))
	for i, a := range allowed {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	return fmt.Errorf("%s: must be %s, not %q", key, strings.Join(quoted, " or "), value)
}
