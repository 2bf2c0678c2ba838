// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures the project side by side with its peers, in one run.
package bench

import (
	"testing"

	cfdiodes "code.cloudfoundry.org/go-diodes"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

const ringSize = 1000

var element = [64]byte{1}

// One goroutine sets an element and takes it out again.
func BenchmarkSetTryNext(b *testing.B) {
	b.Run("peer=ours", func(b *testing.B) {
		d := diodes.NewManyToOne[*[64]byte](ringSize, nil)
		b.ReportAllocs()
		for b.Loop() {
			d.Set(&element)
			d.TryNext()
		}
	})
	b.Run("peer=go-diodes", func(b *testing.B) {
		d := cfdiodes.NewManyToOne(ringSize, nil)
		b.ReportAllocs()
		for b.Loop() {
			d.Set(cfdiodes.GenericDataType(&element))
			d.TryNext()
		}
	})
	b.Run("peer=channel", func(b *testing.B) {
		c := make(chan *[64]byte, ringSize)
		b.ReportAllocs()
		for b.Loop() {
			c <- &element
			<-c
		}
	})
}

// Two goroutines a processor set into a ring that nobody reads.
func BenchmarkSetFull(b *testing.B) {
	b.Run("peer=ours", func(b *testing.B) {
		d := diodes.NewManyToOne[*[64]byte](ringSize, nil)
		b.ReportAllocs()
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.Set(&element)
			}
		})
	})
	b.Run("peer=go-diodes", func(b *testing.B) {
		d := cfdiodes.NewManyToOne(ringSize, nil)
		b.ReportAllocs()
		b.SetParallelism(2)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				d.Set(cfdiodes.GenericDataType(&element))
			}
		})
	})
}

// How many elements a ring of 10,000 still has after one too many.
func BenchmarkKeptAfterOverflowByOne(b *testing.B) {
	const size = 10_000
	b.Run("peer=ours", func(b *testing.B) {
		kept := 0
		for b.Loop() {
			d := diodes.NewManyToOne[*[64]byte](size, nil)
			for range size + 1 {
				d.Set(&element)
			}
			kept = 0
			for _, ok := d.TryNext(); ok; _, ok = d.TryNext() {
				kept++
			}
		}
		b.ReportMetric(float64(kept), "kept")
	})
	b.Run("peer=go-diodes", func(b *testing.B) {
		kept := 0
		for b.Loop() {
			d := cfdiodes.NewManyToOne(size, nil)
			for range size + 1 {
				d.Set(cfdiodes.GenericDataType(&element))
			}
			kept = 0
			for _, ok := d.TryNext(); ok; _, ok = d.TryNext() {
				kept++
			}
		}
		b.ReportMetric(float64(kept), "kept")
	})
}
