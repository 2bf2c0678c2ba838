// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// Reason is the cause of a rejection. Its values are attribute values of the metric that counts rejected items.
type Reason string

// The causes of a rejection.
const (
	// ReasonEmpty: a log record without body and attributes, or a number point without a value.
	ReasonEmpty Reason = "empty"
	// ReasonMalformed: a number point or summary without a metric name, or a histogram or summary that contradicts itself.
	ReasonMalformed Reason = "malformed"
	// ReasonNegative: a monotonic sum below zero.
	ReasonNegative Reason = "negative"
	// ReasonNotFinite: a number point that is NaN or infinite.
	ReasonNotFinite Reason = "not_finite"
	// ReasonOutOfRange: a monotonic sum that does not fit in 64 bits.
	ReasonOutOfRange Reason = "out_of_range"
	// ReasonStale: a data point flagged as having no recorded value.
	ReasonStale Reason = "stale"
	// ReasonTemporality: deltas that Loggregator does not add up. The delta_to_cumulative processor turns them into totals.
	ReasonTemporality Reason = "temporality"
	// ReasonTooLarge: an envelope larger than [envelope.MaxSize] even with truncated tag values.
	ReasonTooLarge Reason = "too_large"
	// ReasonZeroDelta: a delta without an integer part. Sending it would reset the agent's total. A fraction is carried over.
	ReasonZeroDelta Reason = "zero_delta"
)

// Hint returns advice on rejected items. It is empty if nothing is wrong: stale points come from a scrape target that went away, and deltas
// of 0 from an idle counter.
func (r Reason) Hint() string { return hints[r] }

var hints = map[Reason]string{
	ReasonEmpty:       "a log record has no body and no attributes, or a point has no value; check the sender",
	ReasonMalformed:   "a histogram or summary contradicts itself, or a metric has no name; check the sender",
	ReasonNegative:    "a monotonic sum is negative; check the sender",
	ReasonNotFinite:   "Loggregator does not accept NaN or infinity; check the sender",
	ReasonOutOfRange:  "a monotonic sum does not fit in the 64 bits of a Counter",
	ReasonTemporality: "Loggregator does not add up these deltas; put the delta_to_cumulative processor before the exporter",
	ReasonTooLarge:    "an envelope larger than 64 KiB would be lost downstream of the agent; shorten names or remove attributes with the transform processor",
}
