// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// pause is how long a writer waits after it lost a swap, in empty turns of a loop.
//
// A cache line that two processors write to in turn takes a hundred times as long as one that stays where it is. So the
// loser leaves it to the winner for as long as some dozens of Sets take. The pause grows fast and shrinks slowly, because
// writers that met once will meet again; one that never loses never waits. A turn takes one cycle, so the longest pause is a
// microsecond on a processor of 2 GHz and less on a faster one.
type pause int

const (
	firstPause = 1 << 8
	maxPause   = 1 << 11
)

func (p *pause) lost() {
	*p = min(4**p+firstPause, maxPause)
	for range int(*p) { // The turns are the pause.
	}
}

func (p *pause) won() {
	if *p > 0 {
		*p -= *p/32 + 1
	}
}
