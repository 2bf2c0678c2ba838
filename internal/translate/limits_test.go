// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// nest makes v a value nested depth deep. Each bit of kinds selects a map (0) or a slice (1).
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

// nestedPlace translates data with a nested value in one place and returns the resulting text.
type nestedPlace func(t *testing.T, nest func(pcommon.Value)) (text string, out *recorder)

// nestedPlaces are the places where data can have nested values.
var nestedPlaces = map[string]nestedPlace{
	"body": inLog(func(_ plog.ResourceLogs, r plog.LogRecord) pcommon.Value { return r.Body() }, payloadOf),
	"body of an event": inLog(func(_ plog.ResourceLogs, r plog.LogRecord) pcommon.Value {
		r.SetEventName("e")
		return r.Body()
	}, func(e *loggregator_v2.Envelope) string { return e.GetEvent().GetBody() }),
	"attributes of a record without a body": inLog(func(_ plog.ResourceLogs, r plog.LogRecord) pcommon.Value {
		r.Body().SetStr("")
		return r.Attributes().PutEmpty("k")
	}, func(e *loggregator_v2.Envelope) string {
		if !json.Valid(e.GetLog().GetPayload()) {
			return "not JSON: " + payloadOf(e)
		}
		return tagK(e)
	}),
	"attribute of a resource": inLog(func(rl plog.ResourceLogs, _ plog.LogRecord) pcommon.Value {
		return rl.Resource().Attributes().PutEmpty("k")
	}, tagK),
	"attribute of the resource of an event": inLog(func(rl plog.ResourceLogs, r plog.LogRecord) pcommon.Value {
		r.SetEventName("e")
		return rl.Resource().Attributes().PutEmpty("k")
	}, tagK),
	"attribute of a scope": inLog(func(rl plog.ResourceLogs, _ plog.LogRecord) pcommon.Value {
		return rl.ScopeLogs().At(0).Scope().Attributes().PutEmpty("k")
	}, tagK),
	"identity": inLog(func(_ plog.ResourceLogs, r plog.LogRecord) pcommon.Value {
		return r.Attributes().PutEmpty("service.name")
	}, func(e *loggregator_v2.Envelope) string { return e.GetTags()["service.name"] }),
	"attribute of a gauge": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		metrics, metric := oneMetric()
		p := point(asGauge(metric))
		p.SetIntValue(1)
		nest(p.Attributes().PutEmpty("k"))
		out := recordAll(t, NewMetrics(defaults()).Translate(metrics))
		return tagK(out.envelopes[0]), out
	},
	"attribute of a span event": func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		traces, span := oneSpan()
		nest(span.Events().AppendEmpty().Attributes().PutEmpty("k"))
		out := recordAll(t, NewTraces(options(spanEvents)).Translate(traces))
		var attributes map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(out.envelopes[0].GetEvent().GetBody()), &attributes))
		return string(attributes["k"]), out
	},
}

// inLog nests a value in the data of a log with the body hello.
func inLog(value func(plog.ResourceLogs, plog.LogRecord) pcommon.Value, text func(*loggregator_v2.Envelope) string) nestedPlace {
	return func(t *testing.T, nest func(pcommon.Value)) (string, *recorder) {
		logs := scoped{}.logs()
		nest(value(logs.ResourceLogs().At(0), recordOf(logs)))
		out := recordAll(t, NewLogs(defaults()).Translate(logs))
		return text(out.envelopes[0]), out
	}
}

func payloadOf(e *loggregator_v2.Envelope) string { return string(e.GetLog().GetPayload()) }

func tagK(e *loggregator_v2.Envelope) string { return e.GetTags()["k"] }

// FuzzDepth nests values to any depth. The output is JSON of bounded depth, and counts as truncated if the value was deeper.
func FuzzDepth(f *testing.F) {
	f.Add(uint16(1), uint64(0))
	f.Add(uint16(63), uint64(0x5555))
	f.Add(uint16(64), uint64(0))
	f.Add(uint16(65), ^uint64(0))
	f.Add(uint16(65535), uint64(0xf0f0))
	f.Fuzz(func(t *testing.T, depth uint16, kinds uint64) {
		for place, translate := range nestedPlaces {
			text, out := translate(t, func(v pcommon.Value) { nest(v, int(depth), kinds) })
			limit, want := 64, int(depth)
			if place == "attribute of a span event" {
				limit-- // The attributes themselves are a map.
			}
			require.True(t, depth == 0 || json.Valid([]byte(text)), place)
			require.Equal(t, min(want, limit), strings.Count(text, "{")+strings.Count(text, "["), place)
			truncated := 0
			if want > limit || place == "attributes of a record without a body" && want == limit {
				truncated = 1
			}
			require.Equal(t, truncated, out.truncated, "truncated items, %s", place)
			require.Equal(t, want <= limit, strings.Contains(text, "innermost"), place)
			require.Equal(t, 1, out.items)
		}
	})
}

// Stack use is bounded at any depth.
func TestDepthStack(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(256 << 10))
	for place, translate := range nestedPlaces {
		text, out := translate(t, func(v pcommon.Value) { nest(v, 800_000, 0xaaaa) })
		assert.Less(t, len(text), 1000, place)
		assert.Equal(t, 1, out.truncated, place)
	}
}

// The memory for an item is bounded by the largest envelope, not by the size of its resource.
func TestItemMemory(t *testing.T) {
	const size = 16 << 20
	resource := scoped{resource: []any{"huge", strings.Repeat("v", size)}}

	l := NewLogs(defaults())
	assert.Len(t, recordAll(t, l.Translate(resource.logs())).envelopes, 1)
	assert.Less(t, cap(l.common), size/8)

	metrics := resource.metrics()
	point(deltas(metricOf(metrics)).DataPoints()).SetDoubleValue(1.5)
	m := NewMetrics(defaults())
	assert.Len(t, recordAll(t, m.Translate(metrics)).envelopes, 1)
	assert.Less(t, cap(m.common), size/8)
}

// Gauge points that wait for others to share an envelope take bounded memory, however large their tags are.
func TestGaugeGroupMemory(t *testing.T) {
	const points = 1000
	metrics, metric := oneMetric()
	put(metrics.ResourceMetrics().At(0).Resource().Attributes(), "large", strings.Repeat("v", 30_000))
	gauge := metric.SetEmptyGauge()
	for i := range points {
		point(gauge.DataPoints(), "i", int64(i)).SetIntValue(int64(i))
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

// A large map is dropped, because clearing it would take as long on every later use as filling it did.
func TestKeySetReset(t *testing.T) {
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

// A source type truncated along with other tags stays ASCII, because it becomes part of a PROCID.
func TestSourceTypeTruncatedWithOtherTags(t *testing.T) {
	record := []any{"source_type", strings.Repeat("T", 89)}
	for i := range 90 {
		record = append(record, "k"+strconv.Itoa(i), strings.Repeat("v", 80))
	}
	out := item{kind: "log", name: strings.Repeat("a", 60<<10), data: scoped{record: record}}.translate(t)
	require.Len(t, out.envelopes, 1)
	tags := out.envelopes[0].GetTags()
	assert.True(t, strings.HasSuffix(tags["k0"], "…"))
	assert.Equal(t, strings.Repeat("T", len(tags["source_type"])), tags["source_type"])
	assert.Less(t, len(tags["source_type"]), 89)
	assert.Equal(t, 1, out.truncated)
}

// An item with a tag value that is nested too deeply counts as truncated, wherever the tag comes from.
func TestDeepTags(t *testing.T) {
	var deep any = "x"
	for range maxDepth + 1 {
		deep = []any{deep}
	}
	for name, data := range map[string]scoped{
		"attribute":                           {record: []any{"k", deep}},
		"of the scope":                        {scope: []any{"k", deep}},
		"of the resource":                     {resource: []any{"k", deep}},
		"with one of the exporter's own keys": {resource: []any{"severity", deep, "span_kind", deep}},
		"joined":                              {record: []any{"k.k", deep, "k_k", "x"}},
		"joined, of the scope":                {scope: []any{"k.k", deep, "k_k", "x"}},
	} {
		for _, kind := range slices.Concat([]string{"log", "event", "span"}, metricKinds) {
			assert.Equal(t, 1, item{kind: kind, name: "x", data: data}.translate(t).truncated, "%s: %s", kind, name)
		}
	}
}

// A failed attempt with the plan of the previous item truncates nothing. Of two keys that become x, the first in byte order wins.
func TestWrongPlanTruncation(t *testing.T) {
	logs := scoped{record: []any{"x", "", "y", "1"}}.logs()
	first := recordOf(logs)
	records := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	second := records.AppendEmpty()
	first.Body().CopyTo(second.Body())
	value := second.Attributes().PutEmpty("x")
	for range maxDepth + 1 {
		value = value.SetEmptySlice().AppendEmpty()
	}
	put(second.Attributes(), "org.cloudfoundry.x", "wins")
	out := translateLogs(t, defaults(), logs)
	assert.Equal(t, "wins", out.envelopes[1].GetTags()["x"])
	assert.Zero(t, out.truncated)
}

// seriesKeys are attribute keys that are or become equal to each other or to the exporter's own keys.
var seriesKeys = []string{
	"a.b", "a_b", "a-b", "a b", "host", "1a", "_1a", "key_1a", "__a", "_a", "key_a", "instance.id", "instance-id", "source.id", "le",
	"quantile", "exported_le", "exported.le", "exported_quantile", "exported_instance_id", "exported.instance.id", "exported_source_id",
	"cloudfoundry.app.id", "app_id", "app.id", "org.cloudfoundry.app_id", "org.cloudfoundry.instance.id", "service.name",
	"service.instance.id", "otel_scope_name", "größe", "gr__e", "", "_", ".",
}

// seriesOf returns the series of a point: the encoded name, IDs and tags of each of its numbers.
func seriesOf(t *testing.T, kind string, attrs pcommon.Map) map[string]bool {
	t.Helper()
	data := scoped{scope: []any{"otel_scope_name", "scope"}}
	for key, value := range attrs.All() {
		data.record = append(data.record, key, value.Str())
	}
	out := item{kind: kind, data: data}.translate(t)
	require.Empty(t, out.rejected)
	require.Zero(t, out.truncated)
	series := map[string]bool{}
	for _, e := range out.envelopes {
		gauges := slices.Collect(maps.Keys(e.GetGauge().GetMetrics())) // At most one.
		key, err := json.Marshal([]any{e.GetCounter().GetName(), gauges, e.GetSourceId(), e.GetInstanceId(), e.GetTags()})
		require.NoError(t, err)
		require.False(t, series[string(key)], "the series of one point differ: %s", key)
		series[string(key)] = true
	}
	return series
}

// FuzzSeriesStayApart checks that two points of one metric with the same attribute keys and different values do not share a series. Keys
// are too short to be hashed, and values contain no semicolon, which would separate joined values.
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
				continue // Part of the identity.
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
		of := metricKinds[int(kind)%len(metricKinds)]
		other := seriesOf(t, of, second)
		for series := range seriesOf(t, of, first) {
			require.False(t, other[series], "%s\nbelongs to %v\nand to %v", series, first.AsRaw(), second.AsRaw())
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
		it := item{kind: []string{"log", "event", "span", "gauge", "histogram"}[kind%5], name: text(other), opts: otelNames}
		switch it.kind {
		case "event":
			it.name, it.other = text(other/2), text(other/2)
		case "gauge":
			it.other = text(other / 4)
		}
		for i := range tags % 32 {
			it.data.record = append(it.data.record, fmt.Sprintf("k%d", i), text(length/uint16(i+1)))
		}
		out := it.translate(t)
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
