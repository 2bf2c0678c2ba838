// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package reporttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
)

// Consumer consumes every signal.
type Consumer interface {
	consumer.Logs
	consumer.Metrics
	consumer.Traces
}

// CheckConsumeContract checks the collector's contract for exporters: each item arrives once; retryable errors are retried, permanent ones
// are not. create returns a component of a signal that calls next for each item, and a function that returns its number of waiting items.
func CheckConsumeContract(
	t *testing.T, cfg component.Config, create func(signal pipeline.Signal, next Consumer) (c component.Component, waiting func() int64),
) {
	const stability = component.StabilityLevelDevelopment
	for _, signal := range []pipeline.Signal{pipeline.SignalLogs, pipeline.SignalMetrics, pipeline.SignalTraces} {
		t.Run(signal.String(), func(t *testing.T) {
			var next Consumer // The contract creates the receiver first.
			newPatient := func() patient {
				c, waiting := create(signal, next)
				return patient{c, t, waiting}
			}
			exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
				T: t, NumberOfTestElements: 10, Signal: signal, ExporterConfig: cfg,
				ExporterFactory: exporter.NewFactory(component.MustNewType("patient"), func() component.Config { return cfg },
					exporter.WithLogs(createExporter[exporter.Logs](newPatient), stability),
					exporter.WithMetrics(createExporter[exporter.Metrics](newPatient), stability),
					exporter.WithTraces(createExporter[exporter.Traces](newPatient), stability)),
				ReceiverFactory: receiver.NewFactory(component.MustNewType("mock"), func() component.Config { return &struct{}{} },
					receiver.WithLogs(createReceiver[consumer.Logs, receiver.Logs](&next), stability),
					receiver.WithMetrics(createReceiver[consumer.Metrics, receiver.Metrics](&next), stability),
					receiver.WithTraces(createReceiver[consumer.Traces, receiver.Traces](&next), stability)),
			})
		})
	}
}

// createExporter returns a function that creates exporters of a signal.
func createExporter[E any](create func() patient) func(context.Context, exporter.Settings, component.Config) (E, error) {
	return func(context.Context, exporter.Settings, component.Config) (E, error) { return any(create()).(E), nil }
}

// createReceiver returns a function that creates receivers of a signal. They do nothing. It stores their consumer, which accepts every
// signal and only counts, in next.
func createReceiver[C, R any](next *Consumer) func(context.Context, receiver.Settings, component.Config, C) (R, error) {
	return func(_ context.Context, _ receiver.Settings, _ component.Config, c C) (R, error) {
		*next = any(c).(Consumer)
		return any(struct {
			component.StartFunc
			component.ShutdownFunc
		}{}).(R), nil
	}
}

// patient is a component whose Consume methods return when it is empty. The contract checks the arrived items at a fixed time after the
// last push, which may be too early.
type patient struct {
	component.Component
	t       *testing.T
	waiting func() int64
}

func (patient) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (p patient) ConsumeLogs(ctx context.Context, data plog.Logs) error {
	return p.wait(p.Component.(consumer.Logs).ConsumeLogs(ctx, data))
}

func (p patient) ConsumeMetrics(ctx context.Context, data pmetric.Metrics) error {
	return p.wait(p.Component.(consumer.Metrics).ConsumeMetrics(ctx, data))
}

func (p patient) ConsumeTraces(ctx context.Context, data ptrace.Traces) error {
	return p.wait(p.Component.(consumer.Traces).ConsumeTraces(ctx, data))
}

func (p patient) wait(err error) error {
	assert.Eventually(p.t, func() bool { return p.waiting() == 0 }, time.Minute, time.Millisecond)
	return err
}
