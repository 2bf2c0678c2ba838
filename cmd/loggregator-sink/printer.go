// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"google.golang.org/protobuf/encoding/protojson"
)

// kinds are the kinds of envelopes: the names of their protobuf messages, in upper case.
var kinds = []string{"LOG", "COUNTER", "GAUGE", "TIMER", "EVENT", noMessage}

const noMessage = "EMPTY"

func kindOf(e *loggregator_v2.Envelope) string {
	m := e.ProtoReflect()
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("message")); field != nil {
		return strings.ToUpper(string(field.Name()))
	}
	return noMessage
}

// kindColors holds terminal colors: green, cyan, blue, yellow and red.
var kindColors = map[string]string{"LOG": "32", "COUNTER": "36", "GAUGE": "34", "TIMER": "33", "EVENT": "31"}

const dim = "2"

// A printer prints one line per envelope, and counts the envelopes. It is safe for concurrent use.
type printer struct {
	json, color bool

	mu          sync.Mutex
	out         *bufio.Writer
	counts      map[string]int
	batches     int
	first, last time.Time
}

func newPrinter(out *os.File, output, color string) (*printer, error) {
	p := &printer{out: bufio.NewWriter(out), counts: map[string]int{}}
	switch output {
	case "text":
	case "json":
		p.json = true
	default:
		return nil, fmt.Errorf("-output: must be text or json, not %q", output)
	}
	switch color {
	case "auto":
		info, err := out.Stat()
		p.color = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	case "always":
		p.color = true
	case "never":
	default:
		return nil, fmt.Errorf("-color: must be auto, always or never, not %q", color)
	}
	return p, nil
}

// print prints a batch. It ignores errors, so that the sink keeps taking envelopes when the reader of its output is gone.
func (p *printer) print(batch []*loggregator_v2.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	if p.first.IsZero() {
		p.first = p.last
	}
	p.batches++
	for _, e := range batch {
		p.counts[kindOf(e)]++
		fmt.Fprintln(p.out, p.line(e))
	}
	_ = p.out.Flush()
}

// line returns an envelope as a line without a line end. It contains no control characters except for colors.
func (p *printer) line(e *loggregator_v2.Envelope) string {
	if p.json {
		return jsonLine(e)
	}
	return p.textLine(e)
}

// jsonLine returns protojson without the spaces that protojson inserts at random.
func jsonLine(e *loggregator_v2.Envelope) string {
	line, _ := protojson.Marshal(e) // Strings from the wire are valid UTF-8, so there is no error.
	var compact bytes.Buffer
	_ = json.Compact(&compact, line)
	var escaped strings.Builder
	for _, r := range compact.String() {
		if unicode.IsPrint(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&escaped, `\u%04x`, u)
		}
	}
	return escaped.String()
}

// textLine returns time, kind or source type, source and instance ID, content and tags.
func (p *printer) textLine(e *loggregator_v2.Envelope) string {
	kind, tags := kindOf(e), e.GetTags()
	label, origin := kind, e.GetSourceId()
	switch sourceType := tags["source_type"]; {
	case kind != "LOG":
		origin += "/" + e.GetInstanceId()
	case sourceType != "":
		label = "[" + sourceType + "/" + e.GetInstanceId() + "]"
	}
	line := []string{
		p.paint(dim, time.Unix(0, e.GetTimestamp()).Format("15:04:05.000")),
		p.paint(kindColors[kind], fmt.Sprintf("%-8s", clean(label))),
		clean(origin),
		clean(content(e)),
	}
	if len(tags) > 0 {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			pairs = append(pairs, clean(key)+"="+quoteIfNeeded(tags[key]))
		}
		line = append(line, p.paint(dim, "{"+strings.Join(pairs, " ")+"}"))
	}
	return strings.Join(line, " ")
}

func (p *printer) paint(color, s string) string {
	if !p.color || color == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func content(e *loggregator_v2.Envelope) string {
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		return fmt.Sprintf("%s %s", m.Log.GetType(), m.Log.GetPayload())
	case *loggregator_v2.Envelope_Counter:
		if m.Counter.GetTotal() == 0 && m.Counter.GetDelta() != 0 {
			return fmt.Sprintf("%s +%d", m.Counter.GetName(), m.Counter.GetDelta())
		}
		return fmt.Sprintf("%s %d", m.Counter.GetName(), m.Counter.GetTotal())
	case *loggregator_v2.Envelope_Gauge:
		var metrics []string
		for _, name := range slices.Sorted(maps.Keys(m.Gauge.GetMetrics())) {
			v := m.Gauge.GetMetrics()[name]
			metrics = append(metrics, strings.TrimSuffix(fmt.Sprintf("%s %v %s", name, v.GetValue(), v.GetUnit()), " "))
		}
		return strings.Join(metrics, ", ")
	case *loggregator_v2.Envelope_Timer:
		return fmt.Sprintf("%s %s", m.Timer.GetName(), time.Duration(m.Timer.GetStop()-m.Timer.GetStart()))
	case *loggregator_v2.Envelope_Event:
		return m.Event.GetTitle() + ": " + m.Event.GetBody()
	}
	return ""
}

// clean escapes line ends and other unprintable characters.
func clean(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

func quoteIfNeeded(s string) string {
	if s == "" || clean(s) != s || strings.ContainsAny(s, ` "={}`) {
		return strconv.Quote(s)
	}
	return s
}

// summary prints the number of envelopes that have arrived, and their rate.
func (p *printer) summary(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	var counts []string
	for _, kind := range kinds {
		if n := p.counts[kind]; n > 0 {
			total += n
			counts = append(counts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if total == 0 {
		fmt.Fprintln(w, "\nno envelopes arrived")
		return
	}
	took := p.last.Sub(p.first)
	fmt.Fprintf(w, "\n%d envelopes in %d batches: %s\n", total, p.batches, strings.Join(counts, ", "))
	if took > 0 {
		fmt.Fprintf(w, "%.1f envelopes/s over %s\n", float64(total)/took.Seconds(), took.Round(time.Millisecond))
	}
}
