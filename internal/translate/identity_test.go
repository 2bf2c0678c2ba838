// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// scoped has attributes of a resource, a scope and a record: keys and values in turn.
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
	// name is the payload of a log, the title of an event, the name of a span, or behind m that of a metric. other is the body of an
	// event or the unit of a metric.
	name, other string
	opts        func(*Options)
}

var metricKinds = []string{"gauge", "counter", "delta", "histogram", "exponential histogram", "summary"}

// translate translates a batch of this item. Its numbers are those with which the envelopes are the longest.
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
	for name, row := range map[string]struct {
		options          func(*Options)
		data             scoped
		source, instance string // empty: the default
	}{
		"nothing": {},
		"default": {
			options: func(o *Options) { o.SourceID.Default, o.InstanceID.Default = "platform", "7" },
			source:  "platform", instance: "7",
		},
		"no default for the instance": {
			options:  func(o *Options) { o.InstanceID.Default = "" },
			instance: "none",
		},
		"forced, whatever the data says": {
			options: func(o *Options) { o.SourceID.Value, o.InstanceID.Value = "forced", "9" },
			data: scoped{
				resource: []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "1"},
				scope:    []any{"source_id", "app", "instance_id", "1"},
				record:   []any{"source_id", "app", "instance_id", "1"},
			},
			source: "forced", instance: "9",
		},
		"app":                  {data: scoped{resource: []any{"cloudfoundry.app.id", "x", "cloudfoundry.app.instance.id", "1"}}, source: "x", instance: "1"},
		"system":               {data: scoped{resource: []any{"cloudfoundry.system.id", "x", "cloudfoundry.system.instance.id", "1"}}, source: "x", instance: "1"},
		"cloudfoundryreceiver": {data: scoped{resource: []any{"org.cloudfoundry.source_id", "x", "org.cloudfoundry.instance_id", "1"}}, source: "x", instance: "1"},
		"forwarder agent":      {data: scoped{record: []any{"source_id", "x", "instance_id", "1"}}, source: "x", instance: "1"},
		"service":              {data: scoped{resource: []any{"service.name", "x", "service.instance.id", "1"}}, source: "x", instance: "1"},
		"attributes in their order": {
			data: scoped{resource: []any{
				"service.name", "5", "source_id", "4", "org.cloudfoundry.source_id", "3", "cloudfoundry.system.id", "2", "cloudfoundry.app.id", "1",
				"service.instance.id", "5", "instance_id", "4", "org.cloudfoundry.instance_id", "3", "cloudfoundry.system.instance.id", "2",
				"cloudfoundry.app.instance.id", "1",
			}},
			source: "1", instance: "1",
		},
		"the second when there is no first": {
			data: scoped{resource: []any{
				"service.name", "5", "source_id", "4", "org.cloudfoundry.source_id", "3", "cloudfoundry.system.id", "2",
				"service.instance.id", "5", "instance_id", "4", "org.cloudfoundry.instance_id", "3", "cloudfoundry.system.instance.id", "2",
			}},
			source: "2", instance: "2",
		},
		"record before scope before resource": {
			data: scoped{
				resource: []any{"source_id", "resource", "instance_id", "3"},
				scope:    []any{"source_id", "scope", "instance_id", "2"},
				record:   []any{"source_id", "record", "instance_id", "1"},
			},
			source: "record", instance: "1",
		},
		"scope before resource": {
			data: scoped{
				resource: []any{"source_id", "resource", "instance_id", "3"},
				scope:    []any{"source_id", "scope", "instance_id", "2"},
			},
			source: "scope", instance: "2",
		},
		"an earlier attribute of the resource before a later one of the record": {
			data: scoped{
				resource: []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "3"},
				record:   []any{"service.name", "service", "service.instance.id", "1"},
			},
			source: "app", instance: "3",
		},
		"an earlier attribute of the record before a later one of the resource": {
			data: scoped{
				resource: []any{"service.name", "service", "service.instance.id", "3"},
				record:   []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "1"},
			},
			source: "app", instance: "1",
		},
		"an earlier attribute of the scope before a later one of the record": {
			data: scoped{
				scope:  []any{"cloudfoundry.system.id", "system", "cloudfoundry.system.instance.id", "2"},
				record: []any{"source_id", "source", "instance_id", "1"},
			},
			source: "system", instance: "2",
		},
		"empty ones are passed over": {
			data: scoped{
				resource: []any{"cloudfoundry.app.id", "", "source_id", "x", "cloudfoundry.app.instance.id", "", "instance_id", "1"},
				scope:    []any{"source_id", "", "instance_id", ""},
				record:   []any{"source_id", "", "instance_id", ""},
			},
			source: "x", instance: "1",
		},
		"only empty ones": {
			data: scoped{resource: []any{"service.name", "", "service.instance.id", nil}},
		},
		"values that are no strings": {
			data:   scoped{resource: []any{"service.name", true, "service.instance.id", int64(12)}},
			source: "true", instance: "12",
		},
		"other attributes": {
			options: func(o *Options) {
				o.SourceID.Attributes, o.InstanceID.Attributes = []string{"k8s.pod.name"}, []string{"k8s.pod.uid"}
			},
			data: scoped{
				resource: []any{"k8s.pod.name", "pod", "k8s.pod.uid", "u"},
				record:   []any{"service.name", "x", "service.instance.id", "1"},
			},
			source: "pod", instance: "u",
		},
		"no attributes at all": {
			options: func(o *Options) { o.SourceID.Attributes, o.InstanceID.Attributes = nil, nil },
			data:    scoped{resource: []any{"service.name", "x", "service.instance.id", "1"}},
		},
		"as long as it may be": {
			data: scoped{resource: []any{
				"service.name", strings.Repeat("s", 48), "service.instance.id", strings.Repeat("i", 36),
			}},
			source: strings.Repeat("s", 48), instance: strings.Repeat("i", 36),
		},
		"too long": {
			data: scoped{resource: []any{
				"service.name", strings.Repeat("s", 49), "service.instance.id", strings.Repeat("i", 37),
			}},
			source: strings.Repeat("s", 48), instance: strings.Repeat("i", 36),
		},
		"too long in the configuration": {
			options: func(o *Options) {
				o.SourceID.Value, o.InstanceID.Default = strings.Repeat("s", 49), strings.Repeat("i", 37)
			},
			source: strings.Repeat("s", 48), instance: strings.Repeat("i", 36),
		},
		"characters that are not printable ASCII": {
			data:   scoped{resource: []any{"service.name", "a b\tc\x00é世\x7f~!", "service.instance.id", "\xff1\xe4\xb8\n"}},
			source: "a_b_c____~!", instance: "_1___",
		},
		"characters in the configuration": {
			options: func(o *Options) { o.SourceID.Default, o.InstanceID.Value = "mein Stück", "ä" },
			source:  "mein_St_ck", instance: "_",
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(row.options)
			source, instance := row.source, row.instance
			if source == "" {
				source = "otelcol"
			}
			switch instance {
			case "":
				instance = "0"
			case "none":
				instance = ""
			}
			for signal, out := range map[string]*recorder{
				"logs":    translateLogs(t, opts, row.data.logs()),
				"metrics": translateMetrics(t, opts, row.data.metrics()),
				"traces":  translateTraces(t, opts, row.data.traces()),
			} {
				require.Len(t, out.envelopes, 1, signal)
				assert.Equal(t, source, out.envelopes[0].GetSourceId(), signal)
				assert.Equal(t, instance, out.envelopes[0].GetInstanceId(), signal)
			}
		})
	}
}

// The identity of a resource, a scope or a record does not reach the next one.
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
