// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

func TestSend(t *testing.T) {
	server, client := start(t)
	for _, payloads := range [][]string{{"a", "b"}, {}, {"c"}} {
		send(t, client, payloads...)
	}
	// It takes a batch before it acknowledges it: there is nothing to wait for.
	assert.Equal(t, []string{"a", "b", "c"}, payloads(server))
	assert.Equal(t, []int{2, 0, 1}, server.Batches())
	assert.Equal(t, 3, server.Calls())
}

func TestStreams(t *testing.T) {
	tests := []struct {
		name string
		send func(context.Context, loggregator_v2.IngressClient) error
		want []int
	}{
		{"of batches", func(ctx context.Context, client loggregator_v2.IngressClient) error {
			stream, err := client.BatchSender(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(batch("a", "b")); err != nil {
				return err
			}
			return stream.Send(batch("c"))
		}, []int{2, 1}},
		{"of envelopes", func(ctx context.Context, client loggregator_v2.IngressClient) error {
			stream, err := client.Sender(ctx)
			for _, p := range []string{"a", "b", "c"} {
				if err == nil {
					err = stream.Send(envelope(p))
				}
			}
			return err
		}, []int{1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t)
			require.NoError(t, tt.send(t.Context(), client))
			server.WaitForEnvelopes(t, 3)
			assert.Equal(t, []string{"a", "b", "c"}, payloads(server))
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
	distinct := map[string]bool{}
	for _, p := range payloads(server) {
		distinct[p] = true
	}
	assert.Len(t, distinct, goroutines*calls)
	assert.Equal(t, goroutines*calls, server.Calls())
}

func TestClientAuthentication(t *testing.T) {
	server := StartCapture(t)
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))

	tests := []struct {
		name   string
		change func(*tls.Config)
		letIn  bool
	}{
		{"a client of the authority", func(*tls.Config) {}, true},
		{"the agent's own certificate", func(c *tls.Config) { c.Certificates = server.serverCerts(t) }, true},
		{"with TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"with TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, false},
		{"no certificate", func(c *tls.Config) { c.Certificates = nil }, false},
		{"certificate of another authority", func(c *tls.Config) { c.Certificates = clientTLS(t, stranger).Certificates }, false},
		{"another server name", func(c *tls.Config) { c.ServerName = "localhost" }, false},
		{"no server name", func(c *tls.Config) { c.ServerName = "" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			config := clientTLS(t, server.Certs)
			tt.change(config)
			calls := server.Calls()
			_, err := dial(t, server.Addr(), config).Send(t.Context(), batch("x"))
			if tt.letIn {
				require.NoError(t, err)
				return
			}
			requireCode(t, codes.Unavailable, err)
			assert.Equal(t, calls, server.Calls())
		})
	}
}

func (c *Capture) serverCerts(t *testing.T) []tls.Certificate {
	t.Helper()
	config, err := ingressserver.ServerTLS(c.Certs)
	require.NoError(t, err)
	return config.Certificates
}

func TestReceiveLimit(t *testing.T) {
	server, client := start(t)
	b := batch("")
	fill := func(size int) {
		b.GetBatch()[0].GetLog().Payload = make([]byte, size)
	}
	fill(ingressserver.MaxReceive / 2)
	overhead := proto.Size(b) - ingressserver.MaxReceive/2

	fill(ingressserver.MaxReceive - overhead + 1)
	_, err := client.Send(t.Context(), b)
	requireCode(t, codes.ResourceExhausted, err)
	assert.Empty(t, server.Envelopes())

	fill(ingressserver.MaxReceive - overhead)
	_, err = client.Send(t.Context(), b)
	require.NoError(t, err)
}

func TestStallAndResume(t *testing.T) {
	server, client := start(t)
	server.Stall()
	result := sendAsync(t, client, "late")
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	server.Stall() // It stalls already.
	assert.Empty(t, server.Envelopes())
	assert.Empty(t, result)

	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result))
	assert.Equal(t, []string{"late"}, payloads(server))
	server.Resume() // Nothing is wrong already.
	send(t, client, "next")
}

func TestStallCanceled(t *testing.T) {
	server, client := start(t)
	server.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = server.Wait(ctx, func() bool { return server.Calls() == 1 })
		cancel()
	}()
	_, err := client.Send(ctx, batch("given up"))
	requireCode(t, codes.Canceled, err)
}

func TestSleep(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	never := make(chan struct{})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	tests := []struct {
		name  string
		ctx   context.Context
		until chan struct{}
		want  codes.Code
	}{
		{"until the end", t.Context(), closed, codes.OK},
		{"until the client gives up", canceled, never, codes.Canceled},
		{"until the client's deadline", late, never, codes.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			result := make(chan error, 1)
			go func() { result <- sleep(tt.ctx, tt.until) }()
			requireCode(t, tt.want, await(t, "the end of sleep", result))
		})
	}
}

func TestStallStreams(t *testing.T) {
	server, client := start(t)
	server.Stall()
	stream, err := client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(batch("late")))
	// Send stalls beside the stream.
	result := sendAsync(t, client, "late as well")
	server.WaitFor(t, "both", func() bool { return server.Calls() == 2 })
	assert.Empty(t, server.Envelopes())
	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result))
	server.WaitForEnvelopes(t, 2)
	assert.ElementsMatch(t, []string{"late", "late as well"}, payloads(server))
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

	server.Resume()
	send(t, client, "taken")
	assert.Equal(t, []string{"taken"}, payloads(server))
}

func TestRefuseIf(t *testing.T) {
	server, client := start(t)
	server.RefuseIf(func(envelopes []*loggregator_v2.Envelope) error {
		if string(envelopes[0].GetLog().GetPayload()) == "bad" {
			return status.Error(codes.InvalidArgument, "bad")
		}
		return nil
	})
	send(t, client, "good")
	_, err := client.Send(t.Context(), batch("bad", "too"))
	requireCode(t, codes.InvalidArgument, err)
	assert.Equal(t, []string{"good"}, payloads(server))

	server.Resume()
	send(t, client, "bad")
}

func TestResumeEndsAllFaults(t *testing.T) {
	server, client := start(t)
	server.Refuse(status.Error(codes.FailedPrecondition, "not today"))
	server.Stall()
	result := sendAsync(t, client, "x")
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result), "Resume ends all faults")
}

func TestSlow(t *testing.T) {
	const delay = 100 * time.Millisecond
	server, client := start(t)
	server.Slow(delay)
	begin := time.Now()
	send(t, client, "slow")
	assert.GreaterOrEqual(t, time.Since(begin), delay)
	assert.Equal(t, []string{"slow"}, payloads(server))

	server.Slow(2 * waitAtMost)
	ctx, cancel := context.WithTimeout(t.Context(), delay)
	defer cancel()
	_, err := client.Send(ctx, batch("too slow"))
	requireCode(t, codes.DeadlineExceeded, err)

	server.Resume()
	ctx, cancel = context.WithTimeout(t.Context(), waitAtMost)
	defer cancel()
	_, err = client.Send(ctx, batch("fast"))
	require.NoError(t, err)
	assert.Equal(t, []string{"slow", "fast"}, payloads(server))
}

func TestCutConnections(t *testing.T) {
	server, client := start(t)
	server.CutConnections() // There is none.
	for i := range 3 {
		server.Stall()
		calls := server.Calls()
		result := sendAsync(t, client, "cut")
		server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
		server.CutConnections()
		requireCode(t, codes.Unavailable, await(t, "the end of the call", result))

		server.Resume()
		_, err := client.Send(t.Context(), batch(fmt.Sprint(i)))
		require.NoError(t, err, "new connections are taken")
	}
	for _, want := range []string{"0", "1", "2"} {
		assert.Contains(t, payloads(server), want)
	}
}

func TestConnections(t *testing.T) {
	server := StartCapture(t)
	assert.Zero(t, server.Connections())
	for range 2 {
		send(t, dial(t, server.Addr(), clientTLS(t, server.Certs)), "x")
	}
	assert.Equal(t, 2, server.Connections())
	server.CutConnections()
	assert.Zero(t, server.Connections())
}

func TestWaitForClose(t *testing.T) {
	server := StartCapture(t)
	config := clientTLS(t, server.Certs)
	config.NextProtos = []string{"h2"} // Without it, gRPC closes the connection itself.
	conn, err := tls.Dial("tcp", server.Addr(), config)
	require.NoError(t, err)
	require.NoError(t, conn.Handshake())
	require.Equal(t, 1, server.Connections())
	require.NoError(t, conn.Close())
	server.WaitFor(t, "the end of the connection", func() bool { return server.Connections() == 0 })
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
	assert.Equal(t, []string{"taken"}, payloads(server))

	server.Resume()
	send(t, client, "agent again")
}

func TestStopDuringCalls(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*Capture)
	}{
		{"of a stall", func(c *Capture) { c.Stall() }},
		{"of a slow call", func(c *Capture) { c.Slow(waitAtMost) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t)
			tt.fault(server)
			result := sendAsync(t, client, "x")
			server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })

			var wg sync.WaitGroup
			for range 2 { // Twice, and at the same time.
				wg.Go(server.Stop)
			}
			stopped := make(chan struct{})
			go func() {
				wg.Wait()
				close(stopped)
			}()
			await(t, "the end of Stop", stopped)
			requireCode(t, codes.Unavailable, await(t, "the end of the call", result))
			assert.Empty(t, server.Envelopes())

			_, err := client.Send(t.Context(), batch("nobody is there"))
			requireCode(t, codes.Unavailable, err)
		})
	}
}

func TestStartErrors(t *testing.T) {
	server := StartCapture(t)
	config, err := ingressserver.ServerTLS(server.Certs)
	require.NoError(t, err)
	_, err = Start(server.Addr(), config, nil)
	assert.ErrorContains(t, err, server.Addr())
}

func TestWait(t *testing.T) {
	server := StartCapture(t)
	require.NoError(t, server.Wait(t.Context(), func() bool { return true }))

	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan struct{}, 1)
	result := make(chan error, 1)
	go func() {
		result <- server.Wait(ctx, func() bool {
			select {
			case waits <- struct{}{}:
			default:
			}
			return false
		})
	}()
	await(t, "the first look", waits)
	server.Slow(0) // A change of a fault is a reason to look again.
	await(t, "the second look", waits)
	cancel()
	require.ErrorIs(t, await(t, "the end of Wait", result), context.Canceled)
}
