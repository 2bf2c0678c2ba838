// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"math/bits"
)

// An arena holds the cells of a diode, one per node. It grows without moving them.
//
// Only the owner of a node accesses its cell. The compare-and-swap that transfers the node orders the accesses.
type arena[T any] struct {
	first  []cell[T]                            // nodes 0 … len(first)-1; the slice is immutable after init
	handed atomicUint32                         // number of nodes handed out; publishes nothing
	more   [moreChunks]atomicPointer[[]cell[T]] // each publishes a zeroed chunk, once
}

const (
	firstChunk = 64 // cells; chunk k has firstChunk<<k
	moreChunks = nodeBits - 5
)

// init allocates the cells of the slots, nodes 0 … size-1, and of the first spares.
func (a *arena[T]) init(size, spares int) {
	a.first = make([]cell[T], size+spares)
	a.handed.Store(uint32(size))
}

// node returns a node without an owner. It fails after maxNodes nodes.
func (a *arena[T]) node() (uint32, bool) {
	n := a.handed.Add(1) - 1
	if n >= maxNodes {
		a.handed.Store(maxNodes)
		return 0, false
	}
	return n, true
}

func (a *arena[T]) at(node uint32) *cell[T] {
	if int(node) < len(a.first) {
		return &a.first[node]
	}
	return a.atMore(node)
}

func (a *arena[T]) atMore(node uint32) *cell[T] {
	n := int(node) - len(a.first)
	k := bits.Len(uint(n/firstChunk+1)) - 1
	chunk := a.more[k].Load()
	if chunk == nil {
		fresh := make([]cell[T], firstChunk<<k)
		if a.more[k].CompareAndSwap(nil, &fresh) {
			chunk = &fresh
		} else {
			chunk = a.more[k].Load()
		}
	}
	return &(*chunk)[n-firstChunk*(1<<k-1)]
}

func (a *arena[T]) writer(at position) (w writer[T], ok bool) {
	w.at, w.gone = at, at.lapBefore()
	if w.spare, ok = a.node(); ok {
		w.cell = a.at(w.spare)
	}
	return w, ok
}
