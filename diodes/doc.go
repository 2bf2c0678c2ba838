// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package diodes holds ring buffers that never make a writer wait: data flows from writers to readers and nothing, no
// pressure and no lock, flows back. When a ring is full something has to give way, and the ring hands that element to the
// writer whose Set made it give way, at that moment and exactly once, so that its owner can count what was in it and release
// it. Nothing disappears inside.
//
//	d := diodes.NewManyToOne[[]byte](1000, nil)
//
//	// any goroutine, as often as it likes
//	if dropped, ok := d.Set(record); ok {
//		lost.Add(int64(len(dropped)))
//	}
//
//	// one goroutine
//	for {
//		record, ok := d.Next()
//		if !ok {
//			return // closed and drained
//		}
//		send(record)
//	}
//
// There are three topologies. [OneToOne] has one writer and one reader. [ManyToOne] has many writers and one reader; a
// goroutine that sets often can have a [Writer] of its own, which is cheaper. [OneToMany] has one writer and many readers,
// each of which gets every element; each has a [Poller] of its own.
//
// Under [DropOldest] a full ring keeps what is new, under [DropNewest] what is there. An [Alerter] is told of each drop.
//
// Set is wait-free, a Set and a TryNext allocate nothing, and a ring of n elements drops none before it holds n (but for a Set
// that has lost to others tens of thousands of times in a row), and one at a time after that. The types say what is
// guaranteed for each method. README.md beside the package says when to use which, how large to make it, and how it compares
// with channels and with Cloud Foundry's go-diodes.
//
// The package depends on nothing but the standard library and uses no unsafe code.
package diodes
