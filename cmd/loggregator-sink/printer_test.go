// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"testing"
	"unicode"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func logOf(payload string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{SourceId: "app", Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(payload)}}}
}

func counterOf(delta, total uint64) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{SourceId: "app", InstanceId: "1", Message: &loggregator_v2.Envelope_Counter{
		Counter: &loggregator_v2.Counter{Name: "requests", Delta: delta, Total: total},
	}}
}

func gaugeOf(metrics map[string]*loggregator_v2.GaugeValue) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{SourceId: "app", InstanceId: "1", Message: &loggregator_v2.Envelope_Gauge{
		Gauge: &loggregator_v2.Gauge{Metrics: metrics},
	}}
}

func timerOf(start, stop int64) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{SourceId: "app", InstanceId: "1", Message: &loggregator_v2.Envelope_Timer{
		Timer: &loggregator_v2.Timer{Name: "http", Start: start, Stop: stop},
	}}
}

func eventOf(title, body string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{SourceId: "app", InstanceId: "1", Message: &loggregator_v2.Envelope_Event{
		Event: &loggregator_v2.Event{Title: title, Body: body},
	}}
}

// with changes an envelope.
func with(e *loggregator_v2.Envelope, change func(*loggregator_v2.Envelope)) *loggregator_v2.Envelope {
	change(e)
	return e
}

func tagged(e *loggregator_v2.Envelope, tags map[string]string) *loggregator_v2.Envelope {
	return with(e, func(e *loggregator_v2.Envelope) { e.Tags = tags })
}

// noon is 12:34:56.789999999 UTC on some day.
const noon = 1_700_051_696_789_999_999

// lines are envelopes and their text lines.
var lines = []struct {
	name     string
	envelope *loggregator_v2.Envelope
	want     string
}{
	{"log", logOf("hello, world"), "00:00:00.000 LOG      app OUT hello, world"},
	{"log of stderr", with(logOf("alas"), func(e *loggregator_v2.Envelope) { e.GetLog().Type = loggregator_v2.Log_ERR }),
		"00:00:00.000 LOG      app ERR alas"},
	{"log of an application",
		&loggregator_v2.Envelope{
			Timestamp: noon, SourceId: "0d9b8c5e", InstanceId: "2",
			Tags:    map[string]string{"source_type": "APP/PROC/WEB", "process_id": "x"},
			Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte("started")}},
		},
		"12:34:56.789 [APP/PROC/WEB/2] 0d9b8c5e OUT started {process_id=x source_type=APP/PROC/WEB}"},
	{"short origin is padded", tagged(logOf("x"), map[string]string{"source_type": "A"}), "00:00:00.000 [A/]     app OUT x {source_type=A}"},
	{"before 1970", with(logOf("x"), func(e *loggregator_v2.Envelope) { e.Timestamp = -1 }), "23:59:59.999 LOG      app OUT x"},
	{"backslash", logOf(`C:\new "x"`), `00:00:00.000 LOG      app OUT C:\new "x"`},
	{"not ASCII", logOf("grüß 世界 🎉"), "00:00:00.000 LOG      app OUT grüß 世界 🎉"},
	{"counter with delta", counterOf(5, 0), "00:00:00.000 COUNTER  app/1 requests +5"},
	{"counter with total", counterOf(0, 7), "00:00:00.000 COUNTER  app/1 requests 7"},
	{"counter with both", counterOf(5, math.MaxUint64), "00:00:00.000 COUNTER  app/1 requests 18446744073709551615"},
	{"counter with neither", counterOf(0, 0), "00:00:00.000 COUNTER  app/1 requests 0"},
	{"counter with source_type", tagged(counterOf(0, 7), map[string]string{"source_type": "APP"}),
		"00:00:00.000 COUNTER  app/1 requests 7 {source_type=APP}"},
	{"gauge", gaugeOf(map[string]*loggregator_v2.GaugeValue{
		"memory": {Unit: "bytes", Value: 1.5e9}, "cpu": {Unit: "percentage", Value: 12.25}, "load": {Value: -1}, "hours": nil,
	}), "00:00:00.000 GAUGE    app/1 cpu 12.25 percentage, hours 0, load -1, memory 1.5e+09 bytes"},
	{"gauge not finite", gaugeOf(map[string]*loggregator_v2.GaugeValue{
		"a": {Value: math.Inf(1)}, "b": {Value: math.NaN()},
	}), "00:00:00.000 GAUGE    app/1 a +Inf, b NaN"},
	{"timer", timerOf(1_000_000_000, 2_500_000_000), "00:00:00.000 TIMER    app/1 http 1.5s"},
	{"timer that runs backwards", timerOf(5, 2), "00:00:00.000 TIMER    app/1 http -3ns"},
	{"no message", &loggregator_v2.Envelope{SourceId: "app", InstanceId: "1"}, "00:00:00.000 EMPTY    app/1 "},
	{"event", eventOf("deployed", "version 2"), "00:00:00.000 EVENT    app/1 deployed: version 2"},
	{"tags", tagged(eventOf("t", "b"), map[string]string{
		"z": "1", "b": "two words", "c": "", "d": `say "x"`, "e": "a=b", "f": "{}", "g": "ü", "h": "a,b:c/d",
	}), `00:00:00.000 EVENT    app/1 t: b {b="two words" c="" d="say \"x\"" e="a=b" f="{}" g=ü h=a,b:c/d z=1}`},
}

func TestTextLines(t *testing.T) {
	s := startSink(t)
	var envelopes []*loggregator_v2.Envelope
	for _, line := range lines {
		envelopes = append(envelopes, line.envelope)
	}
	s.send(t, envelopes...)
	got := s.printed(t)
	require.Len(t, got, len(lines))
	for i, line := range lines {
		t.Run(line.name, func(t *testing.T) { assert.Equal(t, line.want, got[i]) })
	}
}

func TestTextLineColors(t *testing.T) {
	s := startSink(t, "-color", "always")
	s.send(t,
		tagged(logOf("hello"), map[string]string{"a": "b"}),
		counterOf(0, 7),
		gaugeOf(map[string]*loggregator_v2.GaugeValue{"g": {Value: 1}}),
		timerOf(0, 1),
		eventOf("t", "b"),
	)
	assert.Equal(t, []string{
		"\x1b[2m00:00:00.000\x1b[0m \x1b[32mLOG     \x1b[0m app OUT hello \x1b[2m{a=b}\x1b[0m",
		"\x1b[2m00:00:00.000\x1b[0m \x1b[36mCOUNTER \x1b[0m app/1 requests 7",
		"\x1b[2m00:00:00.000\x1b[0m \x1b[34mGAUGE   \x1b[0m app/1 g 1",
		"\x1b[2m00:00:00.000\x1b[0m \x1b[33mTIMER   \x1b[0m app/1 http 1ns",
		"\x1b[2m00:00:00.000\x1b[0m \x1b[31mEVENT   \x1b[0m app/1 t: b",
	}, s.printed(t))
}

func TestJSONLines(t *testing.T) {
	s := startSink(t, "-output", "json", "-color", "always")
	var want []*loggregator_v2.Envelope
	for _, line := range lines {
		want = append(want, line.envelope)
	}
	want = append(want, &loggregator_v2.Envelope{}, logOf("\x00\xff"), hostile("\x1b[31m\u2028\n\"\\</script>"), &loggregator_v2.Envelope{
		DeprecatedTags: map[string]*loggregator_v2.Value{"a": {Data: &loggregator_v2.Value_Integer{Integer: 1}}},
	})
	s.send(t, want...)
	got := s.printed(t)
	require.Len(t, got, len(want))
	for i, line := range got {
		assert.NotContains(t, line, "\x1b", "colors are not valid JSON")
		e := new(loggregator_v2.Envelope)
		require.NoError(t, protojson.Unmarshal([]byte(line), e), line)
		// A nil gauge value arrives over the wire as an empty one.
		wire, err := proto.Marshal(want[i])
		require.NoError(t, err)
		arrived := new(loggregator_v2.Envelope)
		require.NoError(t, proto.Unmarshal(wire, arrived))
		assert.Truef(t, proto.Equal(arrived, e), "want %v\ngot  %v", arrived, e)
	}
}

func TestJSONLineIsStable(t *testing.T) {
	// protojson inserts spaces at random, varying by build. A line has none.
	e := tagged(counterOf(1, 2), map[string]string{"b": "2 ", "a": "1"})
	e.Timestamp = noon
	assert.Equal(t, `{"timestamp":"1700051696789999999","source_id":"app","instance_id":"1","tags":{"a":"1","b":"2 "},`+
		`"counter":{"name":"requests","delta":"1","total":"2"}}`, jsonLine(e))
}

// hostile returns an envelope with this text in every string.
func hostile(text string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{
		SourceId: text, InstanceId: text, Tags: map[string]string{text: text, "source_type": text},
		Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{Title: text, Body: text}},
	}
}

func hostileOfEachKind(text string) []*loggregator_v2.Envelope {
	message := func(e *loggregator_v2.Envelope) *loggregator_v2.Envelope {
		h := hostile(text)
		h.Message = e.GetMessage()
		return h
	}
	return []*loggregator_v2.Envelope{
		hostile(text),
		message(logOf(text)),
		message(with(counterOf(1, 2), func(e *loggregator_v2.Envelope) { e.GetCounter().Name = text })),
		message(gaugeOf(map[string]*loggregator_v2.GaugeValue{text: {Unit: text, Value: 1}})),
		message(with(timerOf(1, 2), func(e *loggregator_v2.Envelope) { e.GetTimer().Name = text })),
		message(&loggregator_v2.Envelope{}),
	}
}

var hostileTexts = []struct{ name, text string }{
	{"line feed", "a\n00:00:00.000 LOG      app OUT forged"},
	{"carriage return", "a\rforged"},
	{"color", "\x1b[31mred\x1b[0m"},
	{"window title", "\x1b]0;forged\x07"},
	{"clear the screen", "\x1b[2J\x1b[H"},
	{"backspaces", "abc\b\b\b"},
	{"tab and form feed", "a\tb\vc\f"},
	{"NUL", "a\x00b"},
	{"delete", "a\x7fb"},
	{"single-character control sequence", "\u009b31mred"},
	{"single-character next line", "a\u0085b"},
}

func TestControlCharacters(t *testing.T) {
	tests := []struct {
		output   string
		harmless func(rune) bool
	}{
		{"text", unicode.IsPrint},
		{"json", func(r rune) bool { return !unicode.IsControl(r) }},
	}
	for _, tt := range tests {
		s := startSink(t, "-output", tt.output)
		printed := 0
		for _, h := range hostileTexts {
			t.Run(tt.output+", "+h.name, func(t *testing.T) {
				envelopes := hostileOfEachKind(h.text)
				s.send(t, envelopes...)
				got := s.printed(t)[printed:]
				printed += len(got)
				require.Len(t, got, len(envelopes), "one line per envelope")
				for _, line := range got {
					for _, r := range line {
						require.True(t, tt.harmless(r), "%q in %q", r, line)
					}
				}
			})
		}
	}
}

func TestTextLineEscapes(t *testing.T) {
	s := startSink(t)
	tests := []struct{ name, text, want string }{
		{"right to left", "a\u202eb", `a\u202eb`},
		{"invisible", "a\u200bb\ufeff", `a\u200bb\ufeff`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"quotes and backslashes with a control character", "\"\\\n", `"\\\n`},
		{"escape", "\x1b[31m", `\x1b[31m`},
		{"single-byte control sequence", "\x9b31m", `\x9b31m`},
		{"not UTF-8", "a\xff\xfe", `a\xff\xfe`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := len(s.printed(t))
			s.send(t, logOf(tt.text))
			got := s.printed(t)[before:]
			assert.Equal(t, []string{"00:00:00.000 LOG      app OUT " + tt.want}, got)
		})
	}
}
