// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net"
	"strconv"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc"
)

// startExample runs the collector on an example that has an OTLP receiver, and connects to that.
func startExample(t *testing.T, s *sink, config string) *grpc.ClientConn {
	t.Helper()
	_, sinkPort, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	port := freePorts(t, 1)[0]
	start(t, []string{"SINK_PORT=" + sinkPort, "CERTS=" + s.certs, "OTLP_GRPC_PORT=" + strconv.Itoa(port)}, nil,
		collectorBinary, "--config", config)
	return dial(t, port)
}

func pushMetrics(t *testing.T, conn *grpc.ClientConn, metrics pmetric.Metrics) {
	t.Helper()
	_, err := pmetricotlp.NewGRPCClient(conn).Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(metrics), grpc.WaitForReady(true))
	require.NoError(t, err)
}

func TestExampleDeltaToCumulative(t *testing.T) {
	s := startSink(t)
	conn := startExample(t, s, "../examples/delta-to-cumulative/config.yaml")
	const source = "shop"
	for k := range int64(2) {
		metrics := pmetric.NewMetrics()
		rm := metrics.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("service.name", source)
		sm := rm.ScopeMetrics().AppendEmpty()

		// An up-down counter, which the exporter alone would reject.
		m := sm.Metrics().AppendEmpty()
		m.SetName("queue.length")
		m.SetEmptySum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		p := m.Sum().DataPoints().AppendEmpty()
		p.SetStartTimestamp(when)
		p.SetTimestamp(pcommon.Timestamp(when + k + 1))
		p.SetIntValue(5 - 2*k)

		// A histogram, likewise.
		m = sm.Metrics().AppendEmpty()
		m.SetName("latency")
		m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		h := m.Histogram().DataPoints().AppendEmpty()
		h.SetStartTimestamp(when)
		h.SetTimestamp(pcommon.Timestamp(when + k + 1))
		h.SetCount(3)
		h.ExplicitBounds().FromRaw([]float64{1})
		h.BucketCounts().FromRaw([]uint64{1, 2})
		pushMetrics(t, conn, metrics)
	}
	tags := map[string]string{"service_name": source, "instance_id": "0"}
	var want []*loggregator_v2.Envelope
	for k := range int64(2) {
		n := uint64(k + 1)
		want = append(want,
			gauge(when+k+1, source, "0", map[string]*loggregator_v2.GaugeValue{"queue_length": {Value: float64(5 + 3*k)}}, tags),
			counter(when+k+1, source, "0", "latency_count", 0, 3*n, tags),
			counter(when+k+1, source, "0", "latency_bucket", 0, n, with(tags, "le", "1")),
			counter(when+k+1, source, "0", "latency_bucket", 0, 3*n, with(tags, "le", "+Inf")),
		)
	}
	requireEnvelopes(t, want, s.waitFor(source, len(want)))
}

func TestExampleTransform(t *testing.T) {
	s := startSink(t)
	conn := startExample(t, s, "../examples/transform/config.yaml")

	logs := plog.NewLogs()
	rl := logs.ResourceLogs().AppendEmpty()
	rl.Resource().Attributes().PutStr("k8s.deployment.name", "orders")
	rl.Resource().Attributes().PutStr("k8s.pod.name", "orders-5d8c")
	r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	r.SetTimestamp(when)
	body := r.Body().SetEmptyMap()
	body.PutStr("message", "order 17 paid")
	body.PutInt("order", 17)
	r.Attributes().PutStr("http.request.header.Cookie", "secret")
	_, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs), grpc.WaitForReady(true))
	require.NoError(t, err)
	requireEnvelopes(t, []*loggregator_v2.Envelope{
		log(when, "orders", "orders-5d8c", "order 17 paid", loggregator_v2.Log_OUT, map[string]string{
			"k8s.deployment.name": "orders", "k8s.pod.name": "orders-5d8c", "order": "17", "source_type": "OTEL",
		}),
	}, s.waitFor("orders", 1))

	metrics := pmetric.NewMetrics()
	rm := metrics.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "shop")
	rm.Resource().Attributes().PutStr("telemetry.sdk.name", "opentelemetry")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("com.example.orders")
	m := sm.Metrics().AppendEmpty()
	m.SetName("queue.length")
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(when)
	p.SetIntValue(4)
	p.Attributes().PutStr("url.full", "https://shop.example/orders/17")
	p.Attributes().PutStr("queue.name", "mail")
	pushMetrics(t, conn, metrics)
	requireEnvelopes(t, []*loggregator_v2.Envelope{
		gauge(when, "shop", "0", map[string]*loggregator_v2.GaugeValue{"queue_length": {Value: 4}},
			map[string]string{"service_name": "shop", "queue_name": "mail", "instance_id": "0"}),
	}, s.waitFor("shop", 1))
}
