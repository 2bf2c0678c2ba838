// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"slices"
	"strconv"
	"strings"
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

// fixture is the environment of the exporters under test.
type fixture struct {
	t         *testing.T
	ingress   *ingresstest.Capture
	cfg       *Config
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
	factory   exporter.Factory
	set       exporter.Settings // all exporters of a fixture share its log
	host      *reporttest.Host
}

func newFixture(t *testing.T) *fixture {
	core, logs := observer.New(zap.DebugLevel)
	f := &fixture{
		t:         t,
		logs:      logs,
		ingress:   ingresstest.StartCapture(t),
		cfg:       createDefaultConfig().(*Config),
		telemetry: componenttest.NewTelemetry(),
		factory:   NewFactory(),
		set:       exportertest.NewNopSettings(metadata.Type),
		host:      reporttest.NewHost(),
	}
	f.set.ID = component.MustNewIDWithName("loggregator", "test")
	f.set.TelemetrySettings = f.telemetry.NewTelemetrySettings()
	f.set.Logger = zap.New(core)
	t.Cleanup(func() { require.NoError(t, f.telemetry.Shutdown(context.Background())) })
	f.cfg.Endpoint = f.ingress.Addr()
	f.cfg.TLS.CAFile = f.ingress.File(ingressserver.CAFile)
	f.cfg.TLS.CertFile = f.ingress.File(ingressserver.ClientCertFile)
	f.cfg.TLS.KeyFile = f.ingress.File(ingressserver.ClientKeyFile)
	f.cfg.RetryConfig.InitialInterval = time.Millisecond
	f.cfg.RetryConfig.MaxInterval = 10 * time.Millisecond
	f.cfg.RateLimit.EnvelopesPerSecond = 0
	return f
}

// sum returns the sum of a metric's points with all of these attributes, or 0 if nothing was counted.
func (f *fixture) sum(name string, having ...string) int {
	f.t.Helper()
	sum, _ := reporttest.Sum(f.t, f.telemetry, name, "exporter=loggregator/test", having...)
	return sum
}

func (f *fixture) lines(message string) []observer.LoggedEntry {
	return f.logs.FilterMessageSnippet(message).All()
}

// logged returns the number of dropped items in these lines.
func (f *fixture) logged(message string) (items int) {
	for _, line := range f.lines(message) {
		items += int(line.ContextMap()["dropped_items"].(int64))
	}
	return items
}

// counts holds the numbers of items of a signal by outcome.
type counts struct{ sent, failed, dropped, rejected, waiting int }

func (f *fixture) counts(signal string) counts {
	f.t.Helper()
	return counts{
		sent:     f.sum("exporter_sent_" + itemNames[signal]),
		failed:   f.sum("exporter_send_failed_" + itemNames[signal]),
		dropped:  f.sum("exporter_loggregator_dropped_items", "signal="+signal),
		rejected: f.sum("exporter_loggregator_rejected_items", "signal="+signal),
		waiting:  f.sum("exporter_loggregator_waiting_items", "signal="+signal),
	}
}

// check checks the counts of a signal, and that no other items were accepted.
func (f *fixture) check(signal string, want counts) {
	f.t.Helper()
	assert.Equal(f.t, want, f.counts(signal), signal)
	f.checkIdentity(signal, want.sent+want.failed+want.dropped+want.rejected+want.waiting)
}

// checkIdentity checks that accepted = sent + failed + dropped + rejected + waiting.
func (f *fixture) checkIdentity(signal string, accepted int) counts {
	f.t.Helper()
	assert.Equal(f.t, accepted, f.sum("exporter_loggregator_accepted_items", "signal="+signal), signal)
	c := f.counts(signal)
	assert.Equalf(f.t, accepted, c.sent+c.failed+c.dropped+c.rejected+c.waiting, "%s: accepted is not the sum of %+v", signal, c)
	assert.Equal(f.t, c.dropped-f.sum("exporter_loggregator_dropped_items", "signal="+signal, "reason=shutdown"),
		f.sum("exporter_enqueue_failed_"+itemNames[signal]), "enqueue_failed counts the items dropped by the diode")
	return c
}

// eventually waits until condition holds.
func (f *fixture) eventually(condition func() bool) {
	f.t.Helper()
	require.Eventually(f.t, condition, waitAtMost, time.Millisecond)
}

const (
	// lossInterval is the minimum time between two lines about losses. After outageGrace without a success the status is an error.
	lossInterval = 10 * time.Second
	outageGrace  = time.Second
)

// waitAtMost is the timeout of every wait in these tests, far longer than any should take.
const waitAtMost = time.Minute

// itemNames maps each signal to the name of its items in metrics.
var itemNames = map[string]string{"logs": "log_records", "metrics": "metric_points", "traces": "spans"}

// feed is an exporter of one signal with a function that pushes numbered items. Each item becomes one envelope with its number.
type feed struct {
	component.Component
	f *fixture
	// push pushes a batch of n items, numbered from first, each of at least size bytes, and then releases it, as a pipeline does.
	push func(first, n, size int)
	// waiting returns the number of items in the exporter.
	waiting func() int64
}

// settle waits until the exporter is empty.
func (e feed) settle() {
	e.f.t.Helper()
	e.f.eventually(func() bool { return e.waiting() == 0 })
}

// stop shuts the exporter down.
func (e feed) stop() {
	e.f.t.Helper()
	require.NoError(e.f.t, e.Shutdown(e.f.t.Context()))
}

func (e feed) consumeLogs(logs plog.Logs) {
	e.f.t.Helper()
	require.NoError(e.f.t, e.Component.(logsExporter).ConsumeLogs(e.f.t.Context(), logs))
}

// start creates and starts an exporter of a signal. The test must shut it down.
func (f *fixture) start(signal string) feed {
	f.t.Helper()
	feed := f.create(signal)
	require.NoError(f.t, feed.Start(f.t.Context(), f.host))
	return feed
}

// create creates an exporter of a signal.
func (f *fixture) create(signal string) feed {
	f.t.Helper()
	ctx := f.t.Context()
	switch signal {
	case "logs":
		e, err := f.factory.CreateLogs(ctx, f.set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, f, pusher(f, numberedLogs, e.ConsumeLogs, pref.UnrefLogs), e.(logsExporter).report.Waiting}
	case "metrics":
		e, err := f.factory.CreateMetrics(ctx, f.set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, f, pusher(f, numberedMetrics, e.ConsumeMetrics, pref.UnrefMetrics), e.(metricsExporter).report.Waiting}
	default:
		e, err := f.factory.CreateTraces(ctx, f.set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, f, pusher(f, numberedTraces, e.ConsumeTraces, pref.UnrefTraces), e.(tracesExporter).report.Waiting}
	}
}

func pusher[D any](f *fixture, numbered func(first, n, size int) D, consume func(context.Context, D) error, unref func(D)) func(int, int, int) {
	return func(first, n, size int) {
		data := numbered(first, n, size)
		if err := consume(f.t.Context(), data); err != nil {
			f.t.Errorf("push failed: %v", err)
		}
		unref(data)
	}
}

// startStalled starts an exporter of a signal with a stalled ingress and no timeout. When it returns, an attempt to send n items of at
// least size bytes each is in progress, and nothing else leaves the diode.
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

// signalOf returns the signal of an envelope from a feed.
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

// numberOf returns the number of the item in an envelope from a feed.
func (f *fixture) numberOf(e *loggregator_v2.Envelope) int {
	f.t.Helper()
	n, err := strconv.Atoi(e.GetTags()["number"])
	require.NoError(f.t, err)
	return n
}

// numbers returns how often each item of a signal has arrived, by number.
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

// While the ingress stalls, no push blocks. The queue keeps its bounds, and counts every dropped item. The rest arrives in order.
func TestQueueBounds(t *testing.T) {
	const perBatch, pushes, first, size = 70, 500, 10_000, 50 // A batch is smaller than a message. All numbers have the same length.
	bytes := (&plog.ProtoMarshaler{}).LogsSize(numberedLogs(first, perBatch, size))
	for name, tt := range map[string]struct {
		bounds  DiodeConfig
		batches int // left in the diode
	}{
		"items":              {DiodeConfig{Capacity: 1000, MaxItems: 10 * perBatch}, 10},
		"uneven items":       {DiodeConfig{Capacity: 1000, MaxItems: 10*perBatch - 1}, 9},
		"bytes":              {DiodeConfig{Capacity: 1000, MaxBytes: 7 * bytes}, 7},
		"capacity":           {DiodeConfig{Capacity: 100}, 100},
		"capacity and items": {DiodeConfig{Capacity: 5, MaxItems: 10 * perBatch}, 5},
	} {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				f := newFixture(t)
				f.cfg.Diode = tt.bounds
				f.cfg.Diode.DropPolicy = policy
				e := f.startStalled("logs", first, perBatch, size)
				for i := 1; i < pushes; i++ {
					e.push(first+i*perBatch, perBatch, size)
				}

				assert.Equal(t, tt.batches, f.sum("exporter_queue_size", "data_type=logs"))
				assert.Equal(t, tt.bounds.Capacity, f.sum("exporter_queue_capacity", "data_type=logs"))
				left := (1 + tt.batches) * perBatch // With the batch in progress.
				dropped := pushes*perBatch - left
				assert.Equal(t, dropped, f.sum("exporter_loggregator_dropped_items", "reason=overflow"))
				f.check("logs", counts{waiting: left, dropped: dropped})
				assert.Empty(t, f.ingress.Envelopes())

				f.ingress.Resume()
				e.stop()
				f.check("logs", counts{sent: left, dropped: dropped})
				assert.Equal(t, left, f.sum("exporter_loggregator_envelopes", "signal=logs"))
				assert.LessOrEqual(t, slices.Max(f.ingress.Batches()), 100)
				oldest := 1 // The oldest batch left in the diode.
				if policy == DropOldest {
					oldest = pushes - tt.batches
				}
				got := f.ingress.Envelopes()
				require.Len(t, got, left)
				for i, envelope := range got {
					want := first + i // In the batch in progress.
					if i >= perBatch {
						want += (oldest - 1) * perBatch
					}
					require.Equal(t, want, f.numberOf(envelope))
				}
				assert.Equal(t, dropped, f.logged("The diode is full"), "the log counts every dropped item")
			})
		}
	}
}

// Counters start at zero, so that rate() sees the first loss.
func TestInitialMetrics(t *testing.T) {
	f := newFixture(t)
	f.cfg.RateLimit.EnvelopesPerSecond = 1234.5
	e := f.start("logs")
	for _, name := range []string{
		"sent_log_records", "send_failed_log_records", "enqueue_failed_log_records", "queue_size", "queue_capacity",
		"loggregator_dropped_items", "loggregator_truncated_items", "loggregator_accepted_items", "loggregator_waiting_items",
		"loggregator_envelopes", "loggregator_bytes", "loggregator_max_items",
	} {
		_, err := f.telemetry.GetMetric("otelcol_exporter_" + name)
		assert.NoError(t, err, name)
	}
	assert.Equal(t, f.cfg.Diode.MaxItems, f.sum("exporter_loggregator_max_items"))
	rate, err := f.telemetry.GetMetric("otelcol_exporter_loggregator_rate_limit")
	require.NoError(t, err)
	assert.InDelta(t, 1234.5, rate.Data.(metricdata.Gauge[float64]).DataPoints[0].Value, 0)
	e.stop()
}

// A push allocates nothing, even when it drops.
func TestPushAllocations(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 10
	e := f.create("logs")
	logs := numberedLogs(0, 10, 0)
	push := func() { _ = e.Component.(logsExporter).ConsumeLogs(t.Context(), logs) }
	for range 20 { // Fill the diode.
		push()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, push))
	require.NoError(t, e.Shutdown(t.Context()))
}

func TestRejectedItems(t *testing.T) {
	f := newFixture(t)
	e := f.start("logs")
	logs := numberedLogs(1, 1, 0)
	logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().AppendEmpty() // An empty record.
	e.consumeLogs(logs)
	e.push(0, 0, 0)
	e.stop()
	assert.Len(t, f.ingress.Envelopes(), 1)
	assert.Equal(t, 1, f.sum("exporter_loggregator_rejected_items", "signal=logs", "reason=empty"))
	f.check("logs", counts{sent: 1, rejected: 1})
	require.Len(t, f.lines("Rejected items"), 1)
}

// refuseIf makes the ingress refuse each message that matches.
func (f *fixture) refuseIf(code codes.Code, message string, match func([]*loggregator_v2.Envelope) bool) {
	f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if match(batch) {
			return status.Error(code, message)
		}
		return nil
	})
}

// An item in several messages counts once, and as sent only if all of them were acknowledged.
func TestItemInSeveralMessages(t *testing.T) {
	ones, twos := strings.Repeat("1", 64), strings.Repeat("2", 64)
	for name, tt := range map[string]struct {
		refuse string // the payload whose message is refused
		want   counts
	}{
		"all acknowledged": {"", counts{sent: 2}},
		"first part lost":  {ones, counts{sent: 1, failed: 1}},
		"last part lost":   {"3", counts{sent: 1, failed: 1}},
		"other item lost":  {"z", counts{sent: 1, failed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.cfg.Logs.MaxPayloadBytes = 64
			f.cfg.Batch.MaxEnvelopes = 1
			f.refuseIf(codes.Internal, "no", func(batch []*loggregator_v2.Envelope) bool {
				return string(batch[0].GetLog().GetPayload()) == tt.refuse
			})
			e := f.start("logs")
			logs := numberedLogs(0, 2, 0)
			records := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
			records.At(0).Body().SetStr(ones + twos + "3")
			records.At(1).Body().SetStr("z")
			e.consumeLogs(logs)
			e.stop()
			f.check("logs", tt.want)
			assert.Equal(t, len(f.ingress.Envelopes()), f.sum("exporter_loggregator_envelopes"))
		})
	}
}

// A failed envelope of an item that is rejected later does not fail the next item. The event of a span is sent before the span.
func TestRejectedItemInSeveralMessages(t *testing.T) {
	f := newFixture(t)
	f.cfg.Traces.SpanEvents = true
	f.cfg.Batch.MaxEnvelopes = 1
	f.refuseIf(codes.Internal, "no", func(batch []*loggregator_v2.Envelope) bool { return batch[0].GetEvent() != nil })
	e := f.start("traces")
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	tooLarge := spans.AppendEmpty()
	tooLarge.SetName(strings.Repeat("x", 70_000))
	tooLarge.Events().AppendEmpty().SetName("the item's first envelope")
	spans.AppendEmpty().SetName("the next item")
	require.NoError(t, e.Component.(tracesExporter).ConsumeTraces(t.Context(), traces))
	e.stop()
	f.check("traces", counts{sent: 1, rejected: 1})
}

// Each batch is released once: after its translation or when it is dropped.
func TestBatchRelease(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 1
	f.ingress.Stall()
	f.cfg.TimeoutConfig.Timeout = 0
	feed := f.create("logs")
	e := feed.Component.(logsExporter)
	var held, released atomic.Int64
	counted := queue.Logs
	counted.Ref = func(data plog.Logs) { held.Add(1); queue.Logs.Ref(data) }
	counted.Unref = func(data plog.Logs) { released.Add(1); queue.Logs.Unref(data) }
	e.queue = queue.New(counted, f.cfg.Diode, e.report.Report)
	require.NoError(t, e.Start(t.Context(), f.host))
	feed.push(0, 1, 1)
	f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
	for i := 1; i < 5; i++ {
		feed.push(i, 1, 1)
	}
	assert.EqualValues(t, 5, held.Load())
	assert.EqualValues(t, 4, released.Load(), "all but the waiting batch")
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()))
	assert.EqualValues(t, 5, held.Load())
	assert.EqualValues(t, 5, released.Load())
}

// With pooled pdata, waiting batches are not reused for later pushes: they arrive as pushed.
func TestPooledData(t *testing.T) {
	gate := pref.UseProtoPooling.ID()
	require.NoError(t, featuregate.GlobalRegistry().Set(gate, true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) })
	for signal := range itemNames {
		t.Run(signal, func(t *testing.T) {
			const capacity, batches, perBatch = 50, 200, 3
			f := newFixture(t)
			f.cfg.Diode.Capacity = capacity
			e := f.startStalled(signal, 0, perBatch, 10)
			want := map[int]int{0: 1, 1: 1, 2: 1}
			for i := 1; i < batches; i++ {
				e.push(i*perBatch, perBatch, 10)
			}
			for n := (batches - capacity) * perBatch; n < batches*perBatch; n++ {
				want[n] = 1
			}
			f.ingress.Resume()
			e.stop()
			assert.Equal(t, want, f.numbers(signal))
			f.checkIdentity(signal, batches*perBatch)
		})
	}
}
