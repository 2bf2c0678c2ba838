// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Logs translates log records to Log and Event envelopes. One goroutine at a time may use it.
type Logs struct {
	translator
	batches[plog.Logs]
	parts [][]byte // of the current payload
}

// NewLogs returns a translator of logs.
func NewLogs(opts Options) *Logs {
	l := &Logs{translator: newTranslator(opts, false)}
	l.init(&l.translator, l.translate)
	return l
}

func (l *Logs) translate(logs plog.Logs) {
	for _, rl := range logs.ResourceLogs().All() {
		l.beginResource(rl.Resource())
		for _, sl := range rl.ScopeLogs().All() {
			l.beginScope(sl.Scope())
			for _, record := range sl.LogRecords().All() {
				if l.stopped {
					return
				}
				l.logRecord(record)
			}
		}
	}
}

const sourceTypeTag = "source_type"

// ioStreamKey is the attribute that names the stream of a log.
const ioStreamKey = "log.iostream"

func (l *Logs) logRecord(r plog.LogRecord) {
	timestamp := l.timestamp(r.Timestamp(), r.ObservedTimestamp())
	var set ownKeys
	l.common = appendTraceID(l.common[:0], &set, r.TraceID())
	l.common = appendSpanID(l.common, &set, spanIDName, r.SpanID())
	isText := r.Body().Type() == pcommon.ValueTypeStr
	switch {
	case l.opts.EventsAsLogs:
		if r.EventName() != "" {
			l.common = appendOwnTag(l.common, &set, eventNameName, r.EventName())
		}
	case isText && r.EventName() == "": // Not an event, like nearly all records.
	default:
		if title, body, ok := l.event(r); ok {
			l.appendAttributes(r, set)
			l.message = envelope.AppendEvent(l.message[:0], title, body)
			if !l.fit(len(l.message), 0, title, body) {
				l.reject(ReasonTooLarge, 1)
				return
			}
			l.emit(timestamp, nil, "", 1)
			return
		}
	}
	if body := r.Body().Str(); isText && len(body) <= l.opts.MaxPayload && hasContent(body) {
		p := l.appendAttributes(r, set|sourceTypeName.set())
		l.appendSourceType(p, r.Attributes())
		logPayload(l, timestamp, body, stream(r, p))
		return
	}
	payload := l.payload(r)
	if len(payload) == 0 {
		l.reject(ReasonEmpty, 1)
		return
	}
	if len(payload) > l.opts.MaxPayload {
		set |= partName.set()
	}
	p := l.appendAttributes(r, set|sourceTypeName.set())
	l.appendSourceType(p, r.Attributes())
	if len(payload) > l.opts.MaxPayload {
		l.putParts(timestamp, payload, stream(r, p))
		return
	}
	logPayload(l, timestamp, payload, stream(r, p))
}

// appendAttributes appends the tags and the identity of a record, and its severity.
func (l *Logs) appendAttributes(r plog.LogRecord, set ownKeys) *plan {
	var p *plan
	l.common, p = l.appendItem(l.common, r.Attributes(), nil, set)
	if text := severity(r); text != "" && p.keys&severityName.set() == 0 {
		l.common = appendOwnTag(l.common, &set, severityName, text)
	}
	return p
}

// appendSourceType appends the tag source_type of a Log: from its attribute, else from the process type, else from the plan.
func (l *Logs) appendSourceType(p *plan, attrs pcommon.Map) {
	sourceType := ""
	switch {
	case p.typeKey != "":
		value, _ := attrs.Get(p.typeKey)
		sourceType = envelope.ValidUTF8(l.text(value))
	case p.usesProcess:
		value, _ := attrs.Get(p.processKey)
		if process := envelope.ValidUTF8(l.text(value)); process != "" {
			sourceType = processSourceType(process)
			break
		}
		fallthrough
	default:
		l.common = append(l.common, p.sourceType...)
		l.truncated = l.truncated || p.sourceTypeTruncated
		return
	}
	sourceType, truncated := cleanSourceType(sourceType, l.opts.SyslogSafe)
	l.common = envelope.AppendTag(l.common, encodedNames[sourceTypeName], sourceType)
	l.truncated = l.truncated || truncated
}

// severities are the severity names used in tags.
var severities = func() (names [plog.SeverityNumberFatal4 + 1]string) {
	for n := plog.SeverityNumberTrace; n <= plog.SeverityNumberFatal4; n++ {
		names[n] = strings.ToUpper(n.String())
	}
	return names
}()

// severityPrefix is the prefix of severity names in the forwarder agent's OTLP.
const severityPrefix = "SEVERITY_NUMBER_"

// severity returns the severity text of a record or, without one, the name of its severity number; empty if it has neither.
func severity(r plog.LogRecord) string {
	if text := strings.TrimPrefix(r.SeverityText(), severityPrefix); text != "" {
		return text
	}
	return nameOf(severities[:], r.SeverityNumber())
}

// nameOf returns the name of an enum value; empty if it has none.
func nameOf[E ~int32](names []string, value E) string {
	if 0 <= value && int(value) < len(names) {
		return names[value]
	}
	return ""
}

func processSourceType(process string) string { return "APP/PROC/" + strings.ToUpper(process) }

// cleanSourceType makes the source type of a Log valid in a PROCID of RFC 5424, as IDs are. Releases of the syslog agent that do not do
// this themselves lose the log. It reports whether the source type was truncated.
func cleanSourceType(sourceType string, syslogSafe bool) (clean string, truncated bool) {
	if syslogSafe {
		sourceType = cleanID(sourceType, len(sourceType))
	}
	clean = prefix(sourceType, envelope.MaxSourceType)
	return clean, clean != sourceType
}

// event reports whether a record is an event, and returns its title and body. An event has an event name, or a body that is a map of two
// strings, title and body, which is how the forwarder agent writes an Event envelope.
func (l *Logs) event(r plog.LogRecord) (title, body string, ok bool) {
	if r.EventName() != "" {
		return r.EventName(), l.text(r.Body()), true
	}
	if r.Body().Type() != pcommon.ValueTypeMap || r.Body().Map().Len() != 2 {
		return "", "", false
	}
	t, hasTitle := r.Body().Map().Get("title")
	b, hasBody := r.Body().Map().Get("body")
	if !hasTitle || !hasBody || t.Type() != pcommon.ValueTypeStr || b.Type() != pcommon.ValueTypeStr {
		return "", "", false
	}
	return t.Str(), b.Str(), true
}

// payload returns the body of a record, else its attributes as JSON, else its event name. It may be empty.
func (l *Logs) payload(r plog.LogRecord) []byte {
	var p []byte
	if r.Body().Type() == pcommon.ValueTypeBytes {
		p = r.Body().Bytes().AsRaw()
	} else {
		p = []byte(l.text(r.Body()))
	}
	if hasContent(p) {
		return p
	}
	if r.Attributes().Len() == 0 {
		return []byte(strings.Trim(r.EventName(), "\x00"))
	}
	return []byte(l.json(r.Attributes()))
}

// hasContent reports whether a payload contains a byte other than NUL. The syslog agent removes NULs, and Log Cache refuses an empty
// payload.
func hasContent[P string | []byte](payload P) bool {
	for i := range len(payload) {
		if payload[i] != 0 {
			return true
		}
	}
	return false
}

// stream returns the stream that a record was written to. p is the plan of its attributes.
func stream(r plog.LogRecord, p *plan) envelope.LogType {
	if p.ioStream {
		v, _ := r.Attributes().Get(ioStreamKey)
		switch v.Str() { // Empty for a value that is not a string.
		case "stderr":
			return envelope.Err
		case "stdout":
			return envelope.Out
		}
	}
	if r.SeverityNumber() >= plog.SeverityNumberError {
		return envelope.Err
	}
	return envelope.Out
}

// logPayload yields a Log with a payload that needs no splitting.
func logPayload[P string | []byte](l *Logs, timestamp int64, payload P, stream envelope.LogType) {
	if !l.fit(envelope.Size(len(payload))+logRoom, len(payload)) {
		l.reject(ReasonTooLarge, 1)
		return
	}
	encoded := envelope.AppendLog(envelope.AppendTimestamp(l.common, timestamp), payload, stream)
	l.yieldEnvelope(encoded, 1, l.takeTruncated())
}

// partInterval is the time between two parts of a payload, in nanoseconds: the smallest difference that syslog preserves.
const partInterval = 1000

// putParts yields several Logs for a long payload. Part k of n has the tag part with the value k/n, and a timestamp k microseconds after
// the record's, so that the parts sort.
func (l *Logs) putParts(timestamp int64, payload []byte, stream envelope.LogType) {
	l.split(payload)
	defer clear(l.parts) // They refer to the data.
	longest := 0
	for _, part := range l.parts {
		longest = max(longest, len(part))
	}
	n := strconv.Itoa(len(l.parts))
	if !l.fit(envelope.Size(longest)+logRoom+tagSize(len(partTag.key), 2*len(n)+1), longest) {
		l.reject(ReasonTooLarge, 1)
		return
	}
	timestamp = min(timestamp, math.MaxInt64-int64(len(l.parts))*partInterval)
	for k, part := range l.parts {
		l.message = envelope.AppendLog(l.message[:0], part, stream)
		items := 0
		if k == len(l.parts)-1 {
			items = 1
		}
		l.emit(timestamp+int64(k+1)*partInterval, partTag, strconv.Itoa(k+1)+"/"+n, items)
	}
}

// partTag is the key of the tag with the number of a part.
var partTag = newTagKey(ownNames[partName])

const logRoom = 10 // the most bytes that a Log takes in addition to its payload

// split splits a payload into l.parts. Each part ends after a line end if there is one in its last quarter, else between two characters.
func (l *Logs) split(payload []byte) {
	l.parts = l.parts[:0]
	for limit := l.opts.MaxPayload; len(payload) > limit; {
		end := bytes.LastIndexByte(payload[:limit], '\n') + 1
		if end <= limit-limit/4 {
			end = runeStart(payload[:limit+1], limit) // One more byte, to see whether a character begins there.
		}
		l.parts = append(l.parts, payload[:end])
		payload = payload[end:]
	}
	l.parts = append(l.parts, payload)
}
