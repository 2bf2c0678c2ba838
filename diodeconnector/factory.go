// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
)

// NewFactory returns a factory for the diode connector.
func NewFactory() connector.Factory {
	return connector.NewFactory(
		metadata.Type,
		createDefaultConfig,
		connector.WithLogsToLogs(createLogs, metadata.LogsToLogsStability),
		connector.WithMetricsToMetrics(createMetrics, metadata.MetricsToMetricsStability),
		connector.WithTracesToTraces(createTraces, metadata.TracesToTracesStability),
	)
}

func createLogs(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Logs) (connector.Logs, error) {
	c, err := newSignalConnector(set, cfg.(*Config), queue.Logs, next.ConsumeLogs)
	return logsConnector{c}, err
}

func createMetrics(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Metrics) (connector.Metrics, error) {
	c, err := newSignalConnector(set, cfg.(*Config), queue.Metrics, next.ConsumeMetrics)
	return metricsConnector{c}, err
}

func createTraces(_ context.Context, set connector.Settings, cfg component.Config, next consumer.Traces) (connector.Traces, error) {
	c, err := newSignalConnector(set, cfg.(*Config), queue.Traces, next.ConsumeTraces)
	return tracesConnector{c}, err
}

type logsConnector struct{ *signalConnector[plog.Logs] }

// ConsumeLogs puts logs into the diode. It never blocks and always returns nil.
func (c logsConnector) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	c.consume(ctx, logs)
	return nil
}

type metricsConnector struct {
	*signalConnector[pmetric.Metrics]
}

// ConsumeMetrics puts metrics into the diode. It never blocks and always returns nil.
func (c metricsConnector) ConsumeMetrics(ctx context.Context, metrics pmetric.Metrics) error {
	c.consume(ctx, metrics)
	return nil
}

type tracesConnector struct {
	*signalConnector[ptrace.Traces]
}

// ConsumeTraces puts traces into the diode. It never blocks and always returns nil.
func (c tracesConnector) ConsumeTraces(ctx context.Context, traces ptrace.Traces) error {
	c.consume(ctx, traces)
	return nil
}
