// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"strconv"
	"strings"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// itemNames are the names of the items of each signal in metrics.
var itemNames = map[string]string{"logs": "log_records", "metrics": "metric_points", "traces": "spans"}

// feed is an exporter of one signal with a way to push items, each of which becomes one envelope with its number.
type feed struct {
	component.Component
	signal string
	// push pushes a batch of n items, numbered from first on, each of at least size bytes.
	push func(first, n, size int)
	// waiting is the number of items in the exporter.
	waiting func() int64
}

// start starts an exporter of a signal, which the test has to shut down.
func (f *fixture) start(signal string) feed {
	f.t.Helper()
	feed := f.create(signal)
	require.NoError(f.t, feed.Start(f.t.Context(), f.host))
	return feed
}

// create creates an exporter of a signal.
func (f *fixture) create(signal string) feed {
	f.t.Helper()
	ctx, set := f.t.Context(), f.settings()
	pushed := func(err error) {
		if err != nil {
			f.t.Errorf("a push failed: %v", err)
		}
	}
	switch signal {
	case "logs":
		e, err := f.factory.CreateLogs(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeLogs(ctx, numberedLogs(first, n, size))) },
			e.(logsExporter).report.Waiting}
	case "metrics":
		e, err := f.factory.CreateMetrics(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeMetrics(ctx, numberedMetrics(first, n, size))) },
			e.(metricsExporter).report.Waiting}
	default:
		e, err := f.factory.CreateTraces(ctx, set, f.cfg)
		require.NoError(f.t, err)
		return feed{e, signal, func(first, n, size int) { pushed(e.ConsumeTraces(ctx, numberedTraces(first, n, size))) },
			e.(tracesExporter).report.Waiting}
	}
}

func numberedLogs(first, n, size int) plog.Logs {
	data := plog.NewLogs()
	records := data.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		r := records.AppendEmpty()
		r.Body().SetStr("log")
		r.Attributes().PutStr("number", strconv.Itoa(first+i))
		r.Attributes().PutStr("padding", strings.Repeat("x", size))
	}
	return data
}

func numberedMetrics(first, n, size int) pmetric.Metrics {
	data := pmetric.NewMetrics()
	m := data.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("requests")
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	for i := range n {
		p := sum.DataPoints().AppendEmpty()
		p.SetIntValue(1)
		p.Attributes().PutStr("number", strconv.Itoa(first+i))
		p.Attributes().PutStr("padding", strings.Repeat("x", size))
	}
	return data
}

func numberedTraces(first, n, size int) ptrace.Traces {
	data := ptrace.NewTraces()
	spans := data.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetName("span")
		s.Attributes().PutStr("number", strconv.Itoa(first+i))
		s.Attributes().PutStr("padding", strings.Repeat("x", size))
	}
	return data
}

// signalOf is the signal that an envelope of a feed comes from.
func signalOf(e *loggregator_v2.Envelope) string {
	switch e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		return "logs"
	case *loggregator_v2.Envelope_Counter:
		return "metrics"
	default:
		return "traces"
	}
}

// numbers are those of the items of a signal that have arrived, and how often.
func (f *fixture) numbers(signal string) map[int]int {
	f.t.Helper()
	arrived := map[int]int{}
	for _, e := range f.ingress.Envelopes() {
		if signalOf(e) != signal {
			continue
		}
		n, err := strconv.Atoi(e.GetTags()["number"])
		require.NoError(f.t, err)
		arrived[n]++
	}
	return arrived
}
