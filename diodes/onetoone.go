// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// OneToOne is a [ManyToOne] with one writer, and the fastest diode. The reader gets the elements in the order of the Sets.
//
// Only one goroutine at a time, the writer, may call Set and Evict, and only one, the reader, may call TryNext, Next and NextContext.
// Any number of goroutines may call the other methods concurrently. The zero value is not usable.
type OneToOne[T any] struct {
	queue[T]
	writer writer[T] // owned by the writer
	_      [cacheLine]byte
}

// NewOneToOne is like [NewManyToOne], but for one writer.
func NewOneToOne[T any](size int, alerter Alerter, policy ...DropPolicy) *OneToOne[T] {
	d := &OneToOne[T]{}
	d.init(size, 1, alerter, policy)
	d.writer, _ = d.arena.writer(position{})
	return d
}

// Set is like [ManyToOne.Set] but never allocates, and retries only after a race with the reader or Close.
func (d *OneToOne[T]) Set(x T) (dropped T, ok bool) { return d.set(&d.writer, x, d.alerter) }

// Evict is like [ManyToOne.Evict] but never allocates.
func (d *OneToOne[T]) Evict() (T, bool) { return d.evict(&d.writer, d.alerter) }
