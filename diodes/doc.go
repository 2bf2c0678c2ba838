// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package diodes implements ring buffers that never block a writer. A Set into a full ring drops an element and returns it to the
// caller, who can count and release it.
//
//	d := diodes.NewManyToOne[[]byte](1000, nil)
//
//	// any goroutine
//	if dropped, ok := d.Set(record); ok {
//		lost.Add(int64(len(dropped)))
//	}
//
//	// one goroutine, until d is closed and empty
//	for record, ok := d.Next(); ok; record, ok = d.Next() {
//		send(record)
//	}
//
// [OneToOne] has one writer and one reader. [ManyToOne] has many writers; a [Writer] makes their Sets cheaper. [OneToMany] has many
// readers: each [Poller] gets every element. A diode of size n drops nothing until it holds n elements; then each Set drops one.
//
// A full OneToOne or ManyToOne drops its oldest element or, with [DropNewest], the element being set. Every element is accounted for: it
// is read, returned as dropped or evicted, or still in the ring. A Poller counts the elements that it missed. To make writers wait instead, use a channel.
//
// README.md explains how to choose and size a diode, and compares diodes with channels and Cloud Foundry's go-diodes.
package diodes
