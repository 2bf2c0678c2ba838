// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"math/bits"
)

// cells is memory for values that grows without moving what it holds: a node keeps its cell for good.
//
// A cell itself is plain memory. It is read and written only by the owner of its node, and ownership passes with the
// compare-and-swap that passes the node, which orders the old owner's accesses before the new owner's.
type cells[T any] struct {
	first  []cell[T]    // nodes 0 … len(first)-1; never written after init, apart from the cells
	handed atomicUint32 // nodes given out so far
	more   [moreChunks]atomicPointer[[]cell[T]]
}

// Chunk k of what is added later holds firstChunk<<k cells.
const (
	firstChunk = 64
	moreChunks = nodeBits - 5
)

// init makes the cells for the slots of a ring, whose nodes are 0 … size-1, and for some that node gives out.
func (c *cells[T]) init(size, spares int) {
	c.first = make([]cell[T], size+spares)
	c.handed.Store(uint32(size))
}

// node gives out a node that nobody owns yet; false when there are no more.
func (c *cells[T]) node() (uint32, bool) {
	n := c.handed.Add(1) - 1
	if n >= maxNodes {
		c.handed.Store(maxNodes)
		return 0, false
	}
	return n, true
}

// at is the cell of a node that the caller owns.
func (c *cells[T]) at(node uint32) *cell[T] {
	if int(node) < len(c.first) {
		return &c.first[node]
	}
	return c.atMore(node)
}

func (c *cells[T]) atMore(node uint32) *cell[T] {
	n := int(node) - len(c.first)
	k := bits.Len(uint(n/firstChunk+1)) - 1
	chunk := c.more[k].Load()
	if chunk == nil {
		fresh := make([]cell[T], firstChunk<<k)
		if c.more[k].CompareAndSwap(nil, &fresh) {
			chunk = &fresh
		} else {
			chunk = c.more[k].Load()
		}
	}
	return &(*chunk)[n-firstChunk*(1<<k-1)]
}

// writer makes a writer that starts at a position, with a spare that nobody owns yet; false when there are no more.
func (c *cells[T]) writer(at position) (w writer[T], ok bool) {
	w.at = at
	if w.spare, ok = c.node(); ok {
		w.cell = c.at(w.spare)
	}
	return w, ok
}
