// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// A word is all that a slot of a ring is: one atomic 64-bit integer that says which element belongs there and which node
// holds it. Every transition of a slot is one compare-and-swap of its word, which at the same time exchanges the node in
// the slot for a node of the caller. There is no moment at which a slot is claimed and its element not yet readable.
//
//	 63                        24  23   22                 0
//	+----------------------------+----+--------------------+
//	| version                    | c  | node               |
//	+----------------------------+----+--------------------+
//
// version: 2L when the slot is empty and waits for the element of lap L, 2L+1 when it holds the element of lap L. It only
// grows, so a swap that was prepared before somebody else's fails. But it wraps: what a goroutine remembers of a word or a
// position is mistaken for something new when the ring has gone round 2^39 times meanwhile, to within one lap. At 20 ns a Set
// that takes 3 hours with a ring of size 1, and 120 days with one of 1000. The same holds for the ring's hint. The place of a
// poller has 38 bits for the lap, so there it is 2^38 times.
//
// c (closed): the diode was closed when this slot was the next to be set. Nothing goes into the slot, or past it, again.
//
// node: the index of a cell that holds a value. Whoever has the index, be it a slot, a writer or the reader, owns the cell.
type word uint64

const (
	nodeBits    = 23
	maxNodes    = 1 << nodeBits
	nodeMask    = word(maxNodes - 1)
	closedFlag  = word(1) << nodeBits
	versionUnit = word(1) << (nodeBits + 1)
	lapUnit     = 2 * versionUnit
)

// emptyWord is an empty slot that waits for the element of the given lap.
func emptyWord(lap word, node uint32) word { return lap | word(node) }

// fullWord is a slot that holds the element of the given lap.
func fullWord(lap word, node uint32) word { return lap | versionUnit | word(node) }

func (w word) node() uint32 { return uint32(w & nodeMask) }

func (w word) closed() bool { return w&closedFlag != 0 }

// full says whether the slot holds an element.
func (w word) full() bool { return w&versionUnit != 0 }

// lap is the lap of the element that the slot holds, or that it waits for, in the form of a position's.
func (w word) lap() word { return w &^ (lapUnit - 1) }

// holds says whether the slot holds the element of the given lap.
func (w word) holds(lap word) bool { return w&^(nodeMask|closedFlag) == lap|versionUnit }

// awaits says whether the slot is ready for the element of the given lap: empty and waiting for it, or full with the element
// of the lap before, which is then the oldest in the ring.
func (w word) awaits(lap word) bool {
	before := lap - w&^(nodeMask|closedFlag)
	return before == 0 || before == versionUnit
}

// emptied is the word of a full slot after its element was exchanged for node.
func (w word) emptied(node uint32) word {
	return (w+versionUnit)&^nodeMask | word(node)
}

// A position is where an element goes: a slot, in a lap. Lap L is 2L in the place of a word's version, so that laps wrap as
// versions do. They are compared for equality only, except in packed positions.
type position struct {
	lap  word
	slot int
}

// next is the position after p in a ring of size slots.
func (p position) next(size int) position { return p.plus(1, size) }

// plus is the position n after p in a ring of size slots. n is at most size.
func (p position) plus(n, size int) position {
	if p.slot += n; p.slot >= size {
		p.slot -= size
		p.lap += lapUnit
	}
	return p
}

// before is the position before p in a ring of size slots.
func (p position) before(size int) position { return p.lapBefore().plus(size-1, size) }

// lapBefore is the position of the same slot one lap before p.
func (p position) lapBefore() position {
	p.lap -= lapUnit
	return p
}

// distance is the number of positions from p to q, which is not before p.
func (p position) distance(q position, size int) uint64 {
	return uint64((q.lap-p.lap)/lapUnit)*uint64(size) + uint64(q.slot) - uint64(p.slot)
}

// lastFilled is the last position in the given slot that was filled, when the slot has this word.
func (w word) lastFilled(slot int) position {
	p := position{lap: w.lap(), slot: slot}
	if w.full() {
		return p
	}
	return p.lapBefore()
}

// oldestLeft is the first position whose element can still be in a ring of size slots, when the given slot has this word:
// the element that the slot held in the lap before is gone, and so are all before that.
func (w word) oldestLeft(slot, size int) position {
	return position{lap: w.lap(), slot: slot}.lapBefore().next(size)
}

// pack puts p into one integer of 62 bits, for an atomic.
func (p position) pack() uint64 { return uint64(p.lap)>>2 | uint64(p.slot) }

func unpackPosition(v uint64) position {
	return position{lap: word(v) << 2 &^ (lapUnit - 1), slot: int(v & (maxNodes - 1))}
}

// ahead says whether the packed position a is later than b. They wrap.
func ahead(a, b uint64) bool { return int64((a-b)<<2) > 0 }
