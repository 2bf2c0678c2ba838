// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "context"

// A queue is the common part of OneToOne and ManyToOne: a ring of elements with one reader.
type queue[T any] struct {
	ring
	arena   arena[T]
	alerter Alerter

	_     [cacheLine]byte
	ready eventcount

	_     [cacheLine]byte
	at    position // owned by the reader; at or before the oldest element
	spare uint32   // owned by the reader; the node to exchange for the one in a slot
	_     [cacheLine]byte
}

func (q *queue[T]) init(size, writers int, alerter Alerter, policy []DropPolicy) {
	q.ring.init(size, option(policy, DropNewest))
	q.arena.init(size, 1+writers)
	q.alerter = alerter
	q.ready = newEventcount(nil)
	q.spare, _ = q.arena.node()
}

// set puts x into the ring, alerts if that drops an element, and returns the element. alerter is nil if the caller alerts.
func (q *queue[T]) set(w *writer[T], x T, alerter Alerter) (dropped T, ok bool) {
	w.cell.set(x)
	old, filled := q.tryFill(&w.filler)
	if !filled {
		old, filled = q.fill(&w.filler, old)
	}
	if filled {
		w.backoff.won()
		at := w.at
		w.at = at.next(q.size())
		if w.at.slot%hintEvery == 0 {
			q.moveHint(at, w.at)
		}
		w.spare = old.node()
		w.cell = q.arena.at(w.spare)
		q.ready.wake()
		if !old.full() {
			return dropped, false
		}
	} else { // The writer that filled the ring may be descheduled just before its wake-up.
		q.ready.wake()
	}
	// The writer's cell now holds the dropped element: the slot's old one, or x.
	dropped = w.cell.take()
	alert(alerter)
	return dropped, true
}

func (q *queue[T]) evict(w *writer[T], alerter Alerter) (x T, ok bool) {
	if _, ok = q.ring.evict(&w.filler); ok {
		w.cell = q.arena.at(w.spare)
		x = w.cell.take()
		alert(alerter)
	}
	return x, ok
}

// tryNext takes the oldest element. If there is none, ended reports whether the queue is closed.
func (q *queue[T]) tryNext() (x T, ok, ended bool) {
	for {
		forget(0)
		slot := &q.slots[q.at.slot]
		old := state(slot.Load())
		switch {
		case old.lap() != q.at.lap:
			// A writer filled or emptied the slot: a later element is the oldest.
			q.at = old.oldestLeft(q.at.slot, q.size())
		case !old.full():
			return x, false, old.closed()
		case slot.CompareAndSwap(uint64(old), uint64(old.emptied(q.spare))):
			q.spare = old.node()
			q.at = q.at.next(q.size())
			return q.arena.at(q.spare).take(), true, false
		}
	}
}

// TryNext removes the oldest element and returns it and true. It returns false if the ring is empty. It is lock-free, retrying only
// after a drop, an Evict or a Close, and never allocates.
func (q *queue[T]) TryNext() (T, bool) {
	x, ok, _ := q.tryNext()
	return x, ok
}

// Next is like TryNext but blocks while the ring is empty. It returns false once the diode is closed and empty.
func (q *queue[T]) Next() (T, bool) { return q.NextContext(context.Background()) }

// NextContext is like Next but also returns false when the ring is empty and ctx is done.
func (q *queue[T]) NextContext(ctx context.Context) (T, bool) {
	if x, ok, ended := q.tryNext(); ok || ended {
		return x, ok
	}
	return wait(ctx, &q.ready, q.tryNext)
}

// Close makes later Sets drop their elements. The reader still gets the elements in the ring. A second Close does nothing.
func (q *queue[T]) Close() {
	q.close()
	q.ready.wake()
}
