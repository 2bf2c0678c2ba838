// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"slices"
)

// OneToMany is a diode with one writer and many readers, each of which gets every element: a broadcast.
//
// The ring keeps the newest elements, as many as it was made for, whether they have been read or not. Each reader is a
// [Poller] with a place of its own. One that is so slow that the writer laps it loses its oldest elements; it is told how
// many, and disturbs neither the writer nor other readers. With room for 3, and two pollers p and q:
//
//	Set a, b, c     holds a b c
//	p.TryNext       a
//	Set d, e        holds c d e    the Sets returned a, true and b, true
//	p.TryNext       c              1 missed: b
//	q.TryNext       c              2 missed: a and b
//
// For each poller, the elements that it has got, those that it missed, and those that wait for it are together those that were
// set since it was made and those that it found in the ring. That a poller has missed some it finds out, and counts, when it
// reads.
//
// [OneToMany.Set] and [OneToMany.Evict] may be called by one goroutine at a time, the writer. All other methods may be called
// by any goroutine at any time. The zero value can't be used; [NewOneToMany] makes a OneToMany.
//
// There is no [DropPolicy]. To keep the oldest elements the ring would have to know when every poller has read them, and a
// single poller that is slow, or was abandoned, would stop the broadcast to all. So the newest are kept, and a slow poller
// loses only elements of its own.
//
// How it works: the writer goes round the ring as in [ManyToOne]. A poller that reads an element announces that first, in a
// word of its own, and then looks whether the element is still there. The writer replaces an element first and then looks at
// the announcements. So either the poller sees that it came too late or the writer sees that the poller copies the element
// just now; then the last one to copy it clears its place in memory, and the writer takes another place meanwhile.
type OneToMany[T any] struct {
	ring
	cells   cells[T]
	alerter Alerter

	_ [cacheLine]byte
	// The writer's alone. Its position is exactly the next one to be filled.
	writer  writer[T]
	retired []*retired // whatever it needed so far
	// None of the pollers in the list known copies an element at a position before behind, packed, or will.
	known  *[]*Poller[T]
	behind uint64

	_      [cacheLine]byte
	asleep atomicInt32 // how many pollers are asleep, or about to be

	pollers atomicPointer[[]*Poller[T]] // replaced as a whole, by those that hold changes
	changes mutex                       // held by NewPoller, Close of a poller, and the read that this Close met only
}

// retired is a node whose element left the ring while pollers were copying it, or another that is free in its stead.
type retired struct {
	node cell[uint32] // the writer's; pollers read it between being marked and being counted out
	left atomicInt32  // those who still have to look at the element: pollers that were marked, and the writer
	free atomicBool   // the cell is cleared and the node is the writer's; set by the last of them
}

// NewOneToMany makes a diode with room for exactly size elements. It panics when size is less than 1 or more than [MaxSize].
//
// alerter is told by each poller of the elements that it missed, on the goroutine that reads, when it finds out; and of each
// element that Set refuses after Close. nil is allowed.
func NewOneToMany[T any](size int, alerter Alerter) *OneToMany[T] {
	d := &OneToMany[T]{alerter: alerter}
	d.init(size, DropOldest)
	d.cells.init(size, 1)
	d.writer, _ = d.cells.writer(position{})
	d.pollers.Store(&[]*Poller[T]{})
	return d
}

// Set puts x into the ring. When that made an element leave the ring, Set returns it and true: the oldest element if the
// ring was full, or x itself after Close. An element that leaves may have been read by some pollers, or by all; those that
// have not read it will find that they missed it. A poller that was copying it at that moment may still return it, so what it
// holds must not be used again for something else.
//
// Set is wait-free: it never blocks and never waits for a poller. (To wake one that sleeps it takes, for a moment, the Go
// runtime's lock of a channel.) It takes one step, and a further one for each poller when one sleeps, or when an element
// leaves that one has not read or is just copying. It allocates only when more pollers than ever before are caught while
// they copy.
//
// Set is the writer's: see [OneToMany].
func (d *OneToMany[T]) Set(x T) (gone T, ok bool) {
	w := &d.writer
	w.cell.set(x)
	old, filled := d.tryFill(&w.filler)
	if !filled { // Only Close, which marks the slot, can be why.
		gone = w.cell.take()
		d.wake() // Close may have been descheduled before it did.
		alert(d.alerter)
		return gone, true
	}
	at := w.at
	w.at = at.next(d.size())
	if w.at.slot%hintEvery == 0 {
		d.moveHint(at, w.at)
	}
	d.wake()
	w.spare = old.node()
	if !old.full() {
		w.cell = d.cells.at(w.spare)
		return gone, false
	}
	return d.letGo(at.lapBefore()), true
}

// Evict takes the oldest element out of the ring; false when the ring is empty. Pollers that have not read it will find that
// they missed it; one that was copying it may still return it. It is for bounds of another kind than a number of elements. It
// is wait-free, as Set is, and looks at some log2(size) slots.
//
// Evict is the writer's: see [OneToMany].
func (d *OneToMany[T]) Evict() (x T, ok bool) {
	if at, ok := d.evict(&d.writer.filler); ok {
		return d.letGo(at), true
	}
	return x, false
}

// letGo moves out the element that left the ring at the position p, whose node is now the spare. When pollers copy it just
// now, it leaves the clearing to them and gets another spare.
func (d *OneToMany[T]) letGo(p position) (x T) {
	w := &d.writer
	if pollers := d.pollers.Load(); pollers != d.known || !ahead61(d.behind, copies(p)) {
		if r := d.retire(*pollers, p); r != nil {
			x = d.cells.at(r.node.get()).get()
			d.release(r)
			w.cell = d.cells.at(w.spare)
			return x
		}
		d.known = pollers
	}
	w.cell = d.cells.at(w.spare)
	return w.cell.take()
}

// retire marks the pollers that copy the element at the position p, which has left the ring. If there are any, it exchanges
// the spare for a free node and returns the spare as retired.
func (d *OneToMany[T]) retire(pollers []*Poller[T], p position) *retired {
	var r *retired
	at, lag := copies(d.writer.at), uint64(0)
	for _, poller := range pollers {
		// At most three rounds: a poller ends its copying once, and is closed once.
		v := poller.place.Load()
		for v&^closedPoller == copies(p)|copying {
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
	d.behind = at - min(lag, at-copies(p)) // What was before p has left the ring long ago.
	return r
}

// freeNode returns one that is free. There are no more than pollers that were caught at once.
func (d *OneToMany[T]) freeNode() *retired {
	for _, r := range d.retired {
		if r.free.Load() {
			return r
		}
	}
	r := &retired{}
	node, _ := d.cells.node() // NewPoller has seen to it that there is one.
	r.node.set(node)
	d.retired = append(d.retired, r)
	return r
}

// release is called by each that had to look at the element of a retired node, after it did. The last one clears the cell.
func (d *OneToMany[T]) release(r *retired) {
	if node := r.node.get(); r.left.Add(-1) == 0 {
		d.cells.at(node).take()
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
		p.parking.wake()
	}
}

// Close ends the writing: each Set that comes after it hands its element out. Pollers still get what is in the ring and then,
// from Next, false. Close does not wait for them. Closing twice is closing once.
func (d *OneToMany[T]) Close() {
	d.close()
	d.wakeAll()
}

// Len is the number of elements in the ring, read or not. It is exact while the writer does nothing, and a number from 0 to Cap
// otherwise. It looks at some log2(size) slots.
func (d *OneToMany[T]) Len() int { return d.length() }

// Cap is the number of elements that the ring has room for.
func (d *OneToMany[T]) Cap() int { return d.size() }

// NewPoller makes a reader. It starts with the oldest element in the ring or, with the option [FromNewest], with the newest;
// with the next that is set if the ring is empty. The writer may be at work meanwhile.
//
// A poller that is not used any more has to be closed: the writer minds it until then. NewPoller panics when there are
// hundreds of thousands of them.
func (d *OneToMany[T]) NewPoller(opts ...PollerOption) *Poller[T] {
	var start StartFrom
	for _, opt := range opts {
		if opt != nil {
			opt.applyPoller(&start)
		}
	}
	p := &Poller[T]{d: d, parking: newParking(&d.asleep)}
	d.changes.Lock()
	defer d.changes.Unlock()
	pollers := *d.pollers.Load()
	if d.size()+2+len(pollers) > maxNodes {
		panic("diodes: too many pollers")
	}
	p.next = d.start(start)
	p.place.Store(copies(p.next))
	with := slices.Concat(pollers, []*Poller[T]{p})
	d.pollers.Store(&with)
	return p
}

func (d *OneToMany[T]) start(from StartFrom) position {
	head, _ := d.head()
	if from == FromNewest {
		newest := head.before(d.size())
		if word(d.words[newest.slot].Load()).holds(newest.lap) {
			return newest
		}
		return head
	}
	if at, _, ok := d.oldest(head); ok {
		return at
	}
	return head
}

// remove takes a closed poller, which copies nothing any more, out of the list.
func (d *OneToMany[T]) remove(p *Poller[T]) {
	d.changes.Lock()
	defer d.changes.Unlock()
	without := slices.DeleteFunc(slices.Clone(*d.pollers.Load()), func(other *Poller[T]) bool { return other == p })
	d.pollers.Store(&without)
}
