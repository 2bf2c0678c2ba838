// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingresstest is a Loggregator v2 ingress for tests: a real one, of package ingressserver, with faults and captures.
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

// Server is an ingress. Any goroutine may use it at any time.
type Server struct {
	address string
	tls     *tls.Config
	receive func([]*loggregator_v2.Envelope)

	starting sync.Mutex            // for Down, Up and Stop
	running  *ingressserver.Server // nil while it is down

	mu      sync.Mutex
	faults  faults
	calls   int // of Send, and messages of streams, that have begun
	open    map[*conn]struct{}
	changed chan struct{} // closed and replaced when something that Wait can wait for has changed
}

// Start starts an ingress on an address such as 127.0.0.1:0. It calls receive with each batch that it takes, before it
// acknowledges it, from as many goroutines as there are calls.
func Start(address string, config *tls.Config, receive func([]*loggregator_v2.Envelope)) (*Server, error) {
	s := &Server{address: address, tls: config.Clone(), receive: receive, open: map[*conn]struct{}{}, changed: make(chan struct{})}
	s.tls.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.now().cert, nil } // nil: that of config
	if err := s.Up(); err != nil {
		return nil, err
	}
	return s, nil
}

// now returns the faults of now.
func (s *Server) now() faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.faults
}

// Addr returns the address it listens on, or did before it went down.
func (s *Server) Addr() string {
	s.starting.Lock()
	defer s.starting.Unlock()
	return s.address
}

// Up starts the server again, on the same port, after Down.
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

// Down ends everything at once, as when the process is killed: calls in the middle as well. No receive runs any more when
// it returns, and connections to the port are refused.
func (s *Server) Down() {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.running == nil {
		return
	}
	s.running.Stop()
	s.running = nil
}

// Stop is Down for good.
func (s *Server) Stop() { s.Down() }

// Stall makes calls hang until Resume.
func (s *Server) Stall() { s.change(func() { hold(&s.faults.stalled) }) }

// Resume lets the calls that hang go on, and ends all other faults, but for Down.
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

// Refuse makes calls fail with this error; see package status.
func (s *Server) Refuse(err error) {
	s.RefuseIf(func([]*loggregator_v2.Envelope) error { return err })
}

// RefuseIf makes a call fail if refusal returns an error for its batch.
func (s *Server) RefuseIf(refusal func([]*loggregator_v2.Envelope) error) {
	s.change(func() { s.faults.refusal = refusal })
}

// Slow makes each call take that much longer.
func (s *Server) Slow(delay time.Duration) { s.change(func() { s.faults.delay = delay }) }

// Router makes it answer like a router, which has no Send.
func (s *Server) Router() { s.change(func() { s.faults.router = true }) }

// Ring makes it keep at most size envelopes in any interval, as a router's ring does for each of its readers. It drops the others
// silently; lost counts them.
func (s *Server) Ring(size int, interval time.Duration) (lost func() int) {
	r := &ring{size: size, interval: interval}
	s.change(func() { s.faults.ring = r })
	return func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.lost
	}
}

// Reorder makes it answer every second call only after the one that came after it, if one comes soon.
func (s *Server) Reorder() { s.change(func() { s.faults.turns = make(chan struct{}) }) }

// Present makes it present this certificate on new connections.
func (s *Server) Present(cert tls.Certificate) { s.change(func() { s.faults.cert = &cert }) }

// CutConnections closes all connections, in the middle of whatever they carry. New ones are taken.
func (s *Server) CutConnections() {
	s.mu.Lock()
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// CutAfter closes each connection, new ones too, when it has carried that many more bytes to the server.
func (s *Server) CutAfter(bytes int) { s.change(func() { s.faults.carry = &bytes }) }

// HalfOpen makes it take connections but read nothing from any of them.
func (s *Server) HalfOpen() { s.change(func() { hold(&s.faults.muted) }) }

// Connections returns the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Calls returns the number of calls of Send, and of messages of streams, so far, including those that hang or failed.
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

// Wait blocks until condition is true, which it checks now and after each call, new or lost connection, and change of a
// fault.
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

// take takes a batch, unless something is wrong. The faults are those at the moment when the call was counted, so that who has seen it
// in Calls can change them for the next; after a stall those of its end.
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

// sleep waits for until; it returns why it woke up earlier.
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
		select { // Answers meet in pairs.
		case turns <- struct{}{}:
		case <-turns:
		case <-time.After(patience):
		}
	}
	return response, err
}

// patience is how long an answer waits for a later one. There may be no other call.
const patience = 10 * time.Millisecond
