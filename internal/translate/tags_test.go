// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// tagRow is a span or a point with attributes, and the expected tags. The span has none of the exporter's own; the point also has
// instance_id.
type tagRow struct {
	options                 func(*Options)
	metrics                 bool
	resource, scope, record []any
	name, version           string // of the scope
	want                    []string
}

func (row tagRow) run(t *testing.T) {
	t.Helper()
	data, opts := scoped{row.resource, row.scope, row.record}, options(row.options)
	if row.metrics {
		requireTags(t, append(row.want, "instance_id", "0"), translateMetrics(t, opts, data.metrics()))
		return
	}
	traces := data.traces()
	scope := traces.ResourceSpans().At(0).ScopeSpans().At(0).Scope()
	scope.SetName(row.name)
	scope.SetVersion(row.version)
	out := translateTraces(t, opts, traces)
	require.Len(t, out.envelopes, 1)
	requireTags(t, row.want, out)
	assert.Zero(t, out.truncated)
}

func requireTags(t *testing.T, want []string, out *recorder) {
	t.Helper()
	require.NotEmpty(t, out.envelopes)
	require.Equal(t, newEnvelope(&loggregator_v2.Timer{}, want...).GetTags(), out.envelopes[0].GetTags())
}

func TestTags(t *testing.T) {
	for name, row := range map[string]tagRow{
		"none": {},
		"all scopes": {
			resource: []any{"r", "1"}, scope: []any{"s", "2"}, record: []any{"i", "3"}, want: []string{"r", "1", "s", "2", "i", "3"},
		},
		"record over scope over resource": {
			resource: []any{"a", "resource", "b", "resource", "c", "resource"},
			scope:    []any{"a", "scope", "b", "scope"},
			record:   []any{"a", "record"},
			want:     []string{"a", "record", "b", "scope", "c", "resource"},
		},
		"empty value over another": {resource: []any{"a", "resource"}, record: []any{"a", ""}, want: []string{"a", ""}},
		"scope name and version": {
			name: "lib", version: "1.2", want: []string{"otel_scope_name", "lib", "otel_scope_version", "1.2"},
		},
		"only a scope name":    {name: "lib", want: []string{"otel_scope_name", "lib"}},
		"only a scope version": {version: "1.2", want: []string{"otel_scope_version", "1.2"}},
		"scope name over an attribute of the resource": {
			name:     "lib",
			resource: []any{"otel_scope_name", "r"}, scope: []any{"otel_scope_name", "s"},
			want: []string{"otel_scope_name", "lib"},
		},
		"identity attributes that stay tags": {
			resource: []any{
				"service.name", "s", "service.instance.id", "1", "cloudfoundry.system.id", "c", "cloudfoundry.system.instance.id", "2",
			},
			want: []string{
				"service.name", "s", "service.instance.id", "1", "cloudfoundry.system.id", "c", "cloudfoundry.system.instance.id", "2",
			},
		},

		// Keys that become equal.
		"record over resource": {
			resource: []any{"a b", "resource"}, record: []any{"a=b", "record"}, want: []string{"a_b", "record"},
		},
		"record over resource, against the byte order": {
			resource: []any{"a b", "resource"}, scope: []any{"a=b", "scope"}, want: []string{"a_b", "scope"},
		},
		"first in byte order": {
			record: []any{"a b", "space", "a=b", "equals", "a_b", "underscore"}, want: []string{"a_b", "space"},
		},
		"first in byte order, last in the data": {
			record: []any{"a_b", "underscore", "a=b", "equals", "a b", "space"}, want: []string{"a_b", "space"},
		},
		"first in byte order on the resource": {
			resource: []any{"a_b", "underscore", "a b", "space"}, want: []string{"a_b", "space"},
		},
		"renamed, order of the original keys": {
			record: []any{"cloudfoundry.app.id", "cf", "app_id", "plain", "org.cloudfoundry.app_id", "receiver"},
			want:   []string{"app_id", "plain"},
		},
		"renamed, record over resource": {
			resource: []any{"app_id", "resource"}, record: []any{"org.cloudfoundry.app_id", "record"}, want: []string{"app_id", "record"},
		},
		"original key also on the record": {
			resource: []any{"a b", "resource space", "a=b", "resource equals"}, record: []any{"a=b", "record"},
			want: []string{"a_b", "record"},
		},
		"among many": {
			record: append([]any{"a_b", "underscore"}, append(manyAttributes(20), "a b", "space")...),
			want:   append([]string{"a_b", "space"}, manyTags(20)...),
		},
		"metrics, joined in byte order of the keys": {
			metrics: true, resource: []any{"a.b", "resource"}, record: []any{"a_b", "underscore", "a.b", "dot", "a-b", "dash"},
			want: []string{"a_b", "dash;dot;underscore"},
		},
		"metrics, joined on the resource": {metrics: true, resource: []any{"a_b", "x", "a.b", "a"}, want: []string{"a_b", "a;x"}},
		"metrics, several at once": {
			metrics: true, record: []any{"a.b", "1", "c.d", "2", "e", "3", "a_b", "4", "c_d", "5"},
			want: []string{"a_b", "1;4", "c_d", "2;5", "e", "3"},
		},
		"metrics, joined after renaming": {
			metrics: true, record: []any{"cloudfoundry.app.id", "cf", "app_id", "plain"}, want: []string{"app_id", "plain;cf"},
		},
		"metrics, joined as an exported key": {
			metrics: true, record: []any{"instance.id", "dot", "exported.instance.id", "exported"},
			want: []string{"exported_instance_id", "exported;dot"},
		},
		"metrics, joined, an empty value": {metrics: true, record: []any{"a.b", "", "a_b", "x"}, want: []string{"a_b", ";x"}},
		"metrics, joined among many": {
			metrics: true, record: append([]any{"a_b", "underscore"}, append(manyAttributes(20), "a b", "space")...),
			want: append([]string{"a_b", "space;underscore"}, manyTags(20)...),
		},
		"metrics, not joined": {
			options: otelNames, metrics: true, record: []any{"a_b", "underscore", "a b", "space"}, want: []string{"a_b", "space"},
		},

		"unsafe, any character": {options: unsafeKeys, record: []any{"a =]\"é\n", "x"}, want: []string{"a =]\"é\n", "x"}},
		"unsafe, any length":    {options: unsafeKeys, record: []any{strings.Repeat("k", 200), "x"}, want: []string{strings.Repeat("k", 200), "x"}},
		"unsafe, empty":         {options: unsafeKeys, record: []any{"", "x"}, want: []string{"", "x"}},
		"unsafe, renamed":       {options: unsafeKeys, record: []any{"cloudfoundry.app.id", "x"}, want: []string{"app_id", "x"}},
		"unsafe, not UTF-8":     {options: unsafeKeys, record: []any{"a\xff", "x"}, want: []string{"a\uFFFD", "x"}},
		"unsafe, equal as valid UTF-8": {
			options: unsafeKeys, resource: []any{"a\xfe", "resource"}, record: []any{"a\xff", "record"}, want: []string{"a\uFFFD", "record"},
		},
		"unsafe, equal as valid UTF-8, on one record": {
			options: unsafeKeys, record: []any{"a\xfe", "first in byte order", "a\xff", "second"}, want: []string{"a\uFFFD", "first in byte order"},
		},
	} {
		t.Run(name, row.run)
	}
}

func TestManyTags(t *testing.T) {
	for _, n := range []int{15, 16, 17, 18, 40, 300} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			var row tagRow
			for i := range n {
				key := fmt.Sprintf("k%d", i)
				row.resource = append(row.resource, key, "resource")
				want := "resource"
				if i%2 == 0 {
					row.scope = append(row.scope, key, "scope")
					want = "scope"
				}
				if i%3 == 0 {
					row.record = append(row.record, key, "record")
					want = "record"
				}
				row.want = append(row.want, key, want)
			}
			row.run(t)
		})
	}
}

// A value becomes the same text in a tag, in the body of an event and, except for strings and bytes, in a payload.
func TestValues(t *testing.T) {
	for name, row := range map[string]struct {
		value any
		want  string
	}{
		"string":                   {"x", "x"},
		"empty string":             {"", ""},
		"nil":                      {nil, ""},
		"true":                     {true, "true"},
		"false":                    {false, "false"},
		"int":                      {int64(-12), "-12"},
		"zero":                     {int64(0), "0"},
		"double":                   {2.5, "2.5"},
		"large double":             {1e21, "1e+21"},
		"NaN":                      {math.NaN(), "NaN"},
		"infinity":                 {math.Inf(-1), "-Infinity"},
		"bytes":                    {[]byte{1, 2, 255}, "AQL/"},
		"slice":                    {[]any{"a", int64(1), true, nil}, `["a",1,true,null]`},
		"empty slice":              {[]any{}, `[]`},
		"map":                      {map[string]any{"b": "<&>", "a": map[string]any{"c": 1.5}}, `{"a":{"c":1.5},"b":"<&>"}`},
		"empty map":                {map[string]any{}, `{}`},
		"bytes in a map":           {map[string]any{"a": []byte{1, 2, 255}}, `{"a":"AQL/"}`},
		"NaN in a map":             {map[string]any{"a": math.NaN(), "b": "c"}, `{"a":"NaN","b":"c"}`},
		"infinity in a slice":      {[]any{[]any{math.Inf(1)}, map[string]any{"a": math.Inf(-1)}}, `[["Infinity"],{"a":"-Infinity"}]`},
		"not UTF-8":                {"a\xff\xfeb\xe4\xb8", "a\uFFFDb\uFFFD"},
		"not UTF-8, in a map":      {map[string]any{"a": "b\xff"}, `{"a":"b\ufffd"}`},
		"line ends and NULs":       {"a\nb\x00", "a\nb\x00"},
		"characters outside ASCII": {"世界 😀 é", "世界 😀 é"},
	} {
		t.Run(name, func(t *testing.T) {
			tagRow{record: []any{"k", row.value}, want: []string{"k", row.want}}.run(t)
			logRow{record: named("e", row.value), want: eventOf("e", row.want)}.run(t)
			switch row.value.(type) {
			case nil, string, []byte: // See TestLogPayload.
			default:
				logRow{record: body(row.value), want: stdout(row.want)}.run(t)
			}
		})
	}
}

func TestCloudFoundryTagKeys(t *testing.T) {
	for key, want := range map[string]string{
		"cloudfoundry.app.id":         "app_id",
		"cloudfoundry.app.name":       "app_name",
		"cloudfoundry.space.id":       "space_id",
		"cloudfoundry.space.name":     "space_name",
		"cloudfoundry.org.id":         "organization_id",
		"cloudfoundry.org.name":       "organization_name",
		"cloudfoundry.process.id":     "process_id",
		"cloudfoundry.process.type":   "process_type",
		"org.cloudfoundry.app_id":     "app_id",
		"org.cloudfoundry.deployment": "deployment",
		"org.cloudfoundry.x.y":        "x.y",
		"org.cloudfoundry":            "org.cloudfoundry",
		"cloudfoundry.app.id.more":    "cloudfoundry.app.id.more",
		"app_id":                      "app_id",
		// Not tags.
		"cloudfoundry.app.instance.id": "",
		"source_id":                    "",
		"instance_id":                  "",
		"org.cloudfoundry.source_id":   "",
		"org.cloudfoundry.instance_id": "",
	} {
		t.Run(key, func(t *testing.T) {
			var tags []string
			if want != "" {
				tags = []string{want, "x"}
			}
			tagRow{resource: []any{key, "x"}, want: tags}.run(t)
			tagRow{scope: []any{key, "x"}, want: tags}.run(t)
			tagRow{record: []any{key, "x"}, want: tags}.run(t)
		})
	}
}

func TestMetricTagKeys(t *testing.T) {
	for name, row := range map[string]struct {
		options func(*Options)
		key     string
		want    string
	}{
		"label":                        {key: "http.method", want: "http_method"},
		"already a label":              {key: "http_method", want: "http_method"},
		"leading digit":                {key: "2xx", want: "key_2xx"},
		"leading underscore":           {key: "_x", want: "key_x"},
		"two leading underscores":      {key: "__x", want: "__x"},
		"after renaming":               {key: "org.cloudfoundry.a.b", want: "a_b"},
		"renamed":                      {key: "cloudfoundry.app.id", want: "app_id"},
		"letter outside ASCII":         {key: "größe", want: "gr__e"},
		"letter outside ASCII, unsafe": {options: unsafeKeys, key: "größe.x", want: "gr__e_x"},
		"long, hashed as a label": {
			key: "http.request.header.content_length", want: "http_request_header_con_" + fnv1a("http_request_header_content_length"),
		},
		"otel":                       {options: otelNames, key: "http.method", want: "http.method"},
		"otel, made safe for syslog": {options: otelNames, key: "http method", want: "http_method"},
	} {
		t.Run(name, func(t *testing.T) {
			tagRow{options: row.options, metrics: true, record: []any{row.key, "x"}, want: []string{row.want, "x"}}.run(t)
		})
	}
}

func unsafeKeys(o *Options) { o.SyslogSafe = false }

func otelNames(o *Options) { o.PrometheusNames = false }

// Only for metrics, keys become labels and the instance ID is a tag.
func TestTagsOfLogsAndTraces(t *testing.T) {
	data := scoped{resource: []any{"instance_id", "7"}, record: []any{"http.method", "x"}}
	requireTags(t, []string{"http.method", "x", "source_type", "OTEL"}, translateLogs(t, defaults(), data.logs()))
	requireTags(t, []string{"http.method", "x"}, translateTraces(t, defaults(), data.traces()))
}

func TestSyslogSafeKeys(t *testing.T) {
	for name, row := range map[string]struct{ key, want string }{
		"safe":                          {"http.method", "http.method"},
		"all characters allowed":        {"!#$%&'()*+,-./:;<>?@[\\^_`{|}~", "!#$%&'()*+,-./:;<>?@[\\^_`{|}~"},
		"space, equals, bracket, quote": {` =]"`, "____"},
		"control characters":            {"a\x00\t\n\x7fb", "a____b"},
		"one underscore per character":  {"é世😀", "___"},
		"not UTF-8":                     {"a\xff\xfeb", "a__b"},
		"empty":                         {"", "_"},
		"empty once renamed":            {"org.cloudfoundry.", "_"},
		"32 characters":                 {strings.Repeat("k", 32), strings.Repeat("k", 32)},
		"32 characters, more bytes":     {strings.Repeat("é", 32), strings.Repeat("_", 32)},
		// The hash is 32-bit FNV-1a, which anyone can compute.
		"33 characters":             {strings.Repeat("k", 33), strings.Repeat("k", 23) + "_" + fnv1a(strings.Repeat("k", 33))},
		"gen_ai":                    {"gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_3d96205f"},
		"content_length":            {"http.request.header.content_length", "http.request.header.con_7c4d350b"},
		"last_terminated_reason":    {"k8s.container.status.last_terminated_reason", "k8s.container.status.la_c92040cd"},
		"exactly 32 after renaming": {"org.cloudfoundry." + strings.Repeat("k", 32), strings.Repeat("k", 32)},
	} {
		t.Run(name, func(t *testing.T) {
			tagRow{record: []any{row.key, "x"}, want: []string{row.want, "x"}}.run(t)
		})
	}
}

func fnv1a(s string) string {
	h := uint32(2166136261)
	for _, b := range []byte(s) {
		h = (h ^ uint32(b)) * 16777619
	}
	return fmt.Sprintf("%08x", h)
}

func manyAttributes(n int) []any {
	var attrs []any
	for _, s := range manyTags(n) {
		attrs = append(attrs, s)
	}
	return attrs
}

func manyTags(n int) []string {
	var tags []string
	for i := range n {
		tags = append(tags, fmt.Sprintf("many%d", i), "x")
	}
	return tags
}

// A full cache does not change the resulting keys. Long keys are not cached, because new ones may always follow.
func TestKeyCache(t *testing.T) {
	traces := NewTraces(defaults())
	translate := func(key string) map[string]string {
		return recordAll(t, traces.Translate(scoped{record: []any{key, "x", "short", "x"}}.traces())).envelopes[0].GetTags()
	}
	for i := range 100 {
		translate(strings.Repeat("k", 1000) + strconv.Itoa(i))
	}
	require.Len(t, traces.keys.made, 1, "long keys are not cached")
	for i := range cachedKeys + 10 {
		require.Equal(t, "x", translate(fmt.Sprintf("k %d", i))[fmt.Sprintf("k_%d", i)])
	}
	require.LessOrEqual(t, len(traces.keys.made), cachedKeys)
}

func TestTruncate(t *testing.T) {
	const kB = 1000
	long := func(n int) string { return strings.Repeat("v", n) }
	for name, row := range map[string]struct {
		record           []any
		whole, truncated []string // keys
	}{
		"fits":          {record: []any{"a", long(65 * kB)}, whole: []string{"a"}},
		"longest value": {record: []any{"a", "short", "b", long(70 * kB), "c", long(10 * kB)}, whole: []string{"a", "c"}, truncated: []string{"b"}},
		"longest values": {
			record: []any{"a", long(50 * kB), "b", long(60 * kB), "c", long(9 * kB)}, whole: []string{"c"}, truncated: []string{"a", "b"},
		},
		"all values":                  {record: []any{"a", long(66 * kB), "b", long(70 * kB), "c", long(80 * kB)}, truncated: []string{"a", "b", "c"}},
		"characters of two bytes":     {record: []any{"a", strings.Repeat("é", 50*kB)}, truncated: []string{"a"}},
		"characters of three bytes":   {record: []any{"a", strings.Repeat("世", 50*kB)}, truncated: []string{"a"}},
		"characters of four bytes":    {record: []any{"a", strings.Repeat("😀", 50*kB)}, truncated: []string{"a"}},
		"invalid UTF-8 at every byte": {record: []any{"a", strings.Repeat("\xff", 200*kB)}, whole: []string{"a"}},
		"longer as valid UTF-8":       {record: []any{"a", strings.Repeat("a\xff", 30*kB)}, truncated: []string{"a"}},
		"shorter as valid UTF-8":      {record: []any{"a", long(70*kB) + strings.Repeat("\xff", 60*kB)}, truncated: []string{"a"}},
		"shorter as valid UTF-8, with a longer one": {
			record: []any{"a", long(50*kB) + strings.Repeat("\xff", 60*kB), "b", long(60 * kB)}, truncated: []string{"a", "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			traces := scoped{record: row.record}.traces()
			out := translateTraces(t, defaults(), traces)
			require.Len(t, out.envelopes, 1)
			out.requireRejected(nil)
			attrs := traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).Attributes()
			tags := out.envelopes[0].GetTags()
			for _, key := range row.whole {
				v, _ := attrs.Get(key)
				assert.Equal(t, strings.ToValidUTF8(v.Str(), "\uFFFD"), tags[key], "the tag %s is unchanged", key)
			}
			lengths := map[string]int{}
			for _, key := range row.truncated {
				v, _ := attrs.Get(key)
				head, found := strings.CutSuffix(tags[key], "…")
				require.True(t, found, "the tag %s ends in an ellipsis", key)
				assert.True(t, strings.HasPrefix(strings.ToValidUTF8(v.Str(), "\uFFFD"), head), "the tag %s keeps its beginning", key)
				assert.True(t, utf8.ValidString(head))
				lengths[key] = len(tags[key])
			}
			if len(row.truncated) == 0 {
				assert.Zero(t, out.truncated)
				return
			}
			assert.Equal(t, 1, out.truncated, "one item is truncated")
			assert.Greater(t, len(out.encoded[0]), envelope.MaxSize-64, "no more is truncated than necessary")
			for key, n := range lengths {
				assert.InDelta(t, lengths[row.truncated[0]], n, 4, "the tag %s is as long as the other truncated ones", key)
				for _, other := range row.whole {
					assert.GreaterOrEqual(t, n, len(tags[other]), "the longest values are truncated")
				}
			}
		})
	}
}

// The items of a scope whose tags are too large are rejected without work on each item, which would take minutes here. Other scopes are
// not affected.
func TestScopeTagsTooLarge(t *testing.T) {
	const n = 50_000
	large := manyAttributes(8000)
	logs, metrics, traces := scoped{scope: large}.logs(), scoped{resource: large}.metrics(), scoped{resource: large}.traces()
	for _, all := range slices.Concat(itemsOfLogs(logs), itemsOfMetrics(metrics), itemsOfTraces(traces)) {
		for range n - 1 {
			all.repeat(0)
		}
	}
	scoped{}.logs().ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	scoped{}.metrics().ResourceMetrics().MoveAndAppendTo(metrics.ResourceMetrics())
	scoped{}.traces().ResourceSpans().MoveAndAppendTo(traces.ResourceSpans())
	for name, out := range map[string]*recorder{
		"logs":    translateLogs(t, defaults(), logs),
		"metrics": translateMetrics(t, defaults(), metrics),
		"traces":  translateTraces(t, options(spanEvents), traces),
	} {
		require.Equal(t, map[Reason]int{ReasonTooLarge: n}, out.rejected, name)
		require.Len(t, out.envelopes, 1, name)
	}
}

// An item is rejected when it is too large even with its tags truncated.
func TestTooLarge(t *testing.T) {
	huge := strings.Repeat("n", envelope.MaxSize)
	var manyShort []any
	for i := range 2000 {
		manyShort = append(manyShort, fmt.Sprintf("%032d", i), "abc")
	}
	for name, it := range map[string]item{
		"too many tags":           {kind: "span", data: scoped{record: manyShort}},
		"the tags of a log":       {kind: "log", name: "hello", data: scoped{record: manyShort}},
		"an event":                {kind: "event", name: "e", other: huge},
		"the name of a gauge":     {kind: "gauge", name: huge},
		"the unit of a gauge":     {kind: "gauge", other: huge},
		"the name of a counter":   {kind: "counter", name: huge},
		"the name of a histogram": {kind: "histogram", name: huge},
		"the name of a summary":   {kind: "summary", name: huge},
	} {
		t.Run(name, func(t *testing.T) {
			it.opts = otelNames
			out := it.translate(t)
			out.requireRejected(rejectedOnce(ReasonTooLarge))
			out.requireEnvelopes()
			assert.Zero(t, out.truncated)
		})
	}
	t.Run("next span fits", func(t *testing.T) {
		traces, span := oneSpan()
		span.SetName(huge)
		traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().AppendEmpty().SetName("next")
		out := translateTraces(t, defaults(), traces)
		out.requireRejected(rejectedOnce(ReasonTooLarge))
		require.Len(t, out.envelopes, 1)
		assert.Equal(t, "next", out.envelopes[0].GetTimer().GetName())
		assert.Zero(t, out.truncated)
	})
}

// Byte by byte around the limit, no envelope exceeds it, and nothing that fits is truncated or rejected.
func TestSizeLimit(t *testing.T) {
	for name, it := range map[string]item{
		"log":       {kind: "log", name: "hello"},
		"parts":     {kind: "log", name: strings.Repeat("p", 65), opts: func(o *Options) { o.MaxPayload = 64 }},
		"event":     {kind: "event", name: "e"},
		"gauge":     {kind: "gauge"},
		"counter":   {kind: "counter"},
		"histogram": {kind: "histogram"},
		"span":      {kind: "span"},
	} {
		t.Run(name, func(t *testing.T) {
			with := func(bytes int) *recorder {
				it.data.resource = []any{"k", strings.Repeat("v", bytes)}
				return it.translate(t)
			}
			first := sort.Search(envelope.MaxSize, func(n int) bool { return with(n).truncated > 0 })
			require.Less(t, first, envelope.MaxSize)
			for n := first - 5; n < first+5; n++ {
				out := with(n)
				require.Empty(t, out.rejected)
				largest := len(slices.MaxFunc(out.encoded, func(a, b []byte) int { return len(a) - len(b) }))
				// The room is for the longest timestamp, bound and part numbers.
				require.Greater(t, largest, envelope.MaxSize-32, "a value of %d bytes", n)
				require.Equal(t, n >= first, out.truncated == 1, "a value of %d bytes", n)
			}
		})
	}
}

// A collector may receive a duplicate key, which pdata cannot create. The first value counts, and is joined once.
func TestDuplicateKey(t *testing.T) {
	attributes := `"attributes": [{"key": "a.a", "value": {"stringValue": "1"}}, {"key": "a.a", "value": {"stringValue": "2"}},
		{"key": "a_a", "value": {"stringValue": "3"}}, {"key": "a_a", "value": {"stringValue": "4"}}]`
	logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs([]byte(
		`{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}, ` + attributes + `}]}]}]}`))
	require.NoError(t, err)
	tags := translateLogs(t, defaults(), logs).envelopes[0].GetTags()
	assert.Equal(t, []string{"1", "3"}, []string{tags["a.a"], tags["a_a"]})
	metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics([]byte(
		`{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": [{"asInt": "1", ` + attributes + `}]}}]}]}]}`))
	require.NoError(t, err)
	assert.Equal(t, "1;3", translateMetrics(t, defaults(), metrics).envelopes[0].GetTags()["a_a"])
}

func TestTagSize(t *testing.T) {
	for _, n := range []int{0, 1, 100, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16377, 16378, 16379, 16380, 16381, 16383, 16384} {
		key, value := "key", strings.Repeat("v", n)
		assert.Equal(t, len(envelope.AppendTag(nil, envelope.AppendKey(nil, key), value)), tagSize(len(key), len(value)), "%d bytes", n)
	}
}
