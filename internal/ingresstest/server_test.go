// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

func TestSend(t *testing.T) {
	server, client := start(t)
	for _, payloads := range [][]string{{"a", "b"}, {}, {"c"}} {
		send(t, client, payloads...)
	}
	// The server keeps a batch before it acknowledges it, so there is no need to wait.
	assert.Equal(t, []string{"a", "b", "c"}, server.Payloads())
	assert.Equal(t, []int{2, 0, 1}, server.Batches())
	assert.Equal(t, 3, server.Calls())
}

// A stream ends as with a router: with an error that indicates that everything was read.
func TestStreams(t *testing.T) {
	tests := []struct {
		name string
		send func(*testing.T, loggregator_v2.IngressClient) error // returns the error that ends the stream
		want []int
	}{
		{"batches", func(t *testing.T, client loggregator_v2.IngressClient) error {
			stream, err := client.BatchSender(t.Context())
			require.NoError(t, err)
			require.NoError(t, stream.Send(batch("a", "b")))
			require.NoError(t, stream.Send(batch("c")))
			_, err = stream.CloseAndRecv()
			return err
		}, []int{2, 1}},
		{"envelopes", func(t *testing.T, client loggregator_v2.IngressClient) error {
			stream, err := client.Sender(t.Context())
			require.NoError(t, err)
			for _, p := range []string{"a", "b", "c"} {
				require.NoError(t, stream.Send(envelope(p)))
			}
			_, err = stream.CloseAndRecv()
			return err
		}, []int{1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t)
			err := tt.send(t, client)
			requireCode(t, codes.Unknown, err)
			assert.Equal(t, io.EOF.Error(), status.Convert(err).Message())
			assert.Equal(t, []string{"a", "b", "c"}, server.Payloads())
			assert.Equal(t, tt.want, server.Batches())
			assert.Equal(t, len(tt.want), server.Calls())
		})
	}
}

func TestConcurrentCalls(t *testing.T) {
	server, client := start(t)
	const goroutines, calls = 4, 25
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range calls {
				_, err := client.Send(t.Context(), batch(fmt.Sprint(g, i)))
				assert.NoError(t, err)
			}
		})
	}
	server.WaitForEnvelopes(t, goroutines*calls)
	wg.Wait()
	distinct := slices.Compact(slices.Sorted(slices.Values(server.Payloads())))
	assert.Len(t, distinct, goroutines*calls)
	assert.Equal(t, goroutines*calls, server.Calls())
}

// The tests of package delivery cover invalid certificates and names.
func TestClientTLS(t *testing.T) {
	server := StartCapture(t)
	agent, err := ingressserver.ServerTLS(server.Certs)
	require.NoError(t, err)
	tests := []struct {
		name   string
		change func(*tls.Config)
		want   codes.Code
	}{
		{"the agent's own certificate", func(c *tls.Config) { c.Certificates = agent.Certificates }, codes.OK},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, codes.OK},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, codes.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := server.Calls()
			_, err := Dial(t, server.Addr(), server.Certs, tt.change).Send(t.Context(), batch("x"))
			requireCode(t, tt.want, err)
			assert.Equal(t, tt.want == codes.OK, server.Calls() > calls)
		})
	}
}

func TestConnections(t *testing.T) {
	server := StartCapture(t)
	assert.Zero(t, server.Connections())
	for range 2 {
		send(t, Dial(t, server.Addr(), server.Certs), "x")
	}
	assert.Equal(t, 2, server.Connections())
	server.CutConnections()
	assert.Zero(t, server.Connections())
}

func TestWaitForClose(t *testing.T) {
	server := StartCapture(t)
	config, err := ingressserver.ClientTLS(server.Certs)
	require.NoError(t, err)
	config.NextProtos = []string{"h2"} // Without it, gRPC would close the connection itself.
	conn, err := tls.Dial("tcp", server.Addr(), config)
	require.NoError(t, err)
	require.NoError(t, conn.Handshake())
	require.Equal(t, 1, server.Connections())
	require.NoError(t, conn.Close())
	server.WaitFor(t, "the end of the connection", func() bool { return server.Connections() == 0 })
}

func TestStopDuringCalls(t *testing.T) {
	for name, fault := range map[string]func(*Capture){
		"stalled": func(c *Capture) { c.Stall() },
		"slow":    func(c *Capture) { c.Slow(WaitAtMost) },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			fault(server)
			result := sendHeld(t, server, client, "x")

			stopped := make(chan struct{}, 2)
			for range cap(stopped) { // Concurrently.
				go func() {
					server.Stop()
					stopped <- struct{}{}
				}()
			}
			Await(t, "the end of Stop", stopped)
			Await(t, "the end of Stop", stopped)
			requireCode(t, codes.Unavailable, Await(t, "the end of the call", result))
			assert.Empty(t, server.Envelopes())

			_, err := client.Send(t.Context(), batch("refused"))
			requireCode(t, codes.Unavailable, err)
		})
	}
}

func TestStartErrors(t *testing.T) {
	server := StartCapture(t)
	_, err := Start(server.Addr(), &tls.Config{}, nil)
	assert.ErrorContains(t, err, server.Addr())
}

func TestWait(t *testing.T) {
	server := StartCapture(t)
	require.NoError(t, server.Wait(t.Context(), func() bool { return true }))

	ctx, cancel := context.WithCancel(t.Context())
	checks := make(chan struct{}, 1)
	result := make(chan error, 1)
	go func() {
		result <- server.Wait(ctx, func() bool {
			select {
			case checks <- struct{}{}:
			default:
			}
			return false
		})
	}()
	Await(t, "the first check", checks)
	server.Slow(0) // The condition is checked again after a change of a fault.
	Await(t, "the second check", checks)
	cancel()
	require.ErrorIs(t, Await(t, "the end of Wait", result), context.Canceled)
}
