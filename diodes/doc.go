// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package diodes holds ring buffers that never make a writer wait: data flows from writers to a reader and nothing, no
// pressure and no lock, flows back. When a ring is full something has to give way, and the ring hands that element to the
// writer whose Set pushed it out, so that its owner can count what was in it and release it. Nothing disappears inside.
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
// The package depends on nothing but the standard library and uses no unsafe code.
package diodes
