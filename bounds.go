// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"sync/atomic"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

// boundedDiode is a diode with bounds for the items and the bytes in it, beside its capacity of batches.
//
// A push reserves room before it sets, and whoever takes a batch out frees what it had reserved after that. So what is
// reserved is never less than what is in the ring.
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

// fits says whether b alone is within the bounds.
func (d *boundedDiode[D]) fits(b batch[D]) bool {
	return d.items.holds(b.items) && d.bytes.holds(b.bytes)
}

// push puts b, which fits, into the diode, and calls drop with each batch that gives way for it: those that have waited longest
// until the bounds are kept, or b itself. It waits for nobody: it evicts as many batches as the diode holds at most.
//
// Whoever leaves has seen the bounds kept, so they are exceeded by no more than the batches of those who are inside. And when
// several evict at the same time, each may evict one batch more than it takes.
func (d *boundedDiode[D]) push(b batch[D], drop func(batch[D])) {
	if !d.reserve(b) {
		drop(b)
		return
	}
	if dropped, ok := d.Set(b); ok {
		d.free(dropped)
		drop(dropped)
		if dropped == b {
			return // The diode is closed: nothing gives way for what does not come in.
		}
	}
	for range d.Cap() {
		if !d.exceeded() {
			return
		}
		evicted, ok := d.Evict()
		if !ok {
			return // What is reserved is not in yet, or out already. Who puts it in looks after itself.
		}
		d.free(evicted)
		drop(evicted)
	}
}

// reserve makes room for b; false when there is none and what waits is to stay.
func (d *boundedDiode[D]) reserve(b batch[D]) bool {
	if d.policy == DropOldest {
		d.items.add(b.items)
		d.bytes.add(b.bytes)
		return true
	}
	if !d.items.tryAdd(b.items) {
		return false
	}
	if !d.bytes.tryAdd(b.bytes) {
		d.items.add(-b.items)
		return false
	}
	return true
}

// free gives back the room of a batch that is out.
func (d *boundedDiode[D]) free(b batch[D]) {
	d.items.add(-b.items)
	d.bytes.add(-b.bytes)
}

func (d *boundedDiode[D]) exceeded() bool { return d.items.exceeded() || d.bytes.exceeded() }

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

func (b *bound) holds(n int) bool { return b.limit == 0 || int64(n) <= b.limit }

func (b *bound) exceeded() bool { return b.limit > 0 && b.reserved.Load() > b.limit }

func (b *bound) add(n int) {
	if b.limit > 0 {
		b.reserved.Add(int64(n))
	}
}

// tryAdd adds n if there is room for it. Of those that try at the same time one at least gets through, if it fits.
func (b *bound) tryAdd(n int) bool {
	if b.limit == 0 {
		return true
	}
	for {
		reserved := b.reserved.Load()
		if reserved+int64(n) > b.limit {
			return false
		}
		if b.reserved.CompareAndSwap(reserved, reserved+int64(n)) {
			return true
		}
	}
}
