// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Traces translates spans to Timer envelopes, and span events to Event envelopes. One goroutine at a time may use it.
type Traces struct {
	translator
	batches[ptrace.Traces]
	event []byte // the encoded identity and tags of a span's events
}

var noAttributes = pcommon.NewMap()

// NewTraces returns a translator of traces.
func NewTraces(opts Options) *Traces {
	t := &Traces{translator: newTranslator(opts, false)}
	t.init(&t.translator, t.translate)
	return t
}

func (t *Traces) translate(traces ptrace.Traces) {
	for _, rs := range traces.ResourceSpans().All() {
		t.beginResource(rs.Resource())
		for _, ss := range rs.ScopeSpans().All() {
			t.beginScope(ss.Scope())
			for _, span := range ss.Spans().All() {
				if t.stopped {
					return
				}
				if t.opts.SpanEvents {
					t.events(span)
				}
				t.span(span)
			}
		}
	}
}

func (t *Traces) span(s ptrace.Span) {
	start, stop := nanoseconds(s.StartTimestamp()), nanoseconds(s.EndTimestamp())
	timestamp := t.timestamp(s.EndTimestamp())
	if start == 0 {
		start = timestamp
	}
	t.message = envelope.AppendTimer(t.message[:0], s.Name(), start, max(start, stop))
	var set ownKeys
	t.common = appendSpanTags(t.common[:0], &set, s)
	t.common, _ = t.appendItem(t.common, s.Attributes(), nil, set)
	if !t.fit(len(t.message), 0, s.Name()) {
		t.reject(ReasonTooLarge, 1)
		return
	}
	t.emit(timestamp, nil, "", 1)
}

// appendSpanTags appends the tags that the exporter sets itself, and adds their keys to set.
func appendSpanTags(b []byte, set *ownKeys, s ptrace.Span) []byte {
	b = appendSpanIDs(b, set, s)
	if kind := nameOf(spanKinds, s.Kind()); kind != "" {
		b = appendOwnTag(b, set, spanKindName, kind)
		if s.Kind() == ptrace.SpanKindServer {
			// The platform's own OTLP egress turns a Timer with this tag into a server span.
			b = appendOwnTag(b, set, peerTypeName, "Server")
		}
	}
	if code := nameOf(statusCodes, s.Status().Code()); code != "" {
		b = appendOwnTag(b, set, statusCodeName, code)
		if message := s.Status().Message(); message != "" {
			b = appendOwnTag(b, set, statusMessageName, message)
		}
	}
	if stop := nanoseconds(s.EndTimestamp()); stop != 0 && stop < nanoseconds(s.StartTimestamp()) { // A missing end is not clock skew.
		b = appendOwnTag(b, set, clockSkewName, "true")
	}
	return b
}

// spanKinds and statusCodes are the names used in tags.
var (
	spanKinds = []string{
		ptrace.SpanKindInternal: "internal", ptrace.SpanKindServer: "server", ptrace.SpanKindClient: "client",
		ptrace.SpanKindProducer: "producer", ptrace.SpanKindConsumer: "consumer",
	}
	statusCodes = []string{ptrace.StatusCodeOk: "ok", ptrace.StatusCodeError: "error"}
)

// events yields the events of a span. The span itself, which completes the item, comes after them.
func (t *Traces) events(s ptrace.Span) {
	if s.Events().Len() == 0 {
		return
	}
	// An event has the span's identity and, as tags, its IDs, but not its attributes: the body has those of the event.
	var set ownKeys
	id := t.identity.find(s.Attributes())
	t.event = appendSpanIDs(t.event[:0], &set, s)
	t.event, _ = t.appendTags(t.event, noAttributes, nil, set)
	t.event = id.append(t.event)
	for _, e := range s.Events().All() {
		t.common = append(t.common[:0], t.event...)
		body := t.json(e.Attributes())
		t.message = envelope.AppendEvent(t.message[:0], e.Name(), body)
		if !t.fit(len(t.message), 0, e.Name(), body) {
			t.truncated = true
			continue
		}
		t.emit(t.timestamp(e.Timestamp(), s.EndTimestamp()), nil, "", 0)
	}
}

func appendSpanIDs(b []byte, set *ownKeys, s ptrace.Span) []byte {
	b = appendTraceID(b, set, s.TraceID())
	b = appendSpanID(b, set, spanIDName, s.SpanID())
	return appendSpanID(b, set, parentSpanIDName, s.ParentSpanID())
}
