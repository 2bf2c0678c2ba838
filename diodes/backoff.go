// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// backoff is the wait of a writer after a lost swap, in turns of spin. A cache line that two processors write in turn costs a
// hundred times one that stays, so the loser waits for some dozens of Sets. The wait grows fast and shrinks slowly: writers
// that raced once race again. Only the first wait of a call is long, so that no Set takes many times as long as another.
type backoff int

const (
	firstBackoff = 1 << 8
	maxBackoff   = 3 << 11 // 2–3 µs; also the wait for the shared writer of a ManyToOne
	nextBackoff  = 1 << 7
)

// lost is called after each swap that a call loses; times counts them.
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
