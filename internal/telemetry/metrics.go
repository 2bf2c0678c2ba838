// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"

	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
)

// background is the context for recording metrics.
var background = context.Background()

// metrics holds the instruments of metadata.yaml. Counts from pushes are read at each export; the drain records the others directly.
type metrics struct {
	*metadata.TelemetryBuilder
	sentItems, failedItems metric.Int64Counter
	exporter, signal       attribute.KeyValue
	byExporter, bySignal   metric.MeasurementOption
}

func newMetrics(set exporter.Settings, s Settings, q Queue, r *report.Report) (*metrics, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	m := &metrics{
		TelemetryBuilder: builder,
		exporter:         attribute.String("exporter", set.ID.String()),
		signal:           attribute.String("signal", s.Signal.String()),
	}
	m.byExporter, m.bySignal = m.with(), m.with(m.signal)
	enqueueFailed := builder.RegisterExporterEnqueueFailedSpansCallback
	switch s.Signal {
	case pipeline.SignalLogs:
		m.sentItems, m.failedItems = builder.ExporterSentLogRecords, builder.ExporterSendFailedLogRecords
		enqueueFailed = builder.RegisterExporterEnqueueFailedLogRecordsCallback
	case pipeline.SignalMetrics:
		m.sentItems, m.failedItems = builder.ExporterSentMetricPoints, builder.ExporterSendFailedMetricPoints
		enqueueFailed = builder.RegisterExporterEnqueueFailedMetricPointsCallback
	default:
		m.sentItems, m.failedItems = builder.ExporterSentSpans, builder.ExporterSendFailedSpans
	}
	byDataType := m.with(attribute.String("data_type", s.Signal.String()))
	overflow, shutdown := m.byReason(string(report.DropOverflow)), m.byReason(string(report.DropShutdown))
	err = errors.Join(
		report.Observe(builder.RegisterExporterQueueSizeCallback, func(o metric.Int64Observer) { o.Observe(int64(q.Len()), byDataType) }),
		report.Observe(builder.RegisterExporterQueueCapacityCallback, func(o metric.Int64Observer) { o.Observe(int64(q.Cap()), byDataType) }),
		report.Observe(builder.RegisterExporterLoggregatorMaxItemsCallback, func(o metric.Int64Observer) { o.Observe(int64(s.MaxItems), m.byExporter) }),
		report.Observe(builder.RegisterExporterLoggregatorWaitingItemsCallback, func(o metric.Int64Observer) { o.Observe(r.Waiting(), m.bySignal) }),
		report.Observe(builder.RegisterExporterLoggregatorAcceptedItemsCallback, func(o metric.Int64Observer) { o.Observe(r.AcceptedItems(), m.bySignal) }),
		report.Observe(builder.RegisterExporterLoggregatorDroppedItemsCallback, func(o metric.Int64Observer) {
			o.Observe(r.DroppedItems(report.DropOverflow), overflow)
			o.Observe(r.DroppedItems(report.DropShutdown), shutdown)
		}),
		report.Observe(enqueueFailed, func(o metric.Int64Observer) { o.Observe(r.DroppedItems(report.DropOverflow), m.byExporter) }),
		builder.RegisterExporterLoggregatorRateLimitCallback(func(_ context.Context, o metric.Float64Observer) error {
			o.Observe(s.EnvelopesPerSecond, m.byExporter)
			return nil
		}),
	)
	if err != nil {
		builder.Shutdown()
		return nil, err
	}
	m.start()
	return m, nil
}

// start initializes counters to zero so that rate() sees the first loss. Counters with an open set of attribute values appear with the
// first loss, except those of an outage.
func (m *metrics) start() {
	m.sentItems.Add(background, 0, m.byExporter)
	m.ExporterLoggregatorEnvelopes.Add(background, 0, m.bySignal)
	m.ExporterLoggregatorBytes.Add(background, 0, m.bySignal)
	m.ExporterLoggregatorTruncatedItems.Add(background, 0, m.bySignal)
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded} {
		m.failedItems.Add(background, 0, m.byError(code.String(), false))
	}
}

// with returns attrs and the exporter's ID.
func (m *metrics) with(attrs ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(attrs, m.exporter)...))
}

func (m *metrics) byReason(reason string) metric.MeasurementOption {
	return m.with(m.signal, attribute.String("reason", reason))
}

func (m *metrics) byError(kind string, permanent bool) metric.MeasurementOption {
	return m.with(attribute.String("error.type", kind), attribute.Bool("error.permanent", permanent))
}
