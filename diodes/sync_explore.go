// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build explore

package diodes

import (
	"context"
	"sync"
)

// scheduler decides who takes the next step. Without one, every step is taken at once.
var scheduler interface {
	// before is called before each step, and returns when it may be taken. canceled is for a receive: it ends because ctx is
	// done.
	before(ctx context.Context, at *location, kind access) (canceled bool)
	// after is told numbers for the values before and after the step.
	after(at *location, kind access, was, is uint64)
	// anew is told that what a call does next depends on nothing that it has observed so far, but on keep.
	anew(keep uint64)
	// pointer is a number for a pointer.
	pointer(p any) uint64
}

func fingerprint[T any](x T) uint64 {
	switch x := any(x).(type) {
	case bool:
		if x {
			return 1
		}
		return 0
	case int:
		return uint64(x)
	case int32:
		return uint64(x)
	case uint32:
		return uint64(x)
	case uint64:
		return x
	}
	return scheduler.pointer(x)
}

// An access is a kind of step.
type access uint8

const (
	load access = iota
	store
	swap // every read-modify-write, whether it succeeds or not
	lock
	send
	receive
	plainRead // not a step of its own: what happens between two steps
	plainWrite
)

// A location is what a step accesses. What it holds belongs to the scheduler.
type location struct {
	run   int
	id    uint64
	value uint64
}

// shared is a location whose steps are atomic, also without a scheduler.
type shared[T comparable] struct {
	location
	mu sync.Mutex
	x  T
}

// always is the context of a step that is not a receive.
var always = context.Background()

// step replaces the value x by change(x).
func (s *shared[T]) step(ctx context.Context, kind access, change func(x T) T) (was T, canceled bool) {
	if scheduler == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		was, s.x = s.x, change(s.x)
		return was, false
	}
	canceled = scheduler.before(ctx, &s.location, kind)
	was = s.x
	if !canceled {
		s.x = change(was)
	}
	scheduler.after(&s.location, kind, fingerprint(was), fingerprint(s.x))
	return was, canceled
}

func (s *shared[T]) Load() T {
	x, _ := s.step(always, load, func(x T) T { return x })
	return x
}

func (s *shared[T]) Store(x T) { s.step(always, store, func(T) T { return x }) }

func (s *shared[T]) Swap(x T) T {
	was, _ := s.step(always, swap, func(T) T { return x })
	return was
}

func (s *shared[T]) CompareAndSwap(before, after T) bool {
	was, _ := s.step(always, swap, func(x T) T {
		if x == before {
			return after
		}
		return x
	})
	return was == before
}

// number is a shared integer.
type number[T int32 | uint32 | uint64] struct{ shared[T] }

func (n *number[T]) Add(by T) T {
	was, _ := n.step(always, swap, func(x T) T { return x + by })
	return was + by
}

func (n *number[T]) Or(bits T) T {
	was, _ := n.step(always, swap, func(x T) T { return x | bits })
	return was
}

type (
	atomicBool           = shared[bool]
	atomicInt32          = number[int32]
	atomicUint32         = number[uint32]
	atomicUint64         = number[uint64]
	atomicPointer[T any] = shared[*T]
)

// mutex is locked by a step that the scheduler lets nobody take while it is locked.
type mutex struct {
	held shared[bool]
	mu   sync.Mutex
}

func (m *mutex) Lock() {
	m.held.step(always, lock, func(bool) bool { return true })
	m.mu.Lock()
}

func (m *mutex) Unlock() {
	m.mu.Unlock()
	m.held.Store(false)
}

// signal is a channel for goroutines without a scheduler.
type signal struct {
	sent *shared[bool]
	real chan struct{}
}

func newSignal() signal { return signal{new(shared[bool]), make(chan struct{}, 1)} }

func (s signal) send() {
	if scheduler != nil {
		s.sent.step(always, send, func(bool) bool { return true })
		return
	}
	select {
	case s.real <- struct{}{}:
	default:
	}
}

func (s signal) receive(ctx context.Context) bool {
	if scheduler != nil {
		_, canceled := s.sent.step(ctx, receive, func(bool) bool { return false })
		return !canceled
	}
	select {
	case <-s.real:
		return true
	case <-ctx.Done():
		return false
	}
}

// cell tells the scheduler of each access.
type cell[T any] struct {
	location
	x T
}

func (c *cell[T]) tell(kind access, is T) {
	if scheduler != nil {
		scheduler.after(&c.location, kind, fingerprint(c.x), fingerprint(is))
	}
}

func (c *cell[T]) set(x T) {
	c.tell(plainWrite, x)
	c.x = x
}

func (c *cell[T]) get() T {
	c.tell(plainRead, c.x)
	return c.x
}

func (c *cell[T]) take() T {
	var zero T
	c.tell(plainWrite, zero)
	x := c.x
	c.x = zero
	return x
}

func anew(keep uint64) {
	if scheduler != nil {
		scheduler.anew(keep)
	}
}

// spin takes no time: who comes first is for the scheduler to decide.
func spin(int) {}
