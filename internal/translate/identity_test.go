// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// scoped holds the attributes of a resource, a scope and a record: alternating keys and values.
type scoped struct{ resource, scope, record []any }

func (a scoped) logs() plog.Logs {
	logs, record := oneLog()
	record.Body().SetStr("hello")
	resource := logs.ResourceLogs().At(0)
	put(resource.Resource().Attributes(), a.resource...)
	put(resource.ScopeLogs().At(0).Scope().Attributes(), a.scope...)
	put(record.Attributes(), a.record...)
	return logs
}

func (a scoped) metrics() pmetric.Metrics {
	metrics, metric := oneMetric()
	resource := metrics.ResourceMetrics().At(0)
	put(resource.Resource().Attributes(), a.resource...)
	put(resource.ScopeMetrics().At(0).Scope().Attributes(), a.scope...)
	point(asGauge(metric), a.record...).SetIntValue(1)
	return metrics
}

func (a scoped) traces() ptrace.Traces {
	traces, span := oneSpan()
	resource := traces.ResourceSpans().At(0)
	put(resource.Resource().Attributes(), a.resource...)
	put(resource.ScopeSpans().At(0).Scope().Attributes(), a.scope...)
	put(span.Attributes(), a.record...)
	return traces
}

// item is a record, a point or a span with attributes.
type item struct {
	kind string
	data scoped
	// name is the payload of a log, the title of an event, the name of a span, or the rest of the name of a metric, after m. other is the
	// body of an event or the unit of a metric.
	name, other string
	opts        func(*Options)
}

var metricKinds = []string{"gauge", "counter", "delta", "histogram", "exponential histogram", "summary"}

// translate translates a batch with this item. The numbers of counters and histograms make their envelopes as long as possible.
func (i item) translate(t *testing.T) *recorder {
	t.Helper()
	opts := options(i.opts)
	switch i.kind {
	case "log", "event":
		logs := i.data.logs()
		recordOf(logs).Body().SetStr(i.name)
		if i.kind == "event" {
			recordOf(logs).SetEventName(i.name)
			recordOf(logs).Body().SetStr(i.other)
		}
		return translateLogs(t, opts, logs)
	case "span":
		traces := i.data.traces()
		traces.ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0).SetName(i.name)
		return translateTraces(t, opts, traces)
	}
	metrics := i.data.metrics()
	metric := metricOf(metrics)
	metric.SetName("m" + i.name)
	metric.SetUnit(i.other)
	switch i.kind {
	case "counter":
		point(asCounter(metric), i.data.record...).SetIntValue(math.MaxInt64)
	case "delta":
		point(deltas(metric).DataPoints(), i.data.record...).SetDoubleValue(1)
	case "histogram":
		p := histogramPoint(metric, []float64{-2.2250738585072014e-308}, 1<<63, 1<<62)
		p.SetSum(1)
		put(p.Attributes(), i.data.record...)
	case "exponential histogram":
		p := exponentialPoint(metric, 0)
		setBuckets(p, p.Positive(), 0, 1, 2)
		put(p.Attributes(), i.data.record...)
	case "summary":
		put(summaryPoint(metric, 1, 1, 0.5, 1).Attributes(), i.data.record...)
	}
	return translateMetrics(t, opts, metrics)
}

// recordOf returns the first record of a batch.
func recordOf(logs plog.Logs) plog.LogRecord {
	return logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
}

// metricOf returns the first metric of a batch.
func metricOf(metrics pmetric.Metrics) pmetric.Metric {
	return metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
}

func TestIdentity(t *testing.T) {
	// both returns attributes for a source ID and an instance ID.
	both := func(sourceKey string, source any, instanceKey string, instance any) []any {
		return []any{sourceKey, source, instanceKey, instance}
	}
	// ids, app, system, receiver and service use the keys of the respective convention.
	ids := func(source, instance string) []any { return both("source_id", source, "instance_id", instance) }
	app := func(source, instance string) []any {
		return both("cloudfoundry.app.id", source, "cloudfoundry.app.instance.id", instance)
	}
	system := func(source, instance string) []any {
		return both("cloudfoundry.system.id", source, "cloudfoundry.system.instance.id", instance)
	}
	receiver := func(source, instance string) []any {
		return both("org.cloudfoundry.source_id", source, "org.cloudfoundry.instance_id", instance)
	}
	service := func(source, instance any) []any { return both("service.name", source, "service.instance.id", instance) }
	tooLongSource, tooLongInstance := strings.Repeat("s", 49), strings.Repeat("i", 37)
	for name, row := range map[string]struct {
		options                 func(*Options)
		resource, scope, record []any
		source, instance        string // empty: the default
	}{
		"none": {},
		"default": {
			options: func(o *Options) { o.SourceID.Default, o.InstanceID.Default = "platform", "7" }, source: "platform", instance: "7",
		},
		"no default instance ID": {options: func(o *Options) { o.InstanceID.Default = "" }, instance: "none"},
		"forced": {
			options:  func(o *Options) { o.SourceID.Value, o.InstanceID.Value = "forced", "9" },
			resource: app("app", "1"), scope: ids("app", "1"), record: ids("app", "1"),
			source: "forced", instance: "9",
		},
		"app":                  {resource: app("x", "1"), source: "x", instance: "1"},
		"system":               {resource: system("x", "1"), source: "x", instance: "1"},
		"cloudfoundryreceiver": {resource: receiver("x", "1"), source: "x", instance: "1"},
		"forwarder agent":      {record: ids("x", "1"), source: "x", instance: "1"},
		"service":              {resource: service("x", "1"), source: "x", instance: "1"},
		"source ID of the record": {
			resource: []any{"service.name", "x"}, record: []any{"service.name", "y"}, source: "y",
		},
		"instance ID of the record": {
			resource: []any{"service.instance.id", "1"}, record: []any{"service.instance.id", "2"}, instance: "2",
		},
		"order of the attributes": {
			resource: slices.Concat(
				service("5", "5"), ids("4", "4"), receiver("3", "3"), system("2", "2"), app("1", "1"),
			),
			source: "1", instance: "1",
		},
		"first attribute missing": {
			resource: slices.Concat(service("5", "5"), ids("4", "4"), receiver("3", "3"), system("2", "2")), source: "2", instance: "2",
		},
		"record over scope over resource": {
			resource: ids("resource", "3"), scope: ids("scope", "2"), record: ids("record", "1"), source: "record", instance: "1",
		},
		"scope over resource": {resource: ids("resource", "3"), scope: ids("scope", "2"), source: "scope", instance: "2"},
		"earlier attribute of the resource over a later one of the record": {
			resource: app("app", "3"), record: service("service", "1"), source: "app", instance: "3",
		},
		"earlier attribute of the record over a later one of the resource": {
			resource: service("service", "3"), record: app("app", "1"), source: "app", instance: "1",
		},
		"earlier attribute of the scope over a later one of the record": {
			scope: system("system", "2"), record: ids("source", "1"), source: "system", instance: "2",
		},
		"empty values skipped": {
			resource: slices.Concat(app("", ""), ids("x", "1")), scope: ids("", ""), record: ids("", ""), source: "x", instance: "1",
		},
		"only empty values":     {resource: service("", nil)},
		"values of other types": {resource: service(true, int64(12)), source: "true", instance: "12"},
		"configured attributes": {
			options: func(o *Options) {
				o.SourceID.Attributes, o.InstanceID.Attributes = []string{"k8s.pod.name"}, []string{"k8s.pod.uid"}
			},
			resource: both("k8s.pod.name", "pod", "k8s.pod.uid", "u"), record: service("x", "1"),
			source: "pod", instance: "u",
		},
		"no configured attributes": {
			options: func(o *Options) { o.SourceID.Attributes, o.InstanceID.Attributes = nil, nil }, resource: service("x", "1"),
		},
		"longest allowed": {
			resource: service(tooLongSource[1:], tooLongInstance[1:]), source: tooLongSource[1:], instance: tooLongInstance[1:],
		},
		"too long": {resource: service(tooLongSource, tooLongInstance), source: tooLongSource[1:], instance: tooLongInstance[1:]},
		"too long, configured": {
			options: func(o *Options) { o.SourceID.Value, o.InstanceID.Default = tooLongSource, tooLongInstance },
			source:  tooLongSource[1:], instance: tooLongInstance[1:],
		},
		"not printable ASCII": {
			resource: service("a b\tc\x00é世\x7f~!", "\xff1\xe4\xb8\n"), source: "a_b_c____~!", instance: "_1___",
		},
		"not printable ASCII, configured": {
			options: func(o *Options) { o.SourceID.Default, o.InstanceID.Value = "mein Stück", "ä" }, source: "mein_St_ck", instance: "_",
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts, data := options(row.options), scoped{row.resource, row.scope, row.record}
			source, instance := cmp.Or(row.source, "otelcol"), cmp.Or(row.instance, "0")
			if instance == "none" {
				instance = ""
			}
			for signal, out := range map[string]*recorder{
				"logs":    translateLogs(t, opts, data.logs()),
				"metrics": translateMetrics(t, opts, data.metrics()),
				"traces":  translateTraces(t, opts, data.traces()),
			} {
				require.Len(t, out.envelopes, 1, signal)
				assert.Equal(t, source, out.envelopes[0].GetSourceId(), signal)
				assert.Equal(t, instance, out.envelopes[0].GetInstanceId(), signal)
			}
		})
	}
}

// The identity of a resource, a scope or a record does not carry over to the next one.
func TestIdentityPerScope(t *testing.T) {
	logs := plog.NewLogs()
	for _, resource := range []string{"a", "", "b"} {
		rl := logs.ResourceLogs().AppendEmpty()
		if resource != "" {
			put(rl.Resource().Attributes(), "service.name", resource)
		}
		for _, scope := range []string{"s", ""} {
			sl := rl.ScopeLogs().AppendEmpty()
			if scope != "" {
				put(sl.Scope().Attributes(), "source_id", resource+scope)
			}
			for _, record := range []string{"r", ""} {
				r := sl.LogRecords().AppendEmpty()
				r.Body().SetStr("x")
				if record != "" {
					put(r.Attributes(), "cloudfoundry.app.id", resource+scope+record)
				}
			}
		}
	}
	var got []string
	for _, e := range translateLogs(t, defaults(), logs).envelopes {
		got = append(got, e.GetSourceId())
	}
	assert.Equal(t, []string{
		"asr", "as", "ar", "a",
		"sr", "s", "r", "otelcol",
		"bsr", "bs", "br", "b",
	}, got)
}
