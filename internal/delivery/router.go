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

// peer is what is known of the server. It is a stats.Handler because gRPC reports the end of a connection nowhere else. Any
// goroutine may use it at any time.
type peer struct {
	// router reports whether the server is a router, which has no Send. It holds as long as the connection.
	router atomic.Bool
	logger *zap.Logger
	once   sync.Once

	mu    sync.Mutex
	ended int
}

// connectionsEnded returns the number of connections that have ended so far.
func (p *peer) connectionsEnded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// isRouter records that the server is a router, unless more connections have ended than ended, and logs it once for each client.
func (p *peer) isRouter(ended int) {
	p.mu.Lock()
	p.router.Store(p.ended == ended)
	p.mu.Unlock()
	p.once.Do(func() {
		p.logger.Info("The endpoint does not implement Send, so it is not an agent. Trying BatchSender, as routers do.")
	})
}

// HandleConn counts the connections that end, and forgets the router: the next connection may be to an agent.
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

// batchSender is BatchSender as a stream in both directions, so that gRPC accepts a response without a message.
var batchSender = grpc.StreamDesc{StreamName: "BatchSender", ClientStreams: true, ServerStreams: true}

// stream sends one message by a BatchSender of its own.
//
// BatchSender acknowledges nothing, and what was written to it may still be in gRPC's buffers when the connection breaks. But
// a router ends the call when it has read the end of the stream, after it has put the messages into its ring. So each message has its
// own stream, and the end of the call acknowledges it. Streams also spread messages over several routers. One costs as much as a
// Send.
func (c *Client) stream(ctx context.Context, message *buffer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Frees what is left of the stream.
	s, err := c.conn.NewStream(ctx, &batchSender, batchSenderMethod, c.callOptions()...)
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

// streamResult returns nil if the server has read the stream to its end. written is the error of writing the message, ended the error
// that ended the call, with or without a response before it.
//
// Routers and agents return the io.EOF of their reading, and gRPC makes a status of it. By the protocol a server would send a response
// and then the status OK, which is io.EOF here. A server that ends a call with less may have read nothing.
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
