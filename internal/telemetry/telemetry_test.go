// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadatatest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fullQueue is a queue with a fixed length and capacity.
type fullQueue struct{}

func (fullQueue) Len() int { return 3 }
func (fullQueue) Cap() int { return 7 }

// newReport returns a report on logs with its own log.
func newReport(t *testing.T) (*Report, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	r := New(zap.New(core))
	require.NoError(t, r.Register(exportertest.NewNopSettings(metadata.Type), Settings{Signal: pipeline.SignalLogs}, fullQueue{}))
	return r, logs
}

func TestQueueMetrics(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	r := New(zap.NewNop())
	require.NoError(t, r.Register(metadatatest.NewSettings(telemetry), Settings{Signal: pipeline.SignalTraces}, fullQueue{}))
	r.Dropped(report.DropOverflow, 5)
	r.Dropped(report.DropShutdown, 11)
	id := attribute.String("exporter", "loggregator")
	point := func(value int64, attributes ...attribute.KeyValue) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(append(attributes, id)...), Value: value}
	}
	type points = []metricdata.DataPoint[int64]
	dataType, signal := attribute.String("data_type", "traces"), attribute.String("signal", "traces")
	metadatatest.AssertEqualExporterQueueSize(t, telemetry, points{point(3, dataType)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterQueueCapacity(t, telemetry, points{point(7, dataType)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterEnqueueFailedSpans(t, telemetry, points{point(5)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterLoggregatorDroppedItems(t, telemetry, points{
		point(5, signal, attribute.String("reason", "overflow")), point(11, signal, attribute.String("reason", "shutdown")),
	}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

// Items with an outcome are no longer waiting.
func TestItemsOut(t *testing.T) {
	r, _ := newReport(t)
	r.Accepted(10)
	r.Sent(delivery.Outcome{Envelopes: 1, Items: 1})
	assert.EqualValues(t, 9, r.Waiting())
	r.Failed(&delivery.Error{}, 2)
	assert.EqualValues(t, 7, r.Waiting())
	r.Rejected(translate.ReasonEmpty, 3)
	assert.EqualValues(t, 4, r.Waiting())
}

// A single loss is logged once, at once, and with its details.
func TestLossLines(t *testing.T) {
	tooLarge := &delivery.Error{Scope: delivery.ScopeSize, Hint: "lower it"}
	gaveUp := &delivery.Error{Retryable: true, Hint: "wait"}
	for name, tt := range map[string]struct {
		lose func(*Report)
		line string
		want map[string]any
	}{
		"halved message": {func(r *Report) { r.Attempted(delivery.Attempt{Err: tooLarge, Halved: true}) }, "refused messages as too large",
			map[string]any{"refused_messages": int64(1), "error": tooLarge.Error()}},
		"failed": {func(r *Report) { r.Failed(gaveUp, 3) }, "Gave up sending",
			map[string]any{"failed_items": int64(3), "error": gaveUp.Error(), "permanent": false}},
		"failed permanently": {func(r *Report) { r.Failed(tooLarge, 3) }, "Gave up sending",
			map[string]any{"failed_items": int64(3), "error": tooLarge.Error(), "permanent": true}},
		"rejected": {func(r *Report) { r.Rejected(translate.ReasonOutOfRange, 3) }, "Rejected items",
			map[string]any{"reason": "out_of_range", "rejected_items": int64(3), "hint": translate.ReasonOutOfRange.Hint()}},
		"zero delta": {func(r *Report) { r.Rejected(translate.ReasonZeroDelta, 3) }, "nothing to send",
			map[string]any{"reason": "zero_delta", "rejected_items": int64(3)}},
		"stale": {func(r *Report) { r.Rejected(translate.ReasonStale, 3) }, "nothing to send",
			map[string]any{"reason": "stale", "rejected_items": int64(3)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, logs := newReport(t)
				r.Start(componenttest.NewNopHost())
				synctest.Wait()
				for range 2 {
					tt.lose(r)
					synctest.Wait()
					time.Sleep(2 * time.Minute)
				}
				r.Shutdown()
				lines := logs.All()
				require.Len(t, lines, 2)
				for i, line := range lines {
					assert.Contains(t, line.Message, tt.line)
					assert.Equal(t, tt.want, line.ContextMap())
					assert.Equal(t, 2*time.Minute, lines[1].Time.Sub(lines[0].Time), "line %d is logged at once", i)
				}
			})
		})
	}
}

// Losses between two lines add up, with the latest error.
func TestLossSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tooLarge, another := &delivery.Error{Scope: delivery.ScopeSize, Hint: "lower it"}, &delivery.Error{Retryable: true, Hint: "wait"}
		r, logs := newReport(t)
		r.Start(componenttest.NewNopHost())
		r.Dropped(report.DropShutdown, 1)
		synctest.Wait()
		logs.TakeAll() // The next lines follow after an interval.
		r.Failed(tooLarge, 3)
		r.Failed(another, 4)
		r.Failed(tooLarge, 0) // Part of an item.
		r.Rejected(translate.ReasonOutOfRange, 5)
		r.Rejected(translate.ReasonOutOfRange, 6)
		r.Attempted(delivery.Attempt{Err: another, Halved: true})
		r.Attempted(delivery.Attempt{Err: tooLarge, Halved: true})
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []map[string]any
		for _, line := range logs.All() {
			got = append(got, line.ContextMap())
		}
		assert.Equal(t, []map[string]any{
			{"reason": "out_of_range", "rejected_items": int64(11), "hint": translate.ReasonOutOfRange.Hint()},
			{"refused_messages": int64(2), "error": tooLarge.Error()},
			{"failed_items": int64(7), "error": another.Error(), "permanent": false},
		}, got)
		r.Shutdown()
	})
}

// Only an error of the endpoint is an outage.
func TestOutage(t *testing.T) {
	for scope, outages := range map[delivery.Scope]int{delivery.ScopeEndpoint: 1, delivery.ScopeMessage: 0, delivery.ScopeSize: 0} {
		synctest.Test(t, func(t *testing.T) {
			host := reporttest.NewHost()
			r, logs := newReport(t)
			r.Start(host)
			r.Attempted(delivery.Attempt{})
			r.Attempted(delivery.Attempt{Err: &delivery.Error{Scope: scope}, RetryIn: time.Second})
			time.Sleep(time.Minute)
			r.Shutdown()
			assert.Len(t, host.Statuses(), outages, scope)
			assert.Equal(t, outages, logs.FilterMessage(messages.Outage).Len(), scope)
		})
	}
}

// An outage is logged once for each code and hint.
func TestOutageKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs := newReport(t)
		for _, hint := range []string{"one", "two", "one"} {
			r.Attempted(delivery.Attempt{Err: &delivery.Error{Scope: delivery.ScopeEndpoint, Hint: hint}, RetryIn: time.Second})
			time.Sleep(time.Minute)
		}
		assert.Equal(t, 2, logs.FilterMessage(messages.Outage).Len())
	})
}
