// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v7"
	"google.golang.org/grpc/mem"
)

// Sender sends the batches of one signal over a [Client]. One goroutine at a time may call Send; any may call StopRetrying.
type Sender struct {
	client   *Client
	observe  func(Attempt)
	stopped  chan struct{}
	stopOnce sync.Once
}

// Attempt is what became of one attempt to send a batch.
type Attempt struct {
	Duration time.Duration // from its start to its answer, without the waiting for the rate limit
	Err      *Error        // nil: acknowledged
	RetryIn  time.Duration // when the next attempt of the same batch follows; 0: none does
}

// NewSender makes a sender that calls observe after each attempt, on the goroutine that sends.
func (c *Client) NewSender(observe func(Attempt)) *Sender {
	return &Sender{client: c, observe: observe, stopped: make(chan struct{})}
}

// NewBatch returns an empty buffer to append an EnvelopeBatch to, for Send.
func (s *Sender) NewBatch() *[]byte { return buffers.Get(0) }

// Send sends an encoded EnvelopeBatch of so many envelopes, and returns when it is acknowledged or given up. It takes the
// buffer over.
//
// It waits for the rate limit before each attempt, because an attempt that failed may have been taken all the same. It tries
// again, with growing pauses, as long as the error is one that passes, the configured time is not over, and StopRetrying
// was not called. ctx bounds all of it.
//
// The error is a *[Error], or that of ctx if there was no attempt at all.
func (s *Sender) Send(ctx context.Context, encoded *[]byte, envelopes int) error {
	batch := &buffer{mem.NewBuffer(encoded, &buffers)}
	defer batch.Free()

	retry := s.client.cfg.Retry
	pause := backoff.ExponentialBackOff{
		InitialInterval:     retry.InitialInterval,
		RandomizationFactor: retry.RandomizationFactor,
		Multiplier:          retry.Multiplier,
		MaxInterval:         retry.MaxInterval,
	}
	start := time.Now()
	var last *Error
	for {
		if err := s.client.limiter.WaitN(ctx, envelopes); err != nil {
			if last != nil {
				return last
			}
			if _, ok := ctx.Deadline(); ok && ctx.Err() == nil && envelopes <= s.client.limiter.Burst() {
				return context.DeadlineExceeded // The limiter says it at once, in words of its own.
			}
			return err
		}
		attempt := s.attempt(ctx, batch)
		last = attempt.Err
		if last != nil && !last.Permanent && retry.Enabled && ctx.Err() == nil && !s.stopping() {
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
		timer := time.NewTimer(attempt.RetryIn)
		select {
		case <-timer.C:
		case <-s.stopped: // The last attempt, at once.
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (s *Sender) attempt(ctx context.Context, batch *buffer) Attempt {
	start := time.Now()
	err := s.client.invoke(ctx, batch)
	a := Attempt{Duration: time.Since(start)}
	if err != nil {
		a.Err = classify(err)
	}
	return a
}

// StopRetrying makes what waits for another attempt have it now, as its last. From then on each batch has one.
func (s *Sender) StopRetrying() {
	s.stopOnce.Do(func() { close(s.stopped) })
}

func (s *Sender) stopping() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}
