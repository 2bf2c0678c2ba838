// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

func TestOneToManyEachPollerGetsAll(t *testing.T) {
	d := NewOneToMany[int](10, nil)
	var pollers []*Poller[int]
	for x := range 10 {
		pollers = append(pollers, d.NewPoller())
		if dropped, ok := d.Set(x); ok {
			t.Errorf("%d left a ring with room", dropped)
		}
	}
	for i, p := range pollers {
		if p.Len() != 10 {
			t.Errorf("poller %d: want 10 waiting, got %d", i, p.Len())
		}
		equal(t, fmt.Sprint("poller ", i), numbers(0, 10), drain(p))
		if p.Missed() != 0 || p.Len() != 0 {
			t.Errorf("poller %d: %d missed, %d waiting", i, p.Missed(), p.Len())
		}
	}
	if d.Len() != 10 || d.Cap() != 10 {
		t.Errorf("want 10 of 10 elements, got %d of %d", d.Len(), d.Cap())
	}
}

func TestOneToManyStartFrom(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7} {
		for set := range 3 * size {
			for evicted := range size + 1 {
				d := NewOneToMany[int](size, nil)
				for x := range set {
					d.Set(x)
				}
				inside := numbers(max(0, set-size), set)
				for range evicted {
					x, ok := d.Evict()
					if ok != (len(inside) > 0) || ok && x != inside[0] {
						t.Fatalf("size %d: evicted %d, %t of %v", size, x, ok, inside)
					}
					if ok {
						inside = inside[1:]
					}
				}
				oldest, newest := d.NewPoller(), d.NewPoller(FromNewest)
				name := fmt.Sprintf("size %d, %d set, %d evicted", size, set, evicted)
				if d.Len() != len(inside) || oldest.Len() != len(inside) || newest.Len() != min(1, len(inside)) {
					t.Errorf("%s: %d inside, %d and %d waiting, of %v", name, d.Len(), oldest.Len(), newest.Len(), inside)
				}
				equal(t, name+", from the oldest", inside, drain(oldest))
				equal(t, name+", from the newest", inside[max(0, len(inside)-1):], drain(newest))
				d.Set(100)
				equal(t, name+", next", []int{100}, drain(oldest))
				equal(t, name+", next", []int{100}, drain(newest))
			}
		}
	}
}

func TestOneToManyTellsHowManyWereMissed(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7} {
		for read := range 2*size + 1 {
			for burst := range 4 * size {
				var alerted []int
				d := NewOneToMany[int](size, AlertFunc(func(n int) { alerted = append(alerted, n) }))
				slow, quick := d.NewPoller(), d.NewPoller()
				next := 0
				for ; next < read; next++ {
					d.Set(next)
					slow.TryNext()
					quick.TryNext()
				}
				for range burst {
					out, ok := d.Set(next)
					if ok != (next >= size) || ok && out != next-size {
						t.Fatalf("Set %d into a ring of %d: got %d, %t", next, size, out, ok)
					}
					if x, ok := quick.TryNext(); !ok || x != next {
						t.Fatalf("the quick poller: want %d, got %d, %t", next, x, ok)
					}
					next++
				}
				name := fmt.Sprintf("size %d, %d read, %d set", size, read, burst)
				if len(alerted) != 0 {
					t.Errorf("%s: %v alerted before the slow poller read", name, alerted)
				}
				if slow.Len() != min(burst, size) {
					t.Errorf("%s: want %d waiting, got %d", name, min(burst, size), slow.Len())
				}
				equal(t, name, numbers(max(read, next-size), next), drain(slow))
				var want []int
				if missed := burst - size; missed > 0 {
					want = []int{missed}
				}
				equal(t, name+", alerted", want, alerted)
				if slow.Missed() != uint64(max(0, burst-size)) || quick.Missed() != 0 {
					t.Errorf("%s: the pollers missed %d and %d", name, slow.Missed(), quick.Missed())
				}
			}
		}
	}
}

func TestOneToManyClose(t *testing.T) {
	for _, size := range []int{1, 2, 3} {
		for set := range 2*size + 1 {
			alerted := 0
			d := NewOneToMany[int](size, AlertFunc(func(n int) { alerted += n }))
			early := d.NewPoller()
			for x := range set {
				d.Set(x)
			}
			d.Close()
			d.Close()
			for range 2 * size {
				alerted = 0
				if x, ok := d.Set(99); !ok || x != 99 || alerted != 1 {
					t.Errorf("size %d: Set after Close: want 99, true, got %d, %t; %d alerted", size, x, ok, alerted)
				}
			}
			for _, p := range []*Poller[int]{early, d.NewPoller()} {
				for _, want := range numbers(max(0, set-size), set) {
					if x, ok := p.Next(); !ok || x != want {
						t.Errorf("size %d: want %d, got %d, %t", size, want, x, ok)
					}
				}
				if x, ok := p.Next(); ok {
					t.Errorf("size %d: got %d after the last", size, x)
				}
			}
		}
	}
}

func TestPollerClose(t *testing.T) {
	d := NewOneToMany[int](3, nil)
	a, b := d.NewPoller(), d.NewPoller()
	d.Set(1)
	a.Close()
	a.Close()
	for range 2 {
		if x, ok := a.Next(); ok {
			t.Errorf("got %d from a closed poller", x)
		}
		if x, ok := a.TryNext(); ok {
			t.Errorf("got %d from a closed poller", x)
		}
	}
	if n := len(*d.pollers.Load()); n != 1 {
		t.Errorf("want 1 poller minded, got %d", n)
	}
	for x := range 10 {
		d.Set(x)
	}
	equal(t, "the other", []int{7, 8, 9}, drain(b))
	if a.Missed() != 0 {
		t.Errorf("a closed poller missed %d", a.Missed())
	}
}

func TestPollerNextParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewOneToMany[int](3, nil)
		const readers = 3
		var got [readers][]int
		var pollers [readers]*Poller[int]
		var ended atomic.Int32
		for i := range readers {
			pollers[i] = d.NewPoller()
			go func() {
				for x, ok := pollers[i].Next(); ok; x, ok = pollers[i].Next() {
					got[i] = append(got[i], x)
				}
				ended.Add(1)
			}()
		}
		for x := range 100 {
			// Wait returns only when the readers block on their channels.
			synctest.Wait()
			if n := d.asleep.Load(); n != readers {
				t.Fatalf("want %d asleep, got %d", readers, n)
			}
			d.Set(x)
			synctest.Wait()
			for i := range readers {
				equal(t, "read", numbers(0, x+1), got[i])
			}
		}
		pollers[0].Close()
		synctest.Wait()
		if n := ended.Load(); n != 1 {
			t.Errorf("closing one poller ended %d", n)
		}
		d.Close()
		synctest.Wait()
		if n := ended.Load(); n != readers || d.asleep.Load() != 0 {
			t.Errorf("closing the diode ended %d of %d, %d asleep", n, readers, d.asleep.Load())
		}
	})
}

func TestPollerNextContextPrefersAnElement(t *testing.T) {
	var d *OneToMany[int]
	prefersAnElement(t, func() (func(int), func(context.Context) (int, bool)) {
		d = NewOneToMany[int](2, nil)
		return func(x int) { d.Set(x) }, d.NewPoller().NextContext
	})
}

func TestPollerNextContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewOneToMany[int](3, nil)
		p := d.NewPoller()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var writing sync.WaitGroup
		writing.Go(func() { d.Set(0) })
		if x, ok := p.NextContext(ctx); !ok || x != 0 {
			t.Errorf("want 0, true, got %d, %t", x, ok)
		}
		if x, ok := p.NextContext(ctx); ok || ctx.Err() == nil {
			t.Errorf("got %d, %t from an empty diode, %v", x, ok, ctx.Err())
		}
		if n := d.asleep.Load(); n != 0 {
			t.Errorf("%d asleep", n)
		}
		writing.Wait()
		writing.Go(func() { d.Set(1) })
		if x, ok := p.NextContext(t.Context()); !ok || x != 1 {
			t.Errorf("want 1, true, got %d, %t", x, ok)
		}
		go p.Close()
		if x, ok := p.NextContext(t.Context()); ok {
			t.Errorf("got %d from a closed poller", x)
		}
	})
}

// An element that leaves the ring while pollers copy it stays whole until the last of them is done, and is cleared then.
func TestOneToManyElementLeavesWhileItIsCopied(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		for _, evict := range []bool{false, true} {
			for _, closed := range []bool{false, true} {
				d := NewOneToMany[int](2, nil)
				pollers := []*Poller[int]{d.NewPoller(), d.NewPoller(), d.NewPoller()}
				d.Set(1)
				d.Set(2)
				node := state(d.slots[0].Load()).node()
				// As if two of them had been descheduled in the middle of tryNext.
				for _, i := range order {
					pollers[i].place.Swap(copies(position{}) | copying)
				}
				if closed {
					pollers[order[1]].Close()
				}
				leave := func() (int, bool) { return d.Set(3) }
				if evict {
					leave = d.Evict
				}
				if x, ok := leave(); !ok || x != 1 {
					t.Fatalf("want 1 to leave, got %d, %t", x, ok)
				}
				for x := range 10 {
					d.Set(4 + x)
				}
				for _, i := range order {
					if got := d.arena.at(node).get(); got != 1 {
						t.Fatalf("the element became %d while it was copied", got)
					}
					pollers[i].next = position{slot: 1}
					pollers[i].leave()
				}
				if got := d.arena.at(node).get(); got != 0 {
					t.Errorf("the element stayed, %d", got)
				}
				equal(t, "the third poller", []int{12, 13}, drain(pollers[2]))
				if n := len(*d.pollers.Load()); closed && n != 2 {
					t.Errorf("want 2 pollers minded, got %d", n)
				}
				// The node is used again.
				pollers[2].place.Store(copies(pollers[2].next) | copying)
				if n := len(d.retired); n != 1 || !d.retired[0].free.Load() {
					t.Errorf("%d retired nodes", n)
				}
			}
		}
	}
}

// Elements that leave the ring one after the other, while each is copied by another poller, have retired nodes of their own,
// also when these have been used before.
func TestOneToManyElementsLeaveWhileTheyAreCopied(t *testing.T) {
	d := NewOneToMany[int](1, nil)
	pollers := []*Poller[int]{d.NewPoller(), d.NewPoller()}
	next := 1
	for round := range 3 {
		var nodes []uint32
		for _, p := range pollers {
			d.Set(next)
			// As if it had been descheduled in the middle of tryNext.
			head, _ := d.head()
			p.next = head.lapBefore()
			p.place.Store(copies(p.next) | copying)
			nodes = append(nodes, state(d.slots[0].Load()).node())
			next++
		}
		d.Set(next)
		for i, p := range pollers {
			if got, want := d.arena.at(nodes[i]).get(), next-2+i; got != want {
				t.Fatalf("round %d: element %d became %d while it was copied", round, want, got)
			}
			p.leave()
			if got := d.arena.at(nodes[i]).get(); got != 0 {
				t.Fatalf("round %d: the element stayed, %d", round, got)
			}
		}
		next++
		if len(d.retired) != 2 {
			t.Fatalf("round %d: want 2 retired nodes, got %d", round, len(d.retired))
		}
	}
}

// A poller that nobody has read from for some laps, or for 2^37 and more, is minded as well.
func TestOneToManyPollerFarBehind(t *testing.T) {
	const size = 2
	for _, laps := range []state{1, 1 << 36, 1<<37 - 2, 1 << 37, 1<<37 + 5, 1<<38 - 50} {
		for _, made := range []state{0, laps} {
			for set := size; set < 5*size; set++ {
				d := NewOneToMany[int](size, nil)
				d.writer.at = d.skipTo(made * lapUnit)
				p := d.NewPoller()
				d.writer.at = d.skipTo(laps * lapUnit)
				for x := range set {
					d.Set(x)
				}
				// It has gone on to the oldest element and is copying it.
				oldest := set - size
				p.next = position{lap: (laps + state(oldest/size)) * lapUnit, slot: oldest % size}
				p.place.Store(copies(p.next) | copying)
				p.next = p.next.next(size)
				d.Set(set)
				name := fmt.Sprintf("a poller of lap %d, %d set in lap %d", made, set, laps)
				if len(d.retired) != 1 {
					t.Errorf("%s: the element is not retired while it is copied", name)
				}
				p.leave()
				if x, ok := p.TryNext(); !ok || x != oldest+1 {
					t.Errorf("%s: want %d, true, got %d, %t", name, oldest+1, x, ok)
				}
			}
		}
	}
}

// The place of a poller has a bit less than a position.
func TestPollerLenAfterManyLaps(t *testing.T) {
	for _, laps := range []state{1, 1<<38 - 1, 1 << 38, 1<<39 - 1} {
		d := NewOneToMany[int](3, nil)
		d.writer.at = d.skipTo(laps * lapUnit)
		p := d.NewPoller()
		d.Set(1)
		d.Set(2)
		if x, ok := p.TryNext(); !ok || x != 1 {
			t.Errorf("%d laps: want 1, true, got %d, %t", laps, x, ok)
		}
		if n := p.Len(); n != 1 {
			t.Errorf("%d laps: want 1 waiting, got %d", laps, n)
		}
	}
}

// Each poller may need a node, in addition to those of the slots and the writer.
func TestTooManyPollers(t *testing.T) {
	d := NewOneToMany[int](3, nil)
	open := make([]*Poller[int], maxNodes-3-1)
	d.pollers.Store(&open)
	panics(t, "diodes: too many pollers", func() { d.NewPoller() })
	open = open[1:]
	d.pollers.Store(&open)
	d.NewPoller()
}

func TestOneToManyAllocatesNothing(t *testing.T) {
	d := NewOneToMany[[3]uint64](100, nil)
	p, slow := d.NewPoller(), d.NewPoller()
	for what, f := range map[string]func(){
		"Set and TryNext": func() { d.Set([3]uint64{1, 2, 3}); p.TryNext() },
		"Set and Evict":   func() { d.Set([3]uint64{1, 2, 3}); d.Evict() },
		"Set":             func() { d.Set([3]uint64{1, 2, 3}) },
		"slow TryNext":    func() { d.Set([3]uint64{1, 2, 3}); slow.TryNext() },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: want 0 allocations, got %v", what, n)
		}
	}
}

func TestOneToManyReleasesValues(t *testing.T) {
	d := NewOneToMany[*payload](3, nil)
	p, slow := d.NewPoller(), d.NewPoller()
	var gone []weak.Pointer[payload]
	fresh := func() *payload {
		x := new(payload)
		gone = append(gone, weak.Make(x))
		return x
	}
	func() {
		for range 10 {
			d.Set(fresh())
			p.TryNext()
		}
		slow.TryNext()
		for range 3 {
			d.Evict()
		}
		d.Set(new(payload))
		d.Close()
		d.Set(fresh()) // refused
	}()
	runtime.GC()
	for i, w := range gone {
		if w.Value() != nil {
			t.Errorf("element %d is still referenced", i)
		}
	}
	if x, ok := slow.TryNext(); !ok || x == nil {
		t.Error("the element inside was lost")
	}
}

// A Set that is refused wakes pollers, if Close has been descheduled before it did.
func TestOneToManyRefusedSetWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewOneToMany[int](1, nil)
		p := d.NewPoller()
		ended := false
		go func() {
			p.Next()
			ended = true
		}()
		synctest.Wait()
		d.close()
		d.Set(1)
		synctest.Wait()
		if !ended {
			t.Error("the poller sleeps although the diode is closed")
			d.Close()
		}
	})
}
