// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"iter"
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
	logs plog.Logs // to be translated next
	all  iter.Seq[Envelope]
	cuts []int // where the payload in work is split
}

// NewLogs makes a translator of logs.
func NewLogs(opts Options) *Logs {
	l := &Logs{translator: newTranslator(opts, false)}
	l.all = l.translate
	return l
}

// Translate yields the envelopes of all records, once. The next call ends what is left of the sequence.
func (l *Logs) Translate(logs plog.Logs) iter.Seq[Envelope] {
	l.logs = logs
	return l.all
}

func (l *Logs) translate(yield func(Envelope) bool) {
	l.begin(yield)
	logs := l.logs
	l.logs = plog.Logs{}
	for _, rl := range logs.ResourceLogs().All() {
		l.beginResource(rl.Resource())
		for _, sl := range rl.ScopeLogs().All() {
			l.beginScope(sl.Scope())
			if l.hopeless {
				l.reject(TooLarge, sl.LogRecords().Len())
				continue
			}
			for _, record := range sl.LogRecords().All() {
				if l.stopped {
					return
				}
				l.logRecord(record)
			}
		}
	}
}

const (
	sourceTypeTag = "source_type"
	// eventNameTag is where the name of an event is that becomes a Log.
	eventNameTag = "event_name"
	// maxSourceType is, for a Log, what [source_type/instance_id] leaves of the 128 bytes of a PROCID of RFC 5424. The syslog
	// agent cuts the instance ID when both together are longer, and panics when the source type alone is.
	maxSourceType = 128 - len("[/]") - maxInstanceID
)

// ioStreamKey is the attribute that says what stream a log was written to.
const ioStreamKey = "log.iostream"

func (l *Logs) logRecord(r plog.LogRecord) {
	if l.shapedLog(r) {
		return
	}
	l.beginItem(r.Attributes())
	if text := severity(r); text != "" {
		l.tags.setDefault("severity", text)
	}
	setLogIDs(&l.tags, r)

	timestamp := l.timestamp(r.Timestamp(), r.ObservedTimestamp())
	if !l.opts.EventsAsLogs {
		if title, body, ok := l.eventOf(r); ok {
			l.event(timestamp, title, body)
			return
		}
	} else if r.EventName() != "" {
		l.tags.set(eventNameTag, r.EventName())
	}
	l.setSourceType()
	l.log(timestamp, l.payload(r), stream(r))
}

// shapedLog puts a record out whose tags have a shape, and that is nothing special; false if it is.
func (l *Logs) shapedLog(r plog.LogRecord) bool {
	body := r.Body()
	if body.Type() != pcommon.ValueTypeStr || r.EventName() != "" {
		return false
	}
	payload := body.Str()
	if payload == "" || payload[0] == 0 || len(payload) > l.opts.MaxPayload {
		return false
	}
	s := l.beginShaped(l.timestamp(r.Timestamp(), r.ObservedTimestamp()), r.Attributes(), ownSourceType|ownProcessType|ownIDs)
	if s == nil {
		return false
	}
	tags := l.shapedTags()
	if text := severity(r); text != "" && s.own&ownSeverity == 0 {
		tags.set("severity", text)
	}
	setLogIDs(tags, r)
	l.encoded = append(l.encoded, s.sourceType...)
	out := severityStream(r)
	if s.own&ownIOStream != 0 {
		out = stream(r)
	}
	l.encoded = envelope.AppendLog(l.encoded, payload, out)
	return l.endShaped(len(payload))
}

func setLogIDs(tags tagWriter, r plog.LogRecord) {
	tags.setTraceID(r.TraceID())
	tags.setSpanID("span_id", r.SpanID())
}

// severities are the names of severity numbers as tags have them.
var severities = func() (names [plog.SeverityNumberFatal4 + 1]string) {
	for n := plog.SeverityNumberTrace; n <= plog.SeverityNumberFatal4; n++ {
		names[n] = strings.ToUpper(n.String())
	}
	return names
}()

// severityPrefix is what the forwarder agent's OTLP has before the name of a severity.
const severityPrefix = "SEVERITY_NUMBER_"

// severity is a record's own text or, without one, the name of its number; empty if it has neither.
func severity(r plog.LogRecord) string {
	if text := strings.TrimPrefix(r.SeverityText(), severityPrefix); text != "" {
		return text
	}
	if n := r.SeverityNumber(); 0 <= n && int(n) < len(severities) {
		return severities[n]
	}
	return ""
}

func (l *Logs) sourceType() string {
	if process := l.tags.value("process_type"); process != "" {
		return processSourceType(process)
	}
	return l.opts.SourceType
}

func processSourceType(process string) string { return "APP/PROC/" + strings.ToUpper(process) }

// setSourceType sets the source type of the record in work, unless an attribute has, and cleans it.
func (l *Logs) setSourceType() {
	l.tags.setDefault(sourceTypeTag, l.sourceType())
	tag := &l.tags.tags[l.tags.find(sourceTypeTag)]
	var truncated bool
	tag.value, truncated = cleanSourceType(tag.value, l.opts.SyslogSafe)
	l.shortened = l.shortened || truncated
}

// cleanSourceType makes the source type of a Log fit for a PROCID of RFC 5424, as IDs are. Releases of the syslog agent that do
// not do that themselves lose the log. It reports whether it was too long.
func cleanSourceType(sourceType string, syslogSafe bool) (clean string, truncated bool) {
	if syslogSafe {
		sourceType = cleanID(sourceType, len(sourceType))
	}
	if len(sourceType) > maxSourceType {
		return sourceType[:runeStart(sourceType, maxSourceType)], true
	}
	return sourceType, false
}

// eventOf reports whether a record is an event: one with an event name, or one whose body is a map of two strings, title and
// body, which is what the forwarder agent makes of an Event envelope.
func (l *Logs) eventOf(r plog.LogRecord) (title, body string, ok bool) {
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

func (l *Logs) event(timestamp int64, title, body string) {
	l.message = envelope.AppendEvent(l.message[:0], title, body)
	if !l.seal(len(l.message), title, body) {
		l.reject(TooLarge, 1)
		return
	}
	l.emit(timestamp, "", "", 1)
}

// payload is what a log says: its body or, without one, its attributes as JSON or, without these too, the name of the event that
// it is. It is empty when there is nothing to say.
func (l *Logs) payload(r plog.LogRecord) []byte {
	var p []byte
	if r.Body().Type() == pcommon.ValueTypeBytes {
		p = r.Body().Bytes().AsRaw()
	} else {
		p = []byte(l.text(r.Body()))
	}
	// The syslog agent takes NULs out, and Log Cache refuses what is empty then.
	if len(bytes.Trim(p, "\x00")) > 0 {
		return p
	}
	if r.Attributes().Len() == 0 {
		return []byte(strings.Trim(r.EventName(), "\x00"))
	}
	return []byte(l.json(r.Attributes()))
}

func stream(r plog.LogRecord) envelope.LogType {
	if v, ok := r.Attributes().Get(ioStreamKey); ok {
		switch v.Str() { // Empty for a value that is no string.
		case "stderr":
			return envelope.Err
		case "stdout":
			return envelope.Out
		}
	}
	return severityStream(r)
}

func severityStream(r plog.LogRecord) envelope.LogType {
	if r.SeverityNumber() >= plog.SeverityNumberError {
		return envelope.Err
	}
	return envelope.Out
}

// partInterval is the time between two parts of a payload, in nanoseconds: the least that syslog can tell apart.
const partInterval = 1000

// log puts a Log out or, for a long payload, several. Part k of n has the tag part with the value k/n, and comes k
// microseconds after the record's time, so that the parts sort.
func (l *Logs) log(timestamp int64, payload []byte, stream envelope.LogType) {
	if len(payload) == 0 {
		l.reject(Empty, 1)
		return
	}
	l.split(payload)
	longest := 0
	for k, end := range l.cuts {
		longest = max(longest, end-l.partStart(k))
	}
	n := strconv.Itoa(len(l.cuts))
	room := envelope.Size(longest) + logRoom
	if len(l.cuts) > 1 {
		room += tagSize(len(partTag), 2*len(n)+1)
	}
	if !l.seal(room) {
		l.reject(TooLarge, 1)
		return
	}
	if len(l.cuts) == 1 {
		l.message = envelope.AppendLog(l.message[:0], payload, stream)
		l.emit(timestamp, "", "", 1)
		return
	}
	timestamp = min(timestamp, math.MaxInt64-int64(len(l.cuts))*partInterval)
	for k, end := range l.cuts {
		l.message = envelope.AppendLog(l.message[:0], payload[l.partStart(k):end], stream)
		items := 0
		if k == len(l.cuts)-1 {
			items = 1
		}
		l.emit(timestamp+int64(k+1)*partInterval, partTag, strconv.Itoa(k+1)+"/"+n, items)
	}
}

const (
	partTag = "part"
	logRoom = 10 // what a Log takes beside its payload
)

func (l *Logs) partStart(k int) int {
	if k == 0 {
		return 0
	}
	return l.cuts[k-1]
}

// split finds where the parts of a payload end: after a line end if there is one in the last quarter of the part, else
// between two characters.
func (l *Logs) split(payload []byte) {
	l.cuts = l.cuts[:0]
	start := 0
	for limit := l.opts.MaxPayload; len(payload)-start > limit; {
		part := payload[start : start+limit+1] // one more, to see whether a character begins there
		end := bytes.LastIndexByte(part[:limit], '\n') + 1
		if end <= limit-limit/4 {
			end = runeStart(part, limit)
		}
		start += end
		l.cuts = append(l.cuts, start)
	}
	l.cuts = append(l.cuts, len(payload))
}
