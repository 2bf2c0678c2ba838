// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// shapedKeys are attribute keys of all kinds: plain, renamed, too long, the same once they are cleaned, the exporter's own, and
// those with a say in the identity.
var shapedKeys = []string{
	"a", "b", "http.method", "cloudfoundry.app.name", "org.cloudfoundry.job", strings.Repeat("k", 40), "ü", "u u", "u=u", "",
	"severity", "trace_id", "span_id", "source_type", "process_type", "cloudfoundry.process.type", "event_name", "log.iostream",
	"parent_span_id", "span_kind", "peer_type", "status_code", "status_message", "clock_skew",
	"source_id", "instance_id", "cloudfoundry.app.id", "cloudfoundry.app.instance.id", "service.name", "service.instance.id", "part",
}

func shapedValue(r *rand.Rand, v pcommon.Value) {
	switch r.IntN(12) {
	case 0:
		v.SetInt(r.Int64() - r.Int64())
	case 1:
		v.SetBool(r.IntN(2) == 0)
	case 2:
		v.SetDouble(r.NormFloat64())
	case 3:
		v.SetEmptyBytes().Append(1, 2, 3)
	case 4:
		v.SetEmptyMap().PutStr("k", "v")
	case 5:
		v.SetStr("")
	case 6:
		v.SetStr("bad \xff utf8")
	case 7:
		v.SetStr("stderr")
	case 8:
		if r.IntN(20) == 0 {
			v.SetStr(strings.Repeat("long ", r.IntN(14_000)))
		}
	default:
		v.SetStr(fmt.Sprintf("value %d", r.IntN(1000)))
	}
}

// shapedAttributes are those of keys, in their order, sometimes one more or less.
func shapedAttributes(r *rand.Rand, m pcommon.Map, keys []string) {
	for _, key := range keys {
		if r.IntN(30) > 0 {
			shapedValue(r, m.PutEmpty(key))
		}
	}
	if r.IntN(30) == 0 {
		shapedValue(r, m.PutEmpty(shapedKeys[r.IntN(len(shapedKeys))]))
	}
}

func someKeys(r *rand.Rand) []string {
	var keys []string
	for range r.IntN(8) {
		keys = append(keys, shapedKeys[r.IntN(len(shapedKeys))])
	}
	return keys
}

// What goes by a shape is, to the byte, what it would be the long way.
func TestShapesAreTheLongWay(t *testing.T) {
	envelopes := 0
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 1))
		logs, traces := plog.NewLogs(), ptrace.NewTraces()
		for range 1 + r.IntN(3) {
			rl, rs := logs.ResourceLogs().AppendEmpty(), traces.ResourceSpans().AppendEmpty()
			shapedAttributes(r, rl.Resource().Attributes(), someKeys(r))
			rl.Resource().Attributes().CopyTo(rs.Resource().Attributes())
			sl, ss := rl.ScopeLogs().AppendEmpty(), rs.ScopeSpans().AppendEmpty()
			shapedAttributes(r, sl.Scope().Attributes(), someKeys(r))
			var keys [][]string
			for range 1 + r.IntN(3) {
				keys = append(keys, someKeys(r))
			}
			for range r.IntN(30) {
				record, span := sl.LogRecords().AppendEmpty(), ss.Spans().AppendEmpty()
				shapedAttributes(r, record.Attributes(), keys[r.IntN(len(keys))])
				record.Attributes().CopyTo(span.Attributes())
				shapedValue(r, record.Body())
				record.SetTimestamp(pcommon.Timestamp(r.IntN(2)))
				record.SetSeverityNumber(plog.SeverityNumber(r.IntN(27) - 1))
				if r.IntN(3) == 0 {
					record.SetSeverityText("text")
				}
				if r.IntN(9) == 0 {
					record.SetEventName("event")
				}
				if r.IntN(9) == 0 {
					record.Body().SetStr("\x00" + record.Body().AsString())
				}
				span.SetName(record.Body().AsString())
				span.SetKind(ptrace.SpanKind(r.IntN(8) - 1))
				span.Status().SetCode(ptrace.StatusCode(r.IntN(5) - 1))
				span.Status().SetMessage([]string{"", "message", "bad \xff"}[r.IntN(3)])
				span.SetStartTimestamp(pcommon.Timestamp(r.IntN(3)))
				span.SetEndTimestamp(pcommon.Timestamp(r.IntN(3)))
				if r.IntN(3) > 0 {
					record.SetTraceID(pcommon.TraceID{1, byte(r.Int())})
					record.SetSpanID(pcommon.SpanID{1, byte(r.Int())})
					span.SetTraceID(record.TraceID())
					span.SetSpanID(record.SpanID())
					span.SetParentSpanID(record.SpanID())
				}
				if r.IntN(9) == 0 {
					span.Events().AppendEmpty().SetName(strings.Repeat("x", r.IntN(70_000)))
				}
			}
		}
		metrics := shapedMetrics(r, logs)
		opts := fuzzOptions(byte(r.Int()))
		opts.SyslogSafe = r.IntN(4) > 0
		l, tr, m := translateLogs(t, opts, logs), translateTraces(t, opts, traces), translateMetrics(t, opts, metrics)
		opts.unshaped = true
		requireSame(t, translateLogs(t, opts, logs), l)
		requireSame(t, translateTraces(t, opts, traces), tr)
		requireSame(t, translateMetrics(t, opts, metrics), m)
		envelopes += len(l.envelopes) + len(tr.envelopes) + len(m.envelopes)
	}
	assert.Greater(t, envelopes, 5000)
}

// shapedMetrics are points of all kinds with the attributes of logs.
func shapedMetrics(r *rand.Rand, logs plog.Logs) pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	for _, rl := range logs.ResourceLogs().All() {
		rm := metrics.ResourceMetrics().AppendEmpty()
		rl.Resource().Attributes().CopyTo(rm.Resource().Attributes())
		sm := rm.ScopeMetrics().AppendEmpty()
		rl.ScopeLogs().At(0).Scope().Attributes().CopyTo(sm.Scope().Attributes())
		gauges, sums, histograms := sm.Metrics().AppendEmpty(), sm.Metrics().AppendEmpty(), sm.Metrics().AppendEmpty()
		gauges.SetName("gauge")
		sums.SetName("sum")
		histograms.SetName("histogram")
		gauge, sum, histogram := gauges.SetEmptyGauge(), sums.SetEmptySum(), histograms.SetEmptyHistogram()
		sum.SetIsMonotonic(true)
		sum.SetAggregationTemporality(pmetric.AggregationTemporality(1 + r.IntN(2)))
		histogram.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		for _, record := range rl.ScopeLogs().At(0).LogRecords().All() {
			switch r.IntN(3) {
			case 0:
				p := gauge.DataPoints().AppendEmpty()
				p.SetIntValue(1)
				record.Attributes().CopyTo(p.Attributes())
			case 1:
				p := sum.DataPoints().AppendEmpty()
				p.SetDoubleValue(float64(r.IntN(3)) / 2)
				record.Attributes().CopyTo(p.Attributes())
			case 2:
				p := histogram.DataPoints().AppendEmpty()
				p.SetCount(3)
				p.ExplicitBounds().FromRaw([]float64{1})
				p.BucketCounts().FromRaw([]uint64{1, 2})
				record.Attributes().CopyTo(p.Attributes())
			}
		}
	}
	return metrics
}

// Records of a few shapes go by them, without an allocation each; others don't.
func TestWhatHasAShape(t *testing.T) {
	count := func(change func(i int, r plog.LogRecord)) (shaped int) {
		logs := plog.NewLogs()
		rl := logs.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("service.name", "shop")
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := range 100 {
			r := records.AppendEmpty()
			r.Body().SetStr("hello")
			r.Attributes().PutInt("a", int64(i))
			r.Attributes().PutStr("b", "b")
			change(i, r)
		}
		translator := NewLogs(defaults())
		translator.begin(discard)
		translator.beginResource(rl.Resource())
		translator.beginScope(rl.ScopeLogs().At(0).Scope())
		for _, r := range records.All() {
			if translator.shapedLog(r) {
				shaped++
			}
		}
		return shaped
	}
	assert.Equal(t, 100, count(func(int, plog.LogRecord) {}))
	assert.Equal(t, 100, count(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i%5), "") }), "a few shapes")
	assert.Equal(t, shapesAtMost, count(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i), "") }), "each of its own")
	assert.Zero(t, count(func(_ int, r plog.LogRecord) { r.Attributes().PutStr("trace_id", "") }))
	assert.Zero(t, count(func(_ int, r plog.LogRecord) { r.Attributes().PutStr("a=", ""); r.Attributes().PutStr("a]", "") }))
	assert.Zero(t, count(func(_ int, r plog.LogRecord) { r.SetEventName("event") }))

	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range 1000 {
		r := records.AppendEmpty()
		r.Body().SetStr("hello")
		r.SetTraceID(pcommon.TraceID{1})
		r.SetSeverityNumber(plog.SeverityNumberInfo)
		r.Attributes().PutInt("a", int64(i))
	}
	translator := NewLogs(defaults())
	allocations := testing.AllocsPerRun(10, func() { translator.Translate(logs)(discard) })
	require.Zero(t, allocations)
}

// Nor is anything allocated for small batches, of which each is of its own resource.
func TestShapesOfSmallBatchesAllocateNothing(t *testing.T) {
	logs, metrics, traces := plog.NewLogs(), pmetric.NewMetrics(), ptrace.NewTraces()
	attributes := func(m pcommon.Map) {
		for i := range 10 {
			m.PutStr(fmt.Sprintf("attribute.%d", i), "value")
		}
	}
	rl := logs.ResourceLogs().AppendEmpty()
	attributes(rl.Resource().Attributes())
	record := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	record.Body().SetStr("hello")
	attributes(record.Attributes())
	rm := metrics.ResourceMetrics().AppendEmpty()
	attributes(rm.Resource().Attributes())
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("requests")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	attributes(sum.DataPoints().AppendEmpty().Attributes())
	rs := traces.ResourceSpans().AppendEmpty()
	attributes(rs.Resource().Attributes())
	attributes(rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes())

	l, p, s := NewLogs(defaults()), NewMetrics(defaults()), NewTraces(defaults())
	assert.Zero(t, testing.AllocsPerRun(100, func() { l.Translate(logs)(discard) }), "logs")
	assert.Zero(t, testing.AllocsPerRun(100, func() { p.Translate(metrics)(discard) }), "metrics")
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Translate(traces)(discard) }), "traces")
}

// discard goes on. A loop over a sequence would allocate its body, once a batch.
func discard(Envelope) bool { return true }

// heap is what is in use, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A key may be a part of a large string, as those are that are parsed out of a body. What is remembered must not hold that.
func TestRememberedKeysHoldNoData(t *testing.T) {
	for _, safe := range []bool{false, true} {
		logs := NewLogs(Options{MaxPayload: 60 << 10, SyslogSafe: safe})
		before := heap()
		for i := range 200 {
			data := plog.NewLogs()
			r := data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
			key, _, _ := strings.Cut(fmt.Sprintf("key%04d=value ", i)+strings.Repeat("x", 100_000), "=")
			r.Body().SetStr("hello")
			r.Attributes().PutStr(key, "1")
			logs.Translate(data)(discard)
		}
		assert.Less(t, heap()-before, 2<<20, "200 keys, of 20 MB")
		runtime.KeepAlive(logs)
	}
}

// Tags that no envelope has room for are not kept in shapes.
func TestShapesAreBounded(t *testing.T) {
	metrics := NewMetrics(Options{PrometheusNames: true})
	data := pmetric.NewMetrics()
	rm := data.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("big", strings.Repeat("x", 1_000_000))
	all := rm.ScopeMetrics().AppendEmpty().Metrics()
	for i := range shapesAtMost {
		m := all.AppendEmpty()
		m.SetName("g")
		m.SetEmptyGauge().DataPoints().AppendEmpty().Attributes().PutInt(fmt.Sprint("k", i), 1)
	}
	metrics.Translate(data)(discard)
	kept := 0
	for _, s := range metrics.shapes.known[:cap(metrics.shapes.known)] {
		kept += cap(s.inherited) + cap(s.constants)
	}
	assert.Less(t, kept, 2*shapesAtMost*envelope.MaxSize)
}
