// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// peer tracks the server's connections and whether it is a router. It is a stats.Handler because gRPC reports the end of a connection
// nowhere else. It is safe for concurrent use.
type peer struct {
	// router reports whether the server is a router, which does not implement Send. It is valid until a connection ends.
	router atomic.Bool
	logger *zap.Logger
	once   sync.Once

	mu    sync.Mutex
	ended int
}

// connectionsEnded returns the number of connections that have ended.
func (p *peer) connectionsEnded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// isRouter records that the server is a router, unless a connection has ended since connectionsEnded returned ended. It logs that once
// per client.
func (p *peer) isRouter(ended int) {
	p.mu.Lock()
	p.router.Store(p.ended == ended)
	p.mu.Unlock()
	p.once.Do(func() {
		p.logger.Info("The endpoint does not implement Send, so it is not an agent. Trying BatchSender, which routers implement.")
	})
}

// HandleConn counts the connections that end and resets router: the next connection may be to an agent.
func (p *peer) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended++
		p.router.Store(false)
	}
}

// TagConn does nothing.
func (*peer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (*peer) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (*peer) HandleRPC(context.Context, stats.RPCStats) {}

// batchSender declares BatchSender as bidirectional, so that gRPC accepts a response without a message.
var batchSender = grpc.StreamDesc{StreamName: "BatchSender", ClientStreams: true, ServerStreams: true}

// stream sends one message over its own BatchSender stream.
//
// BatchSender acknowledges nothing, and written messages may still be in gRPC's buffers when the connection breaks. But a router ends
// the call when it has read the end of the stream, after it has put the messages into its ring. So each message has its own stream, and
// the end of the call acknowledges it. Separate streams also spread the messages over several routers. A stream costs as much as a Send.
func (c *Client) stream(ctx context.Context, message *buffer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Releases the stream.
	s, err := c.conn.NewStream(ctx, &batchSender, batchSenderMethod)
	if err != nil {
		return err
	}
	sendErr := s.SendMsg(message)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) { // io.EOF: the call has ended, and RecvMsg returns why.
		return sendErr
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	err = s.RecvMsg(nothing{})
	responded := err == nil
	if responded {
		err = s.RecvMsg(nothing{}) // The status follows the response.
	}
	if status.Code(err) == codes.Unimplemented {
		c.peer.router.Store(false)
	}
	return streamResult(sendErr, responded, err)
}

// streamResult returns nil if the server has read the stream to its end. written is the error from writing the message. ended is the
// error that ended the call; responded reports whether a response preceded it.
//
// Routers and agents return the io.EOF that they read, which gRPC turns into a status. By the protocol, a server would send a response
// and then the status OK, which is io.EOF here. A server that ends the call in any other way may have read nothing.
func streamResult(written error, responded bool, ended error) error {
	s, ok := status.FromError(ended)
	done := errors.Is(ended, io.EOF)
	read := done && responded || ok && s.Code() == codes.Unknown && s.Message() == io.EOF.Error()
	switch {
	case read && written == nil:
		return nil
	case read, done, ended == nil: // nil: a second response.
		return status.Error(codes.Unavailable, "the server ended the stream before all of it was read")
	default:
		return ended
	}
}
