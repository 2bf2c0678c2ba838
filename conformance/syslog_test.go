// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rfc5424"
	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	parser "github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// tagsID is the SD-ID that the syslog agent writes for tags: 47450 is Cloud Foundry's enterprise number.
const tagsID = "tags@47450"

// parameters returns the SD-ID and the SD-PARAMs of an envelope's message: one set per metric for a Gauge, none for a Log.
func parameters(e *loggregator_v2.Envelope) (id string, all []map[string]string) {
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Counter:
		return "counter@47450", []map[string]string{{
			"name": m.Counter.GetName(), "total": fmt.Sprint(m.Counter.GetTotal()), "delta": fmt.Sprint(m.Counter.GetDelta()),
		}}
	case *loggregator_v2.Envelope_Gauge:
		for _, name := range slices.Sorted(maps.Keys(m.Gauge.GetMetrics())) {
			v := m.Gauge.GetMetrics()[name]
			all = append(all, map[string]string{"name": name, "value": strconv.FormatFloat(v.GetValue(), 'g', -1, 64), "unit": v.GetUnit()})
		}
		return "gauge@47450", all
	case *loggregator_v2.Envelope_Timer:
		return "timer@47450", []map[string]string{{
			"name": m.Timer.GetName(), "start": fmt.Sprint(m.Timer.GetStart()), "stop": fmt.Sprint(m.Timer.GetStop()),
		}}
	case *loggregator_v2.Envelope_Event:
		return "event@47450", []map[string]string{{"title": m.Event.GetTitle(), "body": m.Event.GetBody()}}
	}
	return "", nil
}

// writeSyslog writes an envelope as the syslog agent does: as one message, or as one per metric for a Gauge.
func writeSyslog(e *loggregator_v2.Envelope) ([][]byte, error) {
	message := rfc5424.Message{
		Priority:  14,
		Timestamp: time.Unix(0, e.GetTimestamp()).UTC(),
		Hostname:  strings.Repeat("h", 255), // the maximum length
		AppName:   e.GetSourceId(),
		ProcessID: "[" + e.GetInstanceId() + "]",
	}
	var tags []rfc5424.StructuredData
	if len(e.GetTags()) > 0 {
		tags = append(tags, element(tagsID, e.GetTags()))
	}
	if log := e.GetLog(); log != nil {
		if log.GetType() == loggregator_v2.Log_ERR {
			message.Priority = 11
		}
		process := strings.ToUpper(e.GetTags()["source_type"])
		if e.GetInstanceId() != "" {
			process += "/" + e.GetInstanceId()
		}
		message.ProcessID = "[" + process + "]"
		message.Message = append(bytes.TrimSuffix(bytes.ReplaceAll(log.GetPayload(), []byte{0}, nil), []byte{'\n'}), '\n')
		message.StructuredData = tags
		encoded, err := message.MarshalBinary()
		return [][]byte{encoded}, err
	}
	var written [][]byte
	id, all := parameters(e)
	for _, p := range all {
		message.StructuredData = append([]rfc5424.StructuredData{element(id, p)}, tags...)
		encoded, err := message.MarshalBinary()
		if err != nil {
			return nil, err
		}
		written = append(written, append(encoded, " \n"...))
	}
	return written, nil
}

func element(id string, parameters map[string]string) rfc5424.StructuredData {
	data := rfc5424.StructuredData{ID: id}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		data.Parameters = append(data.Parameters, rfc5424.SDParam{Name: name, Value: parameters[name]})
	}
	return data
}

// maxMessageLength is the longest message, in bytes, that Log Cache accepts without closing the connection.
const maxMessageLength = 65 << 10

// nextMessage is the message that follows on the same connection.
const nextMessage = "<14>1 2026-01-01T00:00:00Z host else [OTEL/0] - - hello\n"

// arrive returns the messages that Log Cache parses from an envelope. It fails if Log Cache loses the envelope or the next message.
func arrive(e *loggregator_v2.Envelope) ([]*parser.SyslogMessage, error) {
	written, err := writeSyslog(e)
	if err != nil {
		return nil, fmt.Errorf("the syslog agent can't write it: %w", err)
	}
	var connection bytes.Buffer
	for _, message := range append(written, []byte(nextMessage)) {
		fmt.Fprintf(&connection, "%d %s", len(message), message)
	}
	var all []*parser.SyslogMessage
	var lost error
	octetcounting.NewParser(syslog.WithMaxMessageLength(maxMessageLength), syslog.WithListener(func(r *syslog.Result) {
		if r.Error != nil {
			lost = fmt.Errorf("Log Cache closes the connection: %w", r.Error)
			return
		}
		all = append(all, r.Message.(*parser.SyslogMessage))
	})).Parse(&connection)
	if lost != nil {
		return nil, lost
	}
	if n := len(all); n != len(written)+1 || *all[n-1].Appname != "else" {
		return nil, fmt.Errorf("%d of %d messages arrived, including the next one", n, len(written)+1)
	}
	all = all[:len(written)]
	for _, m := range all {
		if m.Appname == nil {
			return nil, errors.New("Log Cache finds no source ID")
		}
		if e.GetLog() != nil && len(bytes.Trim(e.GetLog().GetPayload(), "\x00")) == 0 {
			return nil, errors.New("Log Cache refuses an empty log")
		}
	}
	return all, nil
}

// readInstanceID returns the part of the PROCID that Log Cache uses as the instance ID.
func readInstanceID(m *parser.SyslogMessage) string {
	parts := strings.Split(strings.Trim(*m.ProcID, "[]"), "/")
	return parts[len(parts)-1]
}

func TestSyslogGoldens(t *testing.T) {
	lost := 0
	for _, g := range readGoldens(t, "*") {
		t.Run(g.name, func(t *testing.T) {
			for _, e := range g.envelopes {
				messages, err := arrive(e)
				if !g.syslogSafe() {
					if err != nil {
						lost++
					}
					continue
				}
				require.NoError(t, err)
				requireArrived(t, e, messages)
			}
		})
	}
	assert.Positive(t, lost, "envelopes lost with tags.syslog_safe: false")
}

// FuzzSyslog translates data near the size limit to every kind of envelope. Each gets through syslog, and so does the message after it.
func FuzzSyslog(f *testing.F) {
	for kind := range byte(5) {
		f.Add(kind, `"`, uint16(33_300), uint16(10), byte(3))
		f.Add(kind, `]\`, uint16(10), uint16(33_000), byte(1))
		f.Add(kind, "a", uint16(65_000), uint16(60_000), byte(30))
		f.Add(kind, "世\n", uint16(60_000), uint16(60_000), byte(31))
	}
	f.Fuzz(func(t *testing.T, kind byte, piece string, length, other uint16, tags byte) {
		if piece == "" {
			return
		}
		text := func(n uint16) string { return strings.Repeat(piece, int(n)/len(piece)+1) }
		attributes := func(m pcommon.Map) {
			for i := range tags % 32 {
				m.PutStr(fmt.Sprintf("%c key %d", 'a'+i, i), text(length/uint16(i+1)))
			}
		}
		var out iter.Seq[translate.Envelope]
		switch kind % 5 {
		case 0, 1:
			logs := plog.NewLogs()
			record := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
			attributes(record.Attributes())
			record.Body().SetStr(text(other))
			if kind%5 == 1 {
				record.SetEventName(text(other / 2))
			}
			out = translate.NewLogs(options).Translate(logs)
		case 2:
			traces := ptrace.NewTraces()
			span := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			attributes(span.Attributes())
			span.SetName(text(other))
			out = translate.NewTraces(options).Translate(traces)
		default:
			metrics := pmetric.NewMetrics()
			metric := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
			metric.SetName("m" + text(other))
			metric.SetUnit(text(other / 4))
			points := metric.SetEmptyGauge().DataPoints()
			if kind%5 == 4 {
				metric.SetEmptySum().SetIsMonotonic(true)
				points = metric.Sum().DataPoints()
			}
			p := points.AppendEmpty()
			p.SetIntValue(1)
			attributes(p.Attributes())
			out = translate.NewMetrics(options).Translate(metrics)
		}
		for translated := range out {
			if translated.Reason != "" {
				continue
			}
			e := &loggregator_v2.Envelope{}
			require.NoError(t, proto.Unmarshal(translated.Encoded, e))
			_, err := arrive(e)
			require.NoError(t, err)
		}
	})
}

// options are the defaults that affect syslog messages, with IDs and a source type of the maximum length.
var options = translate.Options{
	SourceID:   translate.Identity{Default: strings.Repeat("s", 48)},
	InstanceID: translate.Identity{Default: strings.Repeat("i", 36)},
	SourceType: strings.Repeat("T", 89),
	SyslogSafe: true,
	MaxPayload: 60 << 10,
}

// requireArrived checks that Log Cache read what was sent.
func requireArrived(t *testing.T, e *loggregator_v2.Envelope, messages []*parser.SyslogMessage) {
	t.Helper()
	id, want := parameters(e)
	require.Len(t, messages, max(len(want), 1))
	for i, m := range messages {
		require.Equal(t, e.GetSourceId(), *m.Appname)
		require.NotNil(t, m.ProcID)
		require.Equal(t, e.GetInstanceId(), readInstanceID(m))
		require.Equal(t, e.GetTimestamp()/1000, m.Timestamp.UnixMicro(), "syslog has microseconds")
		data := map[string]map[string]string{}
		if m.StructuredData != nil {
			data = *m.StructuredData
		}
		require.Equal(t, e.GetTags(), data[tagsID])
		if log := e.GetLog(); log != nil {
			payload := strings.ReplaceAll(string(log.GetPayload()), "\x00", "")
			require.Equal(t, strings.TrimSuffix(payload, "\n")+"\n", *m.Message)
			require.Contains(t, *m.ProcID, "["+strings.ToUpper(e.GetTags()["source_type"])+"/")
			priority := map[loggregator_v2.Log_Type]int{loggregator_v2.Log_OUT: 14, loggregator_v2.Log_ERR: 11}
			require.EqualValues(t, priority[log.GetType()], *m.Priority)
			continue
		}
		require.Equal(t, want[i], data[id])
	}
}

// Syslog loses the envelopes that the mapping avoids.
func TestSyslogLoss(t *testing.T) {
	for name, row := range map[string]struct {
		change  func(*loggregator_v2.Envelope)
		arrives bool
	}{
		"unchanged":                 {change: func(*loggregator_v2.Envelope) {}, arrives: true},
		"a key of 32 bytes":         {change: key(strings.Repeat("k", 32)), arrives: true},
		"a key of 33 bytes":         {change: key(strings.Repeat("k", 33))},
		"an empty key":              {change: key("")},
		"a space in a key":          {change: key("a b")},
		"a ] in a key":              {change: key("a]")},
		"a = in a key":              {change: key("a=")},
		`a " in a key`:              {change: key(`a"`)},
		"a key that is not ASCII":   {change: key("größe")},
		"a value that is not UTF-8": {change: func(e *loggregator_v2.Envelope) { e.Tags["k"] = "\xff" }},
		"a value with characters to escape": {
			change: func(e *loggregator_v2.Envelope) { e.Tags["k"] = "a\"b]c\\d\n\x00" }, arrives: true,
		},
		"an empty source ID":            {change: func(e *loggregator_v2.Envelope) { e.SourceId = "" }},
		"a source ID that is a dash":    {change: func(e *loggregator_v2.Envelope) { e.SourceId = "-" }},
		"a space in the source ID":      {change: func(e *loggregator_v2.Envelope) { e.SourceId = "a b" }},
		"a source ID that is not ASCII": {change: func(e *loggregator_v2.Envelope) { e.SourceId = "Köln" }},
		"a space in the instance ID":    {change: func(e *loggregator_v2.Envelope) { e.InstanceId = "a b" }},
		"an empty log":                  {change: payload("")},
		"a log of NULs":                 {change: payload("\x00\x00")},
		"a log that is not UTF-8":       {change: payload("\xff\xfe"), arrives: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := &loggregator_v2.Envelope{
				Timestamp: 1_767_225_600_000_001_000, SourceId: "checkout", InstanceId: "0",
				Tags:    map[string]string{"source_type": "OTEL"},
				Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte("hello")}},
			}
			row.change(e)
			messages, err := arrive(e)
			if !row.arrives {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			requireArrived(t, e, messages)
		})
	}
}

// Syslog changes instance IDs with a slash or with brackets at the ends, and the empty one of a Log.
func TestSyslogInstanceID(t *testing.T) {
	for name, row := range map[string]struct{ sent, ofLog, ofMetric string }{
		"an index":          {sent: "0", ofLog: "0", ofMetric: "0"},
		"none":              {sent: "", ofLog: "OTEL", ofMetric: ""},
		"a slash":           {sent: "ns/pod", ofLog: "pod", ofMetric: "pod"},
		"brackets":          {sent: "[::1]", ofLog: "[::1", ofMetric: "::1"},
		"a leading bracket": {sent: "[::1]:80", ofLog: "[::1]:80", ofMetric: "::1]:80"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &loggregator_v2.Envelope{SourceId: "checkout", InstanceId: row.sent, Tags: map[string]string{"source_type": "OTEL"}}
			read := func() string {
				messages, err := arrive(e)
				require.NoError(t, err)
				return readInstanceID(messages[0])
			}
			e.Message = &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte("hello")}}
			require.Equal(t, row.ofLog, read(), "of a log")
			e.Message = &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{Name: "c", Total: 1}}
			require.Equal(t, row.ofMetric, read(), "of a metric")
		})
	}
}

func key(k string) func(*loggregator_v2.Envelope) {
	return func(e *loggregator_v2.Envelope) { e.Tags[k] = "v" }
}

func payload(p string) func(*loggregator_v2.Envelope) {
	return func(e *loggregator_v2.Envelope) { e.GetLog().Payload = []byte(p) }
}
