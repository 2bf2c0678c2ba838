// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package exporter measures the exporter and its peers.
package exporter

import (
	"fmt"
	"iter"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// The inputs of all peers.

func putAttributes(attributes pcommon.Map, of string, from, n int) {
	for i := range n {
		attributes.PutStr(fmt.Sprintf("%s.attribute.%d", of, i), fmt.Sprintf("value %d of %s %d", i, of, from))
	}
}

func putResource(r pcommon.Resource, i int) {
	r.Attributes().PutStr("service.name", "shop")
	r.Attributes().PutStr("service.instance.id", strconv.Itoa(i))
	r.Attributes().PutStr("cloudfoundry.app.id", "11111111-2222-3333-4444-555555555555")
	r.Attributes().PutStr("cloudfoundry.app.name", "shop")
}

const when = 1_767_225_600_000_000_000 // 2026-01-01 00:00 UTC in ns

// benchLogs returns log records with the given number of attributes each, spread over the given number of resources.
func benchLogs(records, resources, attributes int) plog.Logs {
	data := plog.NewLogs()
	for k := range resources {
		rl := data.ResourceLogs().AppendEmpty()
		putResource(rl.Resource(), k)
		all := rl.ScopeLogs().AppendEmpty().LogRecords()
		for i := k; i < records; i += resources {
			r := all.AppendEmpty()
			r.SetTimestamp(when)
			r.SetSeverityNumber(plog.SeverityNumberInfo)
			r.SetSeverityText("INFO")
			r.SetTraceID(pcommon.TraceID{1, 2, 3, byte(i)})
			r.SetSpanID(pcommon.SpanID{4, 5, byte(i)})
			r.Body().SetStr(fmt.Sprintf("GET /orders/%d took 12 ms and answered with 200 OK to somebody far away", i))
			putAttributes(r.Attributes(), "http", i, attributes)
		}
	}
	return data
}

func benchTraces(spans, attributes int) ptrace.Traces {
	data := ptrace.NewTraces()
	rs := data.ResourceSpans().AppendEmpty()
	putResource(rs.Resource(), 0)
	all := rs.ScopeSpans().AppendEmpty().Spans()
	for i := range spans {
		s := all.AppendEmpty()
		s.SetName("GET /orders")
		s.SetKind(ptrace.SpanKindServer)
		s.SetTraceID(pcommon.TraceID{1, 2, 3, byte(i)})
		s.SetSpanID(pcommon.SpanID{4, 5, byte(i)})
		s.SetParentSpanID(pcommon.SpanID{6, 7, byte(i)})
		s.SetStartTimestamp(when)
		s.SetEndTimestamp(when + 12_000_000)
		putAttributes(s.Attributes(), "http", i, attributes)
	}
	return data
}

// benchPoints returns half gauges and half sums, with 50 names each.
func benchPoints(points int) pmetric.Metrics {
	data := pmetric.NewMetrics()
	rm := data.ResourceMetrics().AppendEmpty()
	putResource(rm.Resource(), 0)
	metrics := rm.ScopeMetrics().AppendEmpty().Metrics()
	for k := range 100 {
		m := metrics.AppendEmpty()
		m.SetName(fmt.Sprintf("http.server.number.%d", k))
		m.SetUnit("By")
		var all pmetric.NumberDataPointSlice
		if k%2 == 0 {
			all = m.SetEmptyGauge().DataPoints()
		} else {
			sum := m.SetEmptySum()
			sum.SetIsMonotonic(true)
			sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			all = sum.DataPoints()
		}
		for i := range points / 100 {
			p := all.AppendEmpty()
			p.SetTimestamp(when)
			p.SetIntValue(int64(i))
			putAttributes(p.Attributes(), "http", i, 4)
		}
	}
	return data
}

func benchHistograms(points int) pmetric.Metrics {
	data := pmetric.NewMetrics()
	rm := data.ResourceMetrics().AppendEmpty()
	putResource(rm.Resource(), 0)
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("http.server.duration")
	m.SetUnit("s")
	h := m.SetEmptyHistogram()
	h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range points {
		p := h.DataPoints().AppendEmpty()
		p.SetTimestamp(when)
		p.SetCount(78)
		p.SetSum(12.5)
		p.ExplicitBounds().FromRaw([]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10})
		p.BucketCounts().FromRaw([]uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
		putAttributes(p.Attributes(), "http", i, 4)
	}
	return data
}

// messages builds messages of 100 envelopes in the same memory.
type messages struct {
	message   []byte
	envelopes int
}

func (m *messages) add(e translate.Envelope) bool {
	if e.Reason != "" {
		panic(e.Reason)
	}
	if m.envelopes%100 == 0 {
		m.message = m.message[:0]
	}
	m.message = envelope.Append(m.message, e.Encoded)
	m.envelopes++
	return true
}

var options = translate.Options{
	SourceID: translate.Identity{
		Attributes: []string{"cloudfoundry.app.id", "cloudfoundry.system.id", "org.cloudfoundry.source_id", "source_id", "service.name"},
		Default:    "otelcol",
	},
	InstanceID: translate.Identity{
		Attributes: []string{"cloudfoundry.app.instance.id", "cloudfoundry.system.instance.id", "org.cloudfoundry.instance_id", "instance_id", "service.instance.id"},
		Default:    "0",
	},
	SyslogSafe: true, SourceType: "OTEL", MaxPayload: 60 << 10, PrometheusNames: true,
}

// straightforward is the obvious implementation of the mapping, as far as the inputs need it: go-loggregator's structs with a map of tags
// each, encoded by proto.Marshal 100 at a time.
type straightforward struct {
	batch loggregator_v2.EnvelopeBatch
	// emit and send, if set, take an envelope or a batch, instead of encoding a batch of 100.
	emit func(*loggregator_v2.Envelope)
	send func(*loggregator_v2.EnvelopeBatch)
}

func (s *straightforward) add(e *loggregator_v2.Envelope) {
	if s.emit != nil {
		s.emit(e)
		return
	}
	s.batch.Batch = append(s.batch.Batch, e)
	if len(s.batch.Batch) == 100 {
		s.flush()
	}
}

func (s *straightforward) flush() {
	if len(s.batch.Batch) == 0 {
		return
	}
	if s.send != nil {
		s.send(&s.batch)
	} else {
		_, err := proto.Marshal(&s.batch)
		must(err)
	}
	s.batch.Batch = nil
}

func firstOf(keys []string, or string, maps ...pcommon.Map) string {
	for _, key := range keys {
		for _, m := range maps {
			if v, ok := m.Get(key); ok && v.AsString() != "" {
				return v.AsString()
			}
		}
	}
	return or
}

func tagKey(key string) string {
	switch key {
	case "cloudfoundry.app.id":
		return "app_id"
	case "cloudfoundry.app.name":
		return "app_name"
	}
	if len(key) > 32 {
		panic("no input has such a long key")
	}
	return key
}

func tagsOf(maps ...pcommon.Map) map[string]string {
	tags := map[string]string{}
	for _, m := range maps {
		for key, value := range m.All() {
			tags[tagKey(key)] = strings.ToValidUTF8(value.AsString(), "\uFFFD")
		}
	}
	return tags
}

func (s *straightforward) logs(data plog.Logs) {
	for _, rl := range data.ResourceLogs().All() {
		resource := rl.Resource().Attributes()
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				tags := tagsOf(resource, r.Attributes())
				tags["severity"] = r.SeverityText()
				tags["trace_id"] = r.TraceID().String()
				tags["span_id"] = r.SpanID().String()
				tags["source_type"] = "OTEL"
				s.add(identify(r.Timestamp(), r.Attributes(), resource, &loggregator_v2.Envelope{
					Tags:    tags,
					Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(r.Body().AsString())}},
				}))
			}
		}
	}
	s.flush()
}

func (s *straightforward) traces(data ptrace.Traces) {
	for _, rs := range data.ResourceSpans().All() {
		resource := rs.Resource().Attributes()
		for _, ss := range rs.ScopeSpans().All() {
			for _, span := range ss.Spans().All() {
				tags := tagsOf(resource, span.Attributes())
				tags["trace_id"] = span.TraceID().String()
				tags["span_id"] = span.SpanID().String()
				tags["parent_span_id"] = span.ParentSpanID().String()
				tags["span_kind"] = "server"
				tags["peer_type"] = "Server"
				s.add(identify(span.EndTimestamp(), span.Attributes(), resource, &loggregator_v2.Envelope{
					Tags: tags,
					Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{
						Name: span.Name(), Start: int64(span.StartTimestamp()), Stop: int64(span.EndTimestamp()),
					}},
				}))
			}
		}
	}
	s.flush()
}

func (s *straightforward) metrics(data pmetric.Metrics) {
	for _, rm := range data.ResourceMetrics().All() {
		resource := rm.Resource().Attributes()
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					for _, p := range m.Gauge().DataPoints().All() {
						s.add(metricEnvelope(p.Timestamp(), p.Attributes(), resource, gaugeOf(prometheusName(m.Name(), m.Unit(), ""), float64(p.IntValue()))))
					}
				case pmetric.MetricTypeSum:
					for _, p := range m.Sum().DataPoints().All() {
						s.add(metricEnvelope(p.Timestamp(), p.Attributes(), resource, counterOf(prometheusName(m.Name(), m.Unit(), "_total"), uint64(p.IntValue()))))
					}
				case pmetric.MetricTypeHistogram:
					for _, p := range m.Histogram().DataPoints().All() {
						s.histogram(prometheusName(m.Name(), m.Unit(), ""), p, resource)
					}
				default:
					panic("no input has this type")
				}
			}
		}
	}
	s.flush()
}

func (s *straightforward) histogram(name string, p pmetric.HistogramDataPoint, resource pcommon.Map) {
	s.add(metricEnvelope(p.Timestamp(), p.Attributes(), resource, gaugeOf(name+"_sum", p.Sum())))
	total := uint64(0)
	for i, n := range p.BucketCounts().All() {
		total += n
		e := metricEnvelope(p.Timestamp(), p.Attributes(), resource, counterOf(name+"_bucket", total))
		e.Tags["le"] = "+Inf"
		if i < p.ExplicitBounds().Len() {
			e.Tags["le"] = strconv.FormatFloat(p.ExplicitBounds().At(i), 'g', -1, 64)
		}
		s.add(e)
	}
	s.add(metricEnvelope(p.Timestamp(), p.Attributes(), resource, counterOf(name+"_count", p.Count())))
}

var notInNames = regexp.MustCompile("[^a-zA-Z0-9_:]")

func prometheusName(name, unit, suffix string) string {
	units := map[string]string{"By": "_bytes", "s": "_seconds"}
	return notInNames.ReplaceAllString(name, "_") + units[unit] + suffix
}

func gaugeOf(name string, v float64) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{
		Metrics: map[string]*loggregator_v2.GaugeValue{name: {Value: v}},
	}}}
}

func counterOf(name string, total uint64) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{Name: name, Total: total}}}
}

func identify(at pcommon.Timestamp, attributes, resource pcommon.Map, e *loggregator_v2.Envelope) *loggregator_v2.Envelope {
	e.Timestamp = int64(at)
	e.SourceId = firstOf(options.SourceID.Attributes, "otelcol", attributes, resource)
	e.InstanceId = firstOf(options.InstanceID.Attributes, "0", attributes, resource)
	return e
}

func metricEnvelope(at pcommon.Timestamp, attributes, resource pcommon.Map, e *loggregator_v2.Envelope) *loggregator_v2.Envelope {
	identify(at, attributes, resource, e)
	e.Tags = map[string]string{"instance_id": e.InstanceId}
	for key, value := range tagsOf(resource, attributes) {
		e.Tags[notInNames.ReplaceAllString(key, "_")] = value
	}
	return e
}

const items = 1000

// input is the work of each peer with the same data of a signal.
type input struct {
	name                      string
	items                     int // log records, metric points or spans
	exporter, straightforward func()
	marshal                   func() int
}

func newInput[D any](name string, data D, items int, translated func(D) iter.Seq[translate.Envelope], straightforward func(D),
	marshal func(D) ([]byte, error),
) input {
	add := (&messages{}).add
	return input{name, items, func() { translated(data)(add) }, func() { straightforward(data) }, func() int {
		encoded, err := marshal(data)
		must(err)
		return len(encoded)
	}}
}

func logsInput(name string, data plog.Logs) input {
	return newInput(name, data, data.LogRecordCount(), translate.NewLogs(options).Translate,
		func(data plog.Logs) { (&straightforward{}).logs(data) }, (&plog.ProtoMarshaler{}).MarshalLogs)
}

func metricsInput(name string, data pmetric.Metrics) input {
	return newInput(name, data, data.DataPointCount(), translate.NewMetrics(options).Translate,
		func(data pmetric.Metrics) { (&straightforward{}).metrics(data) }, (&pmetric.ProtoMarshaler{}).MarshalMetrics)
}

func tracesInput(name string, data ptrace.Traces) input {
	return newInput(name, data, data.SpanCount(), translate.NewTraces(options).Translate,
		func(data ptrace.Traces) { (&straightforward{}).traces(data) }, (&ptrace.ProtoMarshaler{}).MarshalTraces)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// perItem measures work on the given number of items in steady state, for example with warm caches.
func perItem(b *testing.B, items int, work func()) {
	b.Helper()
	for range 3 {
		work()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	for range b.N {
		work()
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	n := float64(b.N) * float64(items)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/item")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n, "B/item")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n, "allocs/item")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEncode translates data to encoded messages of 100 envelopes.
func BenchmarkEncode(b *testing.B) {
	for _, in := range []input{
		logsInput("logs", benchLogs(items, 4, 12)),
		metricsInput("points", benchPoints(items)),
		metricsInput("histograms", benchHistograms(100)),
		tracesInput("spans", benchTraces(items, 10)),
		logsInput("one-log", benchLogs(1, 1, 12)),
	} {
		encoded := make([]byte, in.marshal())
		to := make([]byte, len(encoded))
		for _, peer := range []struct {
			name string
			work func()
		}{
			{"exporter", in.exporter},
			{"straightforward", in.straightforward},
			{"ProtoMarshaler", func() { in.marshal() }},
			{"copy", func() { copy(to, encoded) }},
		} {
			b.Run("input="+in.name+"/peer="+peer.name, func(b *testing.B) { perItem(b, in.items, peer.work) })
		}
	}
}

// BenchmarkEncodeGrowth is like BenchmarkEncode for logs with increasing numbers of records and of attributes.
func BenchmarkEncodeGrowth(b *testing.B) {
	grow := func(what string, n int, in input) {
		b.Run(fmt.Sprintf("grow=%s/n=%d/peer=exporter", what, n), func(b *testing.B) { perItem(b, in.items, in.exporter) })
		b.Run(fmt.Sprintf("grow=%s/n=%d/peer=ProtoMarshaler", what, n), func(b *testing.B) { perItem(b, in.items, func() { in.marshal() }) })
	}
	for _, records := range []int{1, 10, 100, 1000, 10_000} {
		grow("records", records, logsInput("", benchLogs(records, 1, 12)))
	}
	for _, attributes := range []int{1, 4, 16, 64} {
		grow("attributes", attributes, logsInput("", benchLogs(items, 1, attributes)))
	}
}
