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
	"iter"
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

	// SourceType is the tag source_type of logs without a process type.
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
}

// Envelope is one encoded envelope, or items that make none.
type Envelope struct {
	// Encoded is valid until the next Envelope is asked for. It is nil when the items are rejected.
	Encoded []byte
	// Items is how many items it completes. An Envelope that completes none belongs to the item that the next one completes first.
	Items int
	// Truncated is how many of them were truncated.
	Truncated int
	// Reason is why the items are rejected; empty if they are not.
	Reason Reason
}

// translator has what the three signals share: the work on a resource, a scope and an item, and the buffers for it.
type translator struct {
	opts     Options
	yield    func(Envelope) bool // of the current batch
	stopped  bool                // yield has returned false
	identity identities
	keys     keyCleaner

	resourceAttributes pcommon.Map
	resource           tagSet
	// base has the tags of the scope, and those of the resource that the scope does not have.
	base  tagSet
	scope int // the number of the current scope
	plans plans
	sorts bool // tags are in the order of their keys

	id       identity // of the current item, if its attributes affect it
	tooLarge bool     // no envelope has room for the tags of its scope and resource
	// truncated reports whether a part of the current item was left out.
	truncated bool

	common  []byte // the encoded identity and tags that all envelopes of the item share
	message []byte // the encoded message of the current envelope

	// Buffers: the inherited tags and the parts to sort of a plan, and the values of attributes.
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

// batches makes the sequence of the envelopes of a batch. It is the same one for all batches: each would be an allocation.
type batches[D any] struct {
	next D // to be translated next
	all  iter.Seq[Envelope]
}

// init makes the sequence, in which translate puts the envelopes of each batch.
func (b *batches[D]) init(t *translator, translate func(D)) {
	b.all = func(yield func(Envelope) bool) {
		t.yield, t.stopped = yield, false
		defer t.end()
		data := b.next
		b.next = *new(D)
		translate(data)
	}
}

// Translate yields the envelopes of all items of a batch, once. The next call ends what is left of the sequence.
func (b *batches[D]) Translate(data D) iter.Seq[Envelope] {
	b.next = data
	return b.all
}

func (t *translator) beginResource(r pcommon.Resource) {
	t.resourceAttributes = r.Attributes()
	t.attributeTags(&t.resource, r.Attributes())
}

// The tags of the name and the version of a scope, and the instance ID of a point.
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

// appendOwnTag appends a tag that the exporter sets itself, and adds its key to those that the plan skips.
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

// text returns the text of a value of the current item.
func (t *translator) text(v pcommon.Value) string {
	s, truncated := valueString(v)
	t.truncated = t.truncated || truncated
	return s
}

// json returns the JSON of attributes of the current item.
func (t *translator) json(attrs pcommon.Map) string {
	s, truncated := mapString(attrs)
	t.truncated = t.truncated || truncated
	return s
}

// keptBytes is how much memory of an item is kept for the next one: more than any envelope takes.
const keptBytes = 4 * envelope.MaxSize

// end ends a batch. Nothing keeps a reference to its pdata or a string of it.
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
	t.plans.once = plan{}
	t.values = forgotten(t.values)
}

func (t *translator) put(e Envelope) {
	if !t.stopped {
		t.stopped = !t.yield(e)
	}
}

// reject rejects items, if there are any and a reason. What was truncated of them does not count.
func (t *translator) reject(reason Reason, items int) {
	if reason == "" || items == 0 {
		return
	}
	t.truncated = false
	t.put(Envelope{Items: items, Reason: reason})
}

// nanoseconds returns a time in nanoseconds since 1970 UTC; 0 for one that is not set or does not fit.
func nanoseconds(ts pcommon.Timestamp) int64 {
	if ts > math.MaxInt64 {
		return 0
	}
	return int64(ts)
}

// timestamp returns the first time that is set, else now; see nanoseconds.
func (t *translator) timestamp(times ...pcommon.Timestamp) int64 {
	for _, ts := range times {
		if ns := nanoseconds(ts); ns != 0 {
			return ns
		}
	}
	return t.opts.Now().UnixNano()
}

// emit yields an envelope of common, message, and one tag of its own unless key is nil.
func (t *translator) emit(timestamp int64, key *cleanKey, value string, items int) {
	truncated := 0
	if items > 0 {
		truncated = t.takeTruncated()
	}
	t.yieldEnvelope(t.encode(timestamp, key, value), items, truncated)
}

// encode encodes the envelope that emit yields, behind common.
func (t *translator) encode(timestamp int64, key *cleanKey, value string) []byte {
	b := envelope.AppendTimestamp(t.common, timestamp)
	if key != nil {
		b = envelope.AppendTag(b, key.encoded, value)
	}
	return append(b, t.message...)
}

// yieldEnvelope yields an envelope that was encoded behind common, which stays for the next one.
func (t *translator) yieldEnvelope(encoded []byte, items, truncated int) {
	t.put(Envelope{Encoded: encoded, Items: items, Truncated: truncated})
	t.common = encoded[:len(t.common)]
}

// takeTruncated returns 1 if the current item was truncated. The item is complete then.
func (t *translator) takeTruncated() int {
	if !t.truncated {
		return 0
	}
	t.truncated = false
	return 1
}
