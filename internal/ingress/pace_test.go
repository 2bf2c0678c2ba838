// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// While one signal floods, another gets its turn: three senders wait for the rate limit in the order in which they came, each
// with one message. So of three that always have something to send, each gets a third of the messages.
func TestSendersShareTheRateFairly(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.EnvelopesPerSecond, cfg.Burst = 5000, 100
	client := connect(t, cfg)
	warm(t, client)

	const messages = 20
	var stop atomic.Bool
	var wg sync.WaitGroup
	flood := func(name string) {
		sender := client.NewSender(func(Attempt) {})
		wg.Go(func() {
			for !stop.Load() {
				envelopes := logEnvelopes(100)
				envelopes[0] = logEnvelope(name)
				assert.NoError(t, send(t.Context(), sender, envelopes...))
			}
		})
	}
	flood("logs")
	server.WaitFor(t, "the flood", func() bool { return len(server.Batches()) > 5 })
	flood("traces")
	sender := client.NewSender(func(Attempt) {})
	before := len(server.Batches())
	for i := range messages {
		require.NoError(t, send(t.Context(), sender, logEnvelope(fmt.Sprint("metrics ", i))))
	}
	others := len(server.Batches()) - before - messages
	stop.Store(true)
	wg.Wait()
	// Two of others for each of ours. A busy machine may delay our goroutine now and then.
	assert.LessOrEqual(t, others, 2*messages+messages/2, "the floods got more than their share")
	assert.Greater(t, others, messages, "the floods were none")
}

// A burst of 20,000 envelopes into a router arrives whole at the default rate, and not without one.
func TestBurstIntoARouter(t *testing.T) {
	const envelopes = 20_000
	for _, tt := range []struct {
		name       string
		rate       float64
		burst      int
		perMessage int
		whole      bool
	}{
		{"at the default rate", 8000, 100, 100, true},
		{"without a rate limit", 0, 0, 5000, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := ingresstest.StartCapture(t)
			server.Router()
			lost := server.Ring(1000, 100*time.Millisecond)
			cfg := configFor(server)
			cfg.EnvelopesPerSecond, cfg.Burst = tt.rate, tt.burst
			sender := connect(t, cfg).NewSender(func(a Attempt) { assert.Nil(t, a.Err) })
			for range envelopes / tt.perMessage {
				require.NoError(t, send(t.Context(), sender, logEnvelopes(tt.perMessage)...))
			}
			assert.Equal(t, envelopes, len(server.Envelopes())+lost())
			if tt.whole {
				assert.Zero(t, lost())
			} else {
				assert.Positive(t, lost(), "what the sender was told had arrived")
			}
		})
	}
}

// There is nothing to pace while nothing can be sent.
func TestNoPaceWithoutAConnection(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Down()
	cfg := configFor(server)
	cfg.EnvelopesPerSecond, cfg.Burst = 0.001, 10
	cfg.Retry.Enabled = false
	client := connect(t, cfg)
	sender := client.NewSender(func(Attempt) {})
	for range 20 { // At that rate it would take days.
		require.Eventually(t, func() bool { return client.conn.GetState() == connectivity.TransientFailure }, waitAtMost, time.Millisecond)
		requireError(t, send(t.Context(), sender, logEnvelopes(10)...), "Unavailable")
	}
	assert.InDelta(t, 10, client.limiter.Tokens(), 0.1)
}
