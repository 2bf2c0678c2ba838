// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
)

// Signal is a kind of telemetry, under the names that the collector has for it.
type Signal struct {
	Name  string // logs, metrics or traces
	Items string // in the names of metrics: log_records, metric_points or spans
	batch int    // items
}

// Signals are all of them. The batches of traces are larger, so that their diode is full by its items and not by its
// batches.
var Signals = []Signal{
	{Name: "logs", Items: "log_records", batch: 20},
	{Name: "metrics", Items: "metric_points", batch: 20},
	{Name: "traces", Items: "spans", batch: 50},
}

// itemTag is the attribute with the number of an item.
const itemTag = "item"

// stream is the load of one signal: the items 0, 1, 2 and so on.
type stream struct {
	Signal
	export func(ctx context.Context, first int, malformed bool) error
	pushed atomic.Int64 // items
}

// pushes is where the durations of pushes are kept, by signal.
type pushes struct {
	mu    sync.Mutex
	phase int
	all   map[int][]time.Duration    // by phase
	fresh map[string][]time.Duration // by signal, since the last look
}

func (p *pushes) add(signal string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[p.phase] = append(p.all[p.phase], d)
	p.fresh[signal] = append(p.fresh[signal], d)
}

// enter says which phase the pushes are of from now on.
func (p *pushes) enter(phase int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = phase
}

// take returns the durations since it was last called.
func (p *pushes) take() map[string][]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.fresh
	p.fresh = map[string][]time.Duration{}
	return fresh
}

// load pushes by OTLP until its context is done.
type load struct {
	streams   []*stream
	pushes    *pushes
	malformed atomic.Bool // whether half of the items have no form in Loggregator
}

func newLoad(conn *grpc.ClientConn) *load {
	logs, metrics, traces := plogotlp.NewGRPCClient(conn), pmetricotlp.NewGRPCClient(conn), ptraceotlp.NewGRPCClient(conn)
	exports := []func(ctx context.Context, first int, malformed bool) error{
		func(ctx context.Context, first int, malformed bool) error {
			_, err := logs.Export(ctx, plogotlp.NewExportRequestFromLogs(makeLogs(first, Signals[0].batch, malformed)))
			return err
		},
		func(ctx context.Context, first int, malformed bool) error {
			_, err := metrics.Export(ctx, pmetricotlp.NewExportRequestFromMetrics(makeMetrics(first, Signals[1].batch, malformed)))
			return err
		},
		func(ctx context.Context, first int, _ bool) error {
			_, err := traces.Export(ctx, ptraceotlp.NewExportRequestFromTraces(makeTraces(first, Signals[2].batch)))
			return err
		},
	}
	l := &load{pushes: &pushes{all: map[int][]time.Duration{}, fresh: map[string][]time.Duration{}}}
	for i, signal := range Signals {
		l.streams = append(l.streams, &stream{Signal: signal, export: exports[i]})
	}
	return l
}

// run pushes so many batches of each signal a second. A push that has begun ends, so that its items are known.
func (l *load) run(ctx context.Context, batches int) error {
	errs := make(chan error, len(l.streams))
	for _, st := range l.streams {
		go func() { errs <- l.push(ctx, st, batches) }()
	}
	var failed error
	for range l.streams {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

func (l *load) push(ctx context.Context, st *stream, batches int) error {
	ticker := time.NewTicker(time.Second / time.Duration(batches))
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		begin := time.Now()
		if err := st.export(context.WithoutCancel(ctx), int(st.pushed.Load()), l.malformed.Load()); err != nil {
			return fmt.Errorf("the collector refused %s: %w", st.Name, err)
		}
		l.pushes.add(st.Name, time.Since(begin))
		st.pushed.Add(int64(st.batch))
	}
	return nil
}

func describe(resource pcommon.Resource, signal string) {
	resource.Attributes().PutStr("source_id", signal)
	resource.Attributes().PutStr("service.name", "shop")
}

func now() pcommon.Timestamp { return pcommon.NewTimestampFromTime(time.Now()) }

func makeLogs(first, n int, malformed bool) plog.Logs {
	data := plog.NewLogs()
	rl := data.ResourceLogs().AppendEmpty()
	describe(rl.Resource(), "logs")
	records := rl.ScopeLogs().AppendEmpty().LogRecords()
	for id := first; id < first+n; id++ {
		r := records.AppendEmpty()
		r.SetTimestamp(now())
		if malformed && id%2 == 0 {
			continue // Nothing in it: rejected as empty.
		}
		r.SetSeverityNumber(plog.SeverityNumberInfo)
		r.Body().SetStr(fmt.Sprintf("order %d placed by customer %d", id, id%97))
		r.Attributes().PutInt(itemTag, int64(id))
		r.Attributes().PutStr("http.route", "/orders")
	}
	return data
}

func makeMetrics(first, n int, malformed bool) pmetric.Metrics {
	data := pmetric.NewMetrics()
	rm := data.ResourceMetrics().AppendEmpty()
	describe(rm.Resource(), "metrics")
	m := rm.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("queue.length")
	points := m.SetEmptyGauge().DataPoints()
	for id := first; id < first+n; id++ {
		p := points.AppendEmpty()
		p.SetTimestamp(now())
		p.SetDoubleValue(float64(id % 50))
		// One in 200 is always rejected: a little of that is normal.
		if id%200 == 0 || malformed && id%2 == 0 {
			p.SetDoubleValue(math.NaN())
		}
		p.Attributes().PutInt(itemTag, int64(id))
	}
	return data
}

func makeTraces(first, n int) ptrace.Traces {
	data := ptrace.NewTraces()
	rs := data.ResourceSpans().AppendEmpty()
	describe(rs.Resource(), "traces")
	spans := rs.ScopeSpans().AppendEmpty().Spans()
	for id := first; id < first+n; id++ {
		span := spans.AppendEmpty()
		span.SetName("POST /orders")
		span.SetKind(ptrace.SpanKindServer)
		span.SetStartTimestamp(now())
		span.SetEndTimestamp(now())
		span.Attributes().PutInt(itemTag, int64(id))
	}
	return data
}
