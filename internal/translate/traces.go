// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Traces translates spans to Timer envelopes, and span events to Event envelopes. One goroutine at a time may use it.
type Traces struct {
	translator
}

var noAttributes = pcommon.NewMap()

// NewTraces makes a translator of traces.
func NewTraces(opts Options) *Traces {
	return &Traces{translator: newTranslator(opts, cleanKeyFunc(false, opts.SyslogSafe))}
}

// Translate puts the envelopes of all spans out.
func (t *Traces) Translate(traces ptrace.Traces, out Output) {
	t.out = out
	for _, rs := range traces.ResourceSpans().All() {
		t.beginResource(rs.Resource())
		for _, ss := range rs.ScopeSpans().All() {
			t.beginScope(ss.Scope())
			if t.hopeless {
				t.reject(TooLarge, ss.Spans().Len())
				continue
			}
			for _, span := range ss.Spans().All() {
				if t.opts.SpanEvents {
					t.events(span)
				}
				t.span(span)
			}
		}
	}
}

func (t *Traces) span(s ptrace.Span) {
	t.beginItem(s.Attributes())
	t.setIDs(s)
	if kind := s.Kind(); kind != ptrace.SpanKindUnspecified && kind.String() != "" {
		t.tags.set("span_kind", strings.ToLower(kind.String()))
		if kind == ptrace.SpanKindServer {
			// The platform's own OTLP egress makes a server span of a Timer with this tag.
			t.tags.set("peer_type", "Server")
		}
	}
	if code := s.Status().Code(); code != ptrace.StatusCodeUnset && code.String() != "" {
		t.tags.set("status_code", strings.ToLower(code.String()))
		if message := s.Status().Message(); message != "" {
			t.tags.set("status_message", message)
		}
	}
	start, stop := s.StartTimestamp(), s.EndTimestamp()
	timestamp := t.timestamp(stop)
	if stop < start {
		if stop != 0 { // Without an end there is no clock to blame.
			t.tags.set("clock_skew", "true")
		}
		stop = start
	}
	t.message = envelope.AppendTimer(t.message[:0], s.Name(), int64(start), int64(stop))
	if !t.seal(len(t.message)) {
		t.reject(TooLarge, 1)
		return
	}
	t.emit(timestamp, "", "", 1)
}

// events puts the events of a span out, before the span itself, which completes the item.
func (t *Traces) events(s ptrace.Span) {
	if s.Events().Len() == 0 {
		return
	}
	// The span's identity, and its ids as tags, but not its attributes: those are the event's, in the body.
	t.beginItem(s.Attributes())
	id := t.id
	for _, e := range s.Events().All() {
		t.beginItem(noAttributes)
		t.id = id
		t.setIDs(s)
		t.message = envelope.AppendEvent(t.message[:0], e.Name(), jsonString(e.Attributes().AsRaw()))
		if !t.seal(len(t.message)) {
			t.shortened = true
			continue
		}
		t.emit(t.timestamp(e.Timestamp(), s.EndTimestamp()), "", "", 0)
	}
}

func (t *Traces) setIDs(s ptrace.Span) {
	if id := s.TraceID(); !id.IsEmpty() {
		t.tags.set("trace_id", id.String())
	}
	if id := s.SpanID(); !id.IsEmpty() {
		t.tags.set("span_id", id.String())
	}
	if id := s.ParentSpanID(); !id.IsEmpty() {
		t.tags.set("parent_span_id", id.String())
	}
}
