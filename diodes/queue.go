// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "context"

// A queue is a ring of elements with one reader: what OneToOne and ManyToOne have in common.
type queue[T any] struct {
	ring
	cells   cells[T]
	alerter Alerter

	_       [cacheLine]byte
	parking parking

	_ [cacheLine]byte
	// The reader's alone: its next position, which is not after that of the oldest element, and the node that it exchanges
	// for the node in the slot.
	at    position
	spare uint32
	_     [cacheLine]byte
}

// init makes a queue with cells for as many writers.
func (q *queue[T]) init(size, writers int, alerter Alerter, opts []Option) {
	q.ring.init(size, newOptions(opts).policy)
	q.cells.init(size, 1+writers)
	q.alerter = alerter
	q.parking = newParking()
	q.spare, _ = q.cells.node()
}

// set puts x into the ring and returns the element that was dropped. The caller alerts, after it has released the writer.
func (q *queue[T]) set(w *writer[T], x T) (dropped T, ok bool) {
	*w.cell = x
	old, filled := q.tryFill(&w.filler)
	if !filled {
		old, filled = q.fill(&w.filler, old)
	}
	if filled {
		w.pause.won()
		w.at = w.at.next(q.size())
		if w.at.slot%hintEvery == 0 {
			q.moveHint(w.at)
		}
		w.spare = old.node()
		w.cell = q.cells.at(w.spare)
	}
	// A refused Set wakes the reader too: the writer that filled the ring may have been descheduled before it did.
	q.parking.wake()
	if filled && !old.full() {
		return dropped, false
	}
	// The writer's cell holds the dropped element: the one that was in the slot, or x.
	return moveOut(w.cell), true
}

// evict takes the oldest element out as a writer. The caller alerts, as after set.
func (q *queue[T]) evict(w *writer[T]) (x T, ok bool) {
	if _, ok = q.ring.evict(&w.filler); ok {
		w.cell = q.cells.at(w.spare)
		x = moveOut(w.cell)
	}
	return x, ok
}

// alert tells the alerter of one element.
func (q *queue[T]) alert() {
	if q.alerter != nil {
		q.alerter.Alert(1)
	}
}

// tryNext takes the oldest element out. When there is none, ended says whether the queue is closed, so that none will come.
func (q *queue[T]) tryNext() (x T, ok, ended bool) {
	for {
		slot := &q.words[q.at.slot]
		old := word(slot.Load())
		switch {
		case old.lap() != q.at.lap:
			// A writer has filled the slot anew, or emptied it. A later element is the oldest now.
			q.at = old.oldestLeft(q.at.slot, q.size())
		case !old.full():
			// It waits for the very element that the reader waits for.
			return x, false, old.closed()
		case slot.CompareAndSwap(uint64(old), uint64(old.emptied(q.spare))):
			q.spare = old.node()
			q.at = q.at.next(q.size())
			return moveOut(q.cells.at(q.spare)), true, false
		}
	}
}

func (q *queue[T]) next() (T, bool) {
	for {
		if x, ok, ended := q.tryNext(); ok || ended {
			return x, ok
		}
		q.parking.arm()
		if x, ok, ended := q.tryNext(); ok || ended {
			q.parking.disarm()
			return x, ok
		}
		q.parking.sleep()
	}
}

func (q *queue[T]) nextContext(ctx context.Context) (T, bool) {
	for {
		if x, ok, ended := q.tryNext(); ok || ended {
			return x, ok
		}
		q.parking.arm()
		x, ok, ended := q.tryNext()
		if ok || ended {
			q.parking.disarm()
			return x, ok
		}
		if !q.parking.sleepContext(ctx) {
			q.parking.disarm()
			x, ok, _ = q.tryNext() // An element may have come just before ctx was done.
			return x, ok
		}
	}
}

func (q *queue[T]) close() {
	q.ring.close()
	q.parking.wake()
}
