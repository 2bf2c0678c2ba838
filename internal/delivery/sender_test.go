// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestRetryableCodes(t *testing.T) {
	server, client := start(t)
	for code := codes.Canceled; code <= lastCode; code++ {
		t.Run(code.String(), func(t *testing.T) {
			sender := observe(client, resumeAfter(server, 1))
			server.Refuse(refusal(t, code))
			err := send(t.Context(), sender, logEnvelopes(2)...)
			attempts := sender.attempts
			require.NotEmpty(t, attempts)
			require.NotNil(t, attempts[0].Err)
			assert.Equal(t, code.String(), attempts[0].Err.Type())
			if !meanings[code].retryable {
				assert.Same(t, attempts[0].Err, requireError(t, err, code.String()))
				assert.Len(t, attempts, 1)
				assert.Zero(t, attempts[0].RetryIn)
			} else {
				require.NoError(t, err)
				assert.Len(t, attempts, 2)
				assert.Positive(t, attempts[0].RetryIn)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		name    string
		refusal error
		change  func(*Config)
		want    []time.Duration
	}{
		{"growing to the maximum", refusal(t, codes.Unavailable), func(c *Config) {
			c.Retry.InitialInterval, c.Retry.Multiplier, c.Retry.MaxInterval = ms, 2, 5*ms
		}, []time.Duration{1 * ms, 2 * ms, 4 * ms, 5 * ms, 5 * ms}},
		{"retry_on_failure::initial_interval is 0", refusal(t, codes.Unavailable), pausing(0), []time.Duration{1, 1}},
		{"requested by the server", refusal(t, codes.ResourceExhausted, retryIn(30*ms)), pausing(ms), []time.Duration{30 * ms, 30 * ms}},
		{"requested by the server, with another code", refusal(t, codes.Unavailable, retryIn(30*ms)), pausing(ms), []time.Duration{30 * ms}},
		{"request shorter than the configured pause", refusal(t, codes.ResourceExhausted, retryIn(ms)), pausing(30 * ms), []time.Duration{30 * ms, 30 * ms}},
		{"negative request", refusal(t, codes.ResourceExhausted, retryIn(-never)), pausing(ms), []time.Duration{ms, ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t, tt.change)
			server.Refuse(tt.refusal)
			sender := observe(client, resumeAfter(server, len(tt.want)))
			begin := time.Now()
			require.NoError(t, send(t.Context(), sender, logEnvelope("once")))
			elapsed := time.Since(begin)
			var got []time.Duration
			var pauses time.Duration
			for _, a := range sender.attempts {
				got = append(got, a.RetryIn)
				pauses += a.RetryIn
				assert.Equal(t, a.RetryIn > 0, a.Err != nil)
			}
			assert.Equal(t, append(tt.want, 0), got)
			assert.GreaterOrEqual(t, elapsed, pauses)
			assert.Equal(t, len(got), server.Calls())
			assert.Equal(t, []string{"once"}, server.Payloads())
		})
	}
}

func TestGivingUp(t *testing.T) {
	longest := &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 315_576_000_000}} // The longest durationpb.Duration.
	elapsed := func(c *Config) { c.Retry.MaxElapsedTime = waitAtMost }
	tests := []struct {
		name    string
		refusal error
		changes []func(*Config)
	}{
		{"retry disabled", refusal(t, codes.Unavailable), []func(*Config){noRetry}},
		{"retry disabled, pause requested by the server", refusal(t, codes.ResourceExhausted, retryIn(time.Millisecond)), []func(*Config){noRetry}},
		{"next pause too long", refusal(t, codes.Unavailable), []func(*Config){pausing(never), elapsed}},
		{"pause requested by the server too long", refusal(t, codes.ResourceExhausted, retryIn(never)), []func(*Config){elapsed}},
		{"longest pause that a server can request", refusal(t, codes.ResourceExhausted, longest), []func(*Config){elapsed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t, tt.changes...)
			server.Refuse(tt.refusal)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sender := observe(client, func(a Attempt) {
				if a.RetryIn > 0 {
					cancel() // A failing test does not wait.
				}
			})
			e := requireError(t, send(ctx, sender, logEnvelopes(1)...), status.Code(tt.refusal).String())
			assert.True(t, e.Retryable)
			require.Len(t, sender.attempts, 1)
			assert.Zero(t, sender.attempts[0].RetryIn)
		})
	}
}

// A message is given up at once if its next attempt would be after the context's deadline.
func TestPauseAndDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		pause    time.Duration
		attempts int
	}{"ends after the deadline": {never, 1}, "ends before the deadline": {time.Millisecond, 2}} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t, pausing(tt.pause))
			server.Refuse(refusal(t, codes.Unavailable))
			ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
			defer cancel()
			sender := observe(client, func(a Attempt) {
				if a.RetryIn == never {
					cancel() // A failing test does not wait.
				}
				server.Refuse(refusal(t, codes.Internal))
			})
			require.Error(t, send(ctx, sender, logEnvelopes(1)...))
			assert.Len(t, sender.attempts, tt.attempts)
			assert.NoError(t, ctx.Err())
		})
	}
}

// bubble serves an ingress within a synctest bubble. The caller must call stop at the end of the bubble.
func bubble(t *testing.T, ingress loggregator_v2.IngressServer, dialing time.Duration) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	l := bufconn.Listen(1 << 10)
	server := grpc.NewServer()
	loggregator_v2.RegisterIngressServer(server, ingress)
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:bubble", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{})), // As NewClient sets it.
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(dialing):
				return l.DialContext(ctx)
			}
		}))
	require.NoError(t, err)
	return conn, func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-served)
	}
}

// A pause is as long as announced, unless the client has reconnected.
func TestPause(t *testing.T) {
	const s = time.Second // Fake time.
	for name, tt := range map[string]struct {
		dialing   time.Duration // time it takes to connect
		connected bool          // whether there is a connection before the attempt fails
		connects  bool          // whether the client is about to connect when the attempt fails
		ended     int           // connections ended before the attempt
		retryIn   time.Duration
		delay     time.Duration // requested by the server
		want      time.Duration
	}{
		"no connection":                          {dialing: never, retryIn: 3 * s, want: 3 * s},
		"no connection, shorter than leastPause": {dialing: never, retryIn: leastPause / 2, want: leastPause / 2},
		"no connection, equal to leastPause":     {dialing: never, retryIn: leastPause, want: leastPause},
		"no connection, longer than leastPause":  {dialing: never, retryIn: leastPause + 1, want: leastPause + 1},
		"connection not lost":                    {connected: true, retryIn: 5 * s, want: 5 * s},
		"reconnected":                            {dialing: 2 * s, retryIn: never, want: leastPause + 2*s},
		"reconnected at once":                    {connected: true, ended: -1, retryIn: never, want: leastPause},
		"reconnected within leastPause":          {dialing: leastPause / 2, connects: true, retryIn: never, want: leastPause},
		"reconnected, delay set by the server":   {connected: true, ended: -1, retryIn: 5 * s, delay: 5 * s, want: 5 * s},
		"reconnected, shorter than leastPause":   {connected: true, ended: -1, retryIn: leastPause / 2, want: leastPause / 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, stop := bubble(t, early{}, tt.dialing)
				sender := (&Client{conn: conn}).NewSender()
				if tt.connected || tt.connects {
					conn.Connect()
				}
				if tt.connected {
					synctest.Wait()
					time.Sleep(tt.dialing)
					synctest.Wait()
					require.True(t, sender.client.connected())
				}
				start := time.Now()
				sender.pause(t.Context(), Attempt{RetryIn: tt.retryIn, Err: &Error{delay: tt.delay}}, tt.ended)
				assert.Equal(t, tt.want, time.Since(start))
				stop()
			})
		})
	}
}

// A delay requested by the server applies to the next message too if its own message is given up.
func TestServerDelayNextMessage(t *testing.T) {
	const delay = 300 * time.Millisecond
	server, client := start(t, noRetry)
	warm(t, client)
	sender := observe(client)
	server.Refuse(refusal(t, codes.ResourceExhausted, retryIn(delay)))
	requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "ResourceExhausted")
	refused := time.Now()
	server.Resume()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	assert.GreaterOrEqual(t, time.Since(refused), delay*9/10, "measured from the response")
	begin := time.Now()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	assert.Less(t, time.Since(begin), delay, "the delay applies only once")
}

// Finish and the end of the context end a delay requested by the server.
func TestServerDelayFinish(t *testing.T) {
	server, client := start(t, noRetry)
	sender := observe(client)
	server.Refuse(refusal(t, codes.ResourceExhausted, retryIn(maxServerDelay)))
	requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "ResourceExhausted")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, send(ctx, sender, logEnvelopes(1)...), context.DeadlineExceeded)
	result := sendAsync(t.Context(), sender, logEnvelopes(1)...)
	server.Resume()
	client.Finish(never)
	require.NoError(t, ingresstest.Await(t, "the last attempt", result))
}

// Reconnecting ends a pause.
func TestReconnectEndsBackoff(t *testing.T) {
	for _, tt := range []struct {
		balancer string
		known    bool // whether gRPC notices the loss before the attempt
	}{{"round_robin", false}, {"pick_first", false}, {"round_robin", true}, {"pick_first", true}} {
		t.Run(fmt.Sprintf("%s/known=%t", tt.balancer, tt.known), func(t *testing.T) {
			server, client := start(t, pausing(never), func(c *Config) { c.GRPC.BalancerName = tt.balancer })
			warm(t, client)
			server.Down()
			if tt.known {
				require.Eventually(t, func() bool { return !client.connected() }, waitAtMost, time.Millisecond)
			}
			sender, attempts := watch(client)
			result := sendAsync(t.Context(), sender, logEnvelope("fresh"))
			assert.Equal(t, never, ingresstest.Await(t, "the first attempt", attempts).RetryIn)
			begin := time.Now()
			require.NoError(t, server.Up())
			require.NoError(t, ingresstest.Await(t, "the acknowledgement", result))
			assert.Greater(t, time.Since(begin), leastPause/2, "the retry is not immediate")
			assert.Equal(t, []string{"fresh"}, server.Payloads())
		})
	}
}

// Finish makes the pending attempt the last, and later messages get one attempt each.
func TestFinishDuringBackoff(t *testing.T) {
	for name, healthy := range map[string]bool{"last attempt succeeds": true, "last attempt fails": false} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t, pausing(never))
			server.Refuse(refusal(t, codes.Unavailable))
			sender, attempts := watch(client)
			another, others := watch(client)
			other := sendAsync(t.Context(), another, logEnvelopes(1)...)
			assert.Equal(t, never, ingresstest.Await(t, "the first attempt of another sender", others).RetryIn)
			result := sendAsync(t.Context(), sender, logEnvelopes(1)...)
			assert.Equal(t, never, ingresstest.Await(t, "the first attempt", attempts).RetryIn)
			if healthy {
				server.Resume()
			}

			var wg sync.WaitGroup
			for range 3 { // Concurrently.
				wg.Go(func() { client.Finish(never) })
			}
			wg.Wait()
			err := ingresstest.Await(t, "the last attempt", result)
			last := ingresstest.Await(t, "the last attempt", attempts)
			assert.Zero(t, last.RetryIn)
			if healthy {
				require.NoError(t, err)
			} else {
				assert.Same(t, last.Err, requireError(t, err, "Unavailable"))
			}
			assert.Empty(t, attempts)
			assert.Equal(t, healthy, ingresstest.Await(t, "the last attempt of the other", other) == nil)
			assert.Zero(t, ingresstest.Await(t, "the last attempt of the other", others).RetryIn)
			require.NoError(t, client.Context().Err())

			for range 3 {
				server.Refuse(refusal(t, codes.Unavailable))
				requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unavailable")
				assert.Zero(t, ingresstest.Await(t, "the only attempt", attempts).RetryIn)
				assert.Empty(t, attempts)
			}
			server.Resume()
			require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
			assert.Nil(t, ingresstest.Await(t, "the only attempt", attempts).Err)
		})
	}
}

func TestFinishDuringAttempt(t *testing.T) {
	server, client := start(t)
	server.Stall()
	result := sendAsync(client.Context(), observe(client), logEnvelope("in the middle"))
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	client.Finish(never)
	server.Resume()
	require.NoError(t, ingresstest.Await(t, "the acknowledgement", result))
	assert.Equal(t, []string{"in the middle"}, server.Payloads())
}

// All senders of a client share the time to finish. It starts with the first call, and GiveUp ends it.
func TestFinishEnds(t *testing.T) {
	for name, finish := range map[string]func(*Client){
		"Finish":              func(c *Client) { c.Finish(10 * time.Millisecond); c.Finish(never) },
		"GiveUp":              func(c *Client) { c.Finish(never); c.GiveUp() },
		"GiveUp twice":        func(c *Client) { c.GiveUp(); c.GiveUp() },
		"Finish after GiveUp": func(c *Client) { c.GiveUp(); c.Finish(never) },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := start(t)
			server.Stall()
			var results []<-chan error
			for range 3 {
				results = append(results, sendAsync(client.Context(), observe(client), logEnvelopes(1)...))
			}
			server.WaitFor(t, "the calls", func() bool { return server.Calls() == 3 })
			finish(client)
			for _, result := range results {
				requireError(t, ingresstest.Await(t, "the end", result), "Canceled")
			}
		})
	}
}

// Only the first call of Finish has an effect.
func TestFinishOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Client{finishing: make(chan struct{})}
		c.life, c.giveUp = context.WithCancel(t.Context())
		c.Finish(time.Hour)
		c.Finish(time.Minute)
		time.Sleep(time.Hour - time.Nanosecond)
		synctest.Wait()
		require.NoError(t, c.Context().Err())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Error(t, c.Context().Err())
	})
}

func TestContextBeforeFirstAttempt(t *testing.T) {
	unlimited, slow := limited(0, 0), limited(0.001, 1)
	canceled := func(ctx context.Context, _ *Client) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	tests := []struct {
		name  string
		limit func(*Config)
		ctx   func(context.Context, *Client) (context.Context, context.CancelFunc)
		want  error
	}{
		{"canceled", unlimited, canceled, context.Canceled},
		{"canceled, with a rate limit", slow, canceled, context.Canceled},
		{"past deadline", unlimited, func(ctx context.Context, _ *Client) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Second))
		}, context.DeadlineExceeded},
		{"canceled while waiting for the rate limit", slow, func(ctx context.Context, client *Client) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				defer cancel()
				waitForLimit(t, client)
			}()
			return ctx, cancel
		}, context.Canceled},
		{"deadline too early for the rate limit", slow, func(ctx context.Context, _ *Client) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t, tt.limit)
			// Use up the initial burst.
			require.NoError(t, send(t.Context(), observe(client), logEnvelopes(1)...))
			ctx, cancel := tt.ctx(t.Context(), client)
			defer cancel()
			sender := observe(client, func(a Attempt) { t.Errorf("unexpected attempt: %v", a) })
			err := send(ctx, sender, logEnvelopes(1)...)
			require.ErrorIs(t, err, tt.want)
			assert.NotErrorAs(t, err, new(*Error))
			assert.Equal(t, 1, server.Calls())
		})
	}
}

// waitForLimit returns when a message is waiting for the rate limit, whose token count is negative then.
func waitForLimit(t *testing.T, client *Client) {
	assert.Eventually(t, func() bool { return client.limiter.Tokens() < -0.5 }, waitAtMost, time.Millisecond)
}

func TestContextDuringAttempt(t *testing.T) {
	server, client := start(t, pausing(never)) // No other attempt follows if the server notices the deadline first.
	warm(t, client)
	for want, bounded := range map[codes.Code]func(context.Context) (context.Context, context.CancelFunc){
		codes.Canceled: context.WithCancel,
		codes.DeadlineExceeded: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		},
	} {
		t.Run(want.String(), func(t *testing.T) {
			server.Stall()
			defer server.Resume()
			calls := server.Calls()
			ctx, cancel := bounded(t.Context())
			defer cancel()
			sender, attempts := watch(client)
			result := sendAsync(ctx, sender, logEnvelopes(1)...)
			if want == codes.Canceled {
				server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
				cancel()
			}
			e := requireError(t, ingresstest.Await(t, "the end of Send", result), want.String())
			select {
			case a := <-attempts: // The server may have noticed the deadline first.
				assert.Equal(t, codes.DeadlineExceeded, want, "a canceled attempt is not yielded")
				assert.Same(t, a.Err, e)
				assert.Zero(t, a.RetryIn)
			default:
			}
			assert.Empty(t, attempts)
		})
	}
}

// endedContext has an error once ended is set, although its channel is not closed.
type endedContext struct {
	context.Context
	ended *atomic.Bool
}

func (c endedContext) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// An acknowledgement is yielded even if the context has ended in the meantime.
func TestContextDuringAcknowledgement(t *testing.T) {
	server, client := start(t)
	var ended atomic.Bool
	server.RefuseIf(func([]*loggregator_v2.Envelope) error {
		ended.Store(true)
		return nil
	})
	sender := observe(client)
	require.NoError(t, send(endedContext{t.Context(), &ended}, sender, logEnvelopes(1)...))
	require.Len(t, sender.attempts, 1)
	assert.Nil(t, sender.attempts[0].Err)
}

func TestContextAfterAttempt(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		// until returns when it is time to cancel.
		until func(*testing.T, *Client)
	}{
		{"during the pause", pausing(never), func(*testing.T, *Client) {}},
		{"while waiting for the rate limit", limited(0.001, 1), waitForLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server, client := start(t, tt.change)
			server.Refuse(refusal(t, codes.Unavailable))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sender, attempts := watch(client)
			result := sendAsync(ctx, sender, logEnvelopes(1)...)
			a := ingresstest.Await(t, "the attempt", attempts)
			assert.Positive(t, a.RetryIn)
			tt.until(t, client)
			cancel()
			assert.Same(t, a.Err, requireError(t, ingresstest.Await(t, "the end of Send", result), "Unavailable"))
			assert.Empty(t, attempts)
		})
	}
}

// cutNextCall stalls the server and cuts its connections once it gets a call. The channel receives the result.
func cutNextCall(t *testing.T, server *ingresstest.Capture) <-chan error {
	server.Stall()
	calls := server.Calls()
	cut := make(chan error, 1)
	go func() {
		err := server.Wait(t.Context(), func() bool { return server.Calls() > calls })
		server.CutConnections()
		cut <- err
	}()
	return cut
}

func TestConnectionLossDuringAttempt(t *testing.T) {
	server, client := start(t)
	want := []string{"0", "1", "2", "3", "4"}
	for _, payload := range want {
		cut := cutNextCall(t, server)
		sender := observe(client, func(Attempt) { server.Resume() })
		require.NoError(t, send(t.Context(), sender, logEnvelope(payload)))
		require.NoError(t, ingresstest.Await(t, "the cut", cut))
		require.Greater(t, len(sender.attempts), 1)
		for _, a := range sender.attempts[:len(sender.attempts)-1] {
			assert.Equal(t, "Unavailable", a.Err.Type())
			assert.True(t, a.Err.Retryable)
		}
	}
	// A message sent over a broken connection may have arrived, so a log may arrive twice.
	assert.Equal(t, want, slices.Compact(slices.Sorted(slices.Values(server.Payloads()))))
}
