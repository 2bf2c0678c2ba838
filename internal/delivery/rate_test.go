// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

func TestRateLimit(t *testing.T) {
	const rate, burst, senders, batches, perBatch = 1000, 100, 4, 5, 25
	server, client := start(t, limited(rate, burst))
	begin := time.Now()
	var (
		mu   sync.Mutex
		sent float64
		wg   sync.WaitGroup
	)
	for range senders {
		sender := observe(client, func(Attempt) {
			mu.Lock()
			defer mu.Unlock()
			sent += perBatch
			assert.LessOrEqual(t, sent, burst+rate*time.Since(begin).Seconds()+1) // 1 for rounding.
		})
		wg.Go(func() {
			for range batches {
				assert.NoError(t, send(t.Context(), sender, logEnvelopes(perBatch)...))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begin)
	assert.Len(t, server.Envelopes(), senders*batches*perBatch)
	// The burst is free; the rest arrives at most at the rate.
	assert.GreaterOrEqual(t, elapsed, 399*time.Millisecond)
}

func TestRateLimitRetry(t *testing.T) {
	server, client := start(t, limited(100, 10))
	server.Refuse(refusal(t, codes.Unavailable))
	sender := observe(client, resumeAfter(server, 3))
	begin := time.Now()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(10)...))
	assert.Len(t, sender.attempts, 4)
	assert.GreaterOrEqual(t, time.Since(begin), 299*time.Millisecond, "each attempt counts, because a refused batch may have been taken anyway")
}

func TestNoRateLimit(t *testing.T) {
	server, client := start(t, limited(0, 1)) // A burst means nothing without a rate.
	require.NoError(t, send(t.Context(), observe(client), logEnvelopes(1000)...))
	assert.Equal(t, []int{1000}, server.Batches())
}

// While two senders flood the limiter, a third waits for at most one message of each: a sender has one message in the limiter's queue,
// which is FIFO.
func TestRateLimitFairness(t *testing.T) {
	const perMessage, messages = 100, 20
	server, client := start(t, limited(5000, perMessage))
	warm(t, client)

	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		sender := observe(client)
		wg.Go(func() {
			for !stop.Load() {
				assert.NoError(t, send(t.Context(), sender, logEnvelopes(perMessage)...))
			}
		})
	}
	server.WaitFor(t, "the other senders", func() bool { return len(server.Batches()) > 10 })

	sender := observe(client)
	longest, others := 0.0, 0
	for i := range messages {
		before := len(server.Batches())
		longest = max(longest, -client.limiter.Tokens()) // The waiting envelopes.
		require.NoError(t, send(t.Context(), sender, logEnvelope(fmt.Sprint(i))))
		others += len(server.Batches()) - before - 1
	}
	stop.Store(true)
	wg.Wait()
	assert.LessOrEqual(t, longest, 2.0*perMessage+1) // 1 for rounding.
	assert.Positive(t, longest, "the other senders exceed the rate limit")
	t.Logf("at most %.0f waiting envelopes; %d messages of the other senders between our %d", longest, others, messages)
}

// A router loses none of 20,000 envelopes at the default rate, and some of them without a limit.
func TestRateLimitRouterBurst(t *testing.T) {
	const envelopes = 20_000
	for _, tt := range []struct {
		name       string
		rate       float64
		burst      int
		perMessage int
		whole      bool
	}{
		{"at the default rate", 5000, 100, 100, true},
		{"without a rate limit", 0, 0, 5000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t, limited(tt.rate, tt.burst))
			server.Router()
			lost := server.Ring(1000, 100*time.Millisecond)
			sender := observe(client, func(a Attempt) { assert.Nil(t, a.Err) })
			for range envelopes / tt.perMessage {
				require.NoError(t, send(t.Context(), sender, logEnvelopes(tt.perMessage)...))
			}
			assert.Equal(t, envelopes, len(server.Envelopes())+lost())
			if tt.whole {
				assert.Zero(t, lost())
			} else {
				assert.Positive(t, lost(), "lost envelopes were acknowledged")
			}
		})
	}
}

// Without a connection the rate limit does not apply.
func TestRateLimitWithoutConnection(t *testing.T) {
	server, client := start(t, noRetry, limited(0.001, 10))
	server.Down()
	sender := observe(client)
	for range 20 { // It would take days at that rate.
		require.Eventually(t, func() bool { return client.conn.GetState() == connectivity.TransientFailure }, waitAtMost, time.Millisecond)
		requireError(t, send(t.Context(), sender, logEnvelopes(10)...), "Unavailable")
	}
	assert.InDelta(t, 10, client.limiter.Tokens(), 0.1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := send(ctx, sender, logEnvelopes(10)...)
	require.ErrorIs(t, err, context.Canceled)
	assert.NotErrorAs(t, err, new(*Error), "there was no attempt")
}
