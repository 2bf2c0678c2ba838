// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v7"
	"google.golang.org/grpc/mem"
)

// Sender sends the batches of one signal over a [Client]. One goroutine at a time may call Send.
type Sender struct {
	client  *Client
	observe func(Attempt)
	// notBefore is when the pause is over that the server has asked for, which holds for the next message as well.
	notBefore time.Time
}

// Attempt is what became of one attempt to send a message.
type Attempt struct {
	Duration time.Duration // from its start to its answer, without the waiting for the rate limit
	Err      *Error        // nil: acknowledged
	RetryIn  time.Duration // when the next attempt of the same message follows, at the latest; 0: none does
	Halved   bool          // the message was refused as too large, and follows in two halves
}

// Outcome is what became of some of a batch's envelopes, which went in one message.
type Outcome struct {
	Envelopes int
	Bytes     int
	// Err is nil if they were acknowledged. Else it is a *[Error], or that of the context if there was no attempt at all.
	Err error
}

// NewSender makes a sender that calls observe after each attempt, on the goroutine that sends.
func (c *Client) NewSender(observe func(Attempt)) *Sender {
	return &Sender{client: c, observe: observe}
}

// Send sends a batch, and returns when it is acknowledged or given up. settle is called with what became of its envelopes:
// from the first to the last, for all of them at once as a rule. The batch is empty after it, and can be filled again.
//
// It waits for the rate limit before each attempt, because an attempt that failed may have been taken all the same; but not
// while there is no connection, when an attempt fails at once. It tries again, with growing pauses, as long as the error is
// one that passes, the configured time is not over, and the client is not to finish. A pause that the server asks for holds
// for the next message too if this one is given up. What the server refuses as too large is sent again in halves, down to
// single envelopes. ctx bounds all of it.
func (s *Sender) Send(ctx context.Context, b *Batch, settle func(Outcome)) {
	if b.Len() == 0 {
		return
	}
	message := &buffer{mem.NewBuffer(b.take(), &buffers)}
	err := s.deliver(ctx, message, len(b.ends))
	var failure *Error
	if errors.As(err, &failure) && failure.TooLarge && len(b.ends) > 1 {
		half := len(b.ends) / 2
		first := part(message.ReadOnlyData(), b.ends, 0, half)
		second := part(message.ReadOnlyData(), b.ends, half, len(b.ends))
		message.Free()
		s.Send(ctx, first, settle)
		s.Send(ctx, second, settle)
	} else {
		settle(Outcome{Envelopes: len(b.ends), Bytes: message.Len(), Err: err})
		message.Free()
	}
	b.ends = b.ends[:0]
}

// deliver sends one message of so many envelopes, and returns when it is acknowledged or given up.
func (s *Sender) deliver(ctx context.Context, message *buffer, envelopes int) error {
	retry := s.client.cfg.Retry
	pause := backoff.ExponentialBackOff{
		InitialInterval:     retry.InitialInterval,
		RandomizationFactor: retry.RandomizationFactor,
		Multiplier:          retry.Multiplier,
		MaxInterval:         retry.MaxInterval,
	}
	if wait := time.Until(s.notBefore); wait > 0 {
		s.sleep(ctx, wait, nil)
	}
	start := time.Now()
	var last *Error
	for {
		if err := s.client.pace(ctx, envelopes); err != nil {
			if last != nil {
				return last
			}
			return err
		}
		ended := s.client.peer.connectionsEnded()
		attempt := s.attempt(ctx, message)
		last = attempt.Err
		if last != nil && last.delay > 0 {
			s.notBefore = time.Now().Add(last.delay)
		}
		attempt.Halved = last != nil && last.TooLarge && envelopes > 1
		if last != nil && !last.Permanent && retry.Enabled && ctx.Err() == nil && !s.finishing() {
			delay := max(pause.NextBackOff(), last.delay, 1) // 0 would say that none follows.
			deadline, bounded := ctx.Deadline()
			inTime := !bounded || delay < time.Until(deadline)
			if inTime && (retry.MaxElapsedTime == 0 || delay <= retry.MaxElapsedTime-time.Since(start)) {
				attempt.RetryIn = delay
			}
		}
		s.observe(attempt)
		if last == nil {
			return nil
		}
		if attempt.RetryIn == 0 {
			return last
		}
		s.pause(ctx, attempt, ended)
	}
}

// leastPause is how long a pause takes although the connection is back: there are servers that take a connection and break it
// with the first call.
const leastPause = time.Second

// pause waits for the next attempt of a message. If the attempt that failed has lost a connection, of which so many had ended
// before it, the pause is over after leastPause as soon as there is one, unless the server itself has asked for the pause.
func (s *Sender) pause(ctx context.Context, failed Attempt, ended int) {
	if failed.RetryIn <= leastPause || failed.Err.delay > 0 {
		s.sleep(ctx, failed.RetryIn, nil)
		return
	}
	lost := !s.client.connected()
	if !s.sleep(ctx, leastPause, nil) { // gRPC may tell of the loss after the attempt.
		return
	}
	var back <-chan struct{}
	if lost || !s.client.connected() || s.client.peer.connectionsEnded() != ended {
		var stop func()
		back, stop = s.client.back(ctx)
		defer stop()
	}
	s.sleep(ctx, failed.RetryIn-leastPause, back)
}

// sleep sleeps for d; false if something woke it.
func (s *Sender) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wake:
	case <-s.client.finishing: // The last attempt, at once.
	case <-ctx.Done():
	}
	return false
}

func (s *Sender) attempt(ctx context.Context, message *buffer) Attempt {
	start := time.Now()
	err := s.client.invoke(ctx, message)
	a := Attempt{Duration: time.Since(start)}
	if err != nil {
		a.Err = classify(err, &s.client.cfg.GRPC)
	}
	return a
}

func (s *Sender) finishing() bool {
	select {
	case <-s.client.finishing:
		return true
	default:
		return false
	}
}
