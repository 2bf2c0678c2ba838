// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !explore

package diodes

import (
	"context"
	"sync"
	"sync/atomic"
)

// Goroutines share state only through the types in this file, which are aliases or inlined. The build tag explore replaces them with
// those in sync_explore_test.go, where a test orders the steps of the goroutines.
type (
	atomicBool           = atomic.Bool
	atomicInt32          = atomic.Int32
	atomicUint32         = atomic.Uint32
	atomicUint64         = atomic.Uint64
	atomicPointer[T any] = atomic.Pointer[T]
	mutex                = sync.Mutex
	signal               chan struct{}
)

// newSignal returns a signal, which holds at most one wake-up for one sleeper.
func newSignal() signal { return make(signal, 1) }

// send stores a wake-up unless one is already stored. It never blocks.
func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// receive blocks until there is a wake-up. It returns false if ctx is done.
func (s signal) receive(ctx context.Context) bool {
	select {
	case <-s:
		return true
	case <-ctx.Done():
		return false
	}
}

type cell[T any] struct{ x T }

func (c *cell[T]) set(x T) { c.x = x }

func (c *cell[T]) get() T { return c.x }

func (c *cell[T]) take() T {
	x := c.x
	var zero T
	c.x = zero
	return x
}

// forget marks where a loop starts over and depends on no previous load, only on the argument, so that the explorer finds equal states.
func forget(uint64) {}

//go:noinline
func spin(turns int) {
	for range turns { // Not inlined, so that every turn takes the same time.
	}
}
