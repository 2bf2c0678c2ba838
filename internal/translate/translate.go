// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package translate turns OpenTelemetry logs, metrics and traces into Loggregator v2 envelopes.
//
// [Logs], [Metrics] and [Traces] each translate one signal. They neither modify pdata nor retain it. They yield one [Envelope] at a time:
// an encoded envelope or, for rejected items, the [Reason].
//
// An item is a log record, a data point or a span. An item can become several envelopes (a histogram), and several items can share one
// envelope (gauges).
package translate

import (
	"iter"
	"math"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Options configure the translation.
type Options struct {
	SourceID, InstanceID Identity
	// SyslogSafe restricts tag keys, instance IDs, source types and sizes to what the syslog agent and Log Cache can carry.
	SyslogSafe bool

	// SourceType is the default value of the tag source_type of logs.
	SourceType string
	// MaxPayload is the longest log payload, in bytes, that is not split.
	MaxPayload int
	// EventsAsLogs translates events to Log envelopes instead of Event envelopes.
	EventsAsLogs bool

	// PrometheusNames turns metric names and their tag keys into names that PromQL can select.
	PrometheusNames bool
	// DoubleSumsAsGauges translates monotonic cumulative sums of doubles to Gauges, which keep the fraction.
	DoubleSumsAsGauges bool

	// SpanEvents translates each span event to an Event envelope.
	SpanEvents bool

	// Now returns the time for items without one; nil means time.Now.
	Now func() time.Time
}

// Envelope is one encoded envelope, or the rejection of items.
type Envelope struct {
	// Encoded is valid until the iteration continues. It is nil if the items are rejected.
	Encoded []byte
	// Items is the number of items that the envelope completes. An envelope that completes none belongs to the next item completed.
	Items int
	// Truncated is the number of these items that were truncated.
	Truncated int
	// Reason is why the items are rejected; empty if they are not.
	Reason Reason
}

// translator is the part that the three signals share: the handling of a resource, a scope and an item, and its buffers.
type translator struct {
	opts     Options
	yield    func(Envelope) bool // of the current batch
	stopped  bool                // yield returned false
	identity identities
	keys     keyCleaner

	resourceAttributes pcommon.Map
	resource           tagSet
	// base holds the tags of the scope, and the tags of the resource whose keys the scope lacks.
	base   tagSet
	scope  int // the number of the current scope
	plans  plans
	sorted bool // tags are sorted by key

	id       identity // of the current item, if its attributes affect it
	tooLarge bool     // the tags of its scope and resource fit in no envelope
	// truncated reports whether a part of the current item was left out.
	truncated bool

	common  []byte // the encoded identity and tags that all envelopes of the item share
	message []byte // the encoded message of the current envelope

	// Buffers for the inherited tags of a plan, its parts to sort, and the values of attributes.
	inherited tagSet
	parts     []keyedPart
	values    []pcommon.Value
}

func newTranslator(opts Options, prometheusLabels bool) translator {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return translator{
		opts:     opts,
		identity: newIdentities(opts),
		keys:     keyCleaner{labels: prometheusLabels, syslogSafe: opts.SyslogSafe},
	}
}

// batches holds the sequence of envelopes that Translate returns. All batches share it, because each new one would be an allocation.
type batches[D any] struct {
	next D // the batch to translate
	all  iter.Seq[Envelope]
}

// init creates the sequence. translate puts the envelopes of a batch into it.
func (b *batches[D]) init(t *translator, translate func(D)) {
	b.all = func(yield func(Envelope) bool) {
		t.yield, t.stopped = yield, false
		defer t.end()
		data := b.next
		b.next = *new(D)
		translate(data)
	}
}

// Translate returns the envelopes of all items of a batch as a single-use sequence. The next call invalidates it.
func (b *batches[D]) Translate(data D) iter.Seq[Envelope] {
	b.next = data
	return b.all
}

func (t *translator) beginResource(r pcommon.Resource) {
	t.resourceAttributes = r.Attributes()
	t.attributeTags(&t.resource, r.Attributes())
}

// Tag keys for the name and version of a scope, and the instance ID of a point.
var (
	scopeNameKey     = newTagKey("otel_scope_name")
	scopeVersionKey  = newTagKey("otel_scope_version")
	instanceIDTagKey = newTagKey(instanceIDKey)
)

func (t *translator) beginScope(s pcommon.InstrumentationScope) {
	t.attributeTags(&t.base, s.Attributes())
	if s.Name() != "" {
		t.base.set(scopeNameKey, s.Name())
	}
	if s.Version() != "" {
		t.base.set(scopeVersionKey, s.Version())
	}
	t.base.inherit(&t.resource)
	t.identity.beginScope(s.Attributes(), t.resourceAttributes)
	t.scope++
}

// appendOwnTag appends a tag that the exporter sets itself, and adds its key to set, the keys that the plan skips.
func appendOwnTag(b []byte, set *ownKeys, name ownName, value string) []byte {
	*set |= name.set()
	return envelope.AppendTag(b, encodedNames[name], value)
}

func appendTraceID(b []byte, set *ownKeys, id pcommon.TraceID) []byte {
	if id.IsEmpty() {
		return b
	}
	*set |= traceIDName.set()
	return envelope.AppendHexTag(b, encodedNames[traceIDName], id[:])
}

func appendSpanID(b []byte, set *ownKeys, name ownName, id pcommon.SpanID) []byte {
	if id.IsEmpty() {
		return b
	}
	*set |= name.set()
	return envelope.AppendHexTag(b, encodedNames[name], id[:])
}

// text returns a value of the current item as a string.
func (t *translator) text(v pcommon.Value) string {
	s, truncated := valueString(v)
	t.truncated = t.truncated || truncated
	return s
}

// json returns attributes of the current item as JSON.
func (t *translator) json(attrs pcommon.Map) string {
	s, truncated := mapString(attrs)
	t.truncated = t.truncated || truncated
	return s
}

// keptBytes is the limit of buffer memory kept for the next batch: more than any envelope takes.
const keptBytes = 4 * envelope.MaxSize

// end ends a batch. No reference to its pdata or strings remains, except the metric names of a sequence that was not read to its end.
func (t *translator) end() {
	t.yield = nil
	t.resourceAttributes = pcommon.Map{}
	t.id, t.identity.source.inherited, t.identity.instance.inherited = identity{}, "", ""
	for _, tags := range []*tagSet{&t.resource, &t.base, &t.inherited} {
		tags.forget()
	}
	if cap(t.common)+cap(t.message) > keptBytes {
		t.common, t.message = nil, nil
	}
	t.plans.uncached = plan{}
	t.values = resetSlice(t.values)
}

func (t *translator) put(e Envelope) {
	if !t.stopped {
		t.stopped = !t.yield(e)
	}
}

// reject yields items as rejected, and not as truncated. It does nothing if reason is empty or items is 0.
func (t *translator) reject(reason Reason, items int) {
	if reason == "" || items == 0 {
		return
	}
	t.truncated = false
	t.put(Envelope{Items: items, Reason: reason})
}

// nanoseconds returns a time in nanoseconds since 1970 UTC, or 0 if it is not set or does not fit in an int64.
func nanoseconds(ts pcommon.Timestamp) int64 {
	if ts > math.MaxInt64 {
		return 0
	}
	return int64(ts)
}

// timestamp returns the first time for which nanoseconds is not 0, else now.
func (t *translator) timestamp(times ...pcommon.Timestamp) int64 {
	for _, ts := range times {
		if ns := nanoseconds(ts); ns != 0 {
			return ns
		}
	}
	return t.opts.Now().UnixNano()
}

// emit yields an envelope of common, message and, unless key is nil, one more tag.
func (t *translator) emit(timestamp int64, key *cleanKey, value string, items int) {
	truncated := 0
	if items > 0 {
		truncated = t.takeTruncated()
	}
	t.yieldEnvelope(t.encode(timestamp, key, value), items, truncated)
}

// encode appends to common the rest of the envelope that emit yields.
func (t *translator) encode(timestamp int64, key *cleanKey, value string) []byte {
	b := envelope.AppendTimestamp(t.common, timestamp)
	if key != nil {
		b = envelope.AppendTag(b, key.encoded, value)
	}
	return append(b, t.message...)
}

// yieldEnvelope yields an envelope that was appended to common, and keeps common for the next one.
func (t *translator) yieldEnvelope(encoded []byte, items, truncated int) {
	t.put(Envelope{Encoded: encoded, Items: items, Truncated: truncated})
	t.common = encoded[:len(t.common)]
}

// takeTruncated returns 1 if the current item was truncated, else 0, and resets truncated for the next item.
func (t *translator) takeTruncated() int {
	if !t.truncated {
		return 0
	}
	t.truncated = false
	return 1
}
