// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
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

func TestRouterGetsStreams(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	client, log := connectLogged(t, configFor(server))
	var wg sync.WaitGroup
	for sender := range 3 {
		wg.Go(func() {
			s := client.NewSender(func(a Attempt) { assert.Nil(t, a.Err) })
			for i := range 10 {
				assert.NoError(t, send(t.Context(), s, logEnvelope(fmt.Sprint(sender, i)), logEnvelope("second")))
			}
		})
	}
	wg.Wait()
	// What Send returned for is there: the end of the stream acknowledges it.
	assert.Len(t, server.Envelopes(), 60)
	assert.LessOrEqual(t, server.Calls(), 30+3, "only who did not know it yet asked for Send")
	assert.Len(t, log.FilterMessageSnippet("it is a router").All(), 1)
	assert.Equal(t, 1, server.Connections())
}

// A new connection may be to an agent.
func TestNewConnectionTriesSendAgain(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	client, log := connectLogged(t, configFor(server))
	sender := client.NewSender(func(Attempt) {})
	require.NoError(t, send(t.Context(), sender, logEnvelope("to a router")))
	require.True(t, client.router.found.Load())

	server.Resume() // An agent from now on; the connection still takes streams.
	calls := server.Calls()
	require.NoError(t, send(t.Context(), sender, logEnvelope("by stream")))
	assert.Equal(t, calls+1, server.Calls())
	require.True(t, client.router.found.Load())

	server.CutConnections()
	require.Eventually(t, func() bool { return !client.router.found.Load() }, waitAtMost, time.Millisecond)
	require.NoError(t, send(t.Context(), sender, logEnvelope("to an agent")))
	assert.False(t, client.router.found.Load())

	server.Router()
	server.CutConnections()
	require.NoError(t, send(t.Context(), sender, logEnvelope("to a router again")))
	requireLogs(t, server, "to a router", "by stream", "to an agent", "to a router again")
	assert.Len(t, log.FilterMessageSnippet("it is a router").All(), 1, "in the life of a client")
}

func TestFaultsOfAStreamAreRetried(t *testing.T) {
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
			require.NoError(t, send(t.Context(), client.NewSender(func(Attempt) {}), logEnvelope("before")))
			tt.flaw(server)
			var failures []*Error
			sender := client.NewSender(func(a Attempt) {
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

// What serves neither Send nor BatchSender is no ingress.
func TestNoIngress(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Router()
	server.Refuse(status.Error(codes.Unimplemented, "unknown service"))
	attempts := 0
	client := connect(t, configFor(server))
	e := requireError(t, send(t.Context(), client.NewSender(func(Attempt) { attempts++ }), logEnvelopes(1)...), "Unimplemented")
	assert.True(t, e.Permanent)
	assert.True(t, e.ByHand)
	assert.Contains(t, e.Error(), "it has to be a Loggregator agent or router")
	assert.Equal(t, 1, attempts)
	assert.False(t, client.router.found.Load())
}

func TestEndOfStream(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"a response":                 {nil, true},
		"status OK":                  {io.EOF, true},
		"as routers and agents end":  {status.Error(codes.Unknown, "EOF"), true},
		"another unknown error":      {status.Error(codes.Unknown, "EOF is near"), false},
		"the connection breaks":      {status.Error(codes.Unavailable, "EOF"), false},
		"the end comes unexpectedly": {io.ErrUnexpectedEOF, false},
		"no status":                  {errors.New("EOF"), false},
	} {
		assert.Equal(t, tt.want, endOfStream(tt.err), name)
	}
}
