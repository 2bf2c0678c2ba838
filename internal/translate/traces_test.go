// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// oneSpan returns a batch with one span, which takes 100 ns and ends at the time at.
func oneSpan() (ptrace.Traces, ptrace.Span) {
	traces := ptrace.NewTraces()
	s := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetName("GET /")
	s.SetStartTimestamp(at - 100)
	s.SetEndTimestamp(at)
	return traces, s
}

// timer returns the Timer expected for that span.
func timer(tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Timer{Name: "GET /", Start: at - 100, Stop: at}, tags...)
}

func times(e *loggregator_v2.Envelope, timestamp, start, stop int64) *loggregator_v2.Envelope {
	e.Timestamp, e.GetTimer().Start, e.GetTimer().Stop = timestamp, start, stop
	return e
}

func setIDs(s ptrace.Span) {
	s.SetTraceID(pcommon.TraceID{0x01, 15: 0xab})
	s.SetSpanID(pcommon.SpanID{0x02, 7: 0xcd})
	s.SetParentSpanID(pcommon.SpanID{0x03, 7: 0xef})
}

// ids returns the tags for the IDs of setIDs, and more.
func ids(more ...string) []string {
	return append([]string{
		"trace_id", "010000000000000000000000000000ab", "span_id", "02000000000000cd", "parent_span_id", "03000000000000ef",
	}, more...)
}

func TestSpans(t *testing.T) {
	const ms = 1_000_000
	named := func(name string) *loggregator_v2.Envelope {
		return newEnvelope(&loggregator_v2.Timer{Name: name, Start: at - 100, Stop: at})
	}
	for name, row := range map[string]struct {
		options func(*Options)
		span    func(ptrace.Span)
		want    *loggregator_v2.Envelope
	}{
		"plain":          {span: func(ptrace.Span) {}, want: timer()},
		"no name":        {span: func(s ptrace.Span) { s.SetName("") }, want: named("")},
		"name not UTF-8": {span: func(s ptrace.Span) { s.SetName("a\xff") }, want: named("a\uFFFD")},
		"with tags and identity": {
			span: func(s ptrace.Span) {
				put(s.Attributes(), "http.method", "GET", "source_id", "app", "instance_id", "3", "cloudfoundry.space.id", "s")
			},
			want: from(timer("http.method", "GET", "space_id", "s"), "app", "3"),
		},

		"no end":             {span: func(s ptrace.Span) { s.SetEndTimestamp(0) }, want: times(timer(), now, at-100, at-100)},
		"no start":           {span: func(s ptrace.Span) { s.SetStartTimestamp(0) }, want: times(timer(), at, at, at)},
		"no times":           {span: func(s ptrace.Span) { s.SetStartTimestamp(0); s.SetEndTimestamp(0) }, want: times(timer(), now, now, now)},
		"start out of range": {span: func(s ptrace.Span) { s.SetStartTimestamp(1 << 63) }, want: times(timer(), at, at, at)},
		"end out of range":   {span: func(s ptrace.Span) { s.SetEndTimestamp(1 << 63) }, want: times(timer(), now, at-100, at-100)},
		"both times out of range": {
			span: func(s ptrace.Span) { s.SetStartTimestamp(1 << 63); s.SetEndTimestamp(math.MaxUint64) },
			want: times(timer(), now, now, now),
		},
		"no duration": {span: func(s ptrace.Span) { s.SetStartTimestamp(at) }, want: times(timer(), at, at, at)},
		"end before start": {
			span: func(s ptrace.Span) { s.SetStartTimestamp(at + ms) }, want: times(timer("clock_skew", "true"), at, at+ms, at+ms),
		},
		"clock_skew over attribute": {
			span: func(s ptrace.Span) { s.SetStartTimestamp(at + 1); put(s.Attributes(), "clock_skew", "mine") },
			want: times(timer("clock_skew", "true"), at, at+1, at+1),
		},

		"ids": {span: setIDs, want: timer(ids()...)},
		"ids over attributes": {
			span: func(s ptrace.Span) {
				setIDs(s)
				put(s.Attributes(), "trace_id", "x", "span_id", "y", "parent_span_id", "z")
			},
			want: timer(ids()...),
		},
		"attributes without ids": {
			span: func(s ptrace.Span) { put(s.Attributes(), "trace_id", "x", "span_id", "y", "parent_span_id", "z") },
			want: timer("trace_id", "x", "span_id", "y", "parent_span_id", "z"),
		},
		"no parent": {span: func(s ptrace.Span) { setIDs(s); s.SetParentSpanID(pcommon.SpanID{}) }, want: timer(ids()[:4]...)},

		"server":       {span: func(s ptrace.Span) { s.SetKind(ptrace.SpanKindServer) }, want: timer("span_kind", "server", "peer_type", "Server")},
		"client":       {span: func(s ptrace.Span) { s.SetKind(ptrace.SpanKindClient) }, want: timer("span_kind", "client")},
		"producer":     {span: func(s ptrace.Span) { s.SetKind(ptrace.SpanKindProducer) }, want: timer("span_kind", "producer")},
		"consumer":     {span: func(s ptrace.Span) { s.SetKind(ptrace.SpanKindConsumer) }, want: timer("span_kind", "consumer")},
		"internal":     {span: func(s ptrace.Span) { s.SetKind(ptrace.SpanKindInternal) }, want: timer("span_kind", "internal")},
		"unknown kind": {span: func(s ptrace.Span) { s.SetKind(99) }, want: timer()},
		"kind over attributes": {
			span: func(s ptrace.Span) {
				s.SetKind(ptrace.SpanKindServer)
				put(s.Attributes(), "span_kind", "x", "peer_type", "Client")
			},
			want: timer("span_kind", "server", "peer_type", "Server"),
		},
		"attributes without kind": {
			span: func(s ptrace.Span) { put(s.Attributes(), "span_kind", "x", "peer_type", "Client") },
			want: timer("span_kind", "x", "peer_type", "Client"),
		},

		"ok":    {span: func(s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeOk) }, want: timer("status_code", "ok")},
		"error": {span: func(s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeError) }, want: timer("status_code", "error")},
		"error with message": {
			span: func(s ptrace.Span) { s.Status().SetCode(ptrace.StatusCodeError); s.Status().SetMessage("it broke\xff") },
			want: timer("status_code", "error", "status_message", "it broke\uFFFD"),
		},
		"message without status": {span: func(s ptrace.Span) { s.Status().SetMessage("it broke") }, want: timer()},
		"unknown status":         {span: func(s ptrace.Span) { s.Status().SetCode(99) }, want: timer()},
		"status over attributes": {
			span: func(s ptrace.Span) {
				s.Status().SetCode(ptrace.StatusCodeError)
				s.Status().SetMessage("it broke")
				put(s.Attributes(), "status_code", "x", "status_message", "y")
			},
			want: timer("status_code", "error", "status_message", "it broke"),
		},

		"span events, by default": {span: func(s ptrace.Span) { s.Events().AppendEmpty().SetName("e") }, want: timer()},
		"span events, none":       {options: spanEvents, span: setIDs, want: timer(ids()...)},
		"fields not carried": {
			span: func(s ptrace.Span) {
				s.TraceState().FromRaw("a=b")
				s.SetFlags(1)
				s.Links().AppendEmpty().SetSpanID(pcommon.SpanID{1})
				s.SetDroppedAttributesCount(1)
				s.SetDroppedEventsCount(2)
				s.SetDroppedLinksCount(3)
			},
			want: timer(),
		},
	} {
		t.Run(name, func(t *testing.T) {
			traces, span := oneSpan()
			row.span(span)
			out := translateTraces(t, options(row.options), traces)
			out.requireEnvelopes(row.want)
			out.requireRejected(nil)
		})
	}
}

func spanEvents(o *Options) { o.SpanEvents = true }

func TestSpanEvents(t *testing.T) {
	traces, span := oneSpan()
	rs := traces.ResourceSpans().At(0)
	put(rs.Resource().Attributes(), "r", "1", "source_id", "resource")
	put(rs.ScopeSpans().At(0).Scope().Attributes(), "s", "2")
	rs.ScopeSpans().At(0).Scope().SetName("lib")
	setIDs(span)
	span.SetKind(ptrace.SpanKindServer)
	put(span.Attributes(), "cloudfoundry.app.id", "app", "instance_id", "3", "k", "v")

	e := span.Events().AppendEmpty()
	e.SetName("exception")
	e.SetTimestamp(at - 50)
	put(e.Attributes(), "b", "<&>", "a", int64(1), "source_id", "of the event", "c", map[string]any{"d": []any{true}})
	e = span.Events().AppendEmpty()
	e.SetName("bytes \xff")
	e.Attributes().PutDouble("a", math.NaN())
	e.Attributes().PutStr("b", "\xff")
	e = span.Events().AppendEmpty()
	e.SetTimestamp(7)

	next := rs.ScopeSpans().At(0).Spans().AppendEmpty()
	next.SetName("next")
	next.Events().AppendEmpty().SetName("without any time")

	outer := []string{"r", "1", "s", "2", "otel_scope_name", "lib"}
	ofEvent := ids(outer...)
	out := translateTraces(t, options(spanEvents), traces)
	out.requireEnvelopes(
		from(timed(newEnvelope(&loggregator_v2.Event{
			Title: "exception", Body: `{"a":1,"b":"<&>","c":{"d":[true]},"source_id":"of the event"}`,
		}, ofEvent...), at-50), "app", "3"),
		from(newEnvelope(&loggregator_v2.Event{Title: "bytes \uFFFD", Body: `{"a":"NaN","b":"\ufffd"}`}, ofEvent...), "app", "3"),
		from(timed(newEnvelope(&loggregator_v2.Event{Body: `{}`}, ofEvent...), 7), "app", "3"),
		from(timer(append(ids(outer...), "app_id", "app", "k", "v", "span_kind", "server", "peer_type", "Server")...), "app", "3"),
		from(timed(newEnvelope(&loggregator_v2.Event{Title: "without any time", Body: `{}`}, outer...), now), "resource", "0"),
		from(timed(newEnvelope(&loggregator_v2.Timer{Name: "next", Start: now, Stop: now}, outer...), now), "resource", "0"),
	)
	assert.Equal(t, 2, out.items, "an event is not an item")
}

// An event that is too large is left out, and its span counts as truncated once. A span that is too large is rejected once, although its
// events were yielded.
func TestSpanEventsTooLarge(t *testing.T) {
	huge := strings.Repeat("x", envelope.MaxSize)
	for name, row := range map[string]struct {
		span, attribute string
		events          []string
		want            []string // titles of events and names of spans
		truncated       int
		rejected        map[Reason]int
	}{
		"one event": {
			span: "span", events: []string{"small", huge, "small too"}, want: []string{"small", "small too", "span", "next"}, truncated: 1,
		},
		"all events and an attribute": {
			span: "span", attribute: huge, events: []string{huge, huge, huge}, want: []string{"span", "next"}, truncated: 1,
		},
		"the span": {span: huge, events: []string{"e"}, want: []string{"e", "next"}, rejected: rejectedOnce(ReasonTooLarge)},
		"all": {
			span: huge, attribute: huge, events: []string{huge, huge, huge}, want: []string{"next"}, rejected: rejectedOnce(ReasonTooLarge),
		},
	} {
		t.Run(name, func(t *testing.T) {
			traces, span := oneSpan()
			span.SetName(row.span)
			put(span.Attributes(), "k", row.attribute)
			for _, event := range row.events {
				span.Events().AppendEmpty().SetName(event)
			}
			traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty().SetName("next")
			out := translateTraces(t, options(spanEvents), traces)
			var got []string
			for _, e := range out.envelopes {
				got = append(got, e.GetEvent().GetTitle()+e.GetTimer().GetName())
			}
			assert.Equal(t, row.want, got)
			assert.Equal(t, row.truncated, out.truncated)
			out.requireRejected(row.rejected)
		})
	}
}
