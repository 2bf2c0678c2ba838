// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// planKeys are attribute keys of all kinds: plain, renamed, too long, equal once cleaned, the exporter's own, and identity keys.
var planKeys = []string{
	"a", "b", "http.method", "cloudfoundry.app.name", "org.cloudfoundry.job", strings.Repeat("k", 40), "ü", "u u", "u=u", "",
	"severity", "trace_id", "span_id", "source_type", "process_type", "cloudfoundry.process.type", "event_name", "log.iostream",
	"parent_span_id", "span_kind", "peer_type", "status_code", "status_message", "clock_skew",
	"source_id", "instance_id", "cloudfoundry.app.id", "cloudfoundry.app.instance.id", "service.name", "service.instance.id", "part", boundTag.key,
}

// items are the records, spans or points of one slice of a batch.
type items struct {
	len      int
	attrs    func(i int) pcommon.Map
	repeat   func(i int) // appends a copy
	removeIf func(func() bool)
}

func itemsOf[I interface {
	Attributes() pcommon.Map
	CopyTo(dest I)
}](slice interface {
	Len() int
	At(i int) I
	AppendEmpty() I
	RemoveIf(f func(I) bool)
},
) items {
	return items{
		len:      slice.Len(),
		attrs:    func(i int) pcommon.Map { return slice.At(i).Attributes() },
		repeat:   func(i int) { slice.At(i).CopyTo(slice.AppendEmpty()) },
		removeIf: func(remove func() bool) { slice.RemoveIf(func(I) bool { return remove() }) },
	}
}

func itemsOfLogs(logs plog.Logs) (all []items) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			all = append(all, itemsOf(sl.LogRecords()))
		}
	}
	return all
}

func itemsOfTraces(traces ptrace.Traces) (all []items) {
	for _, rs := range traces.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			all = append(all, itemsOf(ss.Spans()))
		}
	}
	return all
}

func itemsOfMetrics(metrics pmetric.Metrics) (all []items) {
	for _, rm := range metrics.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					all = append(all, itemsOf(m.Gauge().DataPoints()))
				case pmetric.MetricTypeSum:
					all = append(all, itemsOf(m.Sum().DataPoints()))
				case pmetric.MetricTypeHistogram:
					all = append(all, itemsOf(m.Histogram().DataPoints()))
				case pmetric.MetricTypeExponentialHistogram:
					all = append(all, itemsOf(m.ExponentialHistogram().DataPoints()))
				case pmetric.MetricTypeSummary:
					all = append(all, itemsOf(m.Summary().DataPoints()))
				}
			}
		}
	}
	return all
}

// An item becomes the same envelopes with a cached plan, in a batch with others, as with a plan compiled for it alone.
func TestPlanReuse(t *testing.T) {
	t.Run("logs", func(t *testing.T) { signalLogs.reusePlans(t, plog.NewLogs, itemsOfLogs) })
	t.Run("metrics", func(t *testing.T) { signalMetrics.reusePlans(t, pmetric.NewMetrics, itemsOfMetrics) })
	t.Run("traces", func(t *testing.T) { signalTraces.reusePlans(t, ptrace.NewTraces, itemsOfTraces) })
}

func (s signal[D]) reusePlans(t *testing.T, empty func() D, itemsOf func(D) []items) {
	envelopes := 0
	for seed := range uint64(40) {
		data, r := s.random(newScript(randomScript(seed))), newScript(slices.Repeat(randomScript(seed+1000), 50))
		var keys [3][]string // Plans are cached across scopes.
		for i := range keys {
			for range r.below(8) {
				keys[i] = append(keys[i], planKeys[r.below(len(planKeys))])
			}
		}
		for _, all := range itemsOf(data) {
			for i := range all.len {
				if r.bool() {
					all.attrs(i).Clear()
				}
				for _, key := range keys[r.below(len(keys))] {
					all.attrs(i).PutEmpty(key)
				}
			}
			// The same keys with other values, and sometimes one more key.
			for i := range all.len * 3 {
				all.repeat(i)
				attrs := all.attrs(i + all.len)
				for _, value := range attrs.All() {
					r.value(value, 2)
					if r.below(64) == 1 {
						nest(value, maxDepth+1, 1)
					}
				}
				if r.below(16) == 1 {
					r.value(attrs.PutEmpty(planKeys[r.below(len(planKeys))]), 2)
				}
			}
		}
		opts := fuzzOptions(byte(seed * 37))
		opts.SyslogSafe = seed%4 > 0
		together := s.translate(t, opts, data)
		alone, fractions := newRecorder(t), newFractions()
		for i := range s.count(data) {
			one, n := empty(), -1
			data.CopyTo(one)
			for _, all := range itemsOf(one) {
				all.removeIf(func() bool { n++; return n != i })
			}
			translator := s.new(opts)
			if m, ok := any(translator).(*Metrics); ok {
				m.fractions = fractions // Fractions are kept between batches.
			}
			alone.take(translator.Translate(one))
		}
		if _, metrics := any(data).(pmetric.Metrics); metrics {
			// In one batch, gauges share envelopes.
			requireSameEnvelopes(t, apart(alone.envelopes), apart(together.envelopes))
			alone.encoded = together.encoded
		}
		requireSame(t, alone, together)
		envelopes += len(together.envelopes)
	}
	assert.Greater(t, envelopes, 400)
}

// A point with a tag of its own, such as le, does not use the plan of a point with the same attributes but without such a tag.
func TestPlanOwnTag(t *testing.T) {
	metrics := scoped{record: []any{boundTag.key, "x"}}.metrics()
	histogram := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	histogram.SetName("h")
	put(histogram.SetEmptyHistogram().DataPoints().AppendEmpty().Attributes(), boundTag.key, "x")
	got := map[string]string{}
	for _, e := range translateMetrics(t, defaults(), metrics).envelopes {
		got[e.GetCounter().GetName()] = e.GetTags()[boundTag.key]
	}
	assert.Equal(t, map[string]string{"": "x", "h_count": "", "h_bucket": infinity}, got)
}

// Plans are cached, up to bounds on their number and size.
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
	assert.Equal(t, 5, cached(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i%5), "") }), "5 lists of keys")
	assert.Equal(t, cachedPlans, cached(func(i int, r plog.LogRecord) { r.Attributes().PutStr(fmt.Sprint(i), "") }), "a list of keys per record")
	assert.Zero(t, cached(func(_ int, r plog.LogRecord) { put(r.Attributes(), manyAttributes(cachedPlanAttributes)...) }), "too many attributes")
	assert.Zero(t, cached(func(_ int, r plog.LogRecord) { r.Attributes().PutStr(strings.Repeat("k", cachedKeyBytes+1), "") }), "a long key")
}

// Small batches, each with its own resource, allocate nothing.
func TestSmallBatchAllocations(t *testing.T) {
	data := scoped{resource: manyAttributes(10), record: append(manyAttributes(10), "int", int64(1))}
	logs, metrics, traces := data.logs(), data.metrics(), data.traces()
	recordOf(logs).SetTraceID(pcommon.TraceID{1})
	recordOf(logs).SetSeverityNumber(plog.SeverityNumberInfo)
	itemsOfLogs(logs)[0].repeat(0) // The copy uses the cached plan.
	point(asCounter(metricOf(metrics)), data.record...).SetIntValue(1)
	l, p, s := NewLogs(defaults()), NewMetrics(defaults()), NewTraces(defaults())
	assert.Zero(t, testing.AllocsPerRun(100, func() { l.Translate(logs)(discard) }), "logs")
	assert.Zero(t, testing.AllocsPerRun(100, func() { p.Translate(metrics)(discard) }), "metrics")
	assert.Zero(t, testing.AllocsPerRun(100, func() { s.Translate(traces)(discard) }), "traces")
}

// discard continues the iteration. With a range loop, the body would be an allocation for each batch.
func discard(Envelope) bool { return true }

// heap returns the heap memory in use, in bytes.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A translator holds little memory after any sequence of batches.
func TestHeap(t *testing.T) {
	big := strings.Repeat("x", 20_000_000)
	// large returns n attributes with values of the given size. own has the exporter's own keys.
	large := func(n, bytes int) (attributes []any) {
		for i := range n {
			attributes = append(attributes, fmt.Sprint("key", i), big[:bytes])
		}
		return attributes
	}
	var own []any
	for _, key := range ownNames {
		own = append(own, key, big[:70_000])
	}
	for name, batch := range map[string]func(i int) scoped{
		// A key may be part of a large string, such as the body that it was parsed from.
		"keys within large strings": func(i int) scoped {
			key, _, _ := strings.Cut(fmt.Sprintf("key%04d=value ", i)+strings.Repeat("x", 100_000), "=")
			return scoped{record: []any{key, "1"}}
		},
		"different keys, large resource": func(i int) scoped {
			return scoped{resource: []any{"k", big[:1_000_000]}, record: []any{fmt.Sprint("k", i), "v"}}
		},
		"different keys, resource with the exporter's own keys": func(i int) scoped {
			return scoped{resource: own, record: []any{fmt.Sprint("k", i), "v"}}
		},
		"one resource that fits no envelope": func(i int) scoped {
			if i > 0 {
				return scoped{}
			}
			return scoped{resource: large(8000, 3000)}
		},
		"one item with large IDs": func(i int) scoped {
			if i > 0 {
				return scoped{}
			}
			return scoped{resource: []any{"service.instance.id", strings.Clone(big)}, record: []any{"service.name", strings.Clone(big)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			logs, metrics := NewLogs(defaults()), NewMetrics(defaults())
			before := heap()
			for i := range 3 * cachedPlans {
				data := batch(i)
				logs.Translate(data.logs())(discard)
				points := data.metrics()
				point(asGauge(metricOf(points)), data.record...).SetIntValue(1)
				metrics.Translate(points)(discard)
			}
			assert.Less(t, heap()-before, 8<<20)
			runtime.KeepAlive(logs)
			runtime.KeepAlive(metrics)
		})
	}
}
