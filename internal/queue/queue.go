// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue has the diode between a pipeline and a drain: bounded in batches, in items and in bytes. What it drops is counted.
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

// Batch is what was pushed at once.
type Batch[D comparable] struct {
	Data  D
	Items int // log records, data points or spans
	Bytes int // as encoded in OTLP; 0 unless the queue bounds bytes
}

// Config configures a queue, of the exporter and of the connector. The blank field prevents unkeyed literals.
type Config struct {
	// Capacity is how many batches can wait, for each signal.
	Capacity int `mapstructure:"capacity"`
	// MaxItems is how many log records, metric points or spans can wait, for each signal; `0` means no limit. A larger batch waits
	// alone.
	MaxItems int `mapstructure:"max_items"`
	// MaxBytes is how many bytes, encoded in OTLP, can wait, for each signal; `0` means no limit. A larger batch waits alone.
	// A push then also measures its batch, which takes some time.
	MaxBytes int `mapstructure:"max_bytes"`
	// DropPolicy is which batch to drop when the diode is full: `oldest`, the one that has waited longest, or `newest`, the one
	// that is pushed.
	DropPolicy DropPolicy `mapstructure:"drop_policy"`

	_ struct{}
}

// DropPolicy says which batch to drop when the diode is full.
type DropPolicy string

// The drop policies.
const (
	DropOldest DropPolicy = "oldest" // the batch that has waited longest
	DropNewest DropPolicy = "newest" // the batch that is pushed
)

// Validate reports the settings that can't work. prefix comes before the key in its errors.
func (cfg Config) Validate(prefix string) error {
	return errors.Join(
		validate.InRange(prefix+"capacity", cfg.Capacity, 1, diodes.MaxSize),
		validate.NotNegative(prefix+"max_items", cfg.MaxItems),
		validate.NotNegative(prefix+"max_bytes", cfg.MaxBytes),
		validate.OneOf(prefix+"drop_policy", cfg.DropPolicy, DropOldest, DropNewest),
	)
}

// Queue is the diode of one signal. It references pdata that waits, so that it is not reused, and counts what happens to it.
//
// Any goroutine may call its methods at any time, but [Queue.All] belongs to one, the drain.
type Queue[D comparable] struct {
	signal  Signal[D]
	diode   *diode[D]
	report  *report.Report
	closing atomic.Bool // the diode is closed, or about to be
}

// New makes an empty queue that counts in r.
func New[D comparable](s Signal[D], cfg Config, r *report.Report) *Queue[D] {
	return &Queue[D]{signal: s, diode: newDiode[D](cfg), report: r}
}

// Push puts data into the queue. It never blocks, never fails, and allocates nothing. When the queue is full it drops the oldest batches
// or, with [DropNewest], this one. After Close it drops this one. Data without items is ignored.
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

// All yields the batches in the order in which they were pushed. Each has to be released. Each time that none is left it yields false,
// and then waits for the next one. Once ctx is done it drops the batches. It ends when the queue is closed and empty.
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

// Release releases the data of a batch that is out.
func (q *Queue[D]) Release(b Batch[D]) { q.signal.Unref(b.Data) }

// drop counts a batch that is given up, and releases its data.
func (q *Queue[D]) drop(b Batch[D], reason report.DropReason) {
	q.report.Dropped(reason, b.Items)
	q.Release(b)
}

// Close makes later pushes drop their batches. The drain still gets those in the queue.
func (q *Queue[D]) Close() {
	q.closing.Store(true)
	q.diode.close()
}

// DropAll drops what waits, in place of a drain. The queue has to be closed.
func (q *Queue[D]) DropAll() {
	for b, ok := q.diode.ring.Evict(); ok; b, ok = q.diode.ring.Evict() {
		q.drop(b, report.DropShutdown)
	}
}

// Len returns the number of batches that wait.
func (q *Queue[D]) Len() int { return q.diode.ring.Len() }

// Cap returns the number of batches that the queue has room for.
func (q *Queue[D]) Cap() int { return q.diode.ring.Cap() }
