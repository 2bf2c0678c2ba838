// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"cmp"
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

// oneLog returns a batch with one record, which has the timestamp at and no body.
func oneLog() (plog.Logs, plog.LogRecord) {
	logs := plog.NewLogs()
	r := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(at)
	return logs, r
}

// stdout returns the Log expected for a record. tags are in addition to source_type.
func stdout(payload string, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Log{Payload: []byte(payload)}, append([]string{"source_type", "OTEL"}, tags...)...)
}

func stderr(payload string, tags ...string) *loggregator_v2.Envelope {
	e := stdout(payload, tags...)
	e.GetLog().Type = loggregator_v2.Log_ERR
	return e
}

func eventOf(title, body string, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Event{Title: title, Body: body}, tags...)
}

// from sets the source ID and the instance ID of e.
func from(e *loggregator_v2.Envelope, source, instance string) *loggregator_v2.Envelope {
	e.SourceId, e.InstanceId = source, instance
	return e
}

func timed(e *loggregator_v2.Envelope, ns int64) *loggregator_v2.Envelope {
	e.Timestamp = ns
	return e
}

// logRow is a record and the expected result: one envelope or a rejection.
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
}

func body(v any) func(plog.LogRecord) {
	return func(r plog.LogRecord) {
		if err := r.Body().FromRaw(v); err != nil {
			panic(err)
		}
	}
}

// named sets the event name and the body.
func named(name string, content any) func(plog.LogRecord) {
	return func(r plog.LogRecord) {
		r.SetEventName(name)
		body(content)(r)
	}
}

// hello sets the body "hello" and calls more.
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
		"string":              {record: body("hello"), want: stdout("hello")},
		"string, unchanged":   {record: body(" a\r\n\tb\x00 \n"), want: stdout(" a\r\n\tb\x00 \n")},
		"string, not UTF-8":   {record: body("a\xff\xfe"), want: stdout("a\xff\xfe")},
		"bytes":               {record: body([]byte{0, 1, 0xff, 'a'}), want: stdout("\x00\x01\xffa")},
		"only white space":    {record: body(" \n"), want: stdout(" \n")},
		"no body":             {record: body(nil), rejected: ReasonEmpty},
		"empty string":        {record: body(""), rejected: ReasonEmpty},
		"empty bytes":         {record: body([]byte{}), rejected: ReasonEmpty},
		"only NULs":           {record: body("\x00\x00"), rejected: ReasonEmpty},
		"bytes, only NULs":    {record: body([]byte{0}), rejected: ReasonEmpty},
		"surrounding NULs":    {record: body("\x00a\x00"), want: stdout("\x00a\x00")},
		"no body, attributes": {record: attributes("b", "<", "a", int64(1)), want: stdout(`{"a":1,"b":"<"}`, "a", "1", "b", "<")},
		"only NULs and attributes": {
			record: func(r plog.LogRecord) { r.Body().SetStr("\x00"); put(r.Attributes(), "a", math.Inf(1)) },
			want:   stdout(`{"a":"Infinity"}`, "a", "Infinity"),
		},
		"no body, attributes that do not become tags": {
			record: attributes("source_id", "app"), want: from(stdout(`{"source_id":"app"}`), "app", "0"),
		},
	} {
		t.Run(name, row.run)
	}
}

// The attributes of scope and resource do not become the payload.
func TestEmptyLogWithResource(t *testing.T) {
	out := item{kind: "log", name: "", data: scoped{resource: []any{"a", "1"}, scope: []any{"b", "2"}}}.translate(t)
	out.requireEnvelopes()
	out.requireRejected(rejectedOnce(ReasonEmpty))
}

func TestLogTimestamp(t *testing.T) {
	times := func(timestamp, observed pcommon.Timestamp) func(plog.LogRecord) {
		return hello(func(r plog.LogRecord) {
			r.SetTimestamp(timestamp)
			r.SetObservedTimestamp(observed)
		})
	}
	for name, row := range map[string]logRow{
		"timestamp":               {record: times(5, 0), want: timed(stdout("hello"), 5)},
		"timestamp over observed": {record: times(5, 7), want: timed(stdout("hello"), 5)},
		"observed":                {record: times(0, 7), want: timed(stdout("hello"), 7)},
		"now":                     {record: times(0, 0), want: timed(stdout("hello"), now)},
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
	const stream = "log.iostream"
	const debug, info, failure = plog.SeverityNumberDebug, plog.SeverityNumberInfo, plog.SeverityNumberError
	rows := map[string]logRow{
		"none":                              {record: severity("", 0), want: stdout("hello")},
		"text, unchanged":                   {record: severity("notice", 0), want: stdout("hello", "severity", "notice")},
		"text over number":                  {record: severity("notice", debug), want: stdout("hello", "severity", "notice")},
		"text, not UTF-8":                   {record: severity("a\xff", 0), want: stdout("hello", "severity", "a\uFFFD")},
		"text without effect on the stream": {record: severity("ERROR", 0), want: stdout("hello", "severity", "ERROR")},
		"attribute over text":               {record: severity("notice", debug, "severity", "mine"), want: stdout("hello", "severity", "mine")},
		"unknown number":                    {record: severity("", 99), want: stderr("hello")},
		"negative number":                   {record: severity("", -1), want: stdout("hello")},

		"stdout":            {record: severity("", 0, stream, "stdout"), want: stdout("hello", stream, "stdout")},
		"stderr":            {record: severity("", 0, stream, "stderr"), want: stderr("hello", stream, "stderr")},
		"stdout over ERROR": {record: severity("", failure, stream, "stdout"), want: stdout("hello", stream, "stdout", "severity", "ERROR")},
		"stderr over INFO":  {record: severity("", info, stream, "stderr"), want: stderr("hello", stream, "stderr", "severity", "INFO")},
		"unknown stream":    {record: severity("", failure, stream, "STDOUT"), want: stderr("hello", stream, "STDOUT", "severity", "ERROR")},
		"empty stream":      {record: severity("", info, stream, ""), want: stdout("hello", stream, "", "severity", "INFO")},
	}
	for i, level := range []string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} {
		for k, suffix := range []string{"", "2", "3", "4"} {
			number, log := plog.SeverityNumber(4*i+k+1), stdout
			if number >= failure {
				log = stderr
			}
			rows[level+suffix] = logRow{record: severity("", number), want: log("hello", "severity", level+suffix)}
		}
	}
	for name, row := range rows {
		t.Run(name, row.run)
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
		"over attributes": {
			record: hello(func(r plog.LogRecord) { ids(r); put(r.Attributes(), "trace_id", "x", "span_id", "y") }),
			want:   stdout("hello", "trace_id", traceID, "span_id", spanID),
		},
		"attributes without IDs": {
			record: hello(attributes("trace_id", "x", "span_id", "y")), want: stdout("hello", "trace_id", "x", "span_id", "y"),
		},
	} {
		t.Run(name, row.run)
	}
}

func TestLogSourceType(t *testing.T) {
	for name, row := range map[string]struct {
		options                 func(*Options)
		resource, scope, record []any
		want                    []string
	}{
		"none":       {want: []string{"source_type", "OTEL"}},
		"configured": {options: func(o *Options) { o.SourceType = "MINE" }, want: []string{"source_type", "MINE"}},
		"attribute of the record": {
			record: []any{"source_type", "APP/TASK/x", "process_type", "web"},
			want:   []string{"source_type", "APP/TASK/x", "process_type", "web"},
		},
		"attribute of the resource": {resource: []any{"source_type", "RTR"}, want: []string{"source_type", "RTR"}},
		"attribute of the cloudfoundryreceiver": {
			resource: []any{"org.cloudfoundry.source_type", "RTR"}, want: []string{"source_type", "RTR"},
		},
		"attribute of the resource, process type of the record": {
			resource: []any{"source_type", "RTR"}, record: []any{"process_type", "web"},
			want: []string{"source_type", "RTR", "process_type", "web"},
		},
		"process type of the semantic conventions": {
			resource: []any{"cloudfoundry.process.type", "web"}, want: []string{"source_type", "APP/PROC/WEB", "process_type", "web"},
		},
		"process type of the platform": {
			scope: []any{"process_type", "worker-1"}, want: []string{"source_type", "APP/PROC/WORKER-1", "process_type", "worker-1"},
		},
		"empty process type": {
			resource: []any{"cloudfoundry.process.type", ""}, want: []string{"source_type", "OTEL", "process_type", ""},
		},
		"too long for a PROCID of syslog": {
			record: []any{"source_type", strings.Repeat("x", 90)}, want: []string{"source_type", strings.Repeat("x", 89)},
		},
		"invalid in a PROCID of syslog": {record: []any{"source_type", "My Größe"}, want: []string{"source_type", "My_Gr__e"}},
		"invalid in a PROCID of syslog, unsafe": {
			options: unsafeKeys, record: []any{"source_type", "My Größe"}, want: []string{"source_type", "My Größe"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			requireTags(t, row.want, translateLogs(t, options(row.options), scoped{row.resource, row.scope, row.record}.logs()))
		})
	}
}

func TestLogEvents(t *testing.T) {
	asLogs := func(o *Options) { o.EventsAsLogs = true }
	titleAndBody := map[string]any{"title": "t", "body": "b"}
	for name, row := range map[string]logRow{
		"named":                      {record: named("e", "hello"), want: eventOf("e", "hello")},
		"named, without body":        {record: named("e", nil), want: eventOf("e", "")},
		"named, title and body":      {record: named("e", titleAndBody), want: eventOf("e", `{"body":"b","title":"t"}`)},
		"title and body":             {record: body(titleAndBody), want: eventOf("t", "b")},
		"title and body, empty":      {record: body(map[string]any{"title": "", "body": ""}), want: eventOf("", "")},
		"one more key":               {record: body(map[string]any{"title": "t", "body": "b", "x": "y"}), want: stdout(`{"body":"b","title":"t","x":"y"}`)},
		"only a title":               {record: body(map[string]any{"title": "t"}), want: stdout(`{"title":"t"}`)},
		"another key":                {record: body(map[string]any{"title": "t", "Body": "b"}), want: stdout(`{"Body":"b","title":"t"}`)},
		"body that is not a string":  {record: body(map[string]any{"title": "t", "body": int64(1)}), want: stdout(`{"body":1,"title":"t"}`)},
		"title that is not a string": {record: body(map[string]any{"title": true, "body": "b"}), want: stdout(`{"body":"b","title":true}`)},
		"not UTF-8":                  {record: named("e\xff", "b\xff"), want: eventOf("e\uFFFD", "b\uFFFD")},
		"with all tags": {
			record: func(r plog.LogRecord) {
				named("e", "hello")(r)
				put(r.Attributes(), "k", "v", "source_id", "app")
				r.SetSeverityNumber(plog.SeverityNumberError)
				r.SetSpanID(pcommon.SpanID{7: 1})
				r.SetTimestamp(0)
				r.SetObservedTimestamp(7)
			},
			want: from(timed(eventOf("e", "hello", "k", "v", "severity", "ERROR", "span_id", "0000000000000001"), 7), "app", "0"),
		},
		"as log: named":          {options: asLogs, record: named("e", "hello"), want: stdout("hello", "event_name", "e")},
		"as log: title and body": {options: asLogs, record: body(titleAndBody), want: stdout(`{"body":"b","title":"t"}`)},
		"as log: without body":   {options: asLogs, record: named("e", nil), want: stdout("e", "event_name", "e")},
		"as log: only NULs":      {options: asLogs, record: named("\x00", nil), rejected: ReasonEmpty},
	} {
		t.Run(name, row.run)
	}
}

func TestLogSplit(t *testing.T) {
	const limit = 64
	s := strings.Repeat
	for name, row := range map[string]struct {
		limit   int // 0: 64
		payload any
		want    []string // nil: not split
	}{
		"at the limit":                              {payload: s("a", limit)},
		"one byte above the limit":                  {payload: s("a", limit+1), want: []string{s("a", limit), "a"}},
		"twice the limit":                           {payload: s("a", 2*limit), want: []string{s("a", limit), s("a", limit)}},
		"one byte above twice the limit":            {payload: s("a", 2*limit+1), want: []string{s("a", limit), s("a", limit), "a"}},
		"line end as the last byte of a part":       {payload: s("a", limit-1) + "\n" + "b", want: []string{s("a", limit-1) + "\n", "b"}},
		"line end in the last quarter":              {payload: s("a", 55) + "\n" + s("b", 20), want: []string{s("a", 55) + "\n", s("b", 20)}},
		"line end at the start of the last quarter": {payload: s("a", 48) + "\n" + s("b", 20), want: []string{s("a", 48) + "\n", s("b", 20)}},
		"line end just before the last quarter":     {payload: s("a", 47) + "\n" + s("b", 20), want: []string{s("a", 47) + "\n" + s("b", 16), "bbbb"}},
		"several line ends":                         {payload: s("a", 50) + "\n" + s("b", 5) + "\n" + s("c", 20), want: []string{s("a", 50) + "\n" + s("b", 5) + "\n", s("c", 20)}},
		"line end just after the limit":             {payload: s("a", limit) + "\n" + "b", want: []string{s("a", limit), "\nb"}},
		"CRLF":                                      {payload: s("a", 60) + "\r\n" + s("b", 20), want: []string{s("a", 60) + "\r\n", s("b", 20)}},
		"line ends in every part":                   {payload: s(s("l", 15)+"\n", 9), want: []string{s(s("l", 15)+"\n", 4), s(s("l", 15)+"\n", 4), s("l", 15) + "\n"}},
		"between characters of two bytes":           {payload: "a" + s("é", 40), want: []string{"a" + s("é", 31), s("é", 9)}},
		"between characters of three bytes":         {payload: s("世", 30), want: []string{s("世", 21), s("世", 9)}},
		"between characters of four bytes":          {payload: "a" + s("😀", 20), want: []string{"a" + s("😀", 15), s("😀", 5)}},
		"character that just fits":                  {payload: s("a", 60) + "😀" + "b", want: []string{s("a", 60) + "😀", "b"}},
		"character one byte too long":               {payload: s("a", 61) + "😀" + "b", want: []string{s("a", 61), "😀b"}},
		"binary":                                    {payload: s("\xbf", 70), want: []string{s("\xbf", limit), s("\xbf", 6)}},
		"binary with NULs":                          {payload: "a" + s("\x00\xff", 40), want: []string{"a" + s("\x00\xff", 31) + "\x00", "\xff" + s("\x00\xff", 8)}},
		"line end before characters of two bytes":   {payload: s("世", 18) + "\n" + s("é", 20), want: []string{s("世", 18) + "\n", s("é", 20)}},
		"map at the limit":                          {payload: map[string]any{"k": s("v", limit-len(`{"k":""}`))}},
		"map above the limit":                       {payload: map[string]any{"k": s("v", 70)}, want: []string{`{"k":"` + s("v", 58), s("v", 12) + `"}`}},
		// The default leaves room for all but the longest tags.
		"at the default limit":             {limit: 61440, payload: s("a", 61440)},
		"one byte above the default limit": {limit: 61440, payload: s("a", 61441), want: []string{s("a", 61440), "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			logs, record := oneLog()
			body(row.payload)(record)
			record.SetSeverityNumber(plog.SeverityNumberError)
			put(record.Attributes(), "k", "v", "part", "mine")
			out := translateLogs(t, options(func(o *Options) { o.MaxPayload = cmp.Or(row.limit, limit) }), logs)
			assert.Zero(t, out.truncated)
			if row.want == nil {
				out.requireEnvelopes(stderr(record.Body().AsString(), "severity", "ERROR", "k", "v", "part", "mine"))
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

// A split record counts as truncated once.
func TestLogSplitTooLarge(t *testing.T) {
	huge := strings.Repeat("a", 200_000)
	out := item{kind: "log", name: huge, data: scoped{record: []any{"k", huge}}}.translate(t)
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
				r := sl.LogRecords().AppendEmpty()
				if k != 1 { // The middle one is empty.
					want = append(want, fmt.Sprint(i, j, k))
					r.Body().SetStr(fmt.Sprint(i, j, k))
				}
			}
		}
	}
	out := translateLogs(t, defaults(), logs)
	var got []string
	for _, e := range out.envelopes {
		got = append(got, payloadOf(e))
	}
	assert.Equal(t, want, got)
	assert.Equal(t, 8, out.items)
	out.requireRejected(map[Reason]int{ReasonEmpty: 4})
}
