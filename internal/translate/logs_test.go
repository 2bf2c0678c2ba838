// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// oneLog is a record without a body at the time at.
func oneLog() (plog.Logs, plog.LogRecord) {
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(at)
	return logs, r
}

// stdout is the Log expected of a record, with the tags that every Log has and more.
func stdout(payload string, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Log{Payload: []byte(payload)}, append([]string{"source_type", "OTEL"}, tags...)...)
}

func stderr(payload string, tags ...string) *loggregator_v2.Envelope {
	return with(stdout(payload, tags...), func(e *loggregator_v2.Envelope) { e.GetLog().Type = loggregator_v2.Log_ERR })
}

func eventOf(title, body string, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Event{Title: title, Body: body}, tags...)
}

func timed(e *loggregator_v2.Envelope, ns int64) *loggregator_v2.Envelope {
	return with(e, func(e *loggregator_v2.Envelope) { e.Timestamp = ns })
}

// logRow says what becomes of a record: one envelope or a rejection.
type logRow struct {
	options  func(*Options)
	record   func(plog.LogRecord)
	want     *loggregator_v2.Envelope
	rejected Reason
}

func (row logRow) run(t *testing.T) {
	t.Helper()
	logs, record := oneLog()
	row.record(record)
	out := translateLogs(t, options(row.options), logs)
	if row.rejected != "" {
		out.requireRejected(rejectedOnce(row.rejected))
		out.requireEnvelopes()
		return
	}
	out.requireEnvelopes(row.want)
	requireDifferentKeys(t, out.encoded[0])
}

func body(v any) func(plog.LogRecord) {
	return func(r plog.LogRecord) {
		if err := r.Body().FromRaw(v); err != nil {
			panic(err)
		}
	}
}

// hello is a record with that body and more.
func hello(more func(plog.LogRecord)) func(plog.LogRecord) {
	return func(r plog.LogRecord) {
		r.Body().SetStr("hello")
		more(r)
	}
}

func attributes(keysAndValues ...any) func(plog.LogRecord) {
	return func(r plog.LogRecord) { put(r.Attributes(), keysAndValues...) }
}

func TestLogPayload(t *testing.T) {
	for name, row := range map[string]logRow{
		"string":                 {record: body("hello"), want: stdout("hello")},
		"string, as it is":       {record: body(" a\r\n\tb\x00 \n"), want: stdout(" a\r\n\tb\x00 \n")},
		"string, not UTF-8":      {record: body("a\xff\xfe"), want: stdout("a\xff\xfe")},
		"bytes":                  {record: body([]byte{0, 1, 0xff, 'a'}), want: stdout("\x00\x01\xffa")},
		"map":                    {record: body(map[string]any{"b": "<&>", "a": []any{int64(1), nil, true}}), want: stdout(`{"a":[1,null,true],"b":"<&>"}`)},
		"slice":                  {record: body([]any{"a", 1.5, map[string]any{"k": "v"}}), want: stdout(`["a",1.5,{"k":"v"}]`)},
		"NaN in a map":           {record: body(map[string]any{"a": math.NaN()}), want: stdout(`{"a":"NaN"}`)},
		"bytes in a map":         {record: body(map[string]any{"a": []byte{1, 2, 255}}), want: stdout(`{"a":"AQL/"}`)},
		"int":                    {record: body(int64(-42)), want: stdout("-42")},
		"zero":                   {record: body(int64(0)), want: stdout("0")},
		"double":                 {record: body(2.5), want: stdout("2.5")},
		"NaN":                    {record: body(math.NaN()), want: stdout("NaN")},
		"bool":                   {record: body(false), want: stdout("false")},
		"only blanks":            {record: body(" \n"), want: stdout(" \n")},
		"no body":                {record: body(nil), rejected: ReasonEmpty},
		"empty string":           {record: body(""), rejected: ReasonEmpty},
		"empty bytes":            {record: body([]byte{}), rejected: ReasonEmpty},
		"only NULs":              {record: body("\x00\x00"), rejected: ReasonEmpty},
		"bytes that are NULs":    {record: body([]byte{0}), rejected: ReasonEmpty},
		"NULs around":            {record: body("\x00a\x00"), want: stdout("\x00a\x00")},
		"no body but attributes": {record: attributes("b", "<", "a", int64(1)), want: stdout(`{"a":1,"b":"<"}`, "a", "1", "b", "<")},
		"only NULs and attributes": {
			record: func(r plog.LogRecord) {
				r.Body().SetStr("\x00")
				r.Attributes().PutDouble("a", math.Inf(1))
			},
			want: stdout(`{"a":"Infinity"}`, "a", "Infinity"),
		},
		"no body but attributes that are no tags": {
			record: attributes("source_id", "app"),
			want: with(stdout(`{"source_id":"app"}`), func(e *loggregator_v2.Envelope) {
				e.SourceId = "app"
			}),
		},
	} {
		t.Run(name, row.run)
	}
}

// The attributes of scope and resource do not become the body.
func TestEmptyLogWithResource(t *testing.T) {
	logs := scoped{resource: []any{"a", "1"}, scope: []any{"b", "2"}}.logs()
	logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().SetStr("")
	out := translateLogs(t, defaults(), logs)
	out.requireEnvelopes()
	out.requireRejected(rejectedOnce(ReasonEmpty))
}

func TestLogStream(t *testing.T) {
	number := func(n plog.SeverityNumber, attrs ...any) func(plog.LogRecord) {
		return hello(func(r plog.LogRecord) {
			r.SetSeverityNumber(n)
			put(r.Attributes(), attrs...)
		})
	}
	for name, row := range map[string]logRow{
		"nothing known":       {record: number(0), want: stdout("hello")},
		"INFO":                {record: number(plog.SeverityNumberInfo), want: stdout("hello", "severity", "INFO")},
		"WARN4, just below":   {record: number(plog.SeverityNumberWarn4), want: stdout("hello", "severity", "WARN4")},
		"ERROR":               {record: number(plog.SeverityNumberError), want: stderr("hello", "severity", "ERROR")},
		"FATAL4":              {record: number(plog.SeverityNumberFatal4), want: stderr("hello", "severity", "FATAL4")},
		"stdout":              {record: number(0, "log.iostream", "stdout"), want: stdout("hello", "log.iostream", "stdout")},
		"stderr":              {record: number(0, "log.iostream", "stderr"), want: stderr("hello", "log.iostream", "stderr")},
		"stdout before ERROR": {record: number(plog.SeverityNumberError, "log.iostream", "stdout"), want: stdout("hello", "log.iostream", "stdout", "severity", "ERROR")},
		"stderr before INFO":  {record: number(plog.SeverityNumberInfo, "log.iostream", "stderr"), want: stderr("hello", "log.iostream", "stderr", "severity", "INFO")},
		"another stream: the severity": {
			record: number(plog.SeverityNumberError, "log.iostream", "STDOUT"),
			want:   stderr("hello", "log.iostream", "STDOUT", "severity", "ERROR"),
		},
		"an empty stream: the severity": {
			record: number(plog.SeverityNumberInfo, "log.iostream", ""),
			want:   stdout("hello", "log.iostream", "", "severity", "INFO"),
		},
		"the severity text says nothing of the stream": {
			record: hello(func(r plog.LogRecord) { r.SetSeverityText("ERROR") }),
			want:   stdout("hello", "severity", "ERROR"),
		},
	} {
		t.Run(name, row.run)
	}
}

func TestLogTimestamp(t *testing.T) {
	times := func(timestamp, observed pcommon.Timestamp) func(plog.LogRecord) {
		return hello(func(r plog.LogRecord) {
			r.SetTimestamp(timestamp)
			r.SetObservedTimestamp(observed)
		})
	}
	for name, row := range map[string]logRow{
		"timestamp":     {record: times(5, 0), want: timed(stdout("hello"), 5)},
		"before 'seen'": {record: times(5, 7), want: timed(stdout("hello"), 5)},
		"observed":      {record: times(0, 7), want: timed(stdout("hello"), 7)},
		"now":           {record: times(0, 0), want: timed(stdout("hello"), now)},
	} {
		t.Run(name, row.run)
	}
}

func TestLogSeverity(t *testing.T) {
	severity := func(text string, number plog.SeverityNumber, attrs ...any) func(plog.LogRecord) {
		return hello(func(r plog.LogRecord) {
			r.SetSeverityText(text)
			r.SetSeverityNumber(number)
			put(r.Attributes(), attrs...)
		})
	}
	for name, row := range map[string]logRow{
		"none":                    {record: severity("", 0), want: stdout("hello")},
		"text, as it is":          {record: severity("notice", 0), want: stdout("hello", "severity", "notice")},
		"text before number":      {record: severity("notice", plog.SeverityNumberDebug), want: stdout("hello", "severity", "notice")},
		"text that is not UTF-8":  {record: severity("a\xff", 0), want: stdout("hello", "severity", "a\uFFFD")},
		"an attribute before all": {record: severity("notice", plog.SeverityNumberDebug, "severity", "mine"), want: stdout("hello", "severity", "mine")},
		"a number without a name": {record: severity("", 99), want: stderr("hello")},
		"below all numbers":       {record: severity("", -1), want: stdout("hello")},
	} {
		t.Run(name, row.run)
	}
	for number, want := range map[plog.SeverityNumber]string{
		1: "TRACE", 2: "TRACE2", 3: "TRACE3", 4: "TRACE4",
		5: "DEBUG", 6: "DEBUG2", 7: "DEBUG3", 8: "DEBUG4",
		9: "INFO", 10: "INFO2", 11: "INFO3", 12: "INFO4",
		13: "WARN", 14: "WARN2", 15: "WARN3", 16: "WARN4",
		17: "ERROR", 18: "ERROR2", 19: "ERROR3", 20: "ERROR4",
		21: "FATAL", 22: "FATAL2", 23: "FATAL3", 24: "FATAL4",
	} {
		t.Run(want, func(t *testing.T) {
			logs, record := oneLog()
			severity("", number)(record)
			out := translateLogs(t, defaults(), logs)
			assert.Equal(t, want, out.envelopes[0].GetTags()["severity"])
		})
	}
}

func TestLogIDs(t *testing.T) {
	ids := func(r plog.LogRecord) {
		r.SetTraceID(pcommon.TraceID{0x01, 15: 0xab})
		r.SetSpanID(pcommon.SpanID{0x02, 7: 0xcd})
	}
	const traceID, spanID = "010000000000000000000000000000ab", "02000000000000cd"
	for name, row := range map[string]logRow{
		"both":       {record: hello(ids), want: stdout("hello", "trace_id", traceID, "span_id", spanID)},
		"only trace": {record: hello(func(r plog.LogRecord) { ids(r); r.SetSpanID(pcommon.SpanID{}) }), want: stdout("hello", "trace_id", traceID)},
		"before attributes": {
			record: hello(func(r plog.LogRecord) { ids(r); put(r.Attributes(), "trace_id", "x", "span_id", "y") }),
			want:   stdout("hello", "trace_id", traceID, "span_id", spanID),
		},
		"attributes where there are none": {
			record: hello(attributes("trace_id", "x", "span_id", "y")),
			want:   stdout("hello", "trace_id", "x", "span_id", "y"),
		},
	} {
		t.Run(name, row.run)
	}
}

func TestLogSourceType(t *testing.T) {
	for name, row := range map[string]struct {
		options func(*Options)
		data    scoped
		want    []string
	}{
		"none":       {want: []string{"source_type", "OTEL"}},
		"configured": {options: func(o *Options) { o.SourceType = "MINE" }, want: []string{"source_type", "MINE"}},
		"attribute of the record": {
			data: scoped{record: []any{"source_type", "APP/TASK/x", "process_type", "web"}},
			want: []string{"source_type", "APP/TASK/x", "process_type", "web"},
		},
		"attribute of the resource": {
			data: scoped{resource: []any{"source_type", "RTR"}},
			want: []string{"source_type", "RTR"},
		},
		"attribute of the cloudfoundryreceiver": {
			data: scoped{resource: []any{"org.cloudfoundry.source_type", "RTR"}},
			want: []string{"source_type", "RTR"},
		},
		"attribute of the resource, beside a process type of the record": {
			data: scoped{resource: []any{"source_type", "RTR"}, record: []any{"process_type", "web"}},
			want: []string{"source_type", "RTR", "process_type", "web"},
		},
		"process type of the semantic conventions": {
			data: scoped{resource: []any{"cloudfoundry.process.type", "web"}},
			want: []string{"source_type", "APP/PROC/WEB", "process_type", "web"},
		},
		"process type of the platform": {
			data: scoped{scope: []any{"process_type", "worker-1"}},
			want: []string{"source_type", "APP/PROC/WORKER-1", "process_type", "worker-1"},
		},
		"too long for a PROCID of syslog": {
			data: scoped{record: []any{"source_type", strings.Repeat("x", 90)}},
			want: []string{"source_type", strings.Repeat("x", 89)},
		},
		"not fit for a PROCID of syslog": {
			data: scoped{record: []any{"source_type", "My Größe"}},
			want: []string{"source_type", "My_Gr__e"},
		},
		"which need not be fit": {
			options: func(o *Options) { o.SyslogSafe = false },
			data:    scoped{record: []any{"source_type", "My Größe"}},
			want:    []string{"source_type", "My Größe"},
		},
		"empty process type": {
			data: scoped{resource: []any{"cloudfoundry.process.type", ""}},
			want: []string{"source_type", "OTEL", "process_type", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			requireTags(t, row.want, translateLogs(t, options(row.options), row.data.logs()))
		})
	}
}

func TestLogEvents(t *testing.T) {
	named := func(name string, body any, attrs ...any) func(plog.LogRecord) {
		return func(r plog.LogRecord) {
			r.SetEventName(name)
			if err := r.Body().FromRaw(body); err != nil {
				panic(err)
			}
			put(r.Attributes(), attrs...)
		}
	}
	asLogs := func(o *Options) { o.EventsAsLogs = true }
	titleAndBody := map[string]any{"title": "t", "body": "b"}
	for name, row := range map[string]logRow{
		"named":                   {record: named("e", "hello"), want: eventOf("e", "hello")},
		"named, body a map":       {record: named("e", map[string]any{"k": int64(1)}), want: eventOf("e", `{"k":1}`)},
		"named, body a slice":     {record: named("e", []any{"a"}), want: eventOf("e", `["a"]`)},
		"named, body a number":    {record: named("e", int64(7)), want: eventOf("e", `7`)},
		"named, without body":     {record: named("e", nil), want: eventOf("e", "")},
		"named, title and body":   {record: named("e", titleAndBody), want: eventOf("e", `{"body":"b","title":"t"}`)},
		"title and body":          {record: body(titleAndBody), want: eventOf("t", "b")},
		"title and body, empty":   {record: body(map[string]any{"title": "", "body": ""}), want: eventOf("", "")},
		"one key more":            {record: body(map[string]any{"title": "t", "body": "b", "x": "y"}), want: stdout(`{"body":"b","title":"t","x":"y"}`)},
		"only a title":            {record: body(map[string]any{"title": "t"}), want: stdout(`{"title":"t"}`)},
		"another key":             {record: body(map[string]any{"title": "t", "Body": "b"}), want: stdout(`{"Body":"b","title":"t"}`)},
		"a body that's no string": {record: body(map[string]any{"title": "t", "body": int64(1)}), want: stdout(`{"body":1,"title":"t"}`)},
		"a title that's none":     {record: body(map[string]any{"title": true, "body": "b"}), want: stdout(`{"body":"b","title":true}`)},
		"not UTF-8":               {record: named("e\xff", "b\xff"), want: eventOf("e\uFFFD", "b\uFFFD")},
		"with all tags": {
			record: func(r plog.LogRecord) {
				named("e", "hello", "k", "v", "source_id", "app")(r)
				r.SetSeverityNumber(plog.SeverityNumberError)
				r.SetSpanID(pcommon.SpanID{7: 1})
				r.SetTimestamp(0)
				r.SetObservedTimestamp(7)
			},
			want: with(eventOf("e", "hello", "k", "v", "severity", "ERROR", "span_id", "0000000000000001"), func(e *loggregator_v2.Envelope) {
				e.SourceId, e.Timestamp = "app", 7
			}),
		},
		"as log: named":          {options: asLogs, record: named("e", "hello"), want: stdout("hello", "event_name", "e")},
		"as log: title and body": {options: asLogs, record: body(titleAndBody), want: stdout(`{"body":"b","title":"t"}`)},
		"as log: without body":   {options: asLogs, record: named("e", nil), want: stdout("e", "event_name", "e")},
		"as log: says nothing":   {options: asLogs, record: named("\x00", nil), rejected: ReasonEmpty},
	} {
		t.Run(name, row.run)
	}
}

func TestLogSplit(t *testing.T) {
	const limit = 64
	s := strings.Repeat
	for name, row := range map[string]struct {
		payload string
		want    []string // nil: not split
	}{
		"just not":                                  {payload: s("a", limit)},
		"one byte more":                             {payload: s("a", limit+1), want: []string{s("a", limit), "a"}},
		"twice the limit":                           {payload: s("a", 2*limit), want: []string{s("a", limit), s("a", limit)}},
		"twice the limit and one more":              {payload: s("a", 2*limit+1), want: []string{s("a", limit), s("a", limit), "a"}},
		"a line end as the last byte of a part":     {payload: s("a", limit-1) + "\n" + "b", want: []string{s("a", limit-1) + "\n", "b"}},
		"a line end in the last quarter":            {payload: s("a", 55) + "\n" + s("b", 20), want: []string{s("a", 55) + "\n", s("b", 20)}},
		"a line end at the beginning of it":         {payload: s("a", 48) + "\n" + s("b", 20), want: []string{s("a", 48) + "\n", s("b", 20)}},
		"a line end just before it":                 {payload: s("a", 47) + "\n" + s("b", 20), want: []string{s("a", 47) + "\n" + s("b", 16), "bbbb"}},
		"the last of several line ends":             {payload: s("a", 50) + "\n" + s("b", 5) + "\n" + s("c", 20), want: []string{s("a", 50) + "\n" + s("b", 5) + "\n", s("c", 20)}},
		"a line end just after the limit":           {payload: s("a", limit) + "\n" + "b", want: []string{s("a", limit), "\nb"}},
		"CRLF stays together":                       {payload: s("a", 60) + "\r\n" + s("b", 20), want: []string{s("a", 60) + "\r\n", s("b", 20)}},
		"lines, in every part":                      {payload: s(s("l", 15)+"\n", 9), want: []string{s(s("l", 15)+"\n", 4), s(s("l", 15)+"\n", 4), s("l", 15) + "\n"}},
		"between characters of two bytes":           {payload: "a" + s("é", 40), want: []string{"a" + s("é", 31), s("é", 9)}},
		"between characters of three bytes":         {payload: s("世", 30), want: []string{s("世", 21), s("世", 9)}},
		"between characters of four bytes":          {payload: "a" + s("😀", 20), want: []string{"a" + s("😀", 15), s("😀", 5)}},
		"a character that just fits":                {payload: s("a", 60) + "😀" + "b", want: []string{s("a", 60) + "😀", "b"}},
		"a character that lacks one byte":           {payload: s("a", 61) + "😀" + "b", want: []string{s("a", 61), "😀b"}},
		"binary":                                    {payload: s("\xbf", 70), want: []string{s("\xbf", limit), s("\xbf", 6)}},
		"binary with NULs":                          {payload: "a" + s("\x00\xff", 40), want: []string{"a" + s("\x00\xff", 31) + "\x00", "\xff" + s("\x00\xff", 8)}},
		"a line end before a character of the next": {payload: s("世", 18) + "\n" + s("é", 20), want: []string{s("世", 18) + "\n", s("é", 20)}},
	} {
		t.Run(name, func(t *testing.T) {
			logs, record := oneLog()
			record.Body().SetEmptyBytes().FromRaw([]byte(row.payload))
			record.SetSeverityNumber(plog.SeverityNumberError)
			put(record.Attributes(), "k", "v", "part", "mine")
			out := translateLogs(t, options(func(o *Options) { o.MaxPayload = limit }), logs)
			if row.want == nil {
				out.requireEnvelopes(stderr(row.payload, "severity", "ERROR", "k", "v", "part", "mine"))
				return
			}
			var want []*loggregator_v2.Envelope
			for i, part := range row.want {
				tag := fmt.Sprintf("%d/%d", i+1, len(row.want))
				want = append(want, timed(stderr(part, "severity", "ERROR", "k", "v", "part", tag), at+int64(i+1)*1000))
			}
			out.requireEnvelopes(want...)
		})
	}
}

// The default: 60 KiB, with which all but the longest tags have room.
func TestLogSplitByDefault(t *testing.T) {
	logs, record := oneLog()
	payload := strings.Repeat("a", 61440)
	record.Body().SetStr(payload)
	out := translateLogs(t, defaults(), logs)
	out.requireEnvelopes(stdout(payload))
	assert.Zero(t, out.truncated)

	record.Body().SetStr(payload + "b")
	out = translateLogs(t, defaults(), logs)
	out.requireEnvelopes(timed(stdout(payload, "part", "1/2"), at+1000), timed(stdout("b", "part", "2/2"), at+2000))
}

// JSON bodies are split as well.
func TestLogSplitMap(t *testing.T) {
	logs, record := oneLog()
	record.Body().SetEmptyMap().PutStr("k", strings.Repeat("v", 70))
	out := translateLogs(t, options(func(o *Options) { o.MaxPayload = 64 }), logs)
	out.requireEnvelopes(
		timed(stdout(`{"k":"`+strings.Repeat("v", 58), "part", "1/2"), at+1000),
		timed(stdout(strings.Repeat("v", 12)+`"}`, "part", "2/2"), at+2000),
	)
}

// A record that is split is truncated, or rejected, once.
func TestLogSplitTooLarge(t *testing.T) {
	logs, record := oneLog()
	record.Body().SetStr(strings.Repeat("a", 200_000))
	put(record.Attributes(), "k", strings.Repeat("v", 200_000))
	out := translateLogs(t, defaults(), logs)
	require.Len(t, out.envelopes, 4)
	assert.Equal(t, 1, out.truncated)
	assert.Equal(t, 1, out.items)
	for _, e := range out.envelopes {
		assert.Equal(t, out.envelopes[0].GetTags()["k"], e.GetTags()["k"], "all parts have the same tags")
	}
}

func TestLogSplitRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "é", "世", "😀", "\n", "\x00", "\xff", "\xbf", "\xe4\xb8", "line of text", strings.Repeat("x", 30)}
	for range 300 {
		var payload []byte
		for range rnd.IntN(300) {
			payload = append(payload, pieces[rnd.IntN(len(pieces))]...)
		}
		payload = append(payload, 'x')
		limit := 64 + rnd.IntN(200)
		logs, record := oneLog()
		record.Body().SetEmptyBytes().FromRaw(payload)
		out := translateLogs(t, options(func(o *Options) { o.MaxPayload = limit }), logs)
		var parts [][]byte
		for i, e := range out.envelopes {
			part := e.GetLog().GetPayload()
			parts = append(parts, part)
			require.LessOrEqual(t, len(part), limit)
			require.NotEmpty(t, part)
			if len(payload) <= limit {
				require.NotContains(t, e.GetTags(), "part")
				require.Equal(t, int64(at), e.GetTimestamp())
				continue
			}
			require.Equal(t, fmt.Sprintf("%d/%d", i+1, len(out.envelopes)), e.GetTags()["part"])
			require.Equal(t, at+int64(i+1)*1000, e.GetTimestamp())
			if i == len(out.envelopes)-1 {
				break
			}
			lineEnd := bytes.LastIndexByte(part, '\n') == len(part)-1
			require.True(t, lineEnd && len(part) > limit-limit/4 || len(part) > limit-utf8.UTFMax, "part of %d bytes, limit %d", len(part), limit)
		}
		require.Equal(t, payload, slices.Concat(parts...))
		if utf8.Valid(payload) {
			for _, part := range parts {
				require.True(t, utf8.Valid(part))
			}
		}
	}
}

func TestLogOrder(t *testing.T) {
	logs := plog.NewLogs()
	var want []string
	for i := range 2 {
		rl := logs.ResourceLogs().AppendEmpty()
		for j := range 2 {
			sl := rl.ScopeLogs().AppendEmpty()
			for k := range 3 {
				text := fmt.Sprint(i, j, k)
				if k != 1 {
					want = append(want, text)
					sl.LogRecords().AppendEmpty().Body().SetStr(text)
					continue
				}
				sl.LogRecords().AppendEmpty()
			}
		}
	}
	out := translateLogs(t, defaults(), logs)
	var got []string
	for _, e := range out.envelopes {
		got = append(got, string(e.GetLog().GetPayload()))
	}
	assert.Equal(t, want, got)
	assert.Equal(t, 8, out.items)
	out.requireRejected(map[Reason]int{ReasonEmpty: 4})
}
