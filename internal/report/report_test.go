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

// However counts meet: in the end all of them add up.
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
	assert.EqualValues(t, 3*pushers*pushes, dropped, "the log says it to the item")
}

// An item is accepted before it is counted out, and Waiting looks in the other order. So many stripes take it so long that pushes meet
// most calls; where there is one processor, enough of them.
func TestWaitingIsNotNegative(t *testing.T) {
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
	for met := 0; met < 30; {
		before := r.pushes.sum(acceptedItems)
		if waiting := r.Waiting(); waiting < 0 {
			t.Errorf("%d items wait", waiting)
			break
		}
		if r.pushes.sum(acceptedItems) != before {
			met++
		}
	}
	stop.Store(true)
	wg.Wait()
}

// A goroutine stays with few stripes, however its stack moves, and many goroutines have many.
func TestStripes(t *testing.T) {
	p := newPushes()
	require.GreaterOrEqual(t, len(p), stripesPerProcessor)
	require.Zero(t, len(p)&(len(p)-1), "a power of two")
	used := make([]map[*stripe]bool, 8*len(p))
	var all sync.WaitGroup // One that ends would leave its stack to the next.
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
	together := map[*stripe]bool{}
	for _, of := range used {
		assert.LessOrEqual(t, len(of), 4)
		maps.Copy(together, of)
	}
	assert.Greater(t, len(together), len(p)/2)
}
