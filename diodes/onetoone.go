// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "context"

// OneToOne is a diode with one writer and one reader: the fastest.
//
// [OneToOne.Set] and [OneToOne.Evict] may be called by one goroutine at a time, the writer. [OneToOne.TryNext],
// [OneToOne.Next] and [OneToOne.NextContext] may be called by one goroutine at a time, the reader. [OneToOne.Close],
// [OneToOne.Len] and [OneToOne.Cap] may be called by any goroutine at any time.
//
// The reader gets the elements in the order in which they were set. All else is as in [ManyToOne]. The zero value can't be
// used; [NewOneToOne] makes a OneToOne.
type OneToOne[T any] struct {
	queue[T]
	writer writer[T]
	_      [cacheLine]byte
}

// NewOneToOne makes a diode with room for exactly size elements. It panics when size is less than 1 or more than [MaxSize].
//
// alerter is told of each element that gave way, one at a time; nil is allowed. The options are a [DropPolicy].
func NewOneToOne[T any](size int, alerter Alerter, opts ...Option) *OneToOne[T] {
	d := &OneToOne[T]{}
	d.init(size, 1, alerter, opts)
	d.writer, _ = d.cells.writer(position{})
	return d
}

// Set puts x into the ring. When that made an element give way, Set returns it and true, after it told the alerter: the
// oldest element if the ring was full, or x itself if it was full and the policy is [DropNewest], or after Close.
//
// Set is wait-free and allocates nothing. Only two can make it repeat a step, each once: the reader, when it takes the oldest
// element just when Set was about to drop it, and Close. (To wake a sleeping reader it takes, for a moment, the Go runtime's lock of a
// channel.) It takes as long as the alerter does.
//
// Set is the writer's: see [OneToOne].
func (d *OneToOne[T]) Set(x T) (dropped T, ok bool) { return d.set(&d.writer, x, d.alerter) }

// Evict takes the oldest element out of the ring as the writer, and tells the alerter of it; false when the ring is empty.
// It is for bounds of another kind than a number of elements. Like Set it is wait-free and allocates nothing; it gives up, and
// returns false, after it has lost to the reader 65536 times in a row. It looks at some log2(size) slots.
//
// Evict is the writer's: see [OneToOne].
func (d *OneToOne[T]) Evict() (T, bool) { return d.evict(&d.writer, d.alerter) }

// TryNext takes the oldest element out of the ring; false when the ring is empty. It never blocks, and allocates nothing. It
// is lock-free: a step that others make it repeat is one with which the writer has dropped or evicted an element, or Close.
//
// TryNext is the reader's: see [OneToOne].
func (d *OneToOne[T]) TryNext() (T, bool) {
	x, ok, _ := d.tryNext()
	return x, ok
}

// Next takes the oldest element out of the ring. While the ring is empty it blocks, without using the processor. It returns
// false when the diode is closed and every element is out.
//
// Next is the reader's: see [OneToOne].
func (d *OneToOne[T]) Next() (T, bool) { return d.next(context.Background()) }

// NextContext is Next that also stops waiting when ctx is done. It then returns false, and ctx.Err() is not nil. An element
// that is there is returned even if ctx is done.
//
// NextContext is the reader's: see [OneToOne].
func (d *OneToOne[T]) NextContext(ctx context.Context) (T, bool) { return d.next(ctx) }

// Close ends the writing: each Set that comes after it hands its element out. The reader still gets what is in the ring and
// then, from Next, false. Close does not wait for the reader. Closing twice is closing once.
func (d *OneToOne[T]) Close() { d.close() }

// Len is the number of elements in the ring. It is exact while nobody sets or reads, and a number from 0 to Cap otherwise. It
// looks at some log2(size) slots.
func (d *OneToOne[T]) Len() int { return d.length() }

// Cap is the number of elements that the ring has room for.
func (d *OneToOne[T]) Cap() int { return d.size() }
