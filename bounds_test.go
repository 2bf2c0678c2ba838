// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
)

// A bounded diode of numbers: what gives way for what, with small sizes.
func TestBoundedDiode(t *testing.T) {
	type step struct {
		push  batch[int]
		drops []int // the data of what gives way
	}
	b := func(data, items, bytes int) batch[int] { return batch[int]{data: data, items: items, bytes: bytes} }
	for name, tt := range map[string]struct {
		cfg   DiodeConfig
		steps []step
		left  []int
	}{
		"no bounds": {DiodeConfig{Capacity: 2, DropPolicy: DropOldest}, []step{
			{b(1, 1e9, 0), nil}, {b(2, 1e9, 0), nil}, {b(3, 1, 0), []int{1}},
		}, []int{2, 3}},
		"items, oldest": {DiodeConfig{Capacity: 10, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 4, 0), nil}, {b(2, 3, 0), nil}, {b(3, 3, 0), nil}, // Just full.
			{b(4, 1, 0), []int{1}},
			{b(5, 8, 0), []int{2, 3}}, // As many as it takes.
			{b(6, 10, 0), []int{4, 5}},
		}, []int{6}},
		"items, newest": {DiodeConfig{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
			{b(1, 4, 0), nil}, {b(2, 7, 0), []int{2}}, {b(3, 6, 0), nil}, {b(4, 1, 0), []int{4}},
		}, []int{1, 3}},
		"bytes, oldest": {DiodeConfig{Capacity: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 600), nil}, {b(2, 1, 400), nil}, {b(3, 1, 1), []int{1}}, {b(4, 1, 600), []int{2}},
		}, []int{3, 4}},
		"bytes, newest": {DiodeConfig{Capacity: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
			{b(1, 1, 600), nil}, {b(2, 1, 401), []int{2}}, {b(3, 1, 400), nil},
		}, []int{1, 3}},
		"both, newest: what the second refuses does not count in the first": {
			DiodeConfig{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
				{b(1, 5, 900), nil}, {b(2, 5, 200), []int{2}}, {b(3, 5, 100), nil},
			}, []int{1, 3}},
		"capacity and items": {DiodeConfig{Capacity: 2, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 1, 0), nil}, {b(2, 1, 0), nil}, {b(3, 10, 0), []int{1, 2}},
		}, []int{3}},
		"above items, oldest: all gives way to it, and it to the next": {
			DiodeConfig{Capacity: 10, MaxItems: 10, DropPolicy: DropOldest}, []step{
				{b(1, 4, 0), nil}, {b(2, 6, 0), nil}, {b(3, 11, 0), []int{1, 2}}, {b(4, 1, 0), []int{3}}, {b(5, 1000, 0), []int{4}}, {b(6, 1000, 0), []int{5}},
			}, []int{6}},
		"above items, newest: taken when nothing waits": {
			DiodeConfig{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
				{b(1, 11, 0), nil}, {b(2, 1, 0), []int{2}}, {b(3, 1000, 0), []int{3}},
			}, []int{1}},
		"above items, newest: refused when something waits": {
			DiodeConfig{Capacity: 10, MaxItems: 10, DropPolicy: DropNewest}, []step{
				{b(1, 1, 0), nil}, {b(2, 11, 0), []int{2}}, {b(3, 9, 0), nil},
			}, []int{1, 3}},
		"above bytes, oldest": {DiodeConfig{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 500), nil}, {b(2, 1, 5000), []int{1}}, {b(3, 1, 1), []int{2}},
		}, []int{3}},
		"above bytes, newest": {DiodeConfig{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropNewest}, []step{
			{b(1, 1, 5000), nil}, {b(2, 1, 1), []int{2}},
		}, []int{1}},
		"above both": {DiodeConfig{Capacity: 10, MaxItems: 10, MaxBytes: 1000, DropPolicy: DropOldest}, []step{
			{b(1, 1, 1), nil}, {b(2, 11, 1001), []int{1}}, {b(3, 10, 1000), []int{2}},
		}, []int{3}},
		"above items, one slot": {DiodeConfig{Capacity: 1, MaxItems: 10, DropPolicy: DropOldest}, []step{
			{b(1, 11, 0), nil}, {b(2, 11, 0), []int{1}}, {b(3, 1, 0), []int{2}},
		}, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newBoundedDiode[int](tt.cfg)
			for _, s := range tt.steps {
				var drops []int
				d.push(s.push, func(b batch[int]) { drops = append(drops, b.data) })
				assert.Equal(t, s.drops, drops, "for %+v", s.push)
			}
			var left []int
			for b, ok := d.TryNext(); ok; b, ok = d.TryNext() {
				left = append(left, b.data)
			}
			assert.Equal(t, tt.left, left)
			assert.Zero(t, d.items.reserved.Load())
			assert.Zero(t, d.bytes.reserved.Load())
		})
	}
}

// However pushes and the reader meet: every batch comes out once, the bounds are exceeded by no more than what is being pushed and
// kept when all is quiet, no push works for long for others, and the diode is not emptied further than by a batch a pusher.
func TestBoundedDiodeUnderStress(t *testing.T) {
	const pushers, pushes, maxItems, maxBytes, largest = 8, 5000, 1000, 10_000, 20
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		for _, tt := range []struct {
			reading    bool
			aboveBound int // one batch of so many is above a bound; 0: none
		}{{true, 0}, {false, 0}, {true, 10}, {false, 10}, {true, 1}, {false, 1}} {
			t.Run(fmt.Sprintf("%s/reading=%v/above=%d", policy, tt.reading, tt.aboveBound), func(t *testing.T) {
				reading := tt.reading
				room := int64(maxItems + pushers*largest) // that may be reserved
				if tt.aboveBound > 0 {
					room = maxItems * (pushers + 1)
				}
				d := newBoundedDiode[int](DiodeConfig{Capacity: 500, MaxItems: maxItems, MaxBytes: maxBytes, DropPolicy: policy})
				out := make([]atomic.Int32, pushers*pushes)
				var items atomic.Int64 // that are out
				var wg sync.WaitGroup
				var total int64
				var mu sync.Mutex
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
							d.push(batch[int]{data: p*pushes + i, items: n, bytes: bytes}, func(b batch[int]) {
								out[b.data].Add(1)
								items.Add(int64(b.items))
								drops++
							})
							if inside := d.items.reserved.Load(); inside > room {
								t.Errorf("%d items are reserved", inside)
							}
							if drops > 500+pushers {
								t.Errorf("a push dropped %d batches", drops)
							}
						}
						mu.Lock()
						total += sum
						mu.Unlock()
					})
				}
				read := make(chan struct{})
				take := func(b batch[int]) {
					out[b.data].Add(1)
					items.Add(int64(b.items))
				}
				go func() {
					defer close(read)
					if reading {
						for b, ok := d.Next(); ok; b, ok = d.Next() {
							take(b)
						}
					}
				}()
				wg.Wait()
				if !reading { // All is quiet, and the diode as full as it gets.
					inside := d.items.reserved.Load()
					assert.LessOrEqual(t, inside, int64(maxItems))
					assert.LessOrEqual(t, d.bytes.reserved.Load(), int64(maxBytes))
					if tt.aboveBound == 0 {
						assert.Equal(t, total, items.Load()+inside)
					}
					assert.Positive(t, d.Len(), "not all has to give way")
					if policy == DropOldest && tt.aboveBound == 0 {
						assert.True(t, inside > maxItems-(pushers+1)*largest || d.bytes.reserved.Load() > maxBytes-(pushers+1)*10*largest,
							"%d items and %d bytes in %d batches are left", inside, d.bytes.reserved.Load(), d.Len())
					}
				}
				d.Close()
				<-read
				for b, ok := d.TryNext(); ok; b, ok = d.TryNext() {
					take(b)
				}
				for i := range out {
					require.EqualValues(t, 1, out[i].Load(), "batch %d", i)
				}
				assert.Equal(t, total, items.Load())
				assert.Zero(t, d.items.reserved.Load())
				assert.Zero(t, d.bytes.reserved.Load())
			})
		}
	}
}

// Of batches above a bound that are pushed at the same time, exactly one stays, whatever was there before.
func TestBatchesAboveABoundAtTheSameTime(t *testing.T) {
	const pushers, rounds = 8, 2000
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		t.Run(string(policy), func(t *testing.T) {
			d := newBoundedDiode[int](DiodeConfig{Capacity: 100, MaxItems: 10, DropPolicy: policy})
			for range rounds {
				var drops atomic.Int32
				start := make(chan struct{})
				var wg sync.WaitGroup
				for p := range pushers {
					wg.Go(func() {
						<-start
						d.push(batch[int]{data: p, items: 11 + p}, func(batch[int]) { drops.Add(1) })
					})
				}
				close(start)
				wg.Wait()
				require.EqualValues(t, pushers-1, drops.Load())
				require.Equal(t, 1, d.Len())
				require.EqualValues(t, 10, d.items.reserved.Load())
				_, ok := d.TryNext()
				require.True(t, ok)
				require.Zero(t, d.items.reserved.Load())
			}
		})
	}
}

// What is pushed after Close takes nothing away from what waits.
func TestBoundedDiodeClosed(t *testing.T) {
	const pushers, pushes, perBatch = 8, 1000, 10
	d := newBoundedDiode[int](DiodeConfig{Capacity: 1000, MaxItems: 100 * perBatch, DropPolicy: DropOldest})
	for i := range 100 { // Just full.
		d.push(batch[int]{data: -i - 1, items: perBatch}, func(b batch[int]) { t.Errorf("dropped %+v", b) })
	}
	d.Close()
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range pushes {
				pushed, drops := batch[int]{data: p*pushes + i, items: perBatch}, 0
				d.push(pushed, func(b batch[int]) {
					drops++
					assert.Equal(t, pushed, b)
				})
				assert.Equal(t, 1, drops)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 100, d.Len())
	assert.EqualValues(t, 100*perBatch, d.items.reserved.Load())
}

// The exporter keeps the bounds while Loggregator stalls, and says to the item what gave way.
func TestExporterKeepsTheBounds(t *testing.T) {
	const perBatch, pushes = 100, 50
	size := (&plog.ProtoMarshaler{}).LogsSize(numberedLogs(1000, perBatch, 50))
	for name, tt := range map[string]struct {
		bounds  DiodeConfig
		batches int // that stay
	}{
		"items":         {DiodeConfig{MaxItems: 10 * perBatch}, 10},
		"items, uneven": {DiodeConfig{MaxItems: 10*perBatch - 1}, 9},
		"bytes":         {DiodeConfig{MaxBytes: 7 * size}, 7},
		"capacity":      {DiodeConfig{Capacity: 5, MaxItems: 10 * perBatch}, 5},
	} {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			t.Run(name+"/"+string(policy), func(t *testing.T) {
				f := newFixture(t)
				f.cfg.Diode = tt.bounds
				if f.cfg.Diode.Capacity == 0 {
					f.cfg.Diode.Capacity = 1000
				}
				f.cfg.Diode.DropPolicy = policy
				f.cfg.TimeoutConfig.Timeout = 0
				f.ingress.Stall()
				e := f.start("logs")
				e.push(1000, perBatch, 50)
				f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
				for i := 1; i < pushes; i++ {
					e.push(1000+i*perBatch, perBatch, 50)
				}
				assert.Equal(t, tt.batches, f.sum("exporter_queue_size"))
				assert.Equal(t, (1+tt.batches)*perBatch, f.counts("logs").waiting)
				assert.Equal(t, (pushes-1-tt.batches)*perBatch, f.counts("logs").dropped)
				f.checkIdentity("logs", pushes*perBatch)
				f.ingress.Resume()
				require.NoError(t, e.Shutdown(t.Context()))
				arrived := f.numbers("logs")
				assert.Len(t, arrived, (1+tt.batches)*perBatch)
				kept := 1000 + (pushes-1)*perBatch // The last.
				if policy == DropNewest {
					kept = 1000 + perBatch // The first that waited.
				}
				assert.Contains(t, arrived, kept)
				f.checkIdentity("logs", pushes*perBatch)
			})
		}
	}
}

// A batch that alone is above a bound waits alone: with the policy oldest all else gives way to it, with newest it is taken when
// nothing waits.
func TestBatchAboveABound(t *testing.T) {
	for _, bound := range []string{"items", "bytes"} {
		for _, policy := range []DropPolicy{DropOldest, DropNewest} {
			t.Run(bound+"/"+string(policy), func(t *testing.T) {
				f := newFixture(t)
				f.cfg.Diode.DropPolicy = policy
				if bound == "items" {
					f.cfg.Diode.MaxItems = 10
				} else {
					f.cfg.Diode.MaxItems, f.cfg.Diode.MaxBytes = 0, (&plog.ProtoMarshaler{}).LogsSize(numberedLogs(100, 10, 0))
				}
				f.ingress.Stall()
				e := f.start("logs")
				e.push(0, 1, 0) // This one is on its way, and no longer in the diode.
				f.ingress.WaitFor(t, "the first message", func() bool { return f.ingress.Calls() == 1 })
				e.push(100, 1000, 0) // Nothing waits: taken.
				assert.Equal(t, 1001, f.counts("logs").waiting)
				e.push(2000, 4, 0)
				e.push(3000, 4, 0)
				e.push(4000, 1000, 0)

				kept, dropped := 4000, 1008
				if policy == DropNewest {
					kept = 100
				}
				assert.Equal(t, dropped, f.sum("exporter_loggregator_dropped_items", attribute.String("reason", "overflow")))
				assert.Equal(t, 1, f.sum("exporter_queue_size"))
				f.ingress.Resume()
				require.NoError(t, e.Shutdown(t.Context()))
				arrived := f.numbers("logs")
				assert.Len(t, arrived, 1001)
				for i := range 1000 {
					require.Contains(t, arrived, kept+i)
				}
				f.checkIdentity("logs", 2009)
			})
		}
	}
}

// A push allocates nothing, also when it drops.
func TestPushAllocatesNothing(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 10
	e := f.create("logs")
	logs := numberedLogs(0, 10, 0)
	push := func() { _ = e.Component.(logsExporter).ConsumeLogs(t.Context(), logs) }
	for range 20 { // Full.
		push()
	}
	assert.Zero(t, testing.AllocsPerRun(1000, push))
	require.NoError(t, e.Shutdown(t.Context()))
}
