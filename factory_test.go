// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
)

// TestConsumeContract runs the collector's own contract of exporters: each item arrives once; retryable errors are retried, permanent
// ones are not.
func TestConsumeContract(t *testing.T) {
	for _, signal := range []pipeline.Signal{pipeline.SignalLogs, pipeline.SignalMetrics, pipeline.SignalTraces} {
		t.Run(signal.String(), func(t *testing.T) {
			ingress := ingresstest.StartCapture(t)
			cfg := createDefaultConfig().(*Config)
			connect(cfg, ingress)
			cfg.RetryConfig.InitialInterval = time.Millisecond
			cfg.RetryConfig.MaxInterval = time.Millisecond
			cfg.Batch.MaxEnvelopes = 1 // The contract counts a call for each item.
			exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
				T:                    t,
				NumberOfTestElements: 10,
				Signal:               signal,
				ExporterFactory:      patient(t),
				ExporterConfig:       cfg,
				ReceiverFactory:      contractReceiver(ingress),
			})
		})
	}
}

// patient makes exporters with a Consume that returns when nothing waits any more. The contract checks what has arrived at a fixed
// time after the last push, which may be too early.
func patient(t *testing.T) exporter.Factory {
	wait := func(r *report.Report) {
		require.Eventually(t, func() bool { return r.Waiting() == 0 }, waitAtMost, time.Millisecond)
	}
	f := NewFactory()
	return exporter.NewFactory(f.Type(), f.CreateDefaultConfig,
		exporter.WithLogs(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			e, err := f.CreateLogs(ctx, set, cfg)
			require.NoError(t, err)
			consume, err := consumer.NewLogs(func(ctx context.Context, data plog.Logs) error {
				defer wait(e.(logsExporter).report.Report)
				return e.ConsumeLogs(ctx, data)
			})
			return struct {
				component.Component
				consumer.Logs
			}{e, consume}, err
		}, component.StabilityLevelDevelopment),
		exporter.WithMetrics(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
			e, err := f.CreateMetrics(ctx, set, cfg)
			require.NoError(t, err)
			consume, err := consumer.NewMetrics(func(ctx context.Context, data pmetric.Metrics) error {
				defer wait(e.(metricsExporter).report.Report)
				return e.ConsumeMetrics(ctx, data)
			})
			return struct {
				component.Component
				consumer.Metrics
			}{e, consume}, err
		}, component.StabilityLevelDevelopment),
		exporter.WithTraces(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
			e, err := f.CreateTraces(ctx, set, cfg)
			require.NoError(t, err)
			consume, err := consumer.NewTraces(func(ctx context.Context, data ptrace.Traces) error {
				defer wait(e.(tracesExporter).report.Report)
				return e.ConsumeTraces(ctx, data)
			})
			return struct {
				component.Component
				consumer.Traces
			}{e, consume}, err
		}, component.StabilityLevelDevelopment),
	)
}

// contractReceiver makes pdata of the envelopes that an ingress gets, and returns the consumer's errors as the agent would.
func contractReceiver(ingress *ingresstest.Capture) receiver.Factory {
	accept := func(consume func(id string) error) component.Component {
		return &mockReceiver{ingress: ingress, accept: func(batch []*loggregator_v2.Envelope) error {
			for _, e := range batch {
				if c := e.GetCounter(); c != nil && e.GetTags()[`le`] != "+Inf" {
					continue // The last envelope of a histogram stands for its point.
				}
				if err := consume(e.GetTags()["test_id"]); err != nil {
					if consumererror.IsPermanent(err) {
						return status.Error(codes.Internal, err.Error())
					}
					return status.Error(codes.Unavailable, err.Error())
				}
			}
			return nil
		}}
	}
	return receiver.NewFactory(component.MustNewType("mock"), func() component.Config { return &struct{}{} },
		receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Logs) (receiver.Logs, error) {
			return accept(func(id string) error {
				data := plog.NewLogs()
				data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutStr("test_id", id)
				return next.ConsumeLogs(context.Background(), data)
			}), nil
		}, component.StabilityLevelDevelopment),
		receiver.WithMetrics(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Metrics) (receiver.Metrics, error) {
			return accept(func(id string) error {
				data := pmetric.NewMetrics()
				data.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyHistogram().
					DataPoints().AppendEmpty().Attributes().PutStr("test_id", id)
				return next.ConsumeMetrics(context.Background(), data)
			}), nil
		}, component.StabilityLevelDevelopment),
		receiver.WithTraces(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Traces) (receiver.Traces, error) {
			return accept(func(id string) error {
				data := ptrace.NewTraces()
				data.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes().PutStr("test_id", id)
				return next.ConsumeTraces(context.Background(), data)
			}), nil
		}, component.StabilityLevelDevelopment),
	)
}

type mockReceiver struct {
	ingress *ingresstest.Capture
	accept  func([]*loggregator_v2.Envelope) error
}

func (r *mockReceiver) Start(context.Context, component.Host) error {
	r.ingress.RefuseIf(r.accept)
	return nil
}

func (*mockReceiver) Shutdown(context.Context) error { return nil }

func TestEachSignalArrives(t *testing.T) {
	f := newFixture(t)
	for signal := range itemNames {
		e := f.start(signal)
		assert.False(t, e.Component.(interface{ Capabilities() consumer.Capabilities }).Capabilities().MutatesData)
		e.push(0, 1, 0)
		require.NoError(t, e.Shutdown(t.Context()))
		assert.Len(t, f.numbers(signal), 1)
		f.checkIdentity(signal, 1)
		assert.Equal(t, 1, f.sum("exporter_sent_"+itemNames[signal]))
	}
	duration, err := f.telemetry.GetMetric("otelcol_exporter_loggregator_send_duration")
	require.NoError(t, err)
	assert.Len(t, duration.Data.(metricdata.Histogram[float64]).DataPoints, 3)
}

func TestSharedConnection(t *testing.T) {
	f := newFixture(t)
	logs, traces := f.start("logs"), f.start("traces")
	other := *f.cfg
	f.cfg = &other
	another := f.create("logs")
	logs.push(0, 1, 0)
	traces.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 2)
	assert.Equal(t, 1, f.ingress.Connections(), "two signals of one exporter ID")

	require.NoError(t, another.Start(t.Context(), f.host))
	another.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 3)
	assert.Equal(t, 2, f.ingress.Connections(), "another exporter ID")

	require.NoError(t, another.Shutdown(t.Context()))
	require.NoError(t, logs.Shutdown(t.Context()))
	traces.push(1, 1, 0)
	f.ingress.WaitForEnvelopes(t, 4)
	require.NoError(t, traces.Shutdown(t.Context()))
	f.ingress.WaitFor(t, "the last user to close the connection", func() bool { return f.ingress.Connections() == 0 })
}
