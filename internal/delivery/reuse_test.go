// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// numbered returns a log with a payload that repeats its number, so that each byte shows where it comes from.
func numbered(number uint64, size int) *loggregator_v2.Envelope {
	e := logEnvelope("")
	e.GetLog().Payload = bytes.Repeat(binary.BigEndian.AppendUint64(nil, number), size/8)
	return e
}

// gRPC may still write an abandoned message when the next one is encoded. If they shared memory, the race detector would report it, or
// the server would get other bytes than were sent.
func TestAbandonedMessageBuffer(t *testing.T) {
	const iterations = 90
	// The first is in memory that gRPC does not recycle; the last is more than a stream's window: it is given up half sent.
	sizes := []int{512, 8 << 10, 200 << 10}

	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	warm(t, client)
	sender := observe(client)
	seen := map[*byte]bool{}
	reused := 0
	batch := func(envelope *loggregator_v2.Envelope) *[]byte {
		b := buffers.Get(0)
		if cap(*b) > 0 && seen[&(*b)[:1][0]] {
			reused++
		}
		var err error
		*b, err = proto.MarshalOptions{}.MarshalAppend(*b, &loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{envelope}})
		require.NoError(t, err)
		seen[&(*b)[0]] = true
		return b
	}

	number := uint64(0)
	acknowledged := map[uint64]bool{}
	for i := range iterations {
		size := sizes[i%len(sizes)]
		server.Stall()
		calls := server.Calls()
		ctx, cancel := context.WithCancel(t.Context())
		number++
		givenUp := batch(numbered(number, size))
		result := make(chan error, 1)
		go func() { result <- sendBytes(ctx, sender, givenUp) }()
		if i%2 == 0 {
			server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
		} else {
			// At any moment of the attempt.
			for range i % 20 {
				runtime.Gosched()
			}
		}
		cancel()
		require.Error(t, await(t, "the end of Send", result))

		// The next batches, while gRPC may still write the abandoned one.
		next := make([]*[]byte, 3)
		for n := range next {
			number++
			next[n] = batch(numbered(number, size))
		}
		server.Resume()
		for n, b := range next {
			require.NoError(t, sendBytes(t.Context(), sender, b))
			acknowledged[number-uint64(len(next)-1-n)] = true
		}
	}

	for _, e := range server.Envelopes() {
		payload := e.GetLog().GetPayload()
		require.NotEmpty(t, payload)
		got := binary.BigEndian.Uint64(payload)
		require.Truef(t, proto.Equal(numbered(got, len(payload)), e), "batch %d holds bytes of others", got)
		delete(acknowledged, got)
	}
	assert.Empty(t, acknowledged, "batches that were acknowledged and did not arrive")
	assert.Positive(t, reused, "the test is worth nothing if no memory is used again")
}
