// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
)

const initialWriters = 4 // concurrent Sets and Evicts before one allocates

// ManyToOne is a diode with many writers and one reader. A ring of size 3:
//
//	Set a, b, c    holds a b c
//	Set d          holds b c d    returns a, true; under DropNewest: holds a b c, returns d, true
//	TryNext        holds c d      returns b, true
//
// Every element comes out exactly once: from the reader's methods, from Evict, or from the Set that dropped it. The ring
// then holds no reference to it. The elements of one writer are read in the order of its Sets.
//
// Only one goroutine at a time, the reader, may call TryNext, Next and NextContext. Any number of goroutines may call the other
// methods concurrently. A goroutine descheduled inside a method delays no Set by another goroutine. It delays the reader only if it
// was about to wake the reader; then the next Set does so. The zero value is not usable.
type ManyToOne[T any] struct {
	queue[T]

	current atomicPointer[sharedWriter[T]] // the writer that Set tries first; publishes a writer of the list
	_       [cacheLine]byte
	writers sharedWriter[T] // a list that grows only at its end

	handles  mutex    // guards released
	released []uint32 // nodes of released Writers
}

// A sharedWriter is a writer that goroutines hold in turn, during Set and Evict.
type sharedWriter[T any] struct {
	held      atomicUint32                   // 1 while held; publishes the writer to the next holder
	writer[T]                                // owned by the holder
	next      atomicPointer[sharedWriter[T]] // publishes the next writer; set once
	_         [cacheLine]byte
}

func (w *sharedWriter[T]) hold() bool { return w.held.Load() == 0 && w.held.CompareAndSwap(0, 1) }

// NewManyToOne returns a diode that holds exactly size elements. It panics unless size is between 1 and [MaxSize]. The alerter, which
// may be nil, is called for each dropped element. The default policy is [DropOldest].
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

// Set puts x into the ring. If that drops an element, Set alerts and returns the element and true: the oldest if the ring was full,
// or x if the ring was closed, or full under [DropNewest].
//
// Set is wait-free, apart from the Alerter and the channel lock that it takes to wake the reader. After a lost race it backs off for
// 2–3 µs, once or twice, then for a fraction of that. After 65,536 lost races in a row (some tens of ms), or if hundreds of thousands
// of Sets run at once, it drops x. It allocates only when more Sets and Evicts run at once than ever before.
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
// lost races as make Set drop x. Use it to bound the ring in another unit, such as bytes: evict until x fits, then set it. Evict is
// wait-free and allocates as Set does. It takes O(log size) steps.
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

// holdSlow is called when the current writer is held. It backs off so that the holder keeps the cache lines. If the writer is still
// held, its holder may be descheduled, so another writer becomes current.
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

// borrow holds the first free writer in the list, or adds one. It returns nil if no node is left.
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

// Writer returns a handle for a goroutine that sets often. It saves two atomic operations per Set. Release it after use. Writer takes
// a lock that Set never takes. The ring and its writers share 8,388,608 cells; Writer panics if none is left.
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
		panic(fmt.Sprintf("diodes: too many writers: the ring and its writers share %d cells", maxNodes))
	}
	return w
}

// A Writer sets elements in a [ManyToOne] and never allocates. Only one goroutine at a time may use it. The zero value is not usable.
type Writer[T any] struct {
	_      [cacheLine]byte
	writer writer[T]
	d      *ManyToOne[T] // nil after Release
	_      [cacheLine]byte
}

// Set is like [ManyToOne.Set].
func (w *Writer[T]) Set(x T) (dropped T, ok bool) { return w.d.set(&w.writer, x, w.d.alerter) }

// Evict is like [ManyToOne.Evict].
func (w *Writer[T]) Evict() (T, bool) { return w.d.evict(&w.writer, w.d.alerter) }

// Release returns the memory of w to the diode. No other method may be called afterwards. A second Release does nothing.
func (w *Writer[T]) Release() {
	if w.d == nil {
		return
	}
	w.d.handles.Lock()
	defer w.d.handles.Unlock()
	w.d.released = append(w.d.released, w.writer.spare)
	w.d = nil
}
