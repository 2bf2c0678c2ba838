// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// A backoff is a writer's wait after a lost swap, in turns of spin. Writing a cache line from two processors alternately costs a
// hundred times as much as writing it from one, so the loser waits for the time of a few dozen Sets. The wait grows fast and
// shrinks slowly because writers that raced once race again. Only the first wait of a call is long, so that no Set takes many times
// as long as another.
type backoff int

const (
	firstBackoff = 1 << 8
	maxBackoff   = 3 << 11 // 2–3 µs; also the wait for the shared writer of a ManyToOne
	nextBackoff  = 1 << 7
)

// lost waits after a lost swap. times is the number of swaps that the call has lost.
func (b *backoff) lost(times int) {
	turns := nextBackoff
	if times == 1 {
		*b = min(4**b+firstBackoff, maxBackoff)
		turns = int(*b)
	}
	spin(turns)
}

func (b *backoff) won() {
	if *b > 0 {
		*b -= *b/32 + 1
	}
}
