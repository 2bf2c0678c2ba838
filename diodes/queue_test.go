// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

// queueDiode is what diodes with one reader have in common.
type queueDiode[T any] interface {
	Set(x T) (dropped T, ok bool)
	Evict() (T, bool)
	TryNext() (T, bool)
	Next() (T, bool)
	NextContext(context.Context) (T, bool)
	Close()
	Len() int
	Cap() int

	queueForTest() *queue[T]
	writerForTest() *writer[T]
}

func (q *queue[T]) queueForTest() *queue[T] { return q }

func (d *OneToOne[T]) writerForTest() *writer[T] { return &d.writer }

func (d *ManyToOne[T]) writerForTest() *writer[T] { return &d.writers.writer }

// handleDiode is a ManyToOne whose writer has a handle.
type handleDiode[T any] struct {
	*ManyToOne[T]
	w *Writer[T]
}

func (d handleDiode[T]) Set(x T) (T, bool)         { return d.w.Set(x) }
func (d handleDiode[T]) Evict() (T, bool)          { return d.w.Evict() }
func (d handleDiode[T]) writerForTest() *writer[T] { return &d.w.writer }

// kinds are the ways to set into a diode with one reader.
var kinds = []string{"OneToOne", "ManyToOne", "Writer"}

func newKind[T any](kind string, size int, alerter Alerter, policy ...DropPolicy) queueDiode[T] {
	switch kind {
	case "OneToOne":
		return NewOneToOne[T](size, alerter, policy...)
	case "ManyToOne":
		return NewManyToOne[T](size, alerter, policy...)
	default:
		d := NewManyToOne[T](size, alerter, policy...)
		return handleDiode[T]{d, d.Writer()}
	}
}

func forKinds(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// drain reads until nothing is there.
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
	forKinds(t, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			for _, size := range []int{1, 2, 3, 5, 8, 1000} {
				for _, overflow := range []int{0, 1, 2, size, 3*size + 1} {
					t.Run(fmt.Sprintf("%v size %d, %d too many", policy, size, overflow), func(t *testing.T) {
						alerted := 0
						d := newKind[int](kind, size, AlertFunc(func(missed int) { alerted += missed }), policy)
						var dropped []int
						for x := range size + overflow {
							if out, ok := d.Set(x); ok {
								dropped = append(dropped, out)
							}
							if alerted != len(dropped) {
								t.Fatalf("want %d alerted, got %d", len(dropped), alerted)
							}
						}
						if d.Len() != size || d.Cap() != size {
							t.Errorf("want %d of %d elements, got %d of %d", size, size, d.Len(), d.Cap())
						}
						if policy == DropOldest {
							equal(t, "dropped", numbers(0, overflow), dropped)
							equal(t, "kept", numbers(overflow, size+overflow), drain(d))
						} else {
							equal(t, "dropped", numbers(size, size+overflow), dropped)
							equal(t, "kept", numbers(0, size), drain(d))
						}
						if d.Len() != 0 {
							t.Errorf("want an empty ring, got %d elements", d.Len())
						}
					})
				}
			}
		}
	})
}

// The reader, or who evicts, may have been anywhere when the writer laps it.
func TestOldestAfterEachOverflow(t *testing.T) {
	const size = 5
	forKinds(t, func(t *testing.T, kind string) {
		for first := range 2 * size {
			for burst := range 4 * size {
				for evicted := range size + 1 {
					d := newKind[int](kind, size, nil)
					next := 0
					for ; next < first; next++ {
						d.Set(next)
						d.TryNext()
					}
					for range burst {
						d.Set(next)
						next++
					}
					want := numbers(max(first, next-size), next)
					for range min(evicted, len(want)) {
						if x, ok := d.Evict(); !ok || x != want[0] {
							t.Errorf("evicted: want %d, got %d, %t", want[0], x, ok)
						}
						want = want[1:]
					}
					if d.Len() != len(want) {
						t.Errorf("want %d elements, got %d", len(want), d.Len())
					}
					equal(t, fmt.Sprintf("%d read, then %d set and %d evicted", first, burst, evicted), want, drain(d))
				}
			}
		}
	})
}

// lastLap is the lap after which laps begin anew.
const lastLap = ^state(0) - (lapUnit - 1)

// skipTo makes an empty ring as if it had gone round until lap.
func (r *ring) skipTo(lap state) (start position) {
	start.lap = lap
	for i := range r.slots {
		r.slots[i].Store(uint64(emptyState(lap, state(r.slots[i].Load()).node())))
	}
	r.hint.Store(start.pack())
	return start
}

func TestLapsWrap(t *testing.T) {
	const size = 3
	forKinds(t, func(t *testing.T, kind string) {
		d := newKind[int](kind, size, nil)
		q := d.queueForTest()
		q.at = q.skipTo(lastLap - lapUnit)
		d.writerForTest().at = q.at

		for x := range 20 {
			d.Set(x)
			if want := min(x%4+1, size); d.Len() != want {
				t.Fatalf("after %d: want %d elements, got %d", x, want, d.Len())
			}
			if x%4 == 3 {
				equal(t, fmt.Sprint("after ", x), []int{x - 2, x - 1, x}, drain(d))
			}
		}
	})
}

func TestPositionsWrap(t *testing.T) {
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
		if earlier, later := copies(positions[0]), copies(positions[1]); !ahead61(later, earlier) || ahead61(earlier, later) {
			t.Errorf("place %v is not ahead of %v", positions[1], positions[0])
		}
	}
}

func TestClose(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			for _, size := range []int{1, 2, 3} {
				for set := range 2*size + 1 {
					t.Run(fmt.Sprintf("%v size %d after %d", policy, size, set), func(t *testing.T) {
						alerted := 0
						d := newKind[int](kind, size, AlertFunc(func(n int) { alerted += n }), policy)
						var inside []int
						for x := range set {
							d.Set(x)
						}
						if policy == DropOldest {
							inside = numbers(max(0, set-size), set)
						} else {
							inside = numbers(0, min(set, size))
						}
						d.Close()
						d.Close()
						for range 2 * size {
							alerted = 0
							if dropped, ok := d.Set(99); !ok || dropped != 99 || alerted != 1 {
								t.Fatalf("Set after Close: want 99, true, got %d, %t; %d alerted", dropped, ok, alerted)
							}
						}
						for i, x := range inside {
							got, ok := d.Next()
							if i%2 == 1 {
								continue // Checked by what comes after it.
							}
							if !ok || got != x {
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
							if got, ok := d.Evict(); ok {
								t.Fatalf("Evict after the last: got %d, true", got)
							}
						}
					})
				}
			}
		}
	})
}

func TestSizes(t *testing.T) {
	for _, size := range []int{0, -1, MaxSize + 1} {
		want := fmt.Sprintf("diodes: size must be from 1 to 8000000, not %d", size)
		panics(t, want, func() { NewOneToOne[int](size, nil) })
		panics(t, want, func() { NewManyToOne[int](size, nil) })
		panics(t, want, func() { NewOneToMany[int](size, nil) })
	}
	new(ring).init(MaxSize, DropOldest) // Which is not too large.
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

// Set ends although it finds, again and again, that others were faster, and then hands its element out.
func TestSetGivesUp(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		alerted := 0
		d := newKind[int](kind, attempts+10, AlertFunc(func(n int) { alerted += n }))
		for x := range attempts {
			d.Set(x)
		}
		// As if this writer had stopped long ago, and others before they could move the hint.
		w := d.writerForTest()
		w.at = position{}
		d.queueForTest().hint.Store(0)
		if dropped, ok := d.Set(99); !ok || dropped != 99 || alerted != 1 {
			t.Errorf("want 99, true and 1 alerted, got %d, %t and %d", dropped, ok, alerted)
		}
		w.at = position{}
		if x, ok := d.Evict(); ok {
			t.Errorf("Evict: got %d after too many attempts", x)
		}
		w.at = position{slot: 1}
		if dropped, ok := d.Set(attempts); ok {
			t.Errorf("%d was dropped although there is room", dropped)
		}
		equal(t, "read", numbers(0, attempts+1), drain(d))
	})
}

// A writer that was away, or is new, finds its place by the hint: it does not give up although more slots are filled than it has
// attempts.
func TestHint(t *testing.T) {
	d := NewManyToOne[int](attempts+100, nil)
	w := d.Writer()
	for x := range attempts + 10 {
		w.Set(x)
	}
	if dropped, ok := d.Set(1); ok {
		t.Errorf("%d was dropped by a writer that was away", dropped)
	}
	if dropped, ok := d.Writer().Set(2); ok {
		t.Errorf("%d was dropped by a new writer", dropped)
	}
	if want := attempts + 12; d.Len() != want {
		t.Errorf("want %d elements, got %d", want, d.Len())
	}
}

// A Set that makes a slot divisible by hintEvery the next to fill moves the hint there.
func TestHintMoves(t *testing.T) {
	check := func(t *testing.T, r *ring, next position) {
		next.slot -= next.slot % hintEvery
		if hint := unpackPosition(r.hint.Load()); hint != next {
			t.Errorf("size %d: the hint is %v, want %v", r.size(), hint, next)
		}
	}
	for _, size := range []int{1, 3, hintEvery, 2*hintEvery + 1} {
		forKinds(t, func(t *testing.T, kind string) {
			d := newKind[int](kind, size, nil)
			for x := range 5 * hintEvery {
				d.Set(x)
				check(t, &d.queueForTest().ring, d.writerForTest().at)
			}
		})
		d := NewOneToMany[int](size, nil)
		for x := range 5 * hintEvery {
			d.Set(x)
			check(t, &d.ring, d.writer.at)
		}
	}
}

// New writers start at the hint. In the last lap before laps wrap, the very first position is ahead of the next one to fill.
func TestNewWriterInTheLastLap(t *testing.T) {
	type setter interface {
		Set(x int) (int, bool)
		Evict() (int, bool)
	}
	for name, open := range map[string]func(*ManyToOne[int]) setter{
		"a shared writer": func(d *ManyToOne[int]) setter {
			for range initialWriters {
				d.borrow()
			}
			return d
		},
		"a handle": func(d *ManyToOne[int]) setter { return d.Writer() },
		"the handle of a released node": func(d *ManyToOne[int]) setter {
			d.Writer().Release()
			return d.Writer()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewManyToOne[int](3, nil)
			d.at = d.skipTo(lastLap)
			d.writers.at = d.at
			d.Set(1)
			if dropped, ok := open(d).Set(2); ok {
				t.Errorf("%d was dropped although there is room", dropped)
			}
			d.Set(3)
			d.Set(4) // In the first lap, and drops 1.
			if evicted, _ := open(d).Evict(); evicted != 2 {
				t.Fatalf("%d was evicted, not the oldest, 2", evicted)
			}
			equal(t, "read", []int{3, 4}, drain(d))
		})
	}
}

func TestNextParks(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			d := newKind[int](kind, 3, nil)
			q := d.queueForTest()
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
				if q.ready.epoch.Load()&1 == 0 {
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
	})
}

func TestNextContext(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			d := newKind[int](kind, 3, nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var writing sync.WaitGroup
			for x := range 3 {
				writing.Go(func() { d.Set(x) })
				if got, ok := d.NextContext(ctx); !ok || got != x {
					t.Errorf("want %d, true, got %d, %t", x, got, ok)
				}
				writing.Wait()
			}
			if got, ok := d.NextContext(ctx); ok || ctx.Err() == nil {
				t.Errorf("got %d, %t from an empty diode, %v", got, ok, ctx.Err())
			}
			d.Set(3)
			if got, ok := d.NextContext(ctx); !ok || got != 3 {
				t.Errorf("an element that is there: want 3, true, got %d, %t", got, ok)
			}
			// What the wait that ended early left behind does no harm.
			writing.Go(func() { d.Set(4) })
			if got, ok := d.Next(); !ok || got != 4 {
				t.Errorf("after it: want 4, true, got %d, %t", got, ok)
			}
			writing.Wait()
			d.Close()
			if got, ok := d.NextContext(t.Context()); ok {
				t.Errorf("got %d from a closed diode", got)
			}
		})
	})
}

// An element that was set before the context ended is returned.
func TestNextContextPrefersAnElement(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		prefersAnElement(t, func() (func(int), func(context.Context) (int, bool)) {
			d := newKind[int](kind, 2, nil)
			return func(x int) { d.Set(x) }, d.NextContext
		})
	})
}

func prefersAnElement(t *testing.T, open func() (set func(int), next func(context.Context) (int, bool))) {
	for round := range 3000 {
		set, next := open()
		ctx, cancel := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		writing.Go(func() {
			for range round % 50 { // to meet the reader at another place each time
				runtime.Gosched()
			}
			set(1)
			cancel()
		})
		if x, ok := next(ctx); !ok || x != 1 {
			t.Fatalf("round %d: want 1, true, got %d, %t", round, x, ok)
		}
		writing.Wait()
	}
}

// A writer pays for waking only when the reader sleeps.
func TestSetWakesOnlyASleeper(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		d := newKind[int](kind, 3, nil)
		for x := range 10 {
			d.Set(x)
			d.Next()
		}
		if epoch := d.queueForTest().ready.epoch.Load(); epoch != 0 {
			t.Errorf("the epoch of a reader that never slept was moved to %d", epoch)
		}
	})
}

// A writer that is descheduled between its wake-up and moving the epoch must not swallow the wake-up of a later one.
func TestEventcountLateEpoch(t *testing.T) {
	p := newEventcount(nil)
	p.arm()
	late := p.epoch.Load()
	p.wakes.send() // Another writer's.
	p.wakes.receive(t.Context())
	p.arm()
	p.wakeArmed(late) // A writer that found the reader armed the time before.
	p.wakes.receive(t.Context())
	p.wake() // A later one.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !p.wakes.receive(ctx) {
		t.Error("the later wake-up got lost")
	}
}

// Of two writers that found the reader armed, neither waits for it.
func TestEventcountSecondWakeUp(t *testing.T) {
	synctest.Test(t, func(*testing.T) { // It fails if all wait.
		p := newEventcount(nil)
		p.arm()
		epoch := p.epoch.Load()
		p.wakeArmed(epoch)
		p.wakeArmed(epoch)
	})
}

func TestAllocatesNothing(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			d := newKind[[3]uint64](kind, 100, AlertFunc(func(int) {}), policy)
			for what, f := range map[string]func(){
				"Set and TryNext":      func() { d.Set([3]uint64{1, 2, 3}); d.TryNext() },
				"Set and Evict":        func() { d.Set([3]uint64{1, 2, 3}); d.Evict() },
				"Set into a full ring": func() { d.Set([3]uint64{1, 2, 3}) },
			} {
				if n := testing.AllocsPerRun(1000, f); n != 0 {
					t.Errorf("%s: want 0 allocations, got %v", what, n)
				}
			}
			d = newKind[[3]uint64](kind, 1000, nil, policy)
			// AllocsPerRun calls it twice.
			if n := testing.AllocsPerRun(1, func() {
				for range 400 {
					d.Set([3]uint64{1, 2, 3})
				}
			}); n != 0 {
				t.Errorf("the first Sets: want 0 allocations, got %v", n)
			}
		}
	})
}

func TestNextAllocatesNothing(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		d := newKind[int](kind, 3, nil)
		read := make(chan struct{})
		go func() {
			for {
				if _, ok := d.Next(); !ok {
					close(read)
					return
				}
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

type payload [64]byte

func TestReleasesValues(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			d := newKind[*payload](kind, 3, nil, policy)
			var gone []weak.Pointer[payload]
			fresh := func() *payload {
				x := new(payload)
				gone = append(gone, weak.Make(x))
				return x
			}
			func() {
				for range 10 { // Some are dropped, some read, one evicted.
					d.Set(fresh())
				}
				d.Evict()
				drain(d)
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
				t.Error("the element inside was lost")
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

// With all its writers held, as if their goroutines had been descheduled in the middle of a Set, the diode adds more.
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

// Two goroutines that need a new chunk of cells at once get the same one.
func TestCellsGrowAtOnce(t *testing.T) {
	for range 5000 {
		var c arena[int]
		c.init(1, 1)
		var start, ready sync.WaitGroup
		start.Add(1)
		for node := range 2 {
			ready.Go(func() {
				start.Wait()
				c.at(uint32(2 + node)).set(1 + node)
			})
		}
		start.Done()
		ready.Wait()
		for node := range 2 {
			if got := c.at(uint32(2 + node)).get(); got != 1+node {
				t.Fatalf("cell %d: want %d, got %d", node, 1+node, got)
			}
		}
	}
}

// There is a cell for each node, however many of them were there at the beginning: at does not panic.
func TestLastCell(*testing.T) {
	for _, first := range []int{1, MaxSize, maxNodes - 1} {
		var c arena[struct{}]
		c.init(first, 0)
		c.at(maxNodes - 1)
	}
}

// A goroutine that was descheduled inside Set holds the current writer. The next Set goes on with another one, which is the
// current one then, so that only this Set had to wait.
func TestCurrentWriterIsReplaced(t *testing.T) {
	d := NewManyToOne[int](3, nil)
	absent := d.current.Load()
	if !absent.hold() {
		t.Fatal("the first writer is held by nobody, and can't be taken")
	}
	for x := range 5 {
		d.Set(x)
		if w := d.current.Load(); w == absent || w.held.Load() != 0 {
			t.Errorf("after Set %d the current writer is held", x)
		}
	}
	equal(t, "read", []int{2, 3, 4}, drain(d))
}

// Without nodes for another writer, Set hands its element out.
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
		t.Errorf("Evict got %d", x)
	}
	panics(t, "diodes: no more writers than 8388608 less the size of the ring", func() { d.Writer() })
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

// The hint, and where a writer filled last, may be behind. Here they are at every place that they could have been at before,
// with the ring in every state.
func TestStalePlaces(t *testing.T) {
	const size = 4
	forKinds(t, func(t *testing.T, kind string) {
		for stale := range 3 * size {
			for set := stale; set < 3*size+2; set++ {
				for read := range size + 1 {
					for _, closing := range []bool{false, true} {
						name := fmt.Sprintf("%d behind, %d set, %d read, closing %t", stale, set, read, closing)
						d := newKind[int](kind, size, nil)
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
						behind := position{lap: state(stale/size) * lapUnit, slot: stale % size}
						d.queueForTest().hint.Store(behind.pack())
						d.writerForTest().at = behind
						if d.Len() != len(inside) {
							t.Errorf("%s: want %d elements, got %d", name, len(inside), d.Len())
						}
						want, wantOK := 0, len(inside) == size
						switch {
						case closing:
							d.Close()
							d.queueForTest().hint.Store(behind.pack())
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
						d.writerForTest().at = behind
						if len(inside) > 1 {
							if x, ok := d.Evict(); !ok || x != inside[0] {
								t.Errorf("%s: want %d evicted, got %d, %t", name, inside[0], x, ok)
							}
							inside = inside[1:]
						}
						equal(t, name, inside, drain(d))
					}
				}
			}
		}
	})
}

// Readers that sleep and writers that wake them, one element at a time: a lost wake-up hangs here.
func TestNoLostWakeUp(t *testing.T) {
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

// A Set that is refused wakes the reader, if the writer that filled the ring has been descheduled before it did.
func TestRefusedSetWakes(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		synctest.Test(t, func(t *testing.T) {
			d := newKind[int](kind, 1, nil, DropNewest)
			var got int
			go func() { got, _ = d.Next() }()
			synctest.Wait()
			q, w := d.queueForTest(), d.writerForTest()
			w.cell.set(1)
			old, filled := q.tryFill(&w.filler)
			if !filled {
				t.Fatal("want an empty ring")
			}
			w.spare = old.node()
			w.cell = q.arena.at(w.spare)
			if dropped, ok := d.Set(2); !ok || dropped != 2 {
				t.Errorf("Set into a full ring: want 2, true, got %d, %t", dropped, ok)
			}
			synctest.Wait()
			if got != 1 {
				t.Error("the reader sleeps although the ring is full")
				d.Close()
			}
		})
	})
}

// The alerter runs while no shared writer is held, so one that is slow, or panics, keeps none.
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

// A writer that was descheduled for 2^38 laps or more, in the middle of moving the hint, does not move it into the future.
func TestLateHint(t *testing.T) {
	forKinds(t, func(t *testing.T, kind string) {
		for _, laps := range []state{1, 1<<38 - 1, 1 << 38, 1<<38 + 1, 1<<39 - 1} {
			d := newKind[int](kind, 3, nil)
			q := d.queueForTest()
			start := q.skipTo(laps * lapUnit)
			q.at, d.writerForTest().at = start, start
			d.Set(1)

			q.moveHint(position{slot: 2}, position{lap: lapUnit}) // By the writer that filled the last slot of the first lap.
			if got := q.hint.Load(); got != start.pack() {
				t.Errorf("%d laps later: the hint is %v, want %v", laps, unpackPosition(got), start)
				q.hint.Store(start.pack()) // Len would not return.
			}
			if n := d.Len(); n != 1 {
				t.Errorf("%d laps later: want 1 element, got %d", laps, n)
			}
		}
	})
}
