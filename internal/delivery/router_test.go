// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// logOf observes the log of a client.
func logOf(client *Client) *observer.ObservedLogs {
	core, logs := observer.New(zap.DebugLevel)
	client.peer.logger = zap.New(core)
	return logs
}

func TestRouterStream(t *testing.T) {
	server, client := start(t)
	log := logOf(client)
	server.Router()
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
	// The end of a stream acknowledges its message, so there is no need to wait.
	assert.Len(t, server.Envelopes(), 60)
	assert.LessOrEqual(t, server.Calls(), 30+3, "each sender calls Send at most once")
	assert.Len(t, log.FilterMessageSnippet("it is not an agent").All(), 1)
	assert.Equal(t, 1, server.Connections())
}

// A new connection may be to an agent.
func TestRouterReconnect(t *testing.T) {
	server, client := start(t)
	log := logOf(client)
	server.Router()
	sender := observe(client)
	require.NoError(t, send(t.Context(), sender, logEnvelope("to a router")))
	require.True(t, client.peer.router.Load())

	server.Resume() // It is an agent again, but the connection still uses streams.
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
	assert.Equal(t, []string{"to a router", "by stream", "to an agent", "to a router again"}, server.Payloads())
	assert.Len(t, log.FilterMessageSnippet("it is not an agent").All(), 1, "once per client")
}

func TestStreamRetry(t *testing.T) {
	for name, tt := range map[string]struct {
		timeout time.Duration
		fault   func(*testing.T, *ingresstest.Capture)
		want    codes.Code
	}{
		"refused": {waitAtMost, func(t *testing.T, s *ingresstest.Capture) { s.Refuse(refusal(t, codes.Unavailable)) }, codes.Unavailable},
		"stalled": {100 * time.Millisecond, func(_ *testing.T, s *ingresstest.Capture) { s.Stall() }, codes.DeadlineExceeded},
		"cut off": {waitAtMost, func(t *testing.T, s *ingresstest.Capture) { cutNextCall(t, s) }, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t, func(c *Config) { c.Timeout = tt.timeout })
			server.Router()
			require.NoError(t, send(t.Context(), observe(client), logEnvelope("before")))
			tt.fault(t, server)
			sender := observe(client, func(Attempt) { server.Resume() })
			require.NoError(t, send(t.Context(), sender, logEnvelope("after")))
			require.NotNil(t, sender.attempts[0].Err)
			assert.Equal(t, tt.want.String(), sender.attempts[0].Err.Type())
			payloads := server.Payloads()
			assert.Equal(t, "after", payloads[len(payloads)-1])
		})
	}
}

// A server that implements neither Send nor BatchSender is not an ingress.
func TestNoIngress(t *testing.T) {
	server, client := start(t)
	server.Router()
	server.Refuse(status.Error(codes.Unimplemented, "unknown service"))
	sender := observe(client)
	e := requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unimplemented")
	assert.False(t, e.Retryable)
	assert.Equal(t, ScopeEndpoint, e.Scope)
	assert.Contains(t, e.Error(), "it must be a Loggregator agent or router")
	assert.Len(t, sender.attempts, 1)
	assert.False(t, client.peer.router.Load())
}

func TestStreamResult(t *testing.T) {
	end := status.Error(codes.Unknown, "EOF") // As from routers and agents.
	for name, tt := range map[string]struct {
		written   error
		responded bool
		ended     error
		want      codes.Code
	}{
		"response":                    {nil, true, io.EOF, codes.OK},
		"read to the end":             {nil, false, end, codes.OK},
		"response and error":          {nil, true, status.Error(codes.Unavailable, "can't keep it"), codes.Unavailable},
		"two responses":               {nil, true, nil, codes.Unavailable},
		"status OK, no response":      {nil, false, io.EOF, codes.Unavailable},
		"another unknown error":       {nil, false, status.Error(codes.Unknown, "EOF is near"), codes.Unknown},
		"connection breaks":           {nil, false, status.Error(codes.Unavailable, "EOF"), codes.Unavailable},
		"unexpected end":              {nil, false, io.ErrUnexpectedEOF, codes.Unknown},
		"no status":                   {nil, false, errors.New("EOF"), codes.Unknown},
		"response before the message": {io.EOF, true, io.EOF, codes.Unavailable},
		"end before the message":      {io.EOF, false, end, codes.Unavailable},
		"refused before the message":  {io.EOF, false, status.Error(codes.PermissionDenied, "no"), codes.PermissionDenied},
	} {
		assert.Equal(t, tt.want, status.Code(streamResult(tt.written, tt.responded, tt.ended)), name)
	}
}

// early ends each stream without reading anything. A nil err ends it without an error.
type early struct {
	loggregator_v2.UnimplementedIngressServer
	err error
}

func (s early) BatchSender(loggregator_v2.Ingress_BatchSenderServer) error { return s.err }

// byTheProtocol reads to the end, responds, and ends with err, which may be nil.
type byTheProtocol struct{ early }

func (s byTheProtocol) BatchSender(stream loggregator_v2.Ingress_BatchSenderServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			_ = stream.SendAndClose(&loggregator_v2.BatchSenderResponse{})
			return s.err
		}
	}
}

// A response is an acknowledgement if no error follows. A stream that ends before it was fully read acknowledges nothing.
func TestStreamResponse(t *testing.T) {
	for name, tt := range map[string]struct {
		ingress loggregator_v2.IngressServer
		want    codes.Code
	}{
		"kept":         {byTheProtocol{}, codes.OK},
		"not kept":     {byTheProtocol{early{err: status.Error(codes.Unavailable, "could not keep it")}}, codes.Unavailable},
		"ended unread": {early{}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			sender := observe(connect(t, serve(t, tt.ingress), noRetry))
			for range 10 {
				err := send(t.Context(), sender, logEnvelopes(3)...)
				if tt.want == codes.OK {
					require.NoError(t, err)
				} else {
					requireError(t, err, tt.want.String())
				}
			}
		})
	}
}

// lateBuffer gives gRPC its bytes after the server has ended the stream.
type lateBuffer struct{ mem.Buffer }

func (b lateBuffer) Ref() {
	time.Sleep(time.Second) // Fake time.
	b.Buffer.Ref()
}

// If the server ends a stream before the message is written, its status is the result.
func TestStreamRefusedBeforeWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, stop := bubble(t, early{err: status.Error(codes.PermissionDenied, "no")}, 0)
		message := &buffer{lateBuffer{mem.SliceBuffer{0x0a, 0x00}}}
		err := (&Client{conn: conn}).stream(t.Context(), message)
		assert.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
		stop()
	})
}

// A response says nothing about the server if the connection has ended in the meantime.
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
