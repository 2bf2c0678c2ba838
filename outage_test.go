// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configauth"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/telemetry"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

const (
	recoverable = componentstatus.StatusRecoverableError
	ok          = componentstatus.StatusOK
)

// waitForStatuses waits for exactly these statuses.
func (f *fixture) waitForStatuses(want ...componentstatus.Status) {
	f.t.Helper()
	f.eventually(func() bool { return len(f.host.Statuses()) >= len(want) })
	require.Equal(f.t, want, f.host.Statuses())
}

// tokens is an auth extension.
type tokens struct {
	component.StartFunc
	component.ShutdownFunc
	missing atomic.Bool
}

func (a *tokens) PerRPCCredentials() (credentials.PerRPCCredentials, error) { return a, nil }

func (a *tokens) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if a.missing.Load() {
		return nil, errors.New("connection refused")
	}
	return map[string]string{"authorization": "Bearer"}, nil
}

func (*tokens) RequireTransportSecurity() bool { return true }

// refuse returns a function that makes the ingress refuse all messages.
func refuse(code codes.Code, message string) func(*fixture) {
	return func(f *fixture) { f.ingress.Refuse(status.Error(code, message)) }
}

// attempts returns the number of attempts.
func (f *fixture) attempts() int { return f.sum("exporter_loggregator_send_duration") }

// While no message is accepted, the status is a recoverable error, with one clear line in the log. A success sets it to OK without a restart.
func TestOutage(t *testing.T) {
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))
	other := &ingresstest.Capture{Certs: stranger}
	id, auth := component.MustNewID("oauth2client"), &tokens{}
	resume := func(f *fixture) { f.ingress.Resume() }
	for name, tt := range map[string]struct {
		begin, end func(*fixture) // nil end: the outage lasts until Shutdown
		loses      bool           // messages are given up
		want       string
	}{
		"unavailable":       {refuse(codes.Unavailable, "out to lunch"), resume, false, "Unavailable: out to lunch"},
		"permission denied": {refuse(codes.PermissionDenied, "who are you?"), resume, true, "check tls::cert_file and auth"},
		"no credentials from the auth extension": {func(f *fixture) {
			f.cfg.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
			f.host.Extensions = map[component.ID]component.Component{id: auth}
			auth.missing.Store(true)
		}, func(*fixture) { auth.missing.Store(false) }, false, "the extension in auth has no credentials"},
		"wrong CA": {func(f *fixture) { f.cfg.TLS.CAFile = other.File(ingressserver.CAFile) },
			nil, false, "the server's certificate is not signed by the CA in tls::ca_file"},
		"wrong server name": {func(f *fixture) { f.cfg.TLS.ServerName = "doppler" },
			nil, false, "another name; check tls::server_name_override"},
		"expired server certificate": {func(f *fixture) { f.ingress.Expire(f.t) },
			nil, false, "the server's certificate has expired or is not yet valid"},
		"no client certificate":      {func(f *fixture) { f.cfg.TLS.CertFile, f.cfg.TLS.KeyFile = "", "" }, nil, false, "tls::cert_file"},
		"expired client certificate": {func(f *fixture) { f.writeClientCert(time.Now().Add(-time.Minute)) }, nil, false, "tls::cert_file"},
		"client certificate of another CA": {func(f *fixture) {
			f.cfg.TLS.CertFile = other.File(ingressserver.ClientCertFile)
			f.cfg.TLS.KeyFile = other.File(ingressserver.ClientKeyFile)
		}, nil, false, "tls::cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.cfg.RetryConfig.MaxElapsedTime = 0 // Never gives up.
			tt.begin(f)
			start := time.Now()
			e := f.start("logs")
			for i := range 50 {
				e.push(i, 1, 0)
			}
			f.waitForStatuses(recoverable)
			assert.GreaterOrEqual(t, time.Since(start), outageGrace, "a short failure is not an outage")
			assert.ErrorContains(t, f.host.Events()[0].Err(), tt.want)
			line, during, after := "New data waits in the diode.", counts{waiting: 50}, counts{sent: 51}
			if tt.loses {
				line, during, after = "Gave up a message: its items are lost.", counts{failed: 50}, counts{failed: 50, sent: 1}
			}
			f.eventually(func() bool { return f.counts("logs") == during })
			if tt.end == nil {
				before := f.attempts()
				f.eventually(func() bool { return f.attempts() > before+10 })
				f.waitForStatuses(recoverable)
				assert.Zero(t, f.ingress.Calls())
				after = counts{failed: 50}
			} else {
				tt.end(f)
				e.push(50, 1, 0)
				f.waitForStatuses(recoverable, ok)
				assert.Len(t, f.lines("Loggregator is reachable again"), 1)
			}
			lines := f.lines("Loggregator is not accepting envelopes")
			atMost := 1 + int(time.Since(start)/lossInterval) // On a busy machine, a second reason may be logged.
			require.NotEmpty(t, lines)
			require.LessOrEqual(t, len(lines), atMost, "neither one per batch nor one per attempt")
			assert.Equal(t, "Loggregator is not accepting envelopes. "+line, lines[0].Message)
			assert.Contains(t, lines[0].ContextMap()["error"], tt.want)
			e.stop()
			f.check("logs", after)
			assert.Len(t, f.numbers("logs"), after.sent)
			if tt.loses {
				assert.Equal(t, 50, f.sum("exporter_send_failed_log_records", "error.type=PermissionDenied", "error.permanent=true"))
			}
		})
	}
}

// Refused data is counted and logged, but not retried. It does not change the status, even if all data is refused.
func TestRefusedData(t *testing.T) {
	for _, code := range []codes.Code{
		codes.Internal, codes.Unknown, codes.NotFound, codes.FailedPrecondition, codes.ResourceExhausted, codes.InvalidArgument,
	} {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.ingress.Refuse(status.Error(code, "not now"))
			e := f.start("logs")
			start, pushed := time.Now(), 0
			require.Eventually(t, func() bool {
				e.push(pushed, 1, 0)
				pushed++
				return time.Since(start) > 2*outageGrace
			}, waitAtMost, 10*time.Millisecond)
			e.settle()
			f.ingress.Resume()
			e.push(pushed, 1, 0)
			e.stop()
			f.check("logs", counts{failed: pushed, sent: 1})
			assert.Equal(t, pushed, f.sum("exporter_send_failed_log_records", "error.type="+code.String(), "error.permanent=true"))
			assert.LessOrEqual(t, f.ingress.Calls(), pushed+1)
			assert.Empty(t, f.host.Statuses())
			assert.Empty(t, f.lines("is not accepting envelopes"))
			lines := f.lines("Gave up sending")
			require.Len(t, lines, 2, "the first refusal, and the others at shutdown")
			assert.Contains(t, lines[0].ContextMap()["error"], code.String()+": not now")
		})
	}
}

// writeClientCert replaces the certificate of the exporter with one that expires at the given time.
func (f *fixture) writeClientCert(expires time.Time) {
	f.t.Helper()
	pair, err := f.ingress.Authority.IssueUntil("otelcol", expires)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.KeyFile, pair.KeyPEM, 0o600))
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.CertFile, pair.CertPEM, 0o600))
}

// With tls.reload_interval, writing a new file replaces an expired certificate.
func TestCertificateReload(t *testing.T) {
	f := newFixture(t)
	f.cfg.TLS.ReloadInterval = time.Millisecond
	f.cfg.RetryConfig.MaxElapsedTime = 0
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second) // Certificates have a resolution of 1 s.
	f.writeClientCert(expires)
	e := f.start("logs")
	e.push(1, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1)

	f.eventually(func() bool { return time.Now().After(expires) })
	e.push(2, 1, 0)
	f.eventually(func() bool { return f.counts("logs").sent == 2 }) // An open connection outlives its certificate.
	f.ingress.CutConnections()
	e.push(3, 1, 0)
	f.waitForStatuses(recoverable)
	assert.Len(t, f.lines("Loggregator is not accepting envelopes"), 1)

	f.writeClientCert(time.Now().Add(time.Hour))
	f.waitForStatuses(recoverable, ok)
	e.stop()
	assert.Equal(t, map[int]int{1: 1, 2: 1, 3: 1}, f.numbers("logs"))
	f.check("logs", counts{sent: 3})
}

// A retry sends the encoded message again. Meanwhile the diode accepts and drops batches.
func TestRetryTranslatesOnce(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 3
	f.ingress.Refuse(status.Error(codes.Unavailable, "not yet"))
	e := f.create("logs")
	exporter := e.Component.(logsExporter).signalExporter
	var translated atomic.Int32
	original := exporter.translate
	exporter.translate = func(data plog.Logs) iter.Seq[translate.Envelope] {
		translated.Add(1)
		return original(data)
	}
	require.NoError(t, e.Start(t.Context(), f.host))
	e.push(0, 1, 0)
	f.ingress.WaitFor(t, "retries", func() bool { return f.ingress.Calls() >= 3 })
	for i := range 10 {
		e.push(100+i, 1, 0)
	}
	f.check("logs", counts{dropped: 7, waiting: 4})
	calls := f.ingress.Calls()
	f.ingress.WaitFor(t, "more retries", func() bool { return f.ingress.Calls() >= calls+3 })
	assert.EqualValues(t, 1, translated.Load())
	f.ingress.Resume()
	e.settle()
	e.stop()
	assert.EqualValues(t, 4, translated.Load())
	assert.Equal(t, map[int]int{0: 1, 107: 1, 108: 1, 109: 1}, f.numbers("logs"))
	f.check("logs", counts{dropped: 7, sent: 4})
}

// Neither a router nor a message too large for the server is an outage.
func TestRouterAndTooLargeMessages(t *testing.T) {
	for name, tt := range map[string]struct {
		begin func(*fixture)
		want  counts
		lost  int // the number of the item that fails
		line  string
	}{
		"router": {
			func(f *fixture) { f.ingress.Router() }, counts{sent: 100}, -1, "it is not an agent",
		},
		"halved messages, and an item too large": {func(f *fixture) {
			f.refuseIf(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)", func(batch []*loggregator_v2.Envelope) bool {
				return len(batch) > 4 || slices.ContainsFunc(batch, func(e *loggregator_v2.Envelope) bool { return e.GetTags()["number"] == "33" })
			})
		}, counts{sent: 99, failed: 1}, 33, "Loggregator refused messages as too large. They were split in half and sent again."},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tt.begin(f)
			for signal := range itemNames {
				e := f.start(signal)
				e.push(0, 100, 0)
				e.settle()
				f.check(signal, tt.want)
				e.stop()
				arrived := f.numbers(signal)
				assert.Len(t, arrived, tt.want.sent)
				assert.NotContains(t, arrived, tt.lost)
			}
			assert.GreaterOrEqual(t, len(f.lines(tt.line)), len(itemNames), "each signal logs it")
			assert.Empty(t, f.host.Statuses())
			assert.Empty(t, f.lines("is not accepting envelopes"))
		})
	}
}

// fault is a fault of Loggregator. Resume and Up end it.
type fault struct {
	begin func(*fixture)
	loses bool // items fail, in addition to those that the diode drops
}

// faultItemSize is the size of an item in bytes, large enough for faults in the middle of a message.
const faultItemSize = 2000

var faults = map[string]fault{
	"stall":                   {begin: func(f *fixture) { f.ingress.Stall() }},
	"slow":                    {begin: func(f *fixture) { f.ingress.Slow(30 * time.Millisecond) }},
	"temporary refusal":       {begin: refuse(codes.Unavailable, "for now")},
	"permanent refusal":       {begin: refuse(codes.InvalidArgument, "for good"), loses: true},
	"permission denied":       {begin: refuse(codes.PermissionDenied, "who?"), loses: true},
	"every message too large": {begin: refuse(codes.ResourceExhausted, "larger than max"), loses: true},
	"large messages refused": {begin: func(f *fixture) {
		f.refuseIf(codes.ResourceExhausted, "larger than max", func(batch []*loggregator_v2.Envelope) bool { return len(batch) > 3 })
	}},
	"lost connection":                 {begin: func(f *fixture) { f.ingress.CutConnections() }},
	"connection lost during messages": {begin: func(f *fixture) { f.ingress.CutAfter(10_000) }},
	"half-open connection":            {begin: func(f *fixture) { f.ingress.HalfOpen() }},
	"restart on the same port":        {begin: func(f *fixture) { f.ingress.Down() }},
	"expired certificate": {begin: func(f *fixture) {
		f.ingress.Expire(f.t)
		f.ingress.CutConnections()
	}},
	"responses out of order": {begin: func(f *fixture) { f.ingress.Reorder() }},
	"router":                 {begin: func(f *fixture) { f.ingress.Router() }},
	"stalled router": {begin: func(f *fixture) {
		f.ingress.Router()
		f.ingress.Stall()
	}},
	"router's ring": {begin: func(f *fixture) { f.ingress.Ring(1000, 100*time.Millisecond) }},
}

// Under every fault, no push blocks, every item counts once, sent items have arrived, and dropped items have not.
func TestFaultAccounting(t *testing.T) {
	const perBatch, before, during, after = 10, 5, 300, 5
	for name, fault := range faults {
		for signal := range itemNames {
			for _, policy := range []DropPolicy{DropOldest, DropNewest} {
				t.Run(name+"/"+signal+"/"+string(policy), func(t *testing.T) {
					t.Parallel()
					f := newFixture(t)
					f.cfg.Diode = DiodeConfig{Capacity: 10, DropPolicy: policy}
					f.cfg.Batch.MaxEnvelopes = 20
					f.cfg.TimeoutConfig.Timeout = 250 * time.Millisecond
					f.cfg.RetryConfig.MaxElapsedTime = 0 // Never gives up.
					f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}
					e := f.start(signal)
					next := 0
					push := func(batches int) {
						for range batches {
							e.push(next, perBatch, faultItemSize)
							next += perBatch
						}
					}

					push(before)
					e.settle()
					fault.begin(f)
					push(during)
					if fault.loses {
						f.eventually(func() bool { return f.counts(signal).failed > 0 })
					}
					assert.Positive(t, f.counts(signal).dropped, "drops of a full diode are counted at once")
					f.ingress.Resume()
					require.NoError(t, f.ingress.Up())
					fresh := next
					push(after)
					e.settle()
					e.stop()

					c := f.checkIdentity(signal, next)
					assert.Zero(t, c.waiting)
					assert.Zero(t, c.rejected)
					assert.Equal(t, fault.loses, c.failed > 0)
					arrived := f.numbers(signal)
					assert.GreaterOrEqual(t, len(arrived), c.sent, "sent items have arrived")
					assert.LessOrEqual(t, len(arrived), c.sent+c.failed, "dropped items have not arrived")
					if policy == DropOldest {
						for n := fresh; n < next; n++ {
							assert.NotZerof(t, arrived[n], "item %d was pushed after the fault", n)
						}
					}
				})
			}
		}
	}
}

// With round_robin, messages are spread over the addresses of one name, without the server that is down.
func TestRoundRobin(t *testing.T) {
	for name, router := range map[string]bool{"agents": false, "routers": true} {
		t.Run(name, func(t *testing.T) {
			const perMessage = 10
			f := newFixture(t)
			_, port, err := net.SplitHostPort(f.ingress.Addr())
			require.NoError(t, err)
			servers := []*ingresstest.Capture{f.ingress}
			for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
				l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
				if err != nil {
					t.Skipf("loopback has only one address: %v", err)
				}
				_ = l.Close()
				servers = append(servers, ingresstest.StartCaptureAt(t, net.JoinHostPort(host, port)))
			}
			if router {
				for _, s := range servers {
					s.Router()
				}
			}
			dns := ingresstest.StartDNS(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 3})
			f.cfg.Endpoint = "dns://" + dns + "/agents.test:" + port
			f.cfg.BalancerName = "round_robin"
			f.cfg.Batch.MaxEnvelopes = perMessage
			require.NoError(t, f.cfg.Validate())
			e := f.start("logs")
			next := 0
			// push pushes the items of that many messages, and returns the number of messages received by each server.
			push := func(messages int) (arrived [3]int) {
				for i, s := range servers {
					arrived[i] = -len(s.Batches())
				}
				e.push(next, messages*perMessage, 0)
				next += messages * perMessage
				e.settle()
				for i, s := range servers {
					arrived[i] += len(s.Batches())
				}
				return arrived
			}
			even := func() bool { return push(3) == [3]int{1, 1, 1} }

			f.eventually(even) // Connections are established one after the other.
			for server, n := range push(30) {
				assert.InDelta(t, 10, n, 1, "messages to server %d", server)
			}
			servers[1].Down()
			arrived := push(30)
			assert.Zero(t, arrived[1])
			assert.GreaterOrEqual(t, arrived[0], 10)
			assert.GreaterOrEqual(t, arrived[2], 10)
			require.NoError(t, servers[1].Up())
			f.eventually(even)
			e.stop()

			f.check("logs", counts{sent: next})
			distinct := map[int]bool{}
			for _, s := range servers {
				for _, envelope := range s.Envelopes() {
					distinct[f.numberOf(envelope)] = true
				}
			}
			assert.Len(t, distinct, next)
		})
	}
}

var chaosDuration = flag.Duration("chaos.duration", 5*time.Second, "how long TestChaos injects faults")

// TestChaos injects random faults, up to two at a time, while 16 goroutines push all signals. In the end, every item counts once. No push
// waits for the server: a fault lasts until each goroutine has pushed inFault times, which would take minutes if pushes waited for
// attempts to time out.
func TestChaos(t *testing.T) {
	const (
		pushers = 16
		inFault = 50
		longest = 2 * time.Second // of a fault and of an attempt
	)
	start := time.Now()
	f := newFixture(t)
	var mu sync.Mutex
	arrived, distinct := map[string][]bool{}, map[string]int{} // By number: one byte per item allows runs of hours.
	f.ingress.Divert(func(envelopes []*loggregator_v2.Envelope) {
		mu.Lock()
		defer mu.Unlock()
		for _, e := range envelopes {
			n, err := strconv.Atoi(e.GetTags()["number"])
			assert.NoError(t, err, "%v", e)
			signal := signalOf(e)
			if missing := n + 1 - len(arrived[signal]); missing > 0 {
				arrived[signal] = append(arrived[signal], make([]bool, missing)...)
			}
			if !arrived[signal][n] {
				arrived[signal][n] = true
				distinct[signal]++
			}
		}
	})
	f.cfg.Diode = DiodeConfig{Capacity: 50, MaxItems: 300, DropPolicy: DropOldest}
	f.cfg.Batch.MaxEnvelopes = 50
	f.cfg.TimeoutConfig.Timeout = longest
	f.cfg.RetryConfig.MaxElapsedTime = 5 * time.Second
	f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}
	signals := []string{"logs", "metrics", "traces"}
	var feeds [3]feed
	var pushed [3]atomic.Int64
	for i, signal := range signals {
		feeds[i] = f.start(signal)
	}

	over, stop := context.WithTimeout(t.Context(), *chaosDuration)
	defer stop()
	stopped := make(chan struct{})
	var pushes [pushers]atomic.Int64
	var ended [pushers]chan struct{} // signals the end of a push if the test waits for it
	var wg sync.WaitGroup
	for p := range pushers {
		ended[p] = make(chan struct{})
		wg.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-pace.C:
				case <-stopped:
					return
				}
				n := 1 + rand.IntN(10)
				first := int(pushed[p%3].Add(int64(n))) - n
				feeds[p%3].push(first, n, 100)
				pushes[p].Add(1)
				select {
				case ended[p] <- struct{}{}:
				default:
				}
			}
		})
	}
	kinds := slices.Collect(maps.Values(faults))
	for over.Err() == nil {
		var before [pushers]int64
		for p := range pushers {
			before[p] = pushes[p].Load()
		}
		for range 1 + rand.IntN(2) {
			kinds[rand.IntN(len(kinds))].begin(f)
		}
		length := rand.N(longest / 2)
		if rand.IntN(8) == 0 {
			length = longest
		}
		select {
		case <-over.Done():
		case <-time.After(length):
		}
		late := time.After(ingresstest.WaitAtMost)
		for p := range pushers {
			for pushes[p].Load() < before[p]+inFault {
				select {
				case <-ended[p]:
				case <-late:
					t.Fatal("pushes wait for the server")
				}
			}
		}
		f.ingress.Resume()
		assert.NoError(t, f.ingress.Up())
	}
	close(stopped)
	wg.Wait()

	for i, signal := range signals {
		feeds[i].settle()
		feeds[i].stop()
		c := f.checkIdentity(signal, int(pushed[i].Load()))
		t.Logf("%s: accepted %d, %+v", signal, pushed[i].Load(), c)
		mu.Lock()
		assert.GreaterOrEqual(t, distinct[signal], c.sent, "sent items have arrived")
		assert.LessOrEqual(t, distinct[signal], c.sent+c.failed, "dropped items have not arrived")
		mu.Unlock()
		assert.Positive(t, c.sent)
		assert.Positive(t, c.dropped)
	}
	// Each signal logs at most one line of a kind per interval, and one at shutdown.
	atMost := len(signals) * (2 + int(time.Since(start)/lossInterval))
	lines := map[string]int{}
	for _, line := range f.logs.All() {
		lines[line.Message]++
	}
	for message, n := range lines {
		assert.LessOrEqual(t, n, atMost, message)
	}
}

// TestMessages provokes every message that a user can see and compares them with testdata/messages.txt, where they can be read in one
// place. `-update` writes the file. docs/operations.md must explain every log line of level info and above.
func TestMessages(t *testing.T) {
	var out strings.Builder
	out.WriteString("# Errors for invalid values, from `validate --config` and when the collector starts\n\n")
	certs := t.TempDir()
	invalid := invalidConfigs(t, certs)
	byYAML := func(a, b string) int { return strings.Compare(invalid[a].yaml, invalid[b].yaml) }
	for _, name := range slices.SortedFunc(maps.Keys(invalid), byYAML) {
		_, err := load(t, "loggregator: {"+invalid[name].yaml+"}", "loggregator")
		require.Error(t, err)
		message := strings.ReplaceAll(err.Error(), certs, "CERTS")
		if want := invalid[name].want; !strings.Contains(want, " ") {
			message = "(the collector's own message, which names " + want + ")"
		}
		fmt.Fprintf(&out, "%s\n    %s\n", strings.ReplaceAll(invalid[name].yaml, certs, "CERTS"), strings.ReplaceAll(message, "\n", "\n    "))
	}

	out.WriteString("\n# Log lines\n\n")
	page, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	for _, line := range allLogLines(t) {
		out.WriteString(line)
		level, message, _ := strings.Cut(line, " ")
		first, _, _ := strings.Cut(message, ".")
		if level != "DEBUG" && !strings.Contains(string(page), first) { // assert would print the whole page.
			t.Errorf("docs/operations.md does not explain: %s", line)
		}
	}

	file := filepath.Join("testdata", "messages.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), out.String())
}

// allLogLines provokes every line that the exporter logs, and returns each with its fields once.
func allLogLines(t *testing.T) []string {
	t.Helper()
	all := map[string]bool{}
	attempted := func(f *fixture) { f.eventually(func() bool { return f.attempts() > 0 }) }
	arrived := func(f *fixture) { f.ingress.WaitForEnvelopes(t, 2) }
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))

	// In each row, an exporter pushes two records under a fault, until a condition holds.
	for _, tt := range []struct{ begin, until func(*fixture) }{
		{refuse(codes.PermissionDenied, "not you"), attempted},
		{refuse(codes.Unauthenticated, "who are you?"), attempted},
		{refuse(codes.Internal, "panic"), attempted},
		{refuse(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"), attempted},
		{refuse(codes.Unavailable, "the agent shuts down"), func(f *fixture) {
			attempted(f)
			f.ingress.Resume()
			arrived(f)
		}},
		{func(f *fixture) { f.ingress.Down() }, attempted},
		{func(f *fixture) { f.ingress.Router() }, arrived},
		{func(f *fixture) { f.cfg.TLS.CAFile = filepath.Join(stranger, ingressserver.CAFile) }, attempted},
		{func(f *fixture) { f.cfg.TLS.CAFile = "" }, attempted},
		{func(f *fixture) { f.cfg.TLS = configtls.ClientConfig{Insecure: true} }, attempted},
	} {
		f := newFixture(t)
		tt.begin(f)
		e := f.start("logs")
		e.push(0, 2, 0)
		tt.until(f)
		e.stop()
		collect(all, f)
	}

	// Losses that need no server.
	f := newFixture(t)
	r := telemetry.New(f.set.Logger)
	require.NoError(t, r.Register(f.set, telemetry.Settings{Signal: pipeline.SignalLogs}, nil))
	for _, reason := range []report.DropReason{report.DropOverflow, report.DropShutdown} {
		r.Dropped(reason, 100)
	}
	for _, reason := range []translate.Reason{
		translate.ReasonEmpty, translate.ReasonMalformed, translate.ReasonNegative, translate.ReasonNotFinite, translate.ReasonOutOfRange,
		translate.ReasonStale, translate.ReasonTemporality, translate.ReasonTooLarge, translate.ReasonZeroDelta,
	} {
		r.Rejected(reason, 100)
	}
	r.Shutdown()
	collect(all, f)
	return slices.Sorted(maps.Keys(all))
}

// volatile lists texts that differ between runs, and their replacements.
var volatile = []struct {
	text        *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`[0-9.]+(µs|ms|s)\b`), "TIME"},
	{regexp.MustCompile(`(failed_attempts|failed_items|refused_messages): [0-9]+`), "$1: N"},
	{regexp.MustCompile(`preface: connection reset by peer`), "preface: EOF"}, // The server may end the connection either way.
}

// collect adds the lines of f's log, each with its fields, to all.
func collect(all map[string]bool, f *fixture) {
	for _, entry := range f.logs.All() {
		text := strings.ToUpper(entry.Level.String()) + " " + entry.Message + "\n"
		fields := entry.ContextMap()
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			text += fmt.Sprintf("    %s: %v\n", key, fields[key])
		}
		for _, v := range volatile {
			text = v.text.ReplaceAllString(text, v.replacement)
		}
		all[text] = true
	}
}
