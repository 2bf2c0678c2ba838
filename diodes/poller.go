// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"math"
)

// A StartFrom selects the element in the ring with which a [Poller] starts.
type StartFrom uint8

// The starting points of a [Poller]. FromOldest is the default.
const (
	FromOldest StartFrom = iota
	FromNewest
)

// A Poller reads a [OneToMany] in the order of the Sets. Beginning with its first element, it reads or misses each one.
//
// Only one goroutine at a time may call TryNext, Next and NextContext. Any number of goroutines may call the other methods
// concurrently. The zero value is not usable.
type Poller[T any] struct {
	d *OneToMany[T]

	next    position       // owned by the reader
	retired cell[*retired] // owned by the writer until it marks the poller, then by the reader until it leaves
	missed  atomicUint64   // a count, to which only the reader adds
	ready   eventcount

	_     [cacheLine]byte
	place atomicUint64 // next, packed, and flags; publishes which element the reader copies. The writer and Close add flags
	_     [cacheLine]byte
}

const (
	copying = 1 << iota // the reader may be copying the element at its place
	marked              // the element left the ring: the reader must release it
	closedPoller

	placeFlags = 1<<iota - 1
)

// placeOf returns the place of p, without flags. It loses the first of 62 bits. ahead61 compares places as ahead does positions.
func placeOf(p position) uint64 { return p.pack() * (placeFlags + 1) }

func ahead61(a, b uint64) bool { return int64(a-b) > 0 }

// TryNext returns the next element and true, or false if there is none or the poller is closed. It alerts if it missed elements.
// It is lock-free, retrying only after the writer has lapped it again, and does not allocate. Only if Close is called concurrently does
// it take the lock of NewPoller and Close, and allocate.
func (p *Poller[T]) TryNext() (T, bool) {
	x, ok, _ := p.tryNext()
	return x, ok
}

// tryNext also reports whether no more elements will come.
func (p *Poller[T]) tryNext() (x T, ok, ended bool) {
	d := p.d
	missed := uint64(0)
	for !ok {
		forget(missed)
		place := p.place.Load()
		if ended = place&closedPoller != 0; ended {
			break
		}
		slot := &d.slots[p.next.slot]
		w := state(slot.Load())
		if w.awaits(p.next.lap) {
			ended = w.closed()
			break
		}
		if !w.holds(p.next.lap) {
			// The next element is gone. The slot tells which one is the oldest.
			oldest := w.oldestLeft(p.next.slot, d.size())
			missed += p.next.distance(oldest, d.size())
			p.next = oldest
			continue
		}
		// Announce, then look again. The writer replaces the element, then looks for announcements.
		if p.place.CompareAndSwap(place, placeOf(p.next)|copying) {
			if w = state(slot.Load()); w.holds(p.next.lap) {
				x, ok = d.arena.at(w.node()).get(), true
				p.next = p.next.next(d.size())
			}
			p.leave()
		} // Otherwise Close added its flag.
	}
	if missed > 0 {
		p.miss(missed)
	}
	return x, ok, ended
}

func (p *Poller[T]) leave() {
	was := p.place.Swap(placeOf(p.next))
	if was&marked != 0 {
		p.d.release(p.retired.get())
	}
	if was&closedPoller != 0 { // Close left the rest to the reader.
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

// Next is like TryNext but blocks until there is an element, or until the diode or the poller is closed.
func (p *Poller[T]) Next() (T, bool) { return p.NextContext(context.Background()) }

// NextContext is like Next but also returns false if there is no element and ctx is done.
func (p *Poller[T]) NextContext(ctx context.Context) (T, bool) {
	if x, ok, ended := p.tryNext(); ok || ended {
		return x, ok
	}
	return wait(ctx, &p.ready, p.tryNext)
}

// Missed returns the number of elements that p had missed as of its last read, because the writer lapped it or evicted them.
func (p *Poller[T]) Missed() uint64 { return p.missed.Load() }

// Len returns the number of unread elements. It is exact while the diode is idle; otherwise it is between 0 and the diode's Cap.
func (p *Poller[T]) Len() int {
	place := unpackPosition(p.place.Load() / (placeFlags + 1))
	head, _ := p.d.head()
	head.lap = place.lap + (head.lap-place.lap)<<1>>1 // A place lacks the first bit.
	return int(min(place.distance(head, p.d.size()), uint64(p.d.Len())))
}

// Close makes TryNext, Next and NextContext return false, including blocked calls. Unread elements do not count as missed. A second
// Close does nothing.
func (p *Poller[T]) Close() {
	was := p.place.Or(closedPoller)
	if was&closedPoller != 0 {
		return
	}
	p.ready.wake() // While still listed: if Close is descheduled before this, the next Set wakes the reader.
	if was&copying == 0 {
		p.d.remove(p)
	}
}
