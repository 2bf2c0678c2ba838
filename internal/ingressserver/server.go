// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package ingressserver implements a Loggregator v2 ingress: gRPC over mutual TLS, with the limits and the certificate name of an agent.
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
	MaxReceive     = 10 << 20 // bytes per message
	minPingTime    = 10 * time.Second
	acceptNoStream = true
)

// Take handles a batch. Its error, from package status, becomes the response.
type Take func(ctx context.Context, batch []*loggregator_v2.Envelope) error

// A Server is an ingress. It is safe for concurrent use.
type Server struct {
	loggregator_v2.UnimplementedIngressServer

	take   Take
	addr   net.Addr
	grpc   *grpc.Server
	stop   context.CancelFunc
	served chan struct{}
}

// Serve starts an ingress on a listener. Until Stop, it calls take with each batch, from one goroutine per call, before it acknowledges
// the batch.
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

// Addr returns the server's address.
func (s *Server) Addr() string { return s.addr.String() }

// Stop ends everything at once, including calls in progress. When it returns, take is no longer running.
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

// BatchSender takes a stream of batches. Like routers and agents, it ends the call with the error from reading the stream.
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

// listener closes its connections when stopped is done, including those in a handshake, for which gRPC would wait.
type listener struct {
	net.Listener
	stopped context.Context
}

// Accept accepts the next connection.
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
	forget func() bool // keeps the listener from closing it
}

// Close closes the connection.
func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}
