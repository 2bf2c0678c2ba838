// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// refuseAbove makes a server refuse messages of more than so many bytes, in gRPC's words.
func refuseAbove(server *ingresstest.Capture, limit int) {
	server.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if size := proto.Size(&loggregator_v2.EnvelopeBatch{Batch: batch}); size > limit {
			return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", size, limit)
		}
		return nil
	})
}

func TestTooLargeIsHalved(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	// Seven envelopes, the fifth of which alone is above the limit.
	var envelopes []*loggregator_v2.Envelope
	for i := range 7 {
		payload := fmt.Sprint(i)
		if i == 4 {
			payload += strings.Repeat("x", 1000)
		}
		envelopes = append(envelopes, logEnvelope(payload))
	}
	refuseAbove(server, 100)
	batch := &Batch{}
	for _, e := range envelopes {
		encoded, err := proto.Marshal(e)
		require.NoError(t, err)
		batch.Append(encoded)
	}
	size := batch.Size()
	var attempts []Attempt
	sender := client.NewSender(func(a Attempt) { attempts = append(attempts, a) })
	var outcomes []Outcome
	sender.Send(t.Context(), batch, func(o Outcome) { outcomes = append(outcomes, o) })

	requireLogs(t, server, "0", "1", "2", "3", "5", "6")
	next, bytes := 0, 0
	for _, o := range outcomes {
		if o.Err != nil {
			assert.Equal(t, 4, next)
			assert.Equal(t, 1, o.Envelopes, "only the one that is too large")
			e := requireError(t, o.Err, "ResourceExhausted")
			assert.True(t, e.TooLarge)
			assert.True(t, e.Permanent)
			assert.False(t, e.Everything)
		}
		next += o.Envelopes
		bytes += o.Bytes
	}
	assert.Equal(t, 7, next, "each envelope is settled, in order")
	assert.Equal(t, size, bytes)
	// 7 → 3 + 4 → (the 4) 2 + 2 → (the first 2) 1 + 1.
	require.Len(t, attempts, 7)
	halved := 0
	for _, a := range attempts {
		if a.Halved {
			halved++
			assert.NotNil(t, a.Err)
		}
	}
	assert.Equal(t, 3, halved)
	assert.Zero(t, batch.Len(), "it can be filled again")
	batch.Append([]byte{0x08, 0x01})
	assert.Equal(t, 4, batch.Size())
}

// The halves have all that a message has: their own attempts, the rate limit, and the context.
func TestHalvesAreRetried(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	server.Refuse(status.Error(codes.ResourceExhausted, "larger than max"))
	attempts := 0
	sender := client.NewSender(func(Attempt) {
		switch attempts++; attempts {
		case 1:
			server.Refuse(status.Error(codes.Unavailable, "no"))
		case 2:
			server.Resume()
		}
	})
	require.NoError(t, send(t.Context(), sender, logEnvelopes(4)...))
	assert.Equal(t, 4, attempts)
	assert.Equal(t, []int{2, 2}, server.Batches())
}

func TestHalvesEndWithTheContext(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	server.Refuse(status.Error(codes.ResourceExhausted, "larger than max"))
	ctx, cancel := context.WithCancel(t.Context())
	sender := client.NewSender(func(Attempt) { cancel() })
	batch := &Batch{}
	for range 4 {
		batch.Append([]byte{0x08, 0x01})
	}
	var outcomes []Outcome
	sender.Send(ctx, batch, func(o Outcome) { outcomes = append(outcomes, o) })
	require.Len(t, outcomes, 2)
	for _, o := range outcomes {
		assert.Equal(t, 2, o.Envelopes)
		assert.ErrorIs(t, o.Err, context.Canceled)
	}
}

func TestMessageLargerThanTheServerTakes(t *testing.T) {
	const limit = 10 << 20 // LOGGREGATOR.md
	server := ingresstest.StartCapture(t)
	attempts := 0
	sender := connect(t, configFor(server)).NewSender(func(Attempt) { attempts++ })

	envelope := logEnvelope("")
	payload := func(size int) *loggregator_v2.Envelope {
		envelope.GetLog().Payload = make([]byte, size)
		return envelope
	}
	overhead := proto.Size(&loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{payload(limit / 2)}}) - limit/2

	e := requireError(t, send(t.Context(), sender, payload(limit-overhead+1)), "ResourceExhausted")
	assert.True(t, e.Permanent)
	assert.True(t, e.TooLarge)
	assert.Contains(t, e.Error(), "received message larger than max")
	assert.Contains(t, e.Hint, "batch::max_bytes")
	assert.Equal(t, 1, attempts)
	assert.Empty(t, server.Envelopes())

	// The connection is none the worse.
	require.NoError(t, send(t.Context(), sender, payload(limit-overhead)))
	assert.Len(t, server.Envelopes(), 1)
}

func TestBatch(t *testing.T) {
	var b Batch
	assert.Zero(t, b.Len())
	assert.Zero(t, b.Size())
	sender := connect(t, Config{GRPC: configFor(ingresstest.StartCapture(t)).GRPC}).NewSender(func(Attempt) { t.Error("an attempt") })
	sender.Send(t.Context(), &b, func(Outcome) { t.Error("there is nothing to settle") })
	for i := range 5 {
		b.Append(make([]byte, i))
	}
	assert.Equal(t, 5, b.Len())
	assert.Equal(t, 5*2+0+1+2+3+4, b.Size())
	middle := part(*b.bytes, b.ends, 1, 4)
	assert.Equal(t, 3, middle.Len())
	assert.Equal(t, []byte{0x0a, 1, 0, 0x0a, 2, 0, 0, 0x0a, 3, 0, 0, 0}, *middle.bytes)
	assert.Equal(t, []int{3, 7, 12}, middle.ends)
}
