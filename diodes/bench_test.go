// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "testing"

func BenchmarkManyToOneSetTryNext(b *testing.B) {
	d := NewManyToOne[int](1000, nil)
	b.ReportAllocs()
	for b.Loop() {
		d.Set(1)
		d.TryNext()
	}
}

func BenchmarkManyToOneSetFull(b *testing.B) {
	d := NewManyToOne[int](1000, nil)
	b.ReportAllocs()
	for b.Loop() {
		d.Set(1)
	}
}

func BenchmarkManyToOneSetFullParallel(b *testing.B) {
	d := NewManyToOne[int](1000, nil)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d.Set(1)
		}
	})
}

func BenchmarkOneToOneSetTryNext(b *testing.B) {
	d := NewOneToOne[*int](1000, nil)
	v := 1
	b.ReportAllocs()
	for b.Loop() {
		d.Set(&v)
		d.TryNext()
	}
}
func BenchmarkManyToOneSetTryNextPtr(b *testing.B) {
	d := NewManyToOne[*int](1000, nil)
	v := 1
	b.ReportAllocs()
	for b.Loop() {
		d.Set(&v)
		d.TryNext()
	}
}
func BenchmarkWriterSetTryNext(b *testing.B) {
	d := NewManyToOne[*int](1000, nil)
	w := d.Writer()
	v := 1
	b.ReportAllocs()
	for b.Loop() {
		w.Set(&v)
		d.TryNext()
	}
}
func BenchmarkWriterFullParallel(b *testing.B) {
	d := NewManyToOne[int](1000, nil)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		w := d.Writer()
		for pb.Next() {
			w.Set(1)
		}
	})
}
