// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// peer is what is known of the other end. It is a stats.Handler because gRPC tells of the end of a connection nowhere else. Any
// goroutine may use it at any time.
type peer struct {
	// router is whether the other end is a router, which has no Send: for as long as its connection lives.
	router atomic.Bool
	logger *zap.Logger
	once   sync.Once

	mu    sync.Mutex
	ended int
}

// connectionsEnded is the number of connections that have ended so far.
func (p *peer) connectionsEnded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// isRouter remembers it, unless a connection has ended since so many had; and logs it once in the life of a client.
func (p *peer) isRouter(ended int) {
	p.mu.Lock()
	p.router.Store(p.ended == ended)
	p.mu.Unlock()
	p.once.Do(func() {
		p.logger.Info("The endpoint has no Send, so it is no agent. Trying BatchSender, which routers have.")
	})
}

// HandleConn counts the ends of connections, and forgets that it is a router: the next connection may be to an agent.
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

// batchSender is BatchSender as a stream in both directions, so that an answer without a message is none of gRPC's errors.
var batchSender = grpc.StreamDesc{StreamName: "BatchSender", ClientStreams: true, ServerStreams: true}

// stream sends one message by a BatchSender of its own.
//
// BatchSender acknowledges nothing, and what was written to it may still be in gRPC's buffers when the connection breaks. But
// a router ends the call when it has read the end of the stream, after it has put all that came before into its ring. So the
// stream is ended after each message, and its end is the acknowledgement. A new stream is also what spreads messages over
// several routers. It costs what a Send costs.
func (c *Client) stream(ctx context.Context, message *buffer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Frees what is left of the stream.
	s, err := c.conn.NewStream(ctx, &batchSender, loggregator_v2.Ingress_BatchSender_FullMethodName, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return err
	}
	sendErr := s.SendMsg(message)
	if sendErr != nil && !errors.Is(sendErr, io.EOF) { // EOF: the call has ended, and RecvMsg knows why.
		return sendErr
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	err = s.RecvMsg(nothing{})
	responded := err == nil
	if responded {
		err = s.RecvMsg(nothing{}) // The status comes behind the response.
	}
	if status.Code(err) == codes.Unimplemented {
		c.peer.router.Store(false)
	}
	return outcome(sendErr, responded, err)
}

// outcome is what a stream has come to, whose message was written with the one error, and which ended with the other, with or
// without a response: nil if that says that the server has read to the end of the stream.
//
// Routers and agents return the io.EOF that they got from reading, and gRPC makes a status of it. Others may answer as the
// protocol has it: with a response and then the status OK, which is io.EOF here. A server that ends a call with less may have read
// nothing. Nor has it read what could not be written.
func outcome(written error, responded bool, ended error) error {
	s, ok := status.FromError(ended)
	done := errors.Is(ended, io.EOF)
	read := done && responded || ok && s.Code() == codes.Unknown && s.Message() == io.EOF.Error()
	switch {
	case read && written == nil:
		return nil
	case read, done, ended == nil: // The latter if a response follows the response.
		return status.Error(codes.Unavailable, "the server ended the stream before all of it was read")
	default:
		return ended
	}
}
