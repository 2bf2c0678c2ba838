// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"sync"
	"testing"
)

// mutexRing is what one writes without a diode: an exact ring behind a lock, which hands out the oldest element when it is
// full.
type mutexRing[T any] struct {
	mu       sync.Mutex
	filled   sync.Cond
	cells    []T
	first, n int
	closed   bool
}

func newMutexRing[T any](size int) *mutexRing[T] {
	r := &mutexRing[T]{cells: make([]T, size)}
	r.filled.L = &r.mu
	return r
}

func (r *mutexRing[T]) Set(x T) (dropped T, ok bool) {
	r.mu.Lock()
	if ok = r.n == len(r.cells); ok {
		dropped = r.take()
	}
	last := r.first + r.n
	if last >= len(r.cells) {
		last -= len(r.cells)
	}
	r.cells[last] = x
	r.n++
	if r.n == 1 { // Only then the reader can be waiting.
		r.filled.Signal()
	}
	r.mu.Unlock()
	return dropped, ok
}

func (r *mutexRing[T]) TryNext() (x T, ok bool) {
	r.mu.Lock()
	if ok = r.n > 0; ok {
		x = r.take()
	}
	r.mu.Unlock()
	return x, ok
}

func (r *mutexRing[T]) Next() (x T, ok bool) {
	r.mu.Lock()
	for r.n == 0 && !r.closed {
		r.filled.Wait()
	}
	if ok = r.n > 0; ok {
		x = r.take()
	}
	r.mu.Unlock()
	return x, ok
}

func (r *mutexRing[T]) Close() {
	r.mu.Lock()
	r.closed = true
	r.filled.Signal()
	r.mu.Unlock()
}

// take is called with the lock held, when the ring is not empty.
func (r *mutexRing[T]) take() (x T) {
	var none T
	x, r.cells[r.first] = r.cells[r.first], none
	r.n--
	if r.first++; r.first == len(r.cells) {
		r.first = 0
	}
	return x
}

// A wrong peer would make the measurements worthless.
func TestMutexRing(t *testing.T) {
	r := newMutexRing[int](3)
	for i := 1; i <= 5; i++ {
		if dropped, ok := r.Set(i); ok != (i > 3) || ok && dropped != i-3 {
			t.Errorf("Set(%d) dropped %d, %t", i, dropped, ok)
		}
	}
	r.Close()
	for want := 3; want <= 5; want++ {
		if x, ok := r.Next(); x != want || !ok {
			t.Errorf("Next gave %d, %t, not %d", x, ok, want)
		}
	}
	if _, ok := r.Next(); ok {
		t.Error("Next gave more than was set")
	}
}
