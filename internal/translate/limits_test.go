// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/binary"
	"encoding/json"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// nest makes v a value of nested maps and lists, so many deep; kinds decides, bit by bit, which of the two each is.
func nest(v pcommon.Value, depth int, kinds uint64) {
	for i := range depth {
		if kinds>>(i%64)&1 == 0 {
			v = v.SetEmptyMap().PutEmpty("k")
		} else {
			v = v.SetEmptySlice().AppendEmpty()
		}
	}
	v.SetStr("innermost")
}

// depthOf returns how deep maps and lists are nested in JSON.
func depthOf(t *testing.T, text string) int {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	depth, deepest := 0, 0
	for decoder.More() || depth > 0 {
		token, err := decoder.Token()
		require.NoError(t, err)
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return deepest
}

// nestedPlaces are the places of data where values can be nested. Each is translated with a value there, and returned as text.
var nestedPlaces = map[string]func(t *testing.T, nest func(pcommon.Value)) (text string, out *recorder){
	"body": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs, record := oneLog()
		nest(record.Body())
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		return string(out.envelopes[0].GetLog().GetPayload()), out
	},
	"attributes of a record without a body": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs, record := oneLog()
		nest(record.Attributes().PutEmpty("log.iostream"))
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		var attributes map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(out.envelopes[0].GetLog().GetPayload(), &attributes))
		return out.envelopes[0].GetTags()["log.iostream"], out
	},
	"body of an event": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs, record := oneLog()
		record.SetEventName("e")
		nest(record.Body())
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		return out.envelopes[0].GetEvent().GetBody(), out
	},
	"attribute of a resource": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs, record := oneLog()
		nest(logs.ResourceLogs().At(0).Resource().Attributes().PutEmpty("k"))
		record.Body().SetStr("hello")
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		return out.envelopes[0].GetTags()["k"], out
	},
	"attribute of the resource of an event": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs, record := oneLog()
		nest(logs.ResourceLogs().At(0).Resource().Attributes().PutEmpty("k"))
		record.SetEventName("e")
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		return out.envelopes[0].GetTags()["k"], out
	},
	"attribute of a scope": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		traces, _ := oneSpan()
		nest(traces.ResourceSpans().At(0).ScopeSpans().At(0).Scope().Attributes().PutEmpty("k"))
		out := recordAll(t, NewTraces(defaults()).Translate(traces))
		return out.envelopes[0].GetTags()["k"], out
	},
	"attribute of a gauge": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		metrics, metric := oneMetric()
		p := point(metric.SetEmptyGauge().DataPoints())
		p.SetIntValue(1)
		nest(p.Attributes().PutEmpty("k"))
		out := recordAll(t, NewMetrics(defaults()).Translate(metrics))
		return out.envelopes[0].GetTags()["k"], out
	},
	"identity": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		traces, span := oneSpan()
		nest(span.Attributes().PutEmpty("service.name"))
		out := recordAll(t, NewTraces(defaults()).Translate(traces))
		return out.envelopes[0].GetTags()["service.name"], out
	},
	"attribute of a span event": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		traces, span := oneSpan()
		nest(span.Events().AppendEmpty().Attributes().PutEmpty("k"))
		out := recordAll(t, NewTraces(options(spanEvents)).Translate(traces))
		var attributes map[string]json.RawMessage
		body := out.envelopes[0].GetEvent().GetBody()
		require.NoError(t, json.Unmarshal([]byte(body), &attributes))
		return string(attributes["k"]), out
	},
}

// FuzzDepth nests values as deep as the data says: what comes out is JSON of a bounded depth, and truncated if it has to be.
func FuzzDepth(f *testing.F) {
	f.Add(uint16(1), uint64(0))
	f.Add(uint16(63), uint64(0x5555))
	f.Add(uint16(64), uint64(0))
	f.Add(uint16(65), ^uint64(0))
	f.Add(uint16(65535), uint64(0xf0f0))
	f.Fuzz(func(t *testing.T, depth uint16, kinds uint64) {
		for place, translate := range nestedPlaces {
			text, out := translate(t, func(v pcommon.Value) { nest(v, int(depth), kinds) })
			most, want := 64, int(depth)
			if place == "attribute of a span event" {
				most-- // The attributes are a map themselves.
			}
			got := 0
			if depth > 0 {
				got = depthOf(t, text)
			}
			require.Equal(t, min(want, most), got, place)
			truncated := 0
			if want > most || place == "attributes of a record without a body" && want == most {
				truncated = 1
			}
			require.Equal(t, truncated, out.truncated, "truncated items, %s", place)
			require.Equal(t, want <= most, strings.Contains(text, "innermost"), place)
			require.Equal(t, 1, out.items)
		}
	})
}

// No depth takes more than a bounded stack.
func TestDepthStack(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(256 << 10))
	for place, translate := range nestedPlaces {
		text, out := translate(t, func(v pcommon.Value) { nest(v, 800_000, 0xaaaa) })
		assert.Less(t, len(text), 1000, place)
		assert.Equal(t, 1, out.truncated, place)
	}
}

// The memory of an item is bounded by the largest envelope, not by the size of its resource.
func TestItemMemory(t *testing.T) {
	const size = 16 << 20
	resource := scoped{resource: []any{"huge", strings.Repeat("v", size)}}

	logs := resource.logs()
	logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().SetStr("hello")
	l := NewLogs(defaults())
	out := recordAll(t, l.Translate(logs))
	assert.Len(t, out.envelopes, 1)
	assert.Less(t, cap(l.common), size/8)

	metrics := resource.metrics()
	metric := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	metric.SetName("m")
	monotonic(metric).SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	point(metric.Sum().DataPoints()).SetDoubleValue(1.5)
	m := NewMetrics(defaults())
	out = recordAll(t, m.Translate(metrics))
	assert.Len(t, out.envelopes, 1)
	assert.Less(t, cap(m.common), size/8)
}

// Gauges that wait for others in the same envelope take bounded memory, however large their tags are.
func TestGaugeGroupMemory(t *testing.T) {
	const points = 1000
	metrics, metric := oneMetric()
	put(metrics.ResourceMetrics().At(0).Resource().Attributes(), "large", strings.Repeat("v", 30_000))
	gauge := metric.SetEmptyGauge()
	for i := range points {
		p := point(gauge.DataPoints(), "i", int64(i))
		p.SetIntValue(int64(i))
	}
	m := NewMetrics(defaults())
	out := recordAll(t, m.Translate(metrics))
	out.requireItems(points)
	assert.Len(t, out.envelopes, points)
	held := 0
	for _, g := range m.gauges.groups {
		held += cap(g.common) + cap(g.metrics)
	}
	assert.Less(t, held, 2*gaugesAtMost)
}

// A large map is dropped: clearing it would take as long in every later use as filling it did.
func TestLargeMapsAreDropped(t *testing.T) {
	var s keySet
	fill := func(n int) {
		for i := range n {
			s.append(strconv.Itoa(i))
		}
	}
	fill(cachedKeys)
	s.reset()
	assert.NotNil(t, s.index)
	fill(cachedKeys + 1)
	s.reset()
	assert.Nil(t, s.index)
	fill(2 * searchAtMost)
	assert.Equal(t, 31, s.find("31"))
	assert.Equal(t, -1, s.find("32"))
}

// The timestamps of parts do not overflow.
func TestLogSplitLatestTimestamp(t *testing.T) {
	logs, record := oneLog()
	record.SetTimestamp(1<<63 - 1)
	record.Body().SetStr(strings.Repeat("a", 200))
	out := translateLogs(t, options(func(o *Options) { o.MaxPayload = 64 }), logs)
	require.Len(t, out.envelopes, 4)
	for i, e := range out.envelopes {
		assert.Equal(t, int64(1<<63-1)-int64(3-i)*1000, e.GetTimestamp())
	}
}

// A source type that is truncated with other tags stays ASCII: it becomes part of a PROCID.
func TestSourceTypeTruncatedWithOtherTags(t *testing.T) {
	logs, record := oneLog()
	record.Body().SetStr(strings.Repeat("a", 60<<10))
	put(record.Attributes(), "source_type", strings.Repeat("T", 89))
	for i := range 90 {
		put(record.Attributes(), "k"+strconv.Itoa(i), strings.Repeat("v", 80))
	}
	out := translateLogs(t, defaults(), logs)
	require.Len(t, out.envelopes, 1)
	tags := out.envelopes[0].GetTags()
	assert.True(t, strings.HasSuffix(tags["k0"], "…"))
	assert.Equal(t, strings.Repeat("T", len(tags["source_type"])), tags["source_type"])
	assert.Less(t, len(tags["source_type"]), 89)
	assert.Equal(t, 1, out.truncated)
}

// seriesKeys are attribute keys that are, or become, the same as others or as the exporter's own.
var seriesKeys = []string{
	"a.b", "a_b", "a-b", "a b", "host", "1a", "_1a", "key_1a", "__a", "_a", "key_a", "instance.id", "instance-id", "source.id", "le",
	"quantile", "exported_le", "exported.le", "exported_quantile", "exported_instance_id", "exported.instance.id", "exported_source_id",
	"cloudfoundry.app.id", "app_id", "app.id", "org.cloudfoundry.app_id", "org.cloudfoundry.instance.id", "service.name",
	"service.instance.id", "otel_scope_name", "größe", "gr__e", "", "_", ".",
}

// seriesKinds make a metric with one point with these attributes.
var seriesKinds = []func(pmetric.Metric, pcommon.Map){
	func(m pmetric.Metric, attrs pcommon.Map) {
		p := point(m.SetEmptyGauge().DataPoints())
		p.SetIntValue(1)
		attrs.CopyTo(p.Attributes())
	},
	func(m pmetric.Metric, attrs pcommon.Map) {
		p := point(monotonic(m).DataPoints())
		p.SetIntValue(1)
		attrs.CopyTo(p.Attributes())
	},
	func(m pmetric.Metric, attrs pcommon.Map) {
		monotonic(m).SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		p := point(m.Sum().DataPoints())
		p.SetDoubleValue(1)
		attrs.CopyTo(p.Attributes())
	},
	func(m pmetric.Metric, attrs pcommon.Map) {
		p := histogramPoint(m, []float64{1, 2}, 1, 2, 3)
		p.SetSum(4)
		attrs.CopyTo(p.Attributes())
	},
	func(m pmetric.Metric, attrs pcommon.Map) {
		p := exponentialPoint(m, 0)
		setBuckets(p, p.Positive(), 0, 1, 2)
		attrs.CopyTo(p.Attributes())
	},
	func(m pmetric.Metric, attrs pcommon.Map) {
		p := m.SetEmptySummary().DataPoints().AppendEmpty()
		p.SetCount(1)
		p.QuantileValues().AppendEmpty().SetQuantile(0.5)
		attrs.CopyTo(p.Attributes())
	},
}

// seriesOf returns name, source, instance and tags of each number of a point, encoded.
func seriesOf(t *testing.T, kind int, attrs pcommon.Map) map[string]bool {
	t.Helper()
	metrics, metric := oneMetric()
	metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Scope().SetName("scope")
	seriesKinds[kind](metric, attrs)
	out := translateMetrics(t, defaults(), metrics)
	require.Empty(t, out.rejected)
	require.Zero(t, out.truncated)
	series := map[string]bool{}
	for _, e := range out.envelopes {
		names := []string{e.GetCounter().GetName()}
		for name := range e.GetGauge().GetMetrics() {
			names = []string{name}
		}
		for _, name := range names {
			key, err := json.Marshal([]any{name, e.GetSourceId(), e.GetInstanceId(), e.GetTags()})
			require.NoError(t, err)
			require.False(t, series[string(key)], "one point makes a series twice: %s", key)
			series[string(key)] = true
		}
	}
	return series
}

// FuzzSeriesStayApart gives two points of one metric the same attribute keys and different values: they must not share a series. Keys
// are too short for a hash, and values have no semicolon, which joins values.
func FuzzSeriesStayApart(f *testing.F) {
	f.Add(byte(1), []byte{0, 1, 1, 2, 1, 1, 0, 3, 1})
	for seed := range uint64(12) {
		f.Add(byte(seed), randomScript(seed))
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		s := newScript(b)
		first, second := pcommon.NewMap(), pcommon.NewMap()
		for range s.below(8) {
			key := seriesKeys[s.below(len(seriesKeys))]
			if s.below(4) == 0 {
				key = strings.ToValidUTF8(string(s.bytes(s.below(16))), "?")
			}
			if _, isTag := renameKey(key); !isTag {
				continue // The identity itself.
			}
			value := func() string {
				return strings.ReplaceAll(strings.ToValidUTF8(string(s.bytes(s.below(3))), "?"), ";", ":")
			}
			first.PutStr(key, value())
			second.PutStr(key, value())
		}
		if first.Equal(second) {
			return
		}
		other := seriesOf(t, int(kind)%len(seriesKinds), second)
		for series := range seriesOf(t, int(kind)%len(seriesKinds), first) {
			require.False(t, other[series], "%s\nis of %v\nand of %v", series, first.AsRaw(), second.AsRaw())
		}
	})
}

// FuzzSyslogSize checks that the syslog message of an envelope is bounded, escapes included.
func FuzzSyslogSize(f *testing.F) {
	for kind := range byte(5) {
		f.Add(kind, `"`, uint16(33_300), uint16(10), byte(3))
		f.Add(kind, `]\`, uint16(10), uint16(33_000), byte(1))
		f.Add(kind, `a"`, uint16(30_000), uint16(30_000), byte(30))
	}
	f.Fuzz(func(t *testing.T, kind byte, piece string, length, other uint16, tags byte) {
		if piece == "" {
			return
		}
		text := func(n uint16) string { return strings.Repeat(piece, int(n)/len(piece)+1) }
		attrs := pcommon.NewMap()
		for i := range tags % 32 {
			binary := binary.BigEndian.AppendUint16([]byte("k"), uint16(i))
			attrs.PutStr(string(binary), text(length/uint16(i+1)))
		}
		var out *recorder
		switch kind % 5 {
		case 0:
			logs, record := oneLog()
			record.Body().SetStr(text(other))
			attrs.CopyTo(record.Attributes())
			out = translateLogs(t, defaults(), logs)
		case 1:
			logs, record := oneLog()
			record.SetEventName(text(other / 2))
			record.Body().SetStr(text(other / 2))
			attrs.CopyTo(record.Attributes())
			out = translateLogs(t, defaults(), logs)
		case 2:
			traces, span := oneSpan()
			span.SetName(text(other))
			attrs.CopyTo(span.Attributes())
			out = translateTraces(t, defaults(), traces)
		case 3:
			metrics, metric := oneMetric()
			metric.SetName("m" + text(other))
			metric.SetUnit(text(other / 4))
			p := point(metric.SetEmptyGauge().DataPoints())
			p.SetIntValue(1)
			attrs.CopyTo(p.Attributes())
			out = translateMetrics(t, options(otelNames), metrics)
		default:
			metrics, metric := oneMetric()
			metric.SetName("m" + text(other))
			p := histogramPoint(metric, []float64{1}, 1, 2)
			p.SetSum(1)
			attrs.CopyTo(p.Attributes())
			out = translateMetrics(t, options(otelNames), metrics)
		}
		for i, e := range out.envelopes {
			size := len(out.encoded[i]) + envelope.SyslogEscapes(e.GetCounter().GetName()) + envelope.SyslogEscapes(e.GetTimer().GetName()) +
				envelope.SyslogEscapes(e.GetEvent().GetTitle()) + envelope.SyslogEscapes(e.GetEvent().GetBody())
			for name, v := range e.GetGauge().GetMetrics() {
				size += envelope.SyslogEscapes(name) + envelope.SyslogEscapes(v.GetUnit())
			}
			for _, value := range e.GetTags() {
				size += envelope.SyslogEscapes(value)
			}
			require.LessOrEqual(t, size, envelope.MaxSize)
		}
	})
}
