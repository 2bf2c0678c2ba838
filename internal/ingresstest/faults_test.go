// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"io"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestRing(t *testing.T) {
	const ms = time.Millisecond
	r := ring{size: 10, interval: 100 * ms}
	epoch := time.Unix(0, 0)
	for _, tt := range []struct {
		at         time.Duration
		come, kept int
		lost       int // so far
	}{
		{0, 6, 6, 0},
		{50 * ms, 6, 4, 2},
		{99 * ms, 1, 0, 3},
		{100 * ms, 7, 6, 4}, // The first six are read.
		{149 * ms, 1, 0, 5},
		{150 * ms, 9, 4, 10},
		{time.Second, 11, 10, 11},
	} {
		assert.Len(t, r.keep(make([]*loggregator_v2.Envelope, tt.come), epoch.Add(tt.at)), tt.kept, tt.at)
		assert.Equal(t, tt.lost, r.lost, tt.at)
	}
}

func TestRingLoss(t *testing.T) {
	server, client := start(t)
	lost := server.Ring(2, time.Hour)
	for range 3 {
		send(t, client, "one")
	}
	assert.Equal(t, []string{"one", "one"}, payloads(server))
	assert.Equal(t, 1, lost())
	server.Resume()
	send(t, client, "two")
	assert.Equal(t, []string{"one", "one", "two"}, payloads(server))
}

func TestDownAndUp(t *testing.T) {
	server, client := start(t)
	addr := server.Addr()
	server.Stall()
	hanging := sendAsync(t, client, "lost")
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	server.Down()
	require.Error(t, await(t, "the end of the call", hanging))
	server.Down() // Twice is once.
	server.Resume()
	_, err := client.Send(t.Context(), batch("nobody is there"))
	requireCode(t, codes.Unavailable, err)

	require.NoError(t, server.Up())
	require.NoError(t, server.Up())
	assert.Equal(t, addr, server.Addr())
	sendEventually(t, client, "back")
	assert.Equal(t, []string{"back"}, payloads(server))
}

// A message larger than the connection carries does not arrive.
func TestCutAfter(t *testing.T) {
	server, client := start(t)
	send(t, client, "whole")
	server.CutAfter(20_000) // More than a handshake.
	_, err := client.Send(t.Context(), batch(strings.Repeat("x", 100_000)))
	requireCode(t, codes.Unavailable, err)
	sendEventually(t, client, "whole too")
	assert.Equal(t, []string{"whole", "whole too"}, payloads(server))
	server.Resume()
	sendEventually(t, client, strings.Repeat("x", 100_000))
}

func TestHalfOpen(t *testing.T) {
	server, client := start(t)
	send(t, client, "before")
	server.HalfOpen()
	calls := server.Calls()
	result := sendAsync(t, client, "held back")
	// A second client only gets a connection.
	other := dial(t, server.Addr(), clientTLS(t, certs))
	late := sendAsync(t, other, "held back")
	server.WaitFor(t, "the connections", func() bool { return server.Connections() == 2 })
	assert.Equal(t, calls, server.Calls())
	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result))
	require.NoError(t, await(t, "the acknowledgement", late))
	assert.Equal(t, []string{"before", "held back", "held back"}, payloads(server))
}

func TestHalfOpenDown(t *testing.T) {
	server, client := start(t)
	server.HalfOpen()
	result := sendAsync(t, client, "lost")
	server.WaitFor(t, "the connection", func() bool { return server.Connections() == 1 })
	server.Down()
	requireCode(t, codes.Unavailable, await(t, "the end of the call", result))
}

func TestReorder(t *testing.T) {
	server, client := start(t)
	server.Reorder()
	first := sendAsync(t, client, "first")
	server.WaitForEnvelopes(t, 1)
	_, err := client.Send(t.Context(), batch("second")) // Its answer is what the first waits for.
	require.NoError(t, err)
	require.NoError(t, await(t, "the answer", first))
	_, err = client.Send(t.Context(), batch("third"))
	require.NoError(t, err, "an answer does not wait for ever")
	assert.Equal(t, []string{"first", "second", "third"}, payloads(server))
}

func TestExpire(t *testing.T) {
	server := StartCapture(t)
	server.Expire(t)
	client := dial(t, server.Addr(), clientTLS(t, server.Certs))
	_, err := client.Send(t.Context(), batch("no"))
	require.ErrorContains(t, err, "certificate has expired")
	server.Resume()
	sendEventually(t, client, "yes")
}

// A stream ends as with a router: with an error that tells the client that everything was read.
func TestStreamEnd(t *testing.T) {
	server, client := start(t)
	stream, err := client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(batch("taken")))
	_, err = stream.CloseAndRecv()
	requireCode(t, codes.Unknown, err)
	assert.Equal(t, io.EOF.Error(), status.Convert(err).Message())
	assert.Equal(t, []string{"taken"}, payloads(server))
}
