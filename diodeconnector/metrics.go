// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
)

// background is the context for recording metrics.
var background = context.Background()

// metrics holds the instruments of metadata.yaml. Counts from pushes are read at each export; the drain records the others directly.
type metrics struct {
	*metadata.TelemetryBuilder
	items            metric.MeasurementOption // attributes connector and signal
	permanent, retry metric.MeasurementOption // the same and reason
}

// newMetrics registers the instruments. They stay registered after Shutdown, so that the last export of the collector includes all drops.
func newMetrics(set connector.Settings, signal pipeline.Signal, r *report.Report) (*metrics, error) {
	builder, err := metadata.NewTelemetryBuilder(set.TelemetrySettings)
	if err != nil {
		return nil, err
	}
	with := func(attrs ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attrs,
			attribute.String("connector", set.ID.String()), attribute.String("signal", signal.String()))...))
	}
	because := func(reason string) metric.MeasurementOption { return with(attribute.String("reason", reason)) }
	m := &metrics{TelemetryBuilder: builder, items: with(), permanent: because("permanent"), retry: because("retry")}
	overflow, shutdown := because(string(report.DropOverflow)), because(string(report.DropShutdown))
	err = errors.Join(
		report.Observe(builder.RegisterConnectorDiodeAcceptedItemsCallback, func(o metric.Int64Observer) { o.Observe(r.AcceptedItems(), m.items) }),
		report.Observe(builder.RegisterConnectorDiodeWaitingItemsCallback, func(o metric.Int64Observer) { o.Observe(r.Waiting(), m.items) }),
		report.Observe(builder.RegisterConnectorDiodeDroppedItemsCallback, func(o metric.Int64Observer) {
			o.Observe(r.DroppedItems(report.DropOverflow), overflow)
			o.Observe(r.DroppedItems(report.DropShutdown), shutdown)
		}),
	)
	if err != nil {
		builder.Shutdown()
		return nil, err
	}
	// Counters start at zero so that rate() sees the first loss.
	m.ConnectorDiodeForwardedItems.Add(background, 0, m.items)
	m.ConnectorDiodeForwardFailedItems.Add(background, 0, m.permanent)
	m.ConnectorDiodeForwardFailedItems.Add(background, 0, m.retry)
	return m, nil
}

// forwarded counts items that the next component accepted.
func (c *signalConnector[D]) forwarded(items int) {
	c.report.Out(items)
	c.metrics.ConnectorDiodeForwardedItems.Add(background, int64(items), c.metrics.items)
}

// failed counts items given up after their last attempt.
func (c *signalConnector[D]) failed(err error, permanent bool, items int) {
	reason := c.metrics.retry
	if permanent {
		reason = c.metrics.permanent
	}
	c.metrics.ConnectorDiodeForwardFailedItems.Add(background, int64(items), reason)
	c.report.Failed(err, permanent, items)
}
