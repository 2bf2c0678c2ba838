// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
)

// MaxSize is the largest capacity of a diode, in elements.
const MaxSize = 8_000_000

// attempts bounds the slots found filled plus the swaps lost in one Set. Of four writers that only set, on two processors, one loses
// up to 2000 times in a row.
const attempts = 1 << 16

const hintEvery = 8 // positions between moves of the hint: the number of states in a cache line

const cacheLine = 128 // bytes: two lines, because processors fetch them in pairs

// A ring holds the slots of a diode. Position p is slot p mod size in lap p / size. A slot has two transitions:
//
//	empty, waits for lap L ──set──▶ full, lap L ──take──▶ empty, waits for lap L+1
//	                                full, lap L ──set───▶ full, lap L+1              drops the element of lap L
//
// A writer fills position p+1 only after it has seen p filled, and elements leave in order. So a slot filled in lap L proves that
// all previous positions are filled, and that all elements up to and including the slot's lap L-1 are gone.
type ring struct {
	slots  []atomicUint64 // states; each publishes the cell of its node
	policy DropPolicy     // immutable after init

	_ [cacheLine]byte
	// hint is a packed position, at or before the next one to fill. The writer that fills the last of hintEvery positions moves it,
	// only forward. It lags by hintEvery, plus hintEvery for each writer that is about to move it, lost that race, or was lapped first.
	hint atomicUint64
	_    [cacheLine]byte
}

func (r *ring) init(size int, policy DropPolicy) {
	if size < 1 || size > MaxSize {
		panic(fmt.Sprintf("diodes: size must be from 1 to %d, not %d", MaxSize, size))
	}
	r.policy = policy
	r.slots = make([]atomicUint64, size)
	for i := range r.slots {
		r.slots[i].Store(uint64(emptyState(0, uint32(i))))
	}
}

func (r *ring) size() int { return len(r.slots) }

// A writer fills a ring. One goroutine at a time owns it. Its filler does not depend on the element type.
type writer[T any] struct {
	filler
	cell *cell[T] // the spare's
}

type filler struct {
	at      position // at or before the next position to fill
	gone    position // all elements before it are gone
	spare   uint32   // the node to exchange for the one in a slot
	backoff backoff
}

// tryFill exchanges the spare of w for the node at w.at if that position is next and may be filled. This publishes the spare's
// element. If the slot's previous state, old, is full, its element was dropped. tryFill is small enough to inline.
func (r *ring) tryFill(w *filler) (old state, filled bool) {
	slot := &r.slots[w.at.slot]
	old = state(slot.Load())
	before := w.at.lap - old&^nodeMask // A closed slot gives another difference.
	return old, (before == 0 || before == versionUnit && r.policy == DropOldest) &&
		slot.CompareAndSwap(uint64(old), uint64(fullState(w.at.lap, w.spare)))
}

// fill continues after a failed tryFill. It fails if the ring is closed or full under DropNewest, or after attempts tries.
func (r *ring) fill(w *filler, old state) (state, bool) {
	lost := 0
	for range attempts - 1 {
		switch {
		case !old.awaits(w.at.lap):
			w.at = r.past(w.at, old)
		case old.closed() || old.full() && r.policy == DropNewest:
			return old, false
		default: // The swap was lost.
			lost++
			w.backoff.lost(lost)
		}
		forget(0)
		var filled bool
		if old, filled = r.tryFill(w); filled {
			return old, true
		}
	}
	return old, false
}

// past returns the position to try after finding the slot at p filled: the one after the slot's last, or the hint if further ahead.
func (r *ring) past(p position, old state) position {
	next := old.lastFilled(p.slot).next(r.size())
	if hint := r.hint.Load(); ahead(hint, next.pack()) {
		return unpackPosition(hint)
	}
	return next
}

// moveHint moves the hint to p after the caller has filled the position before p. Positions wrap, so if a writer was descheduled
// for 2^38 laps, its old p looks like a later one. Then the check of the slot's lap, or the compare-and-swap, fails.
func (r *ring) moveHint(filled, p position) {
	hint := r.hint.Load()
	if ahead(p.pack(), hint) && state(r.slots[filled.slot].Load()).awaits(filled.lap+lapUnit) {
		r.hint.CompareAndSwap(hint, p.pack()) // On failure another writer moved it.
	}
}

// head returns the next position to fill and its state.
func (r *ring) head() (position, state) {
	p := unpackPosition(r.hint.Load())
	for {
		forget(p.pack())
		old := state(r.slots[p.slot].Load())
		if old.awaits(p.lap) {
			return p, old
		}
		p = r.past(p, old)
	}
}

// oldest finds the oldest element, given the next position to fill and a position before which all elements are gone. Elements leave in
// order, so it searches from there in doubling steps, then by bisection.
func (r *ring) oldest(head, from position) (at position, old state, ok bool) {
	// Of the size positions before the head, those below index gone are gone, and the one at index inside, once found, is full.
	gone, inside := 0, r.size()
	if left := from.distance(head, r.size()); left < uint64(r.size()) {
		gone = r.size() - int(left)
	}
	for step := 0; gone < inside; {
		i := min(gone+step, int(uint(gone+inside)/2))
		p := head.lapBefore().plus(i, r.size())
		if w := state(r.slots[p.slot].Load()); w.holds(p.lap) {
			inside, at, old, ok = i, p, w, true
		} else {
			gone, step = i+1, 2*step+1
		}
	}
	return at, old, ok
}

// evict exchanges the spare of w for the node of the oldest element and returns the element's position. It fails if the ring is
// empty, or after attempts tries.
func (r *ring) evict(w *filler) (at position, ok bool) {
	lost := 0
	for range attempts {
		forget(0)
		next := &r.slots[w.at.slot]
		head := state(next.Load())
		if !head.awaits(w.at.lap) {
			w.at = r.past(w.at, head)
			continue
		}
		at, old, found := r.oldest(w.at, w.gone)
		if !found {
			if state(next.Load()) == head {
				return at, false // No element is before the head, which has not moved: the ring is empty.
			}
			continue
		}
		// Success proves that it was still the oldest.
		if r.slots[at.slot].CompareAndSwap(uint64(old), uint64(old.emptied(w.spare))) {
			w.backoff.won()
			w.spare, w.gone = old.node(), at.next(r.size())
			return at, true
		}
		lost++
		w.backoff.lost(lost)
	}
	return at, false
}

// close marks the next position to fill. No writer fills or passes it, so no element follows the end that a reader has seen.
func (r *ring) close() {
	for {
		p, old := r.head()
		if old.closed() || r.slots[p.slot].CompareAndSwap(uint64(old), uint64(old|closedFlag)) {
			return
		}
	}
}

// Len returns the number of elements in the ring. It is exact while the diode is idle; otherwise it is between 0 and Cap. It takes
// O(log size) steps.
func (r *ring) Len() int {
	head, _ := r.head()
	at, _, ok := r.oldest(head, head.lapBefore())
	if !ok {
		return 0
	}
	return int(at.distance(head, r.size()))
}

// Cap returns the capacity.
func (r *ring) Cap() int { return r.size() }
