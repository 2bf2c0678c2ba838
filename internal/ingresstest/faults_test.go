// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestStallAndResume(t *testing.T) {
	server, client := start(t)
	server.Refuse(status.Error(codes.FailedPrecondition, "not today"))
	server.Stall()
	stream, err := client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(batch("late")))
	// Send stalls as well as the stream.
	result := sendAsync(t, client, "late as well")
	server.WaitFor(t, "both", func() bool { return server.Calls() == 2 })
	server.Stall() // No effect: already stalled.
	assert.Empty(t, server.Envelopes())
	assert.Empty(t, result)

	server.Resume()
	require.NoError(t, Await(t, "the acknowledgement", result), "Resume ends all faults")
	server.WaitForEnvelopes(t, 2)
	assert.ElementsMatch(t, []string{"late", "late as well"}, server.Payloads())
	server.Resume() // No effect: no faults.
	send(t, client, "next")
}

func TestRefuse(t *testing.T) {
	server, client := start(t)
	server.Refuse(status.Error(codes.FailedPrecondition, "not today"))
	for range 2 {
		_, err := client.Send(t.Context(), batch("refused"))
		requireCode(t, codes.FailedPrecondition, err)
		assert.Equal(t, "not today", status.Convert(err).Message())
	}
	assert.Empty(t, server.Envelopes())
	assert.Equal(t, 2, server.Calls())

	server.RefuseIf(func(envelopes []*loggregator_v2.Envelope) error {
		if string(envelopes[0].GetLog().GetPayload()) == "bad" {
			return status.Error(codes.InvalidArgument, "bad")
		}
		return nil
	})
	send(t, client, "good")
	_, err := client.Send(t.Context(), batch("bad", "too"))
	requireCode(t, codes.InvalidArgument, err)
	assert.Equal(t, []string{"good"}, server.Payloads())

	server.Resume()
	send(t, client, "bad")
}

func TestSlow(t *testing.T) {
	const delay = 100 * time.Millisecond
	server, client := start(t)
	server.Slow(delay)
	begin := time.Now()
	send(t, client, "slow")
	assert.GreaterOrEqual(t, time.Since(begin), delay)
	assert.Equal(t, []string{"slow"}, server.Payloads())

	server.Slow(2 * WaitAtMost)
	ctx, cancel := context.WithTimeout(t.Context(), delay)
	defer cancel()
	_, err := client.Send(ctx, batch("too slow"))
	requireCode(t, codes.DeadlineExceeded, err)

	server.Resume()
	require.NoError(t, Await(t, "the acknowledgement", sendAsync(t, client, "fast")))
	assert.Equal(t, []string{"slow", "fast"}, server.Payloads())
}

func TestCutConnections(t *testing.T) {
	server, client := start(t)
	server.CutConnections() // There are none.
	for i := range 3 {
		server.Stall()
		result := sendHeld(t, server, client, "cut")
		server.CutConnections()
		requireCode(t, codes.Unavailable, Await(t, "the end of the call", result))

		server.Resume()
		send(t, client, fmt.Sprint(i)) // New connections are accepted.
		assert.Contains(t, server.Payloads(), fmt.Sprint(i))
	}
}

func TestRouter(t *testing.T) {
	server, client := start(t)
	server.Router()
	_, err := client.Send(t.Context(), batch("refused"))
	requireCode(t, codes.Unimplemented, err)
	assert.Equal(t, 1, server.Calls())

	stream, err := client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(batch("taken")))
	server.WaitForEnvelopes(t, 1)
	assert.Equal(t, []string{"taken"}, server.Payloads())

	server.Resume()
	send(t, client, "agent again")
}

func TestRing(t *testing.T) {
	const ms = time.Millisecond
	r := ring{size: 10, interval: 100 * ms}
	epoch := time.Unix(0, 0)
	for _, tt := range []struct {
		at             time.Duration
		arriving, kept int
		lost           int // in total
	}{
		{0, 6, 6, 0},
		{50 * ms, 6, 4, 2},
		{99 * ms, 1, 0, 3},
		{100 * ms, 7, 6, 4}, // The first six have been read.
		{149 * ms, 1, 0, 5},
		{150 * ms, 9, 4, 10},
		{time.Second, 11, 10, 11},
	} {
		assert.Len(t, r.keep(make([]*loggregator_v2.Envelope, tt.arriving), epoch.Add(tt.at)), tt.kept, tt.at)
		assert.Equal(t, tt.lost, r.lost, tt.at)
	}
}

func TestRingLoss(t *testing.T) {
	server, client := start(t)
	lost := server.Ring(2, time.Hour)
	for range 3 {
		send(t, client, "one")
	}
	assert.Equal(t, []string{"one", "one"}, server.Payloads())
	assert.Equal(t, 1, lost())
	server.Resume()
	send(t, client, "two")
	assert.Equal(t, []string{"one", "one", "two"}, server.Payloads())
}

func TestDownAndUp(t *testing.T) {
	server, client := start(t)
	addr := server.Addr()
	server.Stall()
	result := sendHeld(t, server, client, "lost")
	server.Down()
	require.Error(t, Await(t, "the end of the call", result))
	server.Down() // No effect: already down.
	server.Resume()
	_, err := client.Send(t.Context(), batch("refused"))
	requireCode(t, codes.Unavailable, err)

	require.NoError(t, server.Up())
	require.NoError(t, server.Up())
	assert.Equal(t, addr, server.Addr())
	sendEventually(t, client, "back")
	assert.Equal(t, []string{"back"}, server.Payloads())
}

// A message does not arrive if it exceeds the bytes that the connection carries.
func TestCutAfter(t *testing.T) {
	server, client := start(t)
	send(t, client, "whole")
	server.CutAfter(20_000) // Enough for a handshake.
	_, err := client.Send(t.Context(), batch(strings.Repeat("x", 100_000)))
	requireCode(t, codes.Unavailable, err)
	sendEventually(t, client, "whole too")
	assert.Equal(t, []string{"whole", "whole too"}, server.Payloads())
	server.Resume()
	sendEventually(t, client, strings.Repeat("x", 100_000))
}

func TestHalfOpen(t *testing.T) {
	server, client := start(t)
	send(t, client, "before")
	server.HalfOpen()
	calls := server.Calls()
	result := sendAsync(t, client, "held back")
	// A second client gets a connection, but no response.
	late := sendAsync(t, Dial(t, server.Addr(), server.Certs), "held back")
	server.WaitFor(t, "the connections", func() bool { return server.Connections() == 2 })
	assert.Equal(t, calls, server.Calls())
	server.Resume()
	require.NoError(t, Await(t, "the acknowledgement", result))
	require.NoError(t, Await(t, "the acknowledgement", late))
	assert.Equal(t, []string{"before", "held back", "held back"}, server.Payloads())
}

// Down ends connections in a handshake, for which gRPC would wait.
func TestHalfOpenDown(t *testing.T) {
	server, client := start(t)
	server.HalfOpen()
	result := sendAsync(t, client, "lost")
	server.WaitFor(t, "the connection", func() bool { return server.Connections() == 1 })
	server.Down()
	requireCode(t, codes.Unavailable, Await(t, "the end of the call", result))
}

func TestReorder(t *testing.T) {
	server, client := start(t)
	server.Reorder()
	first := sendAsync(t, client, "first")
	server.WaitForEnvelopes(t, 1)
	send(t, client, "second") // The first response waits for this one.
	require.NoError(t, Await(t, "the response", first))
	send(t, client, "third") // A response does not wait forever.
	assert.Equal(t, []string{"first", "second", "third"}, server.Payloads())
}

func TestExpire(t *testing.T) {
	server, client := start(t)
	server.Expire(t)
	_, err := client.Send(t.Context(), batch("no"))
	require.ErrorContains(t, err, "certificate has expired")
	server.Resume()
	sendEventually(t, client, "yes")
}
