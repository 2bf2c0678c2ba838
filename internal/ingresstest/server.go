// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingresstest is a Loggregator v2 ingress for tests and for a laptop: real gRPC over real mutual TLS, with the limits
// and the certificate names of an agent, and faults at the push of a button.
package ingresstest

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// The limits of the agent.
const (
	maxReceive     = 10 << 20 // bytes a message
	minPingTime    = 10 * time.Second
	acceptNoStream = true
)

// Server is an ingress. Any goroutine may use it at any time.
type Server struct {
	loggregator_v2.UnimplementedIngressServer

	grpc     *grpc.Server
	listener *listener
	receive  func([]*loggregator_v2.Envelope)
	stopped  chan struct{}
	stopOnce sync.Once
	served   chan struct{}

	mu      sync.Mutex
	stalled chan struct{} // not nil while the server stalls; closed when it resumes
	calls   int           // of Send that have begun
	refusal func([]*loggregator_v2.Envelope) error
	delay   time.Duration
	router  bool
	changed chan struct{} // closed and replaced when something that Wait can wait for has changed
}

// Start starts an ingress on an address such as 127.0.0.1:0. It calls receive with each batch that it takes, before it
// acknowledges it, from as many goroutines as there are calls.
func Start(address string, config *tls.Config, receive func([]*loggregator_v2.Envelope)) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{
		receive: receive,
		stopped: make(chan struct{}),
		served:  make(chan struct{}),
		changed: make(chan struct{}),
	}
	s.listener = &listener{Listener: l, open: map[net.Conn]struct{}{}, changed: func() { s.change(func() {}) }}
	s.grpc = grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingTime, PermitWithoutStream: acceptNoStream}),
	)
	loggregator_v2.RegisterIngressServer(s.grpc, s)
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(s.listener) // Ends with Stop.
	}()
	return s, nil
}

// Addr is the address it listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop ends everything at once, calls in the middle as well. No receive runs any more when it returns.
func (s *Server) Stop() {
	s.stopOnce.Do(func() { close(s.stopped) })
	s.grpc.Stop()
	<-s.served
}

// Stall makes calls hang until Resume.
func (s *Server) Stall() {
	s.change(func() {
		if s.stalled == nil {
			s.stalled = make(chan struct{})
		}
	})
}

// Resume lets the calls that hang go on, and ends all other faults.
func (s *Server) Resume() {
	s.change(func() {
		if s.stalled != nil {
			close(s.stalled)
			s.stalled = nil
		}
		s.refusal, s.delay, s.router = nil, 0, false
	})
}

// Refuse makes calls fail with this error; see package status.
func (s *Server) Refuse(err error) {
	s.RefuseIf(func([]*loggregator_v2.Envelope) error { return err })
}

// RefuseIf makes those calls fail for whose batch refusal returns an error.
func (s *Server) RefuseIf(refusal func([]*loggregator_v2.Envelope) error) {
	s.change(func() { s.refusal = refusal })
}

// Slow makes each call take that much longer.
func (s *Server) Slow(delay time.Duration) { s.change(func() { s.delay = delay }) }

// Router makes it answer like a router, which has no Send.
func (s *Server) Router() { s.change(func() { s.router = true }) }

// CutConnections closes all connections, in the middle of whatever they carry. New ones are taken.
func (s *Server) CutConnections() { s.listener.cut() }

// Connections is the number of connections that are open.
func (s *Server) Connections() int { return s.listener.count() }

// Calls is the number of calls of Send so far, those that hang or failed included.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Wait blocks until condition is true, which it checks now and after each call, lost connection and change of a fault.
func (s *Server) Wait(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass lets a call with this batch go on, or returns why it fails.
func (s *Server) pass(ctx context.Context, batch []*loggregator_v2.Envelope) error {
	s.mu.Lock()
	stalled, refusal, delay := s.stalled, s.refusal, s.delay
	s.mu.Unlock()
	if stalled != nil {
		if err := sleep(ctx, stalled, s.stopped); err != nil {
			return err
		}
		return s.pass(ctx, batch) // With the faults of now.
	}
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		if err := sleep(ctx, timer.C, s.stopped); err != nil {
			return err
		}
	}
	if refusal != nil {
		return refusal(batch)
	}
	return nil
}

// sleep waits for until; it returns why it woke up earlier.
func sleep[T any](ctx context.Context, until <-chan T, stopped <-chan struct{}) error {
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-stopped:
		return status.Error(codes.Unavailable, "the server stops")
	}
}

// Send takes a batch and acknowledges it.
func (s *Server) Send(ctx context.Context, batch *loggregator_v2.EnvelopeBatch) (*loggregator_v2.SendResponse, error) {
	router := false
	s.change(func() {
		s.calls++
		router = s.router
	})
	if router {
		return s.UnimplementedIngressServer.Send(ctx, batch)
	}
	if err := s.pass(ctx, batch.GetBatch()); err != nil {
		return nil, err
	}
	s.take(batch.GetBatch())
	return &loggregator_v2.SendResponse{}, nil
}

// BatchSender takes a stream of batches.
func (s *Server) BatchSender(stream loggregator_v2.Ingress_BatchSenderServer) error {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.pass(stream.Context(), batch.GetBatch()); err != nil {
			return err
		}
		s.take(batch.GetBatch())
	}
}

// Sender takes a stream of envelopes.
func (s *Server) Sender(stream loggregator_v2.Ingress_SenderServer) error {
	for {
		envelope, err := stream.Recv()
		if err != nil {
			return err
		}
		batch := []*loggregator_v2.Envelope{envelope}
		if err := s.pass(stream.Context(), batch); err != nil {
			return err
		}
		s.take(batch)
	}
}

func (s *Server) take(envelopes []*loggregator_v2.Envelope) {
	s.receive(envelopes)
	s.change(func() {})
}

// listener remembers its connections, to cut them.
type listener struct {
	net.Listener
	mu      sync.Mutex
	open    map[net.Conn]struct{}
	changed func()
}

// Accept takes the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tracked := &conn{Conn: c, listener: l}
	l.open[tracked] = struct{}{}
	return tracked, nil
}

func (l *listener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

func (l *listener) cut() {
	l.mu.Lock()
	var open []net.Conn
	for c := range l.open {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

type conn struct {
	net.Conn
	listener *listener
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	c.listener.changed()
	return c.Conn.Close()
}
