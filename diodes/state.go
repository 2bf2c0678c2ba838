// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// A state packs the lap of a slot's element and the node that holds it. A slot is filled or emptied by one compare-and-swap of its
// state, which also exchanges the node: no slot is ever claimed but not yet readable.
//
//	bits 63–24   version   2L: empty, waits for lap L; 2L+1: full, holds lap L
//	bit 23       closed    the diode was closed when this slot was next to fill; it is never filled again
//	bits 22–0    node      the index of a cell; the owner of the node (slot, writer or reader) owns the cell
//
// Versions only grow, so a late swap fails. But they wrap after 2^39 laps: a goroutine that was descheduled for that long, to within
// one lap, can't tell old from new. Nor can a writer that was idle for that long, or that last called Evict that long ago, in its next
// Evict. At 20 ns per Set, this takes 3 hours for size 1 and 120 days for size 1000. The hint wraps likewise, and the place of a poller
// wraps after 2^38 laps.
type state uint64

const (
	nodeBits    = 23
	maxNodes    = 1 << nodeBits
	nodeMask    = state(maxNodes - 1)
	closedFlag  = state(1) << nodeBits
	versionUnit = state(1) << (nodeBits + 1)
	lapUnit     = 2 * versionUnit
)

func emptyState(lap state, node uint32) state { return lap | state(node) }

func fullState(lap state, node uint32) state { return lap | versionUnit | state(node) }

func (s state) node() uint32 { return uint32(s & nodeMask) }

func (s state) closed() bool { return s&closedFlag != 0 }

func (s state) full() bool { return s&versionUnit != 0 }

// lap returns the lap that the slot holds or waits for, encoded as in a position.
func (s state) lap() state { return s &^ (lapUnit - 1) }

func (s state) holds(lap state) bool { return s&^(nodeMask|closedFlag) == lap|versionUnit }

// awaits reports whether lap is the next to fill the slot: the slot is empty and waits for lap, or holds the previous lap.
func (s state) awaits(lap state) bool {
	before := lap - s&^(nodeMask|closedFlag)
	return before == 0 || before == versionUnit
}

// emptied returns the state of a full slot after its node is exchanged for node, which is empty.
func (s state) emptied(node uint32) state {
	return (s+versionUnit)&^nodeMask | state(node)
}

// A position is a slot in a lap. Lap L is stored as version 2L, so laps wrap as versions do: compare them for equality only.
type position struct {
	lap  state
	slot int
}

func (p position) next(size int) position { return p.plus(1, size) }

// plus returns the position n after p. n must be at most size.
func (p position) plus(n, size int) position {
	if p.slot += n; p.slot >= size {
		p.slot -= size
		p.lap += lapUnit
	}
	return p
}

func (p position) before(size int) position { return p.lapBefore().plus(size-1, size) }

func (p position) lapBefore() position {
	p.lap -= lapUnit
	return p
}

// distance returns the number of positions from p to q. q must not be before p.
func (p position) distance(q position, size int) uint64 {
	return uint64((q.lap-p.lap)/lapUnit)*uint64(size) + uint64(q.slot) - uint64(p.slot)
}

func (s state) lastFilled(slot int) position {
	p := position{lap: s.lap(), slot: slot}
	if s.full() {
		return p
	}
	return p.lapBefore()
}

// oldestLeft returns the first position that may still hold its element: the slot's previous lap and everything before it are gone.
func (s state) oldestLeft(slot, size int) position {
	return position{lap: s.lap(), slot: slot}.lapBefore().next(size)
}

func (p position) pack() uint64 { return uint64(p.lap)>>2 | uint64(p.slot) }

func unpackPosition(v uint64) position {
	return position{lap: state(v) << 2 &^ (lapUnit - 1), slot: int(v & (maxNodes - 1))}
}

// ahead reports whether a is after b. Both are packed positions, which have 62 bits and wrap.
func ahead(a, b uint64) bool { return int64((a-b)<<2) > 0 }
