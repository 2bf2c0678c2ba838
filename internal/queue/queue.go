// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue has the diode that batches wait in: bounded in batches, in items and in bytes.
package queue

import (
	"iter"
	"sync/atomic"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

// Batch is what was pushed at once.
type Batch[D comparable] struct {
	Data  D
	Items int
	Bytes int // 0 unless the queue bounds bytes
}

// Bounds says how much a queue holds, and what gives way when it is full.
type Bounds struct {
	Capacity int // batches, from 1 to [diodes.MaxSize]
	MaxItems int // 0: no bound
	MaxBytes int // 0: no bound
	Policy   diodes.DropPolicy
}

// Queue is a diode of batches. A batch that alone is above a bound takes all of it, so it waits alone.
//
// Any goroutine may call [Queue.Push], [Queue.Close], [Queue.Len] and [Queue.Cap] at any time. [Queue.All] and [Queue.TryNext] belong to
// one goroutine at a time, the reader.
type Queue[D comparable] struct {
	diode  *diodes.ManyToOne[Batch[D]]
	policy diodes.DropPolicy

	_ [cacheLine]byte
	// A push reserves room before it sets, and whoever takes a batch out frees its room after that. So what is reserved is never
	// less than what is in the diode, with a batch above a bound counted as the bound. Both accounts share one cache line: each
	// push writes it.
	items, bytes account
	_            [cacheLine]byte
}

// cacheLine is twice the line of common processors, because they fetch lines in pairs.
const cacheLine = 128

// account is the room for items or bytes. Without a limit it counts nothing.
type account struct {
	limit    int64 // 0: none
	reserved atomic.Int64
}

// New makes an empty queue. It panics when the capacity is out of range.
func New[D comparable](b Bounds) *Queue[D] {
	q := &Queue[D]{diode: diodes.NewManyToOne[Batch[D]](b.Capacity, nil, b.Policy), policy: b.Policy}
	q.items.limit, q.bytes.limit = int64(b.MaxItems), int64(b.MaxBytes)
	return q
}

// Push puts b into the queue, and calls drop with each batch that gives way for it: the oldest ones until the bounds are kept, or
// b itself, if the policy is [diodes.DropNewest] and there is no room, or after Close. It never waits, allocates nothing, and evicts
// no more batches than b has items or bytes.
//
// The bounds may be exceeded only by pushes in progress. Each push makes up for the part by which it exceeds them: of batches above
// a bound that are pushed at the same time, exactly one stays. When several pushes evict at the same time, each may evict one batch
// more than needed.
//
// Against a swarm of pushers it gives up, as the diode does: [diodes.ManyToOne.Set] hands b out after it has lost 65,536 races in a
// row, and b is dropped although there is room. An eviction that loses as many leaves the bounds exceeded until the reader takes
// batches out.
func (q *Queue[D]) Push(b Batch[D], drop func(Batch[D])) {
	items, bytes, ok := q.reserve(b)
	if !ok {
		drop(b)
		return
	}
	out := func(x Batch[D]) {
		q.free(x)
		items -= q.items.share(x.Items)
		bytes -= q.bytes.share(x.Bytes)
		drop(x)
	}
	if dropped, ok := q.diode.Set(b); ok {
		out(dropped)
		if dropped == b {
			return
		}
	}
	for items > 0 && q.items.exceeded() || bytes > 0 && q.bytes.exceeded() {
		evicted, ok := q.diode.Evict()
		if !ok {
			return // What is reserved is not in yet, or out already: the goroutine that reserved it makes up for it.
		}
		out(evicted)
	}
}

// All yields the batches in the order in which they were pushed. Each time that none is left it yields false, and then waits for the next
// one. It ends when the queue is closed and empty.
func (q *Queue[D]) All() iter.Seq2[Batch[D], bool] {
	return func(yield func(Batch[D], bool) bool) {
		for {
			b, ok := q.TryNext()
			if !ok {
				if !yield(b, false) {
					return
				}
				if b, ok = q.diode.Next(); !ok {
					return
				}
				q.free(b)
			}
			if !yield(b, true) {
				return
			}
		}
	}
}

// TryNext takes the oldest batch out. It returns false when the queue is empty.
func (q *Queue[D]) TryNext() (Batch[D], bool) {
	b, ok := q.diode.TryNext()
	if ok {
		q.free(b)
	}
	return b, ok
}

// Close makes each later push drop its batch. The reader still gets what waits.
func (q *Queue[D]) Close() { q.diode.Close() }

// Len returns the number of batches that wait.
func (q *Queue[D]) Len() int { return q.diode.Len() }

// Cap returns the number of batches that the queue has room for.
func (q *Queue[D]) Cap() int { return q.diode.Cap() }

// reserve makes room for b, and returns by how many items and bytes that exceeds the bounds. It returns false when there is no room and
// the policy is to keep what waits.
func (q *Queue[D]) reserve(b Batch[D]) (items, bytes int64, ok bool) {
	if q.policy == diodes.DropOldest {
		return q.items.add(b.Items), q.bytes.add(b.Bytes), true
	}
	if !q.items.tryAdd(b.Items) {
		return 0, 0, false
	}
	if !q.bytes.tryAdd(b.Bytes) {
		q.items.sub(b.Items)
		return 0, 0, false
	}
	return 0, 0, true
}

// free gives back the room of a batch that is out.
func (q *Queue[D]) free(b Batch[D]) {
	q.items.sub(b.Items)
	q.bytes.sub(b.Bytes)
}

// share is how much of the room n takes.
func (a *account) share(n int) int64 { return min(int64(n), a.limit) }

func (a *account) exceeded() bool { return a.reserved.Load() > a.limit }

// add reserves room for n and returns by how much that exceeds the limit.
func (a *account) add(n int) int64 {
	share := a.share(n)
	if share == 0 {
		return 0 // Without a limit pushers share no memory here.
	}
	return min(share, a.reserved.Add(share)-a.limit)
}

func (a *account) sub(n int) {
	if share := a.share(n); share != 0 {
		a.reserved.Add(-share)
	}
}

// tryAdd reserves room for n if there is any. Of concurrent calls at least one gets through, if it fits.
func (a *account) tryAdd(n int) bool {
	share := a.share(n)
	for {
		reserved := a.reserved.Load()
		if reserved+share > a.limit {
			return false
		}
		if share == 0 || a.reserved.CompareAndSwap(reserved, reserved+share) {
			return true
		}
	}
}
