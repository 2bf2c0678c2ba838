// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// dropReason says why a batch was given up before it was sent.
type dropReason string

const (
	overflow dropReason = "overflow" // The diode was full.
	shutdown dropReason = "shutdown" // The exporter was shut down.
)

// measured is the part of a diode that is measured.
type measured interface {
	Len() int
	Cap() int
}

// telemetry is the one place that counts. At every quiescent moment
//
//	accepted = sent + failed + dropped + rejected + waiting
//
// Any goroutine may use it at any time.
type telemetry struct {
	builder *metadata.TelemetryBuilder
	losses  *losses
	// waiting is the number of items that were accepted and not counted out yet.
	waiting atomic.Int64

	sentItems, failedItems, enqueueFailedItems metric.Int64Counter

	exporter attribute.KeyValue
	signal   attribute.KeyValue
	// Attribute sets that are made once. Those of a push that drops are the slices that counters take, or each Add would
	// allocate one.
	byExporter []metric.AddOption
	bySignal   metric.MeasurementOption
	byDrop     map[dropReason][]metric.AddOption
}

func newTelemetry(set exporter.Settings, signal pipeline.Signal, q measured) (*telemetry, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	t := &telemetry{
		builder:  builder,
		losses:   newLosses(set.Logger),
		exporter: attribute.String("exporter", set.ID.String()),
		signal:   attribute.String("signal", signal.String()),
	}
	t.byExporter = []metric.AddOption{t.with()}
	t.bySignal = t.with(t.signal)
	t.byDrop = map[dropReason][]metric.AddOption{}
	for _, reason := range []dropReason{overflow, shutdown} {
		t.byDrop[reason] = []metric.AddOption{t.with(t.signal, attribute.String("reason", string(reason)))}
	}
	switch signal {
	case pipeline.SignalLogs:
		t.sentItems, t.failedItems, t.enqueueFailedItems = builder.ExporterSentLogRecords, builder.ExporterSendFailedLogRecords, builder.ExporterEnqueueFailedLogRecords
	case pipeline.SignalMetrics:
		t.sentItems, t.failedItems, t.enqueueFailedItems = builder.ExporterSentMetricPoints, builder.ExporterSendFailedMetricPoints, builder.ExporterEnqueueFailedMetricPoints
	default:
		t.sentItems, t.failedItems, t.enqueueFailedItems = builder.ExporterSentSpans, builder.ExporterSendFailedSpans, builder.ExporterEnqueueFailedSpans
	}
	if err := t.observe(q, signal); err != nil {
		builder.Shutdown()
		return nil, err
	}
	return t, nil
}

// with is the exporter's ID and further attributes.
func (t *telemetry) with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attrs, t.exporter)...))
}

func (t *telemetry) byError(kind string, permanent bool) metric.MeasurementOption {
	return t.with(attribute.String("error.type", kind), attribute.Bool("error.permanent", permanent))
}

// observe reports what is measured when somebody asks.
func (t *telemetry) observe(q measured, signal pipeline.Signal) error {
	byDataType := t.with(attribute.String("data_type", signal.String()))
	if err := t.builder.RegisterExporterQueueSizeCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(q.Len()), byDataType)
		return nil
	}); err != nil {
		return err
	}
	if err := t.builder.RegisterExporterQueueCapacityCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(int64(q.Cap()), byDataType)
		return nil
	}); err != nil {
		return err
	}
	return t.builder.RegisterExporterLoggregatorWaitingItemsCallback(func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(t.waiting.Load(), t.bySignal)
		return nil
	})
}

// start makes counters appear with 0, so that a rate over the first loss is right, and starts to log losses. Of those with
// an open set of attributes it is the ones of an outage; the others appear with their first loss.
func (t *telemetry) start() {
	ctx := context.Background()
	t.sentItems.Add(ctx, 0, t.byExporter...)
	t.enqueueFailedItems.Add(ctx, 0, t.byExporter...)
	for _, by := range t.byDrop {
		t.builder.ExporterLoggregatorDroppedItems.Add(ctx, 0, by...)
	}
	t.builder.ExporterLoggregatorEnvelopes.Add(ctx, 0, t.bySignal)
	t.builder.ExporterLoggregatorBytes.Add(ctx, 0, t.bySignal)
	t.builder.ExporterLoggregatorCutItems.Add(ctx, 0, t.bySignal)
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded} {
		t.failedItems.Add(ctx, 0, t.byError(code.String(), false))
	}
	t.losses.start()
}

func (t *telemetry) shutdown() {
	t.losses.stop()
	t.builder.Shutdown()
}

// accepted counts items in, before they are in the diode.
func (t *telemetry) accepted(items int) { t.waiting.Add(int64(items)) }

// dropped counts items out that were given up before they were sent: a batch of the diode, or what has left it.
func (t *telemetry) dropped(reason dropReason, items int) {
	t.waiting.Add(-int64(items))
	t.builder.ExporterLoggregatorDroppedItems.Add(context.Background(), int64(items), t.byDrop[reason]...)
	if reason != shutdown {
		t.enqueueFailedItems.Add(context.Background(), int64(items), t.byExporter...)
	}
	t.losses.addDropped(reason, items)
}

// rejected counts items out that can't be translated.
func (t *telemetry) rejected(reason translate.Reason, items int) {
	t.waiting.Add(-int64(items))
	t.builder.ExporterLoggregatorRejectedItems.Add(context.Background(), int64(items),
		t.with(t.signal, attribute.String("reason", string(reason))))
	t.losses.addRejected(reason, items)
}

// sent counts items out that Loggregator acknowledged.
func (t *telemetry) sent(items int) {
	t.waiting.Add(-int64(items))
	t.sentItems.Add(context.Background(), int64(items), t.byExporter...)
}

// failed counts items out whose last attempt failed.
func (t *telemetry) failed(err *ingress.Error, items int) {
	t.waiting.Add(-int64(items))
	t.failedItems.Add(context.Background(), int64(items), t.byError(err.Type(), err.Permanent))
	t.losses.addFailed(err, items)
}

// cut counts items that were shortened, beside how they are counted out.
func (t *telemetry) cut(items int) {
	if items > 0 {
		t.builder.ExporterLoggregatorCutItems.Add(context.Background(), int64(items), t.bySignal)
	}
}

// acknowledged counts a message.
func (t *telemetry) acknowledged(envelopes, bytes int) {
	t.builder.ExporterLoggregatorEnvelopes.Add(context.Background(), int64(envelopes), t.bySignal)
	t.builder.ExporterLoggregatorBytes.Add(context.Background(), int64(bytes), t.bySignal)
}

// attempted measures an attempt to send.
func (t *telemetry) attempted(a ingress.Attempt) {
	t.builder.ExporterLoggregatorSendDuration.Record(context.Background(), a.Duration.Seconds(), t.bySignal)
	if a.Halved {
		t.losses.addHalved(a.Err)
	}
}
