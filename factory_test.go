// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"fmt"
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

// TestConsumeContract runs the collector's own contract of exporters: each item arrives once, what failed for a while is
// sent again, what failed for good is not.
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

// patient makes exporters whose Consume returns when all that was accepted is counted out. The contract looks at what has
// arrived at a fixed time after the last push, and fails for good if that is too early.
func patient(t *testing.T) exporter.Factory {
	wait := func(r *report.Report) {
		require.Eventually(t, func() bool { return r.Waiting() == 0 }, time.Minute, time.Millisecond)
	}
	f := NewFactory()
	return exporter.NewFactory(f.Type(), f.CreateDefaultConfig,
		exporter.WithLogs(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Logs, error) {
			e, err := f.CreateLogs(ctx, set, cfg)
			return patientLogs{e.(logsExporter), wait}, err
		}, component.StabilityLevelDevelopment),
		exporter.WithMetrics(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
			e, err := f.CreateMetrics(ctx, set, cfg)
			return patientMetrics{e.(metricsExporter), wait}, err
		}, component.StabilityLevelDevelopment),
		exporter.WithTraces(func(ctx context.Context, set exporter.Settings, cfg component.Config) (exporter.Traces, error) {
			e, err := f.CreateTraces(ctx, set, cfg)
			return patientTraces{e.(tracesExporter), wait}, err
		}, component.StabilityLevelDevelopment),
	)
}

type patientLogs struct {
	logsExporter
	wait func(*report.Report)
}

func (e patientLogs) ConsumeLogs(ctx context.Context, data plog.Logs) error {
	defer e.wait(e.report.Report)
	return e.logsExporter.ConsumeLogs(ctx, data)
}

type patientMetrics struct {
	metricsExporter
	wait func(*report.Report)
}

func (e patientMetrics) ConsumeMetrics(ctx context.Context, data pmetric.Metrics) error {
	defer e.wait(e.report.Report)
	return e.metricsExporter.ConsumeMetrics(ctx, data)
}

type patientTraces struct {
	tracesExporter
	wait func(*report.Report)
}

func (e patientTraces) ConsumeTraces(ctx context.Context, data ptrace.Traces) error {
	defer e.wait(e.report.Report)
	return e.tracesExporter.ConsumeTraces(ctx, data)
}

// contractReceiver makes pdata of the envelopes that an ingress gets, and passes the consumer's errors back as the agent
// would.
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
	set := f.settings()
	ctx := t.Context()
	logs, err := f.factory.CreateLogs(ctx, set, f.cfg)
	require.NoError(t, err)
	metrics, err := f.factory.CreateMetrics(ctx, set, f.cfg)
	require.NoError(t, err)
	traces, err := f.factory.CreateTraces(ctx, set, f.cfg)
	require.NoError(t, err)
	for _, c := range []component.Component{logs, metrics, traces} {
		require.NoError(t, c.Start(ctx, f.host))
	}
	assert.False(t, logs.Capabilities().MutatesData)

	require.NoError(t, logs.ConsumeLogs(ctx, newLogs(1, 1)))
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("temperature")
	m.SetEmptyGauge().DataPoints().AppendEmpty().SetDoubleValue(21.5)
	require.NoError(t, metrics.ConsumeMetrics(ctx, md))
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty().SetName("GET /")
	require.NoError(t, traces.ConsumeTraces(ctx, td))

	got := f.ingress.WaitForEnvelopes(t, 3)
	for _, c := range []component.Component{logs, metrics, traces} {
		require.NoError(t, c.Shutdown(ctx))
	}
	kinds := map[string]bool{}
	for _, e := range got {
		kinds[fmt.Sprintf("%T", e.GetMessage())] = true
	}
	assert.Len(t, kinds, 3)
	for signal := range itemNames {
		f.checkIdentity(signal, 1)
		assert.Equal(t, 1, f.sum("exporter_sent_"+itemNames[signal]))
	}
	duration, err := f.telemetry.GetMetric("otelcol_exporter_loggregator_send_duration")
	require.NoError(t, err)
	assert.Len(t, duration.Data.(metricdata.Histogram[float64]).DataPoints, 3)
}

func TestSignalsShareOneConnection(t *testing.T) {
	f := newFixture(t)
	set := f.settings()
	logs, err := f.factory.CreateLogs(t.Context(), set, f.cfg)
	require.NoError(t, err)
	traces, err := f.factory.CreateTraces(t.Context(), set, f.cfg)
	require.NoError(t, err)
	other := createDefaultConfig().(*Config)
	*other = *f.cfg
	another, err := f.factory.CreateLogs(t.Context(), set, other)
	require.NoError(t, err)
	td := ptrace.NewTraces()
	td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()

	for _, c := range []component.Component{logs, traces} {
		require.NoError(t, c.Start(t.Context(), f.host))
	}
	require.NoError(t, logs.ConsumeLogs(t.Context(), newLogs(1, 1)))
	require.NoError(t, traces.ConsumeTraces(t.Context(), td))
	f.ingress.WaitForEnvelopes(t, 2)
	assert.Equal(t, 1, f.ingress.Connections(), "two signals of one exporter ID")

	require.NoError(t, another.Start(t.Context(), f.host))
	require.NoError(t, another.ConsumeLogs(t.Context(), newLogs(1, 1)))
	f.ingress.WaitForEnvelopes(t, 3)
	assert.Equal(t, 2, f.ingress.Connections(), "another exporter ID")

	require.NoError(t, another.Shutdown(t.Context()))
	require.NoError(t, logs.Shutdown(t.Context()))
	require.NoError(t, traces.ConsumeTraces(t.Context(), td))
	f.ingress.WaitForEnvelopes(t, 4)
	require.NoError(t, traces.Shutdown(t.Context()))
	f.ingress.WaitFor(t, "the last user to close the connection", func() bool { return f.ingress.Connections() == 0 })
}
