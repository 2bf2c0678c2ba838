// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// drain reads until the ring is empty.
func drain[T any](d *ManyToOne[T]) []T {
	var got []T
	for {
		x, ok := d.TryNext()
		if !ok {
			return got
		}
		got = append(got, x)
	}
}

func equal[T comparable](t *testing.T, what string, want, got []T) {
	t.Helper()
	if !slices.Equal(want, got) {
		t.Errorf("%s: want %v, got %v", what, want, got)
	}
}

func TestManyToOneDropsExactlyTheOldest(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5, 8, 1000} {
		for _, overflow := range []int{0, 1, 2, size, 3*size + 1} {
			t.Run(fmt.Sprintf("size %d, %d too many", size, overflow), func(t *testing.T) {
				alerted := 0
				d := NewManyToOne[int](size, AlertFunc(func(missed int) { alerted += missed }))
				var dropped, wantDropped, wantKept []int
				for x := range size + overflow {
					if out, ok := d.Set(x); ok {
						dropped = append(dropped, out)
					}
					if x < overflow {
						wantDropped = append(wantDropped, x)
					} else {
						wantKept = append(wantKept, x)
					}
				}
				if d.Len() != size || d.Cap() != size {
					t.Errorf("want %d of %d elements, got %d of %d", size, size, d.Len(), d.Cap())
				}
				equal(t, "dropped", wantDropped, dropped)
				equal(t, "kept", wantKept, drain(d))
				if alerted != overflow {
					t.Errorf("want %d alerted, got %d", overflow, alerted)
				}
				if d.Len() != 0 {
					t.Errorf("want an empty ring, got %d elements", d.Len())
				}
			})
		}
	}
}

// The reader may have been anywhere when the writers lap it.
func TestManyToOneReaderFindsTheOldestAfterEachOverflow(t *testing.T) {
	const size = 5
	for readFirst := range 2 * size {
		for burst := range 4 * size {
			d := NewManyToOne[int](size, nil)
			next := 0
			for range readFirst {
				d.Set(next)
				next++
				d.TryNext()
			}
			first := next
			for range burst {
				d.Set(next)
				next++
			}
			var want []int
			for x := max(first, next-size); x < next; x++ {
				want = append(want, x)
			}
			equal(t, fmt.Sprintf("read %d, then %d set", readFirst, burst), want, drain(d))
		}
	}
}

func TestManyToOneLapsWrap(t *testing.T) {
	const size = 3
	d := NewManyToOne[int](size, nil)
	// As if the ring had gone round 2^39-2 times.
	start := position{lap: lastLap - lapUnit}
	for i := range d.words {
		d.words[i].Store(uint64(emptyWord(start.lap, word(d.words[i].Load()).node())))
	}
	d.hint.Store(start.pack())
	d.at = start
	d.writers.at = start

	for x := range 20 {
		d.Set(x)
		if x%4 == 3 {
			equal(t, fmt.Sprint("after ", x), []int{x - 2, x - 1, x}, drain(d))
		}
	}
}

func TestManyToOneClose(t *testing.T) {
	for _, size := range []int{1, 2, 3} {
		for inside := range 2*size + 1 {
			t.Run(fmt.Sprintf("size %d after %d", size, inside), func(t *testing.T) {
				d := NewManyToOne[int](size, nil)
				var want []int
				for x := range inside {
					d.Set(x)
				}
				for x := max(0, inside-size); x < inside; x++ {
					want = append(want, x)
				}
				d.Close()
				d.Close()
				for range 2 * size {
					if dropped, ok := d.Set(99); !ok || dropped != 99 {
						t.Fatalf("Set after Close: want 99, true, got %d, %t", dropped, ok)
					}
				}
				for _, x := range want {
					if got, ok := d.Next(); !ok || got != x {
						t.Fatalf("Next after Close: want %d, true, got %d, %t", x, got, ok)
					}
					if dropped, ok := d.Set(99); !ok || dropped != 99 {
						t.Fatalf("Set after Close and Next: want 99, true, got %d, %t", dropped, ok)
					}
				}
				for range 2 {
					if got, ok := d.Next(); ok {
						t.Fatalf("Next after the last: got %d, true", got)
					}
				}
			})
		}
	}
}

func TestManyToOneRefusesASize(t *testing.T) {
	for _, size := range []int{0, -1, MaxSize + 1} {
		func() {
			defer func() {
				want := fmt.Sprintf("diodes: size must be from 1 to 8000000, not %d", size)
				if got := recover(); got != want {
					t.Errorf("want panic %q, got %v", want, got)
				}
			}()
			NewManyToOne[int](size, nil)
		}()
	}
}

func TestManyToOneNextParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewManyToOne[int](3, nil)
		var got []int
		ended := false
		go func() {
			for {
				x, ok := d.Next()
				if !ok {
					ended = true
					return
				}
				got = append(got, x)
			}
		}()
		var want []int
		for x := range 100 {
			// Wait returns only when the reader blocks on its channel: it neither polls nor sleeps.
			synctest.Wait()
			if !d.armedForTest() {
				t.Fatal("the reader blocks without being armed")
			}
			d.Set(x)
			want = append(want, x)
			synctest.Wait()
			equal(t, "read", want, got)
		}
		d.Close()
		synctest.Wait()
		if !ended {
			t.Error("Close did not end the reader")
		}
	})
}

func (d *ManyToOne[T]) armedForTest() bool { return d.parking.epoch.Load()&1 == 1 }

// A writer that is descheduled between its wake-up and moving the epoch must not swallow the wake-up of a later one.
func TestParkingLateEpoch(t *testing.T) {
	p := newParking()
	p.arm()
	late := p.epoch.Load()
	p.wakes <- struct{}{} // The first half of a wake, its goroutine stops here.
	p.sleep()
	p.arm()
	p.epoch.CompareAndSwap(late, late+1) // The second half.
	p.wake()                             // The wake-up of another writer.
	select {
	case <-p.wakes:
	default:
		t.Error("the later wake-up got lost")
	}
}

func TestManyToOneAllocatesNothing(t *testing.T) {
	d := NewManyToOne[[3]uint64](100, AlertFunc(func(int) {}))
	if n := testing.AllocsPerRun(1000, func() {
		d.Set([3]uint64{1, 2, 3})
		d.TryNext()
	}); n != 0 {
		t.Errorf("Set and TryNext: want 0 allocations, got %v", n)
	}
	if n := testing.AllocsPerRun(1000, func() { d.Set([3]uint64{1, 2, 3}) }); n != 0 {
		t.Errorf("Set into a full ring: want 0 allocations, got %v", n)
	}
}

func TestManyToOneReleasesValues(t *testing.T) {
	d := NewManyToOne[*[64]byte](3, nil)
	var gone []weak.Pointer[[64]byte]
	func() {
		keep := func(x *[64]byte) { gone = append(gone, weak.Make(x)) }
		for range 10 { // dropped, and read
			x := new([64]byte)
			keep(x)
			d.Set(x)
		}
		drain(d)
		d.Set(new([64]byte))
		d.Close()
		x := new([64]byte) // refused
		keep(x)
		d.Set(x)
	}()
	runtime.GC()
	for i, w := range gone {
		if w.Value() != nil {
			t.Errorf("element %d is still referenced", i)
		}
	}
	if x, ok := d.TryNext(); !ok || x == nil {
		t.Error("the element inside was lost")
	}
}

// With all its writers held, as if their goroutines had been descheduled in the middle of a Set, the diode adds more.
func TestManyToOneWritersGrow(t *testing.T) {
	const size, frozen = 3, 1000
	d := NewManyToOne[int](size, nil)
	var writers []*sharedWriter[int]
	for i := range frozen {
		w := d.borrow()
		writers = append(writers, w)
		*d.cells.at(w.spare) = -i
	}
	for x := range 10 {
		d.Set(x)
	}
	equal(t, "read", []int{7, 8, 9}, drain(d))
	for i, w := range writers {
		if got := *d.cells.at(w.spare); got != -i {
			t.Fatalf("cell of writer %d: want %d, got %d", i, -i, got)
		}
	}
}

// The hint may be behind. Here it is at every place that it could have been at before, with the ring in every state.
func TestManyToOneStaleHint(t *testing.T) {
	const size = 4
	for stale := range 3 * size {
		for set := stale; set < 3*size+2; set++ {
			for read := range size + 1 {
				for _, closing := range []bool{false, true} {
					name := fmt.Sprintf("hint %d, %d set, %d read, closing %t", stale, set, read, closing)
					d := NewManyToOne[int](size, nil)
					var inside []int
					for x := range set {
						d.Set(x)
						if inside = append(inside, x); len(inside) > size {
							inside = inside[1:]
						}
					}
					for range min(read, len(inside)) {
						d.TryNext()
						inside = inside[1:]
					}
					d.hint.Store(position{lap: word(stale/size) * lapUnit, slot: stale % size}.pack())
					want, wantOK := 0, len(inside) == size
					switch {
					case closing:
						d.Close()
						d.hint.Store(position{lap: word(stale/size) * lapUnit, slot: stale % size}.pack())
						want, wantOK = set, true
					case wantOK:
						want = inside[0]
						inside = append(inside[1:], set)
					default:
						inside = append(inside, set)
					}
					if dropped, ok := d.Set(set); dropped != want || ok != wantOK {
						t.Errorf("%s: want %d, %t dropped, got %d, %t", name, want, wantOK, dropped, ok)
					}
					equal(t, name, inside, drain(d))
				}
			}
		}
	}
}

// lastLap is the lap after which laps begin anew.
const lastLap = ^word(0) - (lapUnit - 1)

// A Set that found a place to begin, and was descheduled while others went round the ring, catches up with the hint.
func TestAhead(t *testing.T) {
	const lap, last = lapUnit, lastLap
	for _, positions := range [][2]position{
		{{0, 0}, {0, 1}}, {{0, 5}, {lap, 0}}, {{7 * lap, 3}, {9 * lap, 2}}, {{last, 9}, {0, 0}}, {{last - lap, 0}, {3 * lap, 0}},
	} {
		earlier, later := positions[0].pack(), positions[1].pack()
		if !ahead(later, earlier) || ahead(earlier, later) || ahead(later, later) {
			t.Errorf("%v is not ahead of %v", positions[1], positions[0])
		}
		if got := unpackPosition(later); got != positions[1] {
			t.Errorf("want %v, got %v", positions[1], got)
		}
	}
}

type element struct{ writer, n int }

// Many writers, a reader of varying speed, a Close in the middle: each element comes out exactly once, in its writer's order.
func TestManyToOneStress(t *testing.T) {
	const writers = 8
	perWriter := 20_000
	if testing.Short() {
		perWriter = 2_000
	}
	for _, size := range []int{1, 2, 3, 4, 7, 16, 17, 64, 1000} {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprintf("size %d, closed early %t", size, closing), func(t *testing.T) {
				t.Parallel()
				var alerts atomic.Int64
				d := NewManyToOne[element](size, AlertFunc(func(n int) { alerts.Add(int64(n)) }))
				dropped := make([][]element, writers)
				var set sync.WaitGroup
				var progress atomic.Int64
				for w := range writers {
					set.Go(func() {
						for n := range perWriter {
							if x, ok := d.Set(element{w, n}); ok {
								dropped[w] = append(dropped[w], x)
								if !closing && x == (element{w, n}) {
									t.Errorf("an open diode refused %v", x)
								}
							}
							progress.Add(1)
						}
					})
				}
				read := make(chan []element)
				go func() {
					var got []element
					for {
						x, ok := d.Next()
						if !ok {
							read <- got
							return
						}
						got = append(got, x)
						if len(got)%1000 < 500 { // half the time it dawdles
							runtime.Gosched()
						}
					}
				}()
				if closing {
					for progress.Load() < writers*int64(perWriter)/2 {
						runtime.Gosched()
					}
					d.Close()
				}
				set.Wait()
				d.Close()
				got := <-read

				checkOnce(t, writers, perWriter, got, dropped)
				drops := 0
				for _, xs := range dropped {
					drops += len(xs)
				}
				if int(alerts.Load()) != drops {
					t.Errorf("want %d alerted, got %d", drops, alerts.Load())
				}
				if d.Len() != 0 {
					t.Errorf("%d elements stayed inside", d.Len())
				}
				t.Logf("%d read, %d dropped", len(got), drops)
			})
		}
	}
}

// checkOnce checks that what was read and what was dropped is what was set, each once, and that reading kept each writer's
// order.
func checkOnce(t *testing.T, writers, perWriter int, read []element, dropped [][]element) {
	t.Helper()
	seen := make([][]byte, writers)
	for w := range seen {
		seen[w] = make([]byte, perWriter)
	}
	last := make([]int, writers)
	for i := range last {
		last[i] = -1
	}
	for _, x := range read {
		seen[x.writer][x.n]++
		if x.n <= last[x.writer] {
			t.Fatalf("writer %d: read %d after %d", x.writer, x.n, last[x.writer])
		}
		last[x.writer] = x.n
	}
	for _, xs := range dropped {
		for _, x := range xs {
			seen[x.writer][x.n]++
		}
	}
	for w := range seen {
		for n, times := range seen[w] {
			if times != 1 {
				t.Fatalf("element %d of writer %d came out %d times", n, w, times)
			}
		}
	}
}

// Readers that sleep and writers that wake them, one element at a time: a lost wake-up hangs here.
func TestManyToOneNoLostWakeUp(t *testing.T) {
	rounds := 50_000
	if testing.Short() {
		rounds = 5_000
	}
	d := NewManyToOne[int](4, nil)
	back := make(chan int)
	go func() {
		for {
			x, ok := d.Next()
			if !ok {
				close(back)
				return
			}
			back <- x
		}
	}()
	var helpers sync.WaitGroup
	for round := range rounds {
		helpers.Go(func() { d.Set(round) })
		select {
		case <-back:
		case <-time.After(time.Minute):
			t.Fatalf("round %d: the reader sleeps although there is an element", round)
		}
	}
	helpers.Wait()
	d.Close()
	if x, ok := <-back; ok {
		t.Fatalf("got %d after Close", x)
	}
}
