// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"sync/atomic"
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
	epoch atomic.Uint64 // odd: the reader is armed; written by the reader, and by the writer that wakes it
	armed uint64        // the epoch of the last arming; the reader's alone
	wakes chan struct{} // capacity 1; holds at most one wake-up
}

func newParking() parking {
	return parking{wakes: make(chan struct{}, 1)}
}

// arm announces that the reader is about to sleep. The reader has to look for elements again before it does.
func (p *parking) arm() {
	p.armed = (p.armed + 1) | 1
	p.epoch.Store(p.armed)
}

// disarm takes the announcement back.
func (p *parking) disarm() {
	p.epoch.CompareAndSwap(p.armed, p.armed+1)
}

// sleep blocks the armed reader until it is woken.
func (p *parking) sleep() {
	<-p.wakes
}

// sleepContext blocks the armed reader until it is woken, or until ctx is done: then it returns false.
func (p *parking) sleepContext(ctx context.Context) bool {
	select {
	case <-p.wakes:
		return true
	case <-ctx.Done():
		return false
	}
}

// wake wakes the reader if it is armed. It never blocks.
func (p *parking) wake() {
	if epoch := p.epoch.Load(); epoch&1 == 1 {
		p.wakeArmed(epoch)
	}
}

//go:noinline
func (p *parking) wakeArmed(epoch uint64) {
	select {
	case p.wakes <- struct{}{}:
	default: // There is a wake-up already that the reader has not taken yet.
	}
	p.epoch.CompareAndSwap(epoch, epoch+1)
}
