// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// shutdownTimeout is how long the signals of an exporter ID have together to send what waits, from the first Shutdown on. The collector
// shuts them down one after the other, with a context that has no deadline.
const shutdownTimeout = 10 * time.Second

// signal is what differs between logs, metrics and traces.
type signal[D comparable] struct {
	name  pipeline.Signal
	count func(D) int // items: log records, data points, spans
	size  func(D) int // bytes, as encoded in OTLP
	// ref keeps pdata from being reused after consume has returned, until unref.
	ref, unref func(D)
	translate  func(D) iter.Seq[translate.Envelope]
}

// signalExporter is the exporter of one signal. A batch goes through consume, the queue, and drain.
type signalExporter[D comparable] struct {
	signal  signal[D]
	cfg     *Config
	set     exporter.Settings
	clients *delivery.Shared[*Config]
	queue   *queue.Queue[D]
	report  *report.Report

	closing  atomic.Bool // the queue is closed, or about to be
	shutOnce sync.Once
	// Since Start:
	client  *delivery.Client // shared by the signals of the exporter ID
	release func() error
	drained chan struct{} // closed when the drain has ended
}

func newSignalExporter[D comparable](set exporter.Settings, cfg *Config, clients *delivery.Shared[*Config], s signal[D]) (*signalExporter[D], error) {
	e := &signalExporter[D]{signal: s, cfg: cfg, set: set, clients: clients, queue: queue.New[D](cfg.Diode.bounds())}
	var err error
	e.report, err = report.New(set, report.Settings{
		Signal:             s.name,
		MaxItems:           cfg.Diode.MaxItems,
		EnvelopesPerSecond: cfg.RateLimit.EnvelopesPerSecond,
	}, e.queue)
	return e, err
}

// Capabilities says that the exporter only reads the data.
func (*signalExporter[D]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// consume puts a batch into the queue. It runs on the pipeline's goroutines, and never makes them wait. When the queue is full, the
// oldest batches give way or, with the drop policy newest, this one. After Shutdown this one does.
func (e *signalExporter[D]) consume(data D) {
	items := e.signal.count(data)
	if items == 0 {
		return
	}
	e.signal.ref(data)
	e.report.Accepted(items)
	pushed := queue.Batch[D]{Data: data, Items: items}
	if e.cfg.Diode.MaxBytes > 0 {
		pushed.Bytes = e.signal.size(data)
	}
	e.queue.Push(pushed, func(dropped queue.Batch[D]) {
		if dropped == pushed && e.closing.Load() {
			e.drop(dropped, report.DropShutdown)
		} else {
			e.drop(dropped, report.DropOverflow)
		}
	})
}

// drop counts a batch that is given up, and releases its data.
func (e *signalExporter[D]) drop(b queue.Batch[D], reason report.DropReason) {
	e.report.Dropped(reason, b.Items)
	e.signal.unref(b.Data)
}

// drain translates the batches of the queue, packs their envelopes into messages and delivers these, until the queue is closed and empty.
// Once ctx is done it drops the batches.
func (e *signalExporter[D]) drain(ctx context.Context) {
	defer close(e.drained)
	sender := e.client.NewSender()
	message := delivery.NewMessage(e.cfg.Batch.MaxEnvelopes, e.cfg.Batch.MaxBytes)
	for batch, ok := range e.queue.All() {
		switch {
		case !ok: // Nothing waits: the message goes although it is not full.
			e.deliver(ctx, sender, message)
		case ctx.Err() != nil:
			e.drop(batch, report.DropShutdown)
		default:
			for envelope := range e.signal.translate(batch.Data) {
				e.report.Truncated(envelope.Truncated)
				if envelope.Reason != "" {
					e.report.Rejected(envelope.Reason, envelope.Items)
					message.EndItem()
					continue
				}
				if !message.Fits(envelope.Encoded) {
					e.deliver(ctx, sender, message)
				}
				message.Append(envelope.Encoded, envelope.Items)
			}
			e.signal.unref(batch.Data)
		}
	}
}

// deliver sends a message, waits until it is acknowledged or given up, and counts its items. It is sent again while the error is retryable,
// for retry_on_failure.max_elapsed_time at most. A message that is too large for the server goes in parts; each has its outcome.
func (e *signalExporter[D]) deliver(ctx context.Context, sender *delivery.Sender, message *delivery.Message) {
	for attempt := range sender.Deliver(ctx, message) {
		e.report.Attempted(attempt)
	}
	for _, outcome := range message.Outcomes() {
		var failure *delivery.Error
		switch {
		case outcome.Err == nil:
			e.report.Sent(outcome)
		case errors.As(outcome.Err, &failure):
			e.report.Failed(failure, outcome.Items)
		default: // ctx was done before the first attempt.
			e.report.Dropped(report.DropShutdown, outcome.Items)
		}
	}
}

// Start connects, without waiting for the connection, and starts the drain.
func (e *signalExporter[D]) Start(ctx context.Context, host component.Host) error {
	client, release, err := e.clients.Acquire(e.cfg, func() (*delivery.Client, error) {
		return delivery.NewClient(ctx, e.cfg.delivery(), host.GetExtensions(), e.set.TelemetrySettings, e.set.BuildInfo)
	})
	if err != nil {
		return err
	}
	e.client, e.release = client, release
	e.report.Start(host)
	e.drained = make(chan struct{})
	go e.drain(client.Context())
	return nil
}

// Shutdown sends what waits, each message with one attempt, and drops what is left after 10 s, or when ctx is done. That time
// begins with the Shutdown of the first signal, for all signals of the exporter ID: they send their last messages at the same
// time. No goroutine is left when it returns.
func (e *signalExporter[D]) Shutdown(ctx context.Context) error {
	var err error
	e.shutOnce.Do(func() { err = e.shutDown(ctx) })
	return err
}

func (e *signalExporter[D]) shutDown(ctx context.Context) error {
	defer e.report.Shutdown()
	e.closing.Store(true)
	e.queue.Close()
	if e.drained == nil { // Not started.
		for b, ok := e.queue.TryNext(); ok; b, ok = e.queue.TryNext() {
			e.drop(b, report.DropShutdown)
		}
		return nil
	}
	e.report.StopStatus()
	defer context.AfterFunc(ctx, e.client.GiveUp)()
	e.client.Finish(shutdownTimeout)
	<-e.drained
	return e.release()
}
