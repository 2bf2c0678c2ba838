// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
)

// Shape describes the batches of a load. The source ID of an item is the name of its signal. The number of an item is the payload of
// its log, the name of its metric after "load.", or the name of its span. No two items have an attribute value in common.
type Shape struct {
	Items      [3]int // in a batch of each signal
	Resources  int
	Payload    int    // bytes in a log
	Attributes [3]int // of an item of each signal
	// NaN is the interval, in points, of NaN values, which are rejected. 0 means none.
	NaN int
}

// Load pushes the items 0, 1, 2 and so on of each signal to a collector until Stop is called or the collector refuses a batch.
type Load struct {
	Sent [3]atomic.Int64 // items of each signal that the collector acknowledged
	// Malformed makes half of the logs and points such that the exporter rejects them.
	Malformed atomic.Bool
	// Ended is closed when Stop is called or the collector has refused a batch.
	Ended   <-chan struct{}
	cancel  context.CancelFunc
	running *errgroup.Group
}

// StartLoad pushes batches of each signal at the given rate per second. It calls onPush with the duration of each push, from one
// goroutine for each signal.
func StartLoad(conn *grpc.ClientConn, shape Shape, batches rate.Limit, onPush func(signal int, took time.Duration)) *Load {
	logs, metrics, traces := plogotlp.NewGRPCClient(conn), pmetricotlp.NewGRPCClient(conn), ptraceotlp.NewGRPCClient(conn)
	ctx, cancel := context.WithCancel(context.Background())
	running, ctx := errgroup.WithContext(ctx)
	l := &Load{Ended: ctx.Done(), cancel: cancel, running: running}
	ready := grpc.WaitForReady(true)
	for i, export := range []func(ctx context.Context, first int) error{
		func(ctx context.Context, first int) error {
			_, err := logs.Export(ctx, plogotlp.NewExportRequestFromLogs(shape.logs(first, l.Malformed.Load())), ready)
			return err
		},
		func(ctx context.Context, first int) error {
			_, err := metrics.Export(ctx, pmetricotlp.NewExportRequestFromMetrics(shape.metrics(first, l.Malformed.Load())), ready)
			return err
		},
		func(ctx context.Context, first int) error {
			_, err := traces.Export(ctx, ptraceotlp.NewExportRequestFromTraces(shape.traces(first)), ready)
			return err
		},
	} {
		l.running.Go(func() error {
			for pace := rate.NewLimiter(batches, 1); pace.Wait(ctx) == nil; {
				begin := time.Now()
				// A push is never canceled, so that the fate of its items is known.
				if err := export(context.WithoutCancel(ctx), int(l.Sent[i].Load())); err != nil {
					return fmt.Errorf("the collector refused %s: %w", Signals[i].Name, err)
				}
				onPush(i, time.Since(begin))
				l.Sent[i].Add(int64(shape.Items[i]))
			}
			return nil
		})
	}
	return l
}

// Stop stops the load, and waits for the pushes in progress. It returns the error of a refused batch. It may be called more than once.
func (l *Load) Stop() error {
	l.cancel()
	return l.running.Wait()
}

func now() pcommon.Timestamp { return pcommon.NewTimestampFromTime(time.Now()) }

func putAttributes(attributes pcommon.Map, id, n int) {
	for k := range n {
		attributes.PutStr(fmt.Sprintf("load.attribute.%02d", k), fmt.Sprintf("value %d of item %d", k, id))
	}
}

func (s Shape) logs(first int, malformed bool) plog.Logs {
	data := plog.NewLogs()
	for k := range s.Resources {
		rl := data.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr("source_id", Signals[0].Name)
		records := rl.ScopeLogs().AppendEmpty().LogRecords()
		for id := first + k; id < first+s.Items[0]; id += s.Resources {
			r := records.AppendEmpty()
			r.SetTimestamp(now())
			if malformed && id%2 == 0 {
				continue // Rejected as empty.
			}
			r.Body().SetStr(fmt.Sprintf("%0*d", s.Payload, id))
			putAttributes(r.Attributes(), id, s.Attributes[0])
		}
	}
	return data
}

func (s Shape) metrics(first int, malformed bool) pmetric.Metrics {
	data := pmetric.NewMetrics()
	for k := range s.Resources {
		rm := data.ResourceMetrics().AppendEmpty()
		rm.Resource().Attributes().PutStr("source_id", Signals[1].Name)
		metrics, at := rm.ScopeMetrics().AppendEmpty().Metrics(), now()
		for id := first + k; id < first+s.Items[1]; id += s.Resources {
			m := metrics.AppendEmpty()
			m.SetName(fmt.Sprintf("load.%d", id))
			p := m.SetEmptyGauge().DataPoints().AppendEmpty()
			p.SetTimestamp(at)
			p.SetDoubleValue(float64(id))
			if malformed && id%2 == 0 || s.NaN > 0 && id%s.NaN == 0 {
				p.SetDoubleValue(math.NaN())
			}
			putAttributes(p.Attributes(), id, s.Attributes[1])
		}
	}
	return data
}

func (s Shape) traces(first int) ptrace.Traces {
	data := ptrace.NewTraces()
	for k := range s.Resources {
		rs := data.ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr("source_id", Signals[2].Name)
		spans := rs.ScopeSpans().AppendEmpty().Spans()
		for id := first + k; id < first+s.Items[2]; id += s.Resources {
			span := spans.AppendEmpty()
			span.SetName(strconv.Itoa(id))
			span.SetKind(ptrace.SpanKindServer)
			span.SetStartTimestamp(now())
			span.SetEndTimestamp(span.StartTimestamp() + 1)
			putAttributes(span.Attributes(), id, s.Attributes[2])
		}
	}
	return data
}

// Arrivals counts the items of loads that arrive at Loggregator. Its methods may be called concurrently.
type Arrivals struct {
	mu             sync.Mutex
	total, highest [3]int
	ids            [3]map[int]bool
}

// Add counts the items of an envelope. Each metric of a gauge is an item.
func (a *Arrivals) Add(e *loggregator_v2.Envelope) error {
	signal, items := 0, []string{string(e.GetLog().GetPayload())}
	switch {
	case e.GetGauge() != nil:
		signal, items = 1, nil
		for name := range e.GetGauge().GetMetrics() {
			items = append(items, strings.TrimPrefix(name, "load_"))
		}
	case e.GetTimer() != nil:
		signal, items = 2, []string{e.GetTimer().GetName()}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, item := range items {
		id, err := strconv.Atoi(item)
		if err != nil || e.GetSourceId() != Signals[signal].Name {
			return fmt.Errorf("not an item of a load: %v", e)
		}
		if a.ids[signal] == nil {
			a.ids[signal] = map[int]bool{}
		}
		a.ids[signal][id] = true
		a.total[signal]++
		a.highest[signal] = max(a.highest[signal], id)
	}
	return nil
}

// Count returns the total number of arrivals of a signal, the number of distinct items, and the highest item number.
func (a *Arrivals) Count(signal int) (total, distinct, highest int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total[signal], len(a.ids[signal]), a.highest[signal]
}
