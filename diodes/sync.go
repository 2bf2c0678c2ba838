// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !explore

package diodes

import (
	"context"
	"sync"
	"sync/atomic"
)

// Everything that goroutines share goes through the types of this file. They cost nothing: aliases, and methods that are
// inlined. Under the build tag explore those of sync_explore.go take their place, and let a test decide in which order the
// goroutines take their steps.
type (
	atomicBool           = atomic.Bool
	atomicInt32          = atomic.Int32
	atomicUint32         = atomic.Uint32
	atomicUint64         = atomic.Uint64
	atomicPointer[T any] = atomic.Pointer[T]
	mutex                = sync.Mutex
	signal               chan struct{}
)

// newSignal makes a signal: it holds at most one wake-up, for one sleeper.
func newSignal() signal { return make(signal, 1) }

// send leaves a wake-up, unless there is one that has not been received. It never blocks.
func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// receive blocks until there is a wake-up, or until ctx is done: then it returns false.
func (s signal) receive(ctx context.Context) bool {
	select {
	case <-s:
		return true
	case <-ctx.Done():
		return false
	}
}

// A cell is plain memory, with one owner at a time.
type cell[T any] struct{ x T }

func (c *cell[T]) set(x T) { c.x = x }

func (c *cell[T]) get() T { return c.x }

// take moves the value out. The cell keeps no reference to it.
func (c *cell[T]) take() T {
	x := c.x
	var zero T
	c.x = zero
	return x
}

// anew does nothing. It stands where a loop begins anew, and remembers of the shared values that it has loaded no more than keep:
// that lets the explorer find equal states.
func anew(uint64) {}

// spin is a function of its own so that a turn always takes as long, wherever it is called.
//
//go:noinline
func spin(turns int) {
	for range turns { // The turns are the pause.
	}
}
