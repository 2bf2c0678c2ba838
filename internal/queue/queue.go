// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue implements the diode between a pipeline and a drain. It is bounded in batches, items and bytes, and counts its drops.
package queue

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/validate"
)

// A Batch is the data of one push.
type Batch[D comparable] struct {
	Data  D
	Items int // log records, data points or spans
	Bytes int // as encoded in OTLP; 0 unless the queue bounds bytes
}

// Config configures a queue of the exporter or the connector. The blank field prevents unkeyed literals.
type Config struct {
	// Capacity is the maximum number of waiting batches per signal.
	Capacity int `mapstructure:"capacity"`
	// MaxItems is the maximum number of waiting log records, metric points or spans per signal; `0` means no limit. A larger batch
	// waits alone.
	MaxItems int `mapstructure:"max_items"`
	// MaxBytes is the maximum size of the waiting batches per signal, in bytes encoded in OTLP; `0` means no limit. A larger batch
	// waits alone. With a limit, each push also measures its batch, which takes some time.
	MaxBytes int `mapstructure:"max_bytes"`
	// DropPolicy is the batch to drop when the diode is full: `oldest`, the one waiting longest, or `newest`, the one being pushed.
	DropPolicy DropPolicy `mapstructure:"drop_policy"`

	_ struct{}
}

// A DropPolicy selects the batch to drop when the diode is full.
type DropPolicy string

// The drop policies.
const (
	DropOldest DropPolicy = "oldest" // the batch waiting longest
	DropNewest DropPolicy = "newest" // the batch being pushed
)

// Validate reports invalid settings. Its errors put prefix before each key.
func (cfg Config) Validate(prefix string) error {
	return errors.Join(
		validate.InRange(prefix+"capacity", cfg.Capacity, 1, diodes.MaxSize),
		validate.NotNegative(prefix+"max_items", cfg.MaxItems),
		validate.NotNegative(prefix+"max_bytes", cfg.MaxBytes),
		validate.OneOf(prefix+"drop_policy", cfg.DropPolicy, DropOldest, DropNewest),
	)
}

// A Queue is the diode of one signal. It keeps waiting pdata from being reused, and counts items.
//
// Any goroutine may call its methods at any time, except [Queue.All], which only one goroutine, the drain, may call.
type Queue[D comparable] struct {
	signal  Signal[D]
	diode   *diode[D]
	report  *report.Report
	closing atomic.Bool // reports whether the diode is closed or about to be
}

// New returns an empty queue that counts in r.
func New[D comparable](s Signal[D], cfg Config, r *report.Report) *Queue[D] {
	return &Queue[D]{signal: s, diode: newDiode[D](cfg), report: r}
}

// Push puts data into the queue. It never blocks or fails, and allocates only when more pushes run at once than ever before. If the queue is full, Push drops the oldest
// batches or, with [DropNewest], this one. After Close it drops this one. Data without items is ignored.
func (q *Queue[D]) Push(data D) {
	b := Batch[D]{Data: data, Items: q.signal.Items(data)}
	if b.Items == 0 {
		return
	}
	if q.diode.bytes.limit > 0 {
		b.Bytes = q.signal.Bytes(data)
	}
	q.signal.Ref(data)
	q.report.Accepted(b.Items)
	q.diode.push(b, func(dropped Batch[D]) {
		if dropped == b && q.closing.Load() {
			q.drop(dropped, report.DropShutdown)
		} else {
			q.drop(dropped, report.DropOverflow)
		}
	})
}

// All yields the batches in the order of their pushes. The caller must release each. Whenever the queue is empty All yields false, then
// waits for the next batch. Once ctx is done it drops the batches. It ends when the queue is closed and empty.
func (q *Queue[D]) All(ctx context.Context) iter.Seq2[Batch[D], bool] {
	return func(yield func(Batch[D], bool) bool) {
		for b, ok := range q.diode.all() {
			if ok && ctx.Err() != nil {
				q.drop(b, report.DropShutdown)
			} else if !yield(b, ok) {
				return
			}
		}
	}
}

// Release releases the data of a batch that was yielded or dropped.
func (q *Queue[D]) Release(b Batch[D]) { q.signal.Unref(b.Data) }

// drop counts a batch as dropped and releases its data.
func (q *Queue[D]) drop(b Batch[D], reason report.DropReason) {
	q.report.Dropped(reason, b.Items)
	q.Release(b)
}

// Close makes later pushes drop their batches. The drain still gets the waiting ones.
func (q *Queue[D]) Close() {
	q.closing.Store(true)
	q.diode.close()
}

// DropAll drops the waiting batches, in place of a drain. The queue must be closed.
func (q *Queue[D]) DropAll() {
	for b, ok := q.diode.ring.Evict(); ok; b, ok = q.diode.ring.Evict() {
		q.drop(b, report.DropShutdown)
	}
}

// Len returns the number of waiting batches.
func (q *Queue[D]) Len() int { return q.diode.ring.Len() }

// Cap returns the capacity of the queue, in batches.
func (q *Queue[D]) Cap() int { return q.diode.ring.Cap() }
