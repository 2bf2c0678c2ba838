// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// errTooLarge has gRPC's text.
var errTooLarge = status.Error(codes.ResourceExhausted, "grpc: received message larger than max")

func TestTooLargeIsHalved(t *testing.T) {
	server, client := start(t)
	// The fifth of seven envelopes exceeds the limit on its own.
	var envelopes []*loggregator_v2.Envelope
	for i := range 7 {
		payload := fmt.Sprint(i)
		if i == 4 {
			payload += strings.Repeat("x", 1000)
		}
		envelopes = append(envelopes, logEnvelope(payload))
	}
	server.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if proto.Size(&loggregator_v2.EnvelopeBatch{Batch: batch}) > 100 {
			return errTooLarge
		}
		return nil
	})
	message := messageOf(envelopes...)
	size := message.Size()
	sender := observe(client)
	outcomes := sender.deliver(t.Context(), message)

	assert.Equal(t, []string{"0", "1", "2", "3", "5", "6"}, server.Payloads())
	next, bytes := 0, 0
	for _, o := range outcomes {
		if o.Err != nil {
			assert.Equal(t, 4, next)
			assert.Equal(t, 1, o.Envelopes, "only the large envelope fails")
			e := requireError(t, o.Err, "ResourceExhausted")
			assert.Equal(t, ScopeSize, e.Scope)
			assert.False(t, e.Retryable)
		}
		assert.Equal(t, o.Envelopes, o.Items)
		next += o.Envelopes
		bytes += o.Bytes
	}
	assert.Equal(t, 7, next, "each envelope is settled, in order")
	assert.Equal(t, size, bytes)
	// 7 → 3 + 4 → (the 4) 2 + 2 → (the first 2) 1 + 1.
	var halved []bool
	for _, a := range sender.attempts {
		halved = append(halved, a.Halved)
		assert.Equal(t, a.Halved || len(halved) == 6, a.Err != nil)
	}
	assert.Equal(t, []bool{true, false, true, true, false, false, false}, halved)
	assert.Zero(t, message.Len(), "the message can be filled again")
	message.Append([]byte{0x08, 0x01}, 1)
	assert.Equal(t, 4, message.Size())
}

// Halves are retried like whole messages.
func TestHalvesAreRetried(t *testing.T) {
	server, client := start(t)
	server.Refuse(errTooLarge)
	sender := observe(client, func(a Attempt) {
		if a.Halved {
			server.Refuse(refusal(t, codes.Unavailable))
		}
	}, resumeAfter(server, 2))
	require.NoError(t, send(t.Context(), sender, logEnvelopes(4)...))
	assert.Len(t, sender.attempts, 4)
	assert.Equal(t, []int{2, 2}, server.Batches())
}

func TestHalvesContextEnds(t *testing.T) {
	server, client := start(t)
	server.Refuse(errTooLarge)
	ctx, cancel := context.WithCancel(t.Context())
	outcomes := observe(client, func(Attempt) { cancel() }).deliver(ctx, messageOf(logEnvelopes(4)...))
	require.Len(t, outcomes, 2)
	for _, o := range outcomes {
		assert.Equal(t, 2, o.Envelopes)
		assert.ErrorIs(t, o.Err, context.Canceled)
	}
}

func TestReceiveLimit(t *testing.T) {
	const limit = 10 << 20 // the agent's limit, in bytes
	server, client := start(t)
	sender := observe(client)

	envelope := logEnvelope("")
	payload := func(size int) *loggregator_v2.Envelope {
		envelope.GetLog().Payload = make([]byte, size)
		return envelope
	}
	overhead := proto.Size(&loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{payload(limit / 2)}}) - limit/2

	e := requireError(t, send(t.Context(), sender, payload(limit-overhead+1)), "ResourceExhausted")
	assert.False(t, e.Retryable)
	assert.Equal(t, ScopeSize, e.Scope)
	assert.Contains(t, e.Error(), "received message larger than max")
	assert.Contains(t, e.Hint, "batch::max_bytes")
	assert.Len(t, sender.attempts, 1)
	assert.Empty(t, server.Envelopes())

	// The connection still works.
	require.NoError(t, send(t.Context(), sender, payload(limit-overhead)))
	assert.Len(t, server.Envelopes(), 1)
}

func TestMessageEmpty(t *testing.T) {
	_, client := start(t)
	m := newMessage()
	assert.Zero(t, m.Len())
	assert.Zero(t, m.Size())
	sender := observe(client)
	assert.Empty(t, sender.deliver(t.Context(), m))
	assert.Empty(t, sender.attempts)
	m.Append([]byte{0x08, 0x01}, 1)
	assert.Len(t, sender.deliver(t.Context(), m), 1)
	assert.Empty(t, sender.deliver(t.Context(), m), "the previous outcome counts only once")
	assert.Len(t, sender.attempts, 1)
}

// After a break out of the loop over the attempts, the message is not retried. If it was refused as too large, each half still gets one
// attempt, which is not yielded.
func TestDeliverBreak(t *testing.T) {
	for name, tt := range map[string]struct {
		refusal  error
		want     Attempt
		outcomes int
	}{
		"retryable": {refusal(t, codes.Unavailable), Attempt{RetryIn: never}, 1},
		"too large": {errTooLarge, Attempt{Halved: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t, pausing(never))
			server.Refuse(tt.refusal)
			m := messageOf(logEnvelopes(2)...)
			for a := range client.NewSender().Deliver(t.Context(), m) {
				assert.Equal(t, tt.want, Attempt{RetryIn: a.RetryIn, Halved: a.Halved})
				server.Refuse(refusal(t, codes.Unavailable))
				break
			}
			require.Len(t, m.Outcomes(), tt.outcomes)
			for _, o := range m.Outcomes() {
				requireError(t, o.Err, "Unavailable")
			}
			assert.Equal(t, 2*tt.outcomes-1, server.Calls())
			assert.Zero(t, m.Len())
		})
	}
}

func TestFits(t *testing.T) {
	tests := []struct {
		name             string
		envelopes, bytes int   // limits
		has              []int // sizes of the envelopes
		size             int   // of the next one
		want             bool
	}{
		{"empty", 3, 100, nil, 10, true},
		{"empty, larger than the message", 3, 100, nil, 1000, true},
		{"just fits", 3, 100, []int{46, 46}, 2, true}, // Key and length take two bytes per envelope.
		{"one byte too many", 3, 100, []int{46, 46}, 3, false},
		{"longer length", 3, 400, []int{196}, 198, true},
		{"longer length, one byte too many", 3, 400, []int{196}, 199, false},
		{"one envelope too many", 3, 100, []int{0, 0, 0}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMessage(tt.envelopes, tt.bytes)
			for _, n := range tt.has {
				m.Append(make([]byte, n), 1)
			}
			assert.Equal(t, tt.want, m.Fits(make([]byte, tt.size)))
		})
	}
}

// Random items in random messages are delivered in random pieces with random results. Each item counts once, and as acknowledged if and
// only if all its envelopes were.
func TestSettleModel(t *testing.T) {
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 0))
		type item struct{ envelopes []int }
		type counts struct{ acknowledged, failed int }
		var items []item // complete, not rejected
		var got counts
		acknowledged := map[int]bool{}
		lost := []error{errors.New("one"), errors.New("another")}
		m := NewMessage(1+random.IntN(8), math.MaxInt)
		next, delivered, envelopes, size := 0, 0, 0, 0
		deliver := func() {
			m.begin()
			for left := m.Len(); left > 0; {
				n := 1 + random.IntN(left)
				left -= n
				var err error
				if random.IntN(3) == 0 {
					err = lost[random.IntN(2)]
				}
				for range n {
					acknowledged[delivered] = err == nil
					delivered++
				}
				m.settle(n, 10*n, err)
			}
			m.end()
			for _, o := range m.Outcomes() {
				envelopes += o.Envelopes
				size += o.Bytes
				if o.Err == nil {
					got.acknowledged += o.Items
				} else {
					got.failed += o.Items
				}
			}
		}
		add := func(completes int) int {
			encoded := []byte{0x08, 0x01}
			if !m.Fits(encoded) {
				deliver()
			}
			m.Append(encoded, completes)
			next++
			return next - 1
		}
		for range 40 {
			var before []int
			for range random.IntN(5) - 1 {
				before = append(before, add(0))
			}
			switch random.IntN(5) {
			case 0: // The rest of the item is rejected.
				m.EndItem()
			case 1: // A gauge: one envelope of several items, the first of which may have earlier envelopes.
				n := 1 + random.IntN(3)
				last := add(n)
				items = append(items, item{append(before, last)})
				for range n - 1 {
					items = append(items, item{[]int{last}})
				}
			default:
				items = append(items, item{append(before, add(1))})
			}
			if random.IntN(6) == 0 {
				deliver()
			}
		}
		deliver()
		var want counts
		for _, it := range items {
			if slices.ContainsFunc(it.envelopes, func(n int) bool { return !acknowledged[n] }) {
				want.failed++
			} else {
				want.acknowledged++
			}
		}
		require.Equal(t, want, got, "seed %d", seed)
		require.Equal(t, next, envelopes, "seed %d", seed)
		require.Equal(t, 10*next, size, "seed %d", seed)
	}
}

// settleAll delivers a message in one piece with this result.
func settleAll(m *Message, err error) []Outcome {
	size := len(*m.begin())
	m.settle(m.Len(), size, err)
	m.end()
	return m.Outcomes()
}

// An item fails with the error of one of its envelopes.
func TestSettleReason(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	m := NewMessage(2, math.MaxInt)
	deliver := func(err error) []Outcome { return settleAll(m, err) }
	m.Append([]byte{1}, 1)
	m.Append([]byte{2}, 0)
	assert.Equal(t, []Outcome{{Envelopes: 2, Bytes: 6, Items: 1, Err: first}}, deliver(first))
	m.Append([]byte{3}, 3)
	m.Append([]byte{4}, 0)
	assert.Equal(t, []Outcome{{Items: 1, Err: first}, {Envelopes: 2, Bytes: 6, Items: 2}}, deliver(nil))
	m.Append([]byte{5}, 0)
	m.Append([]byte{6}, 1)
	assert.Equal(t, []Outcome{{Envelopes: 2, Bytes: 6, Items: 1, Err: second}}, deliver(second))
}

// A failed envelope of a rejected item does not fail the next item. The rejected item has no outcome.
func TestEndItem(t *testing.T) {
	lost := errors.New("lost")
	for name, tt := range map[string]struct {
		fill func(m *Message, deliver func(error))
		want []Outcome // of the last delivery
	}{
		"message failed": {func(m *Message, deliver func(error)) {
			m.Append([]byte{1}, 0)
			deliver(lost)
			m.EndItem()
			m.Append([]byte{2}, 1)
		}, []Outcome{{Envelopes: 1, Bytes: 3, Items: 1}}},
		"first message failed, second under construction": {func(m *Message, deliver func(error)) {
			m.Append([]byte{1}, 0)
			deliver(lost)
			m.Append([]byte{2}, 0)
			m.EndItem()
			m.Append([]byte{3}, 1)
		}, []Outcome{{Envelopes: 2, Bytes: 6, Items: 1}}},
		"next item in several messages": {func(m *Message, deliver func(error)) {
			m.Append([]byte{1}, 0)
			deliver(lost)
			m.EndItem()
			m.Append([]byte{2}, 0)
			deliver(nil)
			m.Append([]byte{3}, 1)
		}, []Outcome{{Envelopes: 1, Bytes: 3, Items: 1}}},
		"nothing sent": {func(m *Message, _ func(error)) {
			m.Append([]byte{1}, 1)
			m.EndItem()
			m.Append([]byte{2}, 1)
		}, []Outcome{{Envelopes: 2, Bytes: 6, Items: 2}}},
		"earlier item failed": {func(m *Message, deliver func(error)) {
			m.Append([]byte{1}, 1)
			deliver(lost)
			m.EndItem()
			m.Append([]byte{2}, 1)
		}, []Outcome{{Envelopes: 1, Bytes: 3, Items: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMessage()
			tt.fill(m, func(err error) { settleAll(m, err) })
			assert.Equal(t, tt.want, settleAll(m, nil))
		})
	}
}
