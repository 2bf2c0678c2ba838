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

// CheckConsumeContract checks the collector's contract of exporters: each item arrives once; retryable errors are retried, permanent ones
// are not. create makes the component of a signal, from which next gets a call for each item, and returns how many items wait in it.
func CheckConsumeContract(
	t *testing.T, cfg component.Config, create func(signal pipeline.Signal, next Consumer) (c component.Component, waiting func() int64),
) {
	for _, signal := range []pipeline.Signal{pipeline.SignalLogs, pipeline.SignalMetrics, pipeline.SignalTraces} {
		t.Run(signal.String(), func(t *testing.T) {
			const stability = component.StabilityLevelDevelopment
			var next Consumer
			mock := struct {
				component.StartFunc
				component.ShutdownFunc
			}{}
			newPatient := func() patient {
				c, waiting := create(signal, next)
				return patient{c, t, waiting}
			}
			exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
				T: t, NumberOfTestElements: 10, Signal: signal, ExporterConfig: cfg,
				ExporterFactory: exporter.NewFactory(component.MustNewType("patient"), func() component.Config { return cfg },
					exporter.WithLogs(func(context.Context, exporter.Settings, component.Config) (exporter.Logs, error) {
						return newPatient(), nil
					}, stability),
					exporter.WithMetrics(func(context.Context, exporter.Settings, component.Config) (exporter.Metrics, error) {
						return newPatient(), nil
					}, stability),
					exporter.WithTraces(func(context.Context, exporter.Settings, component.Config) (exporter.Traces, error) {
						return newPatient(), nil
					}, stability)),
				// The contract creates the receiver first. Its consumer takes all signals, and only counts.
				ReceiverFactory: receiver.NewFactory(component.MustNewType("mock"), func() component.Config { return &struct{}{} },
					receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, c consumer.Logs) (receiver.Logs, error) {
						next = c.(Consumer)
						return mock, nil
					}, stability),
					receiver.WithMetrics(func(_ context.Context, _ receiver.Settings, _ component.Config, c consumer.Metrics) (receiver.Metrics, error) {
						next = c.(Consumer)
						return mock, nil
					}, stability),
					receiver.WithTraces(func(_ context.Context, _ receiver.Settings, _ component.Config, c consumer.Traces) (receiver.Traces, error) {
						next = c.(Consumer)
						return mock, nil
					}, stability)),
			})
		})
	}
}

// patient is a component with a Consume that returns when nothing waits any more. The contract checks what has arrived at a fixed time
// after the last push, which may be too early.
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
