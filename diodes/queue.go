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
	q.parking = newParking(nil)
	q.spare, _ = q.cells.node()
}

// set puts x into the ring and returns the element that was dropped, after it has told the alerter. That is nil when the caller
// does it, after it has released the writer.
func (q *queue[T]) set(w *writer[T], x T, alerter Alerter) (dropped T, ok bool) {
	w.cell.set(x)
	old, filled := q.tryFill(&w.filler)
	if !filled {
		old, filled = q.fill(&w.filler, old)
	}
	if filled {
		w.pause.won()
		at := w.at
		w.at = at.next(q.size())
		if w.at.slot%hintEvery == 0 {
			q.moveHint(at, w.at)
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
	dropped = w.cell.take()
	alert(alerter)
	return dropped, true
}

// evict takes the oldest element out as a writer. It alerts as set does.
func (q *queue[T]) evict(w *writer[T], alerter Alerter) (x T, ok bool) {
	if _, ok = q.ring.evict(&w.filler); ok {
		w.cell = q.cells.at(w.spare)
		x = w.cell.take()
		alert(alerter)
	}
	return x, ok
}

// tryNext takes the oldest element out. When there is none, ended says whether the queue is closed, so that none will come.
func (q *queue[T]) tryNext() (x T, ok, ended bool) {
	for {
		anew(0)
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
			return q.cells.at(q.spare).take(), true, false
		}
	}
}

func (q *queue[T]) next(ctx context.Context) (T, bool) {
	if x, ok, ended := q.tryNext(); ok || ended {
		return x, ok
	}
	return wait(ctx, &q.parking, q.tryNext)
}

func (q *queue[T]) close() {
	q.ring.close()
	q.parking.wake()
}
