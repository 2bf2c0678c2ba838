// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"sync/atomic"
)

// MaxSize is the largest capacity of a diode, in elements.
const MaxSize = 8_000_000

// initialWriters is how many goroutines can be inside Set at the same time before the diode allocates for another one.
const initialWriters = 4

// attempts is how many slots a Set may find taken, or lose to others, before it hands its element out as dropped. It bounds
// the steps of a Set. To lose that often in a row takes more writers than any machine runs at once.
const attempts = 1 << 16

// cacheLine is twice the line of common processors, because they fetch lines in pairs.
const cacheLine = 128

// ManyToOne is a ring buffer for many writers and one reader that drops the oldest element when it is full.
//
// The ring holds exactly as many elements as it was made for. With room for 3:
//
//	Set a, b, c    holds a b c
//	Set d          holds b c d    Set returned a, true
//	TryNext        holds c d      TryNext returned b, true
//
// Every element that was set comes out exactly once: from TryNext or Next, or from the Set that dropped it. The reader gets
// the elements of one writer in the order in which it set them.
//
// [ManyToOne.Set], [ManyToOne.Close], [ManyToOne.Len] and [ManyToOne.Cap] may be called by any goroutine at any time.
// [ManyToOne.TryNext] and [ManyToOne.Next] may be called by one goroutine at a time, the reader.
//
// How it works: elements go to positions, one after the other, lap after lap; position p is slot p mod size in lap p / size.
// A writer that finds the slot of the next position empty swaps its element in; one that finds it full with the element of
// the lap before, which is the oldest in the ring, swaps that one out and its own in, in one step. The reader swaps elements
// out in order; when it finds an element of a later lap in its slot, it knows from that which one is now the oldest. No step
// leaves a slot half done, so positions fill strictly in order, and a goroutine that is descheduled in the middle of a call
// keeps nobody from setting or from reading what others have set. (A reader that sleeps in Next is woken by the Set that
// puts an element in, or by the next one if that is descheduled just before it does.)
type ManyToOne[T any] struct {
	words   []atomic.Uint64 // one a slot; see word
	cells   cells[T]
	alerter Alerter

	_ [cacheLine]byte
	// hint is where writers begin to look for the next position to fill. All positions before it are filled, and it is behind
	// the next one by no more than there are goroutines inside Set. A writer moves it, by compare-and-swap from where it
	// found it, so it only goes forward.
	hint atomic.Uint64

	_       [cacheLine]byte
	parking parking

	_ [cacheLine]byte
	// The reader's alone: its next position, and the node it swaps into the slot it empties.
	at    position
	spare uint32

	_ [cacheLine]byte
	// writers is a list that only grows, at its end.
	writers writer
}

// writer is what a goroutine holds while it is inside Set.
type writer struct {
	held atomic.Bool // taken by compare-and-swap; who fails goes on to the next writer of the list
	// The holder's alone: the node that it fills and swaps into a slot, and how long it pauses after a lost swap.
	spare uint32
	pause pause

	next atomic.Pointer[writer]
	_    [cacheLine]byte
}

// NewManyToOne makes a diode with room for exactly size elements. It panics when size is less than 1 or more than [MaxSize].
//
// alerter is told of each element that gave way; nil is allowed.
func NewManyToOne[T any](size int, alerter Alerter) *ManyToOne[T] {
	if size < 1 || size > MaxSize {
		panic(fmt.Sprintf("diodes: size must be from 1 to %d, not %d", MaxSize, size))
	}
	d := &ManyToOne[T]{
		words:   make([]atomic.Uint64, size),
		cells:   newCells[T](size + 1 + initialWriters),
		alerter: alerter,
		parking: newParking(),
	}
	for i := range d.words {
		node, _ := d.cells.node()
		d.words[i].Store(uint64(emptyWord(0, node)))
	}
	d.spare, _ = d.cells.node()
	d.writers.spare, _ = d.cells.node()
	last := &d.writers
	for range initialWriters - 1 {
		w := &writer{}
		w.spare, _ = d.cells.node()
		last.next.Store(w)
		last = w
	}
	return d
}

// Set puts x into the ring. When that made an element give way, Set returns it and true, after it told the alerter: the
// oldest element if the ring was full, x itself after Close.
//
// Set never blocks and never waits for the reader or another writer; it takes as long as the alerter does. The number of its
// steps has a bound, whatever others do: a Set that has found 65536 slots taken by others, one after the other, gives up and
// hands x out. So does one when hundreds of thousands of goroutines are inside Set at once. Set allocates only for a
// goroutine that is inside Set together with more others than the diode has had memory for, once.
func (d *ManyToOne[T]) Set(x T) (dropped T, ok bool) {
	if w := d.borrowWriter(); w != nil {
		dropped, ok = d.set(w, x)
		w.held.Store(false)
	} else {
		dropped, ok = x, true
	}
	if ok && d.alerter != nil {
		d.alerter.Alert(1)
	}
	return dropped, ok
}

// borrowWriter takes the first writer of the list that nobody holds, or adds one. It returns nil when there is no node left
// for another one. The list is never longer than there have been goroutines inside Set at once, or than initialWriters.
func (d *ManyToOne[T]) borrowWriter() *writer {
	for w := &d.writers; ; {
		if !w.held.Load() && w.held.CompareAndSwap(false, true) {
			return w
		}
		next := w.next.Load()
		if next == nil {
			node, ok := d.cells.node()
			if !ok {
				return nil
			}
			next = &writer{spare: node}
			next.held.Store(true)
			for !w.next.CompareAndSwap(nil, next) {
				w = w.next.Load() // Somebody else added one, and holds it.
			}
			return next
		}
		w = next
	}
}

func (d *ManyToOne[T]) set(w *writer, x T) (dropped T, ok bool) {
	*d.cells.at(w.spare) = x
	hint := d.hint.Load()
	pos := unpackPosition(hint)
	for range attempts {
		slot := &d.words[pos.slot]
		old := word(slot.Load())
		if old.closed() {
			break
		}
		if !old.fillable(pos.lap) {
			pos, hint = d.past(pos, old)
			continue
		}
		// Publishes x, and takes over the node in the slot with the element that gives way in it, if there is one.
		if !slot.CompareAndSwap(uint64(old), uint64(fullWord(pos.lap, w.spare))) {
			w.pause.lost()
			continue
		}
		w.pause.won()
		w.spare = old.node()
		d.hint.CompareAndSwap(hint, pos.next(len(d.words)).pack())
		if old.full() {
			dropped, ok = d.cells.take(w.spare), true
		}
		d.parking.wake()
		return dropped, ok
	}
	return d.cells.take(w.spare), true
}

// past is where to look after a slot that somebody has filled: the next one, or where the hint is now if that is further.
func (d *ManyToOne[T]) past(pos position, old word) (next position, hint uint64) {
	next = old.lastFilled(pos.slot).next(len(d.words))
	if hint = d.hint.Load(); ahead(hint, next.pack()) {
		next = unpackPosition(hint)
	}
	return next, hint
}

// TryNext takes the oldest element out of the ring; false when the ring is empty. It never blocks. While writers lap the
// reader faster than it looks, it follows them, and every step it is made to take is one that a writer has made.
//
// TryNext is the reader's: see [ManyToOne].
func (d *ManyToOne[T]) TryNext() (T, bool) {
	x, ok, _ := d.tryNext()
	return x, ok
}

// tryNext says in addition that the ring is empty and closed, so that nothing will come any more.
func (d *ManyToOne[T]) tryNext() (x T, ok, ended bool) {
	for {
		slot := &d.words[d.at.slot]
		old := word(slot.Load())
		switch {
		case old.lap() != d.at.lap:
			// Lapped: the slot holds the element of a later lap, so all up to one lap before it, this slot included, gave
			// way, and the oldest is in the slot after this one.
			d.at = position{lap: old.lap(), slot: d.at.slot}.previousLap().next(len(d.words))
		case !old.full():
			// It waits for the very element that the reader waits for.
			return x, false, old.closed()
		case slot.CompareAndSwap(uint64(old), uint64(old.emptied(d.spare))):
			d.spare = old.node()
			d.at = d.at.next(len(d.words))
			return d.cells.take(d.spare), true, false
		}
	}
}

// Next takes the oldest element out of the ring. While the ring is empty it blocks, without using the processor. It returns
// false when the diode is closed and every element is out.
//
// Next is the reader's: see [ManyToOne].
func (d *ManyToOne[T]) Next() (T, bool) {
	for {
		if x, ok, ended := d.tryNext(); ok || ended {
			return x, ok
		}
		d.parking.arm()
		if x, ok, ended := d.tryNext(); ok || ended {
			d.parking.disarm()
			return x, ok
		}
		d.parking.sleep()
	}
}

// Close ends the writing: each Set that comes after it hands its element out. The reader still gets what is in the ring and
// then, from Next, false. Close does not wait for the reader. Closing twice is closing once.
func (d *ManyToOne[T]) Close() {
	// The slot of the next position gets a mark that no writer can go past. So there is no moment at which a Set puts an
	// element in and the reader has already been told that nothing will come.
	pos := unpackPosition(d.hint.Load())
	for {
		slot := &d.words[pos.slot]
		old := word(slot.Load())
		if old.closed() {
			return
		}
		if !old.fillable(pos.lap) {
			pos, _ = d.past(pos, old)
			continue
		}
		if slot.CompareAndSwap(uint64(old), uint64(old|closedFlag)) {
			d.parking.wake()
			return
		}
	}
}

// Len is the number of elements in the ring. It looks at each slot in turn, so it is exact while nobody sets or reads, and a
// number from 0 to Cap otherwise.
func (d *ManyToOne[T]) Len() int {
	n := 0
	for i := range d.words {
		if word(d.words[i].Load()).full() {
			n++
		}
	}
	return n
}

// Cap is the number of elements that the ring has room for.
func (d *ManyToOne[T]) Cap() int { return len(d.words) }
