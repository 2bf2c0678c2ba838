// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector/internal/metadata"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

// numbered returns n logs whose bodies are consecutive numbers from first.
func numbered(first, n int) plog.Logs {
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for i := range n {
		records.AppendEmpty().Body().SetInt(int64(first + i))
	}
	return logs
}

func recordsOf(logs plog.Logs) plog.LogRecordSlice {
	return logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
}

func numbersOf(logs plog.Logs) (numbers []int) {
	for _, record := range recordsOf(logs).All() {
		numbers = append(numbers, int(record.Body().Int()))
	}
	return numbers
}

// decision returns the result of an attempt.
type decision func(ctx context.Context, attempt int, logs plog.Logs) error

// next is the next component. Its zero value accepts everything. Only the drain may use it until Shutdown.
type next struct {
	numbers  []int // of the accepted records
	attempts int
	decide   decision
	mutates  bool // adds 100 to each number before it decides
}

func (n *next) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: n.mutates}
}

func (n *next) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if n.mutates {
		for _, record := range recordsOf(logs).All() {
			record.Body().SetInt(record.Body().Int() + 100)
		}
	}
	n.attempts++
	if n.decide != nil {
		if err := n.decide(ctx, n.attempts, logs); err != nil {
			return err
		}
	}
	n.numbers = append(n.numbers, numbersOf(logs)...)
	return nil
}

func failOnce(_ context.Context, attempt int, _ plog.Logs) error {
	if attempt == 1 {
		return errors.New("not yet")
	}
	return nil
}

// until accepts nothing until a channel is closed.
func until(closed <-chan struct{}) decision {
	return func(context.Context, int, plog.Logs) error {
		<-closed
		return nil
	}
}

type fixture struct {
	t         *testing.T
	cfg       *Config
	next      *next
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs
	host      *reporttest.Host
	connector.Logs
}

// start creates a connector of logs in front of a next component that decides with decide, and starts it.
func start(t *testing.T, change func(*Config), decide decision) *fixture {
	t.Helper()
	n := &next{decide: decide}
	return startBefore(t, change, n, n)
}

// startBefore is start in front of a target that may pass the data on to several components, one of which is n.
func startBefore(t *testing.T, change func(*Config), n *next, target consumer.Logs) *fixture {
	t.Helper()
	core, observed := observer.New(zap.DebugLevel)
	f := &fixture{
		t: t, cfg: createDefaultConfig().(*Config), next: n,
		telemetry: componenttest.NewTelemetry(), logs: observed, host: reporttest.NewHost(),
	}
	if change != nil {
		change(f.cfg)
	}
	require.NoError(t, f.cfg.Validate())
	set := connectortest.NewNopSettings(metadata.Type)
	set.ID = component.NewIDWithName(metadata.Type, "test")
	set.TelemetrySettings = f.telemetry.NewTelemetrySettings()
	set.Logger = zap.New(core)
	var err error
	f.Logs, err = NewFactory().CreateLogsToLogs(t.Context(), set, f.cfg, target)
	require.NoError(t, err)
	require.NoError(t, f.Start(context.Background(), f.host))
	return f
}

// push pushes a batch of records, and then releases it, as a pipeline does.
func (f *fixture) push(first, n int) {
	f.t.Helper()
	logs := numbered(first, n)
	require.NoError(f.t, f.ConsumeLogs(f.t.Context(), logs))
	pref.UnrefLogs(logs)
}

// sum returns the value of a metric, by reason or in total.
func (f *fixture) sum(name string, having ...string) int {
	f.t.Helper()
	having = append(having, "signal=logs")
	sum, ok := reporttest.Sum(f.t, f.telemetry, "connector_diode_"+name+"_items", "connector=diode/test", having...)
	require.True(f.t, ok, name)
	return sum
}

// shutDown shuts the connector down, and checks that every item is accounted for.
func (f *fixture) shutDown() {
	f.t.Helper()
	require.NoError(f.t, f.Shutdown(context.Background()))
	assert.Equal(f.t, f.sum("accepted"), f.sum("forwarded")+f.sum("forward_failed")+f.sum("dropped"), "accepted")
	assert.Equal(f.t, len(f.next.numbers), f.sum("forwarded"), "forwarded")
	assert.Zero(f.t, f.sum("waiting"))
}

// Waiting batches arrive in order. With pooled pdata, they are not reused for later pushes.
func TestInOrder(t *testing.T) {
	gate := pref.UseProtoPooling.ID()
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gate, false)) })
	for _, pooled := range []bool{false, true} {
		t.Run(fmt.Sprintf("pooled=%t", pooled), func(t *testing.T) {
			require.NoError(t, featuregate.GlobalRegistry().Set(gate, pooled))
			release := make(chan struct{})
			f := start(t, nil, until(release))
			var want []int
			for i := range 100 {
				f.push(10*i, 3)
				want = append(want, 10*i, 10*i+1, 10*i+2)
			}
			close(release)
			f.shutDown()
			assert.Equal(t, want, f.next.numbers)
			assert.False(t, f.Capabilities().MutatesData)
		})
	}
}

// While the next component stalls, a push returns at once, and the diode drops by its policy.
func TestOverflow(t *testing.T) {
	for policy, want := range map[DropPolicy][]int{DropOldest: {0, 7, 8, 9}, DropNewest: {0, 1, 2, 3}} {
		t.Run(string(policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stalled := make(chan struct{})
				f := start(t, func(cfg *Config) { cfg.Capacity, cfg.DropPolicy = 3, policy }, until(stalled))
				f.push(0, 1)
				synctest.Wait()
				for i := 1; i < 10; i++ {
					f.push(i, 1)
				}
				assert.Equal(t, 4, f.sum("waiting"))
				assert.Equal(t, 6, f.sum("dropped", "reason=overflow"), "drops are counted at once")
				close(stalled)
				f.shutDown()
				assert.Equal(t, want, f.next.numbers)
				dropped := int64(0)
				for _, line := range f.logs.FilterMessage(messages.Overflow).All() {
					dropped += line.ContextMap()["dropped_items"].(int64)
				}
				assert.EqualValues(t, 6, dropped, "the log counts every dropped item")
			})
		})
	}
}

// A batch is retried after the pauses of retry_on_failure. In the meantime the diode accepts and drops batches. If the next component
// accepts nothing for more than a second, the status is an error.
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
		assert.Equal(t, []int{0, 1, 40, 41, 50, 51}, f.next.numbers)
		assert.Equal(t, 6, f.sum("dropped", "reason=overflow"))
		assert.Equal(t, []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}, f.host.Statuses())
		outage := f.logs.FilterMessage(messages.Outage).All()
		if assert.Len(t, outage, 1) {
			assert.Equal(t, "not yet", outage[0].ContextMap()["error"])
			assert.Contains(t, outage[0].ContextMap(), "retry_in")
		}
		assert.Equal(t, 1, f.logs.FilterMessage(messages.Recovered).Len())
	})
}

func TestGiveUp(t *testing.T) {
	permanent := consumererror.NewPermanent(errors.New("bad data"))
	refused := []componentstatus.Status(nil) // Refused data does not change the status.
	outage := []componentstatus.Status{componentstatus.StatusRecoverableError, componentstatus.StatusOK}
	for name, tt := range map[string]struct {
		change   func(*Config)
		err      error
		reason   string
		attempts int // per batch
		statuses []componentstatus.Status
	}{
		"permanent":         {nil, permanent, "permanent", 1, refused},
		"wrapped permanent": {nil, fmt.Errorf("two: %w", permanent), "permanent", 1, refused},
		"retry disabled":    {func(cfg *Config) { cfg.RetryConfig.Enabled = false }, errors.New("not now"), "retry", 1, refused},
		"max_elapsed_time": {func(cfg *Config) {
			cfg.RetryConfig.InitialInterval, cfg.RetryConfig.Multiplier, cfg.RetryConfig.RandomizationFactor = time.Second, 1, 0
			cfg.RetryConfig.MaxInterval, cfg.RetryConfig.MaxElapsedTime = time.Second, 3*time.Second
		}, errors.New("not now"), "retry", 4, outage},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, tt.change, func(_ context.Context, _ int, logs plog.Logs) error {
					if numbersOf(logs)[0] < 20 {
						return tt.err
					}
					return nil
				})
				for i := range 3 {
					f.push(10*i, 2)
				}
				time.Sleep(time.Minute)
				f.shutDown()
				assert.Equal(t, []int{20, 21}, f.next.numbers, "good data is not lost")
				assert.Equal(t, 2*tt.attempts+1, f.next.attempts)
				assert.Equal(t, 4, f.sum("forward_failed", "reason="+tt.reason))
				assert.Equal(t, 4, f.sum("forward_failed"))
				assert.Positive(t, f.logs.FilterMessage(messages.Failed).Len())
				assert.Equal(t, tt.statuses, f.host.Statuses())
			})
		})
	}
}

// As with the collector's own queue, the values of the push's context are passed on, but not its cancellation.
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

// Next pipelines that mutate data get a copy in each attempt, because the data is read-only.
func TestMutatingPipelines(t *testing.T) {
	for name, readers := range map[string]int{"alone": 0, "with a reader": 1, "with two readers": 2} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mutates := &next{mutates: true, decide: failOnce}
				pipelines := map[pipeline.ID]consumer.Logs{pipeline.NewIDWithName(pipeline.SignalLogs, "mutates"): mutates}
				reads := make([]next, readers)
				for i := range reads {
					pipelines[pipeline.NewIDWithName(pipeline.SignalLogs, fmt.Sprint("reads", i))] = &reads[i]
				}
				f := startBefore(t, nil, mutates, connector.NewLogsRouter(pipelines))
				data := numbered(1, 2)
				require.NoError(t, f.ConsumeLogs(t.Context(), data))
				time.Sleep(time.Minute)
				f.shutDown()
				assert.Equal(t, []int{101, 102}, mutates.numbers)
				for i := range reads {
					assert.Equal(t, []int{1, 2, 1, 2}, reads[i].numbers, "a retry passes on the whole batch")
				}
				assert.Equal(t, []int{1, 2}, numbersOf(data))
			})
		})
	}
}

// Each batch is referenced while it waits, and released once it is passed on, given up or dropped.
func TestBatchRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held atomic.Int64
		counted := queue.Logs
		counted.Ref = func(plog.Logs) { held.Add(1) }
		counted.Unref = func(plog.Logs) { held.Add(-1) }
		n := &next{decide: func(_ context.Context, attempt int, _ plog.Logs) error {
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
		assert.Equal(t, []int{0, 4, 5}, n.numbers)
	})
}

// Whatever the next component does, Shutdown takes bounded time, and the remaining batches are counted.
func TestShutdown(t *testing.T) {
	inASecond := func(err error) decision {
		return func(context.Context, int, plog.Logs) error { time.Sleep(time.Second); return err }
	}
	for name, tt := range map[string]struct {
		decide decision
		takes  time.Duration
		want   map[string]int
	}{
		"waiting batches":       {inASecond(nil), 5 * time.Second, map[string]int{"forwarded": 5}},
		"one attempt per batch": {inASecond(errors.New("no")), 5 * time.Second, map[string]int{"forward_failed": 5}},
		"during a pause":        {failOnce, 0, map[string]int{"forwarded": 5}},
		"too slow": {func(ctx context.Context, attempt int, _ plog.Logs) error {
			if attempt <= 2 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, 10 * time.Second, map[string]int{"forwarded": 2, "forward_failed": 1, "dropped": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := start(t, nil, tt.decide)
				for i := range 5 {
					f.push(i, 1)
				}
				synctest.Wait()
				begin := time.Now()
				f.shutDown()
				assert.Equal(t, tt.takes, time.Since(begin))
				for _, name := range []string{"forwarded", "forward_failed", "dropped"} {
					assert.Equal(t, tt.want[name], f.sum(name), name)
				}
				require.NoError(t, f.Shutdown(t.Context()), "second call")
				f.push(5, 7)
				assert.Equal(t, tt.want["dropped"]+7, f.sum("dropped", "reason=shutdown"), "a push after Shutdown is dropped")
			})
		})
	}
}

// A next component that does not return although its context is done delays Shutdown by only a second.
func TestShutdownStuckComponent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		f := start(t, nil, until(stuck))
		f.push(0, 1)
		synctest.Wait()
		f.push(1, 2)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, f.Shutdown(ctx), "does not return")
		assert.Equal(t, time.Second+returnTimeout, time.Since(begin))
		assert.Equal(t, 2, f.sum("dropped", "reason=shutdown"))
		assert.Equal(t, 1, f.sum("waiting"), "the stuck component has this item")
		close(stuck)
		synctest.Wait()
		assert.Equal(t, 1, f.sum("forwarded"))
		assert.Zero(t, f.sum("waiting"))
	})
}

func TestShutdownWithoutStart(t *testing.T) {
	c, err := newSignalConnector(connectortest.NewNopSettings(metadata.Type), createDefaultConfig().(*Config), queue.Logs, (&next{}).ConsumeLogs)
	require.NoError(t, err)
	c.consume(t.Context(), numbered(0, 3))
	require.NoError(t, c.Shutdown(t.Context()))
	assert.Zero(t, c.report.Waiting())
}

// TestChaos pushes from 16 goroutines in front of a next component that stalls and fails, in fake time.
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
					assert.Zero(t, time.Since(before), "pushes do not block")
					time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
				}
			})
		}
		wg.Wait()
		f.shutDown()
		assert.Equal(t, int(number.Load()), f.sum("accepted"))
		assert.Equal(t, int(refused.Load()), f.sum("forward_failed", "reason=permanent"))
		assert.Positive(t, f.sum("dropped", "reason=overflow"))
		assert.Zero(t, f.sum("dropped", "reason=shutdown"))
		seen := map[int]bool{}
		for _, n := range f.next.numbers {
			require.False(t, seen[n], "%d has arrived twice", n)
			seen[n] = true
		}
	})
}

func TestConsumeContract(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	cfg.RetryConfig.InitialInterval, cfg.RetryConfig.MaxInterval = time.Millisecond, time.Millisecond
	reporttest.CheckConsumeContract(t, cfg, func(signal pipeline.Signal, next reporttest.Consumer) (component.Component, func() int64) {
		factory, set := NewFactory(), connectortest.NewNopSettings(metadata.Type)
		switch signal {
		case pipeline.SignalLogs:
			c, err := factory.CreateLogsToLogs(t.Context(), set, cfg, next)
			require.NoError(t, err)
			return c, c.(logsConnector).report.Waiting
		case pipeline.SignalMetrics:
			c, err := factory.CreateMetricsToMetrics(t.Context(), set, cfg, next)
			require.NoError(t, err)
			return c, c.(metricsConnector).report.Waiting
		default:
			c, err := factory.CreateTracesToTraces(t.Context(), set, cfg, next)
			require.NoError(t, err)
			return c, c.(tracesConnector).report.Waiting
		}
	})
}

func TestValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"capacity":     {func(cfg *Config) { cfg.Capacity = 0 }, "capacity: must be from 1 to 8000000, not 0"},
		"items":        {func(cfg *Config) { cfg.MaxItems = -1 }, "max_items: must be 0 (no limit) or more, not -1"},
		"bytes":        {func(cfg *Config) { cfg.MaxBytes = -1 }, "max_bytes: must be 0 (no limit) or more, not -1"},
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
