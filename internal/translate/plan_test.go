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

// planKeys are attribute keys of all kinds: plain, renamed, too long, the same once they are cleaned, the exporter's own, and
// those with a say in the identity.
var planKeys = []string{
	"a", "b", "http.method", "cloudfoundry.app.name", "org.cloudfoundry.job", strings.Repeat("k", 40), "ü", "u u", "u=u", "",
	"severity", "trace_id", "span_id", "source_type", "process_type", "cloudfoundry.process.type", "event_name", "log.iostream",
	"parent_span_id", "span_kind", "peer_type", "status_code", "status_message", "clock_skew",
	"source_id", "instance_id", "cloudfoundry.app.id", "cloudfoundry.app.instance.id", "service.name", "service.instance.id", "part", boundTag.key,
}

func planValue(r *rand.Rand, v pcommon.Value) {
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
		switch r.IntN(20) {
		case 0:
			v.SetStr(strings.Repeat("long ", r.IntN(14_000)))
		case 1: // Too deep.
			for range maxDepth + 1 {
				v = v.SetEmptySlice().AppendEmpty()
			}
		}
	default:
		v.SetStr(fmt.Sprintf("value %d", r.IntN(1000)))
	}
}

// planAttributes puts attributes with these keys, in order, sometimes one more or less.
func planAttributes(r *rand.Rand, m pcommon.Map, keys []string) {
	for _, key := range keys {
		if r.IntN(30) > 0 {
			planValue(r, m.PutEmpty(key))
		}
	}
	if r.IntN(30) == 0 {
		planValue(r, m.PutEmpty(planKeys[r.IntN(len(planKeys))]))
	}
}

func someKeys(r *rand.Rand) []string {
	var keys []string
	for range r.IntN(8) {
		keys = append(keys, planKeys[r.IntN(len(planKeys))])
	}
	return keys
}

// An item becomes the same envelopes with a cached plan, in a batch with others, as with one compiled for it alone.
func TestPlanReuse(t *testing.T) {
	envelopes := 0
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 1))
		logs, traces := plog.NewLogs(), ptrace.NewTraces()
		keys := [][]string{someKeys(r), someKeys(r), someKeys(r)}
		for range 1 + r.IntN(3) {
			rl, rs := logs.ResourceLogs().AppendEmpty(), traces.ResourceSpans().AppendEmpty()
			planAttributes(r, rl.Resource().Attributes(), someKeys(r))
			rl.Resource().Attributes().CopyTo(rs.Resource().Attributes())
			sl, ss := rl.ScopeLogs().AppendEmpty(), rs.ScopeSpans().AppendEmpty()
			planAttributes(r, sl.Scope().Attributes(), someKeys(r))
			for range r.IntN(30) {
				record, span := sl.LogRecords().AppendEmpty(), ss.Spans().AppendEmpty()
				planAttributes(r, record.Attributes(), keys[r.IntN(len(keys))])
				record.Attributes().CopyTo(span.Attributes())
				planValue(r, record.Body())
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
		metrics := planMetrics(r, logs)
		opts := fuzzOptions(byte(r.Int()))
		opts.SyslogSafe = r.IntN(4) > 0
		l, tr, m := translateLogs(t, opts, logs), translateTraces(t, opts, traces), translateMetrics(t, opts, metrics)
		alone := newRecorder(t)
		forEachLog(logs, func(log plog.Logs) { alone.take(NewLogs(opts).Translate(log)) })
		requireSame(t, alone, l)
		alone = newRecorder(t)
		forEachSpan(traces, func(span ptrace.Traces) { alone.take(NewTraces(opts).Translate(span)) })
		requireSame(t, alone, tr)
		alone = recordAll(t, NewMetrics(opts).Translate(pointsOfTheirOwn(metrics)))
		require.Equal(t, numbersOf(alone), numbersOf(m))
		require.Equal(t, alone.rejected, m.rejected)
		require.Equal(t, alone.truncated, m.truncated)
		envelopes += len(l.envelopes) + len(tr.envelopes) + len(m.envelopes)
	}
	assert.Greater(t, envelopes, 5000)
}

func forEachLog(logs plog.Logs, f func(plog.Logs)) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, record := range sl.LogRecords().All() {
				one := plog.NewLogs()
				resource := one.ResourceLogs().AppendEmpty()
				rl.Resource().CopyTo(resource.Resource())
				scope := resource.ScopeLogs().AppendEmpty()
				sl.Scope().CopyTo(scope.Scope())
				record.CopyTo(scope.LogRecords().AppendEmpty())
				f(one)
			}
		}
	}
}

func forEachSpan(traces ptrace.Traces, f func(ptrace.Traces)) {
	for _, rs := range traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				one := ptrace.NewTraces()
				resource := one.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(resource.Resource())
				scope := resource.ScopeSpans().AppendEmpty()
				ss.Scope().CopyTo(scope.Scope())
				span.CopyTo(scope.Spans().AppendEmpty())
				f(one)
			}
		}
	}
}

// pointsOfTheirOwn returns metrics with a resource for each point.
func pointsOfTheirOwn(metrics pmetric.Metrics) pmetric.Metrics {
	all := pmetric.NewMetrics()
	for _, rm := range metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				for i := range pointCount(m) {
					resource := all.ResourceMetrics().AppendEmpty()
					rm.Resource().CopyTo(resource.Resource())
					scope := resource.ScopeMetrics().AppendEmpty()
					sm.Scope().CopyTo(scope.Scope())
					one := scope.Metrics().AppendEmpty()
					m.CopyTo(one)
					keepPoint(one, i)
				}
			}
		}
	}
	return all
}

func pointCount(m pmetric.Metric) int {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		return m.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return m.Sum().DataPoints().Len()
	default:
		return m.Histogram().DataPoints().Len()
	}
}

// keepPoint removes all points but one.
func keepPoint(m pmetric.Metric, i int) {
	n := -1
	other := func() bool { n++; return n != i }
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		m.Gauge().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return other() })
	case pmetric.MetricTypeSum:
		m.Sum().DataPoints().RemoveIf(func(pmetric.NumberDataPoint) bool { return other() })
	default:
		m.Histogram().DataPoints().RemoveIf(func(pmetric.HistogramDataPoint) bool { return other() })
	}
}

// numbersOf returns each number of metrics with its series and time.
func numbersOf(out *recorder) map[string]int {
	numbers := map[string]int{}
	for _, e := range out.envelopes {
		for name, v := range e.GetGauge().GetMetrics() {
			numbers[fmt.Sprintf("%q %v %q %q %q %d", name, v.GetValue(), e.GetSourceId(), e.GetInstanceId(), e.GetTags(), e.GetTimestamp())]++
		}
		if c := e.GetCounter(); c != nil {
			numbers[fmt.Sprintf("%q %d %d %q %q %q %d", c.GetName(), c.GetTotal(), c.GetDelta(), e.GetSourceId(), e.GetInstanceId(), e.GetTags(), e.GetTimestamp())]++
		}
	}
	return numbers
}

// planMetrics returns points of all kinds with the attributes of logs.
func planMetrics(r *rand.Rand, logs plog.Logs) pmetric.Metrics {
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

// The plan of a point that has a tag of its own, such as le, is not that of a point with the same attributes without one.
func TestPlanOfOwnTag(t *testing.T) {
	metrics, gauge := oneMetric()
	gauge.SetName("g")
	point(gauge.SetEmptyGauge().DataPoints(), boundTag.key, "x").SetIntValue(1)
	histogram := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	histogram.SetName("h")
	put(histogram.SetEmptyHistogram().DataPoints().AppendEmpty().Attributes(), boundTag.key, "x")
	got := map[string]string{}
	for _, e := range translateMetrics(t, defaults(), metrics).envelopes {
		got[e.GetCounter().GetName()] = e.GetTags()[boundTag.key]
	}
	assert.Equal(t, map[string]string{"": "x", "h_count": "", "h_bucket": infinity}, got)
}

// Plans of a few lists of keys are cached. Items with a cached plan allocate nothing.
func TestPlanCache(t *testing.T) {
	cached := func(change func(i int, r plog.LogRecord)) int {
		logs := plog.NewLogs()
		records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
		for i := range 100 {
			r := records.AppendEmpty()
			r.Body().SetStr("hello")
			r.Attributes().PutInt("a", int64(i))
			change(i, r)
		}
		translator := NewLogs(defaults())
		translator.Translate(logs)(discard)
		return len(translator.plans.cached)
	}
	assert.Equal(t, 1, cached(func(int, plog.LogRecord) {}))
	assert.Equal(t, 5, cached(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i%5), "") }), "a few lists of keys")
	assert.Equal(t, cachedPlans, cached(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i), "") }), "each of its own")
	assert.Zero(t, cached(func(_ int, r plog.LogRecord) { put(r.Attributes(), manyAttributes(cachedPlanAttributes)...) }), "too many")
	assert.Zero(t, cached(func(_ int, r plog.LogRecord) { r.Attributes().PutStr(strings.Repeat("k", cachedKeyBytes+1), "") }), "a long key")

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

// Small batches, each with its own resource, allocate nothing either.
func TestSmallBatchAllocations(t *testing.T) {
	data := scoped{resource: manyAttributes(10), record: manyAttributes(10)}
	logs, metrics, traces := data.logs(), data.metrics(), data.traces()
	metric := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	point(monotonic(metric).DataPoints(), data.record...).SetIntValue(1)
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

// A key may be a part of a large string, such as a body that it was parsed from. The cache must not hold that string.
func TestKeyCacheHoldsNoData(t *testing.T) {
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

// The tags of scope and resource in cached plans are bounded.
func TestPlanCacheBytes(t *testing.T) {
	metrics := NewMetrics(Options{PrometheusNames: true})
	data := pmetric.NewMetrics()
	rm := data.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("big", strings.Repeat("x", 1_000_000))
	all := rm.ScopeMetrics().AppendEmpty().Metrics()
	for i := range 2 * cachedPlans {
		m := all.AppendEmpty()
		m.SetName("g")
		point(m.SetEmptyGauge().DataPoints(), fmt.Sprint("k", i), "v").SetIntValue(1)
	}
	metrics.Translate(data)(discard)
	kept := 0
	for _, p := range metrics.plans.cached {
		kept += cap(p.inherited)
	}
	assert.Positive(t, kept)
	assert.Less(t, kept, 2*(cachedPlanBytes+envelope.MaxSize))
}
