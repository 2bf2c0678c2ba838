// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// pause is how long a writer waits after it lost a swap, so that the winner's next Set finds the cache line where it is
// instead of fighting for it. It grows with each loss and shrinks with each win. Its longest is well below a microsecond.
type pause int

const maxPause = 1 << 10 // empty turns of a loop

func (p *pause) lost() {
	*p = min(2**p+8, maxPause)
	for range int(*p) { // The turns are the pause.
	}
}

func (p *pause) won() {
	if *p != 0 { // It is, nearly always, without others.
		*p /= 2
	}
}
