// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fault is something that goes wrong with Loggregator. What ends it is Resume and Up.
type fault struct {
	begin func(*fixture)
	// loses is whether items fail, not only those that the diode drops.
	loses bool
}

// faultyMessage is how many bytes each item has where a fault is to hit a message in the middle.
const faultyMessage = 2000

var faults = map[string]fault{
	"stall":            {begin: func(f *fixture) { f.ingress.Stall() }},
	"slow":             {begin: func(f *fixture) { f.ingress.Slow(30 * time.Millisecond) }},
	"refuse for now":   {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.Unavailable, "for now")) }},
	"refuse for good":  {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.InvalidArgument, "for good")) }, loses: true},
	"refuse who it is": {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.PermissionDenied, "who?")) }, loses: true},
	"refuse large messages": {begin: func(f *fixture) {
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			if len(batch) > 3 {
				return status.Error(codes.ResourceExhausted, "larger than max")
			}
			return nil
		})
	}},
	"refuse every message as too large": {begin: func(f *fixture) {
		f.ingress.Refuse(status.Error(codes.ResourceExhausted, "larger than max"))
	}, loses: true},
	"cut":                           {begin: func(f *fixture) { f.ingress.CutConnections() }},
	"cut in the middle of messages": {begin: func(f *fixture) { f.ingress.CutAfter(10_000) }},
	"half open":                     {begin: func(f *fixture) { f.ingress.HalfOpen() }},
	"restart on the same port":      {begin: func(f *fixture) { f.ingress.Down() }},
	"expired certificate": {begin: func(f *fixture) {
		f.ingress.Expire(f.t)
		f.ingress.CutConnections()
	}},
	"answers out of order": {begin: func(f *fixture) { f.ingress.Reorder() }},
	"router":               {begin: func(f *fixture) { f.ingress.Router() }},
	"router that stalls": {begin: func(f *fixture) {
		f.ingress.Router()
		f.ingress.Stall()
	}},
	"ring like the router's": {begin: func(f *fixture) { f.ingress.Ring(1000, 100*time.Millisecond) }},
}

// Whatever goes wrong, pushes come back, every item is counted out once, what counts as sent has arrived, and what counts as
// dropped has not.
func TestEachFaultIsAccountedFor(t *testing.T) {
	const perBatch, before, during, after = 10, 5, 300, 5
	for name, fault := range faults {
		for signal := range itemNames {
			for _, policy := range []DropPolicy{DropOldest, DropNewest} {
				t.Run(name+"/"+signal+"/"+string(policy), func(t *testing.T) {
					t.Parallel()
					f := newFixture(t)
					f.cfg.Diode = DiodeConfig{Capacity: 10, DropPolicy: policy}
					f.cfg.Batch.MaxEnvelopes = 20
					f.cfg.TimeoutConfig.Timeout = 250 * time.Millisecond
					f.cfg.RetryConfig.MaxElapsedTime = 0 // Never gives up.
					f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}
					e := f.start(signal)
					next := 0
					push := func(batches int) {
						for range batches {
							e.push(next, perBatch, faultyMessage)
							next += perBatch
						}
					}
					empty := func() bool { return e.waiting() == 0 }

					push(before)
					require.Eventually(t, empty, waitAtMost, time.Millisecond)
					fault.begin(f)
					push(during)
					if fault.loses {
						require.Eventually(t, func() bool { return f.counts(signal).failed > 0 }, waitAtMost, time.Millisecond)
					}
					assert.Positive(t, f.counts(signal).dropped, "the diode was full, and said so at once")
					f.ingress.Resume()
					require.NoError(t, f.ingress.Up())
					fresh := next
					push(after)
					require.Eventually(t, empty, waitAtMost, time.Millisecond)
					require.NoError(t, e.Shutdown(t.Context()))

					c := f.counts(signal)
					f.checkIdentity(signal, next)
					assert.Zero(t, c.waiting)
					assert.Zero(t, c.rejected)
					assert.Equal(t, fault.loses, c.failed > 0)
					arrived := f.numbers(signal)
					assert.GreaterOrEqual(t, len(arrived), c.sent, "what was sent has arrived")
					assert.LessOrEqual(t, len(arrived), c.sent+c.failed, "what was dropped was not sent before")
					if policy == DropOldest {
						for n := fresh; n < next; n++ {
							assert.NotZerof(t, arrived[n], "item %d was pushed when all was well again", n)
						}
					}
				})
			}
		}
	}
}
