// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"iter"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/loggregatorexporter/loggregatorexporter/internal/retry"
)

// A Sender sends the messages of one signal over a [Client]. It must not be used concurrently.
type Sender struct {
	client *Client
	// notBefore is the end of a pause requested by the server. It applies to the next message too.
	notBefore time.Time
}

// An Attempt is the result of one attempt to send a message.
type Attempt struct {
	Duration time.Duration // from start to response, without the wait for the rate limit
	Err      *Error        // nil: acknowledged
	RetryIn  time.Duration // the longest time until the next attempt to send this message; 0: none follows
	Halved   bool          // refused as too large: two halves follow
}

// NewSender returns a new sender.
func (c *Client) NewSender() *Sender { return &Sender{client: c} }

// Deliver sends a message and yields each attempt. When the iteration ends, the message has been acknowledged or given up and is empty,
// and [Message.Outcomes] returns the results. An empty message needs no attempt.
//
// Each attempt waits for the rate limit, even a retry, because the server may have taken the message although an attempt failed. Without
// a connection it does not wait, because the attempt fails at once. Deliver retries, with growing pauses, while the error is
// retryable, the configured time has not elapsed, and the client is not finishing. A pause requested by the server applies to the next
// message too. A message refused as too large is sent again in halves, down to single envelopes.
//
// ctx bounds the whole delivery. An attempt that it cuts off is not yielded, because it reveals nothing about the server. After a break
// out of the loop, nothing is retried.
func (s *Sender) Deliver(ctx context.Context, m *Message) iter.Seq[Attempt] {
	return func(yield func(Attempt) bool) {
		if m.Len() == 0 {
			m.begin()
			return
		}
		broken := false
		s.deliver(ctx, m, &buffer{mem.NewBuffer(m.begin(), &buffers)}, m.parts, func(a Attempt) (retry bool) {
			if cutOff := a.Err != nil && ctx.Err() != nil; !cutOff && !broken {
				broken = !yield(a)
			}
			return !broken
		})
		m.end()
	}
}

// deliver sends the encoded envelopes described by parts, as one message or in halves, and frees them.
func (s *Sender) deliver(ctx context.Context, m *Message, encoded *buffer, parts []part, attempted func(Attempt) (retry bool)) {
	err := s.send(ctx, encoded, len(parts), attempted)
	size := encoded.Len()
	var failure *Error
	if errors.As(err, &failure) && failure.Scope == ScopeSize && len(parts) > 1 {
		half := len(parts) / 2
		at := parts[half-1].end - (parts[len(parts)-1].end - size)
		first, second := copyOf(encoded.ReadOnlyData()[:at]), copyOf(encoded.ReadOnlyData()[at:])
		encoded.Free()
		s.deliver(ctx, m, first, parts[:half], attempted)
		s.deliver(ctx, m, second, parts[half:], attempted)
		return
	}
	encoded.Free()
	m.settle(len(parts), size, err)
}

// send sends one message. It returns nil if the message was acknowledged, the last attempt's error if it was given up, and ctx's error
// if there was no attempt.
func (s *Sender) send(ctx context.Context, message *buffer, envelopes int, attempted func(Attempt) (retry bool)) error {
	if wait := time.Until(s.notBefore); wait > 0 {
		s.sleep(ctx, wait, nil)
	}
	pauses := retry.New(s.client.cfg.Retry)
	var last *Error
	for {
		if err := s.client.waitForRate(ctx, envelopes); err != nil {
			if last != nil {
				return last
			}
			return err
		}
		ended := s.client.peer.connectionsEnded()
		attempt := s.attempt(ctx, message)
		last = attempt.Err
		if last == nil {
			attempted(attempt)
			return nil
		}
		if last.delay > 0 {
			s.notBefore = time.Now().Add(last.delay)
		}
		attempt.Halved = last.Scope == ScopeSize && envelopes > 1
		if last.Retryable && ctx.Err() == nil && !s.finishing() {
			pause, ok := pauses.Next(last.delay)
			if deadline, bounded := ctx.Deadline(); ok && (!bounded || pause < time.Until(deadline)) {
				attempt.RetryIn = pause
			}
		}
		if again := attempted(attempt); !again || attempt.RetryIn == 0 {
			return last
		}
		s.pause(ctx, attempt, ended)
	}
}

// leastPause is the minimum pause after a lost connection, even if the client has reconnected: some servers accept a connection and
// break it on the first call.
const leastPause = time.Second

// pause waits before the next attempt. Once reconnected it waits only leastPause, unless the server set the delay. ended is the number
// of connections that had ended before the attempt.
func (s *Sender) pause(ctx context.Context, failed Attempt, ended int) {
	if failed.RetryIn <= leastPause || failed.Err.delay > 0 {
		s.sleep(ctx, failed.RetryIn, nil)
		return
	}
	lost := !s.client.connected()
	if !s.sleep(ctx, leastPause, nil) { // gRPC may report the loss after the attempt.
		return
	}
	var reconnected <-chan struct{}
	if lost || !s.client.connected() || s.client.peer.connectionsEnded() != ended {
		var stop func()
		reconnected, stop = s.client.reconnected(ctx)
		defer stop()
	}
	s.sleep(ctx, failed.RetryIn-leastPause, reconnected)
}

// sleep sleeps for d. It returns false if wake, Finish or ctx interrupted it.
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
