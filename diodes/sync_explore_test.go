// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build explore

package diodes

import (
	"context"
	"sync"
)

// scheduler orders the steps. If it is nil, each step is taken immediately.
var scheduler interface {
	// before returns once the step may be taken. canceled reports whether a receive ends because ctx is done.
	before(ctx context.Context, at *location, kind access) (canceled bool)
	// after records the values before and after the step.
	after(at *location, kind access, was, is uint64)
	// forget records that the rest of a call depends only on keep, and on nothing else that it has observed.
	forget(keep uint64)
	// pointer returns the number of a pointer.
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

type access uint8 // a kind of step

const (
	load access = iota
	store
	swap // any read-modify-write, successful or not
	lock
	send
	receive
	plainRead // between two steps, not a step
	plainWrite
)

// A location is accessed by steps. The scheduler owns it.
type location struct {
	run   int
	id    uint64
	value uint64
}

// shared is a location with atomic steps, even without a scheduler.
type shared[T comparable] struct {
	location
	mu sync.Mutex
	x  T
}

var always = context.Background() // the context of steps other than receives

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

// Locking a mutex is a step, which the scheduler enables while the mutex is unlocked.
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

// signal is a real channel if there is no scheduler.
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

// cell reports each access to the scheduler.
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

func forget(keep uint64) {
	if scheduler != nil {
		scheduler.forget(keep)
	}
}

// spin takes no time: the scheduler orders the steps.
func spin(int) {}
