// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"fmt"
)

// initialWriters is how many goroutines can be inside Set and Evict at the same time before the diode allocates for another one.
const initialWriters = 4

// ManyToOne is a diode with many writers and one reader.
//
// The ring holds exactly as many elements as it was made for. With room for 3:
//
//	Set a, b, c    holds a b c
//	Set d          holds b c d    Set returned a, true
//	TryNext        holds c d      TryNext returned b, true
//
// Under [DropNewest], Set d would have returned d, true, and the ring would hold a b c as before.
//
// Every element that was set comes out exactly once: from TryNext, Next or NextContext, from Evict, or from the Set that
// dropped it. The reader gets the elements of one writer in the order in which it set them. The ring keeps no reference to
// an element that is out.
//
// [ManyToOne.Set], [ManyToOne.Evict], [ManyToOne.Writer], [ManyToOne.Close], [ManyToOne.Len] and [ManyToOne.Cap] may be called
// by any goroutine at any time. [ManyToOne.TryNext], [ManyToOne.Next] and [ManyToOne.NextContext] may be called by one
// goroutine at a time, the reader. The zero value can't be used; [NewManyToOne] makes a ManyToOne.
//
// How it works: elements go to positions, one after the other, lap after lap; position p is slot p mod size in lap p / size.
// A writer that finds the slot of the next position empty swaps its element in; one that finds it full with the element of
// the lap before, which is the oldest in the ring, swaps that one out and its own in, in one step. The reader swaps elements
// out in order; when it finds that its slot is a lap further, it knows from that which element is the oldest now. No step
// leaves a slot half done, so positions fill strictly in order, and a goroutine that is descheduled in the middle of a call
// keeps nobody from setting or from reading what others have set. (One exception has to do with sleep: a reader that sleeps
// in Next is woken by the Set that puts an element in or, if that is descheduled just before it does, by the next one, even if
// that is refused.)
type ManyToOne[T any] struct {
	queue[T]

	// current is the writer in the list that a Set tries to hold first: the same for all, until somebody holds it for long.
	current atomicPointer[sharedWriter[T]]
	_       [cacheLine]byte
	// writers is a list that only grows, at its end, of what goroutines hold while they are inside Set or Evict.
	writers sharedWriter[T]

	handles mutex // guards released; held by Writer and Release only
	// released has the nodes of handles that were given back.
	released []uint32
}

// sharedWriter is a writer that one goroutine after the other holds.
type sharedWriter[T any] struct {
	held atomicUint32 // 1 while it is
	writer[T]
	next atomicPointer[sharedWriter[T]]
	_    [cacheLine]byte
}

// hold takes the writer, if nobody holds it.
func (w *sharedWriter[T]) hold() bool { return w.held.Load() == 0 && w.held.CompareAndSwap(0, 1) }

// NewManyToOne makes a diode with room for exactly size elements. It panics when size is less than 1 or more than [MaxSize].
//
// alerter is told of each element that gave way, one at a time; nil is allowed. The options are a [DropPolicy].
func NewManyToOne[T any](size int, alerter Alerter, opts ...Option) *ManyToOne[T] {
	d := &ManyToOne[T]{}
	d.init(size, initialWriters, alerter, opts)
	d.writers.writer, _ = d.cells.writer(position{})
	d.current.Store(&d.writers)
	last := &d.writers
	for range initialWriters - 1 {
		w := &sharedWriter[T]{}
		w.writer, _ = d.cells.writer(position{})
		last.next.Store(w)
		last = w
	}
	return d
}

// Set puts x into the ring. When that made an element give way, Set returns it and true, after it told the alerter: the
// oldest element if the ring was full, or x itself if it was full and the policy is [DropNewest], or after Close.
//
// Set is wait-free: it never blocks, and never waits for the reader or for another writer, wherever that was descheduled.
// (To wake a sleeping reader it takes, for a moment, the Go runtime's lock of a channel.) The number of its steps has a
// bound, whatever others do: a Set that has found 65536 slots taken by others, one after the other, gives up and hands x
// out; that can take some tens of milliseconds. So does one when hundreds of thousands of goroutines are inside Set at once.
// When another writer was faster it leaves the field to it, for two to three microseconds once or twice, and for a fraction of
// one each further time. It takes as long as the alerter does.
//
// Set allocates nothing, except, once, for a goroutine that is inside Set or Evict together with more others than ever before.
func (d *ManyToOne[T]) Set(x T) (dropped T, ok bool) {
	w := d.current.Load()
	if !w.held.CompareAndSwap(0, 1) {
		if w = d.meet(); w == nil {
			d.parking.wake()
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

// Evict takes the oldest element out of the ring as a writer, and tells the alerter of it; false when the ring is empty. It
// is for bounds of another kind than a number of elements: evict until it fits, then set.
//
// Evict is wait-free and allocates as little as Set. Like Set it gives up, and returns false, after it has lost to others
// 65536 times in a row, or when hundreds of thousands of goroutines are inside. It looks at some log2(size) slots.
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

// meet is called by a goroutine that finds the current writer held. Like one that has lost a swap it leaves the field to the
// other for a while, whose processor then keeps the memory of the writer and of some slots to itself. Who still holds the
// current writer after that may be descheduled, so another one becomes current.
func (d *ManyToOne[T]) meet() *sharedWriter[T] {
	spin(maxPause)
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

// borrow takes the first writer of the list that nobody holds, or adds one. It returns nil when there is no node left for
// another one. The list is hardly longer than there have been goroutines inside Set and Evict at once, or than initialWriters.
func (d *ManyToOne[T]) borrow() *sharedWriter[T] {
	for w := &d.writers; ; {
		if w.hold() {
			return w
		}
		next := w.next.Load()
		if next == nil {
			writer, ok := d.cells.writer(unpackPosition(d.hint.Load()))
			if !ok {
				return nil
			}
			next = &sharedWriter[T]{writer: writer}
			next.held.Store(1)
			for !w.next.CompareAndSwap(nil, next) {
				w = w.next.Load() // Somebody else added one, and holds it.
			}
			return next
		}
		w = next
	}
}

// TryNext takes the oldest element out of the ring; false when the ring is empty. It never blocks, and allocates nothing. It
// is lock-free: each step that others make it repeat is one with which a writer has dropped or evicted an element, or Close.
//
// TryNext is the reader's: see [ManyToOne].
func (d *ManyToOne[T]) TryNext() (T, bool) {
	x, ok, _ := d.tryNext()
	return x, ok
}

// Next takes the oldest element out of the ring. While the ring is empty it blocks, without using the processor. It returns
// false when the diode is closed and every element is out.
//
// Next is the reader's: see [ManyToOne].
func (d *ManyToOne[T]) Next() (T, bool) { return d.next(context.Background()) }

// NextContext is Next that also stops waiting when ctx is done. It then returns false, and ctx.Err() is not nil. An element
// that is there is returned even if ctx is done.
//
// NextContext is the reader's: see [ManyToOne].
func (d *ManyToOne[T]) NextContext(ctx context.Context) (T, bool) { return d.next(ctx) }

// Close ends the writing: each Set that comes after it hands its element out. The reader still gets what is in the ring and
// then, from Next, false. Close is lock-free and does not wait for the reader. Closing twice is closing once.
func (d *ManyToOne[T]) Close() { d.close() }

// Len is the number of elements in the ring. It is exact while nobody sets or reads, and a number from 0 to Cap otherwise. It
// looks at some log2(size) slots.
func (d *ManyToOne[T]) Len() int { return d.length() }

// Cap is the number of elements that the ring has room for.
func (d *ManyToOne[T]) Cap() int { return d.size() }

// Writer gives a goroutine its own way into the diode, with a Set that saves the search for a free one: two atomic
// operations. It is worth it for a goroutine that sets often for as long as it lives.
//
// Writer takes a lock that no Set takes. It panics when the diode has given out millions of them.
func (d *ManyToOne[T]) Writer() *Writer[T] {
	d.handles.Lock()
	defer d.handles.Unlock()
	w := &Writer[T]{d: d}
	at := unpackPosition(d.hint.Load())
	if n := len(d.released); n > 0 {
		w.writer.at = at
		w.writer.spare = d.released[n-1]
		w.writer.cell = d.cells.at(w.writer.spare)
		d.released = d.released[:n-1]
		return w
	}
	var ok bool
	if w.writer, ok = d.cells.writer(at); !ok {
		panic(fmt.Sprintf("diodes: no more writers than %d less the size of the ring", maxNodes))
	}
	return w
}

// A Writer is a goroutine's own way into a [ManyToOne]; [ManyToOne.Writer] makes one. All its methods may be called by one
// goroutine at a time. Others may call those of the diode, or have writers of their own, at the same time. The zero value
// can't be used.
type Writer[T any] struct {
	_      [cacheLine]byte
	writer writer[T]
	d      *ManyToOne[T] // nil once it was released
	_      [cacheLine]byte
}

// Set is [ManyToOne.Set]. It allocates nothing.
func (w *Writer[T]) Set(x T) (dropped T, ok bool) { return w.d.set(&w.writer, x, w.d.alerter) }

// Evict is [ManyToOne.Evict]. It allocates nothing.
func (w *Writer[T]) Evict() (T, bool) { return w.d.evict(&w.writer, w.d.alerter) }

// Release gives back the room for one element that the diode has set aside for w, to the next call of [ManyToOne.Writer]. w
// can't be used after it. Releasing twice is releasing once.
func (w *Writer[T]) Release() {
	if w.d == nil {
		return
	}
	w.d.handles.Lock()
	defer w.d.handles.Unlock()
	w.d.released = append(w.d.released, w.writer.spare)
	w.d = nil
}
