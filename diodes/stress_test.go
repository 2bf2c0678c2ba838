// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var stressTime = flag.Duration("stress", 0, "run each stress test for this long instead of one round")

var stressSizes = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64, 1000}

// stress runs rounds once, or repeatedly until the time of the flag has elapsed.
func stress(t *testing.T, rounds func()) {
	for begin := time.Now(); ; {
		if rounds(); t.Failed() || time.Since(begin) >= *stressTime {
			return
		}
	}
}

func perGoroutine() int {
	if testing.Short() {
		return 300
	}
	return 3_000
}

type element struct{ writer, n int }

// One writer or many, some with handles, set and sometimes evict. The speed of the reader varies, and Close comes early or at the end.
// Each element comes out exactly once, and the elements of a writer are read in order.
func TestQueueStress(t *testing.T) {
	stress(t, func() {
		for _, size := range stressSizes {
			for _, policy := range []DropPolicy{DropOldest, DropNewest} {
				for _, closing := range []bool{false, true} {
					for _, kind := range []string{"OneToOne", "ManyToOne"} {
						t.Run(fmt.Sprintf("%s of %d, %v, closed early %t", kind, size, policy, closing), func(t *testing.T) {
							stressQueue(t, kind, size, policy, closing)
						})
					}
				}
			}
		}
	})
}

func stressQueue(t *testing.T, kind string, size int, policy DropPolicy, closing bool) {
	var alerts, progress atomic.Int64
	d := newKind[element](kind, size, AlertFunc(func(n int) { alerts.Add(int64(n)) }), policy)
	writers, perWriter := 6, perGoroutine()
	if d.shared == nil {
		writers, perWriter = 1, 4*perWriter
	}
	dropped := make([][]element, writers)
	var set sync.WaitGroup
	for w := range writers {
		set.Go(func() {
			writer := d.setter
			if w%2 == 1 {
				handle := d.shared.Writer()
				defer handle.Release()
				writer = handle
			}
			for n := range perWriter {
				x := element{w, n}
				if out, ok := writer.Set(x); ok {
					dropped[w] = append(dropped[w], out)
					switch {
					case closing:
					case policy == DropOldest && out == x:
						t.Errorf("an open diode refused %v", x)
					case policy == DropNewest && out != x:
						t.Errorf("the oldest element, %v, was dropped", out)
					}
				}
				if w < 2 && n%8 == 0 {
					if out, ok := writer.Evict(); ok {
						dropped[w] = append(dropped[w], out)
					}
				}
				if n := d.Len(); n < 0 || n > size {
					t.Errorf("Len returned %d, with a size of %d", n, size)
				}
				if writers == 1 && n%500 < 250 {
					runtime.Gosched()
				}
				progress.Add(1)
			}
		})
	}
	read := make(chan []element)
	go func() {
		var got []element
		for x, ok := d.Next(); ok; x, ok = d.Next() {
			for burst := 0; ok && burst < len(got)%7; burst++ { // TryNext does not sleep.
				got = append(got, x)
				x, ok = d.TryNext()
			}
			if ok {
				got = append(got, x)
			}
			if len(got)%1000 < 500 { // Half of the time the reader is slow.
				runtime.Gosched()
			}
		}
		read <- got
	}()
	if closing {
		for progress.Load() < int64(writers*perWriter)/2 {
			runtime.Gosched()
		}
		d.Close()
	}
	set.Wait()
	d.Close()
	got := <-read

	checkOnce(t, writers, perWriter, got, dropped)
	if drops := len(slices.Concat(dropped...)); int(alerts.Load()) != drops {
		t.Errorf("want %d alerted, got %d", drops, alerts.Load())
	}
	if d.Len() != 0 {
		t.Errorf("%d elements are left in the ring", d.Len())
	}
}

// checkOnce checks that each element set was read or dropped exactly once, and that each writer's elements were read in order.
func checkOnce(t *testing.T, writers, perWriter int, read []element, dropped [][]element) {
	t.Helper()
	seen := map[element]int{}
	last := make([]int, writers)
	for _, x := range read {
		seen[x]++
		if x.n+1 <= last[x.writer] {
			t.Fatalf("writer %d: read %d after %d", x.writer, x.n, last[x.writer]-1)
		}
		last[x.writer] = x.n + 1
	}
	for _, x := range slices.Concat(dropped...) {
		seen[x]++
	}
	for w := range writers {
		for n := range perWriter {
			if times := seen[element{w, n}]; times != 1 {
				t.Fatalf("element %d of writer %d came out %d times", n, w, times)
			}
		}
	}
}

// One writer sets and evicts while pollers come and go. Each poller gets the elements in order, except for those that it missed, and
// is told their exact number.
func TestOneToManyStress(t *testing.T) {
	stress(t, func() {
		for _, size := range stressSizes {
			t.Run(fmt.Sprint("size ", size), func(t *testing.T) { stressOneToMany(t, size) })
		}
	})
}

func stressOneToMany(t *testing.T, size int) {
	const readers = 5
	n := 4 * perGoroutine()
	var alerts, missed, begun atomic.Int64
	d := NewOneToMany[int](size, AlertFunc(func(n int) { alerts.Add(int64(n)) }))
	var reading sync.WaitGroup
	for reader := range readers {
		reading.Go(func() {
			for life := 0; ; life++ {
				before := begun.Load()
				p := d.NewPoller(StartFrom((life + reader) % 2))
				first, ended := readPoller(t, p, life, reader)
				missed.Add(int64(p.Missed()))
				p.Close()
				if first >= 0 && first < int(before)-size {
					t.Errorf("a poller of a ring of %d, created after %d Sets, began with %d", size, before, first)
				}
				if ended {
					return
				}
			}
		})
	}
	out := 0
	for i := range n {
		begun.Store(int64(i))
		if x, ok := d.Set(i); ok {
			if x != out {
				t.Errorf("want %d removed, got %d", out, x)
			}
			out = x + 1
		}
		if i%11 == 0 {
			if x, ok := d.Evict(); ok {
				if x != out {
					t.Errorf("want %d evicted, got %d", out, x)
				}
				out = x + 1
			}
		}
		if i%500 < 250 {
			runtime.Gosched()
		}
	}
	d.Close()
	reading.Wait()
	if out+d.Len() != n {
		t.Errorf("want %d elements, got %d removed and %d in the ring", n, out, d.Len())
	}
	if alerts.Load() != missed.Load() {
		t.Errorf("want %d alerted, got %d", missed.Load(), alerts.Load())
	}
	if len(*d.pollers.Load()) != 0 {
		t.Error("closed pollers are still listed")
	}
	for _, r := range d.retired {
		if !r.free.Load() || d.arena.at(r.node.get()).get() != 0 {
			t.Errorf("a retired node was not cleared: %+v", r)
		}
	}
}

// readPoller reads for a while or, in every fourth life, until the diode has ended. It returns the first element.
func readPoller(t *testing.T, p *Poller[int], life, reader int) (first int, ended bool) {
	first = -1
	next, missed := 0, 0
	for got := 0; life%4 == 3 || got < 100*(reader+1); got++ {
		x, ok := p.Next()
		skipped := int(p.Missed()) - missed
		missed += skipped
		if !ok {
			return first, true
		}
		if first < 0 {
			first = x
		} else if x != next+skipped {
			t.Errorf("want %d after %d missed, got %d", next+skipped, skipped, x)
			return first, true
		}
		next = x + 1
		if got%100 < 10*reader {
			runtime.Gosched()
		}
	}
	return first, false
}
