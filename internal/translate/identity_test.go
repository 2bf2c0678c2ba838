// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// levels has attributes of a resource, a scope and a record: keys and values in turn.
type levels struct{ resource, scope, record []any }

func (l levels) logs() plog.Logs {
	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	sl := rl.ScopeLogs().AppendEmpty()
	r := sl.LogRecords().AppendEmpty()
	r.SetTimestamp(at)
	r.Body().SetStr("hello")
	put(rl.Resource().Attributes(), l.resource...)
	put(sl.Scope().Attributes(), l.scope...)
	put(r.Attributes(), l.record...)
	return logs
}

func (l levels) metrics() pmetric.Metrics {
	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	sm := rm.ScopeMetrics().AppendEmpty()
	m := sm.Metrics().AppendEmpty()
	m.SetName("m")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(at)
	p.SetIntValue(1)
	put(rm.Resource().Attributes(), l.resource...)
	put(sm.Scope().Attributes(), l.scope...)
	put(p.Attributes(), l.record...)
	return metrics
}

func (l levels) traces() ptrace.Traces {
	traces := ptrace.NewTraces()
	rs := traces.ResourceSpans().AppendEmpty()
	ss := rs.ScopeSpans().AppendEmpty()
	s := ss.Spans().AppendEmpty()
	s.SetStartTimestamp(at)
	s.SetEndTimestamp(at)
	put(rs.Resource().Attributes(), l.resource...)
	put(ss.Scope().Attributes(), l.scope...)
	put(s.Attributes(), l.record...)
	return traces
}

func TestIdentity(t *testing.T) {
	for name, row := range map[string]struct {
		options          func(*Options)
		data             levels
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
			data: levels{
				resource: []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "1"},
				scope:    []any{"source_id", "app", "instance_id", "1"},
				record:   []any{"source_id", "app", "instance_id", "1"},
			},
			source: "forced", instance: "9",
		},
		"app":                  {data: levels{resource: []any{"cloudfoundry.app.id", "x", "cloudfoundry.app.instance.id", "1"}}, source: "x", instance: "1"},
		"system":               {data: levels{resource: []any{"cloudfoundry.system.id", "x", "cloudfoundry.system.instance.id", "1"}}, source: "x", instance: "1"},
		"cloudfoundryreceiver": {data: levels{resource: []any{"org.cloudfoundry.source_id", "x", "org.cloudfoundry.instance_id", "1"}}, source: "x", instance: "1"},
		"forwarder agent":      {data: levels{record: []any{"source_id", "x", "instance_id", "1"}}, source: "x", instance: "1"},
		"service":              {data: levels{resource: []any{"service.name", "x", "service.instance.id", "1"}}, source: "x", instance: "1"},
		"attributes in their order": {
			data: levels{resource: []any{
				"service.name", "5", "source_id", "4", "org.cloudfoundry.source_id", "3", "cloudfoundry.system.id", "2", "cloudfoundry.app.id", "1",
				"service.instance.id", "5", "instance_id", "4", "org.cloudfoundry.instance_id", "3", "cloudfoundry.system.instance.id", "2",
				"cloudfoundry.app.instance.id", "1",
			}},
			source: "1", instance: "1",
		},
		"the second when there is no first": {
			data: levels{resource: []any{
				"service.name", "5", "source_id", "4", "org.cloudfoundry.source_id", "3", "cloudfoundry.system.id", "2",
				"service.instance.id", "5", "instance_id", "4", "org.cloudfoundry.instance_id", "3", "cloudfoundry.system.instance.id", "2",
			}},
			source: "2", instance: "2",
		},
		"record before scope before resource": {
			data: levels{
				resource: []any{"source_id", "resource", "instance_id", "3"},
				scope:    []any{"source_id", "scope", "instance_id", "2"},
				record:   []any{"source_id", "record", "instance_id", "1"},
			},
			source: "record", instance: "1",
		},
		"scope before resource": {
			data: levels{
				resource: []any{"source_id", "resource", "instance_id", "3"},
				scope:    []any{"source_id", "scope", "instance_id", "2"},
			},
			source: "scope", instance: "2",
		},
		"an earlier attribute of the resource before a later one of the record": {
			data: levels{
				resource: []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "3"},
				record:   []any{"service.name", "service", "service.instance.id", "1"},
			},
			source: "app", instance: "3",
		},
		"an earlier attribute of the record before a later one of the resource": {
			data: levels{
				resource: []any{"service.name", "service", "service.instance.id", "3"},
				record:   []any{"cloudfoundry.app.id", "app", "cloudfoundry.app.instance.id", "1"},
			},
			source: "app", instance: "1",
		},
		"an earlier attribute of the scope before a later one of the record": {
			data: levels{
				scope:  []any{"cloudfoundry.system.id", "system", "cloudfoundry.system.instance.id", "2"},
				record: []any{"source_id", "source", "instance_id", "1"},
			},
			source: "system", instance: "2",
		},
		"empty ones are passed over": {
			data: levels{
				resource: []any{"cloudfoundry.app.id", "", "source_id", "x", "cloudfoundry.app.instance.id", "", "instance_id", "1"},
				scope:    []any{"source_id", "", "instance_id", ""},
				record:   []any{"source_id", "", "instance_id", ""},
			},
			source: "x", instance: "1",
		},
		"only empty ones": {
			data: levels{resource: []any{"service.name", "", "service.instance.id", nil}},
		},
		"values that are no strings": {
			data:   levels{resource: []any{"service.name", true, "service.instance.id", int64(12)}},
			source: "true", instance: "12",
		},
		"other attributes": {
			options: func(o *Options) {
				o.SourceID.Attributes, o.InstanceID.Attributes = []string{"k8s.pod.name"}, []string{"k8s.pod.uid"}
			},
			data: levels{
				resource: []any{"k8s.pod.name", "pod", "k8s.pod.uid", "u"},
				record:   []any{"service.name", "x", "service.instance.id", "1"},
			},
			source: "pod", instance: "u",
		},
		"no attributes at all": {
			options: func(o *Options) { o.SourceID.Attributes, o.InstanceID.Attributes = nil, nil },
			data:    levels{resource: []any{"service.name", "x", "service.instance.id", "1"}},
		},
		"as long as it may be": {
			data: levels{resource: []any{
				"service.name", strings.Repeat("s", 48), "service.instance.id", strings.Repeat("i", 36),
			}},
			source: strings.Repeat("s", 48), instance: strings.Repeat("i", 36),
		},
		"too long": {
			data: levels{resource: []any{
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
			data:   levels{resource: []any{"service.name", "a b\tc\x00é世\x7f~!", "service.instance.id", "\xff1\xe4\xb8\n"}},
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
