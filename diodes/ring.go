// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
)

// MaxSize is the largest capacity of a diode, in elements.
const MaxSize = 8_000_000

// attempts is how many slots a writer may find filled, or lose to others, before it gives up. It bounds the steps of a Set.
// It is far more than happens: four writers on two processors, which do nothing but set, have made one of them lose some 2000
// times in a row.
const attempts = 1 << 16

// hintEvery is how many positions there are from one that moves the hint of a ring to the next: the words of a cache line.
const hintEvery = 8

// cacheLine is twice the line of common processors, because they fetch lines in pairs.
const cacheLine = 128

// A ring is what all diodes have in common: the slots. It knows nodes but not the elements in them.
//
// Elements go to positions, one after the other, lap after lap: position p is slot p mod size in lap p / size. All that is
// known of a slot is in its word, and each transition of a word is one compare-and-swap:
//
//	empty, waits for lap L ──set──▶ full, lap L ──take──▶ empty, waits for lap L+1
//	                                full, lap L ──set───▶ full, lap L+1              the element of lap L gives way
//
// To set is the writers'. To take is the reader's, and a writer's that evicts.
//
// Positions are filled strictly in order: nobody fills position p+1 who has not seen, in a word, that p is filled. And
// elements leave in that order too. So a word tells of more than its slot: all positions before the last one that was filled
// in it are filled as well, and all elements up to a lap before that one are gone.
type ring struct {
	words  []atomicUint64 // one a slot; see word
	policy DropPolicy

	_ [cacheLine]byte
	// hint is a position, packed, that is not after the next one to be filled, for those who don't know a later one. The
	// writer that fills the last of each hintEvery positions of a lap moves it, by compare-and-swap, and only forward. It is
	// behind by up to hintEvery, and by as many again for each goroutine that is about to move it, was beaten to it, or was
	// lapped before it did.
	hint atomicUint64
	_    [cacheLine]byte
}

// init makes the slots. Their nodes are 0 … size-1.
func (r *ring) init(size int, policy DropPolicy) {
	if size < 1 || size > MaxSize {
		panic(fmt.Sprintf("diodes: size must be from 1 to %d, not %d", MaxSize, size))
	}
	r.policy = policy
	r.words = make([]atomicUint64, size)
	for i := range r.words {
		r.words[i].Store(uint64(emptyWord(0, uint32(i))))
	}
}

func (r *ring) size() int { return len(r.words) }

// writer is what fills a ring. It belongs to one goroutine at a time.
type writer[T any] struct {
	filler
	cell *cell[T] // of the spare
}

// filler is the part of a writer that knows nothing of elements.
type filler struct {
	at    position // not after the next position to be filled
	spare uint32   // the node that the writer puts its next element in, and exchanges for the node in a slot
	pause pause
}

// tryFill exchanges the spare of w for the node in the slot at its position, if that is the next one to be filled and may be.
// That publishes the element in the spare. If old, the word that was in the slot, is full, its element gave way.
//
// This is all that a writer does who meets nobody. It is small enough to be inlined.
func (r *ring) tryFill(w *filler) (old word, filled bool) {
	slot := &r.words[w.at.slot]
	old = word(slot.Load())
	before := w.at.lap - old&^nodeMask // The difference to a closed slot is another.
	return old, (before == 0 || before == versionUnit && r.policy == DropOldest) &&
		slot.CompareAndSwap(uint64(old), uint64(fullWord(w.at.lap, w.spare)))
}

// fill goes on where tryFill failed. It fails when the ring is closed, or is full and drops the newest, or when others were
// faster attempts times.
func (r *ring) fill(w *filler, old word) (word, bool) {
	lost := 0
	for range attempts - 1 {
		switch {
		case !old.awaits(w.at.lap):
			w.at = r.past(w.at, old)
		case old.closed() || old.full() && r.policy == DropNewest:
			return old, false
		default: // Somebody else has just filled it.
			lost++
			w.pause.lost(lost)
		}
		anew(0)
		var filled bool
		if old, filled = r.tryFill(w); filled {
			return old, true
		}
	}
	return old, false
}

// past is where to look for the next position to be filled when the one at p is: behind it, or further on if the hint is.
func (r *ring) past(p position, old word) position {
	next := old.lastFilled(p.slot).next(r.size())
	if hint := r.hint.Load(); ahead(hint, next.pack()) {
		return unpackPosition(hint)
	}
	return next
}

// moveHint moves the hint to p. It is called by the writer that filled the position before.
//
// It moves the hint only while that position's slot has not been filled again. Positions wrap, so to a writer that has been
// descheduled for 2^38 laps its old p looks like one in the future. That writer finds another lap in the slot; and if it is
// descheduled after it has looked, another hint.
func (r *ring) moveHint(filled, p position) {
	hint := r.hint.Load()
	if ahead(p.pack(), hint) && word(r.words[filled.slot].Load()).awaits(filled.lap+lapUnit) {
		r.hint.CompareAndSwap(hint, p.pack()) // On failure another writer has moved it. If less far, the next one makes up for it.
	}
}

// head is the next position to be filled, and its word.
func (r *ring) head() (position, word) {
	p := unpackPosition(r.hint.Load())
	for {
		anew(p.pack())
		old := word(r.words[p.slot].Load())
		if old.awaits(p.lap) {
			return p, old
		}
		p = r.past(p, old)
	}
}

// oldest finds the oldest element in the ring, its position and its word, when head is the next position to be filled.
// Elements leave in order, so those inside are the last ones before the head, and the first of them is found by halving.
func (r *ring) oldest(head position) (at position, old word, ok bool) {
	// Of the size positions before the head, those before gone are known to be gone, and inside has been seen inside.
	gone, inside := 0, r.size()
	for gone < inside {
		middle := int(uint(gone+inside) / 2)
		p := head.lapBefore().plus(middle, r.size())
		if w := word(r.words[p.slot].Load()); w.holds(p.lap) {
			inside, at, old, ok = middle, p, w, true
		} else {
			gone = middle + 1
		}
	}
	return at, old, ok
}

// evict exchanges the spare of w for the node of the oldest element. at is the position that it had. ok is false when the
// ring is empty, or others were faster attempts times.
func (r *ring) evict(w *filler) (at position, ok bool) {
	lost := 0
	for range attempts {
		anew(0)
		next := &r.words[w.at.slot]
		head := word(next.Load())
		if !head.awaits(w.at.lap) {
			w.at = r.past(w.at, head)
			continue
		}
		at, old, found := r.oldest(w.at)
		if !found {
			if word(next.Load()) == head {
				return at, false // Nothing before the head, and the head not filled: the ring is empty.
			}
			continue
		}
		// It is still inside, and nothing older was when it was found, if this succeeds.
		if r.words[at.slot].CompareAndSwap(uint64(old), uint64(old.emptied(w.spare))) {
			w.pause.won()
			w.spare = old.node()
			return at, true
		}
		lost++
		w.pause.lost(lost)
	}
	return at, false
}

// close marks the next position to be filled, which then no writer fills. So there is no moment at which a writer puts an
// element in and a reader has been told already that nothing will come.
func (r *ring) close() {
	for {
		p, old := r.head()
		if old.closed() || r.words[p.slot].CompareAndSwap(uint64(old), uint64(old|closedFlag)) {
			return
		}
	}
}

// length is the number of elements in the ring: exact while nobody sets or takes, from 0 to size otherwise.
func (r *ring) length() int {
	head, _ := r.head()
	at, _, ok := r.oldest(head)
	if !ok {
		return 0
	}
	return int(at.distance(head, r.size()))
}
