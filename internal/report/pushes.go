// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// pushes holds the counts from pushes. A push writes one stripe, which hardly any other goroutine writes, so that pushes on several
// processors do not contend for a cache line. A reader sums the stripes. The number of stripes is a power of two.
type pushes []stripe

// stripe holds the counts of some goroutines.
type stripe struct {
	counts [pushCounters]atomic.Int64
	_      [cacheLine - 8*pushCounters]byte
}

// pushCounter is an index of stripe.counts.
type pushCounter int

const (
	acceptedItems pushCounter = iota
	overflowItems
	shutdownItems
	pushCounters
)

// cacheLine is twice the cache line size of common processors, in bytes, because they fetch lines in pairs.
const cacheLine = 128

// stripesPerProcessor keeps collisions of pushers rare.
const stripesPerProcessor = 8

func newPushes() pushes {
	return make(pushes, 1<<bits.Len(uint(stripesPerProcessor*runtime.GOMAXPROCS(0)-1)))
}

// stripe returns the stripe of the calling goroutine, chosen by the address of its stack. No two goroutines share a stack, and new ones
// get theirs from a cache of their processor. This costs a nanosecond. The runtime does not expose the number of the processor.
func (p pushes) stripe() *stripe {
	var local byte
	stack := uint64(uintptr(unsafe.Pointer(&local))) / minStack // Used only as a number.
	return &p[stack*0x9e3779b97f4a7c15>>32&uint64(len(p)-1)]
}

// minStack is the size of the smallest stack, in bytes.
const minStack = 2048

func (p pushes) add(c pushCounter, n int) { p.stripe().counts[c].Add(int64(n)) }

func (p pushes) sum(c pushCounter) int64 {
	total := int64(0)
	for i := range p {
		total += p[i].counts[c].Load()
	}
	return total
}
