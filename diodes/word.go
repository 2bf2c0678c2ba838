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
// grows, so a swap that was prepared before somebody else's succeeds only after a stall of an exact multiple of 2^39 laps,
// the point at which the version wraps.
//
// c (closed): the diode was closed when this slot was the next to be set. Nothing goes into the slot, or past it, again.
//
// node: the index of a cell that holds a value. Whoever has the index, be it a slot, a writer or the reader, owns the cell.
type word uint64

const (
	nodeBits    = 23
	maxNodes    = 1 << nodeBits
	closedFlag  = word(1) << nodeBits
	versionBits = 40
	versionUnit = word(1) << (64 - versionBits)
	lapMask     = 1<<(versionBits-1) - 1
)

// emptyWord is an empty slot that waits for the element of the given lap.
func emptyWord(lap uint64, node uint32) word {
	return word(lap&lapMask)*2*versionUnit | word(node)
}

// fullWord is a slot that holds the element of the given lap.
func fullWord(lap uint64, node uint32) word {
	return emptyWord(lap, node) | versionUnit
}

func (w word) node() uint32 { return uint32(w & (maxNodes - 1)) }

func (w word) closed() bool { return w&closedFlag != 0 }

// full says whether the slot holds an element.
func (w word) full() bool { return w&versionUnit != 0 }

// lap is the lap of the element that the slot holds, or that it waits for.
func (w word) lap() uint64 { return uint64(w / (2 * versionUnit)) }

// A position is where an element goes: slot i in lap L. Laps count modulo 2^39 and are compared for equality only.
type position struct {
	lap  uint64
	slot int
}

// next is the position after p in a ring of size slots.
func (p position) next(size int) position {
	if p.slot++; p.slot == size {
		p.slot = 0
		p.lap = (p.lap + 1) & lapMask
	}
	return p
}

// previousLap is the position that used the same slot one lap before p.
func (p position) previousLap() position {
	p.lap = (p.lap - 1) & lapMask
	return p
}

// pack puts p into one integer, for an atomic.
func (p position) pack() uint64 { return p.lap<<nodeBits | uint64(p.slot) }

// ahead says whether the packed position a is later than b. They are 62 bits wide and wrap.
func ahead(a, b uint64) bool { return int64((a-b)<<2) > 0 }

func unpackPosition(v uint64) position {
	return position{lap: v >> nodeBits, slot: int(v & (maxNodes - 1))}
}

// fillable says whether the slot is ready for the element of the given lap: empty and waiting for it, or full with the
// element of the lap before, which is then the oldest in the ring.
func (w word) fillable(lap uint64) bool {
	if w.full() {
		return w.lap() == (lap-1)&lapMask
	}
	return w.lap() == lap
}

// lastFilled is the last position in the given slot that was filled.
func (w word) lastFilled(slot int) position {
	p := position{lap: w.lap(), slot: slot}
	if w.full() {
		return p
	}
	return p.previousLap()
}

// emptied is the word of a full slot after its element was exchanged for node.
func (w word) emptied(node uint32) word {
	return emptyWord(w.lap()+1, node) | w&closedFlag
}
