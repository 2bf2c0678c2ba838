// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// shutdownTimeout is how long the signals of an exporter ID have together to send what waits when the first of them is shut
// down. The collector shuts down one after the other, and its context has no deadline.
const shutdownTimeout = 10 * time.Second

// signal is what differs between logs, metrics and traces.
type signal[D comparable] struct {
	name pipeline.Signal
	// count is the number of items: log records, data points, spans.
	count func(D) int
	// size is the size in bytes as OTLP encodes it.
	size func(D) int
	// ref keeps pdata from being reused after consume has returned, until unref.
	ref, unref func(D)
	translate  func(D) iter.Seq[translate.Envelope]
}

// signalExporter is the exporter of one signal. What one batch goes through is consume, the diode, drain, and the outbox.
type signalExporter[D comparable] struct {
	signal signal[D]
	diode  *queue.Queue[D]

	cfg       *Config
	set       exporter.Settings
	clients   *ingress.Shared[*Config]
	telemetry *telemetry

	closing  atomic.Bool // the diode is closed, or about to be
	shutOnce sync.Once
	// Since Start:
	client  *ingress.Client // which the signals share
	release func() error
	health  *health
	drained chan struct{} // closed when the drain has ended
}

func newSignalExporter[D comparable](set exporter.Settings, cfg *Config, clients *ingress.Shared[*Config], s signal[D]) (*signalExporter[D], error) {
	e := &signalExporter[D]{
		signal:  s,
		diode:   queue.New[D](cfg.Diode.bounds()),
		cfg:     cfg,
		set:     set,
		clients: clients,
	}
	var err error
	e.telemetry, err = newTelemetry(set, s.name, e.diode)
	return e, err
}

// Capabilities says that the exporter only reads the data.
func (*signalExporter[D]) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: false}
}

// consume runs on the pipeline's goroutines, and never makes them wait.
func (e *signalExporter[D]) consume(data D) {
	items := e.signal.count(data)
	if items == 0 {
		return
	}
	e.signal.ref(data)
	e.telemetry.accepted(items)
	pushed := queue.Batch[D]{Data: data, Items: items}
	if e.cfg.Diode.MaxBytes > 0 {
		pushed.Bytes = e.signal.size(data)
	}
	e.diode.Push(pushed, func(dropped queue.Batch[D]) {
		reason := overflow
		if dropped == pushed && e.closing.Load() {
			reason = shutdown
		}
		e.drop(dropped, reason)
	})
}

func (e *signalExporter[D]) drop(b queue.Batch[D], reason dropReason) {
	e.telemetry.dropped(reason, b.Items)
	e.signal.unref(b.Data)
}

// drain takes what waits out of the diode and sends it, until the diode is closed and empty. After ctx is done it drops
// instead.
func (e *signalExporter[D]) drain(ctx context.Context, out *outbox) {
	defer close(e.drained)
	for b, ok := range e.diode.All() {
		switch {
		case !ok:
			out.flush() // Nothing waits: what there is goes now.
		case ctx.Err() != nil:
			e.drop(b, shutdown)
		default:
			for envelope := range e.signal.translate(b.Data) {
				out.take(envelope) // Sends each message that is full.
			}
			e.signal.unref(b.Data)
		}
	}
}

// Start connects, without waiting for the connection, and starts the drain.
func (e *signalExporter[D]) Start(ctx context.Context, host component.Host) error {
	client, release, err := e.clients.Acquire(e.cfg, func() (*ingress.Client, error) {
		return ingress.NewClient(ctx, e.cfg.ingress(), host.GetExtensions(), e.set.TelemetrySettings, e.set.BuildInfo)
	})
	if err != nil {
		return err
	}
	e.client, e.release = client, release
	e.drained = make(chan struct{})
	e.health = newHealth(host, e.set.Logger)
	life := client.Context()
	sender := client.NewSender(func(a ingress.Attempt) {
		e.telemetry.attempted(a)
		if life.Err() == nil { // What a shutdown cut off says nothing of Loggregator.
			e.health.observe(a)
		}
	})
	e.telemetry.start()
	go e.drain(life, newOutbox(life, sender, e.cfg.Batch, e.telemetry))
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
	defer e.telemetry.shutdown()
	e.closing.Store(true)
	e.diode.Close()
	if e.drained == nil { // Not started.
		for b, ok := e.diode.TryNext(); ok; b, ok = e.diode.TryNext() {
			e.drop(b, shutdown)
		}
		return nil
	}
	e.health.close()
	defer context.AfterFunc(ctx, e.client.GiveUp)()
	e.client.Finish(shutdownTimeout)
	<-e.drained
	e.health.stop()
	return e.release()
}
