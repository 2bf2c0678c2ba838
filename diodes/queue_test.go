// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
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

// drain reads until the diode is empty.
func drain[T any](d interface{ TryNext() (T, bool) }) []T {
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

func numbers(from, to int) []int {
	var xs []int
	for x := from; x < to; x++ {
		xs = append(xs, x)
	}
	return xs
}

func TestExactCapacity(t *testing.T) {
	sequences(t, kinds, []int{1, 2, 3, 5, 8, 200}, func(size int, run func(calls string)) {
		for _, overflow := range []int{0, 1, 2, size, 3*size + 1} {
			run(times(size+overflow, "s") + times(size+1, "t"))
		}
	})
}

// The reader or the evicting writer may be at any position when the writer laps it.
func TestOldestAfterOverflow(t *testing.T) {
	sequences(t, kinds, []int{5}, func(size int, run func(calls string)) {
		for first := range 2 * size {
			for burst := range 4 * size {
				for evicted := range size + 1 {
					run(times(first, "st") + times(burst, "s") + times(evicted, "e") + times(size+1, "t"))
				}
			}
		}
	})
}

func TestClose(t *testing.T) {
	sequences(t, kinds, []int{1, 2, 3}, func(size int, run func(calls string)) {
		for set := range 2*size + 1 {
			run(times(set, "s") + "cc" + times(2*size, "s") + times(size, "nsn") + "nnee")
		}
	})
}

// lastLap is the last lap before laps wrap to 0.
const lastLap = ^state(0) - (lapUnit - 1)

// skipTo puts an empty ring into the state that it reaches in lap.
func (r *ring) skipTo(lap state) (start position) {
	start.lap = lap
	for i := range r.slots {
		r.slots[i].Store(uint64(emptyState(lap, state(r.slots[i].Load()).node())))
	}
	r.hint.Store(start.pack())
	return start
}

func TestLapWraparound(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		newSequence(t, kind, 3, DropOldest, lastLap-lapUnit).run(times(5, "sssstttt"))
	})
}

func TestPositionWraparound(t *testing.T) {
	const lap = lapUnit
	for _, positions := range [][2]position{
		{{0, 0}, {0, 1}}, {{0, 5}, {lap, 0}}, {{7 * lap, 3}, {9 * lap, 2}}, {{lastLap, 9}, {0, 0}}, {{lastLap - lap, 0}, {3 * lap, 0}},
	} {
		earlier, later := positions[0].pack(), positions[1].pack()
		if !ahead(later, earlier) || ahead(earlier, later) || ahead(later, later) {
			t.Errorf("%v is not ahead of %v", positions[1], positions[0])
		}
		if got := unpackPosition(later); got != positions[1] {
			t.Errorf("want %v, got %v", positions[1], got)
		}
		if earlier, later := placeOf(positions[0]), placeOf(positions[1]); !ahead61(later, earlier) || ahead61(earlier, later) {
			t.Errorf("place %v is not ahead of %v", positions[1], positions[0])
		}
	}
}

func TestSizes(t *testing.T) {
	for _, size := range []int{0, -1, MaxSize + 1} {
		want := fmt.Sprintf("diodes: size must be from 1 to 8000000, not %d", size)
		panics(t, want, func() { NewOneToOne[int](size, nil) })
		panics(t, want, func() { NewManyToOne[int](size, nil) })
		panics(t, want, func() { NewOneToMany[int](size, nil) })
	}
	new(ring).init(MaxSize, DropOldest) // does not panic
	panics(t, "diodes.DropPolicy(7) is unknown", func() { NewManyToOne[int](1, nil, DropPolicy(7)) })
	panics(t, "diodes.StartFrom(7) is unknown", func() { NewOneToMany[int](1, nil).NewPoller(StartFrom(7)) })
}

func panics(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != want {
			t.Errorf("want panic %q, got %v", want, got)
		}
	}()
	f()
}

// A Set that keeps finding slots filled by others gives up and returns its element.
func TestSetGivesUp(t *testing.T) {
	forKinds(t, queues, func(t *testing.T, kind string) {
		alerted := 0
		d := newKind[int](kind, attempts+10, AlertFunc(func(n int) { alerted += n }))
		for x := range attempts {
			d.Set(x)
		}
		// As if this writer had stopped long ago, and others before moving the hint.
		w := d.writer
		w.at = position{}
		d.ring.hint.Store(0)
		if dropped, ok := d.Set(99); !ok || dropped != 99 || alerted != 1 {
			t.Errorf("want 99, true and 1 alerted, got %d, %t and %d", dropped, ok, alerted)
		}
		w.at = position{}
		if x, ok := d.Evict(); ok {
			t.Errorf("Evict returned %d after too many attempts", x)
		}
		w.at = position{slot: 1}
		if dropped, ok := d.Set(attempts); ok {
			t.Errorf("%d was dropped despite free slots", dropped)
		}
		equal(t, "read", numbers(0, attempts+1), drain(d))
	})
}

// A new or long idle writer finds its position by the hint: it does not give up although more slots are filled than it has attempts.
func TestHint(t *testing.T) {
	d := NewManyToOne[int](attempts+100, nil)
	w := d.Writer()
	for x := range attempts + 10 {
		w.Set(x)
	}
	if dropped, ok := d.Set(1); ok {
		t.Errorf("an idle writer dropped %d", dropped)
	}
	if dropped, ok := d.Writer().Set(2); ok {
		t.Errorf("a new writer dropped %d", dropped)
	}
	if want := attempts + 12; d.Len() != want {
		t.Errorf("want %d elements, got %d", want, d.Len())
	}
}

// A Set after which the next slot to fill is divisible by hintEvery moves the hint to it.
func TestHintMoves(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		for _, size := range []int{1, 3, hintEvery, 2*hintEvery + 1} {
			d := newKind[int](kind, size, nil)
			for x := range 5 * hintEvery {
				d.Set(x)
				next := d.writer.at
				next.slot -= next.slot % hintEvery
				if hint := unpackPosition(d.ring.hint.Load()); hint != next {
					t.Errorf("size %d: the hint is %v, want %v", size, hint, next)
				}
			}
		}
	})
}

// New writers start at the hint. In the last lap before laps wrap, the very first position is ahead of the next one to fill, and in
// the lap after it, unread elements are before that position.
func TestNewWriterInLastLap(t *testing.T) {
	for name, calls := range map[string]string{
		"shared writer": "sfsssfett",
		"handle":        "swssswett",
		"reused handle": "swrwsssrwett",
	} {
		t.Run(name, func(t *testing.T) { newSequence(t, "ManyToOne", 3, DropOldest, lastLap).run(calls) })
	}
}

func TestNextBlocks(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			d := newKind[int](kind, 3, nil)
			readers := []reader[int]{d.reader}
			if d.many != nil {
				readers = append(readers, d.many.NewPoller(), d.many.NewPoller())
			}
			got := make([][]int, len(readers))
			var ended atomic.Int32
			check := func(wantEnded int) {
				t.Helper()
				// Wait returns only once the readers block on their channels: they neither poll nor use timers.
				synctest.Wait()
				if n := int(ended.Load()); n != wantEnded {
					t.Fatalf("want %d readers ended, got %d", wantEnded, n)
				}
				if want := len(readers) - wantEnded; d.many != nil && int(d.many.asleep.Load()) != want {
					t.Fatalf("want %d readers asleep, got %d", want, d.many.asleep.Load())
				}
			}
			for i, r := range readers {
				go func() {
					for x, ok := r.Next(); ok; x, ok = r.Next() {
						got[i] = append(got[i], x)
					}
					ended.Add(1)
				}()
			}
			for x := range 100 {
				check(0)
				if d.ready.epoch.Load()&1 == 0 {
					t.Fatal("the reader blocks without being armed")
				}
				d.Set(x)
				synctest.Wait()
				for i := range readers {
					equal(t, "read", numbers(0, x+1), got[i])
				}
			}
			if p, ok := d.reader.(*Poller[int]); ok {
				p.Close()
				check(1)
			}
			d.Close()
			check(len(readers))
		})
	})
}

func TestNextContext(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			d := newKind[int](kind, 3, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			next := func(ctx context.Context, want int, wantOK bool) {
				t.Helper()
				if x, ok := d.NextContext(ctx); x != want || ok != wantOK {
					t.Errorf("want %d, %t, got %d, %t", want, wantOK, x, ok)
				}
				synctest.Wait()
				if d.many != nil && d.many.asleep.Load() != 0 {
					t.Errorf("%d asleep", d.many.asleep.Load())
				}
			}
			for x := range 3 {
				go d.Set(x)
				next(ctx, x, true)
			}
			next(ctx, 0, false) // The diode is empty.
			if ctx.Err() == nil {
				t.Error("the reader returned before the context was done")
			}
			d.Set(3)
			next(ctx, 3, true) // Although ctx is done.
			go d.Set(4)
			next(t.Context(), 4, true) // The canceled wait has no effect on this one.
			if p, ok := d.reader.(*Poller[int]); ok {
				go p.Close()
			} else {
				go d.Close()
			}
			next(t.Context(), 0, false)
		})
	})
}

// An element set before the context is canceled is returned.
func TestNextContextPrefersElement(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		for round := range 3000 {
			d := newKind[int](kind, 2, nil)
			ctx, cancel := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			writing.Go(func() {
				for range round % 50 { // so that each round meets the reader at a different step
					runtime.Gosched()
				}
				d.Set(1)
				cancel()
			})
			if x, ok := d.NextContext(ctx); !ok || x != 1 {
				t.Fatalf("round %d: want 1, true, got %d, %t", round, x, ok)
			}
			writing.Wait()
		}
	})
}

// A writer pays for a wake-up only if the reader sleeps.
func TestSetWithoutSleeper(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		d := newKind[int](kind, 3, nil)
		for x := range 10 {
			d.Set(x)
			d.Next()
		}
		if epoch := d.ready.epoch.Load(); epoch != 0 {
			t.Errorf("the epoch of a reader that never slept was moved to %d", epoch)
		}
	})
}

// If two writers find the reader armed, neither blocks.
func TestEventcountSecondWakeUp(t *testing.T) {
	synctest.Test(t, func(*testing.T) { // It fails on a deadlock.
		p := newEventcount(nil)
		p.arm()
		epoch := p.epoch.Load()
		p.wakeArmed(epoch)
		p.wakeArmed(epoch)
	})
}

func TestAllocs(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			d := newKind[[3]uint64](kind, 100, AlertFunc(func(int) {}), policy)
			first := newKind[[3]uint64](kind, 1000, nil, policy)
			for _, c := range []struct {
				what string
				runs int // AllocsPerRun adds one.
				f    func()
			}{
				{"Set into full ring", 1000, func() { d.Set([3]uint64{1, 2, 3}) }},
				{"Set and TryNext", 1000, func() { d.Set([3]uint64{1, 2, 3}); d.TryNext() }},
				{"Set and Evict", 1000, func() { d.Set([3]uint64{1, 2, 3}); d.Evict() }},
				{"first Sets", 1, func() {
					for range 400 {
						first.Set([3]uint64{1, 2, 3})
					}
				}},
			} {
				if n := testing.AllocsPerRun(c.runs, c.f); n != 0 {
					t.Errorf("%s: want 0 allocations, got %v", c.what, n)
				}
			}
		}
	})
}

func TestNextAllocs(t *testing.T) {
	forKinds(t, kinds, func(t *testing.T, kind string) {
		d := newKind[int](kind, 3, nil)
		read := make(chan struct{})
		go func() {
			defer close(read)
			for _, ok := d.Next(); ok; _, ok = d.Next() {
				read <- struct{}{}
			}
		}()
		if n := testing.AllocsPerRun(1000, func() {
			d.Set(1)
			<-read
		}); n != 0 {
			t.Errorf("want 0 allocations, got %v", n)
		}
		d.Close()
		<-read
	})
}

func TestReferencesCleared(t *testing.T) {
	type payload [64]byte
	forKinds(t, kinds, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			d := newKind[*payload](kind, 3, nil, policy)
			var gone []weak.Pointer[payload]
			fresh := func() *payload {
				x := new(payload)
				gone = append(gone, weak.Make(x))
				return x
			}
			func() {
				for range 10 { // Some are dropped, some read, some evicted.
					d.Set(fresh())
				}
				d.Evict()
				drain(d.reader)
				for ok := true; ok; { // The elements that a poller has read are still in the ring.
					_, ok = d.Evict()
				}
				d.Set(new(payload))
				d.Close()
				d.Set(fresh()) // refused
			}()
			runtime.GC()
			for i, w := range gone {
				if w.Value() != nil {
					t.Errorf("%v: element %d is still referenced", policy, i)
				}
			}
			if x, ok := d.TryNext(); !ok || x == nil {
				t.Error("the element in the ring was lost")
			}
		}
	})
}

// countWriters counts the shared writers.
func (d *ManyToOne[T]) countWriters() (all, held int) {
	for w := &d.writers; w != nil; w = w.next.Load() {
		all++
		held += int(w.held.Load())
	}
	return all, held
}

// When all writers are held, as if their goroutines had been descheduled inside Set, the diode adds more.
func TestWritersGrow(t *testing.T) {
	const size, frozen = 3, 1000
	d := NewManyToOne[int](size, nil)
	var writers []*sharedWriter[int]
	for i := range frozen {
		w := d.borrow()
		writers = append(writers, w)
		w.cell.set(-i)
	}
	for x := range 10 {
		d.Set(x)
	}
	equal(t, "read", []int{7, 8, 9}, drain(d))
	for i, w := range writers {
		if got := w.cell.get(); got != -i {
			t.Fatalf("cell of writer %d: want %d, got %d", i, -i, got)
		}
		if w.cell != d.arena.at(w.spare) {
			t.Fatalf("writer %d has the cell of another node", i)
		}
	}
	if all, held := d.countWriters(); all != frozen+1 || held != frozen {
		t.Errorf("want %d writers, %d held, got %d, %d held", frozen+1, frozen, all, held)
	}
}

// Every node has a cell, whatever the initial number of cells: at does not panic.
func TestLastCell(*testing.T) {
	for _, first := range []int{1, MaxSize, maxNodes - 1} {
		var c arena[struct{}]
		c.init(first, 0)
		c.at(maxNodes - 1)
	}
}

// A goroutine that was descheduled inside Set holds the current writer. The next Set makes another writer the current one, so that
// only this Set has to wait.
func TestCurrentWriterReplaced(t *testing.T) {
	d := NewManyToOne[int](3, nil)
	absent := d.current.Load()
	if !absent.hold() {
		t.Fatal("holding the first writer failed although it is free")
	}
	for x := range 5 {
		d.Set(x)
		if w := d.current.Load(); w == absent || w.held.Load() != 0 {
			t.Errorf("the current writer is held after Set(%d)", x)
		}
	}
	equal(t, "read", []int{2, 3, 4}, drain(d))
}

// Without a node for another writer, Set returns its element.
func TestWritersRunOut(t *testing.T) {
	alerted := 0
	d := NewManyToOne[int](3, AlertFunc(func(n int) { alerted += n }))
	for range initialWriters {
		d.borrow()
	}
	d.arena.handed.Store(maxNodes)
	d.ready.arm() // The reader is about to sleep.
	if dropped, ok := d.Set(5); !ok || dropped != 5 || alerted != 1 {
		t.Errorf("want 5, true and 1 alerted, got %d, %t and %d", dropped, ok, alerted)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !d.ready.wakes.receive(ctx) {
		t.Error("the reader was not woken")
	}
	if x, ok := d.Evict(); ok {
		t.Errorf("Evict returned %d", x)
	}
	panics(t, "diodes: too many writers: the ring and its writers share 8388608 cells", func() { d.Writer() })
	if n := d.arena.handed.Load(); n != maxNodes {
		t.Errorf("%d nodes were handed out", n)
	}
}

func TestWriterRelease(t *testing.T) {
	d := NewManyToOne[int](3, nil)
	for x := range 1000 {
		w := d.Writer()
		w.Set(x)
		w.Release()
		w.Release()
	}
	if n := d.arena.handed.Load(); n != 3+1+initialWriters+1 {
		t.Errorf("1000 handles, one at a time, took %d nodes", n)
	}
	a, b := d.Writer(), d.Writer()
	a.Set(1)
	b.Set(2)
	d.Set(3)
	equal(t, "read", []int{1, 2, 3}, drain(d))
}

// The hint and the position of a writer may lag. This test puts them at each of their earlier positions, with the ring in every state.
func TestStalePositions(t *testing.T) {
	const size = 4
	forKinds(t, queues, func(t *testing.T, kind string) {
		for stale := range 3 * size {
			for set := stale; set < 3*size+2; set++ {
				for read := range size + 1 {
					for _, closing := range []string{"", "c"} {
						s := newSequence(t, kind, size, DropOldest, 0)
						behind := position{lap: state(stale/size) * lapUnit, slot: stale % size}
						s.name += fmt.Sprintf(", hint and writer at %v before the last calls", behind)
						s.run(times(set, "s") + times(read, "t"))
						for _, calls := range []string{closing, "s", "e", times(size+1, "t")} {
							s.ring.hint.Store(behind.pack())
							s.writer.at = behind
							s.check()
							s.run(calls)
						}
					}
				}
			}
		}
	})
}

// The reader sleeps and a writer wakes it, one element at a time.
func TestNoLostWakeUp(t *testing.T) {
	rounds := 50_000
	if testing.Short() {
		rounds = 5_000
	}
	synctest.Test(t, func(t *testing.T) { // It fails on a deadlock.
		d := NewManyToOne[int](4, nil)
		for round := range rounds {
			go d.Set(round)
			if x, ok := d.Next(); !ok || x != round {
				t.Fatalf("want %d, true, got %d, %t", round, x, ok)
			}
		}
	})
}

// No shared writer is held while the alerter runs, so an alerter that is slow or panics does not keep one.
func TestAlerterHoldsNoWriter(t *testing.T) {
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		var d *ManyToOne[int]
		d = NewManyToOne[int](1, AlertFunc(func(int) {
			if _, held := d.countWriters(); held != 0 {
				t.Errorf("%v: %d writers are held during Alert", policy, held)
			}
			panic("alert")
		}), policy)
		for range 100 {
			func() {
				defer func() { _ = recover() }()
				d.Set(1)
			}()
			func() {
				defer func() { _ = recover() }()
				d.Evict()
			}()
			d.Set(1)
		}
		if all, held := d.countWriters(); all != initialWriters || held != 0 {
			t.Errorf("%v: want %d writers, none held, got %d, %d held", policy, initialWriters, all, held)
		}
	}
}

// A writer that was descheduled for 2^38 laps or more while moving the hint does not move it into the future.
func TestLateHint(t *testing.T) {
	forKinds(t, queues, func(t *testing.T, kind string) {
		for _, laps := range []state{1, 1<<38 - 1, 1 << 38, 1<<38 + 1, 1<<39 - 1} {
			d := newKind[int](kind, 3, nil)
			q := d.queue
			start := q.skipTo(laps * lapUnit)
			q.at, d.writer.at = start, start
			d.Set(1)

			q.moveHint(position{slot: 2}, position{lap: lapUnit}) // By the writer that filled the last slot of the first lap.
			if got := q.hint.Load(); got != start.pack() {
				t.Errorf("%d laps later: the hint is %v, want %v", laps, unpackPosition(got), start)
				q.hint.Store(start.pack()) // Otherwise Len would not return.
			}
			if n := d.Len(); n != 1 {
				t.Errorf("%d laps later: want 1 element, got %d", laps, n)
			}
		}
	})
}
