// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package translate turns OpenTelemetry logs, metrics and traces into Loggregator v2 envelopes.
//
// [Logs], [Metrics] and [Traces] translate one signal each. They read pdata, never change it, and keep nothing of it. They yield
// an [Envelope] at a time: one that is encoded or, for items that make none, the [Reason].
//
// An item is a log record, a data point or a span. One item can make several envelopes (a histogram), and several items can
// share one (gauges).
package translate

import (
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Options say how to translate.
type Options struct {
	SourceID, InstanceID Identity
	// SyslogSafe makes tag keys that the syslog agent and Log Cache can carry.
	SyslogSafe bool

	// SourceType is the tag source_type of logs whose process is not known.
	SourceType string
	// MaxPayload is the longest log payload, in bytes, that is not split.
	MaxPayload int
	// EventsAsLogs makes Log envelopes of events too.
	EventsAsLogs bool

	// PrometheusNames makes names and label names of metrics that PromQL can ask for.
	PrometheusNames bool
	// DoubleSumsAsGauges keeps the fraction of monotonic cumulative sums of doubles, in a Gauge.
	DoubleSumsAsGauges bool

	// SpanEvents makes an Event envelope of each span event.
	SpanEvents bool

	// Now is the time of items that have none; nil is time.Now.
	Now func() time.Time

	// unshaped makes every item go the long way, in tests; see shape.
	unshaped bool
}

// Envelope is one encoded envelope, or items that make none.
type Envelope struct {
	// Encoded is valid until the next Envelope is asked for. It is nil when the items are rejected.
	Encoded []byte
	// Items is how many items end with this Envelope. One without belongs to the item that ends with the next one that has any.
	Items int
	// Truncated is how many of them were shortened.
	Truncated int
	// Reason is why the items are rejected; empty if they are not.
	Reason Reason
}

// Reason says why an item makes no envelope. Its values are attribute values of the metric that counts them.
type Reason string

// Why an item makes no envelope.
const (
	// Empty: a log record without a body and attributes, or a number point without a number.
	Empty Reason = "empty"
	// Malformed: a number without a name, or a histogram or summary whose parts don't fit together.
	Malformed Reason = "malformed"
	// Negative: a monotonic sum below zero.
	Negative Reason = "negative"
	// NotFinite: a number point that is NaN or an infinity.
	NotFinite Reason = "not_finite"
	// OutOfRange: a monotonic sum that does not fit into 64 bits.
	OutOfRange Reason = "out_of_range"
	// Stale: a data point flagged as no recorded value.
	Stale Reason = "stale"
	// Temporality: deltas of which Loggregator keeps no sum. The deltatocumulative processor makes them fit.
	Temporality Reason = "temporality"
	// TooLarge: an envelope that is above [envelope.MaxSize] even with its tag values truncated.
	TooLarge Reason = "too_large"
	// ZeroDelta: a delta without a whole part. Sent, it would reset the agent's total. A fraction is carried over.
	ZeroDelta Reason = "zero_delta"
)

// translator is what the three signals share: the work on a resource, a scope and an item, and the buffers for it.
type translator struct {
	opts     Options
	yield    func(Envelope) bool
	stopped  bool // yield has returned false
	identity identities
	keys     keyCleaner

	resource, scope, record level
	// base is the scope's tags and those of the resource that the scope does not have.
	base tagSet
	// hopeless is whether base alone is above [envelope.MaxSize], even with its values cut. No item of the scope can be sent then:
	// an item can replace values of base, but not keys.
	hopeless bool
	// long is whether base is above that with its values as they are: every item goes the long way, which cuts them.
	long bool
	// id and tags are the item's, tags with those of base that it does not have itself.
	id   identity
	tags tagSet
	// shortened is whether a part of the item in work was cut or left out.
	shortened bool

	shapes shapes
	sorts  bool // whether shapes have an order of their tags
	parts  []keyedPart
	number []byte // the number in work
	// unsorted is the encoded tags of the attributes in work, and ends where each of them ends.
	unsorted []byte
	ends     []int

	sealed  []byte // the encoded fields that all envelopes of the item share
	message []byte // the encoded message of the envelope in work
	encoded []byte // the envelope in work
}

func newTranslator(opts Options, prometheusLabels bool) translator {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return translator{
		opts:     opts,
		identity: newIdentities(opts),
		keys:     newKeyCleaner(prometheusLabels, opts.SyslogSafe),
	}
}

func (t *translator) beginResource(r pcommon.Resource) {
	t.resource.reset(r.Attributes(), &t.keys)
}

func (t *translator) beginScope(s pcommon.InstrumentationScope) {
	t.scope.reset(s.Attributes(), &t.keys)
	if s.Name() != "" {
		t.scope.tags.set("otel_scope_name", s.Name())
	}
	if s.Version() != "" {
		t.scope.tags.set("otel_scope_version", s.Version())
	}
	t.base.reset()
	t.base.inherit(&t.scope.tags)
	t.base.inherit(&t.resource.tags)
	t.hopeless = !t.base.fits(len(ellipsis), envelope.MaxSize, t.opts.SyslogSafe)
	t.long = t.base.size() > envelope.MaxSize
	t.identity.beginScope(&t.scope, &t.resource)
	t.shapes.reset()
}

// beginItem finds the identity and the tags of an item. The caller may set further tags, and then seals.
func (t *translator) beginItem(attrs pcommon.Map) {
	t.record.reset(attrs, &t.keys)
	t.id = t.identity.find(&t.record)
	t.tags.reset()
	t.tags.inherit(&t.record.tags)
	t.tags.inherit(&t.base)
	for i := range t.tags.tags {
		t.shortened = t.shortened || t.tags.tags[i].truncated
	}
}

// text returns the text of a value of the item in work.
func (t *translator) text(v pcommon.Value) string {
	s, truncated := valueString(v)
	t.shortened = t.shortened || truncated
	return s
}

// json returns the JSON of attributes of the item in work.
func (t *translator) json(attrs pcommon.Map) string {
	s, truncated := mapString(attrs)
	t.shortened = t.shortened || truncated
	return s
}

// begin begins a batch, whose envelopes yield takes.
func (t *translator) begin(yield func(Envelope) bool) { t.yield, t.stopped = yield, false }

func (t *translator) put(e Envelope) {
	if !t.stopped {
		t.stopped = !t.yield(e)
	}
}

// reject rejects items, if there are any. What was shortened of them does not count.
func (t *translator) reject(reason Reason, items int) {
	t.shortened = false
	if items > 0 {
		t.put(Envelope{Items: items, Reason: reason})
	}
}

// nanoseconds is a time in nanoseconds since 1970 UTC; 0 for one that is not set, or that does not fit.
func nanoseconds(ts pcommon.Timestamp) int64 {
	if ts > math.MaxInt64 {
		return 0
	}
	return int64(ts)
}

// timestamp is the first time that is set, else now; see nanoseconds.
func (t *translator) timestamp(times ...pcommon.Timestamp) int64 {
	for _, ts := range times {
		if ns := nanoseconds(ts); ns != 0 {
			return ns
		}
	}
	return t.opts.Now().UnixNano()
}

// headRoom is what a timestamp takes in an envelope at most.
const headRoom = 11

// seal encodes what all envelopes of the item share. room is how many bytes the largest of them needs beside that: message
// and further tags. texts are the strings in it that syslog escapes. When they don't fit into [envelope.MaxSize], the longest tag
// values are truncated until they do; false when that is not enough. It takes no longer for values that are larger than that.
func (t *translator) seal(room int, texts ...string) bool {
	escape := t.opts.SyslogSafe
	budget := envelope.MaxSize - headRoom - room - t.id.size()
	if size := t.tags.size(); !t.surelyFits(envelope.MaxSize-budget+size, 0) {
		if escape {
			for _, text := range texts {
				budget -= envelope.SyslogEscapes(text)
			}
		}
		if !t.tags.fits(math.MaxInt, budget, escape) {
			if !t.tags.truncate(budget, escape) {
				return false
			}
			t.shortened = true
		}
	}
	t.encodeShared()
	return true
}

// surelyFits reports whether an envelope of so many bytes is small enough, whatever syslog escapes in it. It escapes nothing in
// payload bytes of it.
func (t *translator) surelyFits(size, payload int) bool {
	if t.opts.SyslogSafe {
		size += size - payload
	}
	return size <= envelope.MaxSize
}

func (t *translator) encodeShared() {
	t.sealed = envelope.AppendSourceID(t.sealed[:0], t.id.source)
	t.sealed = envelope.AppendInstanceID(t.sealed, t.id.instance)
	for i := range t.tags.tags {
		t.sealed = envelope.AppendTag(t.sealed, t.tags.tags[i].key, t.tags.tags[i].value)
	}
}

// emit puts out an envelope with what was sealed, the message, and one tag of its own if key is not empty.
func (t *translator) emit(timestamp int64, key, value string, items int) {
	t.encode(timestamp, key, value)
	truncated := 0
	if items > 0 {
		truncated = t.takeShortened()
	}
	t.put(Envelope{Encoded: t.encoded, Items: items, Truncated: truncated})
}

// takeShortened is 1 if the item in work, which is complete, was shortened.
func (t *translator) takeShortened() int {
	if !t.shortened {
		return 0
	}
	t.shortened = false
	return 1
}

// encode encodes the envelope that emit puts out.
func (t *translator) encode(timestamp int64, key, value string) {
	t.encoded = envelope.AppendTimestamp(t.encoded[:0], timestamp)
	t.encoded = append(t.encoded, t.sealed...)
	if key != "" {
		t.encoded = envelope.AppendTag(t.encoded, key, value)
	}
	t.encoded = append(t.encoded, t.message...)
}
