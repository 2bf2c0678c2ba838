// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
)

// arrivals are the items that the sinks have printed, by their source ID.
type arrivals struct {
	t    *testing.T
	next chan struct{} // has a value for who waits when something arrives

	mu    sync.Mutex
	times map[string]map[int]int // how often each ID has arrived
	total map[string]int
}

// add takes an envelope to pieces: each metric of a gauge is an item.
func (a *arrivals) add(e *loggregator_v2.Envelope) {
	var ids []string
	switch e.GetSourceId() {
	case "logs":
		ids = append(ids, string(e.GetLog().GetPayload()))
	case "metrics":
		for name := range e.GetGauge().GetMetrics() {
			ids = append(ids, strings.TrimPrefix(name, "load_"))
		}
	case "traces":
		ids = append(ids, e.GetTimer().GetName())
	}
	select {
	case a.next <- struct{}{}:
	default:
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range ids {
		id, err := strconv.Atoi(text)
		if err != nil {
			a.t.Errorf("not an item of the load: %v", e)
			return
		}
		if a.times[e.GetSourceId()] == nil {
			a.times[e.GetSourceId()] = map[int]int{}
		}
		a.times[e.GetSourceId()][id]++
		a.total[e.GetSourceId()]++
	}
}

// count is how many items have arrived, and how many different ones.
func (a *arrivals) count(signal string) (total, distinct int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total[signal], len(a.times[signal])
}

// Every item is counted by what became of it, to the item, although Loggregator dies in the middle of messages again and
// again. A message that the sink took but did not acknowledge before it died is sent again, so an item may arrive twice. The
// sink prints before it acknowledges, and the test reads all that it printed: what was counted as sent must have arrived.
func TestSinkKilledUnderLoad(t *testing.T) {
	arrived := &arrivals{t: t, next: make(chan struct{}), times: map[string]map[int]int{}, total: map[string]int{}}
	s := startSinkAt(t, "127.0.0.1:0", t.TempDir(), arrived.add)
	// Of the diode's 20 batches some are dropped in less than a second without a sink.
	c := startCollectorWith(t, nil, s.to()+", diode: {capacity: 20}, "+untiring)
	l := startLoad(t, c, shape{items: 50, resources: 5, payload: 1}, 2000)

	before := make([]int, len(l.streams))
	// arrives waits until more arrives of each signal than what waited in its diode.
	arrives := func() {
		t.Helper()
		s.eventually("items of each signal at the sink", func() bool {
			for i, st := range l.streams {
				if total, _ := arrived.count(st.signal); total < before[i]+2000 {
					return false
				}
			}
			return true
		})
	}
	arrives()
	for range 10 {
		// The moment at which the first lines of a message are read is a bad one: the rest is not printed yet, and the
		// message not acknowledged.
		select {
		case <-arrived.next:
		case <-time.After(waitAtMost):
			t.Fatal("nothing arrives any more")
		}
		s.kill()
		killed := l.accounts(c)
		for i, st := range l.streams {
			before[i], _ = arrived.count(st.signal)
		}
		c.eventually("drops of each signal", func() bool {
			for i, now := range l.accounts(c) {
				if now.dropped == killed[i].dropped {
					return false
				}
			}
			return true
		})
		s = startSinkAt(t, s.addr, s.certs, arrived.add)
		arrives()
	}

	accounts := l.settle(c)
	s.kill() // So that all of what it printed is read.
	for i, st := range l.streams {
		a, generated := accounts[i], int(st.sent.Load())
		total, distinct := arrived.count(st.signal)
		t.Logf("%s: %d generated, %d arrived and %d again, %+v", st.signal, generated, distinct, total-distinct, a)
		assert.Equal(t, generated, distinct+a.dropped+a.failed+a.rejected, st.signal)
		assert.Equal(t, distinct, a.sent, st.signal)
		assert.Zero(t, a.failed, "%s: a sink that dies is no reason to give up", st.signal)
		for id := range arrived.times[st.signal] {
			assert.Less(t, id, generated, "an ID that was never sent")
		}
	}
}
