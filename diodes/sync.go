// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !explore

package diodes

import (
	"context"
	"sync"
	"sync/atomic"
)

// Goroutines share state only through the types of this file, which are aliases or inlined. The build tag explore replaces them
// by those of sync_explore_test.go, where a test orders the steps of goroutines.
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

// send leaves a wake-up, unless one is left. It never blocks.
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

// anew marks where a loop starts over and depends on no load so far but keep, so that the explorer finds equal states.
func anew(uint64) {}

//go:noinline
func spin(turns int) {
	for range turns { // Not inlined, so that a turn always takes as long.
	}
}
