// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// NewFactory returns a factory for the Loggregator exporter.
func NewFactory() exporter.Factory {
	f := &factory{}
	return exporter.NewFactory(
		metadata.Type,
		createDefaultConfig,
		exporter.WithLogs(f.createLogs, metadata.LogsStability),
		exporter.WithMetrics(f.createMetrics, metadata.MetricsStability),
		exporter.WithTraces(f.createTraces, metadata.TracesStability),
	)
}

// factory shares one connection and one rate limit among the signals of an exporter ID. The collector passes the same *Config to all of
// them.
type factory struct {
	clients delivery.Shared[*Config]
}

func (f *factory) createLogs(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
	c := cfg.(*Config)
	e, err := newSignalExporter(set, c, &f.clients, queue.Logs, translate.NewLogs(c.translation()).Translate)
	return logsExporter{e}, err
}

func (f *factory) createMetrics(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
	c := cfg.(*Config)
	e, err := newSignalExporter(set, c, &f.clients, queue.Metrics, translate.NewMetrics(c.translation()).Translate)
	return metricsExporter{e}, err
}

func (f *factory) createTraces(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
	c := cfg.(*Config)
	e, err := newSignalExporter(set, c, &f.clients, queue.Traces, translate.NewTraces(c.translation()).Translate)
	return tracesExporter{e}, err
}

type logsExporter struct{ *signalExporter[plog.Logs] }

// ConsumeLogs puts logs into the diode. It never blocks and always returns nil.
func (e logsExporter) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	e.consume(logs)
	return nil
}

type metricsExporter struct {
	*signalExporter[pmetric.Metrics]
}

// ConsumeMetrics puts metrics into the diode. It never blocks and always returns nil.
func (e metricsExporter) ConsumeMetrics(_ context.Context, metrics pmetric.Metrics) error {
	e.consume(metrics)
	return nil
}

type tracesExporter struct{ *signalExporter[ptrace.Traces] }

// ConsumeTraces puts traces into the diode. It never blocks and always returns nil.
func (e tracesExporter) ConsumeTraces(_ context.Context, traces ptrace.Traces) error {
	e.consume(traces)
	return nil
}
