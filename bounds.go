// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"sync/atomic"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

// boundedDiode is a diode with bounds for the items and the bytes in it, beside its capacity of batches. A batch that alone is
// above a bound takes all of it, so it waits alone.
//
// A push reserves room before it sets, and whoever takes a batch out frees what it had reserved after that. So what is
// reserved is never less than what is in the ring, with a batch above a bound counted as the bound.
type boundedDiode[D comparable] struct {
	*diodes.ManyToOne[batch[D]]
	policy DropPolicy
	items  bound
	bytes  bound
}

// bound is the room for something in a diode; without a limit it counts nothing.
type bound struct {
	limit    int64 // 0: none
	reserved atomic.Int64
}

func newBoundedDiode[D comparable](cfg DiodeConfig) *boundedDiode[D] {
	d := &boundedDiode[D]{
		ManyToOne: diodes.NewManyToOne[batch[D]](cfg.Capacity, nil, cfg.DropPolicy.option()),
		policy:    cfg.DropPolicy,
	}
	d.items.limit, d.bytes.limit = int64(cfg.MaxItems), int64(cfg.MaxBytes)
	return d
}

// push puts b into the diode, and calls drop with each batch that gives way for it: those that have waited longest until the
// bounds are kept, or b itself. It never waits, and evicts no more batches than b has items or bytes.
//
// The bounds may be exceeded only by pushes in progress. Each push makes up for the part by which it exceeds them itself: of
// batches above a bound that are pushed at the same time, exactly one stays. When several pushes evict at the same time, each
// may evict one batch more than needed.
func (d *boundedDiode[D]) push(b batch[D], drop func(batch[D])) {
	items, bytes, ok := d.reserve(b)
	if !ok {
		drop(b)
		return
	}
	out := func(x batch[D]) {
		d.free(x)
		items -= d.items.share(x.items)
		bytes -= d.bytes.share(x.bytes)
		drop(x)
	}
	if dropped, ok := d.Set(b); ok {
		out(dropped)
		if dropped == b {
			return // The diode is closed, or b gives way.
		}
	}
	for items > 0 && d.items.exceeded() || bytes > 0 && d.bytes.exceeded() {
		evicted, ok := d.Evict()
		if !ok {
			return // What is reserved is not in yet, or out already: others make up for it.
		}
		out(evicted)
	}
}

// reserve makes room for b, and returns by how many items and bytes that exceeds the bounds; false when there is no room and
// what waits is to stay.
func (d *boundedDiode[D]) reserve(b batch[D]) (items, bytes int64, ok bool) {
	if d.policy == DropOldest {
		return d.items.add(b.items), d.bytes.add(b.bytes), true
	}
	if !d.items.tryAdd(b.items) {
		return 0, 0, false
	}
	if !d.bytes.tryAdd(b.bytes) {
		d.items.sub(b.items)
		return 0, 0, false
	}
	return 0, 0, true
}

// free gives back the room of a batch that is out.
func (d *boundedDiode[D]) free(b batch[D]) {
	d.items.sub(b.items)
	d.bytes.sub(b.bytes)
}

// Next takes the oldest batch out; see [diodes.ManyToOne.Next].
func (d *boundedDiode[D]) Next() (batch[D], bool) { return d.taken(d.ManyToOne.Next()) }

// TryNext takes the oldest batch out; see [diodes.ManyToOne.TryNext].
func (d *boundedDiode[D]) TryNext() (batch[D], bool) { return d.taken(d.ManyToOne.TryNext()) }

// taken frees the room of a batch that the reader took, if it got one.
func (d *boundedDiode[D]) taken(b batch[D], ok bool) (batch[D], bool) {
	if ok {
		d.free(b)
	}
	return b, ok
}

// share is how much of the room n takes.
func (b *bound) share(n int) int64 { return min(int64(n), b.limit) }

func (b *bound) exceeded() bool { return b.reserved.Load() > b.limit }

// add reserves room for n and returns by how much that exceeds the limit.
func (b *bound) add(n int) int64 {
	share := b.share(n)
	if share == 0 {
		return 0 // Without a limit pushers share no memory here.
	}
	return min(share, b.reserved.Add(share)-b.limit)
}

func (b *bound) sub(n int) {
	if share := b.share(n); share != 0 {
		b.reserved.Add(-share)
	}
}

// tryAdd reserves room for n if there is any. Of those that try at the same time one at least gets through, if it fits.
func (b *bound) tryAdd(n int) bool {
	share := b.share(n)
	for {
		reserved := b.reserved.Load()
		if reserved+share > b.limit {
			return false
		}
		if share == 0 || b.reserved.CompareAndSwap(reserved, reserved+share) {
			return true
		}
	}
}
