// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

// fixture is an exporter's surroundings.
type fixture struct {
	t         *testing.T
	ingress   *ingresstest.Capture
	cfg       *Config
	telemetry *componenttest.Telemetry
	logger    *zap.Logger
	logs      *observer.ObservedLogs
	factory   exporter.Factory
	host      *reporttest.Host
}

func newFixture(t *testing.T) *fixture {
	core, logs := observer.New(zap.DebugLevel)
	f := &fixture{
		t:         t,
		logger:    zap.New(core),
		logs:      logs,
		ingress:   ingresstest.StartCapture(t),
		cfg:       createDefaultConfig().(*Config),
		telemetry: componenttest.NewTelemetry(),
		factory:   NewFactory(),
		host:      reporttest.NewHost(),
	}
	t.Cleanup(func() { require.NoError(t, f.telemetry.Shutdown(context.Background())) })
	connect(f.cfg, f.ingress)
	f.cfg.RetryConfig.InitialInterval = time.Millisecond
	f.cfg.RetryConfig.MaxInterval = 10 * time.Millisecond
	f.cfg.RateLimit.EnvelopesPerSecond = 0
	return f
}

// connect points cfg to an ingress.
func connect(cfg *Config, ingress *ingresstest.Capture) {
	cfg.Endpoint = ingress.Addr()
	cfg.TLS.CAFile = ingress.File(ingressserver.CAFile)
	cfg.TLS.CertFile = ingress.File(ingressserver.ClientCertFile)
	cfg.TLS.KeyFile = ingress.File(ingressserver.ClientKeyFile)
}

// settings returns the same settings, with the same log, for all exporters of a fixture.
func (f *fixture) settings() exporter.Settings {
	set := exportertest.NewNopSettings(metadata.Type)
	set.TelemetrySettings = f.telemetry.NewTelemetrySettings()
	set.Logger = f.logger
	set.ID = component.MustNewIDWithName("loggregator", "test")
	return set
}

// sum returns the value of a counter or gauge over all attribute sets that have the given attributes.
func (f *fixture) sum(name string, having ...attribute.KeyValue) int {
	f.t.Helper()
	points, err := reporttest.Points(f.telemetry, name)
	if err != nil {
		return 0 // Nothing was counted.
	}
	total := 0
	for _, p := range points {
		require.True(f.t, reporttest.Has(p.Attributes, attribute.String("exporter", "loggregator/test")))
		if reporttest.Has(p.Attributes, having...) {
			total += int(p.Value)
		}
	}
	return total
}

func (f *fixture) lines(message string) []observer.LoggedEntry {
	return f.logs.FilterMessageSnippet(message).All()
}

// counts has the items of a signal by outcome.
type counts struct{ sent, failed, dropped, rejected, waiting int }

func (f *fixture) counts(signal string) counts {
	f.t.Helper()
	by := attribute.String("signal", signal)
	return counts{
		sent:     f.sum("exporter_sent_" + itemNames[signal]),
		failed:   f.sum("exporter_send_failed_" + itemNames[signal]),
		dropped:  f.sum("exporter_loggregator_dropped_items", by),
		rejected: f.sum("exporter_loggregator_rejected_items", by),
		waiting:  f.sum("exporter_loggregator_waiting_items", by),
	}
}

// checkIdentity checks that accepted = sent + failed + dropped + rejected + waiting.
func (f *fixture) checkIdentity(signal string, accepted int) {
	f.t.Helper()
	by := attribute.String("signal", signal)
	assert.Equal(f.t, accepted, f.sum("exporter_loggregator_accepted_items", by))
	c := f.counts(signal)
	assert.Equalf(f.t, accepted, c.sent+c.failed+c.dropped+c.rejected+c.waiting, "accepted is not what was counted: %+v", c)
	assert.Equal(f.t,
		c.dropped-f.sum("exporter_loggregator_dropped_items", by, attribute.String("reason", "shutdown")),
		f.sum("exporter_enqueue_failed_"+itemNames[signal]), "enqueue_failed is what the diode dropped")
}

const (
	// lossInterval is the least time between two lines on losses. After outageGrace without a success the status is an error.
	lossInterval = 10 * time.Second
	outageGrace  = time.Second
)

// waitAtMost is the timeout of every wait in these tests: far more than any should take.
const waitAtMost = time.Minute

// itemNames are the names of the items of each signal in metrics.
var itemNames = map[string]string{"logs": "log_records", "metrics": "metric_points", "traces": "spans"}

// feed is an exporter of one signal with a way to push items, each of which becomes one envelope with its number.
type feed struct {
	component.Component
	signal string
	// push pushes a batch of n items, numbered from first on, each of at least size bytes.
	push func(first, n, size int)
	// waiting is the number of items in the exporter.
	waiting func() int64
}

// start starts an exporter of a signal. The test has to shut it down.
func (f *fixture) start(signal string) feed {
	f.t.Helper()
	feed := f.create(signal)
	require.NoError(f.t, feed.Start(f.t.Context(), f.host))
	return feed
}

// create creates an exporter of a signal.
func (f *fixture) create(signal string) feed {
	f.t.Helper()
	ctx, set := f.t.Context(), f.settings()
	pushed := func(err error) {
		if err != nil {
			f.t.Errorf("a push failed: %v", err)
		}
	}
	switch signal {
	case "logs":
		e, err := f.factory.CreateLogs(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeLogs(ctx, numberedLogs(first, n, size))) },
			e.(logsExporter).report.Waiting}
	case "metrics":
		e, err := f.factory.CreateMetrics(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeMetrics(ctx, numberedMetrics(first, n, size))) },
			e.(metricsExporter).report.Waiting}
	default:
		e, err := f.factory.CreateTraces(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeTraces(ctx, numberedTraces(first, n, size))) },
			e.(tracesExporter).report.Waiting}
	}
}

// startStalled starts an exporter of a signal with a stalled ingress and no timeout. When it returns, n items of at least size bytes
// each are in an attempt, and nothing else leaves the diode.
func (f *fixture) startStalled(signal string, first, n, size int) feed {
	f.t.Helper()
	f.cfg.TimeoutConfig.Timeout = 0
	f.ingress.Stall()
	calls := f.ingress.Calls()
	e := f.start(signal)
	e.push(first, n, size)
	f.ingress.WaitFor(f.t, "the first message", func() bool { return f.ingress.Calls() > calls })
	return e
}

// retryInAnHour makes every pause between attempts longer than the test.
func (f *fixture) retryInAnHour() {
	f.cfg.RetryConfig.InitialInterval, f.cfg.RetryConfig.MaxInterval, f.cfg.RetryConfig.MaxElapsedTime = time.Hour, time.Hour, 0
}

func numberedLogs(first, n, size int) plog.Logs {
	data := plog.NewLogs()
	records := data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		r := records.AppendEmpty()
		r.Body().SetStr("log")
		number(r.Attributes(), first+i, size)
	}
	return data
}

func number(attrs pcommon.Map, n, size int) {
	attrs.PutStr("number", strconv.Itoa(n))
	attrs.PutStr("padding", strings.Repeat("x", size))
}

func numberedMetrics(first, n, size int) pmetric.Metrics {
	data := pmetric.NewMetrics()
	m := data.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("requests")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range n {
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(1)
		number(p.Attributes(), first+i, size)
	}
	return data
}

func numberedTraces(first, n, size int) ptrace.Traces {
	data := ptrace.NewTraces()
	spans := data.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetName("span")
		number(s.Attributes(), first+i, size)
	}
	return data
}

// signalOf returns the signal of an envelope of a feed.
func signalOf(e *loggregator_v2.Envelope) string {
	switch e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		return "logs"
	case *loggregator_v2.Envelope_Counter:
		return "metrics"
	default:
		return "traces"
	}
}

// numberOf returns the number of the item of a feed that became this envelope.
func (f *fixture) numberOf(e *loggregator_v2.Envelope) int {
	f.t.Helper()
	n, err := strconv.Atoi(e.GetTags()["number"])
	require.NoError(f.t, err)
	return n
}

// numbers returns how often each item of a signal has arrived, by its number.
func (f *fixture) numbers(signal string) map[int]int {
	f.t.Helper()
	arrived := map[int]int{}
	for _, e := range f.ingress.Envelopes() {
		if signalOf(e) == signal {
			arrived[f.numberOf(e)]++
		}
	}
	return arrived
}

func TestLogsArriveInOrder(t *testing.T) {
	f := newFixture(t)
	e := f.start("logs")
	for i := range 50 {
		e.push(7*i, 7, 0)
	}
	got := f.ingress.WaitForEnvelopes(t, 350)
	require.NoError(t, e.Shutdown(t.Context()))
	require.Len(t, got, 350)
	for i, envelope := range got {
		require.Equal(t, i, f.numberOf(envelope))
	}
	assert.Equal(t, 350, f.sum("exporter_sent_log_records"))
	assert.Equal(t, 350, f.sum("exporter_loggregator_envelopes", attribute.String("signal", "logs")))
	f.checkIdentity("logs", 350)
	for _, n := range f.ingress.Batches() {
		assert.LessOrEqual(t, n, 100)
	}
}

// While the ingress stalls, no push waits; the oldest or the newest batches are dropped and counted to the item.
func TestStalledIngress(t *testing.T) {
	const perBatch = 100 // as many records as a message takes envelopes
	for policy, tt := range map[DropPolicy]struct {
		capacity, pushes int
		kept             int // the first push that stays in the diode
	}{
		DropOldest: {capacity: 100, pushes: 10_000, kept: 10_000 - 100},
		DropNewest: {capacity: 10, pushes: 100, kept: 1},
	} {
		t.Run(string(policy), func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Diode.Capacity, f.cfg.Diode.DropPolicy = tt.capacity, policy
			e := f.startStalled("logs", 0, perBatch, 0)
			// Nothing leaves the diode now.
			for i := 1; i < tt.pushes; i++ {
				e.push(i*perBatch, perBatch, 0)
			}

			byType := attribute.String("data_type", "logs")
			assert.Equal(t, tt.capacity, f.sum("exporter_queue_size", byType))
			assert.Equal(t, tt.capacity, f.sum("exporter_queue_capacity", byType))
			stay := (1 + tt.capacity) * perBatch // With the batch on its way.
			dropped := tt.pushes*perBatch - stay
			assert.Equal(t, dropped, f.sum("exporter_enqueue_failed_log_records"))
			assert.Equal(t, dropped, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "overflow")))
			assert.Equal(t, stay, f.sum("exporter_loggregator_waiting_items"))
			assert.Zero(t, f.sum("exporter_sent_log_records"))
			f.checkIdentity("logs", tt.pushes*perBatch)
			assert.Empty(t, f.ingress.Envelopes())

			f.ingress.Resume()
			got := f.ingress.WaitForEnvelopes(t, stay)
			require.NoError(t, e.Shutdown(t.Context()))
			require.Len(t, got, stay)
			for i, envelope := range got {
				want := i // What was on its way.
				if i >= perBatch {
					want += (tt.kept - 1) * perBatch
				}
				require.Equal(t, want, f.numberOf(envelope))
			}
			assert.Equal(t, stay, f.sum("exporter_sent_log_records"))
			assert.Zero(t, f.sum("exporter_loggregator_waiting_items"))
			f.checkIdentity("logs", tt.pushes*perBatch)

			lines := f.lines("The diode is full")
			require.NotEmpty(t, lines)
			logged := 0
			for _, line := range lines {
				logged += int(line.ContextMap()["dropped_items"].(int64))
			}
			assert.Equal(t, dropped, logged, "the log says it to the item too")
		})
	}
}

func TestConcurrentPushAccounting(t *testing.T) {
	const pushers, pushes, perBatch = 8, 300, 3
	f := newFixture(t)
	f.cfg.Diode.Capacity = 10
	e := f.start("logs")
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range pushes {
				e.push(p*pushes+i, perBatch, 0)
			}
		})
	}
	wg.Wait()
	require.NoError(t, e.Shutdown(t.Context()))
	f.checkIdentity("logs", pushers*pushes*perBatch)
	assert.Zero(t, f.sum("exporter_loggregator_waiting_items"))
	assert.Len(t, f.ingress.Envelopes(), f.sum("exporter_sent_log_records"))
}

// Counters start at zero, so that rate() sees the first loss.
func TestInitialMetrics(t *testing.T) {
	f := newFixture(t)
	f.cfg.RateLimit.EnvelopesPerSecond = 1234.5
	e := f.start("logs")
	for _, name := range []string{
		"exporter_sent_log_records", "exporter_send_failed_log_records", "exporter_enqueue_failed_log_records",
		"exporter_loggregator_dropped_items", "exporter_loggregator_truncated_items",
		"exporter_loggregator_accepted_items", "exporter_loggregator_envelopes", "exporter_loggregator_bytes",
		"exporter_loggregator_max_items",
		"exporter_loggregator_waiting_items", "exporter_queue_size", "exporter_queue_capacity",
	} {
		_, err := f.telemetry.GetMetric("otelcol_" + name)
		assert.NoError(t, err, name)
	}
	assert.Equal(t, f.cfg.Diode.MaxItems, f.sum("exporter_loggregator_max_items"))
	rate, err := f.telemetry.GetMetric("otelcol_exporter_loggregator_rate_limit")
	require.NoError(t, err)
	assert.InDelta(t, 1234.5, rate.Data.(metricdata.Gauge[float64]).DataPoints[0].Value, 0)
	require.NoError(t, e.Shutdown(t.Context()))
}

func TestLossLogInterval(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 1
	start := time.Now()
	e := f.startStalled("logs", 0, 1, 0)
	for i := 1; i < 1000; i++ {
		e.push(i, 1, 0)
	}
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()))
	atMost := 2 + int(time.Since(start)/lossInterval) // At once, one an interval, and the rest at the end.
	assert.LessOrEqual(t, len(f.lines("The diode is full")), atMost)
	f.checkIdentity("logs", 1000)
}

// The queue keeps its bounds while Loggregator stalls, and counts what it drops to the item.
func TestQueueBounds(t *testing.T) {
	const perBatch, pushes = 100, 50
	size := (&plog.ProtoMarshaler{}).LogsSize(numberedLogs(1000, perBatch, 50))
	for name, tt := range map[string]struct {
		bounds  DiodeConfig
		batches int // that stay
	}{
		"items":         {DiodeConfig{MaxItems: 10 * perBatch}, 10},
		"items, uneven": {DiodeConfig{MaxItems: 10*perBatch - 1}, 9},
		"bytes":         {DiodeConfig{MaxBytes: 7 * size}, 7},
		"capacity":      {DiodeConfig{Capacity: 5, MaxItems: 10 * perBatch}, 5},
	} {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				f := newFixture(t)
				f.cfg.Diode = tt.bounds
				if f.cfg.Diode.Capacity == 0 {
					f.cfg.Diode.Capacity = 1000
				}
				f.cfg.Diode.DropPolicy = policy
				e := f.startStalled("logs", 1000, perBatch, 50)
				for i := 1; i < pushes; i++ {
					e.push(1000+i*perBatch, perBatch, 50)
				}
				assert.Equal(t, tt.batches, f.sum("exporter_queue_size"))
				assert.Equal(t, (1+tt.batches)*perBatch, f.counts("logs").waiting)
				assert.Equal(t, (pushes-1-tt.batches)*perBatch, f.counts("logs").dropped)
				f.checkIdentity("logs", pushes*perBatch)
				f.ingress.Resume()
				require.NoError(t, e.Shutdown(t.Context()))
				arrived := f.numbers("logs")
				assert.Len(t, arrived, (1+tt.batches)*perBatch)
				kept := 1000 + (pushes-1)*perBatch // The last.
				if policy == DropNewest {
					kept = 1000 + perBatch // The first that waited.
				}
				assert.Contains(t, arrived, kept)
				f.checkIdentity("logs", pushes*perBatch)
			})
		}
	}
}

// A batch above a bound waits alone: with the policy oldest it replaces all others, with newest it is accepted when nothing waits.
func TestOversizedBatch(t *testing.T) {
	for _, bound := range []string{"items", "bytes"} {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			t.Run(bound+"/"+string(policy), func(t *testing.T) {
				f := newFixture(t)
				f.cfg.Diode.DropPolicy = policy
				if bound == "items" {
					f.cfg.Diode.MaxItems = 10
				} else {
					f.cfg.Diode.MaxItems, f.cfg.Diode.MaxBytes = 0, (&plog.ProtoMarshaler{}).LogsSize(numberedLogs(100, 10, 0))
				}
				e := f.startStalled("logs", 0, 1, 0)
				e.push(100, 1000, 0) // Nothing waits: taken.
				assert.Equal(t, 1001, f.counts("logs").waiting)
				e.push(2000, 4, 0)
				e.push(3000, 4, 0)
				e.push(4000, 1000, 0)

				kept, dropped := 4000, 1008
				if policy == DropNewest {
					kept = 100
				}
				assert.Equal(t, dropped, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "overflow")))
				assert.Equal(t, 1, f.sum("exporter_queue_size"))
				f.ingress.Resume()
				require.NoError(t, e.Shutdown(t.Context()))
				arrived := f.numbers("logs")
				assert.Len(t, arrived, 1001)
				for i := range 1000 {
					require.Contains(t, arrived, kept+i)
				}
				f.checkIdentity("logs", 2009)
			})
		}
	}
}

// A push allocates nothing, even when it drops.
func TestPushAllocations(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 10
	e := f.create("logs")
	logs := numberedLogs(0, 10, 0)
	push := func() { _ = e.Component.(logsExporter).ConsumeLogs(t.Context(), logs) }
	for range 20 { // Full.
		push()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, push))
	require.NoError(t, e.Shutdown(t.Context()))
}

func TestRejectedItems(t *testing.T) {
	f := newFixture(t)
	e := f.start("logs")
	logs := numberedLogs(1, 1, 0)
	logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().AppendEmpty() // Nothing in it.
	require.NoError(t, e.Component.(logsExporter).ConsumeLogs(t.Context(), logs))
	e.push(0, 0, 0)
	f.ingress.WaitForEnvelopes(t, 1)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, 1, f.sum("exporter_loggregator_rejected_items",
		attribute.String("signal", "logs"), attribute.String("reason", "empty")))
	f.checkIdentity("logs", 2)
	require.Len(t, f.lines("Rejected items"), 1)
}

// An item in several messages counts once, and as sent only if all of them were acknowledged.
func TestItemInSeveralMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		refuse       string // the payload whose message is refused
		sent, failed int
	}{
		"all acknowledged":              {"", 2, 0},
		"first part of the first lost":  {"1111111111111111111111111111111111111111111111111111111111111111", 1, 1},
		"last part of the first lost":   {"3", 1, 1},
		"only the part of another lost": {"z", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Logs.MaxPayloadBytes = 64
			f.cfg.Batch.MaxEnvelopes = 1
			f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
				if string(batch[0].GetLog().GetPayload()) == tt.refuse {
					return status.Error(codes.Internal, "no")
				}
				return nil
			})
			e := f.start("logs")
			logs := numberedLogs(0, 2, 0)
			records := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
			ones := "1111111111111111111111111111111111111111111111111111111111111111"
			twos := "2222222222222222222222222222222222222222222222222222222222222222"
			records.At(0).Body().SetStr(ones + twos + "3")
			records.At(1).Body().SetStr("z")
			require.NoError(t, e.Component.(logsExporter).ConsumeLogs(t.Context(), logs))
			require.NoError(t, e.Shutdown(t.Context()))
			assert.Equal(t, tt.sent, f.sum("exporter_sent_log_records"))
			assert.Equal(t, tt.failed, f.sum("exporter_send_failed_log_records"))
			assert.Equal(t, len(f.ingress.Envelopes()), f.sum("exporter_loggregator_envelopes"))
			f.checkIdentity("logs", 2)
		})
	}
}

// The failed envelope of an item that is then rejected does not fail the next item. The event of a span goes before the span.
func TestRejectedItemInSeveralMessages(t *testing.T) {
	f := newFixture(t)
	f.cfg.Traces.SpanEvents = true
	f.cfg.Batch.MaxEnvelopes = 1
	f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if batch[0].GetEvent() != nil {
			return status.Error(codes.Internal, "no")
		}
		return nil
	})
	e := f.start("traces")
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	tooLarge := spans.AppendEmpty()
	tooLarge.SetName(strings.Repeat("x", 70_000))
	tooLarge.Events().AppendEmpty().SetName("the first of its envelopes")
	spans.AppendEmpty().SetName("the next item")
	require.NoError(t, e.Component.(tracesExporter).ConsumeTraces(t.Context(), traces))
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, 1, f.sum("exporter_loggregator_rejected_items"))
	assert.Equal(t, 1, f.sum("exporter_sent_spans"))
	assert.Zero(t, f.sum("exporter_send_failed_spans"))
	f.checkIdentity("traces", 2)
}

func TestEmptyBatch(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 1
	feed := f.create("logs")
	feed.push(0, 1, 1)
	feed.push(1, 0, 1)
	assert.EqualValues(t, 1, feed.waiting())
	assert.Equal(t, 1, f.sum("exporter_queue_size"))
	require.NoError(t, feed.Shutdown(t.Context()))
	f.checkIdentity("logs", 1)
}

// Each batch is released once: after its translation or when it is dropped.
func TestBatchRelease(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 1
	f.cfg.TimeoutConfig.Timeout = 0
	f.ingress.Stall()
	feed := f.create("logs")
	e := feed.Component.(logsExporter)
	var held, released atomic.Int64
	counted := queue.Logs
	counted.Ref = func(data plog.Logs) { held.Add(1); queue.Logs.Ref(data) }
	counted.Unref = func(data plog.Logs) { released.Add(1); queue.Logs.Unref(data) }
	e.queue = queue.New(counted, f.cfg.Diode.bounds(), e.report.Report)
	require.NoError(t, e.Start(t.Context(), f.host))
	feed.push(0, 1, 1)
	f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
	for i := 1; i < 5; i++ {
		feed.push(i, 1, 1)
	}
	assert.EqualValues(t, 5, held.Load())
	assert.EqualValues(t, 4, released.Load(), "all but the one that waits")
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()))
	assert.EqualValues(t, 5, held.Load())
	assert.EqualValues(t, 5, released.Load())
}

// pooled pushes items as the collector does with pooling: decoded from bytes and released right after the push, so that the next
// batch is decoded into the same memory unless the exporter holds a reference.
var pooled = map[string]func(t *testing.T, e feed, first, n int){
	"logs": func(t *testing.T, e feed, first, n int) {
		pushPooled(t, numberedLogs(first, n, 10), (&plog.ProtoMarshaler{}).MarshalLogs, (&plog.ProtoUnmarshaler{}).UnmarshalLogs,
			e.Component.(logsExporter).ConsumeLogs, pref.UnrefLogs)
	},
	"metrics": func(t *testing.T, e feed, first, n int) {
		pushPooled(t, numberedMetrics(first, n, 10), (&pmetric.ProtoMarshaler{}).MarshalMetrics, (&pmetric.ProtoUnmarshaler{}).UnmarshalMetrics,
			e.Component.(metricsExporter).ConsumeMetrics, pref.UnrefMetrics)
	},
	"traces": func(t *testing.T, e feed, first, n int) {
		pushPooled(t, numberedTraces(first, n, 10), (&ptrace.ProtoMarshaler{}).MarshalTraces, (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces,
			e.Component.(tracesExporter).ConsumeTraces, pref.UnrefTraces)
	},
}

func pushPooled[D any](t *testing.T, numbered D, marshal func(D) ([]byte, error), unmarshal func([]byte) (D, error),
	consume func(context.Context, D) error, unref func(D),
) {
	t.Helper()
	encoded, err := marshal(numbered)
	require.NoError(t, err)
	data, err := unmarshal(encoded)
	require.NoError(t, err)
	require.NoError(t, consume(t.Context(), data))
	unref(data)
}

// The exporter uses no data after releasing it: what waits in the diode arrives as it was pushed.
func TestPooledData(t *testing.T) {
	gate := pref.UseProtoPooling.ID()
	require.NoError(t, featuregate.GlobalRegistry().Set(gate, true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) })
	for signal, push := range pooled {
		t.Run(signal, func(t *testing.T) {
			const capacity, batches, perBatch = 50, 200, 3
			f := newFixture(t)
			f.cfg.Diode.Capacity = capacity
			f.cfg.TimeoutConfig.Timeout = 0
			f.ingress.Stall()
			e := f.start(signal)
			push(t, e, 0, perBatch)
			f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
			want := map[int]int{0: 1, 1: 1, 2: 1}
			for i := 1; i < batches; i++ {
				push(t, e, i*perBatch, perBatch)
				if i >= batches-capacity {
					for k := range perBatch {
						want[i*perBatch+k] = 1
					}
				}
			}
			f.ingress.Resume()
			f.ingress.WaitForEnvelopes(t, len(want))
			require.NoError(t, e.Shutdown(t.Context()))
			assert.Equal(t, want, f.numbers(signal))
			f.checkIdentity(signal, batches*perBatch)
		})
	}
}
