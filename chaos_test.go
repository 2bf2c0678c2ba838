// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"flag"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var chaosDuration = flag.Duration("chaos.duration", 5*time.Second, "how long TestChaos makes faults")

// chaos is what may happen to the server at any time.
var chaos = []func(*fixture){
	func(f *fixture) { f.ingress.Stall() },
	func(f *fixture) { f.ingress.Slow(rand.N(20 * time.Millisecond)) },
	func(f *fixture) { f.ingress.Refuse(status.Error(codes.Unavailable, "chaos")) },
	func(f *fixture) { f.ingress.Refuse(status.Error(codes.Internal, "chaos")) },
	func(f *fixture) {
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			if len(batch) > 1+rand.IntN(5) {
				return status.Error(codes.ResourceExhausted, "larger than max")
			}
			return nil
		})
	},
	func(f *fixture) { f.ingress.CutConnections() },
	func(f *fixture) { f.ingress.CutAfter(rand.IntN(50_000)) },
	func(f *fixture) { f.ingress.HalfOpen() },
	func(f *fixture) { f.ingress.Reorder() },
	func(f *fixture) { f.ingress.Router() },
	func(f *fixture) { f.ingress.Down() },
	func(f *fixture) {
		f.ingress.Expire(f.t)
		f.ingress.CutConnections()
	},
}

// Random faults, several at a time, while 16 goroutines push all signals. In the end every item is counted out once, and a push
// has never taken longer than without faults: far less than each of the faults took.
func TestChaos(t *testing.T) {
	const (
		pushers = 16
		// A push that waited for the peer would wait for longest, or for the timeout. What the machine itself does to a push is
		// measured by an idle run, and may be worse the next time.
		longest   = 2 * time.Second
		tolerance = 20
		least     = 25 * time.Millisecond
	)
	start := time.Now()
	f := newFixture(t)
	arrived := newArrivals(f)
	f.cfg.Diode = DiodeConfig{Capacity: 50, MaxItems: 300, DropPolicy: DropOldest}
	f.cfg.Batch.MaxEnvelopes = 50
	f.cfg.TimeoutConfig.Timeout = longest
	f.cfg.RetryConfig.MaxElapsedTime = 5 * time.Second
	f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}
	signals := []string{"logs", "metrics", "traces"}
	feeds := map[string]feed{}
	pushed := map[string]*atomic.Int64{}
	for _, signal := range signals {
		feeds[signal] = f.start(signal)
		pushed[signal] = &atomic.Int64{}
	}

	// run pushes until it is over, and returns the longest time that a push took.
	run := func(over <-chan struct{}) time.Duration {
		var mu sync.Mutex
		var slowest time.Duration
		var wg sync.WaitGroup
		for p := range pushers {
			e := feeds[signals[p%len(signals)]]
			numbers := pushed[e.signal]
			wg.Go(func() {
				pace := time.NewTicker(time.Millisecond)
				defer pace.Stop()
				mine := time.Duration(0)
				for {
					select {
					case <-over:
						mu.Lock()
						slowest = max(slowest, mine)
						mu.Unlock()
						return
					case <-pace.C:
					}
					n := 1 + rand.IntN(10)
					first := int(numbers.Add(int64(n))) - n
					before := time.Now()
					e.push(first, n, 100)
					mine = max(mine, time.Since(before))
				}
			})
		}
		wg.Wait()
		return slowest
	}
	after := func(d time.Duration) <-chan struct{} {
		over := make(chan struct{})
		time.AfterFunc(d, func() { close(over) })
		return over
	}

	idle := run(after(time.Second))
	over := after(*chaosDuration)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			length := rand.N(longest / 2)
			if rand.IntN(8) == 0 {
				length = longest
			}
			for range 1 + rand.IntN(2) {
				chaos[rand.IntN(len(chaos))](f)
			}
			select {
			case <-over:
				return
			case <-after(length):
			}
			f.ingress.Resume()
			assert.NoError(t, f.ingress.Up())
		}
	}()
	chaotic := run(over)
	<-ended
	f.ingress.Resume()
	require.NoError(t, f.ingress.Up())
	for _, e := range feeds {
		require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
		require.NoError(t, e.Shutdown(t.Context()))
	}

	t.Logf("longest push: %v without faults, %v with them", idle, chaotic)
	assert.LessOrEqual(t, chaotic, tolerance*max(idle, least), "a push felt the faults; without them the longest took %v", idle)
	for _, signal := range signals {
		accepted := int(pushed[signal].Load())
		c := f.counts(signal)
		t.Logf("%s: accepted %d, %+v", signal, accepted, c)
		f.checkIdentity(signal, accepted)
		assert.GreaterOrEqual(t, arrived.distinct(signal), c.sent, "what was sent has arrived")
		assert.LessOrEqual(t, arrived.distinct(signal), c.sent+c.failed, "what was dropped was not sent before")
		assert.Positive(t, c.sent)
		assert.Positive(t, c.dropped)
	}
	// Each signal logs at most one line of a kind in an interval, and one when it ends.
	atMost := len(signals) * (2 + int(time.Since(start)/lossInterval))
	kinds := map[string]int{}
	for _, line := range f.logs.All() {
		kinds[line.Message]++
	}
	for message, n := range kinds {
		assert.LessOrEqual(t, n, atMost, message)
	}
}

// arrivals are the numbers of the items of each signal that have arrived, in little memory.
type arrivals struct {
	mu   sync.Mutex
	bits map[string][]uint64
}

// newArrivals makes the ingress of a fixture keep no more of what arrives than these.
func newArrivals(f *fixture) *arrivals {
	a := &arrivals{bits: map[string][]uint64{}}
	f.ingress.Divert(func(envelopes []*loggregator_v2.Envelope) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range envelopes {
			n, err := strconv.Atoi(e.GetTags()["number"])
			if err != nil {
				f.t.Errorf("no number in %v", e)
				return
			}
			signal := signalOf(e)
			if missing := n/64 + 1 - len(a.bits[signal]); missing > 0 {
				a.bits[signal] = append(a.bits[signal], make([]uint64, missing)...)
			}
			a.bits[signal][n/64] |= 1 << (n % 64)
		}
	})
	return a
}

func (a *arrivals) distinct(signal string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, word := range a.bits[signal] {
		n += bits.OnesCount64(word)
	}
	return n
}
