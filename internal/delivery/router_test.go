// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// connectLogged is connect with the log of the client.
func connectLogged(t *testing.T, cfg Config) (*Client, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	set := componenttest.NewNopTelemetrySettings()
	set.Logger = zap.New(core)
	client, err := NewClient(t.Context(), cfg, nil, set, buildInfo)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client, logs
}

func TestRouterStream(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	client, log := connectLogged(t, configFor(server))
	var wg sync.WaitGroup
	for sender := range 3 {
		wg.Go(func() {
			s := observe(client, func(a Attempt) { assert.Nil(t, a.Err) })
			for i := range 10 {
				assert.NoError(t, send(t.Context(), s, logEnvelope(fmt.Sprint(sender, i)), logEnvelope("second")))
			}
		})
	}
	wg.Wait()
	// The end of a stream acknowledges its message: there is nothing to wait for.
	assert.Len(t, server.Envelopes(), 60)
	assert.LessOrEqual(t, server.Calls(), 30+3, "only who did not know it yet asked for Send")
	assert.Len(t, log.FilterMessageSnippet("it is not an agent").All(), 1)
	assert.Equal(t, 1, server.Connections())
}

// A new connection may be to an agent.
func TestRouterReconnect(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	client, log := connectLogged(t, configFor(server))
	sender := observe(client)
	require.NoError(t, send(t.Context(), sender, logEnvelope("to a router")))
	require.True(t, client.peer.router.Load())

	server.Resume() // An agent from now on; the connection still takes streams.
	calls := server.Calls()
	require.NoError(t, send(t.Context(), sender, logEnvelope("by stream")))
	assert.Equal(t, calls+1, server.Calls())
	require.True(t, client.peer.router.Load())

	server.CutConnections()
	require.Eventually(t, func() bool { return !client.peer.router.Load() }, waitAtMost, time.Millisecond)
	require.NoError(t, send(t.Context(), sender, logEnvelope("to an agent")))
	assert.False(t, client.peer.router.Load())

	server.Router()
	server.CutConnections()
	require.NoError(t, send(t.Context(), sender, logEnvelope("to a router again")))
	requireLogs(t, server, "to a router", "by stream", "to an agent", "to a router again")
	assert.Len(t, log.FilterMessageSnippet("it is not an agent").All(), 1, "in the life of a client")
}

func TestStreamRetry(t *testing.T) {
	tests := []struct {
		name string
		flaw func(*ingresstest.Capture)
		want codes.Code
	}{
		{"refused", func(s *ingresstest.Capture) { s.Refuse(status.Error(codes.Unavailable, "no")) }, codes.Unavailable},
		{"stalled", func(s *ingresstest.Capture) { s.Stall() }, codes.DeadlineExceeded},
		{"cut off", func(s *ingresstest.Capture) {
			s.Stall()
			calls := s.Calls()
			go func() {
				_ = s.Wait(t.Context(), func() bool { return s.Calls() > calls })
				s.CutConnections()
			}()
		}, codes.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := ingresstest.StartCapture(t)
			server.Router()
			cfg := configFor(server)
			if tt.want == codes.DeadlineExceeded {
				cfg.Timeout = 100 * time.Millisecond
			}
			client := connect(t, cfg)
			require.NoError(t, send(t.Context(), observe(client), logEnvelope("before")))
			tt.flaw(server)
			var failures []*Error
			sender := observe(client, func(a Attempt) {
				if a.Err != nil {
					failures = append(failures, a.Err)
					server.Resume()
				}
			})
			require.NoError(t, send(t.Context(), sender, logEnvelope("after")))
			require.NotEmpty(t, failures)
			assert.Equal(t, tt.want.String(), failures[0].Type())
			logs := server.Envelopes()
			assert.Equal(t, "after", string(logs[len(logs)-1].GetLog().GetPayload()))
		})
	}
}

// A server without Send and BatchSender is no ingress.
func TestNoIngress(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	server.Refuse(status.Error(codes.Unimplemented, "unknown service"))
	client := connect(t, configFor(server))
	sender := observe(client)
	e := requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unimplemented")
	assert.False(t, e.Retryable)
	assert.Equal(t, ScopeEndpoint, e.Scope)
	assert.Contains(t, e.Error(), "it must be a Loggregator agent or router")
	assert.Len(t, sender.attempts, 1)
	assert.False(t, client.peer.router.Load())
}

func TestStreamResult(t *testing.T) {
	end := status.Error(codes.Unknown, "EOF") // As routers and agents end.
	for name, tt := range map[string]struct {
		written   error
		responded bool
		ended     error
		want      codes.Code
	}{
		"a response":                     {nil, true, io.EOF, codes.OK},
		"read to the end":                {nil, false, end, codes.OK},
		"a response, and an error":       {nil, true, status.Error(codes.Unavailable, "can't keep it"), codes.Unavailable},
		"two responses":                  {nil, true, nil, codes.Unavailable},
		"status OK, no response":         {nil, false, io.EOF, codes.Unavailable},
		"another unknown error":          {nil, false, status.Error(codes.Unknown, "EOF is near"), codes.Unknown},
		"the connection breaks":          {nil, false, status.Error(codes.Unavailable, "EOF"), codes.Unavailable},
		"the end comes unexpectedly":     {nil, false, io.ErrUnexpectedEOF, codes.Unknown},
		"no status":                      {nil, false, errors.New("EOF"), codes.Unknown},
		"a response, before the message": {io.EOF, true, io.EOF, codes.Unavailable},
		"the end, before the message":    {io.EOF, false, end, codes.Unavailable},
		"refused, before the message":    {io.EOF, false, status.Error(codes.PermissionDenied, "no"), codes.PermissionDenied},
	} {
		assert.Equal(t, tt.want, status.Code(streamResult(tt.written, tt.responded, tt.ended)), name)
	}
}

// early ends each stream without having read anything, with an error or without.
type early struct {
	loggregator_v2.UnimplementedIngressServer
	err error
}

func (s early) BatchSender(loggregator_v2.Ingress_BatchSenderServer) error { return s.err }

// byTheProtocol reads to the end and responds, and then ends with an error or without.
type byTheProtocol struct{ early }

func (s byTheProtocol) BatchSender(stream loggregator_v2.Ingress_BatchSenderServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			_ = stream.SendAndClose(&loggregator_v2.BatchSenderResponse{})
			return s.err
		}
	}
}

// A response acknowledges if no error follows.
func TestStreamResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want codes.Code
	}{
		"kept":     {nil, codes.OK},
		"not kept": {status.Error(codes.Unavailable, "could not keep it"), codes.Unavailable},
	} {
		cfg := serve(t, byTheProtocol{early{err: tt.err}})
		cfg.Retry.Enabled = false
		sender := observe(connect(t, cfg))
		for range 10 {
			err := send(t.Context(), sender, logEnvelopes(3)...)
			if tt.want == codes.OK {
				require.NoError(t, err, name)
			} else {
				requireError(t, err, tt.want.String())
			}
		}
	}
}

// serve serves an ingress without TLS, and returns the settings of a client of it.
func serve(t *testing.T, ingress loggregator_v2.IngressServer, options ...grpc.ServerOption) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(options...)
	loggregator_v2.RegisterIngressServer(server, ingress)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	cfg := configWith(l.Addr().String(), "")
	cfg.GRPC.TLS = configtls.ClientConfig{Insecure: true}
	return cfg
}

// A stream that ends before its end was read acknowledges nothing.
func TestStreamEndsEarly(t *testing.T) {
	cfg := serve(t, early{})
	cfg.Retry.Enabled = false
	client := connect(t, cfg)
	for range 10 {
		requireError(t, send(t.Context(), observe(client), logEnvelopes(3)...), "Unavailable")
	}
}

// lateBuffer gives gRPC its bytes after the server has ended the stream.
type lateBuffer struct{ mem.Buffer }

func (b lateBuffer) Ref() {
	time.Sleep(time.Second) // The time is synctest's.
	b.Buffer.Ref()
}

// When the server ends a stream before the message is written, its status says why.
func TestStreamRefusedBeforeWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, stop := bubble(t, early{err: status.Error(codes.PermissionDenied, "no")}, 0)
		message := &buffer{lateBuffer{mem.SliceBuffer{0x0a, 0x00}}}
		err := (&Client{conn: conn}).stream(t.Context(), message)
		assert.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
		stop()
	})
}

// A response says nothing about the server if its connection ended meanwhile.
func TestRouterForgotten(t *testing.T) {
	p := &peer{logger: zap.NewNop()}
	ended := p.connectionsEnded()
	p.HandleConn(t.Context(), &stats.ConnEnd{})
	p.isRouter(ended)
	assert.False(t, p.router.Load())
	p.isRouter(p.connectionsEnded())
	assert.True(t, p.router.Load())
	p.HandleConn(t.Context(), &stats.ConnEnd{})
	assert.False(t, p.router.Load())
}
