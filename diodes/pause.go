// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// pause is how long a writer waits when it loses a swap, in empty turns of a loop.
//
// A cache line that two processors write to in turn takes a hundred times as long as one that stays where it is. So the
// loser leaves it to the winner for as long as some dozens of Sets take. The pause grows fast and shrinks slowly, because
// writers that met once will meet again; one that never loses never waits. Who has waited does not give way for as long
// again in the same call: otherwise a few Sets would take many times as long as others.
type pause int

const (
	firstPause = 1 << 8
	maxPause   = 3 << 11 // two to three microseconds; also that of one that finds the shared writer of a ManyToOne held
	nextPause  = 1 << 7
)

// lost is called after each swap that a call lost; times is how many that are, with this one.
func (p *pause) lost(times int) {
	turns := nextPause
	if times == 1 {
		*p = min(4**p+firstPause, maxPause)
		turns = int(*p)
	}
	spin(turns)
}

func (p *pause) won() {
	if *p > 0 {
		*p -= *p/32 + 1
	}
}
