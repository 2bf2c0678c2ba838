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

// kind is a kind of envelope: the name of its message in the protocol, in capitals.
type kind string

const (
	kindLog     kind = "LOG"
	kindCounter kind = "COUNTER"
	kindGauge   kind = "GAUGE"
	kindTimer   kind = "TIMER"
	kindEvent   kind = "EVENT"
	kindNone    kind = "EMPTY" // no message
)

func kindOf(e *loggregator_v2.Envelope) kind {
	m := e.ProtoReflect()
	if field := m.WhichOneof(m.Descriptor().Oneofs().ByName("message")); field != nil {
		return kind(strings.ToUpper(string(field.Name())))
	}
	return kindNone
}

// The colours of a terminal.
const (
	reset  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
	cyan   = "\x1b[36m"
)

var kindColors = map[kind]string{kindLog: green, kindCounter: cyan, kindGauge: blue, kindTimer: yellow, kindEvent: red}

// printer prints one line for each envelope, and counts them. Any goroutine may use it at any time.
type printer struct {
	json, color bool

	mu          sync.Mutex
	out         *bufio.Writer
	counts      map[kind]int
	batches     int
	first, last time.Time
}

func newPrinter(out *os.File, output, color string) (*printer, error) {
	p := &printer{out: bufio.NewWriter(out), counts: map[kind]int{}}
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

// print prints a batch. A reader that has gone away is no reason to stop taking envelopes.
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
		if p.json {
			_, _ = p.out.Write(jsonLine(e))
		} else {
			_, _ = p.out.WriteString(p.textLine(e))
		}
		_ = p.out.WriteByte('\n')
	}
	_ = p.out.Flush()
}

// jsonLine returns protojson without the spaces that protojson puts in at random, and without what steers a terminal.
func jsonLine(e *loggregator_v2.Envelope) []byte {
	line, err := protojson.Marshal(e)
	if err != nil {
		line, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, line)
	var escaped bytes.Buffer
	for _, r := range compact.String() {
		if unicode.IsPrint(r) {
			escaped.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&escaped, `\u%04x`, u)
		}
	}
	return escaped.Bytes()
}

// textLine returns time, kind or source type, source and instance ID, content and tags.
func (p *printer) textLine(e *loggregator_v2.Envelope) string {
	k := kindOf(e)
	label := string(k)
	tags := e.GetTags()
	if sourceType := tags["source_type"]; k == kindLog && sourceType != "" {
		label = "[" + sourceType + "/" + e.GetInstanceId() + "]"
	}
	origin := clean(e.GetSourceId())
	if k != kindLog {
		origin += "/" + clean(e.GetInstanceId())
	}
	line := []string{
		p.paint(dim, time.Unix(0, e.GetTimestamp()).Format("15:04:05.000")),
		p.paint(kindColors[k], fmt.Sprintf("%-8s", clean(label))),
		origin,
		content(e),
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
	return color + s + reset
}

func content(e *loggregator_v2.Envelope) string {
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		stream := "OUT"
		if m.Log.GetType() == loggregator_v2.Log_ERR {
			stream = "ERR"
		}
		return stream + " " + clean(string(m.Log.GetPayload()))
	case *loggregator_v2.Envelope_Counter:
		if m.Counter.GetTotal() == 0 && m.Counter.GetDelta() != 0 {
			return fmt.Sprintf("%s +%d", clean(m.Counter.GetName()), m.Counter.GetDelta())
		}
		return fmt.Sprintf("%s %d", clean(m.Counter.GetName()), m.Counter.GetTotal())
	case *loggregator_v2.Envelope_Gauge:
		var metrics []string
		for _, name := range slices.Sorted(maps.Keys(m.Gauge.GetMetrics())) {
			v := m.Gauge.GetMetrics()[name]
			metric := clean(name) + " " + strconv.FormatFloat(v.GetValue(), 'g', -1, 64)
			if v.GetUnit() != "" {
				metric += " " + clean(v.GetUnit())
			}
			metrics = append(metrics, metric)
		}
		return strings.Join(metrics, ", ")
	case *loggregator_v2.Envelope_Timer:
		return fmt.Sprintf("%s %s", clean(m.Timer.GetName()), time.Duration(m.Timer.GetStop()-m.Timer.GetStart()))
	case *loggregator_v2.Envelope_Event:
		return clean(m.Event.GetTitle()) + ": " + clean(m.Event.GetBody())
	}
	return ""
}

// clean escapes line ends and what steers a terminal.
func clean(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

func quoteIfNeeded(s string) string {
	if s == "" || strings.IndexFunc(s, func(r rune) bool { return unprintable(r) || strings.ContainsRune(` "={}`, r) }) >= 0 {
		return strconv.Quote(s)
	}
	return s
}

// summary prints what has arrived, and how fast.
func (p *printer) summary(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := 0
	var kinds []string
	for _, k := range []kind{kindLog, kindCounter, kindGauge, kindTimer, kindEvent, kindNone} {
		if n := p.counts[k]; n > 0 {
			total += n
			kinds = append(kinds, fmt.Sprintf("%d %s", n, k))
		}
	}
	if total == 0 {
		fmt.Fprintln(w, "\nno envelopes arrived")
		return
	}
	took := p.last.Sub(p.first)
	fmt.Fprintf(w, "\n%d envelopes in %d batches: %s\n", total, p.batches, strings.Join(kinds, ", "))
	if took > 0 {
		fmt.Fprintf(w, "%.1f envelopes/s over %s\n", float64(total)/took.Seconds(), took.Round(time.Millisecond))
	}
}
