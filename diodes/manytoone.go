// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
)

const initialWriters = 4 // Sets and Evicts at the same time before one allocates

// ManyToOne is a diode with many writers and one reader. A ring of size 3:
//
//	Set a, b, c    holds a b c
//	Set d          holds b c d    returns a, true; under DropNewest: holds a b c, returns d, true
//	TryNext        holds c d      returns b, true
//
// Every element comes out exactly once: from the reader's methods, from Evict, or from the Set that dropped it. The ring
// then holds no reference to it. The elements of one writer are read in the order of its Sets.
//
// One goroutine at a time, the reader, may call TryNext, Next and NextContext. Any number may call the other methods, concurrently. A
// goroutine descheduled inside a method delays no Set of another, and no read unless it was about to wake the sleeping reader;
// then the next Set wakes it. The zero value is not usable.
type ManyToOne[T any] struct {
	queue[T]

	current atomicPointer[sharedWriter[T]] // the writer that Set tries first; publishes a writer of the list
	_       [cacheLine]byte
	writers sharedWriter[T] // a list that grows at its end only

	handles  mutex    // guards released
	released []uint32 // nodes of released Writers
}

// sharedWriter is a writer that goroutines hold in turn, inside Set and Evict.
type sharedWriter[T any] struct {
	held      atomicUint32                   // 1 while held; publishes the writer to the next holder
	writer[T]                                // the holder's
	next      atomicPointer[sharedWriter[T]] // publishes the next writer; set once
	_         [cacheLine]byte
}

func (w *sharedWriter[T]) hold() bool { return w.held.Load() == 0 && w.held.CompareAndSwap(0, 1) }

// NewManyToOne returns a diode for exactly size elements. It panics if size is not from 1 to [MaxSize]. The alerter, which may be
// nil, is told of each dropped element. The policy is [DropOldest] by default.
func NewManyToOne[T any](size int, alerter Alerter, policy ...DropPolicy) *ManyToOne[T] {
	d := &ManyToOne[T]{}
	d.init(size, initialWriters, alerter, policy)
	d.writers.writer, _ = d.arena.writer(position{})
	d.current.Store(&d.writers)
	last := &d.writers
	for range initialWriters - 1 {
		w := &sharedWriter[T]{}
		w.writer, _ = d.arena.writer(position{})
		last.next.Store(w)
		last = w
	}
	return d
}

// Set puts x into the ring. If that dropped an element, Set alerts and returns the element and true: the oldest if the ring was
// full, or x if the ring was full under [DropNewest] or closed.
//
// Set is wait-free, apart from the Alerter, and from the lock of a channel that it takes to wake the reader. After a lost race it
// backs off for 2–3 µs, once or twice, then for a fraction of that. After 65,536 lost races in a row (some tens of ms), or if hundreds of
// thousands of Sets run at once, it drops x. It allocates only when more Sets and Evicts than ever before run at once.
func (d *ManyToOne[T]) Set(x T) (dropped T, ok bool) {
	w := d.current.Load()
	if !w.held.CompareAndSwap(0, 1) {
		if w = d.holdSlow(); w == nil {
			d.ready.wake()
			alert(d.alerter)
			return x, true
		}
	}
	dropped, ok = d.set(&w.writer, x, nil)
	w.held.Store(0)
	if ok {
		alert(d.alerter)
	}
	return dropped, ok
}

// Evict removes the oldest element, alerts, and returns the element and true. It returns false if the ring is empty, or after as many
// lost races as make Set drop x. It is for a bound in another unit, such as bytes: evict until x fits, then set. Evict is wait-free and
// allocates as Set does. It takes O(log size) steps.
func (d *ManyToOne[T]) Evict() (x T, ok bool) {
	if w := d.borrow(); w != nil {
		x, ok = d.evict(&w.writer, nil)
		w.held.Store(0)
	}
	if ok {
		alert(d.alerter)
	}
	return x, ok
}

// holdSlow is called when the current writer is held. It backs off, so that the holder keeps the cache lines. If the holder
// still holds it, it may be descheduled: another writer becomes current.
func (d *ManyToOne[T]) holdSlow() *sharedWriter[T] {
	spin(maxBackoff)
	current := d.current.Load()
	if current.hold() {
		return current
	}
	w := d.borrow()
	if w != nil {
		d.current.CompareAndSwap(current, w)
	}
	return w
}

// borrow takes the first free writer of the list, or adds one. It returns nil if no node is left.
func (d *ManyToOne[T]) borrow() *sharedWriter[T] {
	for w := &d.writers; ; {
		if w.hold() {
			return w
		}
		next := w.next.Load()
		if next == nil {
			writer, ok := d.arena.writer(unpackPosition(d.hint.Load()))
			if !ok {
				return nil
			}
			next = &sharedWriter[T]{writer: writer}
			next.held.Store(1)
			for !w.next.CompareAndSwap(nil, next) {
				w = w.next.Load() // Another goroutine added one, and holds it.
			}
			return next
		}
		w = next
	}
}

// Writer returns a handle for a goroutine that sets often; it saves two atomic operations a Set. Release it after use. Writer takes a
// lock that no Set takes. It panics if no memory is left for it: the ring and the writers have room for 8,388,608.
func (d *ManyToOne[T]) Writer() *Writer[T] {
	d.handles.Lock()
	defer d.handles.Unlock()
	w := &Writer[T]{d: d}
	at := unpackPosition(d.hint.Load())
	if n := len(d.released); n > 0 {
		w.writer.at, w.writer.gone = at, at.lapBefore()
		w.writer.spare = d.released[n-1]
		w.writer.cell = d.arena.at(w.writer.spare)
		d.released = d.released[:n-1]
		return w
	}
	var ok bool
	if w.writer, ok = d.arena.writer(at); !ok {
		panic(fmt.Sprintf("diodes: no more writers than %d less the size of the ring", maxNodes))
	}
	return w
}

// A Writer sets elements of a [ManyToOne] and never allocates. One goroutine at a time may use it. The zero value is not usable.
type Writer[T any] struct {
	_      [cacheLine]byte
	writer writer[T]
	d      *ManyToOne[T] // nil after Release
	_      [cacheLine]byte
}

// Set is [ManyToOne.Set].
func (w *Writer[T]) Set(x T) (dropped T, ok bool) { return w.d.set(&w.writer, x, w.d.alerter) }

// Evict is [ManyToOne.Evict].
func (w *Writer[T]) Evict() (T, bool) { return w.d.evict(&w.writer, w.d.alerter) }

// Release returns the memory of w to the diode. No other method may be called after it. A second Release does nothing.
func (w *Writer[T]) Release() {
	if w.d == nil {
		return
	}
	w.d.handles.Lock()
	defer w.d.handles.Unlock()
	w.d.released = append(w.d.released, w.writer.spare)
	w.d = nil
}
