// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
)

// An eventcount lets one reader sleep until a writer wakes it. While the reader is awake, wake is one load.
//
// The reader arms, tries once more, then blocks. The writer publishes its element, then loads the epoch. The atomics are
// sequentially consistent, so the reader sees the element, or the writer sees that the reader is armed.
//
// The writer sends first, then moves the epoch. In the other order, a writer descheduled in between leaves a sleeping reader with an
// even epoch, and no later writer wakes it. Each arming has a new epoch, so a late writer can't disarm it.
type eventcount struct {
	epoch    atomicUint64 // odd: armed, which publishes that the reader is about to sleep; moved by the reader and its waker
	armed    uint64       // owned by the reader; the epoch of the last arming
	wakes    signal
	sleepers *atomicInt32 // number of armed readers of a OneToMany; otherwise nil
}

func newEventcount(sleepers *atomicInt32) eventcount {
	return eventcount{wakes: newSignal(), sleepers: sleepers}
}

// wait calls try until it returns an element or ended, and sleeps in between. Once ctx is done it tries a last time.
func wait[T any](ctx context.Context, e *eventcount, try func() (x T, ok, ended bool)) (T, bool) {
	for {
		e.arm()
		x, ok, ended := try()
		woken := ok || ended || e.wakes.receive(ctx)
		e.disarm()
		if !ok && !ended {
			x, ok, ended = try()
		}
		if ok || ended || !woken {
			return x, ok
		}
	}
}

// arm announces the sleep. It may change epoch and sleepers in either order, because the reader tries again after both.
func (e *eventcount) arm() {
	e.armed = (e.armed + 1) | 1
	e.epoch.Store(e.armed)
	if e.sleepers != nil {
		e.sleepers.Add(1)
	}
}

func (e *eventcount) disarm() {
	if e.sleepers != nil {
		e.sleepers.Add(-1)
	}
	e.epoch.CompareAndSwap(e.armed, e.armed+1)
}

// wake wakes the reader if it is armed. It never blocks.
func (e *eventcount) wake() {
	if epoch := e.epoch.Load(); epoch&1 == 1 {
		e.wakeArmed(epoch)
	}
}

//go:noinline
func (e *eventcount) wakeArmed(epoch uint64) {
	e.wakes.send()
	e.epoch.CompareAndSwap(epoch, epoch+1)
}
