// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// Reason says why an item makes no envelope. Its values are attribute values of the metric that counts them.
type Reason string

// Why an item makes no envelope.
const (
	// ReasonEmpty: a log record without a body and attributes, or a number point without a number.
	ReasonEmpty Reason = "empty"
	// ReasonMalformed: a number without a name, or a histogram or summary with parts that don't fit together.
	ReasonMalformed Reason = "malformed"
	// ReasonNegative: a monotonic sum below zero.
	ReasonNegative Reason = "negative"
	// ReasonNotFinite: a number point that is NaN or an infinity.
	ReasonNotFinite Reason = "not_finite"
	// ReasonOutOfRange: a monotonic sum that does not fit into 64 bits.
	ReasonOutOfRange Reason = "out_of_range"
	// ReasonStale: a data point flagged as no recorded value.
	ReasonStale Reason = "stale"
	// ReasonTemporality: deltas that Loggregator does not add up. The deltatocumulative processor makes totals of them.
	ReasonTemporality Reason = "temporality"
	// ReasonTooLarge: an envelope that is above [envelope.MaxSize] even with its tag values truncated.
	ReasonTooLarge Reason = "too_large"
	// ReasonZeroDelta: a delta without a whole part. Sent, it would reset the agent's total. A fraction is carried over.
	ReasonZeroDelta Reason = "zero_delta"
)

// Hint says what to do about rejected items; empty if nothing is wrong: a scrape target that went away makes stale points, and an idle
// counter makes deltas of 0.
func (r Reason) Hint() string { return hints[r] }

var hints = map[Reason]string{
	ReasonEmpty:       "a log record has no body and no attributes, or a point has no value; check the sender",
	ReasonMalformed:   "a histogram or summary contradicts itself, or a metric has no name; check the sender",
	ReasonNegative:    "a monotonic sum is negative; check the sender",
	ReasonNotFinite:   "Loggregator does not accept NaN or infinity; check the sender",
	ReasonOutOfRange:  "a monotonic sum does not fit in the 64 bits of a Counter",
	ReasonTemporality: "Loggregator does not add up these deltas; put the delta_to_cumulative processor before the exporter",
	ReasonTooLarge:    "an envelope above 64 KiB would be lost behind the agent; shorten names or remove attributes with the transform processor",
}
