// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/pipeline"
)

// A Signal defines the differences between logs, metrics and traces.
type Signal[D comparable] struct {
	Name  pipeline.Signal
	Items func(D) int // log records, data points, spans
	Bytes func(D) int // as encoded in OTLP
	// Ref keeps pdata from being reused after the push until Unref.
	Ref, Unref func(D)
}

// The signals.
var (
	Logs = Signal[plog.Logs]{
		pipeline.SignalLogs, plog.Logs.LogRecordCount, (&plog.ProtoMarshaler{}).LogsSize, pref.RefLogs, pref.UnrefLogs,
	}
	Metrics = Signal[pmetric.Metrics]{
		pipeline.SignalMetrics, pmetric.Metrics.DataPointCount, (&pmetric.ProtoMarshaler{}).MetricsSize, pref.RefMetrics, pref.UnrefMetrics,
	}
	Traces = Signal[ptrace.Traces]{
		pipeline.SignalTraces, ptrace.Traces.SpanCount, (&ptrace.ProtoMarshaler{}).TracesSize, pref.RefTraces, pref.UnrefTraces,
	}
)
