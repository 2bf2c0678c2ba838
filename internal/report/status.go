// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"
)

// outageGrace is how long the peer must be unreachable before the status is an error. Brief interruptions are normal.
const outageGrace = time.Second

// Attempt is an attempt to pass data on.
type Attempt struct {
	Err     error         // nil: the data was accepted
	Outage  bool          // reports whether any other data would have failed with the same error
	Kind    string        // of Err: each kind is logged once per outage
	RetryIn time.Duration // at most this long until the next attempt; 0: none follows
}

// outage tracks outages. An outage begins with an attempt that would have failed with any data. It ends with the first attempt that
// succeeds or fails only because of its data. The status becomes OK with the next success.
type outage struct {
	logger   *zap.Logger
	messages *Messages

	since    time.Time // when the outage began; zero: there is none
	attempts int       // failed in the outage
	err      error
	warned   []string // the kinds of errors logged in the outage
	lastWarn time.Time

	reported bool // the status is an error
	ok       bool // an attempt has succeeded since it was reported
	ended    bool // no more status is reported
}

// attempted records an attempt, and logs the beginning and the end of an outage. It reports whether a status may be due.
func (o *outage) attempted(a Attempt, now time.Time) bool {
	if a.Outage {
		began := o.since.IsZero()
		if began {
			o.since = now
		}
		o.err = a.Err
		o.attempts++
		o.warn(a, now)
		return began
	}
	o.reached(now)
	o.ok = o.reported && (o.ok || a.Err == nil)
	return o.ok
}

// reached ends an outage, and logs the recovery if the outage was logged.
func (o *outage) reached(now time.Time) {
	if len(o.warned) > 0 {
		o.logger.Info(o.messages.Recovered,
			duration("outage", now.Sub(o.since)), zap.Int("failed_attempts", o.attempts))
	}
	o.since, o.attempts, o.warned = time.Time{}, 0, nil
}

// due returns the status to report, or nil and the time until one may be due.
func (o *outage) due(now time.Time) (*componentstatus.Event, time.Duration) {
	switch {
	case o.ended:
		return nil, never
	case o.ok:
		o.reported, o.ok = false, false
		return componentstatus.NewEvent(componentstatus.StatusOK), 0
	case o.reported, o.since.IsZero():
		return nil, never
	}
	if wait := o.since.Add(outageGrace).Sub(now); wait > 0 {
		return nil, wait
	}
	o.reported = true
	return componentstatus.NewRecoverableErrorEvent(o.err), 0
}

// warn logs the beginning of an outage, and each further kind of error in it, at most once per logInterval.
func (o *outage) warn(a Attempt, now time.Time) {
	if slices.Contains(o.warned, a.Kind) || now.Sub(o.lastWarn) < logInterval {
		return
	}
	o.lastWarn, o.warned = now, append(o.warned, a.Kind)
	fields := []zap.Field{zap.Error(a.Err), zap.Int("failed_attempts", o.attempts)}
	if a.RetryIn == 0 {
		o.logger.Warn(o.messages.OutageLoses, fields...)
		return
	}
	o.logger.Warn(o.messages.Outage, append(fields, duration("retry_in", a.RetryIn))...)
}

// duration returns a field such as 1.5s, to the millisecond. The collector's log shows a zap.Duration as a number without a unit.
func duration(key string, d time.Duration) zap.Field {
	return zap.Stringer(key, d.Round(time.Millisecond))
}
