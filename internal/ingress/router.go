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

// router remembers that the other end is a router, which has no Send, for as long as its connection lives. It is a
// stats.Handler because gRPC tells of the end of a connection nowhere else. Any goroutine may use it at any time.
type router struct {
	found  atomic.Bool
	logger *zap.Logger
	once   sync.Once
}

// find remembers it, and logs it once in the life of a client.
func (r *router) find() {
	r.found.Store(true)
	r.once.Do(func() {
		r.logger.Info("The endpoint has no Send, so it is a router, not an agent. Sending by BatchSender.")
	})
}

// HandleConn forgets it when a connection ends: the next one may be to an agent.
func (r *router) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		r.found.Store(false)
	}
}

// TagConn does nothing.
func (*router) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (*router) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (*router) HandleRPC(context.Context, stats.RPCStats) {}

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
	if err := s.SendMsg(message); err != nil && !errors.Is(err, io.EOF) { // EOF: RecvMsg knows why.
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	err = s.RecvMsg(nothing{})
	if status.Code(err) == codes.Unimplemented {
		c.router.found.Store(false)
	}
	if endOfStream(err) {
		return nil
	}
	return err
}

// endOfStream says whether a server has ended a call because it has read the end of the stream. Routers and agents return the
// io.EOF that they got from reading, and gRPC makes a status of it.
func endOfStream(err error) bool {
	if err == nil || errors.Is(err, io.EOF) { // Or they answer as the protocol has it.
		return true
	}
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unknown && s.Message() == io.EOF.Error()
}
