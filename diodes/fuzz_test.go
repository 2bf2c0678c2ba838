// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "testing"

// operations is a sequence of operations, a byte each. The first bytes choose the diode.
type operations []byte

func (ops *operations) next(n int) int {
	if len(*ops) == 0 {
		return 0
	}
	b := (*ops)[0]
	*ops = (*ops)[1:]
	return int(b) % n
}

// FuzzQueue compares the diodes with one reader with a slice.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 2, 0, 0, 0, 0, 0, 5, 5, 5, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		ops := operations(data)
		kind, size, policy := kinds[ops.next(len(kinds))], 1+ops.next(17), DropPolicy(ops.next(2))
		alerted, dropped := 0, 0
		d := newKind[int](kind, size, AlertFunc(func(n int) { alerted += n }), policy)
		var inside []int
		closed := false
		for x := 1; len(ops) > 0; x++ {
			op := ops.next(12)
			want, wantOK := 0, false
			take := func() {
				if len(inside) > 0 {
					want, wantOK, inside = inside[0], true, inside[1:]
				}
			}
			var got int
			var ok bool
			switch op {
			default: // 0 … 6
				switch {
				case closed || len(inside) == size && policy == DropNewest:
					want, wantOK = x, true
				case len(inside) == size:
					take()
					fallthrough
				default:
					inside = append(inside, x)
				}
				got, ok = d.Set(x)
				if ok {
					dropped++
				}
			case 7, 8:
				take()
				got, ok = d.TryNext()
			case 9:
				if len(inside) == 0 && !closed {
					continue
				}
				take()
				got, ok = d.Next()
			case 10:
				take()
				if got, ok = d.Evict(); ok {
					dropped++
				}
			case 11:
				if ops.next(4) == 0 {
					closed = true
					d.Close()
				}
			}
			if got != want || ok != wantOK {
				t.Fatalf("%s of %d, %v, operation %d of element %d: want %d, %t, got %d, %t", kind, size, policy, op, x, want, wantOK, got, ok)
			}
			if d.Len() != len(inside) || alerted != dropped {
				t.Fatalf("want %d inside and %d alerted, got %d and %d", len(inside), dropped, d.Len(), alerted)
			}
		}
		equal(t, "at the end", inside, drain(d))
	})
}

// FuzzOneToMany compares a OneToMany and its pollers with a slice and places in it.
func FuzzOneToMany(f *testing.F) {
	f.Add([]byte{2, 5, 0, 0, 0, 0, 0, 7, 7, 7, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		ops := operations(data)
		size := 1 + ops.next(9)
		alerted, wantAlerted := 0, 0
		d := NewOneToMany[int](size, AlertFunc(func(n int) { alerted += n }))
		// Elements are numbered from 0. Those from oldest to next-1 are inside.
		oldest, next := 0, 0
		closed := false
		type reader struct {
			p            *Poller[int]
			next, missed int
			closed       bool
		}
		var readers []*reader
		for len(ops) > 0 {
			switch op := ops.next(12); op {
			default: // 0 … 3
				want, wantOK := 0, false
				switch {
				case closed:
					want, wantOK = next, true
					wantAlerted++
				case next-oldest == size:
					want, wantOK = oldest, true
					oldest++
				}
				if x, ok := d.Set(next); x != want || ok != wantOK {
					t.Fatalf("Set: want %d, %t, got %d, %t", want, wantOK, x, ok)
				}
				if !closed {
					next++
				}
			case 4:
				want, wantOK := 0, oldest < next
				if wantOK {
					want = oldest
					oldest++
				}
				if x, ok := d.Evict(); x != want || ok != wantOK {
					t.Fatalf("Evict: want %d, %t, got %d, %t", want, wantOK, x, ok)
				}
			case 5:
				readers = append(readers, &reader{p: d.NewPoller(), next: oldest})
			case 6:
				readers = append(readers, &reader{p: d.NewPoller(FromNewest), next: max(oldest, next-1)})
			case 7, 8, 9:
				if len(readers) == 0 {
					continue
				}
				r := readers[ops.next(len(readers))]
				want, wantOK := 0, false
				if !r.closed {
					if r.next < oldest {
						r.missed += oldest - r.next
						wantAlerted += oldest - r.next
						r.next = oldest
					}
					if r.next < next {
						want, wantOK = r.next, true
						r.next++
					}
				}
				var x int
				var ok bool
				if op == 9 && (wantOK || closed || r.closed) {
					x, ok = r.p.Next()
				} else {
					x, ok = r.p.TryNext()
				}
				if x != want || ok != wantOK {
					t.Fatalf("TryNext: want %d, %t, got %d, %t", want, wantOK, x, ok)
				}
			case 10:
				if len(readers) == 0 {
					continue
				}
				r := readers[ops.next(len(readers))]
				r.closed = true
				r.p.Close()
			case 11:
				if ops.next(4) == 0 {
					closed = true
					d.Close()
				}
			}
			if alerted != wantAlerted || d.Len() != next-oldest {
				t.Fatalf("want %d inside and %d alerted, got %d and %d", next-oldest, wantAlerted, d.Len(), alerted)
			}
			open := 0
			for i, r := range readers {
				if r.closed {
					continue
				}
				open++
				if want := next - max(r.next, oldest); r.p.Len() != want || int(r.p.Missed()) != r.missed {
					t.Fatalf("poller %d: want %d waiting and %d missed, got %d and %d", i, want, r.missed, r.p.Len(), r.p.Missed())
				}
			}
			if n := len(*d.pollers.Load()); n != open {
				t.Fatalf("want %d pollers minded, got %d", open, n)
			}
		}
	})
}
