// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"slices"
)

// OneToMany is a diode with one writer and many readers: every [Poller] gets every element. The ring keeps the newest elements.
// A lapped poller misses its oldest ones, counts them when it reads, and delays neither the writer nor other pollers. A ring of size
// 3 with pollers p and q:
//
//	Set a, b, c     holds a b c
//	p.TryNext       a
//	Set d, e        holds c d e    return a, true and b, true
//	p.TryNext       c              1 missed: b
//	q.TryNext       c              2 missed: a and b
//
// There is no [DropPolicy]: if the ring kept the oldest elements, one slow or abandoned poller would stop the broadcast to all.
//
// Only one goroutine at a time, the writer, may call Set and Evict. Any number of goroutines may call the other methods concurrently.
// The zero value is not usable.
type OneToMany[T any] struct {
	// A poller announces its copy, then loads the slot again. The writer replaces the element, then loads the announcements. So the
	// poller sees that it is late, or the writer retires the node, and the last of them to read the element clears the cell.

	ring
	arena   arena[T]
	alerter Alerter

	_       [cacheLine]byte
	writer  writer[T]     // owned by the writer; its position is exactly the next one to fill
	retired []*retired    // owned by the writer; all nodes ever retired, for reuse
	known   *[]*Poller[T] // owned by the writer; no poller in this list copies before behind, now or later
	behind  uint64        // owned by the writer; a packed place

	_      [cacheLine]byte
	asleep atomicInt32 // number of armed pollers; publishes that the writer must wake them

	pollers atomicPointer[[]*Poller[T]] // publishes an immutable list
	changes mutex                       // held to replace pollers
}

// A retired holds a node whose element left the ring while pollers were copying it, or a free node.
type retired struct {
	node cell[uint32] // owned by the writer; a poller reads it from being marked until it releases
	left atomicInt32  // number of users, the writer and marked pollers, that still need the element; the last one gets the cell
	free atomicBool   // publishes to the writer that the cell is clear
}

// NewOneToMany returns a diode that holds exactly size elements. It panics unless size is between 1 and [MaxSize]. The alerter, which
// may be nil, is called by each poller with the number of elements that it missed, and by Set for each element dropped after Close.
func NewOneToMany[T any](size int, alerter Alerter) *OneToMany[T] {
	d := &OneToMany[T]{alerter: alerter}
	d.init(size, DropOldest)
	d.arena.init(size, 1)
	d.writer, _ = d.arena.writer(position{})
	d.pollers.Store(&[]*Poller[T]{})
	return d
}

// Set puts x into the ring. If the ring is full, Set removes the oldest element and returns it and true. After Close it returns x and
// true. A poller that is copying the removed element may still return it, so do not reuse its memory.
//
// Set is wait-free, apart from the channel lock that it takes to wake a poller. It takes one step, plus one per poller if any poller
// sleeps or has not read the removed element. It allocates only when more pollers copy removed elements at once than ever before.
func (d *OneToMany[T]) Set(x T) (removed T, ok bool) {
	w := &d.writer
	w.cell.set(x)
	old, filled := d.tryFill(&w.filler)
	if !filled { // Only Close makes tryFill fail: it marks the slot.
		removed = w.cell.take()
		d.wake() // Close may be descheduled just before its wake-up.
		alert(d.alerter)
		return removed, true
	}
	at := w.at
	w.at = at.next(d.size())
	if w.at.slot%hintEvery == 0 {
		d.moveHint(at, w.at)
	}
	d.wake()
	w.spare = old.node()
	if !old.full() {
		w.cell = d.arena.at(w.spare)
		return removed, false
	}
	return d.takeRemoved(at.lapBefore()), true
}

// Evict removes the oldest element, as a Set into a full ring does, and returns it and true. It returns false if the ring is empty. It
// takes O(log size) steps.
func (d *OneToMany[T]) Evict() (x T, ok bool) {
	if at, ok := d.evict(&d.writer.filler); ok {
		return d.takeRemoved(at), true
	}
	return x, false
}

// takeRemoved returns the element removed at p, which is in the spare. If pollers are copying it, they get the node, and the writer
// gets another spare.
func (d *OneToMany[T]) takeRemoved(p position) (x T) {
	w := &d.writer
	if pollers := d.pollers.Load(); pollers != d.known || !ahead61(d.behind, placeOf(p)) {
		if r := d.retire(*pollers, p); r != nil {
			x = d.arena.at(r.node.get()).get()
			d.release(r)
			w.cell = d.arena.at(w.spare)
			return x
		}
		d.known = pollers
	}
	w.cell = d.arena.at(w.spare)
	return w.cell.take()
}

// retire marks the pollers that are copying the element removed at p. If there are any, it retires the spare, which holds the
// element, takes a free node instead, and returns the retired one.
func (d *OneToMany[T]) retire(pollers []*Poller[T], p position) *retired {
	var r *retired
	at, lag := placeOf(d.writer.at), uint64(0)
	for _, poller := range pollers {
		// At most three rounds: a poller stops copying once and is closed once.
		v := poller.place.Load()
		for v&^closedPoller == placeOf(p)|copying {
			if r == nil {
				r = d.freeNode()
				free := r.node.get()
				r.node.set(d.writer.spare)
				d.writer.spare = free
				r.left.Store(1)
				r.free.Store(false)
			}
			r.left.Add(1)
			poller.retired.set(r)
			if poller.place.CompareAndSwap(v, v|marked) {
				break
			}
			r.left.Add(-1)
			v = poller.place.Load()
		}
		lag = max(lag, at-v&^placeFlags) // No place is after the writer's.
	}
	d.behind = at - min(lag, at-placeOf(p)) // Elements before p are long gone.
	return r
}

func (d *OneToMany[T]) freeNode() *retired {
	for _, r := range d.retired {
		if r.free.Load() {
			return r
		}
	}
	r := &retired{}
	node, _ := d.arena.node() // NewPoller ensures that there is one.
	r.node.set(node)
	d.retired = append(d.retired, r)
	return r
}

// release is called once for each count in r.left, after the element has been read. The last call clears the cell.
func (d *OneToMany[T]) release(r *retired) {
	if node := r.node.get(); r.left.Add(-1) == 0 {
		d.arena.at(node).take()
		r.free.Store(true)
	}
}

func (d *OneToMany[T]) wake() {
	if d.asleep.Load() != 0 {
		d.wakeAll()
	}
}

func (d *OneToMany[T]) wakeAll() {
	for _, p := range *d.pollers.Load() {
		p.ready.wake()
	}
}

// Close makes later Sets drop their elements. Pollers still get the elements in the ring. A second Close does nothing.
func (d *OneToMany[T]) Close() {
	d.close()
	d.wakeAll()
}

// NewPoller returns a poller that starts with the oldest element in the ring, or with the newest if from is [FromNewest]. If the ring is
// empty, it starts with the next Set. Close it after use: until then it costs the writer time. NewPoller panics if the size of the ring
// plus the number of open pollers would exceed 8,388,607.
func (d *OneToMany[T]) NewPoller(from ...StartFrom) *Poller[T] {
	start := option(from, FromNewest)
	p := &Poller[T]{d: d, ready: newEventcount(&d.asleep)}
	d.changes.Lock()
	defer d.changes.Unlock()
	pollers := *d.pollers.Load()
	if d.size()+2+len(pollers) > maxNodes {
		panic("diodes: too many pollers")
	}
	p.next = d.start(start)
	p.place.Store(placeOf(p.next))
	with := slices.Concat(pollers, []*Poller[T]{p})
	d.pollers.Store(&with)
	return p
}

func (d *OneToMany[T]) start(from StartFrom) position {
	head, _ := d.head()
	if from == FromNewest {
		newest := head.before(d.size())
		if state(d.slots[newest.slot].Load()).holds(newest.lap) {
			return newest
		}
		return head
	}
	if at, _, ok := d.oldest(head, head.lapBefore()); ok {
		return at
	}
	return head
}

// remove removes a poller that is closed and not copying from the list.
func (d *OneToMany[T]) remove(p *Poller[T]) {
	d.changes.Lock()
	defer d.changes.Unlock()
	without := slices.DeleteFunc(slices.Clone(*d.pollers.Load()), func(other *Poller[T]) bool { return other == p })
	d.pollers.Store(&without)
}
