// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"iter"
	"sync/atomic"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

// A diode holds batches and also bounds their items and bytes. A batch that alone exceeds a bound takes up all of it, so it waits alone.
//
// Any goroutine may call push and close at any time. Only one goroutine at a time, the reader, may call all and tryNext.
type diode[D comparable] struct {
	ring   *diodes.ManyToOne[Batch[D]]
	policy diodes.DropPolicy

	_ [cacheLine]byte
	// A push reserves room before it sets a batch, and room is freed after the batch has been taken out. So the reserved room is never
	// less than the room of the batches in the diode, where a batch above a bound counts as the bound. Both accounts share one cache
	// line, which each push writes.
	items, bytes account
	_            [cacheLine]byte
}

// cacheLine is twice the line of common processors, because they fetch lines in pairs.
const cacheLine = 128

// An account bounds items or bytes. Without a limit it counts nothing.
type account struct {
	limit    int64 // 0: none
	reserved atomic.Int64
}

func newDiode[D comparable](cfg Config) *diode[D] {
	d := &diode[D]{}
	if cfg.DropPolicy == DropNewest {
		d.policy = diodes.DropNewest
	}
	d.ring = diodes.NewManyToOne[Batch[D]](cfg.Capacity, nil, d.policy)
	d.items.limit, d.bytes.limit = int64(cfg.MaxItems), int64(cfg.MaxBytes)
	return d
}

// push puts b into the queue and calls drop with each dropped batch: the oldest ones until the bounds are met, or b itself after close,
// or if there is no room and the policy is [diodes.DropNewest]. It never waits, and evicts at most as many batches as b has items and
// bytes.
//
// Apart from the case below, only pushes in progress may exceed the bounds. Each push makes up for its own part of the excess: of several batches above a
// bound that are pushed concurrently, exactly one stays. Concurrent evicting pushes may each evict one batch more than needed.
//
// Against too many concurrent pushers it gives up, as the diode does: [diodes.ManyToOne.Set] returns b after 65,536 lost races in a row,
// and b is dropped although there is room. An eviction that loses as many leaves the bounds exceeded until the reader takes batches out.
func (d *diode[D]) push(b Batch[D], drop func(Batch[D])) {
	items, bytes, ok := d.reserve(b)
	if !ok {
		drop(b)
		return
	}
	out := func(x Batch[D]) {
		d.free(x)
		items -= d.items.share(x.Items)
		bytes -= d.bytes.share(x.Bytes)
		drop(x)
	}
	if dropped, ok := d.ring.Set(b); ok {
		out(dropped)
		if dropped == b {
			return
		}
	}
	for items > 0 && d.items.exceeded() || bytes > 0 && d.bytes.exceeded() {
		evicted, ok := d.ring.Evict()
		if !ok {
			return // The excess belongs to batches not yet set or already removed: their goroutines make up for it.
		}
		out(evicted)
	}
}

// all yields the batches in the order of their pushes. Whenever the queue is empty it yields false, then waits for the next batch. It
// ends when the queue is closed and empty.
func (d *diode[D]) all() iter.Seq2[Batch[D], bool] {
	return func(yield func(Batch[D], bool) bool) {
		for {
			b, ok := d.tryNext()
			if !ok {
				if !yield(b, false) {
					return
				}
				if b, ok = d.ring.Next(); !ok {
					return
				}
				d.free(b)
			}
			if !yield(b, true) {
				return
			}
		}
	}
}

// tryNext takes out the oldest batch. It returns false if the queue is empty.
func (d *diode[D]) tryNext() (Batch[D], bool) {
	b, ok := d.ring.TryNext()
	if ok {
		d.free(b)
	}
	return b, ok
}

// close makes later pushes drop their batches. The reader still gets the waiting ones.
func (d *diode[D]) close() { d.ring.Close() }

// reserve reserves room for b and returns by how many items and bytes this exceeds the bounds. It returns false if there is no room and
// the policy is [diodes.DropNewest].
func (d *diode[D]) reserve(b Batch[D]) (items, bytes int64, ok bool) {
	if d.policy == diodes.DropOldest {
		return d.items.add(b.Items), d.bytes.add(b.Bytes), true
	}
	if !d.items.tryAdd(b.Items) {
		return 0, 0, false
	}
	if !d.bytes.tryAdd(b.Bytes) {
		d.items.sub(b.Items)
		return 0, 0, false
	}
	return 0, 0, true
}

// free frees the room of a batch that has been taken out.
func (d *diode[D]) free(b Batch[D]) {
	d.items.sub(b.Items)
	d.bytes.sub(b.Bytes)
}

// share returns how much of the limit n takes up.
func (a *account) share(n int) int64 { return min(int64(n), a.limit) }

func (a *account) exceeded() bool { return a.reserved.Load() > a.limit }

// add reserves room for n and returns by how much that exceeds the limit.
func (a *account) add(n int) int64 {
	share := a.share(n)
	if share == 0 {
		return 0 // Without a limit, pushers share no memory here.
	}
	return min(share, a.reserved.Add(share)-a.limit)
}

func (a *account) sub(n int) {
	if share := a.share(n); share != 0 {
		a.reserved.Add(-share)
	}
}

// tryAdd reserves room for n if there is enough. At least one of several concurrent calls succeeds, if it fits.
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
