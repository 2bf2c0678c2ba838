// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"
)

// Round trips: Cloud Foundry's forwarder agent and the collector's cloudfoundryreceiver convert envelopes to OpenTelemetry data, which the
// translators turn back into the same envelopes.

// roundTrip is a path from envelopes to OpenTelemetry data and back.
type roundTrip struct {
	// convert converts envelopes to OpenTelemetry data.
	convert func([]*loggregator_v2.Envelope) converted
	options func(*Options)
	// kinds are the messages that come back.
	kinds []string
	// differences are the allowed differences, in the order in which they arise.
	differences []difference
	// apart reports whether Gauges are compared metric by metric, because one can come back as several, or several as one.
	apart bool
	// labels reports whether the exporter uses names for PromQL. Tag keys are then labels already, and only the IDs, tags and times of
	// metrics are compared.
	labels bool
}

// converted is OpenTelemetry data, in the batches in which it reaches the exporter.
type converted struct {
	logs    plog.Logs
	metrics []pmetric.Metrics
	traces  ptrace.Traces
}

var roundTrips = map[string]roundTrip{
	"forwarder agent, one envelope at a time":          throughForwarderAgent(0, false),
	"forwarder agent, batches of its own size":         throughForwarderAgent(100, true),
	"forwarder agent, batches that end within a Gauge": throughForwarderAgent(3, true),
	"cloudfoundryreceiver":                             throughReceiver(nil, false),
	"cloudfoundryreceiver with resource attributes":    throughReceiver(resourceKeys, true),
	"cloudfoundryreceiver with names for PromQL":       forPromQL(throughReceiver(nil, false)),
	"cloudfoundryreceiver with both":                   forPromQL(throughReceiver(resourceKeys, true)),
}

func throughForwarderAgent(batch int, apart bool) roundTrip {
	return roundTrip{
		convert:     func(envelopes []*loggregator_v2.Envelope) converted { return forwarderAgent(envelopes, batch) },
		options:     otelNames,
		kinds:       []string{"log", "event", "counter", "gauge", "timer"},
		differences: slices.Concat(forwarderAgentDifferences, exporterDifferences("INFO", "ERROR")),
		apart:       apart,
	}
}

func throughReceiver(onResource []string, apart bool) roundTrip {
	return roundTrip{
		convert:     func(envelopes []*loggregator_v2.Envelope) converted { return receiver(envelopes, onResource) },
		options:     otelNames,
		kinds:       []string{"log", "gauge"},
		differences: slices.Concat(receiverDifferences(onResource), exporterDifferences("Info", "Error")),
		apart:       apart,
	}
}

func forPromQL(trip roundTrip) roundTrip {
	trip.options, trip.labels = nil, true
	return trip
}

// difference is one way in which an envelope comes back changed, or not at all.
type difference struct {
	what, why string
	// drops reports whether e does not reach the exporter.
	drops func(e *loggregator_v2.Envelope) bool
	// change makes the difference in e, if it applies.
	change func(e *loggregator_v2.Envelope)
}

func drops(what, why string, drops func(*loggregator_v2.Envelope) bool) difference {
	return difference{what: what, why: why, drops: drops, change: func(*loggregator_v2.Envelope) {}}
}

func changes(what, why string, change func(*loggregator_v2.Envelope)) difference {
	return difference{what: what, why: why, drops: func(*loggregator_v2.Envelope) bool { return false }, change: change}
}

// forwarderAgentDifferences are the differences that the forwarder agent causes.
var forwarderAgentDifferences = []difference{
	drops("a string that is not UTF-8",
		"the agent sends the payload of a log and the path of a uri as strings, and OTLP refuses a message with an invalid one",
		func(e *loggregator_v2.Envelope) bool {
			return !utf8.Valid(e.GetLog().GetPayload()) || e.GetTimer() != nil && !utf8.ValidString(uriPath(e))
		}),
	drops("a Timer that is not a span",
		"the agent forwards a Timer if it has ids, unless it is the client side of a request, for which the server has a Timer",
		func(e *loggregator_v2.Envelope) bool {
			_, isTrace := idOf(e, "trace_id", 16)
			_, isSpan := idOf(e, "span_id", 8)
			return e.GetTimer() != nil && (e.GetTags()["peer_type"] == "Client" || !isTrace || !isSpan)
		}),
	noMetrics,
	changes("tags that the agent leaves out",
		"it treats them as the identity, as its own, or as the ids of a span, which come back as tags",
		func(e *loggregator_v2.Envelope) {
			left := []string{"source_id", "instance_id", "__v1_type"}
			if e.GetTimer() == nil {
				left = append(left, "trace_id", "span_id")
			}
			removeTags(e, left...)
		}),
	changes("the payload of an empty Log",
		"Log Cache refuses an empty log, so the exporter makes the attributes its payload", func(e *loggregator_v2.Envelope) {
			attributes := maps.Clone(e.GetTags())
			attributes["source_id"], attributes["instance_id"] = e.GetSourceId(), e.GetInstanceId()
			fillEmptyLog(e, attributes)
		}),
	changes("the delta of a Counter", "a sum has one number, and the agent uses the total", func(e *loggregator_v2.Envelope) {
		if e.GetCounter() != nil {
			e.GetCounter().Delta = 0
		}
	}),
	changes("a Counter's total of 1<<63 or more",
		"OTLP's integers are signed, and the agent clears the highest bit", func(e *loggregator_v2.Envelope) {
			if e.GetCounter().GetTotal() >= 1<<63 {
				e.GetCounter().Total -= 1 << 63
			}
		}),
	changes("the name of a Timer with a uri", "the agent names the span after the path", func(e *loggregator_v2.Envelope) {
		if timer := e.GetTimer(); timer != nil {
			timer.Name = uriPath(e)
		}
	}),
	changes("the timestamp of a Timer", "a span has none, so the exporter uses its end", func(e *loggregator_v2.Envelope) {
		if timer := e.GetTimer(); timer != nil {
			e.Timestamp = timer.GetStop()
		}
	}),
}

// receiverDifferences returns the differences that the cloudfoundryreceiver causes. It puts the tags onResource on the resource.
func receiverDifferences(onResource []string) []difference {
	return []difference{
		drops("Timers and Events",
			"the receiver asks for logs and metrics only",
			func(e *loggregator_v2.Envelope) bool { return e.GetTimer() != nil || e.GetEvent() != nil }),
		noMetrics,
		changes("the payload of an empty Log",
			"Log Cache refuses an empty log, so the exporter makes the attributes of the record its payload", func(e *loggregator_v2.Envelope) {
				attributes := map[string]string{}
				all := maps.Clone(e.GetTags())
				all["source_id"] = e.GetSourceId()
				if e.GetInstanceId() != "" {
					all["instance_id"] = e.GetInstanceId()
				}
				for key, value := range all {
					if !slices.Contains(onResource, key) {
						attributes["org.cloudfoundry."+key] = value
					}
				}
				fillEmptyLog(e, attributes)
			}),
		changes("no instance ID, but a tag instance_id", "the receiver puts both into the same attribute", func(e *loggregator_v2.Envelope) {
			if e.GetInstanceId() == "" {
				e.InstanceId = e.GetTags()["instance_id"]
			}
		}),
		changes("tags with the names of the identity",
			"the receiver puts the identity into the same attributes, which do not become tags",
			func(e *loggregator_v2.Envelope) { removeTags(e, "source_id", "instance_id") }),
		changes("the tag otel_scope_name",
			"the receiver names its scope", func(e *loggregator_v2.Envelope) { defaultTag(e, "otel_scope_name", receiverScope) }),
		changes("a Gauge for a Counter", "the receiver does not mark the sum as monotonic", func(e *loggregator_v2.Envelope) {
			if counter := e.GetCounter(); counter != nil {
				e.Message = gauge(counter.GetName(), "", float64(counter.GetTotal())).GetMessage()
			}
		}),
		changes("names and units of metrics",
			"the receiver puts the tag origin before the name, and drops the unit", func(e *loggregator_v2.Envelope) {
				if e.GetGauge() == nil {
					return
				}
				metrics := map[string]*loggregator_v2.GaugeValue{}
				for name, v := range e.GetGauge().GetMetrics() {
					metrics[e.GetTags()["origin"]+"."+name] = &loggregator_v2.GaugeValue{Value: v.GetValue()}
				}
				e.GetGauge().Metrics = metrics
			}),
	}
}

// exporterDifferences returns the differences that the exporter causes. info and failure are the severities of logs to stdout and stderr.
func exporterDifferences(info, failure string) []difference {
	return []difference{
		changes("the tag severity of a Log", "records have one, and Loggregator has no other place for it", func(e *loggregator_v2.Envelope) {
			switch {
			case e.GetLog() == nil:
			case e.GetLog().GetType() == loggregator_v2.Log_ERR:
				defaultTag(e, "severity", failure)
			default:
				defaultTag(e, "severity", info)
			}
		}),
		changes("the tag source_type of a Log",
			"cf logs shows it, so the exporter adds it if it is missing", func(e *loggregator_v2.Envelope) {
				switch process := e.GetTags()["process_type"]; {
				case e.GetLog() == nil:
				case process != "":
					defaultTag(e, "source_type", "APP/PROC/"+strings.ToUpper(process))
				default:
					defaultTag(e, "source_type", "OTEL")
				}
			}),
		changes("the tag span_kind of a Timer",
			"the forwarder agent turns some Timers into server spans and the others into internal ones", func(e *loggregator_v2.Envelope) {
				switch {
				case e.GetTimer() == nil:
				case e.GetTags()["peer_type"] == "Server":
					e.Tags["span_kind"] = "server"
				default:
					e.Tags["span_kind"] = "internal"
				}
			}),
		changes("no instance ID", "the exporter has a default for it", func(e *loggregator_v2.Envelope) {
			if e.GetInstanceId() == "" {
				e.InstanceId = "0"
			}
		}),
		changes("an instance ID with slashes, or brackets at its ends",
			"Log Cache would keep only the part after the last slash, without the brackets", func(e *loggregator_v2.Envelope) {
				id := strings.ReplaceAll(e.GetInstanceId(), "/", "_")
				right := strings.TrimLeft(id, "[]")
				inner := strings.TrimRight(right, "[]")
				e.InstanceId = strings.Repeat("_", len(id)-len(right)) + inner + strings.Repeat("_", len(right)-len(inner))
			}),
		changes("the tag instance_id of metrics", "PromQL can match the instance only as a tag", func(e *loggregator_v2.Envelope) {
			if e.GetGauge() != nil || e.GetCounter() != nil {
				e.Tags["instance_id"] = e.GetInstanceId()
			}
		}),
	}
}

var noMetrics = drops("a Gauge without metrics", "both create a metric for each one in the Gauge", func(e *loggregator_v2.Envelope) bool {
	return e.GetGauge() != nil && len(e.GetGauge().GetMetrics()) == 0
})

// cloneOf returns a copy of e, which always has a map of tags. It marshals e, because proto.Clone turns -0 into 0.
func cloneOf(e *loggregator_v2.Envelope) *loggregator_v2.Envelope {
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err)
	}
	clone := &loggregator_v2.Envelope{}
	if err := proto.Unmarshal(b, clone); err != nil {
		panic(err)
	}
	if clone.Tags == nil {
		clone.Tags = map[string]string{}
	}
	return clone
}

func defaultTag(e *loggregator_v2.Envelope, key, value string) {
	if _, ok := e.GetTags()[key]; !ok {
		e.Tags[key] = value
	}
}

func removeTags(e *loggregator_v2.Envelope, keys ...string) {
	for _, key := range keys {
		delete(e.GetTags(), key)
	}
}

// isEmptyLog reports whether e is a Log whose payload is empty or only NULs.
func isEmptyLog(e *loggregator_v2.Envelope) bool {
	return e.GetLog() != nil && len(bytes.Trim(e.GetLog().GetPayload(), "\x00")) == 0
}

// fillEmptyLog makes the attributes, if there are any, the payload of an empty Log.
func fillEmptyLog(e *loggregator_v2.Envelope, attributes map[string]string) {
	if !isEmptyLog(e) || len(attributes) == 0 {
		return
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(attributes); err != nil {
		panic(err)
	}
	e.GetLog().Payload = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// uriPath returns the path of the tag uri, or the name of the Timer if there is no valid one.
func uriPath(e *loggregator_v2.Envelope) string {
	if uri, ok := e.GetTags()["uri"]; ok {
		if u, err := url.Parse(uri); err == nil {
			return u.Path
		}
	}
	return e.GetTimer().GetName()
}

// forwarderAgent converts envelopes as Cloud Foundry's forwarder agent does (otelcolclient in loggregator-agent-release). It sends up to
// batch metrics at once, or those of one envelope if batch is 0.
//
// OTLP allows neither strings that are not UTF-8 nor ids of another size. Here, only the envelope with one is missing. From the
// real agent, the whole batch is refused.
func forwarderAgent(envelopes []*loggregator_v2.Envelope, batch int) converted {
	c := converted{logs: plog.NewLogs(), traces: ptrace.NewTraces()}
	metrics := pmetric.NewMetrics().ResourceMetrics()
	next := func(name string) pmetric.Metric {
		if metrics.Len() == 0 || batch > 0 && metrics.At(0).ScopeMetrics().At(0).Metrics().Len() == batch {
			push := pmetric.NewMetrics()
			c.metrics = append(c.metrics, push)
			metrics = push.ResourceMetrics()
			metrics.AppendEmpty().ScopeMetrics().AppendEmpty()
		}
		metric := metrics.At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
		metric.SetName(name)
		return metric
	}
	for _, e := range envelopes {
		if batch == 0 {
			metrics = pmetric.NewMetrics().ResourceMetrics()
		}
		point := func(points pmetric.NumberDataPointSlice) pmetric.NumberDataPoint {
			p := points.AppendEmpty()
			p.SetTimestamp(pcommon.Timestamp(e.GetTimestamp()))
			agentAttributes(p.Attributes(), e)
			return p
		}
		switch m := e.GetMessage().(type) {
		case *loggregator_v2.Envelope_Log:
			if utf8.Valid(m.Log.GetPayload()) {
				r := c.agentRecord(e)
				r.Body().SetStr(string(m.Log.GetPayload()))
				r.SetSeverityNumber(severityOf(m.Log))
				// The protobuf name of the number.
				r.SetSeverityText("SEVERITY_NUMBER_" + strings.ToUpper(r.SeverityNumber().String()))
			}
		case *loggregator_v2.Envelope_Event:
			body := c.agentRecord(e).Body().SetEmptyMap()
			body.PutStr("title", m.Event.GetTitle())
			body.PutStr("body", m.Event.GetBody())
		case *loggregator_v2.Envelope_Counter:
			point(asCounter(next(m.Counter.GetName()))).SetIntValue(int64(m.Counter.GetTotal() << 1 >> 1))
		case *loggregator_v2.Envelope_Gauge:
			for _, name := range slices.Sorted(maps.Keys(m.Gauge.GetMetrics())) {
				metric := next(name)
				metric.SetUnit(m.Gauge.GetMetrics()[name].GetUnit())
				point(asGauge(metric)).SetDoubleValue(m.Gauge.GetMetrics()[name].GetValue())
			}
		case *loggregator_v2.Envelope_Timer:
			c.agentSpan(e, m.Timer)
		}
	}
	return c
}

func severityOf(log *loggregator_v2.Log) plog.SeverityNumber {
	if log.GetType() == loggregator_v2.Log_ERR {
		return plog.SeverityNumberError
	}
	return plog.SeverityNumberInfo
}

// agentRecord adds a log record without a body, as the only one of its resource.
func (c *converted) agentRecord(e *loggregator_v2.Envelope) plog.LogRecord {
	r := c.logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(pcommon.Timestamp(e.GetTimestamp()))
	r.SetObservedTimestamp(now)
	agentAttributes(r.Attributes(), e)
	return r
}

// agentSpan adds the Timer as the only span of its resource, if the agent makes it a span.
func (c *converted) agentSpan(e *loggregator_v2.Envelope, timer *loggregator_v2.Timer) {
	traceID, isTrace := idOf(e, "trace_id", 16)
	spanID, isSpan := idOf(e, "span_id", 8)
	name, peer := uriPath(e), e.GetTags()["peer_type"]
	if !isTrace || !isSpan || peer == "Client" || !utf8.ValidString(name) {
		return
	}
	s := c.traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	s.SetTraceID(pcommon.TraceID(traceID))
	s.SetSpanID(pcommon.SpanID(spanID))
	s.SetName(name)
	s.SetKind(ptrace.SpanKindInternal)
	if peer == "Server" {
		s.SetKind(ptrace.SpanKindServer)
	}
	s.SetStartTimestamp(pcommon.Timestamp(timer.GetStart()))
	s.SetEndTimestamp(pcommon.Timestamp(timer.GetStop()))
	agentAttributes(s.Attributes(), e)
}

// idOf returns the bytes of an ID in a tag, and reports whether it has this size.
func idOf(e *loggregator_v2.Envelope, tag string, size int) (id []byte, ok bool) {
	id, err := hex.DecodeString(e.GetTags()[tag])
	return id, err == nil && len(id) == size
}

func agentAttributes(attributes pcommon.Map, e *loggregator_v2.Envelope) {
	attributes.PutStr("instance_id", e.GetInstanceId())
	attributes.PutStr("source_id", e.GetSourceId())
	for _, key := range slices.Sorted(maps.Keys(e.GetTags())) {
		switch key {
		case "instance_id", "source_id", "__v1_type", "span_id", "trace_id":
		default:
			attributes.PutStr(key, e.GetTags()[key])
		}
	}
}

// receiverScope is the scope name of all data from the cloudfoundryreceiver.
const receiverScope = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/cloudfoundryreceiver"

// resourceKeys are the tags that the cloudfoundryreceiver puts on the resource with cloudfoundry.resourceAttributes.allow.
var resourceKeys = []string{
	"index", "ip", "deployment", "id", "job", "product", "instance_group", "instance_id", "origin", "system_domain",
	"source_id", "source_type", "process_type", "process_id", "process_instance_id",
}

// receiver converts envelopes as contrib's cloudfoundryreceiver does. Each has a resource of its own, but with tags onResource, envelopes
// with the same values of these share one.
func receiver(envelopes []*loggregator_v2.Envelope, onResource []string) converted {
	logs, metrics := plog.NewLogs(), pmetric.NewMetrics()
	c := converted{logs: logs, metrics: []pmetric.Metrics{metrics}, traces: ptrace.NewTraces()}
	for _, e := range envelopes {
		all := cloneOf(e).GetTags()
		if e.GetSourceId() != "" {
			all["source_id"] = e.GetSourceId()
		}
		if e.GetInstanceId() != "" {
			all["instance_id"] = e.GetInstanceId()
		}
		resource, record := pcommon.NewMap(), pcommon.NewMap()
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if slices.Contains(onResource, key) {
				resource.PutStr("org.cloudfoundry."+key, all[key])
			} else {
				record.PutStr("org.cloudfoundry."+key, all[key])
			}
		}
		if m := e.GetLog(); m != nil {
			rl := resourceWith(logs.ResourceLogs(), resource, onResource != nil)
			if rl.ScopeLogs().Len() == 0 {
				rl.ScopeLogs().AppendEmpty().Scope().SetName(receiverScope)
			}
			r := rl.ScopeLogs().At(0).LogRecords().AppendEmpty()
			r.SetTimestamp(pcommon.Timestamp(e.GetTimestamp()))
			r.SetObservedTimestamp(now)
			r.Body().SetStr(string(m.GetPayload()))
			r.SetSeverityNumber(severityOf(m))
			r.SetSeverityText(r.SeverityNumber().String())
			record.CopyTo(r.Attributes())
			continue
		}
		rm := resourceWith(metrics.ResourceMetrics(), resource, onResource != nil)
		if rm.ScopeMetrics().Len() == 0 {
			rm.ScopeMetrics().AppendEmpty().Scope().SetName(receiverScope)
		}
		add := func(name string, points func(pmetric.Metric) pmetric.NumberDataPointSlice, value float64) {
			metric := rm.ScopeMetrics().At(0).Metrics().AppendEmpty()
			metric.SetName(e.GetTags()["origin"] + "." + name)
			p := points(metric).AppendEmpty()
			p.SetTimestamp(pcommon.Timestamp(e.GetTimestamp()))
			p.SetStartTimestamp(at)
			p.SetDoubleValue(value)
			record.CopyTo(p.Attributes())
		}
		if m := e.GetCounter(); m != nil {
			add(m.GetName(), func(m pmetric.Metric) pmetric.NumberDataPointSlice { return m.SetEmptySum().DataPoints() }, float64(m.GetTotal()))
		}
		for _, name := range slices.Sorted(maps.Keys(e.GetGauge().GetMetrics())) {
			add(name, asGauge, e.GetGauge().GetMetrics()[name].GetValue())
		}
	}
	return c
}

// resourceWith returns the resource in all that has these attributes, if resources are shared, else a new one.
func resourceWith[R interface{ Resource() pcommon.Resource }](all interface {
	All() iter.Seq2[int, R]
	AppendEmpty() R
}, attributes pcommon.Map, shared bool,
) R {
	for _, r := range all.All() {
		if shared && r.Resource().Attributes().Equal(attributes) {
			return r
		}
	}
	r := all.AppendEmpty()
	attributes.CopyTo(r.Resource().Attributes())
	return r
}

// envelopes returns envelopes as Loggregator carries them: source IDs, instance IDs, source types and tag keys are valid in syslog, strings
// are UTF-8, numbers are finite, all times are set, no Timer ends before it starts, and sizes are within the limits.
//
// No tag has a name that means something else to the exporter, such as cloudfoundry.app.id, service.instance.id, or one with the prefix of
// the cloudfoundryreceiver. A log.iostream matches the type of the Log.
func (s *script) envelopes(labels bool) []*loggregator_v2.Envelope {
	var envelopes []*loggregator_v2.Envelope
	for len(s.rest) > 0 {
		e := &loggregator_v2.Envelope{
			Timestamp: s.time(), SourceId: s.sourceID(), InstanceId: s.instanceID(), Tags: s.tags(labels),
		}
		if n := len(envelopes); n > 0 && s.below(4) == 0 {
			// So that metrics can share an envelope.
			e = cloneOf(envelopes[n-1])
		}
		s.message(e, labels)
		envelopes = append(envelopes, e)
	}
	return envelopes
}

func (s *script) message(e *loggregator_v2.Envelope, labels bool) {
	name := func() string {
		if n := s.string(); n != "" && !labels {
			return n
		}
		return "m" + strings.Repeat("x", s.below(9))
	}
	delete(e.GetTags(), "log.iostream")
	switch s.below(6) {
	case 0, 1:
		payload := s.text()
		log := &loggregator_v2.Log{Payload: []byte(payload[:min(len(payload), defaults().MaxPayload)])}
		stream := "stdout"
		if s.bool() {
			log.Type, stream = loggregator_v2.Log_ERR, "stderr"
		}
		if s.below(4) == 0 {
			e.Tags["log.iostream"] = stream
		}
		e.Message = &loggregator_v2.Envelope_Log{Log: log}
	case 2:
		counter := &loggregator_v2.Counter{Name: name(), Total: s.uint64()}
		if s.below(4) == 0 {
			counter.Delta = s.uint64()
		}
		e.Message = &loggregator_v2.Envelope_Counter{Counter: counter}
	case 3:
		metrics := map[string]*loggregator_v2.GaugeValue{}
		for range s.below(6) {
			value := s.double()
			if !isFinite(value) {
				value = 0.1
			}
			metrics[name()] = &loggregator_v2.GaugeValue{Unit: s.string(), Value: value}
		}
		e.Message = &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{Metrics: metrics}}
	case 4:
		start := s.time()
		e.Message = &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{
			Name: s.string(), Start: start, Stop: start + int64(s.uint64()>>2),
		}}
		if s.below(4) > 0 {
			e.Tags["trace_id"] = hex.EncodeToString(append([]byte{1 + byte(s.below(255))}, s.exactly(15)...))
			e.Tags["span_id"] = hex.EncodeToString(append([]byte{1 + byte(s.below(255))}, s.exactly(7)...))
		}
		switch s.below(8) {
		case 0:
			e.Tags["peer_type"] = "Client"
		case 1, 2, 3:
			e.Tags["peer_type"] = "Server"
		}
	default:
		e.Message = &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{Title: s.string(), Body: s.string()}}
	}
}

func (s *script) exactly(n int) []byte {
	b := make([]byte, n)
	copy(b, s.bytes(n))
	return b
}

func (s *script) time() int64 {
	if s.bool() {
		return at + int64(s.below(3))
	}
	return int64(s.uint64()>>2) | 1
}

// string returns any valid UTF-8 that is short enough for a source type, even in capitals.
func (s *script) string() string {
	t := s.text()
	return strings.ToValidUTF8(t[:min(len(t), 48)], "")
}

// characters returns n characters of alphabet.
func (s *script) characters(n int, alphabet string) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[s.below(len(alphabet))]
	}
	if string(b) == "-" {
		return "x" // As an ID in syslog, a dash means none.
	}
	return string(b)
}

const (
	labelCharacters   = "abcdefghijklmnopqrstuvwxyz0123456789"
	keyCharacters     = labelCharacters + "ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'()*+,-./:;<>?@[\\^_`{|}~"
	visibleCharacters = keyCharacters + `="]`
)

func (s *script) sourceID() string {
	if s.bool() {
		return []string{"a6e5a6e4-9a0c-4f4b-8c6e-0d4d2c1b7a30", "gorouter", "doppler", "otelcol", "0"}[s.below(5)]
	}
	return s.characters(1+s.below(48), visibleCharacters)
}

func (s *script) instanceID() string {
	if s.bool() {
		return []string{"0", "7", "2c3b1a09-7f6e-4d5c-8b4a-39281706f5e4", ""}[s.below(4)]
	}
	return s.characters(s.below(37), visibleCharacters)
}

// platformKeys are tags of the platform and its components, and tags that the mapping treats specially. All are valid Prometheus labels.
var platformKeys = []string{
	"app_id", "app_name", "space_id", "space_name", "organization_id", "organization_name", "process_id", "process_type",
	"process_instance_id", "source_type", "deployment", "job", "index", "ip", "id", "origin", "product", "instance_group",
	"system_domain", "trace_id", "span_id", "parent_span_id", "peer_type", "uri", "method", "status_code", "status_message",
	"source_id", "instance_id", "__v1_type", "severity", "span_kind", "part", "le", "quantile", "unit", "otel_scope_name",
	"otel_scope_version", "clock_skew", "title", "body", "total",
}

func (s *script) tags(labels bool) map[string]string {
	tags := map[string]string{}
	n := s.below(12)
	if s.below(8) == 0 {
		n = 24 // More than a keySet searches through.
	}
	for range n {
		key := platformKeys[s.below(len(platformKeys))]
		switch random := s.below(4) == 0; {
		case random && labels:
			key = "k" + s.characters(s.below(32), labelCharacters)
		case random:
			key = s.characters(1+s.below(32), keyCharacters)
			if strings.HasPrefix(strings.TrimPrefix(key, "org."), "cloudfoundry.") || key == "service.instance.id" {
				continue
			}
		case !labels && s.below(8) == 0:
			key = []string{"service.name", "http.method", "host.name"}[s.below(3)]
		}
		switch key {
		case "source_id":
			tags[key] = s.sourceID()
		case "instance_id":
			tags[key] = s.instanceID()
		case "peer_type":
			tags[key] = []string{"Server", "Client", "server", ""}[s.below(4)]
		case "source_type", "process_type":
			tags[key] = s.characters(s.below(40), visibleCharacters) // Short enough for a PROCID of syslog.
		case "uri":
			tags[key] = []string{"https://example.com/a/b?c=d", "/a%20b", "https://example.com", "/%ff", "%", s.string()}[s.below(6)]
		default:
			tags[key] = s.string()
		}
	}
	return tags
}

// expected returns the envelopes that should come back, and the number rejected as empty. It counts the differences in seen.
func (trip roundTrip) expected(
	envelopes []*loggregator_v2.Envelope, seen map[string]int,
) (want []*loggregator_v2.Envelope, empty int) {
next:
	for _, e := range envelopes {
		e = cloneOf(e)
		for _, d := range trip.differences {
			if d.drops(e) {
				seen[d.what]++
				continue next
			}
			before := cloneOf(e)
			d.change(e)
			if !proto.Equal(before, e) {
				seen[d.what]++
			}
		}
		if isEmptyLog(e) {
			empty++
		} else {
			want = append(want, e)
		}
	}
	return want, empty
}

// run sends envelopes on the trip. It returns those that came back, and the number rejected as empty.
func (trip roundTrip) run(t *testing.T, envelopes []*loggregator_v2.Envelope) (got []*loggregator_v2.Envelope, empty int) {
	t.Helper()
	opts := options(trip.options)
	c := trip.convert(envelopes)
	outs := []*recorder{translateLogs(t, opts, c.logs)}
	for _, metrics := range c.metrics {
		outs = append(outs, translateMetrics(t, opts, metrics))
	}
	outs = append(outs, translateTraces(t, opts, c.traces))
	for _, out := range outs {
		got = append(got, out.envelopes...)
		empty += out.rejected[ReasonEmpty]
		delete(out.rejected, ReasonEmpty)
		out.requireRejected(nil)
		require.Zero(t, out.truncated, "truncated items")
	}
	return got, empty
}

// comparable returns the parts of envelopes that are compared.
func (trip roundTrip) comparable(envelopes []*loggregator_v2.Envelope) []*loggregator_v2.Envelope {
	if trip.apart {
		envelopes = apart(envelopes)
	}
	var list []*loggregator_v2.Envelope
	for _, e := range envelopes {
		e = cloneOf(e)
		if e.GetGauge() != nil && trip.labels {
			e.Message = nil
		}
		list = append(list, e)
	}
	return list
}

// apart splits each Gauge into Gauges of one metric.
func apart(envelopes []*loggregator_v2.Envelope) []*loggregator_v2.Envelope {
	var list []*loggregator_v2.Envelope
	for _, e := range envelopes {
		if e.GetGauge() == nil {
			list = append(list, e)
		}
		for name, value := range e.GetGauge().GetMetrics() {
			one := cloneOf(e)
			one.GetGauge().Metrics = map[string]*loggregator_v2.GaugeValue{name: value}
			list = append(list, one)
		}
	}
	return list
}

// requireSameEnvelopes compares encoded envelopes, in any order.
func requireSameEnvelopes(t *testing.T, want, got []*loggregator_v2.Envelope) {
	t.Helper()
	wire := func(e *loggregator_v2.Envelope) string {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
		require.NoError(t, err)
		return string(b)
	}
	left := map[string]int{}
	for _, e := range want {
		left[wire(e)]++
	}
	for _, e := range got {
		left[wire(e)]--
	}
	var missing, unexpected []*loggregator_v2.Envelope
	for _, e := range want {
		if left[wire(e)] > 0 {
			left[wire(e)]--
			missing = append(missing, e)
		}
	}
	for _, e := range got {
		if left[wire(e)] < 0 {
			left[wire(e)]++
			unexpected = append(unexpected, e)
		}
	}
	if len(missing)+len(unexpected) > 0 {
		t.Fatalf("missing: %s\nunexpected: %s", readable(missing), readable(unexpected))
	}
}

// check sends the envelopes of a script on the trip. It counts the kinds that came back in returned, and the differences in seen.
func (trip roundTrip) check(t *testing.T, b []byte, returned, seen map[string]int) {
	t.Helper()
	envelopes := newScript(b).envelopes(trip.labels)
	want, wantEmpty := trip.expected(envelopes, seen)
	got, empty := trip.run(t, envelopes)
	requireFit(t, got)
	require.Equal(t, wantEmpty, empty, "rejected as empty")
	requireSameEnvelopes(t, trip.comparable(want), trip.comparable(got))
	for _, e := range got {
		returned[kindOf(e)]++
	}
}

func kindOf(e *loggregator_v2.Envelope) string {
	return string(e.ProtoReflect().WhichOneof(e.ProtoReflect().Descriptor().Oneofs().ByName("message")).Name())
}

func TestRoundTrip(t *testing.T) {
	for name, trip := range roundTrips {
		t.Run(name, func(t *testing.T) {
			returned, seen := map[string]int{}, map[string]int{}
			for seed := range uint64(150) {
				trip.check(t, randomScript(seed), returned, seen)
			}
			for _, kind := range trip.kinds {
				assert.Greater(t, returned[kind], 50, "%s envelopes that came back", kind)
			}
			for _, d := range trip.differences {
				// The exporter also changes Timers, but the receiver produces none.
				if d.what != "the tag span_kind of a Timer" || slices.Contains(trip.kinds, "timer") {
					assert.Positive(t, seen[d.what], "occurrences of: %s (%s)", d.what, d.why)
				}
			}
		})
	}
}

// A second round trip changes nothing.
func TestRoundTripTwice(t *testing.T) {
	trip := roundTrips["forwarder agent, batches of its own size"]
	for seed := range uint64(50) {
		once, _ := trip.run(t, newScript(randomScript(seed)).envelopes(false))
		require.NotEmpty(t, once)
		twice, empty := trip.run(t, once)
		require.Zero(t, empty)
		requireSameEnvelopes(t, trip.comparable(once), trip.comparable(twice))
	}
}

// An envelope to which no difference applies comes back unchanged, to the last byte.
func TestRoundTripUnchanged(t *testing.T) {
	failed := &loggregator_v2.Log{Payload: []byte("no"), Type: loggregator_v2.Log_ERR}
	for name, e := range map[string]*loggregator_v2.Envelope{
		"log":     newEnvelope(&loggregator_v2.Log{Payload: []byte("hello")}, "severity", "INFO"),
		"error":   newEnvelope(failed, "severity", "ERROR"),
		"event":   newEnvelope(&loggregator_v2.Event{Title: "t", Body: "b"}),
		"counter": total("ingress.total", 42, "instance_id", "3"),
		"gauge":   also(gauge("cpu", "percentage", 12.5, "instance_id", "3"), "memory", "bytes", 1<<20),
		"server":  timer(append(ids()[:4], "peer_type", "Server", "span_kind", "server")...),
		"timer":   timer(append(ids()[:4], "span_kind", "internal")...),
	} {
		t.Run(name, func(t *testing.T) {
			e.SourceId, e.InstanceId = "gorouter", "3"
			maps.Copy(e.Tags, map[string]string{
				"origin": "gorouter", "job": "router", "ip": "10.0.0.1", "process_type": "web", "source_type": "APP/PROC/WEB",
			})
			trip := roundTrips["forwarder agent, batches of its own size"]
			got, empty := trip.run(t, []*loggregator_v2.Envelope{e})
			require.Zero(t, empty)
			requireSameEnvelopes(t, []*loggregator_v2.Envelope{e}, got)
		})
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("\x01\x01\x01\x01"))
	for seed := range uint64(4) {
		f.Add(randomScript(seed))
	}
	names := slices.Sorted(maps.Keys(roundTrips))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, name := range names {
			t.Log(name)
			roundTrips[name].check(t, b, map[string]int{}, map[string]int{})
		}
	})
}
