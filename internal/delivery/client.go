// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package delivery sends encoded envelopes to a Loggregator v2 ingress: the agent on the host, or a router.
//
// A [Client] holds one connection and one rate limit. A [Message] collects envelopes. A [Sender] delivers the messages of one signal: it
// waits for the rate limit, sends, waits for the acknowledgement, and retries.
package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configretry"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Config holds the settings of a [Client].
type Config struct {
	GRPC configgrpc.ClientConfig
	// Timeout bounds one attempt; 0 means no limit.
	Timeout time.Duration
	Retry   configretry.BackOffConfig
	// EnvelopesPerSecond and Burst are the rate limit of all senders together; 0 envelopes per second means no limit.
	EnvelopesPerSecond float64
	Burst              int
}

// maxConnectPause is the longest pause between attempts to connect. With gRPC's default of two minutes, messages would keep failing
// long after the server is back.
const maxConnectPause = 5 * time.Second

// A Client is a connection to an ingress. It is safe for concurrent use.
type Client struct {
	cfg     Config
	conn    *grpc.ClientConn
	limiter *rate.Limiter
	peer    peer

	finishing  chan struct{} // closed by Finish
	finishOnce sync.Once
	life       context.Context // canceled by GiveUp
	giveUp     context.CancelFunc
}

// NewClient returns a client and starts to connect, without waiting for the connection. It fails if the configuration is invalid, for
// example if a certificate cannot be read.
func NewClient(ctx context.Context, cfg Config, extensions map[component.ID]component.Component, set component.TelemetrySettings, build component.BuildInfo) (*Client, error) {
	c := &Client{cfg: cfg, limiter: rate.NewLimiter(rate.Inf, 0), peer: peer{logger: set.Logger}, finishing: make(chan struct{})}
	c.life, c.giveUp = context.WithCancel(context.Background())
	if cfg.EnvelopesPerSecond > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(cfg.EnvelopesPerSecond), cfg.Burst)
	}
	userAgent := fmt.Sprintf("%s/%s", build.Command, build.Version)
	var err error
	c.conn, err = cfg.GRPC.ToClientConn(ctx, extensions, set,
		configgrpc.WithGrpcDialOption(grpc.WithUserAgent(userAgent)),
		configgrpc.WithGrpcDialOption(grpc.WithStatsHandler(&c.peer)),
		configgrpc.WithGrpcDialOption(grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.WaitForReady(cfg.GRPC.WaitForReady))),
		configgrpc.WithGrpcDialOption(grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxConnectPause},
			// gRPC's default, which does not apply if Backoff is set.
			MinConnectTimeout: 20 * time.Second,
		})))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Finish ends retries for all senders: a message waiting for another attempt gets it now, as its last, and each later message gets one
// attempt. GiveUp follows after the given time. Only the first call has an effect.
func (c *Client) Finish(within time.Duration) {
	c.finishOnce.Do(func() {
		close(c.finishing)
		time.AfterFunc(within, c.GiveUp)
	})
}

// GiveUp cancels the client's context.
func (c *Client) GiveUp() { c.giveUp() }

// Context returns a context that is canceled by GiveUp. Nothing more should be sent then.
func (c *Client) Context() context.Context { return c.life }

// Close closes the connection. Sends in progress fail.
func (c *Client) Close() error { return c.conn.Close() }

// waitForRate waits until the rate limit allows this number of envelopes. Without a connection it does not wait, because the attempt fails
// at once: a shutdown then empties the queue without delay.
func (c *Client) waitForRate(ctx context.Context, envelopes int) error {
	if c.conn.GetState() == connectivity.TransientFailure && !c.cfg.GRPC.WaitForReady {
		return ctx.Err()
	}
	err := c.limiter.WaitN(ctx, envelopes)
	if _, bounded := ctx.Deadline(); err != nil && bounded && ctx.Err() == nil && envelopes <= c.limiter.Burst() {
		return context.DeadlineExceeded // The limiter fails at once, with an error of its own.
	}
	return err
}

func (c *Client) connected() bool { return c.conn.GetState() == connectivity.Ready }

// reconnected returns a channel that is closed once there is a connection. The caller must call stop.
func (c *Client) reconnected(ctx context.Context) (ready <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	connected, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for state := c.conn.GetState(); state != connectivity.Ready; state = c.conn.GetState() {
			if state == connectivity.Idle {
				c.conn.Connect() // Some balancers wait for the next call.
			}
			if !c.conn.WaitForStateChange(ctx, state) {
				return
			}
		}
		close(connected)
	}()
	return connected, func() {
		cancel()
		<-ended
	}
}

// The methods of loggregator.v2.Ingress in use.
const (
	sendMethod        = "/loggregator.v2.Ingress/Send"
	batchSenderMethod = "/loggregator.v2.Ingress/BatchSender"
)

// invoke sends one message and waits for its acknowledgement.
func (c *Client) invoke(ctx context.Context, message *buffer) error {
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	if !c.peer.router.Load() {
		ended := c.peer.connectionsEnded()
		err := c.conn.Invoke(ctx, sendMethod, message, nothing{})
		if status.Code(err) != codes.Unimplemented {
			return err
		}
		c.peer.isRouter(ended)
	}
	return c.stream(ctx, message)
}
