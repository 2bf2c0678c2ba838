// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingressserver is a Loggregator v2 ingress: gRPC over mutual TLS, with the limits and the certificate names of an agent.
package ingressserver

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// The limits of the agent.
const (
	MaxReceive     = 10 << 20 // bytes a message
	minPingTime    = 10 * time.Second
	acceptNoStream = true
)

// Take takes a batch. Its error, of package status, becomes the response.
type Take func(ctx context.Context, batch []*loggregator_v2.Envelope) error

// Server is an ingress. Any goroutine may use it at any time.
type Server struct {
	loggregator_v2.UnimplementedIngressServer

	take   Take
	addr   net.Addr
	grpc   *grpc.Server
	stop   context.CancelFunc
	served chan struct{}
}

// Serve serves an ingress on a listener until Stop. It calls take with each batch before it acknowledges it, from as many goroutines as
// there are calls.
func Serve(l net.Listener, config *tls.Config, take Take, opts ...grpc.ServerOption) *Server {
	stopped, stop := context.WithCancel(context.Background())
	s := &Server{take: take, addr: l.Addr(), stop: stop, served: make(chan struct{})}
	s.grpc = grpc.NewServer(append(opts,
		grpc.Creds(credentials.NewTLS(config)),
		grpc.MaxRecvMsgSize(MaxReceive),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingTime, PermitWithoutStream: acceptNoStream}),
	)...)
	loggregator_v2.RegisterIngressServer(s.grpc, s)
	go func() {
		defer close(s.served)
		_ = s.grpc.Serve(&listener{l, stopped}) // Ends with Stop.
	}()
	return s
}

// Addr returns the address that it listens on.
func (s *Server) Addr() string { return s.addr.String() }

// Stop ends everything at once, calls in progress too. No take runs any more when it returns.
func (s *Server) Stop() {
	s.stop()
	s.grpc.Stop() // Ends the contexts of the calls.
	<-s.served
}

// Send takes a batch and acknowledges it.
func (s *Server) Send(ctx context.Context, batch *loggregator_v2.EnvelopeBatch) (*loggregator_v2.SendResponse, error) {
	if err := s.take(ctx, batch.GetBatch()); err != nil {
		return nil, err
	}
	return &loggregator_v2.SendResponse{}, nil
}

// BatchSender takes a stream of batches. Like routers and agents it ends the call with the error of the reading.
func (s *Server) BatchSender(stream loggregator_v2.Ingress_BatchSenderServer) error {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.take(stream.Context(), batch.GetBatch()); err != nil {
			return err
		}
	}
}

// Sender takes a stream of envelopes.
func (s *Server) Sender(stream loggregator_v2.Ingress_SenderServer) error {
	for {
		envelope, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := s.take(stream.Context(), []*loggregator_v2.Envelope{envelope}); err != nil {
			return err
		}
	}
}

// listener closes its connections when it is stopped, also those in a handshake, for which gRPC would wait.
type listener struct {
	net.Listener
	stopped context.Context
}

// Accept takes the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{c, context.AfterFunc(l.stopped, func() { _ = c.Close() })}, nil
}

// conn is a connection of a listener.
type conn struct {
	net.Conn
	forget func() bool // that the listener has to close it
}

// Close closes the connection.
func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}
