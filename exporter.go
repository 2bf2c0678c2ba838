// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/telemetry"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// shutdownTimeout bounds the shutdown of all signals of an exporter ID together, starting with the first Shutdown. The collector shuts
// them down one after the other, with a context that has no deadline.
const shutdownTimeout = 10 * time.Second

// signalExporter exports one signal. A batch goes from consume through the queue to drain, and from there, in messages, to deliver.
type signalExporter[D comparable] struct {
	translate func(D) iter.Seq[translate.Envelope]
	cfg       *Config
	set       exporter.Settings
	clients   *delivery.Shared[*Config]
	queue     *queue.Queue[D]
	report    *telemetry.Report

	shutOnce sync.Once
	// Set by Start:
	client  *delivery.Client // shared by the signals of the exporter ID
	release func() error
	drained chan struct{} // closed when drain returns
}

func newSignalExporter[D comparable](
	set exporter.Settings, cfg *Config, clients *delivery.Shared[*Config], s queue.Signal[D], t func(D) iter.Seq[translate.Envelope],
) (*signalExporter[D], error) {
	e := &signalExporter[D]{translate: t, cfg: cfg, set: set, clients: clients, report: telemetry.New(set.Logger)}
	e.queue = queue.New(s, cfg.Diode, e.report.Report)
	return e, e.report.Register(set, telemetry.Settings{
		Signal:             s.Name,
		MaxItems:           cfg.Diode.MaxItems,
		EnvelopesPerSecond: cfg.RateLimit.EnvelopesPerSecond,
	}, e.queue)
}

// Capabilities reports that the exporter only reads the data.
func (*signalExporter[D]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// consume puts a batch into the queue. It runs on the pipeline's goroutines and never blocks them. If the queue is full, it drops the
// oldest batches or, with the drop policy newest, this one. After Shutdown it drops this one.
func (e *signalExporter[D]) consume(data D) { e.queue.Push(data) }

// drain translates the batches of the queue, packs their envelopes into messages and delivers these, until the queue is closed and empty.
// Once ctx is done, the queue drops the remaining batches.
func (e *signalExporter[D]) drain(ctx context.Context) {
	defer close(e.drained)
	sender := e.client.NewSender()
	message := delivery.NewMessage(e.cfg.Batch.MaxEnvelopes, e.cfg.Batch.MaxBytes)
	for batch, ok := range e.queue.All(ctx) {
		if !ok { // The queue is empty, as always before it ends: deliver the message although it is not full.
			e.deliver(ctx, sender, message)
			continue
		}
		for envelope := range e.translate(batch.Data) {
			e.report.Truncated(envelope.Truncated)
			if envelope.Reason != "" {
				e.report.Rejected(envelope.Reason, envelope.Items)
				message.EndItem() // Some of its envelopes may be in the message.
				continue
			}
			if !message.Fits(envelope.Encoded) {
				e.deliver(ctx, sender, message)
			}
			message.Append(envelope.Encoded, envelope.Items)
		}
		e.queue.Release(batch)
	}
}

// deliver sends and empties a message, waits until it is acknowledged or given up, and counts its items. It retries while the error is
// retryable, for at most retry_on_failure.max_elapsed_time. A message too large for the server is sent in halves, each with its own outcome.
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

// Start begins to connect, without waiting for the connection, and starts the drain.
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

// Shutdown sends the waiting batches, one attempt per message, and drops the rest after 10 s or when ctx is done. All signals of an exporter
// ID share the 10 s: the first Shutdown starts them and ends the retries of all. No goroutine is left afterwards.
func (e *signalExporter[D]) Shutdown(ctx context.Context) error {
	var err error
	e.shutOnce.Do(func() { err = e.shutDown(ctx) })
	return err
}

func (e *signalExporter[D]) shutDown(ctx context.Context) error {
	defer e.report.Shutdown()
	e.queue.Close()
	if e.drained == nil { // Not started.
		e.queue.DropAll()
		return nil
	}
	e.report.StopStatus()
	defer context.AfterFunc(ctx, e.client.GiveUp)()
	e.client.Finish(shutdownTimeout) // Ends retries, and gives up after that time.
	<-e.drained
	return e.release()
}
