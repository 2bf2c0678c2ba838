// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The batches dropped by each push, with small bounds.
func TestPush(t *testing.T) {
	type step struct {
		push  Batch[int]
		drops []int // data of the dropped batches
	}
	b := func(data, items, bytes int) Batch[int] { return Batch[int]{Data: data, Items: items, Bytes: bytes} }
	for name, tt := range map[string]struct {
		cfg   Config
		steps []step
		left  []int
	}{
		"no bounds": {Config{Capacity: 2, DropPolicy: DropOldest}, []step{
			{b(1, 1e9, 0), nil}, {b(2, 1e9, 0), nil}, {b(3, 1, 0), []int{1}},
		}, []int{2, 3}},
		"items, oldest": {Config{Capacity: 10, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 4, 0), nil}, {b(2, 3, 0), nil}, {b(3, 3, 0), nil}, // Just full.
			{b(4, 1, 0), []int{1}},
			{b(5, 8, 0), []int{2, 3}}, // As many as needed.
			{b(6, 10, 0), []int{4, 5}},
		}, []int{6}},
		"items, newest": {Config{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
			{b(1, 4, 0), nil}, {b(2, 7, 0), []int{2}}, {b(3, 6, 0), nil}, {b(4, 1, 0), []int{4}},
		}, []int{1, 3}},
		"bytes, oldest": {Config{Capacity: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 600), nil}, {b(2, 1, 400), nil}, {b(3, 1, 1), []int{1}}, {b(4, 1, 600), []int{2}},
		}, []int{3, 4}},
		"bytes, newest": {Config{Capacity: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
			{b(1, 1, 600), nil}, {b(2, 1, 401), []int{2}}, {b(3, 1, 400), nil},
		}, []int{1, 3}},
		"both, newest, refused by bytes": {
			Config{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
				{b(1, 5, 900), nil}, {b(2, 5, 200), []int{2}}, {b(3, 5, 100), nil},
			}, []int{1, 3}},
		"capacity and items": {Config{Capacity: 2, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 1, 0), nil}, {b(2, 1, 0), nil}, {b(3, 10, 0), []int{1, 2}},
		}, []int{3}},
		"above items, oldest": {
			Config{Capacity: 10, MaxItems: 10, DropPolicy: DropOldest}, []step{
				{b(1, 4, 0), nil}, {b(2, 6, 0), nil}, {b(3, 11, 0), []int{1, 2}}, {b(4, 1, 0), []int{3}}, {b(5, 1000, 0), []int{4}}, {b(6, 1000, 0), []int{5}},
			}, []int{6}},
		"above items, newest, empty queue": {
			Config{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
				{b(1, 11, 0), nil}, {b(2, 1, 0), []int{2}}, {b(3, 1000, 0), []int{3}},
			}, []int{1}},
		"above items, newest, waiting batch": {
			Config{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
				{b(1, 1, 0), nil}, {b(2, 11, 0), []int{2}}, {b(3, 9, 0), nil},
			}, []int{1, 3}},
		"above bytes, oldest": {Config{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 500), nil}, {b(2, 1, 5000), []int{1}}, {b(3, 1, 1), []int{2}},
		}, []int{3}},
		"above bytes, newest": {Config{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
			{b(1, 1, 5000), nil}, {b(2, 1, 1), []int{2}},
		}, []int{1}},
		"above both": {Config{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 1), nil}, {b(2, 11, 1001), []int{1}}, {b(3, 10, 1000), []int{2}},
		}, []int{3}},
		"above items, one slot": {Config{Capacity: 1, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 11, 0), nil}, {b(2, 11, 0), []int{1}}, {b(3, 1, 0), []int{2}},
		}, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newDiode[int](tt.cfg)
			for _, s := range tt.steps {
				var drops []int
				q.push(s.push, func(b Batch[int]) { drops = append(drops, b.Data) })
				assert.Equal(t, s.drops, drops, "for %+v", s.push)
			}
			var left []int
			for b, ok := q.tryNext(); ok; b, ok = q.tryNext() {
				left = append(left, b.Data)
			}
			assert.Equal(t, tt.left, left)
			assert.Zero(t, q.items.reserved.Load())
			assert.Zero(t, q.bytes.reserved.Load())
		})
	}
}

// However pushes and the reader interleave, every batch comes out exactly once, the bounds are exceeded by at most the pushes in progress
// and met once all have returned, no push does much work for others, and evictions overshoot by at most one batch per pusher.
func TestPushStress(t *testing.T) {
	const pushers, pushes, maxItems, maxBytes, largest = 8, 5000, 1000, 10_000, 20
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		for _, tt := range []struct {
			reading    bool
			aboveBound int // one in this many batches is above a bound; 0: none
		}{{true, 0}, {false, 0}, {true, 10}, {false, 10}, {true, 1}, {false, 1}} {
			t.Run(fmt.Sprintf("%v/reading=%v/above=%d", policy, tt.reading, tt.aboveBound), func(t *testing.T) {
				room := int64(maxItems + pushers*largest) // maximum reservation
				if tt.aboveBound > 0 {
					room = maxItems * (pushers + 1)
				}
				q := newDiode[int](Config{Capacity: 500, MaxItems: maxItems, MaxBytes: maxBytes, DropPolicy: policy})
				out := make([]atomic.Int32, pushers*pushes)
				var pushed, items atomic.Int64 // items pushed and items out
				take := func(b Batch[int]) {
					out[b.Data].Add(1)
					items.Add(int64(b.Items))
				}
				var wg, reader sync.WaitGroup
				for p := range pushers {
					wg.Go(func() {
						sum := int64(0)
						for i := range pushes {
							n, bytes := 1+rand.IntN(largest), 10*rand.IntN(largest)
							if tt.aboveBound > 0 && rand.IntN(tt.aboveBound) == 0 {
								n += rand.IntN(2) * maxItems * 3
								bytes += rand.IntN(2) * maxBytes * 3
							}
							sum += int64(n)
							drops := 0
							q.push(Batch[int]{Data: p*pushes + i, Items: n, Bytes: bytes}, func(b Batch[int]) {
								take(b)
								drops++
							})
							if inside := q.items.reserved.Load(); inside > room {
								t.Errorf("%d items are reserved", inside)
							}
							if drops > 500+pushers {
								t.Errorf("a push dropped %d batches", drops)
							}
						}
						pushed.Add(sum)
					})
				}
				if tt.reading {
					reader.Go(func() {
						for b, ok := range q.all() {
							if ok {
								take(b)
							}
						}
					})
				}
				wg.Wait()
				if !tt.reading { // All pushes have returned and the diode is full.
					inside := q.items.reserved.Load()
					assert.LessOrEqual(t, inside, int64(maxItems))
					assert.LessOrEqual(t, q.bytes.reserved.Load(), int64(maxBytes))
					if tt.aboveBound == 0 {
						assert.Equal(t, pushed.Load(), items.Load()+inside)
					}
					assert.Positive(t, q.ring.Len(), "not everything is dropped")
					if policy == DropOldest && tt.aboveBound == 0 {
						assert.True(t, inside > maxItems-(pushers+1)*largest || q.bytes.reserved.Load() > maxBytes-(pushers+1)*10*largest,
							"%d items and %d bytes in %d batches are left", inside, q.bytes.reserved.Load(), q.ring.Len())
					}
				}
				q.close()
				reader.Wait()
				for b, ok := q.tryNext(); ok; b, ok = q.tryNext() {
					take(b)
				}
				for i := range out {
					require.EqualValues(t, 1, out[i].Load(), "batch %d", i)
				}
				assert.Equal(t, pushed.Load(), items.Load())
				assert.Zero(t, q.items.reserved.Load())
				assert.Zero(t, q.bytes.reserved.Load())
			})
		}
	}
}

// Of batches above a bound that are pushed concurrently, exactly one stays, whatever was in the diode before.
func TestConcurrentPushesAboveBound(t *testing.T) {
	const pushers, rounds = 8, 2000
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		t.Run(string(policy), func(t *testing.T) {
			q := newDiode[int](Config{Capacity: 100, MaxItems: 10, DropPolicy: policy})
			for range rounds {
				var drops atomic.Int32
				start := make(chan struct{})
				var wg sync.WaitGroup
				for p := range pushers {
					wg.Go(func() {
						<-start
						q.push(Batch[int]{Data: p, Items: 11 + p}, func(Batch[int]) { drops.Add(1) })
					})
				}
				close(start)
				wg.Wait()
				require.EqualValues(t, pushers-1, drops.Load())
				require.Equal(t, 1, q.ring.Len())
				require.EqualValues(t, 10, q.items.reserved.Load())
				_, ok := q.tryNext()
				require.True(t, ok)
				require.Zero(t, q.items.reserved.Load())
			}
		})
	}
}

// Pushes after close drop no waiting batch.
func TestPushAfterClose(t *testing.T) {
	const pushers, pushes, perBatch = 8, 1000, 10
	q := newDiode[int](Config{Capacity: 1000, MaxItems: 100 * perBatch, DropPolicy: DropOldest})
	for i := range 100 { // Just full.
		q.push(Batch[int]{Data: -i - 1, Items: perBatch}, func(b Batch[int]) { t.Errorf("dropped %+v", b) })
	}
	q.close()
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range pushes {
				var drops []Batch[int]
				pushed := Batch[int]{Data: p*pushes + i, Items: perBatch}
				q.push(pushed, func(b Batch[int]) { drops = append(drops, b) })
				assert.Equal(t, []Batch[int]{pushed}, drops)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 100, q.ring.Len())
	assert.EqualValues(t, 100*perBatch, q.items.reserved.Load())
}

// Whenever the queue is empty, all yields false once, before it waits or ends.
func TestAll(t *testing.T) {
	q := newDiode[int](Config{Capacity: 10, MaxItems: 10})
	push := func(data int) {
		q.push(Batch[int]{Data: data, Items: 1}, func(b Batch[int]) { t.Errorf("dropped %+v", b) })
	}
	push(1)
	push(2)
	var got []int // 0: the queue is empty
	for b, ok := range q.all() {
		got = append(got, b.Data)
		assert.Equal(t, b.Data != 0, ok)
		switch len(got) {
		case 3:
			go push(3) // all waits for this batch.
		case 5:
			push(4)
			q.close()
		}
	}
	assert.Equal(t, []int{1, 2, 0, 3, 0, 4, 0}, got)
	assert.Zero(t, q.items.reserved.Load())
	for range q.all() {
		break
	}
}

func TestAccount(t *testing.T) {
	for name, tt := range map[string]struct {
		reserved int64
		add      int
		over     int64 // the excess of add over the limit of 10
		exceeded bool
	}{
		"room left":         {5, 4, -1, false},
		"just full":         {5, 5, 0, false},
		"exceeded":          {5, 7, 2, true},
		"already exceeded":  {15, 2, 2, true},
		"larger than limit": {0, 100, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := account{limit: 10}
			a.reserved.Store(tt.reserved)
			require.Equal(t, tt.over, a.add(tt.add))
			require.Equal(t, tt.exceeded, a.exceeded())
		})
	}
}

// Each tryAdd that returns true has reserved separate room, even with concurrent calls. The callers continue until enough calls have
// collided, however busy the machine is, or the room is used up. Each caller has a thread, so that a single processor preempts them.
func TestTryAddConcurrent(t *testing.T) {
	const callers, collisions = 4, 100_000
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(callers, runtime.NumCPU())))
	a := account{limit: 50_000_000}
	var added, collided atomic.Int64
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			<-start
			n := int64(0)
			for before := a.reserved.Load(); collided.Load() < collisions && a.tryAdd(1); {
				n++
				after := a.reserved.Load()
				if after != before+1 {
					collided.Add(1)
				}
				before = after
			}
			added.Add(n)
		})
	}
	close(start)
	wg.Wait()
	require.Equal(t, added.Load(), a.reserved.Load())
}

// A push evicts its own part of the excess over a bound and leaves the rest to the push in progress that reserved it.
func TestPushEvictsOwnPart(t *testing.T) {
	for name, tt := range map[string]struct {
		bounds Config
		bound  func(*diode[int]) *account
	}{
		"items": {Config{MaxItems: 10}, func(q *diode[int]) *account { return &q.items }},
		"bytes": {Config{MaxBytes: 10}, func(q *diode[int]) *account { return &q.bytes }},
	} {
		t.Run(name, func(t *testing.T) {
			tt.bounds.Capacity, tt.bounds.DropPolicy = 10, DropOldest
			q := newDiode[int](tt.bounds)
			for i := range 3 {
				q.push(Batch[int]{Data: i, Items: 3, Bytes: 3}, func(b Batch[int]) { t.Errorf("dropped %d", b.Data) })
			}
			tt.bound(q).reserved.Add(10) // Reserved by a push that has not yet set its batch.
			var drops []int
			q.push(Batch[int]{Data: 3, Items: 2, Bytes: 2}, func(b Batch[int]) { drops = append(drops, b.Data) })
			require.Equal(t, []int{0}, drops)
		})
	}
}
