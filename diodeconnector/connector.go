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
	// shutdownTimeout is how long a signal has to pass on what waits, from its Shutdown on. The collector's context has no deadline.
	shutdownTimeout = 10 * time.Second
	// returnTimeout is how long the next component has then to return from the batch that it is working on.
	returnTimeout = time.Second
)

var messages = report.Messages{
	Overflow:    "The diode is full: dropped items. The next component is slower than the pipeline.",
	Shutdown:    "Dropped items that could not be passed on within the 10 s of shutdown.",
	Failed:      "Gave up passing on data: the next component did not accept these items.",
	Outage:      "The next component is not accepting data. New data waits in the diode.",
	OutageLoses: "The next component is not accepting data. Gave up a batch.",
	Recovered:   "The next component accepts data again.",
}

// pdata is plog.Logs and the like.
type pdata interface {
	comparable
	IsReadOnly() bool
	MarkReadOnly()
}

// pushed is what was pushed at once.
type pushed[D pdata] struct {
	ctx  context.Context //nolint:containedctx // For its values, such as client.Info.
	data D
}

// signalConnector is the connector of one signal. A batch goes through consume, the queue, and drain.
type signalConnector[D pdata] struct {
	cfg     *Config
	next    func(context.Context, D) error
	queue   *queue.Queue[*pushed[D]]
	report  *report.Report
	metrics *metrics

	shutOnce sync.Once
	closing  chan struct{} // closed when Shutdown begins: nothing is tried twice any more
	// Since Start:
	drained chan struct{}      // closed when the drain has ended
	giveUp  context.CancelFunc // ends the attempt that is going on; the drain drops the rest
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

// Capabilities says that the connector only reads the data. The collector adds what the next pipelines do.
func (*signalConnector[D]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// consume puts a batch into the queue. It runs on the pipeline's goroutines, and never makes them wait. When the queue is full, the
// oldest batches are dropped or, with the drop policy newest, this one. After Shutdown this one is.
func (c *signalConnector[D]) consume(ctx context.Context, data D) {
	c.queue.Push(&pushed[D]{ctx, data})
}

// drain passes on the batches of the queue, one at a time, until the queue is closed and empty. Once ctx is done the queue drops them.
func (c *signalConnector[D]) drain(ctx context.Context) {
	defer close(c.drained)
	for batch, ok := range c.queue.All(ctx) {
		if ok {
			c.forward(ctx, batch.Data, batch.Items)
			c.queue.Release(batch)
		}
	}
}

// forward passes a batch on, and counts its items when it is taken or given up. It tries again while the error is not permanent, for
// retry_on_failure.max_elapsed_time at most. After Shutdown there is one attempt.
func (c *signalConnector[D]) forward(ctx context.Context, batch *pushed[D], items int) {
	if !batch.data.IsReadOnly() { // Then the collector passes a copy to what mutates, so that each attempt gets the same data.
		batch.data.MarkReadOnly()
	}
	// The values of the push, without its deadline and end.
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
		if ctx.Err() == nil { // An attempt that was cut off says nothing of the next component.
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

// Shutdown passes on what waits, each batch with one attempt, and drops what is left after 10 s, or when ctx is done. The error is that
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
