// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/testdata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

const (
	// at is the timestamp of translated items, unless a test sets another.
	at = 1767225600_000000001
	// now is the time of the translators' clock.
	now = 1767229200_000000007
)

// defaults returns the options of the default configuration.
func defaults() Options {
	return Options{
		SourceID: Identity{
			Attributes: []string{
				"cloudfoundry.app.id", "cloudfoundry.system.id", "org.cloudfoundry.source_id", "source_id", "service.name",
			},
			Default: "otelcol",
		},
		InstanceID: Identity{
			Attributes: []string{
				"cloudfoundry.app.instance.id", "cloudfoundry.system.instance.id", "org.cloudfoundry.instance_id", "instance_id",
				"service.instance.id",
			},
			Default: "0",
		},
		SyslogSafe:      true,
		SourceType:      "OTEL",
		MaxPayload:      60 << 10,
		PrometheusNames: true,
		Now:             func() time.Time { return time.Unix(0, now) },
	}
}

// recorder decodes and keeps the output of a translator.
type recorder struct {
	t         testing.TB
	envelopes []*loggregator_v2.Envelope
	encoded   [][]byte
	items     int // in envelopes
	rejected  map[Reason]int
	truncated int
	open      bool // the last envelope does not complete its item
}

func newRecorder(t testing.TB) *recorder { return &recorder{t: t, rejected: map[Reason]int{}} }

// recordAll records a batch.
func recordAll(t testing.TB, all iter.Seq[Envelope]) *recorder {
	t.Helper()
	r := newRecorder(t)
	r.take(all)
	return r
}

func (r *recorder) take(all iter.Seq[Envelope]) {
	r.t.Helper()
	for e := range all {
		require.LessOrEqual(r.t, e.Truncated, e.Items)
		r.truncated += e.Truncated
		r.open = e.Items == 0
		if e.Reason != "" {
			require.Positive(r.t, e.Items)
			require.Nil(r.t, e.Encoded)
			require.Zero(r.t, e.Truncated)
			r.rejected[e.Reason] += e.Items
			continue
		}
		require.GreaterOrEqual(r.t, e.Items, 0)
		require.LessOrEqual(r.t, len(e.Encoded), envelope.MaxSize, "bytes of the envelope")
		decoded := &loggregator_v2.Envelope{Tags: map[string]string{}}
		require.NoError(r.t, proto.UnmarshalOptions{Merge: true}.Unmarshal(e.Encoded, decoded))
		require.Empty(r.t, decoded.ProtoReflect().GetUnknown(), "unknown fields")
		require.Equal(r.t, proto.Size(decoded), len(e.Encoded), "no key is encoded twice: %v", decoded)
		r.envelopes = append(r.envelopes, decoded)
		r.encoded = append(r.encoded, bytes.Clone(e.Encoded))
		r.items += e.Items
	}
}

// requireItems checks that each item is in an envelope or rejected, exactly once.
func (r *recorder) requireItems(want int) {
	r.t.Helper()
	got := r.items
	for _, n := range r.rejected {
		got += n
	}
	require.Equal(r.t, want, got, "items: %d in envelopes, rejected %v", r.items, r.rejected)
	require.False(r.t, r.open, "the last item is complete")
}

func (r *recorder) requireEnvelopes(want ...*loggregator_v2.Envelope) {
	r.t.Helper()
	equal := func(a, b *loggregator_v2.Envelope) bool { return proto.Equal(a, b) }
	if !slices.EqualFunc(want, r.envelopes, equal) {
		r.t.Fatalf("want %s\ngot %s\nrejected %v", readable(want), readable(r.envelopes), r.rejected)
	}
}

func (r *recorder) requireRejected(want map[Reason]int) {
	r.t.Helper()
	if want == nil {
		want = map[Reason]int{}
	}
	require.Equal(r.t, want, r.rejected, "rejected")
}

// rejectedOnce returns one item rejected for a reason.
func rejectedOnce(reason Reason) map[Reason]int { return map[Reason]int{reason: 1} }

// stale flags a point as having no recorded value.
var stale = pmetric.DefaultDataPointFlags.WithNoRecordedValue(true)

// readable returns envelopes as JSON, with the payloads of logs as text.
func readable(envelopes []*loggregator_v2.Envelope) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d envelopes:", len(envelopes))
	for _, e := range envelopes {
		fmt.Fprintf(&b, "\n%s", protojson.Format(e))
		if e.GetLog() != nil {
			fmt.Fprintf(&b, "\npayload %q", e.GetLog().GetPayload())
		}
	}
	return b.String()
}

// newEnvelope returns the envelope expected for an item without an identity, with the timestamp at. tags alternates keys and values.
func newEnvelope(message proto.Message, tags ...string) *loggregator_v2.Envelope {
	e := &loggregator_v2.Envelope{Timestamp: at, SourceId: "otelcol", InstanceId: "0", Tags: map[string]string{}}
	for pair := range slices.Chunk(tags, 2) {
		e.Tags[pair[0]] = pair[1]
	}
	switch m := message.(type) {
	case *loggregator_v2.Log:
		e.Message = &loggregator_v2.Envelope_Log{Log: m}
	case *loggregator_v2.Counter:
		e.Message = &loggregator_v2.Envelope_Counter{Counter: m}
	case *loggregator_v2.Gauge:
		e.Message = &loggregator_v2.Envelope_Gauge{Gauge: m}
	case *loggregator_v2.Timer:
		e.Message = &loggregator_v2.Envelope_Timer{Timer: m}
	case *loggregator_v2.Event:
		e.Message = &loggregator_v2.Envelope_Event{Event: m}
	default:
		panic(fmt.Sprintf("not a message of an envelope: %T", m))
	}
	return e
}

// put adds alternating keys and values, in this order.
func put(attrs pcommon.Map, keysAndValues ...any) {
	for pair := range slices.Chunk(keysAndValues, 2) {
		if err := attrs.PutEmpty(pair[0].(string)).FromRaw(pair[1]); err != nil {
			panic(err)
		}
	}
}

// options returns the defaults after change, which may be nil.
func options(change func(*Options)) Options {
	opts := defaults()
	if change != nil {
		change(&opts)
	}
	return opts
}

// signal has the functions of one signal for the tests that cover all signals.
type signal[D interface{ CopyTo(dest D) }] struct {
	new     func(Options) translatorOf[D]
	count   func(D) int
	marshal func(D) ([]byte, error)
	random  func(*script) D
}

type translatorOf[D any] interface {
	Translate(D) iter.Seq[Envelope]
}

var (
	signalLogs = signal[plog.Logs]{
		func(o Options) translatorOf[plog.Logs] { return NewLogs(o) },
		plog.Logs.LogRecordCount, (&plog.ProtoMarshaler{}).MarshalLogs, randomLogs,
	}
	signalMetrics = signal[pmetric.Metrics]{
		func(o Options) translatorOf[pmetric.Metrics] { return NewMetrics(o) },
		pmetric.Metrics.DataPointCount, (&pmetric.ProtoMarshaler{}).MarshalMetrics, randomMetrics,
	}
	signalTraces = signal[ptrace.Traces]{
		func(o Options) translatorOf[ptrace.Traces] { return NewTraces(o) },
		ptrace.Traces.SpanCount, (&ptrace.ProtoMarshaler{}).MarshalTraces, randomTraces,
	}
)

// translate records a batch, counts its items, and checks that it is unchanged.
func (s signal[D]) translate(t testing.TB, opts Options, data D) *recorder {
	t.Helper()
	before, err := s.marshal(data)
	require.NoError(t, err)
	out := recordAll(t, s.new(opts).Translate(data))
	out.requireItems(s.count(data))
	after, err := s.marshal(data)
	require.NoError(t, err)
	require.Equal(t, before, after, "the input is unchanged")
	return out
}

// check checks that the envelopes of a batch pass through syslog, and are the same each time.
func (s signal[D]) check(t *testing.T, opts Options, data D) *recorder {
	t.Helper()
	out := s.translate(t, opts, data)
	requireFit(t, out.envelopes)
	requireSame(t, out, s.translate(t, opts, data))
	return out
}

var (
	translateLogs    = signalLogs.translate
	translateMetrics = signalMetrics.translate
	translateTraces  = signalTraces.translate
)

func TestEmptyData(t *testing.T) {
	logs, metrics, traces := plog.NewLogs(), pmetric.NewMetrics(), ptrace.NewTraces()
	requireNothing := func() {
		for _, out := range []*recorder{
			translateLogs(t, defaults(), logs), translateMetrics(t, defaults(), metrics), translateTraces(t, defaults(), traces),
		} {
			out.requireEnvelopes()
			out.requireRejected(nil)
		}
	}
	requireNothing()
	logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty()
	scope := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Metrics().AppendEmpty()
	scope.Metrics().AppendEmpty().SetEmptyGauge()
	scope.Metrics().AppendEmpty().SetEmptySum()
	scope.Metrics().AppendEmpty().SetEmptyHistogram()
	scope.Metrics().AppendEmpty().SetEmptyExponentialHistogram()
	scope.Metrics().AppendEmpty().SetEmptySummary()
	traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty()
	requireNothing()
}

func TestDefaultClock(t *testing.T) {
	opts := defaults()
	opts.Now = nil
	logs, record := oneLog()
	record.SetTimestamp(0)
	record.Body().SetStr("hello")
	before := time.Now().UnixNano()
	out := translateLogs(t, opts, logs)
	after := time.Now().UnixNano()
	assert.GreaterOrEqual(t, out.envelopes[0].GetTimestamp(), before)
	assert.LessOrEqual(t, out.envelopes[0].GetTimestamp(), after)
}

// A translator keeps buffers, but no data, from one batch to the next, even if the loop breaks, which ends the translation.
func TestTranslatorReuse(t *testing.T) {
	t.Run("logs", func(t *testing.T) { signalLogs.reuse(t, defaults()) })
	t.Run("metrics", func(t *testing.T) { signalMetrics.reuse(t, defaults()) })
	t.Run("traces", func(t *testing.T) { signalTraces.reuse(t, options(spanEvents)) })
}

func (s signal[D]) reuse(t *testing.T, opts Options) {
	used, broken := s.new(opts), 0
	for seed := range uint64(6) {
		data := s.random(newScript(randomScript(seed)))
		want := recordAll(t, s.new(opts).Translate(data)).encoded
		for range used.Translate(data) {
			broken++
			break
		}
		if m, ok := any(used).(*Metrics); ok {
			m.fractions = newFractions() // Fractions are kept between batches.
		}
		require.Equal(t, want, recordAll(t, used.Translate(data)).encoded)
	}
	require.Positive(t, broken, "broken loops")
}

// Data from the collector's own test data generators is accepted.
func TestCollectorTestdata(t *testing.T) {
	for _, n := range []int{1, 7, 200} {
		require.Empty(t, signalLogs.check(t, defaults(), testdata.GenerateLogs(n)).rejected, "logs")
		require.Empty(t, signalTraces.check(t, options(spanEvents), testdata.GenerateTraces(n)).rejected, "traces")
		for reason := range signalMetrics.check(t, defaults(), testdata.GenerateMetrics(n)).rejected {
			require.Equal(t, ReasonTemporality, reason, "only the delta histogram of the generator is rejected")
		}
	}
}

// script determines random pdata, byte by byte. At its end, everything is empty.
type script struct{ rest []byte }

// newScript returns a script of the bytes that a fuzz target gets.
func newScript(b []byte) *script { return &script{rest: b} }

// randomScript returns the bytes of a script. Given enough seeds, scripts reach everything.
func randomScript(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 64+rnd.IntN(1500))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func (s *script) byte() byte {
	if len(s.rest) == 0 {
		return 0
	}
	b := s.rest[0]
	s.rest = s.rest[1:]
	return b
}

func (s *script) below(n int) int { return int(s.byte()) % n }

func (s *script) bool() bool { return s.byte()&1 == 1 }

func (s *script) bytes(n int) []byte {
	n = min(n, len(s.rest))
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b
}

func (s *script) uint64() uint64 {
	var b [8]byte
	copy(b[:], s.bytes(8))
	// Of any magnitude.
	return binary.LittleEndian.Uint64(b[:]) >> s.below(64)
}

func (s *script) double() float64 {
	special := []float64{
		0, 1, 0.5, -1, 1e15 + 0.5, 1 << 53, 1 << 63, 1 << 64, math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1),
	}
	if i := s.below(2 * len(special)); i < len(special) {
		return special[i]
	}
	return math.Float64frombits(s.uint64())
}

func (s *script) timestamp() pcommon.Timestamp {
	switch s.below(4) {
	case 0:
		return 0
	case 1:
		return pcommon.Timestamp(at + int64(s.below(3)))
	}
	return pcommon.Timestamp(s.uint64())
}

// specialStrings are the strings that the mapping treats specially.
var specialStrings = []string{
	"cloudfoundry.app.id", "cloudfoundry.app.name", "cloudfoundry.process.type", "cloudfoundry.app.instance.id",
	"org.cloudfoundry.source_id", "org.cloudfoundry.", "org.cloudfoundry.app_id", "source_id", "instance_id", "service.name",
	"service.instance.id", "source_type", "process_type", "severity", "log.iostream", "stderr", "stdout", "title", "body",
	"part", "le", "trace_id", "span_id", "peer_type", "span_kind", "otel_scope_name", "a.b", "a_b", "a-b", "1", "By", "s", "total",
}

// text returns any string: short, special, of any bytes, with invalid UTF-8, and sometimes huge.
func (s *script) text() string {
	switch s.below(8) {
	case 0:
		return ""
	case 1, 2:
		return specialStrings[s.below(len(specialStrings))]
	case 3:
		return string(s.bytes(s.below(80)))
	case 4:
		return string(rune(s.below(128)))
	case 5:
		return strings.Repeat([]string{"a", "é", "世", "😀", "\n", " ", "\x00", "\xff", "\xe4\xb8", "a\xff"}[s.below(10)], s.below(80))
	case 6:
		return strings.Repeat(specialStrings[s.below(len(specialStrings))], s.below(6))
	}
	if s.below(3) > 0 {
		return "value"
	}
	// Valid and invalid pieces, because the mapping truncates the former and replaces the latter.
	var b strings.Builder
	for range 1 + s.below(3) {
		piece := []string{"a", "é", "世", "line\n", "\x00", "\xff", "\xff\xfea", "\xf0\x9f\x98", "=]\" "}[s.below(9)]
		b.WriteString(strings.Repeat(piece, 1+s.below(128)*512/len(piece)))
	}
	return b.String()
}

func (s *script) value(v pcommon.Value, depth int) {
	kinds := 8
	if depth == 0 {
		kinds = 6
	}
	switch s.below(kinds) {
	case 0, 1:
		v.SetStr(s.text())
	case 2:
		v.SetInt(int64(s.uint64()))
	case 3:
		v.SetDouble(s.double())
	case 4:
		v.SetBool(s.bool())
	case 5:
		if s.bool() {
			v.SetEmptyBytes().FromRaw([]byte(s.text()))
		}
	case 6:
		m := v.SetEmptyMap()
		for range s.below(4) {
			s.value(m.PutEmpty(s.text()), depth-1)
		}
	case 7:
		slice := v.SetEmptySlice()
		for range s.below(4) {
			s.value(slice.AppendEmpty(), depth-1)
		}
	}
}

func (s *script) attributes(m pcommon.Map) {
	n := s.below(6)
	if s.below(16) == 0 {
		n = 40 // More than a keySet searches through.
	}
	for range n {
		s.value(m.PutEmpty(s.text()), 2)
	}
}

func (s *script) scope(scope pcommon.InstrumentationScope) {
	s.attributes(scope.Attributes())
	scope.SetName(s.text())
	scope.SetVersion(s.text())
}

func (s *script) traceID() (id pcommon.TraceID) {
	copy(id[:], s.bytes(16*s.below(2)))
	return id
}

func (s *script) spanID() (id pcommon.SpanID) {
	copy(id[:], s.bytes(8*s.below(2)))
	return id
}

func randomLogs(s *script) plog.Logs {
	logs := plog.NewLogs()
	for range 1 + s.below(2) {
		rl := logs.ResourceLogs().AppendEmpty()
		s.attributes(rl.Resource().Attributes())
		for range 1 + s.below(2) {
			sl := rl.ScopeLogs().AppendEmpty()
			s.scope(sl.Scope())
			for range 1 + s.below(4) {
				r := sl.LogRecords().AppendEmpty()
				s.attributes(r.Attributes())
				s.value(r.Body(), 3)
				r.SetTimestamp(s.timestamp())
				r.SetObservedTimestamp(s.timestamp())
				r.SetSeverityNumber(plog.SeverityNumber(s.below(30)))
				r.SetSeverityText(s.text())
				r.SetTraceID(s.traceID())
				r.SetSpanID(s.spanID())
				if s.below(4) == 0 {
					r.SetEventName(s.text())
				}
			}
		}
	}
	return logs
}

func randomMetrics(s *script) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	for range 1 + s.below(2) {
		rm := metrics.ResourceMetrics().AppendEmpty()
		s.attributes(rm.Resource().Attributes())
		for range 1 + s.below(2) {
			sm := rm.ScopeMetrics().AppendEmpty()
			s.scope(sm.Scope())
			for range 1 + s.below(5) {
				s.metric(sm.Metrics().AppendEmpty())
			}
		}
	}
	return metrics
}

func (s *script) metric(m pmetric.Metric) {
	m.SetName(s.text())
	m.SetUnit(s.text())
	switch s.below(8) {
	case 0, 1:
		s.numbers(m.SetEmptyGauge().DataPoints())
	case 2, 3:
		sum := m.SetEmptySum()
		sum.SetIsMonotonic(s.bool())
		sum.SetAggregationTemporality(pmetric.AggregationTemporality(s.below(4)))
		s.numbers(sum.DataPoints())
	case 4, 5:
		h := m.SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporality(1 + s.below(2)))
		for range s.below(3) {
			s.histogramPoint(h.DataPoints().AppendEmpty())
		}
	case 6:
		h := m.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporality(1 + s.below(2)))
		for range s.below(3) {
			s.exponentialPoint(h.DataPoints().AppendEmpty())
		}
	case 7:
		points := m.SetEmptySummary().DataPoints()
		for range s.below(3) {
			s.summaryPoint(points.AppendEmpty())
		}
	}
}

func (s *script) numbers(points pmetric.NumberDataPointSlice) {
	for range s.below(4) {
		p := points.AppendEmpty()
		s.attributes(p.Attributes())
		p.SetTimestamp(s.timestamp())
		p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(s.below(16) == 0))
		switch s.below(4) {
		case 0:
		case 1:
			p.SetIntValue(int64(s.uint64()))
		default:
			p.SetDoubleValue(s.double())
		}
	}
}

func (s *script) histogramPoint(p pmetric.HistogramDataPoint) {
	s.attributes(p.Attributes())
	p.SetTimestamp(s.timestamp())
	p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(s.below(16) == 0))
	buckets := s.below(6)
	total := uint64(0)
	for i := range buckets {
		n := s.uint64()
		total += n
		p.BucketCounts().Append(n)
		if i > 0 {
			p.ExplicitBounds().Append(float64(i) * 2.5)
		}
	}
	p.SetCount(total)
	switch s.below(8) {
	case 0:
		p.SetCount(s.uint64())
	case 1:
		p.ExplicitBounds().Append(s.double())
	}
	if s.bool() {
		p.SetSum(s.double())
	}
}

func (s *script) exponentialPoint(p pmetric.ExponentialHistogramDataPoint) {
	s.attributes(p.Attributes())
	p.SetTimestamp(s.timestamp())
	p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(s.below(16) == 0))
	p.SetScale(int32(s.below(24)) - 10)
	if s.below(8) == 0 {
		p.SetScale(int32(s.uint64()))
	}
	p.SetZeroCount(uint64(s.below(3)))
	if s.bool() {
		p.SetZeroThreshold(s.double())
	}
	total := p.ZeroCount()
	for _, side := range []pmetric.ExponentialHistogramDataPointBuckets{p.Positive(), p.Negative()} {
		side.SetOffset(int32(s.below(256)) - 128)
		if s.below(8) == 0 {
			side.SetOffset(int32(s.uint64()))
		}
		for range s.below(100) {
			n := uint64(s.below(4))
			if s.below(32) == 0 {
				n = s.uint64()
			}
			total += n
			side.BucketCounts().Append(n)
		}
	}
	p.SetCount(total)
	if s.below(8) == 0 {
		p.SetCount(s.uint64())
	}
	if s.bool() {
		p.SetSum(s.double())
	}
}

func (s *script) summaryPoint(p pmetric.SummaryDataPoint) {
	s.attributes(p.Attributes())
	p.SetTimestamp(s.timestamp())
	p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(s.below(16) == 0))
	p.SetCount(s.uint64())
	if s.bool() {
		p.SetSum(s.double())
	}
	for i := range s.below(4) {
		q := p.QuantileValues().AppendEmpty()
		q.SetQuantile(float64(i) / 4)
		if s.below(16) == 0 {
			q.SetQuantile(s.double())
		}
		q.SetValue(s.double())
	}
}

func randomTraces(s *script) ptrace.Traces {
	traces := ptrace.NewTraces()
	for range 1 + s.below(2) {
		rs := traces.ResourceSpans().AppendEmpty()
		s.attributes(rs.Resource().Attributes())
		for range 1 + s.below(2) {
			ss := rs.ScopeSpans().AppendEmpty()
			s.scope(ss.Scope())
			for range 1 + s.below(3) {
				span := ss.Spans().AppendEmpty()
				s.attributes(span.Attributes())
				span.SetName(s.text())
				span.SetStartTimestamp(s.timestamp())
				span.SetEndTimestamp(s.timestamp())
				span.SetTraceID(s.traceID())
				span.SetSpanID(s.spanID())
				span.SetParentSpanID(s.spanID())
				span.SetKind(ptrace.SpanKind(s.below(7)))
				span.Status().SetCode(ptrace.StatusCode(s.below(4)))
				span.Status().SetMessage(s.text())
				for range s.below(3) {
					e := span.Events().AppendEmpty()
					e.SetName(s.text())
					e.SetTimestamp(s.timestamp())
					s.attributes(e.Attributes())
				}
			}
		}
	}
	return traces
}

// fuzzOptions selects options by the bits of choice. All of them keep tags safe for syslog.
func fuzzOptions(choice byte) Options {
	opts := defaults()
	opts.EventsAsLogs = choice&1 != 0
	opts.PrometheusNames = choice&2 != 0
	opts.DoubleSumsAsGauges = choice&4 != 0
	opts.SpanEvents = choice&8 != 0
	if choice&16 != 0 {
		opts.MaxPayload = 4096
	}
	if choice&32 != 0 {
		opts.InstanceID.Default = ""
	}
	if choice&64 != 0 {
		opts.SourceID.Value = "förced "
	}
	return opts
}

func (s signal[D]) fuzz(f *testing.F) {
	f.Add(byte(0), []byte(nil))
	f.Add(byte(0xff), []byte("\x01\x01\x01\x01"))
	for seed := range uint64(12) {
		f.Add(byte(seed*37), randomScript(seed))
	}
	f.Fuzz(func(t *testing.T, choice byte, b []byte) { s.check(t, fuzzOptions(choice), s.random(newScript(b))) })
}

func FuzzTranslateLogs(f *testing.F) { signalLogs.fuzz(f) }

func FuzzTranslateMetrics(f *testing.F) { signalMetrics.fuzz(f) }

func FuzzTranslateTraces(f *testing.F) { signalTraces.fuzz(f) }

// requireFit checks that envelopes get through syslog to Log Cache.
func requireFit(t *testing.T, envelopes []*loggregator_v2.Envelope) {
	t.Helper()
	for _, e := range envelopes {
		require.True(t, isPrintable(e.GetSourceId()), "source ID %q", e.GetSourceId())
		require.True(t, isPrintable(e.GetInstanceId()), "instance ID %q", e.GetInstanceId())
		require.NotEmpty(t, e.GetSourceId())
		require.LessOrEqual(t, len(e.GetSourceId()), 48)
		require.LessOrEqual(t, len(e.GetInstanceId()), 36)
		for key, value := range e.GetTags() {
			require.NotEmpty(t, key)
			require.LessOrEqual(t, len(key), 32, "key %q", key)
			require.True(t, isPrintable(key) && !strings.ContainsAny(key, ` =]"`), "key %q", key)
			require.True(t, utf8.ValidString(value), "value of %s", key)
		}
		switch m := e.GetMessage().(type) {
		case *loggregator_v2.Envelope_Log:
			require.NotEmpty(t, m.Log.GetPayload())
			require.LessOrEqual(t, len("[/]")+len(e.GetTags()["source_type"])+len(e.GetInstanceId()), 128, "PROCID of syslog")
		case *loggregator_v2.Envelope_Counter:
			require.NotEmpty(t, m.Counter.GetName())
			require.True(t, utf8.ValidString(m.Counter.GetName()))
		case *loggregator_v2.Envelope_Gauge:
			require.NotEmpty(t, m.Gauge.GetMetrics())
			for name, v := range m.Gauge.GetMetrics() {
				require.NotEmpty(t, name)
				require.True(t, utf8.ValidString(name) && utf8.ValidString(v.GetUnit()))
				require.True(t, isFinite(v.GetValue()))
			}
		case *loggregator_v2.Envelope_Timer:
			require.True(t, utf8.ValidString(m.Timer.GetName()))
		case *loggregator_v2.Envelope_Event:
			require.True(t, utf8.ValidString(m.Event.GetTitle()) && utf8.ValidString(m.Event.GetBody()))
		default:
			require.Fail(t, "no message")
		}
	}
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func requireSame(t *testing.T, a, b *recorder) {
	t.Helper()
	require.Equal(t, a.encoded, b.encoded, "identical input gives identical bytes")
	require.True(t, maps.Equal(a.rejected, b.rejected))
	require.Equal(t, a.truncated, b.truncated)
}
