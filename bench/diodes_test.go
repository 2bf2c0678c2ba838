// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package bench measures the diodes and their peers in one run.
package bench

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	cfdiodes "code.cloudfoundry.org/go-diodes"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

const ringSize = 1000

// BenchmarkBaseline measures the machine: the cost of an uncontended atomic, and the round trip of a cache line to another core.
func BenchmarkBaseline(b *testing.B) {
	type padded struct {
		_ [64]byte
		atomic.Int64
		_ [64]byte
	}
	b.Run("op=cas", func(b *testing.B) {
		b.ReportAllocs()
		v := new(padded)
		for n := range int64(b.N) {
			v.CompareAndSwap(n, n+1)
		}
	})
	b.Run("op=round-trip", func(b *testing.B) {
		if runtime.GOMAXPROCS(0) < 2 {
			b.Skip("needs two cores")
		}
		b.ReportAllocs()
		ball := new(padded)
		end := 2 * int64(b.N) // b.N itself changes for the next run before the other goroutine has seen the last trip.
		go func() {
			for n := int64(1); n < end; n += 2 {
				await(&ball.Int64, n)
				ball.Store(n + 1)
			}
		}()
		for n := int64(0); n < end; n += 2 {
			ball.Store(n + 1)
			await(&ball.Int64, n+2)
		}
	})
}

// BenchmarkManyToOne sets an element and takes it out again, in one goroutine.
func BenchmarkManyToOne(b *testing.B) {
	each(b, func(b *testing.B, p peer) {
		pairs := p.open(ringSize).pairs
		b.ResetTimer()
		pairs(b.N)
	}, ours, oursWriter, goDiodes, goDiodesWaiter, channel, channelSelect, mutex)
}

// BenchmarkGrowth is like BenchmarkManyToOne, for rings of increasing size.
func BenchmarkGrowth(b *testing.B) {
	for _, size := range []int{10, 100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			each(b, func(b *testing.B, p peer) {
				pairs := p.open(size).pairs
				pairs(size) // The first lap takes page faults.
				b.ResetTimer()
				pairs(b.N)
			}, ours)
		})
	}
}

// floorRing is the minimal ring with one compare-and-swap on each side: no laps, no policy, no wake-ups. It is a lower bound for the cost
// of a ring of this kind.
type floorRing struct {
	states  []atomic.Uint64 // 1: the cell is full
	cells   []element
	in, out int
}

//go:noinline
func (r *floorRing) Set(x element) bool {
	r.cells[r.in] = x
	if !r.states[r.in].CompareAndSwap(0, 1) {
		return false
	}
	if r.in++; r.in == len(r.states) {
		r.in = 0
	}
	return true
}

//go:noinline
func (r *floorRing) TryNext() (x element, ok bool) {
	if !r.states[r.out].CompareAndSwap(1, 0) {
		return nil, false
	}
	x, r.cells[r.out] = r.cells[r.out], nil
	if r.out++; r.out == len(r.states) {
		r.out = 0
	}
	return x, true
}

// exchangeRing is the minimal ring that also exchanges cells, for which each side must load the state of the slot first.
type exchangeRing struct {
	states          []atomic.Uint64 // lap, full, cell
	cells           []element
	in, out         int
	inLap, outLap   uint64
	inCell, outCell uint64
}

const (
	exchangeFull = 1 << 24
	exchangeLap  = 2 * exchangeFull
)

func newExchangeRing(size int) *exchangeRing {
	r := &exchangeRing{states: make([]atomic.Uint64, size), cells: make([]element, size+2)}
	for i := range r.states {
		r.states[i].Store(uint64(i))
	}
	r.inCell, r.outCell = uint64(size), uint64(size)+1
	return r
}

//go:noinline
func (r *exchangeRing) Set(x element) bool {
	r.cells[r.inCell] = x
	old := r.states[r.in].Load()
	if old&^(exchangeFull-1) != r.inLap || !r.states[r.in].CompareAndSwap(old, r.inLap|exchangeFull|r.inCell) {
		return false
	}
	r.inCell = old & (exchangeFull - 1)
	if r.in++; r.in == len(r.states) {
		r.in = 0
		r.inLap += exchangeLap
	}
	return true
}

//go:noinline
func (r *exchangeRing) TryNext() (x element, ok bool) {
	old := r.states[r.out].Load()
	if old&^(exchangeFull-1) != r.outLap|exchangeFull || !r.states[r.out].CompareAndSwap(old, r.outLap+exchangeLap|r.outCell) {
		return nil, false
	}
	r.outCell = old & (exchangeFull - 1)
	x, r.cells[r.outCell] = r.cells[r.outCell], nil
	if r.out++; r.out == len(r.states) {
		r.out = 0
		r.outLap += exchangeLap
	}
	return x, true
}

// BenchmarkOneToOne is like BenchmarkManyToOne, for the diodes with a single writer.
func BenchmarkOneToOne(b *testing.B) {
	ours := diodes.NewOneToOne[element](ringSize, nil)
	floor := &floorRing{states: make([]atomic.Uint64, ringSize), cells: make([]element, ringSize)}
	exchange := newExchangeRing(ringSize)
	goDiodes := cfdiodes.NewOneToOne(ringSize, nil)
	opened := func(name string, pairs func(n int)) peer {
		return peer{name, func(int) ring { return ring{pairs: pairs} }}
	}
	each(b, func(b *testing.B, p peer) {
		pairs := p.open(ringSize).pairs
		b.ResetTimer()
		pairs(b.N)
	}, opened("ours", func(n int) {
		for range n {
			ours.Set(&payload)
			ours.TryNext()
		}
	}), opened("floor", func(n int) {
		for range n {
			floor.Set(&payload)
			floor.TryNext()
		}
	}), opened("floor-exchange", func(n int) {
		for range n {
			exchange.Set(&payload)
			exchange.TryNext()
		}
	}), opened("go-diodes", func(n int) {
		for range n {
			goDiodes.Set(cfdiodes.GenericDataType(&payload))
			goDiodes.TryNext()
		}
	}), channel, channelSelect, mutex)
}

// write sets b.N elements from the given number of goroutines, and measures until the last of them is done. The metric "cores" is the
// processor time of the process divided by the elapsed time: without a second core there is no contention to measure.
func write(b *testing.B, r ring, writers int) {
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range writers {
		set, n := r.writer(), (b.N+i)/writers
		done.Go(func() {
			<-start
			set(n)
		})
	}
	before := processTime()
	b.ResetTimer()
	close(start)
	done.Wait()
	b.StopTimer()
	b.ReportMetric(float64(processTime()-before)/float64(b.Elapsed()), "cores")
}

func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFanIn has many writers, and a reader that reads as fast as it can and sleeps when the ring is empty.
func BenchmarkFanIn(b *testing.B) {
	for _, writers := range []int{8, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			each(b, func(b *testing.B, p peer) {
				r := p.open(ringSize)
				read := make(chan int)
				go func() {
					n := 0
					for r.next() {
						n++
					}
					read <- n
				}()
				write(b, r, writers)
				r.close()
				b.ReportMetric(100*float64(<-read)/float64(b.N), "delivered-%")
			}, ours, oursWriter, goDiodesWaiter, goDiodesPoller, channel, channelSelect, mutex)
		})
	}
}

// BenchmarkOverflowStorm has many writers and a full ring without a reader.
func BenchmarkOverflowStorm(b *testing.B) {
	for _, writers := range []int{2, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			each(b, func(b *testing.B, p peer) {
				r := p.open(ringSize)
				r.writer()(ringSize)
				write(b, r, writers)
			}, ours, oursWriter, oursDropNewest, goDiodes, goDiodesWaiter, channelSelect, mutex)
		})
	}
}

// BenchmarkOverflowByOne counts the elements lost when a ring of 10,000 gets one more.
func BenchmarkOverflowByOne(b *testing.B) {
	const size = 10_000
	each(b, func(b *testing.B, p peer) {
		lost := 0
		for b.Loop() {
			r := p.open(size)
			r.writer()(size + 1)
			lost = size + 1
			for r.tryNext() {
				lost--
			}
		}
		b.ReportMetric(0, "ns/op") // It would mostly be the creation of the ring.
		b.ReportMetric(float64(lost), "lost")
	}, ours, goDiodes, channelSelect, mutex)
}

// BenchmarkSetLatency measures single Sets of 8 writers into a full ring whose reader stalls. Each duration includes a reading of the
// clock. The peer "clock" measures only that, and shows how often the machine takes a goroutine off its core.
func BenchmarkSetLatency(b *testing.B) {
	const writers = 8
	clock := peer{"clock", func(int) ring { return ring{writer: shared(func(int) {})} }}
	each(b, func(b *testing.B, p peer) {
		r := p.open(ringSize)
		r.writer()(ringSize)
		all, taken := make([]time.Duration, b.N), new(atomic.Int64)
		timed := ring{writer: func() func(n int) {
			set := r.writer()
			return func(n int) {
				took := all[taken.Add(int64(n))-int64(n):][:n]
				for i := range took {
					start := time.Now()
					set(1)
					took[i] = time.Since(start)
				}
			}
		}}
		write(b, timed, writers)
		slices.Sort(all)
		b.ReportMetric(0, "ns/op") // It would mostly be the clock.
		for _, q := range []float64{.5, .99, .999} {
			b.ReportMetric(float64(all[int(q*float64(len(all)-1))]), fmt.Sprintf("p%v-ns", 100*q))
		}
	}, ours, oursWriter, clock, goDiodes, goDiodesWaiter, channelSelect, mutex)
}

// BenchmarkWakeup sets one element at a time into an empty ring whose reader sleeps, and waits for the reader's reply over the same kind
// of channel for each peer. With one processor, the reader certainly sleeps: after the reply it runs until it blocks, and only then does
// the writer run. With two, the writer yields twice, which nearly always gives the reader enough time to fall asleep.
func BenchmarkWakeup(b *testing.B) {
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			each(b, func(b *testing.B, p peer) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				r := p.open(ringSize)
				replies := make(chan struct{})
				go func() {
					for r.next() {
						replies <- struct{}{}
					}
				}()
				set := r.writer()
				for b.Loop() {
					set(1)
					<-replies
					if procs > 1 {
						runtime.Gosched()
						runtime.Gosched()
					}
				}
				r.close()
			}, ours, oursWriter, goDiodesWaiter, channel, mutex)
		})
	}
}

// BenchmarkCollision has a Set and a TryNext that meet in a slot of a ring that has overflowed before. After both, there is one element for
// the reader. It is a stall if the reader can't get it; sets-to-recover is the number of further Sets until it gets one.
//
// In go-diodes, the slot still holds an element that was lost in the overflow. If the reader clears it between the writer's load and swap,
// the swap fails, and the writer takes the next number and slot. The reader waits at the slot for a number that is never written, until a
// writer reaches the slot again.
func BenchmarkCollision(b *testing.B) {
	const size = 100
	collide := func(kept int) func(b *testing.B, p peer) {
		return func(b *testing.B, p peer) {
			var r ring
			var set func(n int)
			var turn, done atomic.Int64 // Number of rounds that the writer may do, and has done.
			go func() {
				for i := int64(1); ; i++ {
					await(&turn, i)
					if set == nil {
						return
					}
					set(1)
					done.Store(i)
				}
			}()
			stalls, sets, i := 0, 0, int64(0)
			for b.Loop() {
				i++
				r = p.open(size)
				set = r.writer()
				set(size + 1)
				for range kept {
					r.tryNext()
				}
				turn.Store(i)
				for range i % 256 { // The writer takes a while to notice. Vary the delay.
				}
				ok := r.tryNext()
				await(&done, i)
				if ok = ok || r.tryNext(); !ok {
					stalls++
				}
				for ; !ok; ok = r.tryNext() {
					set(1)
					sets++
				}
			}
			set = nil
			turn.Store(i + 1)
			b.ReportMetric(0, "ns/op") // It would mostly be the creation of the ring.
			b.ReportMetric(100*float64(stalls)/float64(i), "stalled-%")
			b.ReportMetric(float64(sets)/float64(max(stalls, 1)), "sets-to-recover")
		}
	}
	// The elements readable after the overflow are read before Set and TryNext meet.
	each(b, collide(size), ours, mutex)
	each(b, collide(1), goDiodes)
}

// await spins, so that both sides continue at the same moment. It yields now and then in case they do not have two cores.
func await(v *atomic.Int64, want int64) {
	for n := 1; v.Load() != want; n++ {
		if n%1024 == 0 {
			runtime.Gosched()
		}
	}
}
