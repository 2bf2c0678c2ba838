// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

// Concurrent counts add up.
func TestCounts(t *testing.T) {
	const pushers, pushes = 16, 1000
	r, logs := newReport()
	r.Start(reporttest.NewHost())
	var wg sync.WaitGroup
	for range pushers {
		wg.Go(func() {
			for range pushes {
				r.Accepted(10)
				r.Dropped(DropOverflow, 3)
				r.Dropped(DropShutdown, 2)
				assert.GreaterOrEqual(t, r.Waiting(), int64(0))
			}
		})
	}
	wg.Go(func() {
		for range pushers * pushes / 10 {
			r.Accepted(3)
			r.Out(2)
			r.Failed(refused.Err, false, 1)
		}
	})
	wg.Wait()
	assert.EqualValues(t, 5*pushers*pushes, r.Waiting())
	r.Shutdown()
	dropped := int64(0)
	for _, line := range logs.FilterMessage("overflow").All() {
		dropped += line.ContextMap()["dropped_items"].(int64)
	}
	assert.EqualValues(t, 3*pushers*pushes, dropped, "the log counts every dropped item")
}

// An item is accepted before it is counted out, and Waiting reads the counts in the opposite order. Reading so many stripes takes so long
// that pushes interleave with most calls, or with enough of them on a single processor.
func TestWaitingNotNegative(t *testing.T) {
	r, _ := newReport()
	r.pushes = make(pushes, 1<<16)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				r.Accepted(1)
				r.Dropped(DropOverflow, 1)
			}
		})
	}
	for interleaved := 0; interleaved < 30; {
		before := r.pushes.sum(acceptedItems)
		if waiting := r.Waiting(); waiting < 0 {
			t.Errorf("%d waiting items", waiting)
			break
		}
		if r.pushes.sum(acceptedItems) != before {
			interleaved++
		}
	}
	stop.Store(true)
	wg.Wait()
}

// A goroutine uses few stripes even if its stack moves. Many goroutines use many.
func TestStripes(t *testing.T) {
	p := newPushes()
	require.GreaterOrEqual(t, len(p), stripesPerProcessor)
	require.Zero(t, len(p)&(len(p)-1), "a power of two")
	used := make([]map[*stripe]bool, 8*len(p))
	var all sync.WaitGroup // No goroutine ends before the others: it would leave its stack to the next.
	all.Add(len(used))
	var wg sync.WaitGroup
	for g := range used {
		used[g] = map[*stripe]bool{}
		wg.Go(func() {
			for range 100 {
				used[g][p.stripe()] = true
			}
			all.Done()
			all.Wait()
		})
	}
	wg.Wait()
	total := map[*stripe]bool{}
	for _, stripes := range used {
		assert.LessOrEqual(t, len(stripes), 4)
		maps.Copy(total, stripes)
	}
	assert.Greater(t, len(total), len(p)/2)
}
