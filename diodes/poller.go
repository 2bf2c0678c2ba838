// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"fmt"
	"math"
)

// A PollerOption changes how a [Poller] begins. [StartFrom] is one.
type PollerOption interface {
	applyPoller(*StartFrom)
}

// StartFrom says with which element a [Poller] starts. It is a [PollerOption].
type StartFrom uint8

const (
	// FromOldest starts with the oldest element that is in the ring. It is the default.
	FromOldest StartFrom = iota
	// FromNewest starts with the newest element that is in the ring.
	FromNewest
)

func (s StartFrom) applyPoller(to *StartFrom) {
	if s > FromNewest {
		panic(fmt.Sprintf("diodes: there is no StartFrom(%d)", uint8(s)))
	}
	*to = s
}

// A Poller is a reader of a [OneToMany] with a place of its own; [OneToMany.NewPoller] makes one. It gets each element that
// was in the ring when it came to it, in the order in which they were set.
//
// [Poller.TryNext], [Poller.Next] and [Poller.NextContext] may be called by one goroutine at a time, the poller's reader.
// [Poller.Missed], [Poller.Len] and [Poller.Close] may be called by any goroutine at any time. The zero value can't be used.
type Poller[T any] struct {
	d *OneToMany[T]

	// The reader's alone: the position of its next element.
	next position
	// The writer's before it marks the poller, the reader's from then until it has counted itself out: what it copies.
	retired cell[*retired]

	missed  atomicUint64
	parking parking

	_ [cacheLine]byte
	// place is next, as it was when the reader wrote it, packed, and flags. The writer and Close add a flag each.
	place atomicUint64
	_     [cacheLine]byte
}

// The flags of a poller's place.
const (
	copying      = 1 << iota // the reader may be copying the element at its place
	marked                   // the element has left the ring: when it has copied it, the reader has to count itself out
	closedPoller             // the poller is closed

	placeFlags = 1<<iota - 1
)

// copies is the place, without flags, of a poller whose next position is p. It loses the first of 62 bits.
func copies(p position) uint64 { return p.pack() * (placeFlags + 1) }

// ahead61 says whether place a is later than b.
func ahead61(a, b uint64) bool { return int64(a-b) > 0 }

// TryNext returns the poller's next element; false when there is none yet, or the poller is closed. If it has missed elements,
// it tells the diode's alerter how many. It never blocks and allocates nothing, with one exception: a call that copies an element
// while [Poller.Close] runs takes the poller off the diode's list. For that it takes the lock that NewPoller and Close take, and
// allocates a new list. It is lock-free: each step that the writer makes it repeat is one with which the writer has lapped it
// again.
//
// TryNext is the reader's: see [Poller].
func (p *Poller[T]) TryNext() (T, bool) {
	x, ok, _ := p.tryNext()
	return x, ok
}

// tryNext says in addition that no element will come any more.
func (p *Poller[T]) tryNext() (x T, ok, ended bool) {
	d := p.d
	missed := uint64(0)
	for !ok {
		anew(missed)
		place := p.place.Load()
		if ended = place&closedPoller != 0; ended {
			break
		}
		slot := &d.words[p.next.slot]
		w := word(slot.Load())
		if w.awaits(p.next.lap) { // The next element is still to come.
			ended = w.closed()
			break
		}
		if !w.holds(p.next.lap) {
			// The next element is gone; what is in its slot now, or is to come there, tells which is the oldest still there.
			oldest := w.oldestLeft(p.next.slot, d.size())
			missed += p.next.distance(oldest, d.size())
			p.next = oldest
			continue
		}
		// First announce it, then see whether the element is still there: the writer does it the other way round.
		if p.place.CompareAndSwap(place, copies(p.next)|copying) {
			if w = word(slot.Load()); w.holds(p.next.lap) {
				x, ok = d.cells.at(w.node()).get(), true
				p.next = p.next.next(d.size())
			}
			p.leave()
		} // Else the poller was closed meanwhile.
	}
	if missed > 0 {
		p.miss(missed)
	}
	return x, ok, ended
}

// leave ends the copying that place announces.
func (p *Poller[T]) leave() {
	was := p.place.Swap(copies(p.next))
	if was&marked != 0 {
		p.d.release(p.retired.get())
	}
	if was&closedPoller != 0 { // Close came in between, and left the rest to the reader.
		p.place.Or(closedPoller)
		p.d.remove(p)
	}
}

func (p *Poller[T]) miss(n uint64) {
	p.missed.Add(n)
	if p.d.alerter != nil {
		p.d.alerter.Alert(int(min(n, math.MaxInt)))
	}
}

// Next returns the poller's next element. While there is none it blocks, without using the processor. It returns false when
// the poller is closed, or the diode is closed and the poller has got every element.
//
// Next is the reader's: see [Poller].
func (p *Poller[T]) Next() (T, bool) { return p.NextContext(context.Background()) }

// NextContext is Next that also stops waiting when ctx is done. It then returns false, and ctx.Err() is not nil. An element
// that is there is returned even if ctx is done.
//
// NextContext is the reader's: see [Poller].
func (p *Poller[T]) NextContext(ctx context.Context) (T, bool) {
	if x, ok, ended := p.tryNext(); ok || ended {
		return x, ok
	}
	return wait(ctx, &p.parking, p.tryNext)
}

// Missed is the number of elements that the poller has lost because the writer lapped it, or evicted them, as far as the
// reader has found out: at the last call of TryNext, Next or NextContext.
func (p *Poller[T]) Missed() uint64 { return p.missed.Load() }

// Len is the number of elements that wait for the poller. It is exact while nobody sets or reads, and a number from 0 to the
// diode's Cap otherwise.
func (p *Poller[T]) Len() int {
	place := unpackPosition(p.place.Load() / (placeFlags + 1))
	head, _ := p.d.head()
	head.lap = place.lap + (head.lap-place.lap)<<1>>1 // A place has not got the first bit.
	return int(min(place.distance(head, p.d.size()), uint64(p.d.Len())))
}

// Close ends the reading: Next and TryNext return false from then on, also a Next that waits. Elements that the poller has
// not got are neither delivered to it nor missed. Closing twice is closing once.
func (p *Poller[T]) Close() {
	was := p.place.Or(closedPoller)
	if was&closedPoller != 0 {
		return
	}
	p.parking.wake() // While the poller is still listed: if Close is descheduled before this, the next Set wakes the reader.
	if was&copying == 0 {
		p.d.remove(p)
	}
}
