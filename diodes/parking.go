// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
)

// parking is where the one reader of a diode sleeps while there is nothing to read. It costs a writer one load while the
// reader is awake.
//
// The reader arms, looks into the ring once more, and only then blocks. A writer publishes its element and only then looks
// at the epoch. The atomics are sequentially consistent, so either the reader's second look sees the element or the writer
// sees that the reader is armed.
//
// A writer that finds the reader armed sends the wake-up first and moves the epoch after that. In the other order a writer
// that is descheduled between the two would leave the epoch even while the reader still sleeps, and every later writer
// would take the reader for awake. Because each arming has an epoch of its own, a writer that is descheduled after its send
// can't move the epoch of a later arming. What can be left over is a wake-up nobody needs, which the reader takes for what
// it is: a reason to look again.
type parking struct {
	epoch atomicUint64 // odd: the reader is armed; written by the reader, and by the writer that wakes it
	armed uint64       // the epoch of the last arming; the reader's alone
	wakes signal
	// sleepers counts the readers of a diode with several that are armed; else it is nil.
	sleepers *atomicInt32
}

func newParking(sleepers *atomicInt32) parking {
	return parking{wakes: newSignal(), sleepers: sleepers}
}

// wait calls try until it has got an element, or ended says that none will come. In between it sleeps until it is woken, or until
// ctx is done; then it tries a last time.
func wait[T any](ctx context.Context, p *parking, try func() (x T, ok, ended bool)) (T, bool) {
	for {
		p.arm()
		x, ok, ended := try()
		woken := ok || ended || p.wakes.receive(ctx)
		p.disarm()
		if !ok && !ended {
			x, ok, ended = try()
		}
		if ok || ended || !woken {
			return x, ok
		}
	}
}

// arm announces that the reader is about to sleep. The reader has to look for elements again before it does. sleepers is
// counted after the epoch is armed, because a writer looks at it first.
func (p *parking) arm() {
	p.armed = (p.armed + 1) | 1
	p.epoch.Store(p.armed)
	if p.sleepers != nil {
		p.sleepers.Add(1)
	}
}

// disarm takes the announcement back, unless a writer has moved the epoch already.
func (p *parking) disarm() {
	if p.sleepers != nil {
		p.sleepers.Add(-1)
	}
	p.epoch.CompareAndSwap(p.armed, p.armed+1)
}

// wake wakes the reader if it is armed. It never blocks.
func (p *parking) wake() {
	if epoch := p.epoch.Load(); epoch&1 == 1 {
		p.wakeArmed(epoch)
	}
}

//go:noinline
func (p *parking) wakeArmed(epoch uint64) {
	p.wakes.send()
	p.epoch.CompareAndSwap(epoch, epoch+1)
}
