// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package exporter measures the exporter beside its peers.
package exporter

import (
	"fmt"
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

// benchLogs are records with so many attributes over so many resources.
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

// benchPoints are half gauges, half sums, of 50 names each.
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

// messages is a translate.Output that makes messages of 100 envelopes in the same memory.
type messages struct {
	message   []byte
	envelopes int
	bytes     int
}

func (m *messages) Envelope(encoded []byte, _ int) {
	if m.envelopes%100 == 0 {
		m.message = m.message[:0]
	}
	before := len(m.message)
	m.message = envelope.Append(m.message, encoded)
	m.envelopes++
	m.bytes += len(m.message) - before
}

func (*messages) Reject(reason translate.Reason, _ int) { panic(reason) }

func (*messages) Cut() {}

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

// straightforward is how one would write it without a second thought, for the part of the mapping that the inputs need:
// go-loggregator's structs, with a map of tags each, and proto.Marshal of 100 at a time.
type straightforward struct {
	batch loggregator_v2.EnvelopeBatch
	bytes int
}

func (s *straightforward) add(e *loggregator_v2.Envelope) {
	s.batch.Batch = append(s.batch.Batch, e)
	if len(s.batch.Batch) == 100 {
		s.flush()
	}
}

func (s *straightforward) flush() {
	encoded, err := proto.Marshal(&s.batch)
	if err != nil {
		panic(err)
	}
	s.bytes += len(encoded)
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
		panic("none of the inputs is that long")
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
				s.add(&loggregator_v2.Envelope{
					Timestamp:  int64(r.Timestamp()),
					SourceId:   firstOf(options.SourceID.Attributes, "otelcol", r.Attributes(), resource),
					InstanceId: firstOf(options.InstanceID.Attributes, "0", r.Attributes(), resource),
					Tags:       tags,
					Message:    &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(r.Body().AsString())}},
				})
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
				s.add(&loggregator_v2.Envelope{
					Timestamp:  int64(span.EndTimestamp()),
					SourceId:   firstOf(options.SourceID.Attributes, "otelcol", span.Attributes(), resource),
					InstanceId: firstOf(options.InstanceID.Attributes, "0", span.Attributes(), resource),
					Tags:       tags,
					Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{
						Name: span.Name(), Start: int64(span.StartTimestamp()), Stop: int64(span.EndTimestamp()),
					}},
				})
			}
		}
	}
	s.flush()
}

const items = 1000

func perItem(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
}

func BenchmarkEncodeLogs(b *testing.B) {
	data := benchLogs(items, 4, 12)
	b.Run("peer=exporter", func(b *testing.B) {
		logs, out := translate.NewLogs(options), &messages{}
		b.ReportAllocs()
		for b.Loop() {
			logs.Translate(data, out)
		}
		perItem(b, items)
	})
	b.Run("peer=straightforward", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			(&straightforward{}).logs(data)
		}
		perItem(b, items)
	})
	b.Run("peer=ProtoMarshaler", func(b *testing.B) {
		b.ReportAllocs()
		m := &plog.ProtoMarshaler{}
		for b.Loop() {
			if _, err := m.MarshalLogs(data); err != nil {
				b.Fatal(err)
			}
		}
		perItem(b, items)
	})
	b.Run("peer=copy", func(b *testing.B) {
		out := &messages{}
		translate.NewLogs(options).Translate(data, out)
		from, to := make([]byte, out.bytes), make([]byte, out.bytes)
		b.ReportAllocs()
		for b.Loop() {
			copy(to, from)
		}
		perItem(b, items)
	})
}

func BenchmarkEncodeTraces(b *testing.B) {
	data := benchTraces(items, 10)
	b.Run("peer=exporter", func(b *testing.B) {
		traces, out := translate.NewTraces(options), &messages{}
		b.ReportAllocs()
		for b.Loop() {
			traces.Translate(data, out)
		}
		perItem(b, items)
	})
	b.Run("peer=straightforward", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			(&straightforward{}).traces(data)
		}
		perItem(b, items)
	})
	b.Run("peer=ProtoMarshaler", func(b *testing.B) {
		b.ReportAllocs()
		m := &ptrace.ProtoMarshaler{}
		for b.Loop() {
			if _, err := m.MarshalTraces(data); err != nil {
				b.Fatal(err)
			}
		}
		perItem(b, items)
	})
}

func BenchmarkEncodeMetrics(b *testing.B) {
	for _, in := range []struct {
		name string
		n    int
		data pmetric.Metrics
	}{{"points", items, benchPoints(items)}, {"histograms", 100, benchHistograms(100)}} {
		b.Run("input="+in.name+"/peer=exporter", func(b *testing.B) {
			metrics, out := translate.NewMetrics(options), &messages{}
			b.ReportAllocs()
			for b.Loop() {
				metrics.Translate(in.data, out)
			}
			perItem(b, in.n)
		})
		b.Run("input="+in.name+"/peer=ProtoMarshaler", func(b *testing.B) {
			b.ReportAllocs()
			m := &pmetric.ProtoMarshaler{}
			for b.Loop() {
				if _, err := m.MarshalMetrics(in.data); err != nil {
					b.Fatal(err)
				}
			}
			perItem(b, in.n)
		})
	}
}
