// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingresstest adds faults and captures to the Loggregator v2 ingress of package ingressserver, for tests.
package ingresstest

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// A Server is an ingress. It is safe for concurrent use.
type Server struct {
	address string
	tls     *tls.Config
	receive func([]*loggregator_v2.Envelope)

	starting sync.Mutex            // for Down, Up and Stop
	running  *ingressserver.Server // nil while it is down

	mu      sync.Mutex
	faults  faults
	calls   int // started calls of Send, and messages of streams
	open    map[*conn]struct{}
	changed chan struct{} // closed and replaced when Wait should check its condition again
}

// Start starts an ingress on an address such as 127.0.0.1:0. It calls receive with each accepted batch, from one goroutine per call,
// before it acknowledges the batch.
func Start(address string, config *tls.Config, receive func([]*loggregator_v2.Envelope)) (*Server, error) {
	s := &Server{address: address, tls: config.Clone(), receive: receive, open: map[*conn]struct{}{}, changed: make(chan struct{})}
	s.tls.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.now().cert, nil } // nil: config's certificate
	if err := s.Up(); err != nil {
		return nil, err
	}
	return s, nil
}

// now returns the current faults.
func (s *Server) now() faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Addr returns the server's address, which stays the same while it is down.
func (s *Server) Addr() string {
	s.starting.Lock()
	defer s.starting.Unlock()
	return s.address
}

// Up restarts the server on the same port after Down.
func (s *Server) Up() error {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.running != nil {
		return nil
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.address = l.Addr().String()
	s.running = ingressserver.Serve(&listener{l, s}, s.tls, s.take, grpc.UnaryInterceptor(s.intercept))
	return nil
}

// Down ends everything at once, including calls in progress, as if the process were killed. When it returns, receive is no longer
// running and connections to the port are refused.
func (s *Server) Down() {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.running == nil {
		return
	}
	s.running.Stop()
	s.running = nil
}

// Stop stops the server for good.
func (s *Server) Stop() { s.Down() }

// Stall makes calls hang until Resume.
func (s *Server) Stall() { s.change(func() { hold(&s.faults.stalled) }) }

// Resume lets hanging calls continue, and ends all other faults except Down.
func (s *Server) Resume() {
	s.change(func() {
		for _, held := range []chan struct{}{s.faults.stalled, s.faults.muted} {
			if held != nil {
				close(held)
			}
		}
		s.faults = faults{}
	})
}

// Refuse makes calls fail with err, which is from package status.
func (s *Server) Refuse(err error) {
	s.RefuseIf(func([]*loggregator_v2.Envelope) error { return err })
}

// RefuseIf makes a call fail if refusal returns an error for its batch.
func (s *Server) RefuseIf(refusal func([]*loggregator_v2.Envelope) error) {
	s.change(func() { s.faults.refusal = refusal })
}

// Slow delays each call.
func (s *Server) Slow(delay time.Duration) { s.change(func() { s.faults.delay = delay }) }

// Router makes the server respond like a router, which does not implement Send.
func (s *Server) Router() { s.change(func() { s.faults.router = true }) }

// Ring makes the server keep at most size envelopes in any interval, as a router's ring does for each of its readers, and silently drop
// the others. The function it returns reports the number of dropped envelopes.
func (s *Server) Ring(size int, interval time.Duration) (lost func() int) {
	r := &ring{size: size, interval: interval}
	s.change(func() { s.faults.ring = r })
	return func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.lost
	}
}

// Reorder makes the server delay every second response until the next one, if that follows soon.
func (s *Server) Reorder() { s.change(func() { s.faults.turns = make(chan struct{}) }) }

// Present makes the server present this certificate on new connections.
func (s *Server) Present(cert tls.Certificate) { s.change(func() { s.faults.cert = &cert }) }

// CutConnections closes all connections, even in the middle of a message. The server accepts new ones.
func (s *Server) CutConnections() {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// CutAfter closes each connection, including new ones, after it has carried this many more bytes to the server.
func (s *Server) CutAfter(bytes int) { s.change(func() { s.faults.carry = &bytes }) }

// HalfOpen makes the server accept connections but read nothing from any of them.
func (s *Server) HalfOpen() { s.change(func() { hold(&s.faults.muted) }) }

// Connections returns the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Calls returns the number of calls of Send and of messages of streams, including those that hang or failed.
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

// Wait blocks until condition is true. It checks condition at once, and again after each call, each new or closed connection, and each
// change of a fault.
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

// take takes a batch, subject to the faults at the moment when the call is counted: a test that has seen the call in Calls can change the
// faults for the next call. After a stall, the faults at its end apply.
func (s *Server) take(ctx context.Context, envelopes []*loggregator_v2.Envelope) error {
	var f faults
	s.change(func() {
		s.calls++
		f = s.faults
	})
	for f.stalled != nil {
		if err := sleep(ctx, f.stalled); err != nil {
			return err
		}
		f = s.now()
	}
	if f.delay > 0 {
		if err := sleep(ctx, time.After(f.delay)); err != nil {
			return err
		}
	}
	if f.refusal != nil {
		if err := f.refusal(envelopes); err != nil {
			return err
		}
	}
	if f.ring != nil {
		envelopes = f.ring.keep(envelopes, time.Now())
	}
	s.receive(envelopes)
	s.change(func() {})
	return nil
}

// sleep waits for until. If ctx is done first, sleep returns its error.
func sleep[T any](ctx context.Context, until <-chan T) error {
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// intercept refuses a Send like a router, and reorders responses.
func (s *Server) intercept(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	var router bool
	s.change(func() {
		if router = s.faults.router; router {
			s.calls++
		}
	})
	if router {
		return nil, status.Error(codes.Unimplemented, "method Send not implemented")
	}
	response, err := handler(ctx, request)
	if turns := s.now().turns; err == nil && turns != nil {
		select { // Responses are paired.
		case turns <- struct{}{}:
		case <-turns:
		case <-time.After(patience):
		}
	}
	return response, err
}

// patience is how long a response waits for a later one. There may be no other call.
const patience = 10 * time.Millisecond
