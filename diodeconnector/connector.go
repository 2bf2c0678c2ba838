// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodeconnector

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"

	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/retry"
)

const (
	// shutdownTimeout is how long Shutdown keeps passing on waiting batches. The collector's context has no deadline.
	shutdownTimeout = 10 * time.Second
	// returnTimeout is how long the next component then has to return from its current batch.
	returnTimeout = time.Second
)

var messages = report.Messages{
	Overflow:    "The diode is full: dropped items. The next component is slower than the pipeline.",
	Shutdown:    "Dropped items that could not be passed on before shutdown. Each signal has 10 s.",
	Failed:      "Gave up passing on data: the next component did not accept these items.",
	Outage:      "The next component is not accepting data. New data waits in the diode.",
	OutageLoses: "The next component is not accepting data. Gave up a batch.",
	Recovered:   "The next component is available again.",
}

// pdata is the data of a signal, such as plog.Logs.
type pdata interface {
	comparable
	IsReadOnly() bool
	MarkReadOnly()
}

// pushed is the data of one push and its context.
type pushed[D pdata] struct {
	ctx  context.Context //nolint:containedctx // For its values, such as client.Info.
	data D
}

// signalConnector connects the pipelines of one signal. A batch goes from consume through the queue to drain, and from there to forward.
type signalConnector[D pdata] struct {
	cfg     *Config
	next    func(context.Context, D) error
	queue   *queue.Queue[*pushed[D]]
	report  *report.Report
	metrics *metrics

	shutOnce sync.Once
	closing  chan struct{} // closed when Shutdown begins: no more retries
	// Set by Start:
	drained chan struct{}      // closed when drain returns
	giveUp  context.CancelFunc // ends the attempt in progress; the drain drops the rest
}

func newSignalConnector[D pdata](
	set connector.Settings, cfg *Config, s queue.Signal[D], next func(context.Context, D) error,
) (*signalConnector[D], error) {
	c := &signalConnector[D]{cfg: cfg, next: next, closing: make(chan struct{}), report: report.New(set.Logger, messages, nil)}
	c.queue = queue.New(queue.Signal[*pushed[D]]{
		Items: func(p *pushed[D]) int { return s.Items(p.data) },
		Bytes: func(p *pushed[D]) int { return s.Bytes(p.data) },
		Ref:   func(p *pushed[D]) { s.Ref(p.data) },
		Unref: func(p *pushed[D]) { s.Unref(p.data) },
	}, cfg.DiodeConfig, c.report)
	var err error
	c.metrics, err = newMetrics(set, s.Name, c.report)
	return c, err
}

// Capabilities reports that the connector only reads the data. The collector adds the capabilities of the next pipelines.
func (*signalConnector[D]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// consume puts a batch into the queue. It runs on the pipeline's goroutines and never blocks them. If the queue is full, it drops the
// oldest batches or, with the drop policy newest, this one. After Shutdown it drops this one.
func (c *signalConnector[D]) consume(ctx context.Context, data D) {
	c.queue.Push(&pushed[D]{ctx, data})
}

// drain passes on the batches of the queue, one at a time, until the queue is closed and empty. Once ctx is done, the queue drops them.
func (c *signalConnector[D]) drain(ctx context.Context) {
	defer close(c.drained)
	for batch, ok := range c.queue.All(ctx) {
		if ok {
			c.forward(ctx, batch.Data, batch.Items)
			c.queue.Release(batch)
		}
	}
}

// forward passes a batch on, and counts its items once the batch is accepted or given up. It retries while the error is not permanent, for at
// most retry_on_failure.max_elapsed_time. After Shutdown there is one attempt.
func (c *signalConnector[D]) forward(ctx context.Context, batch *pushed[D], items int) {
	if !batch.data.IsReadOnly() { // The collector copies read-only data for consumers that mutate it, so each attempt gets the same data.
		batch.data.MarkReadOnly()
	}
	// The values of the push's context, without its deadline and cancellation.
	attemptCtx, cancel := context.WithCancel(context.WithoutCancel(batch.ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	pauses := retry.New(c.cfg.RetryConfig)
	for {
		err := c.next(attemptCtx, batch.data)
		attempt := report.Attempt{Err: err}
		if err == nil {
			c.report.Attempted(attempt)
			c.forwarded(items)
			return
		}
		permanent := consumererror.IsPermanent(err)
		if !permanent {
			attempt.Outage = true
			if pause, ok := pauses.Next(0); ok && !c.isClosing() {
				attempt.RetryIn = pause
			}
		}
		if ctx.Err() == nil { // An interrupted attempt says nothing about the next component.
			c.report.Attempted(attempt)
		}
		if attempt.RetryIn == 0 {
			c.failed(err, permanent, items)
			return
		}
		c.pause(attempt.RetryIn)
	}
}

// pause waits before the next attempt. Shutdown ends it: the last attempt follows at once.
func (c *signalConnector[D]) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closing:
	}
}

func (c *signalConnector[D]) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// Start starts the drain.
func (c *signalConnector[D]) Start(_ context.Context, host component.Host) error {
	c.report.Start(host)
	ctx, cancel := context.WithCancel(context.Background())
	c.drained, c.giveUp = make(chan struct{}), cancel
	go func() {
		defer cancel()
		c.drain(ctx)
	}()
	return nil
}

// Shutdown passes on the waiting batches, one attempt each, and drops the rest after 10 s or when ctx is done. It returns an error if
// the next component does not return although its context is done.
func (c *signalConnector[D]) Shutdown(ctx context.Context) error {
	var err error
	c.shutOnce.Do(func() { err = c.shutDown(ctx) })
	return err
}

func (c *signalConnector[D]) shutDown(ctx context.Context) error {
	defer c.report.Shutdown()
	c.queue.Close()
	close(c.closing)
	if c.drained == nil { // Not started.
		c.queue.DropAll()
		return nil
	}
	c.report.StopStatus()
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	select {
	case <-c.drained:
		return nil
	case <-ctx.Done():
	}
	c.giveUp()
	select {
	case <-c.drained:
		return nil
	case <-time.After(returnTimeout):
		c.queue.DropAll()
		return errors.New("the next component does not return from its last batch, although its context is done")
	}
}
