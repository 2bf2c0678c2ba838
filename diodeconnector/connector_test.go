// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/client"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

// numbered returns logs with bodies from first on.
func numbered(first, n int) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		records.AppendEmpty().Body().SetInt(int64(first + i))
	}
	return logs
}

func numbersOf(logs plog.Logs) (numbers []int) {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				numbers = append(numbers, int(record.Body().Int()))
			}
		}
	}
	return numbers
}

// next is the next component. Its zero value takes everything.
type next struct {
	mu       sync.Mutex
	numbers  []int // of the records that it took
	attempts int
	// consume decides on each attempt, if it is set.
	consume func(ctx context.Context, attempt int, logs plog.Logs) error
}

func (n *next) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (n *next) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	n.mu.Lock()
	n.attempts++
	attempt := n.attempts
	n.mu.Unlock()
	if n.consume != nil {
		if err := n.consume(ctx, attempt, logs); err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers = append(n.numbers, numbersOf(logs)...)
	return nil
}

func (n *next) all() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.numbers)
}

type fixture struct {
	t         *testing.T
	cfg       *Config
	next      *next
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
	connector.Logs
}

// start makes a connector of logs before next, and starts it.
func start(t *testing.T, change func(*Config), consume func(ctx context.Context, attempt int, logs plog.Logs) error) *fixture {
	t.Helper()
	f := &fixture{t: t, cfg: createDefaultConfig().(*Config), next: &next{consume: consume}, telemetry: componenttest.NewTelemetry()}
	if change != nil {
		change(f.cfg)
	}
	require.NoError(t, f.cfg.Validate())
	core, observed := observer.New(zap.DebugLevel)
	f.logs = observed
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID = component.NewIDWithName(metadata.Type, "test")
	set.TelemetrySettings = f.telemetry.NewTelemetrySettings()
	set.Logger = zap.New(core)
	var err error
	f.Logs, err = NewFactory().CreateLogsToLogs(t.Context(), set, f.cfg, f.next)
	require.NoError(t, err)
	require.NoError(t, f.Start(context.Background(), componenttest.NewNopHost()))
	return f
}

func (f *fixture) push(first, n int) {
	f.t.Helper()
	require.NoError(f.t, f.ConsumeLogs(f.t.Context(), numbered(first, n)))
}

// sum returns what a metric has counted for a reason, or for all.
func (f *fixture) sum(name, reason string) int {
	f.t.Helper()
	points, err := reporttest.Points(f.telemetry, "connector_diode_"+name+"_items")
	require.NoError(f.t, err)
	total := 0
	for _, p := range points {
		require.True(f.t, reporttest.Has(p.Attributes, attribute.String("connector", "diode/test"), attribute.String("signal", "logs")))
		if reason == "" || reporttest.Has(p.Attributes, attribute.String("reason", reason)) {
			total += int(p.Value)
		}
	}
	return total
}

// shutDown ends the connector, and checks that every item is accounted for.
func (f *fixture) shutDown() {
	f.t.Helper()
	require.NoError(f.t, f.Shutdown(context.Background()))
	assert.Equal(f.t, f.sum("accepted", ""), f.sum("forwarded", "")+f.sum("forward_failed", "")+f.sum("dropped", ""), "accepted")
	assert.Equal(f.t, len(f.next.all()), f.sum("forwarded", ""), "forwarded")
	assert.Zero(f.t, f.sum("waiting", ""))
}

func TestInOrder(t *testing.T) {
	f := start(t, nil, nil)
	var want []int
	for i := range 100 {
		f.push(3*i, 3)
		want = append(want, 3*i, 3*i+1, 3*i+2)
	}
	f.shutDown()
	assert.Equal(t, want, f.next.all())
	assert.False(t, f.Capabilities().MutatesData)
}

// While the next component stalls, a push returns at once, and the newest data stays.
func TestNewestStays(t *testing.T) {
	for name, tt := range map[string]struct {
		policy DropPolicy
		want   []int
	}{
		"oldest": {DropOldest, []int{0, 7, 8, 9}},
		"newest": {DropNewest, []int{0, 1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stalled := make(chan struct{})
				f := start(t, func(cfg *Config) { cfg.Capacity, cfg.DropPolicy = 3, tt.policy }, func(context.Context, int, plog.Logs) error {
					<-stalled
					return nil
				})
				f.push(0, 1)
				synctest.Wait()
				for i := 1; i < 10; i++ {
					f.push(i, 1)
				}
				assert.Equal(t, 4, f.sum("waiting", ""))
				assert.Equal(t, 6, f.sum("dropped", "overflow"), "at that moment")
				close(stalled)
				f.shutDown()
				assert.Equal(t, tt.want, f.next.all())
				lines := f.logs.FilterMessage(messages.Overflow).All()
				dropped := int64(0)
				for _, line := range lines {
					dropped += line.ContextMap()["dropped_items"].(int64)
				}
				assert.EqualValues(t, 6, dropped, "the log says it to the item")
			})
		})
	}
}

// A batch is tried again after the pauses of retry_on_failure. Behind it the diode goes on.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		f := start(t, func(cfg *Config) {
			cfg.Capacity = 2
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.Multiplier, cfg.RetryConfig.RandomizationFactor = time.Second, 2, 0
		}, func(_ context.Context, attempt int, _ plog.Logs) error {
			at = append(at, time.Since(begin))
			if attempt < 4 {
				return errors.New("not yet")
			}
			return nil
		})
		f.push(0, 2)
		synctest.Wait()
		for i := range 5 {
			f.push(10*(1+i), 2)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, at[:4])
		f.shutDown()
		assert.Equal(t, []int{0, 1, 40, 41, 50, 51}, f.next.all())
		assert.Equal(t, 6, f.sum("dropped", "overflow"))
		outage := f.logs.FilterMessage(messages.Outage).All()
		if assert.Len(t, outage, 1) {
			assert.Equal(t, "not yet", outage[0].ContextMap()["error"])
			assert.Contains(t, outage[0].ContextMap(), "retry_in")
		}
		assert.Equal(t, 1, f.logs.FilterMessage(messages.Recovered).Len())
	})
}

func TestGiveUp(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*Config)
		err      error
		reason   string
		attempts int // for each batch
	}{
		"permanent":        {func(*Config) {}, consumererror.NewPermanent(errors.New("bad data")), "permanent", 1},
		"permanent inside": {func(*Config) {}, fmt.Errorf("two: %w", consumererror.NewPermanent(errors.New("bad data"))), "permanent", 1},
		"retry disabled":   {func(cfg *Config) { cfg.RetryConfig.Enabled = false }, errors.New("not now"), "retry", 1},
		"max_elapsed_time": {func(cfg *Config) {
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.Multiplier, cfg.RetryConfig.RandomizationFactor = time.Second, 1, 0
			cfg.RetryConfig.MaxInterval, cfg.RetryConfig.MaxElapsedTime = time.Second, 3*time.Second
		}, errors.New("not now"), "retry", 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, tt.change, func(_ context.Context, _ int, logs plog.Logs) error {
					if numbersOf(logs)[0] < 20 {
						return tt.err
					}
					return nil
				})
				f.push(0, 2)
				f.push(10, 2)
				f.push(20, 2)
				time.Sleep(time.Minute)
				f.shutDown()
				assert.Equal(t, []int{20, 21}, f.next.all(), "good data is not lost with it")
				assert.Equal(t, 2*tt.attempts+1, f.next.attempts)
				assert.Equal(t, 4, f.sum("forward_failed", tt.reason))
				assert.Equal(t, 4, f.sum("forward_failed", ""))
				assert.Positive(t, f.logs.FilterMessage(messages.Failed).Len())
			})
		})
	}
}

// As with the collector's own queue, the values of the push's context arrive, and its end does not.
func TestContext(t *testing.T) {
	type key struct{}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	var got context.Context
	f := start(t, nil, func(ctx context.Context, _ int, _ plog.Logs) error {
		got = ctx
		return ctx.Err()
	})
	ctx := client.NewContext(context.Background(), client.Info{Metadata: client.NewMetadata(map[string][]string{"x-tenant": {"one"}})})
	ctx = trace.ContextWithSpanContext(context.WithValue(ctx, key{}, "value"), span)
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	require.Error(t, ctx.Err())
	require.NoError(t, f.ConsumeLogs(ctx, numbered(0, 1)))
	f.shutDown()
	assert.Equal(t, []string{"one"}, client.FromContext(got).Metadata.Get("x-tenant"))
	assert.Equal(t, "value", got.Value(key{}))
	assert.Equal(t, span, trace.SpanContextFromContext(got))
	_, bounded := got.Deadline()
	assert.False(t, bounded)
}

// mutator changes what it gets, and fails at first.
type mutator struct{ next }

func (*mutator) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

func (m *mutator) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	for _, resource := range logs.ResourceLogs().All() {
		for _, scope := range resource.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				record.Body().SetInt(record.Body().Int() + 100)
			}
		}
	}
	return m.next.ConsumeLogs(ctx, logs)
}

// What a next pipeline changes is a copy, in each attempt: the collector makes it of data that is read-only.
func TestNextPipelinesMutate(t *testing.T) {
	once := func(_ context.Context, attempt int, _ plog.Logs) error {
		if attempt == 1 {
			return errors.New("not yet")
		}
		return nil
	}
	for name, readers := range map[string]int{"alone": 0, "beside a reader": 1, "beside two": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mutates := &mutator{next{consume: once}}
				pipelines := map[pipeline.ID]consumer.Logs{pipeline.NewIDWithName(pipeline.SignalLogs, "mutates"): mutates}
				var reads []*next
				for i := range readers {
					reads = append(reads, &next{})
					pipelines[pipeline.NewIDWithName(pipeline.SignalLogs, fmt.Sprint("reads", i))] = reads[i]
				}
				c, err := NewFactory().CreateLogsToLogs(t.Context(), connectortest.NewNopSettings(metadata.Type), createDefaultConfig(),
					connector.NewLogsRouter(pipelines))
				require.NoError(t, err)
				require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
				data := numbered(1, 2)
				require.NoError(t, c.ConsumeLogs(t.Context(), data))
				time.Sleep(time.Minute)
				require.NoError(t, c.Shutdown(t.Context()))
				assert.Equal(t, []int{101, 102}, mutates.all())
				for _, r := range reads {
					assert.Equal(t, []int{1, 2, 1, 2}, r.all(), "a batch is passed on again as a whole")
				}
				assert.Equal(t, []int{1, 2}, numbersOf(data))
			})
		})
	}
}

// With pooled pdata, what waits is not reused for what follows.
func TestPooledDataIsReferenced(t *testing.T) {
	gate := pref.UseProtoPooling.ID()
	require.NoError(t, featuregate.GlobalRegistry().Set(gate, true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) })
	release := make(chan struct{})
	f := start(t, nil, func(context.Context, int, plog.Logs) error {
		<-release
		return nil
	})
	marshaler, unmarshaler := &plog.ProtoMarshaler{}, &plog.ProtoUnmarshaler{}
	var want []int
	for i := range 100 {
		encoded, err := marshaler.MarshalLogs(numbered(10*i, 3))
		require.NoError(t, err)
		data, err := unmarshaler.UnmarshalLogs(encoded)
		require.NoError(t, err)
		require.NoError(t, f.ConsumeLogs(t.Context(), data))
		pref.UnrefLogs(data) // As the receiver does.
		want = append(want, 10*i, 10*i+1, 10*i+2)
	}
	close(release)
	f.shutDown()
	assert.Equal(t, want, f.next.all())
}

// Each batch is referenced while it waits, and released once it was passed on, given up or dropped.
func TestEachBatchIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Int64
		counted := queue.Logs
		counted.Ref = func(plog.Logs) { held.Add(1) }
		counted.Unref = func(plog.Logs) { held.Add(-1) }
		n := &next{consume: func(_ context.Context, attempt int, _ plog.Logs) error {
			time.Sleep(time.Second)
			if attempt == 2 {
				return consumererror.NewPermanent(errors.New("bad data"))
			}
			return nil
		}}
		cfg := createDefaultConfig().(*Config)
		cfg.Capacity = 3
		c, err := newSignalConnector(connectortest.NewNopSettings(metadata.Type), cfg, counted, n.ConsumeLogs)
		require.NoError(t, err)
		require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
		c.consume(t.Context(), numbered(0, 1))
		synctest.Wait()
		for i := range 5 {
			c.consume(t.Context(), numbered(1+i, 1))
		}
		for want := int64(4); want >= 0; want-- {
			assert.Equal(t, want, held.Load())
			time.Sleep(time.Second)
			synctest.Wait()
		}
		require.NoError(t, c.Shutdown(t.Context()))
		assert.Equal(t, []int{0, 4, 5}, n.all())
	})
}

// However the next component ends, Shutdown takes bounded time, and what is left is counted.
func TestShutdown(t *testing.T) {
	untilDone := func(ctx context.Context, _ int, _ plog.Logs) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, tt := range map[string]struct {
		consume func(ctx context.Context, attempt int, logs plog.Logs) error
		takes   time.Duration
		want    map[string]int
	}{
		"hands over what waits": {
			func(context.Context, int, plog.Logs) error { time.Sleep(time.Second); return nil },
			5 * time.Second, map[string]int{"forwarded": 5},
		},
		"one attempt each": {
			func(context.Context, int, plog.Logs) error { time.Sleep(time.Second); return errors.New("no") },
			5 * time.Second, map[string]int{"forward_failed": 5},
		},
		"a pause ends": {
			func(_ context.Context, attempt int, _ plog.Logs) error {
				if attempt == 1 {
					return errors.New("not yet")
				}
				return nil
			}, 0, map[string]int{"forwarded": 5},
		},
		"too slow": {
			func(ctx context.Context, attempt int, _ plog.Logs) error {
				if attempt <= 2 {
					return nil
				}
				return untilDone(ctx, attempt, plog.Logs{})
			}, shutdownTimeout, map[string]int{"forwarded": 2, "forward_failed": 1, "dropped": 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, nil, tt.consume)
				for i := range 5 {
					f.push(i, 1)
				}
				synctest.Wait()
				begin := time.Now()
				f.shutDown()
				assert.Equal(t, tt.takes, time.Since(begin))
				for _, name := range []string{"forwarded", "forward_failed", "dropped"} {
					assert.Equal(t, tt.want[name], f.sum(name, ""), name)
				}
				require.NoError(t, f.Shutdown(t.Context()), "twice")
				f.push(5, 7)
				assert.Equal(t, tt.want["dropped"]+7, f.sum("dropped", "shutdown"), "a push after it")
			})
		})
	}
}

// A next component that does not return although its context is done delays Shutdown by a second, and no more.
func TestShutdownBeforeAStuckComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		f := start(t, nil, func(context.Context, int, plog.Logs) error { <-stuck; return nil })
		f.push(0, 1)
		synctest.Wait()
		f.push(1, 2)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, f.Shutdown(ctx), "does not return")
		assert.Equal(t, time.Second+returnTimeout, time.Since(begin))
		assert.Equal(t, 2, f.sum("dropped", "shutdown"))
		assert.Equal(t, 1, f.sum("waiting", ""), "it has that")
		close(stuck)
		synctest.Wait()
		assert.Equal(t, 1, f.sum("forwarded", ""))
		assert.Zero(t, f.sum("waiting", ""))
	})
}

func TestShutdownWithoutStart(t *testing.T) {
	c, err := newSignalConnector(connectortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), queue.Logs, (&next{}).ConsumeLogs)
	require.NoError(t, err)
	c.consume(t.Context(), numbered(0, 3))
	require.NoError(t, c.Shutdown(t.Context()))
	assert.Zero(t, c.report.Waiting())
}

// The status is an error while the next component takes nothing for more than a second. Data that is refused is no status.
func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want []componentstatus.Status
	}{
		"retried":   {errors.New("not yet"), []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}},
		"permanent": {consumererror.NewPermanent(errors.New("bad data")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := reporttest.NewHost()
				n := &next{consume: func(_ context.Context, attempt int, _ plog.Logs) error {
					if attempt == 1 {
						return tt.err
					}
					return nil
				}}
				c, err := NewFactory().CreateLogsToLogs(t.Context(), connectortest.NewNopSettings(metadata.Type), createDefaultConfig(), n)
				require.NoError(t, err)
				require.NoError(t, c.Start(t.Context(), host))
				require.NoError(t, c.ConsumeLogs(t.Context(), numbered(0, 1)))
				time.Sleep(time.Minute)
				require.NoError(t, c.Shutdown(t.Context()))
				assert.Equal(t, tt.want, host.Statuses())
			})
		})
	}
}

// TestChaos pushes from 16 goroutines before a next component that stalls and errs. The time is synctest's.
func TestChaos(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pushers, pushes = 16, 500
		var refused atomic.Int64
		f := start(t, func(cfg *Config) {
			cfg.Capacity, cfg.MaxItems = 50, 300
			cfg.RetryConfig.InitialInterval = 10 * time.Millisecond
			cfg.RetryConfig.MaxInterval = 100 * time.Millisecond
			cfg.RetryConfig.MaxElapsedTime = 200 * time.Millisecond
		}, func(ctx context.Context, _ int, logs plog.Logs) error {
			switch rand.IntN(20) {
			case 0:
				select {
				case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
				case <-ctx.Done():
				}
			case 1:
				refused.Add(int64(logs.LogRecordCount()))
				return consumererror.NewPermanent(errors.New("bad data"))
			case 2, 3, 4:
				return errors.New("not now")
			}
			return nil
		})
		var number atomic.Int64
		var wg sync.WaitGroup
		for range pushers {
			wg.Go(func() {
				for range pushes {
					n := 1 + rand.IntN(10)
					before := time.Now()
					first := int(number.Add(int64(n))) - n
					assert.NoError(t, f.ConsumeLogs(t.Context(), numbered(first, n)))
					assert.Zero(t, time.Since(before), "a push waits for nothing")
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		f.shutDown()
		assert.Equal(t, int(number.Load()), f.sum("accepted", ""))
		assert.Equal(t, int(refused.Load()), f.sum("forward_failed", "permanent"))
		assert.Positive(t, f.sum("dropped", "overflow"))
		assert.Zero(t, f.sum("dropped", "shutdown"))
		seen := map[int]bool{}
		for _, n := range f.next.all() {
			require.False(t, seen[n], "%d has arrived twice", n)
			seen[n] = true
		}
	})
}

// TestConsumeContract runs the collector's own contract of exporters, with the connector in an exporter's place: each item
// arrives once, what failed for a while is passed on again, what failed for good is not.
func TestConsumeContract(t *testing.T) {
	wait := func(r *report.Report) { // The contract looks at once, and fails for good if that is too early.
		require.Eventually(t, func() bool { return r.Waiting() == 0 }, time.Minute, time.Millisecond)
	}
	for _, signal := range []pipeline.Signal{pipeline.SignalLogs, pipeline.SignalMetrics, pipeline.SignalTraces} {
		t.Run(signal.String(), func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Millisecond, time.Millisecond
			var logs consumer.Logs
			var metrics consumer.Metrics
			var traces consumer.Traces
			exportertest.CheckConsumeContract(exportertest.CheckConsumeContractParams{
				T:                    t,
				NumberOfTestElements: 10,
				Signal:               signal,
				ExporterConfig:       cfg,
				ExporterFactory: exporter.NewFactory(metadata.Type, createDefaultConfig,
					exporter.WithLogs(func(ctx context.Context, _ exporter.Settings, cfg component.Config) (exporter.Logs, error) {
						c, err := NewFactory().CreateLogsToLogs(ctx, connectortest.NewNopSettings(metadata.Type), cfg, logs)
						patient, _ := consumer.NewLogs(func(ctx context.Context, data plog.Logs) error {
							defer wait(c.(logsConnector).report)
							return c.ConsumeLogs(ctx, data)
						})
						return struct {
							component.Component
							consumer.Logs
						}{c, patient}, err
					}, component.StabilityLevelAlpha),
					exporter.WithMetrics(func(ctx context.Context, _ exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
						c, err := NewFactory().CreateMetricsToMetrics(ctx, connectortest.NewNopSettings(metadata.Type), cfg, metrics)
						patient, _ := consumer.NewMetrics(func(ctx context.Context, data pmetric.Metrics) error {
							defer wait(c.(metricsConnector).report)
							return c.ConsumeMetrics(ctx, data)
						})
						return struct {
							component.Component
							consumer.Metrics
						}{c, patient}, err
					}, component.StabilityLevelAlpha),
					exporter.WithTraces(func(ctx context.Context, _ exporter.Settings, cfg component.Config) (exporter.Traces, error) {
						c, err := NewFactory().CreateTracesToTraces(ctx, connectortest.NewNopSettings(metadata.Type), cfg, traces)
						patient, _ := consumer.NewTraces(func(ctx context.Context, data ptrace.Traces) error {
							defer wait(c.(tracesConnector).report)
							return c.ConsumeTraces(ctx, data)
						})
						return struct {
							component.Component
							consumer.Traces
						}{c, patient}, err
					}, component.StabilityLevelAlpha)),
				ReceiverFactory: receiver.NewFactory(component.MustNewType("mock"), func() component.Config { return &struct{}{} },
					receiver.WithLogs(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Logs) (receiver.Logs, error) {
						logs = next
						return componentOnly{}, nil
					}, component.StabilityLevelAlpha),
					receiver.WithMetrics(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Metrics) (receiver.Metrics, error) {
						metrics = next
						return componentOnly{}, nil
					}, component.StabilityLevelAlpha),
					receiver.WithTraces(func(_ context.Context, _ receiver.Settings, _ component.Config, next consumer.Traces) (receiver.Traces, error) {
						traces = next
						return componentOnly{}, nil
					}, component.StabilityLevelAlpha)),
			})
		})
	}
}

type componentOnly struct {
	component.StartFunc
	component.ShutdownFunc
}

func TestEachSignal(t *testing.T) {
	sink := &consumertest.LogsSink{}
	metrics, traces := &consumertest.MetricsSink{}, &consumertest.TracesSink{}
	set, cfg, factory := connectortest.NewNopSettings(metadata.Type), createDefaultConfig(), NewFactory()
	l, err := factory.CreateLogsToLogs(t.Context(), set, cfg, sink)
	require.NoError(t, err)
	m, err := factory.CreateMetricsToMetrics(t.Context(), set, cfg, metrics)
	require.NoError(t, err)
	s, err := factory.CreateTracesToTraces(t.Context(), set, cfg, traces)
	require.NoError(t, err)
	for _, c := range []component.Component{l, m, s} {
		require.NoError(t, c.Start(t.Context(), componenttest.NewNopHost()))
	}
	require.NoError(t, l.ConsumeLogs(t.Context(), numbered(0, 3)))
	points := pmetric.NewMetrics()
	points.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty().SetEmptyGauge().DataPoints().AppendEmpty()
	require.NoError(t, m.ConsumeMetrics(t.Context(), points))
	spans := ptrace.NewTraces()
	spans.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	require.NoError(t, s.ConsumeTraces(t.Context(), spans))
	for _, c := range []component.Component{l, m, s} {
		require.NoError(t, c.Shutdown(t.Context()))
	}
	assert.Equal(t, 3, sink.LogRecordCount())
	assert.Equal(t, 1, metrics.DataPointCount())
	assert.Equal(t, 1, traces.SpanCount())
}

func TestValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"capacity":     {func(cfg *Config) { cfg.Capacity = 0 }, "capacity: must be from 1 to 8000000, not 0"},
		"items":        {func(cfg *Config) { cfg.MaxItems = -1 }, "max_items: must be 0 (no bound) or more, not -1"},
		"bytes":        {func(cfg *Config) { cfg.MaxBytes = -1 }, "max_bytes: must be 0 (no bound) or more, not -1"},
		"policy":       {func(cfg *Config) { cfg.DropPolicy = "random" }, `drop_policy: must be "oldest" or "newest", not "random"`},
		"multiplier":   {func(cfg *Config) { cfg.RetryConfig.Multiplier = 0.5 }, "retry_on_failure::multiplier: must be at least 1"},
		"missing unit": {func(cfg *Config) { cfg.RetryConfig.InitialInterval = 5 }, "retry_on_failure::initial_interval: must be 0s or at least 1ms, not 5ns; if the unit is missing, write 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := createDefaultConfig().(*Config)
			require.NoError(t, cfg.Validate())
			tt.change(cfg)
			require.ErrorContains(t, cfg.Validate(), tt.want)
		})
	}
}
