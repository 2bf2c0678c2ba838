// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a Capture and returns it with a client.
func start(t *testing.T) (*Capture, loggregator_v2.IngressClient) {
	t.Helper()
	server := StartCapture(t)
	return server, Dial(t, server.Addr(), server.Certs)
}

func envelope(payload string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(payload)}}}
}

func batch(payloads ...string) *loggregator_v2.EnvelopeBatch {
	var b loggregator_v2.EnvelopeBatch
	for _, p := range payloads {
		b.Batch = append(b.Batch, envelope(p))
	}
	return &b
}

// send sends a batch, which must be acknowledged.
func send(t *testing.T, client loggregator_v2.IngressClient, payloads ...string) {
	t.Helper()
	_, err := client.Send(t.Context(), batch(payloads...))
	require.NoError(t, err)
}

// sendEventually sends a batch until it is acknowledged.
func sendEventually(t *testing.T, client loggregator_v2.IngressClient, payload string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := client.Send(t.Context(), batch(payload))
		return err == nil
	}, WaitAtMost, time.Millisecond)
}

// sendAsync sends from another goroutine. The channel receives the result.
func sendAsync(t *testing.T, client loggregator_v2.IngressClient, payload string) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := client.Send(t.Context(), batch(payload))
		result <- err
	}()
	return result
}

// sendHeld is like sendAsync, but returns when the server has received the call.
func sendHeld(t *testing.T, server *Capture, client loggregator_v2.IngressClient, payload string) <-chan error {
	t.Helper()
	calls := server.Calls()
	result := sendAsync(t, client, payload)
	server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
	return result
}

func requireCode(t *testing.T, want codes.Code, err error) {
	t.Helper()
	require.Equal(t, want, status.Code(err), "%v", err)
}
