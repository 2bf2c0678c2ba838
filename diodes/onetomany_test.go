// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"testing"
)

var oneToMany = []string{"OneToMany"}

// The pollers are created only after the Sets and Evicts.
func TestOneToManyStartFrom(t *testing.T) {
	sequences(t, oneToMany, []int{1, 2, 3, 7}, func(size int, run func(calls string)) {
		for set := range 3 * size {
			for evicted := range size + 1 {
				run("q" + times(set, "s") + times(evicted, "e") + "1p2P" + "1" + times(size+1, "t") + "2tt" + "s1tt2tt")
			}
		}
	})
}

// A slow poller learns at its next read how many elements it missed; a fast one misses none.
func TestOneToManyMissed(t *testing.T) {
	sequences(t, oneToMany, []int{1, 2, 3, 7}, func(size int, run func(calls string)) {
		for read := range 2*size + 1 {
			for burst := range 4 * size {
				run("1p" + times(read, "s0t1t") + times(burst, "s1t") + "0" + times(size+1, "t"))
			}
		}
	})
}

// Pollers are created before each Set and after Close. Each gets the whole ring.
func TestOneToManyPollers(t *testing.T) {
	sequences(t, oneToMany, []int{1, 2, 3, 10}, func(size int, run func(calls string)) {
		for set := range 2*size + 1 {
			pollers := min(set, maxThreads-2)
			calls := ""
			for i := range pollers {
				calls += fmt.Sprintf("%dps", i+1)
			}
			calls += times(set-pollers, "s") + fmt.Sprintf("cc%dp", maxThreads-1)
			for i := range pollers {
				calls += fmt.Sprint(i+1) + times(size+1, "n")
			}
			run(calls + fmt.Sprint(maxThreads-1) + times(size+1, "n"))
		}
	})
}

func TestPollerClose(t *testing.T) {
	newSequence(t, "OneToMany", 3, DropOldest, 0).run("1ps0qq" + "ntnt" + times(10, "s") + "1tttt" + "0nt")
}

// An element removed while pollers copy it stays intact until the last of them is done, and is then cleared.
func TestOneToManyRemoveDuringCopy(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		for _, evict := range []bool{false, true} {
			for _, closed := range []bool{false, true} {
				d := NewOneToMany[int](2, nil)
				pollers := []*Poller[int]{d.NewPoller(), d.NewPoller(), d.NewPoller()}
				d.Set(1)
				d.Set(2)
				node := state(d.slots[0].Load()).node()
				// As if two of them had been descheduled inside tryNext.
				for _, i := range order {
					pollers[i].place.Swap(placeOf(position{}) | copying)
				}
				if closed {
					pollers[order[1]].Close()
				}
				leave := func() (int, bool) { return d.Set(3) }
				if evict {
					leave = d.Evict
				}
				if x, ok := leave(); !ok || x != 1 {
					t.Fatalf("want 1 removed, got %d, %t", x, ok)
				}
				for x := range 10 {
					d.Set(4 + x)
				}
				for _, i := range order {
					if got := d.arena.at(node).get(); got != 1 {
						t.Fatalf("the element became %d during the copy", got)
					}
					pollers[i].next = position{slot: 1}
					pollers[i].leave()
				}
				if got := d.arena.at(node).get(); got != 0 {
					t.Errorf("element %d was not cleared", got)
				}
				equal(t, "the third poller", []int{12, 13}, drain(pollers[2]))
				if n := len(*d.pollers.Load()); closed && n != 2 {
					t.Errorf("want 2 pollers listed, got %d", n)
				}
				// The node is reused.
				pollers[2].place.Store(placeOf(pollers[2].next) | copying)
				if n := len(d.retired); n != 1 || !d.retired[0].free.Load() {
					t.Errorf("%d retired nodes", n)
				}
			}
		}
	}
}

// Elements removed one after the other, each while a different poller copies it, have separate retired nodes, even when the nodes
// are reused.
func TestOneToManyRemovesDuringCopies(t *testing.T) {
	d := NewOneToMany[int](1, nil)
	pollers := []*Poller[int]{d.NewPoller(), d.NewPoller()}
	next := 1
	for round := range 3 {
		var nodes []uint32
		for _, p := range pollers {
			d.Set(next)
			// As if it had been descheduled inside tryNext.
			head, _ := d.head()
			p.next = head.lapBefore()
			p.place.Store(placeOf(p.next) | copying)
			nodes = append(nodes, state(d.slots[0].Load()).node())
			next++
		}
		d.Set(next)
		for i, p := range pollers {
			if got, want := d.arena.at(nodes[i]).get(), next-2+i; got != want {
				t.Fatalf("round %d: element %d became %d during the copy", round, want, got)
			}
			p.leave()
			if got := d.arena.at(nodes[i]).get(); got != 0 {
				t.Fatalf("round %d: element %d was not cleared", round, got)
			}
		}
		next++
		if len(d.retired) != 2 {
			t.Fatalf("round %d: want 2 retired nodes, got %d", round, len(d.retired))
		}
	}
}

// The writer also respects the copy of a poller that has not read for some laps, or for 2^37 laps or more.
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
				// It has moved to the oldest element and is copying it.
				oldest := set - size
				p.next = position{lap: (laps + state(oldest/size)) * lapUnit, slot: oldest % size}
				p.place.Store(placeOf(p.next) | copying)
				p.next = p.next.next(size)
				d.Set(set)
				name := fmt.Sprintf("poller created in lap %d, %d set in lap %d", made, set, laps)
				if len(d.retired) != 1 {
					t.Errorf("%s: the element is not retired during the copy", name)
				}
				p.leave()
				if x, ok := p.TryNext(); !ok || x != oldest+1 {
					t.Errorf("%s: want %d, true, got %d, %t", name, oldest+1, x, ok)
				}
			}
		}
	}
}

// The place of a poller has one bit less than a position.
func TestPollerLenAfterManyLaps(t *testing.T) {
	for _, laps := range []state{1, 1<<38 - 1, 1 << 38, 1<<39 - 1} {
		newSequence(t, "OneToMany", 3, DropOldest, laps*lapUnit).run("sst")
	}
}

// Each poller may need a node in addition to those of the slots and the writer.
func TestTooManyPollers(t *testing.T) {
	d := NewOneToMany[int](3, nil)
	open := make([]*Poller[int], maxNodes-3-1)
	d.pollers.Store(&open)
	panics(t, "diodes: too many pollers", func() { d.NewPoller() })
	open = open[1:]
	d.pollers.Store(&open)
	d.NewPoller()
}
