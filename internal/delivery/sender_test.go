// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"net"
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
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// never is a pause that no test waits for.
const never = time.Hour

func TestRetryUntilAcknowledged(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	server.Refuse(refusal(t, codes.Unavailable))
	sender := observe(client, resumeAfter(server, 2))
	require.NoError(t, send(t.Context(), sender, logEnvelope("once")))
	attempts := sender.attempts
	require.Len(t, attempts, 3)
	for _, a := range attempts[:2] {
		require.NotNil(t, a.Err)
		assert.EqualError(t, a.Err, "Unavailable: no")
		assert.Equal(t, time.Millisecond, a.RetryIn)
	}
	assert.Nil(t, attempts[2].Err)
	assert.Zero(t, attempts[2].RetryIn)
	assert.Equal(t, 3, server.Calls())
	requireLogs(t, server, "once")
}

func TestRetryableCodes(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	for code := codes.Canceled; code <= lastCode; code++ {
		t.Run(code.String(), func(t *testing.T) {
			sender := observe(client, resumeAfter(server, 1))
			server.Refuse(refusal(t, code))
			err := send(t.Context(), sender, logEnvelopes(2)...)
			attempts := sender.attempts
			require.NotEmpty(t, attempts)
			require.NotNil(t, attempts[0].Err)
			assert.Equal(t, code.String(), attempts[0].Err.Type())
			if !retryableCodes[code] {
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
	server := ingresstest.StartCapture(t)
	const ms = time.Millisecond
	tests := []struct {
		name    string
		refusal error
		change  func(*Config)
		want    []time.Duration
	}{
		{"growing up to the maximum", refusal(t, codes.Unavailable), func(c *Config) {
			c.Retry.InitialInterval, c.Retry.Multiplier, c.Retry.MaxInterval = ms, 2, 5*ms
		}, []time.Duration{1 * ms, 2 * ms, 4 * ms, 5 * ms, 5 * ms}},
		{"what the server asks for", refusal(t, codes.ResourceExhausted, retryIn(30*ms)), func(*Config) {}, []time.Duration{30 * ms, 30 * ms}},
		{"what the server asks for, with another code", refusal(t, codes.Unavailable, retryIn(30*ms)), func(*Config) {}, []time.Duration{30 * ms}},
		{"less than that is no reason to hurry", refusal(t, codes.ResourceExhausted, retryIn(ms)), func(c *Config) {
			c.Retry.InitialInterval, c.Retry.MaxInterval = 30*ms, 30*ms
		}, []time.Duration{30 * ms, 30 * ms}},
		{"less than nothing", refusal(t, codes.ResourceExhausted, retryIn(-never)), func(*Config) {}, []time.Duration{ms, ms}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configFor(server)
			tt.change(&cfg)
			server.Refuse(tt.refusal)
			sender := observe(connect(t, cfg), resumeAfter(server, len(tt.want)))
			start := time.Now()
			require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
			elapsed := time.Since(start)
			var got []time.Duration
			var pauses time.Duration
			for _, a := range sender.attempts {
				got = append(got, a.RetryIn)
				pauses += a.RetryIn
			}
			assert.Equal(t, append(tt.want, 0), got)
			assert.GreaterOrEqual(t, elapsed, pauses)
		})
	}
}

// A pause of 0 is a pause: retry_on_failure::initial_interval may be 0.
func TestRetryWithoutPause(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = 0, 0
	server.Refuse(refusal(t, codes.Unavailable))
	sender := observe(connect(t, cfg), resumeAfter(server, 2))
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	assert.Len(t, sender.attempts, 3)
}

func TestGivingUp(t *testing.T) {
	server := ingresstest.StartCapture(t)
	longer := &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 315_576_000_000}} // The most that it can say.
	tests := []struct {
		name    string
		refusal error
		change  func(*Config)
		code    codes.Code
	}{
		{"retry is disabled", refusal(t, codes.Unavailable), func(c *Config) { c.Retry.Enabled = false }, codes.Unavailable},
		{"retry is disabled, whatever the server asks for", refusal(t, codes.ResourceExhausted, retryIn(time.Millisecond)),
			func(c *Config) { c.Retry.Enabled = false }, codes.ResourceExhausted},
		{"the next pause would be too long", refusal(t, codes.Unavailable), func(c *Config) {
			c.Retry.InitialInterval, c.Retry.MaxElapsedTime = never, waitAtMost
		}, codes.Unavailable},
		{"the server asks for too long a pause", refusal(t, codes.ResourceExhausted, retryIn(never)),
			func(c *Config) { c.Retry.MaxElapsedTime = waitAtMost }, codes.ResourceExhausted},
		{"the server asks for an absurd pause", refusal(t, codes.ResourceExhausted, longer),
			func(c *Config) { c.Retry.MaxElapsedTime = waitAtMost }, codes.ResourceExhausted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configFor(server)
			tt.change(&cfg)
			server.Refuse(tt.refusal)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sender := observe(connect(t, cfg), func(a Attempt) {
				if a.RetryIn > 0 {
					cancel() // So that a test that fails does not wait for it.
				}
			})
			e := requireError(t, send(ctx, sender, logEnvelopes(1)...), tt.code.String())
			assert.True(t, e.Retryable)
			require.Len(t, sender.attempts, 1)
			assert.Zero(t, sender.attempts[0].RetryIn)
		})
	}
}

// A message is given up at once if its next attempt would come after the deadline of the context.
func TestPauseAndDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		pause    time.Duration
		attempts int
	}{"it ends after the deadline": {never, 1}, "it ends before": {time.Millisecond, 2}} {
		t.Run(name, func(t *testing.T) {
			server := ingresstest.StartCapture(t)
			cfg := configFor(server)
			cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = tt.pause, tt.pause
			server.Refuse(refusal(t, codes.Unavailable))
			ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
			defer cancel()
			sender := observe(connect(t, cfg), func(a Attempt) {
				if a.RetryIn == never {
					cancel() // So that a test that fails does not wait for it.
				}
				server.Refuse(refusal(t, codes.Internal))
			})
			require.Error(t, send(ctx, sender, logEnvelopes(1)...))
			assert.Len(t, sender.attempts, tt.attempts)
			assert.NoError(t, ctx.Err())
		})
	}
}

// bubble serves an ingress within the bubble of synctest. The caller has to call stop at the end of it.
func bubble(t *testing.T, ingress loggregator_v2.IngressServer, dialing time.Duration) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	l := bufconn.Listen(1 << 10)
	server := grpc.NewServer()
	loggregator_v2.RegisterIngressServer(server, ingress)
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:bubble", grpc.WithTransportCredentials(insecure.NewCredentials()),
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
	const s = time.Second // The time is synctest's: it takes none.
	for name, tt := range map[string]struct {
		dialing   time.Duration // how long it takes to connect
		connected bool          // whether there is a connection before the attempt fails
		connects  bool          // whether the client is about to connect when the attempt fails
		ended     int           // connections, before the attempt
		retryIn   time.Duration
		delay     time.Duration // that the server asks for
		want      time.Duration
	}{
		"no connection":                           {dialing: never, retryIn: 3 * s, want: 3 * s},
		"no connection, shorter than leastPause":  {dialing: never, retryIn: leastPause / 2, want: leastPause / 2},
		"no connection, as long as leastPause":    {dialing: never, retryIn: leastPause, want: leastPause},
		"no connection, longer than leastPause":   {dialing: never, retryIn: leastPause + 1, want: leastPause + 1},
		"the connection stays":                    {connected: true, retryIn: 5 * s, want: 5 * s},
		"another connection follows":              {dialing: 2 * s, retryIn: never, want: leastPause + 2*s},
		"another follows at once":                 {connected: true, ended: -1, retryIn: never, want: leastPause},
		"another follows within leastPause":       {dialing: leastPause / 2, connects: true, retryIn: never, want: leastPause},
		"another follows a delay that was set":    {connected: true, ended: -1, retryIn: 5 * s, delay: 5 * s, want: 5 * s},
		"another follows, sooner than leastPause": {connected: true, ended: -1, retryIn: leastPause / 2, want: leastPause / 2},
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

// A delay of the server holds for the next message too, when its message is given up.
func TestServerDelayNextMessage(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Retry.Enabled = false
	const delay = 300 * time.Millisecond
	client := connect(t, cfg)
	warm(t, client)
	sender := observe(client)
	server.Refuse(refusal(t, codes.ResourceExhausted, retryIn(delay)))
	requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "ResourceExhausted")
	refused := time.Now()
	server.Resume()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	assert.GreaterOrEqual(t, time.Since(refused), delay*9/10, "counted from the answer")
	start := time.Now()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	assert.Less(t, time.Since(start), delay, "once")
}

// Finish and the end of the context end a delay of the server.
func TestServerDelayFinish(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Retry.Enabled = false
	client := connect(t, cfg)
	sender := observe(client)
	server.Refuse(refusal(t, codes.ResourceExhausted, retryIn(maxServerDelay)))
	requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "ResourceExhausted")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, send(ctx, sender, logEnvelopes(1)...), context.DeadlineExceeded)
	result := sendAsync(t.Context(), sender, logEnvelopes(1)...)
	server.Resume()
	client.Finish(never)
	require.NoError(t, await(t, "the last attempt", result))
}

// Reconnecting ends a pause.
func TestReconnectEndsBackoff(t *testing.T) {
	for _, tt := range []struct {
		balancer string
		known    bool // whether gRPC knows of the loss before the attempt
	}{{"round_robin", false}, {"pick_first", false}, {"round_robin", true}, {"pick_first", true}} {
		t.Run(fmt.Sprintf("%s/known=%t", tt.balancer, tt.known), func(t *testing.T) {
			server := ingresstest.StartCapture(t)
			cfg := configFor(server)
			cfg.GRPC.BalancerName = tt.balancer
			cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = never, never
			client := connect(t, cfg)
			warm(t, client)
			server.Down()
			if tt.known {
				require.Eventually(t, func() bool { return !client.connected() }, waitAtMost, time.Millisecond)
			}
			attempts := make(chan Attempt, 100)
			result := sendAsync(t.Context(), observe(client, func(a Attempt) { attempts <- a }), logEnvelope("fresh"))
			assert.Equal(t, never, await(t, "the first attempt", attempts).RetryIn)
			start := time.Now()
			require.NoError(t, server.Up())
			require.NoError(t, await(t, "the acknowledgement", result))
			assert.Greater(t, time.Since(start), leastPause/2, "but not at once")
			logs := server.Envelopes()
			assert.Equal(t, "fresh", string(logs[len(logs)-1].GetLog().GetPayload()))
		})
	}
}

func TestMaxElapsedTime(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = 100*time.Millisecond, 100*time.Millisecond
	cfg.Retry.MaxElapsedTime = 450 * time.Millisecond
	client := connect(t, cfg)
	warm(t, client)
	server.Refuse(refusal(t, codes.Unavailable))
	sender := observe(client)
	requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unavailable")
	attempts := sender.attempts
	// At most four pauses fit in.
	require.GreaterOrEqual(t, len(attempts), 2)
	assert.LessOrEqual(t, len(attempts), 5)
	last := len(attempts) - 1
	for _, a := range attempts[:last] {
		assert.Equal(t, 100*time.Millisecond, a.RetryIn)
	}
	assert.Zero(t, attempts[last].RetryIn)
}

func TestFinishDuringBackoff(t *testing.T) {
	tests := []struct {
		name    string
		healthy bool // whether the server is well again at the last attempt
	}{
		{"last attempt succeeds", true},
		{"last attempt fails", false},
	}
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Retry.InitialInterval, cfg.Retry.MaxInterval = never, never
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := connect(t, cfg)
			server.Refuse(refusal(t, codes.Unavailable))
			attempts := make(chan Attempt, 10)
			sender := observe(client, func(a Attempt) { attempts <- a })
			others := make(chan Attempt, 10)
			other := sendAsync(t.Context(), observe(client, func(a Attempt) { others <- a }), logEnvelopes(1)...)
			assert.Equal(t, never, await(t, "the first attempt of another sender", others).RetryIn)
			result := sendAsync(t.Context(), sender, logEnvelopes(1)...)
			assert.Equal(t, never, await(t, "the first attempt", attempts).RetryIn)
			if tt.healthy {
				server.Resume()
			}

			var wg sync.WaitGroup
			for range 3 { // More than once, and at the same time.
				wg.Go(func() { client.Finish(never) })
			}
			wg.Wait()
			err := await(t, "the last attempt", result)
			last := await(t, "the last attempt", attempts)
			assert.Zero(t, last.RetryIn)
			if tt.healthy {
				require.NoError(t, err)
			} else {
				assert.Same(t, last.Err, requireError(t, err, "Unavailable"))
			}
			assert.Empty(t, attempts)
			assert.Equal(t, err == nil, await(t, "the last attempt of the other", other) == nil)
			assert.Zero(t, await(t, "the last attempt of the other", others).RetryIn)
			require.NoError(t, client.Context().Err())

			// From then on each message has one attempt.
			for range 3 {
				server.Refuse(refusal(t, codes.Unavailable))
				requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unavailable")
				assert.Zero(t, await(t, "the only attempt", attempts).RetryIn)
				assert.Empty(t, attempts)
			}
			server.Resume()
			require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
			assert.Nil(t, await(t, "the only attempt", attempts).Err)
		})
	}
}

func TestFinishDuringAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Stall()
	client := connect(t, configFor(server))
	result := sendAsync(client.Context(), observe(client), logEnvelope("in the middle"))
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	client.Finish(never)
	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result))
	requireLogs(t, server, "in the middle")
}

// All senders of a client share the time to finish. It begins with the first call, and GiveUp ends it.
func TestFinishEnds(t *testing.T) {
	for name, finish := range map[string]func(*Client){
		"in time":    func(c *Client) { c.Finish(10 * time.Millisecond); c.Finish(never) },
		"given up":   func(c *Client) { c.Finish(never); c.GiveUp() },
		"twice":      func(c *Client) { c.GiveUp(); c.GiveUp() },
		"after that": func(c *Client) { c.GiveUp(); c.Finish(never) },
	} {
		t.Run(name, func(t *testing.T) {
			server := ingresstest.StartCapture(t)
			server.Stall()
			client := connect(t, configFor(server))
			var results []<-chan error
			for range 3 {
				results = append(results, sendAsync(client.Context(), observe(client), logEnvelopes(1)...))
			}
			server.WaitFor(t, "the calls", func() bool { return server.Calls() == 3 })
			finish(client)
			for _, result := range results {
				requireError(t, await(t, "the end", result), "Canceled")
			}
		})
	}
}

// Only the first Finish counts.
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

func TestContextBeforeTheFirstAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	limited := configFor(server)
	limited.EnvelopesPerSecond, limited.Burst = 0.001, 1

	canceled := func(t *testing.T, _ *Client) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return ctx
	}
	tests := []struct {
		name string
		cfg  Config
		ctx  func(*testing.T, *Client) context.Context
		want error
	}{
		{"canceled before", configFor(server), canceled, context.Canceled},
		{"canceled before, with a rate limit", limited, canceled, context.Canceled},
		{"deadline is over", configFor(server), func(t *testing.T, _ *Client) context.Context {
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
			t.Cleanup(cancel)
			return ctx
		}, context.DeadlineExceeded},
		{"canceled while it waits for the rate limit", limited, func(t *testing.T, client *Client) context.Context {
			warmLimit(t, client)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				defer cancel()
				waitForLimit(t, client)
			}()
			return ctx
		}, context.Canceled},
		{"deadline is before the rate limit lets it go", limited, func(t *testing.T, client *Client) context.Context {
			warmLimit(t, client)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}, context.DeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := connect(t, tt.cfg)
			ctx := tt.ctx(t, client)
			calls := server.Calls()
			sender := observe(client, func(a Attempt) { t.Errorf("an attempt: %v", a) })
			err := send(ctx, sender, logEnvelopes(1)...)
			require.ErrorIs(t, err, tt.want)
			assert.NotErrorAs(t, err, new(*Error))
			assert.Equal(t, calls, server.Calls())
		})
	}
}

// warmLimit uses up what the rate limit has at the beginning.
func warmLimit(t *testing.T, client *Client) {
	t.Helper()
	require.NoError(t, send(t.Context(), observe(client), logEnvelopes(1)...))
}

// waitForLimit waits until a message waits for the rate limit, which has negative tokens then.
func waitForLimit(t *testing.T, client *Client) {
	assert.Eventually(t, func() bool { return client.limiter.Tokens() < -0.5 }, waitAtMost, time.Millisecond)
}

func TestContextDuringAnAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	pausing := configFor(server)
	// If the server notices the deadline first, no other attempt follows.
	pausing.Retry.InitialInterval = time.Hour
	pausing.Retry.MaxInterval = time.Hour
	pausing.Retry.MaxElapsedTime = 0
	client := connect(t, pausing)
	warm(t, client)
	tests := []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want string
	}{
		{"canceled", func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }, "Canceled"},
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 200*time.Millisecond)
		}, "DeadlineExceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.Stall()
			defer server.Resume()
			calls := server.Calls()
			ctx, cancel := tt.ctx()
			defer cancel()
			attempts := make(chan Attempt, 10)
			result := sendAsync(ctx, observe(client, func(a Attempt) { attempts <- a }), logEnvelopes(1)...)
			if tt.want == "Canceled" {
				server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
				cancel()
			}
			e := requireError(t, await(t, "the end of Send", result), tt.want)
			select {
			case a := <-attempts: // The server may have noticed the deadline first.
				assert.Equal(t, "deadline", tt.name, "an attempt that ctx cut off says nothing of the server")
				assert.Same(t, a.Err, e)
				assert.Zero(t, a.RetryIn)
			default:
			}
			assert.Empty(t, attempts)
		})
	}
}

// endedContext has an error when over is set, although its channel is not closed yet.
type endedContext struct {
	context.Context
	over *atomic.Bool
}

func (c endedContext) Err() error {
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}

// An acknowledgement is yielded although the context has ended meanwhile.
func TestContextDuringAcknowledgement(t *testing.T) {
	server := ingresstest.StartCapture(t)
	var over atomic.Bool
	server.RefuseIf(func([]*loggregator_v2.Envelope) error {
		over.Store(true)
		return nil
	})
	sender := observe(connect(t, configFor(server)))
	require.NoError(t, send(endedContext{t.Context(), &over}, sender, logEnvelopes(1)...))
	require.Len(t, sender.attempts, 1)
	assert.Nil(t, sender.attempts[0].Err)
}

func TestContextAfterAnAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	pausing := configFor(server)
	pausing.Retry.InitialInterval, pausing.Retry.MaxInterval = never, never
	limited := configFor(server)
	limited.EnvelopesPerSecond, limited.Burst = 0.001, 1

	tests := []struct {
		name string
		cfg  Config
		// until returns when it is time to cancel.
		until func(*testing.T, *Client)
	}{
		{"at the pause", pausing, func(*testing.T, *Client) {}},
		{"while it waits for the rate limit again", limited, waitForLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := connect(t, tt.cfg)
			server.Refuse(refusal(t, codes.Unavailable))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			attempts := make(chan Attempt, 10)
			result := sendAsync(ctx, observe(client, func(a Attempt) { attempts <- a }), logEnvelopes(1)...)
			a := await(t, "the attempt", attempts)
			assert.Positive(t, a.RetryIn)
			tt.until(t, client)
			cancel()
			assert.Same(t, a.Err, requireError(t, await(t, "the end of Send", result), "Unavailable"))
			assert.Empty(t, attempts)
		})
	}
}

func TestConnectionLossDuringAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	var failures []*Error
	sender := observe(connect(t, configFor(server)), func(a Attempt) {
		if a.Err != nil {
			failures = append(failures, a.Err)
			server.Resume()
		}
	})
	for i := range 5 {
		failures = nil
		server.Stall()
		calls := server.Calls()
		cut := make(chan error, 1)
		go func() {
			cut <- server.Wait(t.Context(), func() bool { return server.Calls() > calls })
			server.CutConnections()
		}()
		require.NoError(t, send(t.Context(), sender, logEnvelope(fmt.Sprint(i))))
		require.NoError(t, await(t, "the cut", cut))
		require.NotEmpty(t, failures)
		for _, e := range failures {
			assert.Equal(t, "Unavailable", e.Type())
			assert.True(t, e.Retryable)
		}
	}
	// A message on a broken connection may have arrived, so a log may arrive twice.
	arrived := map[string]bool{}
	for _, e := range server.Envelopes() {
		arrived[string(e.GetLog().GetPayload())] = true
	}
	assert.Equal(t, map[string]bool{"0": true, "1": true, "2": true, "3": true, "4": true}, arrived)
}
