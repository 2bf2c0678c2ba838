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
	"math/bits"
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
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
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
	require.Eventually(f.t, func() bool { return len(f.host.Statuses()) >= len(want) }, waitAtMost, time.Millisecond)
	require.Equal(f.t, want, f.host.Statuses())
}

// attempts returns the number of attempts so far.
func (f *fixture) attempts() int {
	m, err := f.telemetry.GetMetric("otelcol_exporter_loggregator_send_duration")
	if err != nil {
		return 0 // Nothing was counted.
	}
	total := 0
	for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
		total += int(p.Count)
	}
	return total
}

func TestOutageAndRecovery(t *testing.T) {
	f := newFixture(t)
	f.ingress.Refuse(status.Error(codes.Unavailable, "out to lunch"))
	e := f.start("logs")
	start := time.Now()
	e.push(1, 2, 0)
	f.waitForStatuses(recoverable)
	assert.GreaterOrEqual(t, time.Since(start), outageGrace, "what passes soon is no outage")
	assert.ErrorContains(t, f.host.Events()[0].Err(), "Unavailable: out to lunch")
	assert.Equal(t, 2, f.counts("logs").waiting)

	f.ingress.Resume()
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, map[int]int{1: 1, 2: 1}, f.numbers("logs"))
	assert.Len(t, f.lines("Loggregator is not accepting envelopes"), 1, "one line an outage")
	assert.Len(t, f.lines("Loggregator accepts envelopes again"), 1)
	f.checkIdentity("logs", 2)
}

// An outage is reported although the next attempt is far away.
func TestOutageReportedBetweenAttempts(t *testing.T) {
	f := newFixture(t)
	f.retryInAnHour()
	e := f.start("logs")
	e.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1) // Once reconnected, an attempt would follow soon.
	f.ingress.Refuse(status.Error(codes.Unavailable, "out to lunch"))
	e.push(1, 1, 0)
	f.waitForStatuses(recoverable)
	assert.Equal(t, 2, f.ingress.Calls())
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()), "which makes the third")
	assert.Len(t, f.ingress.Envelopes(), 2)
	assert.Len(t, f.lines("Loggregator accepts envelopes again"), 1)
	assert.Equal(t, []componentstatus.Status{recoverable}, f.host.Statuses(), "the collector takes none from a component that it stops")
}

// An outage that begins with Shutdown is logged and counted, and changes no status.
func TestNoStatusDuringShutdown(t *testing.T) {
	f := newFixture(t)
	f.ingress.Stall()
	f.cfg.TimeoutConfig.Timeout = 300 * time.Millisecond
	e := f.start("logs")
	for i := range 20 {
		e.push(i*100, 100, 0)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	require.NoError(t, e.Shutdown(ctx))
	assert.Greater(t, f.counts("logs").failed, 300, "it went on for longer than the grace")
	assert.Empty(t, f.host.Statuses())
	f.checkIdentity("logs", 2000)
}

func TestShortOutage(t *testing.T) {
	f := newFixture(t)
	f.ingress.Refuse(status.Error(codes.Unavailable, "just a moment"))
	e := f.start("logs")
	e.push(1, 1, 0)
	f.ingress.WaitFor(t, "an attempt", func() bool { return f.ingress.Calls() > 0 })
	start := time.Now()
	f.ingress.Resume()
	f.ingress.WaitForEnvelopes(t, 1)
	took := time.Since(start)
	require.NoError(t, e.Shutdown(t.Context()))
	if took < outageGrace/2 { // Unless the machine was that busy.
		assert.Empty(t, f.host.Statuses())
	}
}

// Refused data changes no status, even if all of it is refused: it is counted and logged.
func TestRefusedDataIsNoStatus(t *testing.T) {
	for _, code := range []codes.Code{codes.Internal, codes.Unknown, codes.NotFound, codes.FailedPrecondition, codes.ResourceExhausted, codes.InvalidArgument} {
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
			require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
			f.ingress.Resume()
			e.push(pushed, 1, 0)
			f.ingress.WaitForEnvelopes(t, 1)
			require.NoError(t, e.Shutdown(t.Context()))
			assert.Empty(t, f.host.Statuses())
			assert.Equal(t, counts{failed: pushed, sent: 1}, f.counts("logs"))
			f.checkIdentity("logs", pushed+1)
			assert.Empty(t, f.lines("is not accepting envelopes"))
			lines := f.lines("Gave up sending")
			require.Len(t, lines, 2, "the first, and with the shutdown the others")
			assert.Contains(t, lines[0].ContextMap()["error"], code.String()+": not now")
		})
	}
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

// extensionHost has an extension.
type extensionHost struct {
	*reporttest.Host
	extensions map[component.ID]component.Component
}

func (h extensionHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

// Without credentials from the auth extension nothing is sent, and nothing is lost.
func TestAuthTokenMissing(t *testing.T) {
	f := newFixture(t)
	id, auth := component.MustNewID("oauth2client"), &tokens{}
	f.cfg.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	auth.missing.Store(true)
	e := f.create("logs")
	require.NoError(t, e.Start(t.Context(), extensionHost{f.host, map[component.ID]component.Component{id: auth}}))
	e.push(0, 100, 0)
	f.waitForStatuses(recoverable)
	assert.ErrorContains(t, f.host.Events()[0].Err(), "the extension in auth has no credentials")
	auth.missing.Store(false)
	f.ingress.WaitForEnvelopes(t, 100)
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, counts{sent: 100}, f.counts("logs"))
}

// A permission is granted without a restart, so the status is recoverable, and OK with the next success.
func TestPermissionDenied(t *testing.T) {
	f := newFixture(t)
	f.ingress.Refuse(status.Error(codes.PermissionDenied, "who are you?"))
	e := f.start("logs")
	e.push(1, 1, 0)
	f.waitForStatuses(recoverable)
	assert.ErrorContains(t, f.host.Events()[0].Err(), "check tls::cert_file and auth")
	for i := range 5 {
		e.push(2+i, 1, 0)
		require.Eventually(t, func() bool { return f.counts("logs").failed == 2+i }, waitAtMost, time.Millisecond)
	}
	f.waitForStatuses(recoverable)

	f.ingress.Resume()
	e.push(7, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1)
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Len(t, f.lines("Loggregator is not accepting envelopes. Gave up a message: its items are lost."), 1)
	assert.Len(t, f.lines("Loggregator accepts envelopes again"), 1)
	assert.Equal(t, 6, f.sum("exporter_send_failed_log_records", attribute.String("error.type", "PermissionDenied"),
		attribute.Bool("error.permanent", true)))
	f.checkIdentity("logs", 7)
}

// A wrong certificate on either side is one clear line and a recoverable status: it can be replaced without a restart.
func TestCertificateFaults(t *testing.T) {
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))
	other := &ingresstest.Capture{Certs: stranger}
	for name, tt := range map[string]struct {
		flaw func(*fixture)
		want string
	}{
		"wrong CA": {func(f *fixture) { f.cfg.TLS.CAFile = other.File(ingressserver.CAFile) },
			"the server's certificate is not signed by the CA in tls::ca_file"},
		"wrong server name": {func(f *fixture) { f.cfg.TLS.ServerName = "doppler" },
			"another name; check tls::server_name_override"},
		"expired server certificate": {func(f *fixture) { f.ingress.Expire(f.t) },
			"the server's certificate has expired or is not yet valid"},
		"no client certificate": {func(f *fixture) { f.cfg.TLS.CertFile, f.cfg.TLS.KeyFile = "", "" },
			"tls::cert_file"},
		"expired client certificate": {func(f *fixture) { f.writeClientCert(time.Now().Add(-time.Minute)) },
			"tls::cert_file"},
		"client certificate of another CA": {func(f *fixture) {
			f.cfg.TLS.CertFile = other.File(ingressserver.ClientCertFile)
			f.cfg.TLS.KeyFile = other.File(ingressserver.ClientKeyFile)
		}, "tls::cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.cfg.RetryConfig.MaxElapsedTime = 0
			tt.flaw(f)
			start := time.Now()
			e := f.start("logs")
			for i := range 50 {
				e.push(i, 1, 0)
			}
			f.waitForStatuses(recoverable)
			attempts := f.attempts()
			require.Eventually(t, func() bool { return f.attempts() > attempts+10 }, waitAtMost, time.Millisecond)
			f.waitForStatuses(recoverable)
			assert.ErrorContains(t, f.host.Events()[0].Err(), tt.want)
			lines := f.lines("Loggregator is not accepting envelopes")
			atMost := 1 + int(time.Since(start)/lossInterval) // A busy machine may take longer, and get a second reason.
			require.NotEmpty(t, lines)
			require.LessOrEqual(t, len(lines), atMost, "not one a batch, nor one an attempt")
			assert.Contains(t, lines[0].ContextMap()["error"], tt.want)
			require.NoError(t, e.Shutdown(t.Context()))
			f.checkIdentity("logs", 50)
			assert.Equal(t, 50, f.counts("logs").failed)
			assert.Zero(t, f.ingress.Calls())
		})
	}
}

// writeClientCert replaces the certificate of the exporter with one that expires at that time.
func (f *fixture) writeClientCert(expires time.Time) {
	f.t.Helper()
	pair, err := f.ingress.Authority.IssueUntil("otelcol", expires)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.KeyFile, pair.KeyPEM, 0o600))
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.CertFile, pair.CertPEM, 0o600))
}

// With tls.reload_interval an expired certificate is replaced by writing a new file.
func TestCertificateReload(t *testing.T) {
	f := newFixture(t)
	f.cfg.TLS.ReloadInterval = time.Millisecond
	f.cfg.RetryConfig.MaxElapsedTime = 0
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second) // Certificates have whole seconds.
	f.writeClientCert(expires)
	e := f.start("logs")
	e.push(1, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1)

	require.Eventually(t, func() bool { return time.Now().After(expires) }, waitAtMost, time.Millisecond)
	e.push(2, 1, 0)
	// An open connection outlives its certificate.
	require.Eventually(t, func() bool { return f.counts("logs").sent == 2 }, waitAtMost, time.Millisecond)
	f.ingress.CutConnections()
	e.push(3, 1, 0)
	f.waitForStatuses(recoverable)
	require.Eventually(t, func() bool { return len(f.lines("Loggregator is not accepting envelopes")) == 1 }, waitAtMost, time.Millisecond)

	f.writeClientCert(time.Now().Add(time.Hour))
	f.ingress.WaitForEnvelopes(t, 3)
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, map[int]int{1: 1, 2: 1, 3: 1}, f.numbers("logs"))
	f.checkIdentity("logs", 3)
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
	assert.Equal(t, counts{dropped: 7, waiting: 4}, f.counts("logs"))
	calls := f.ingress.Calls()
	f.ingress.WaitFor(t, "more retries", func() bool { return f.ingress.Calls() >= calls+3 })
	assert.EqualValues(t, 1, translated.Load())
	f.ingress.Resume()
	f.ingress.WaitForEnvelopes(t, 4)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.EqualValues(t, 4, translated.Load())
	assert.Equal(t, map[int]int{0: 1, 107: 1, 108: 1, 109: 1}, f.numbers("logs"))
	f.checkIdentity("logs", 11)
}

// A message refused as too large is sent in halves. Only an item that alone is too large fails.
func TestTooLargeMessageIsHalved(t *testing.T) {
	f := newFixture(t)
	f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if len(batch) > 4 || slices.ContainsFunc(batch, func(e *loggregator_v2.Envelope) bool { return e.GetTags()["number"] == "33" }) {
			return status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)")
		}
		return nil
	})
	for signal := range itemNames {
		e := f.start(signal)
		e.push(0, 100, 0)
		require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
		require.NoError(t, e.Shutdown(t.Context()))
		assert.Equal(t, counts{sent: 99, failed: 1}, f.counts(signal))
		arrived := f.numbers(signal)
		assert.Len(t, arrived, 99)
		assert.NotContains(t, arrived, 33)
		f.checkIdentity(signal, 100)
	}
	lines := f.lines("Loggregator refused messages as too large. They were split in half and sent again.")
	require.NotEmpty(t, lines)
	assert.Contains(t, lines[0].ContextMap()["error"], "batch::max_bytes is above the server's limit")
	assert.Empty(t, f.host.Statuses())
}

// A router gets messages by stream. They count as sent when the router has read them.
func TestRouter(t *testing.T) {
	f := newFixture(t)
	f.ingress.Router()
	for signal := range itemNames {
		e := f.start(signal)
		for i := range 10 {
			e.push(i*10, 10, 0)
		}
		require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
		assert.Equal(t, counts{sent: 100}, f.counts(signal))
		assert.Len(t, f.numbers(signal), 100)
		require.NoError(t, e.Shutdown(t.Context()))
	}
	assert.Len(t, f.lines("it is not an agent"), 3, "once a connection; here each signal has one of its own")
	assert.Empty(t, f.host.Statuses())
}

func TestPermanentError(t *testing.T) {
	f := newFixture(t)
	f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
		if batch[0].GetTags()["number"] == "1" {
			return status.Error(codes.InvalidArgument, "not this one")
		}
		return nil
	})
	e := f.start("logs")
	e.push(1, 3, 0)
	f.ingress.WaitFor(t, "the first call", func() bool { return f.ingress.Calls() == 1 })
	require.Eventually(t, func() bool { return f.counts("logs").failed == 3 }, waitAtMost, time.Millisecond)
	refused := time.Now()
	require.Eventually(t, func() bool { return time.Since(refused) > outageGrace }, waitAtMost, time.Millisecond)
	e.push(4, 2, 0)
	f.ingress.WaitForEnvelopes(t, 2)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, 2, f.ingress.Calls(), "a permanent error is not retried")
	assert.Empty(t, f.host.Statuses(), "the refusal of one message is no outage")
	assert.Empty(t, f.lines("Loggregator is not accepting envelopes"))
	require.Len(t, f.lines("Gave up sending"), 1)
	assert.Equal(t, 3, f.sum("exporter_send_failed_log_records",
		attribute.String("error.type", "InvalidArgument"), attribute.Bool("error.permanent", true)))
	assert.Equal(t, 2, f.sum("exporter_sent_log_records"))
	f.checkIdentity("logs", 5)
}

// fault is something wrong with Loggregator. Resume and Up end it.
type fault struct {
	begin func(*fixture)
	loses bool // items fail, beside those that the diode drops
}

// faultyMessage is the size of an item, in bytes, with which a fault hits messages in the middle.
const faultyMessage = 2000

var faults = map[string]fault{
	"stall":            {begin: func(f *fixture) { f.ingress.Stall() }},
	"slow":             {begin: func(f *fixture) { f.ingress.Slow(30 * time.Millisecond) }},
	"refuse for now":   {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.Unavailable, "for now")) }},
	"refuse for good":  {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.InvalidArgument, "for good")) }, loses: true},
	"refuse who it is": {begin: func(f *fixture) { f.ingress.Refuse(status.Error(codes.PermissionDenied, "who?")) }, loses: true},
	"refuse large messages": {begin: func(f *fixture) {
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			if len(batch) > 3 {
				return status.Error(codes.ResourceExhausted, "larger than max")
			}
			return nil
		})
	}},
	"refuse every message as too large": {begin: func(f *fixture) {
		f.ingress.Refuse(status.Error(codes.ResourceExhausted, "larger than max"))
	}, loses: true},
	"cut":                           {begin: func(f *fixture) { f.ingress.CutConnections() }},
	"cut in the middle of messages": {begin: func(f *fixture) { f.ingress.CutAfter(10_000) }},
	"half open":                     {begin: func(f *fixture) { f.ingress.HalfOpen() }},
	"restart on the same port":      {begin: func(f *fixture) { f.ingress.Down() }},
	"expired certificate": {begin: func(f *fixture) {
		f.ingress.Expire(f.t)
		f.ingress.CutConnections()
	}},
	"answers out of order": {begin: func(f *fixture) { f.ingress.Reorder() }},
	"router":               {begin: func(f *fixture) { f.ingress.Router() }},
	"router that stalls": {begin: func(f *fixture) {
		f.ingress.Router()
		f.ingress.Stall()
	}},
	"ring like the router's": {begin: func(f *fixture) { f.ingress.Ring(1000, 100*time.Millisecond) }},
}

// Under every fault no push waits, every item counts once, sent items have arrived, and dropped items have not.
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
							e.push(next, perBatch, faultyMessage)
							next += perBatch
						}
					}
					empty := func() bool { return e.waiting() == 0 }

					push(before)
					require.Eventually(t, empty, waitAtMost, time.Millisecond)
					fault.begin(f)
					push(during)
					if fault.loses {
						require.Eventually(t, func() bool { return f.counts(signal).failed > 0 }, waitAtMost, time.Millisecond)
					}
					assert.Positive(t, f.counts(signal).dropped, "the diode was full, and said so at once")
					f.ingress.Resume()
					require.NoError(t, f.ingress.Up())
					fresh := next
					push(after)
					require.Eventually(t, empty, waitAtMost, time.Millisecond)
					require.NoError(t, e.Shutdown(t.Context()))

					c := f.counts(signal)
					f.checkIdentity(signal, next)
					assert.Zero(t, c.waiting)
					assert.Zero(t, c.rejected)
					assert.Equal(t, fault.loses, c.failed > 0)
					arrived := f.numbers(signal)
					assert.GreaterOrEqual(t, len(arrived), c.sent, "what was sent has arrived")
					assert.LessOrEqual(t, len(arrived), c.sent+c.failed, "what was dropped was not sent before")
					if policy == DropOldest {
						for n := fresh; n < next; n++ {
							assert.NotZerof(t, arrived[n], "item %d was pushed when all was well again", n)
						}
					}
				})
			}
		}
	}
}

// With round_robin messages spread over the addresses of one name, without the server that is down.
func TestRoundRobin(t *testing.T) {
	for name, router := range map[string]bool{"agents": false, "routers": true} {
		t.Run(name, func(t *testing.T) {
			const perMessage = 10
			f := newFixture(t)
			servers := []*ingresstest.Capture{f.ingress}
			_, port, err := net.SplitHostPort(f.ingress.Addr())
			require.NoError(t, err)
			for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
				if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
					t.Skipf("loopback has one address only: %v", err)
				} else {
					_ = l.Close()
				}
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
			push := func(messages int) {
				e.push(next, messages*perMessage, 0)
				next += messages * perMessage
				require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
			}
			messages := func() (n []int) {
				for _, s := range servers {
					n = append(n, len(s.Batches()))
				}
				return n
			}
			// pushUntil pushes until a condition is true of what has come to each server since it was called.
			pushUntil := func(condition func(since []int) bool) {
				before := messages()
				require.Eventually(t, func() bool {
					push(3)
					since := messages()
					for i := range since {
						since[i] -= before[i]
					}
					return condition(since)
				}, waitAtMost, time.Millisecond)
			}
			even := func(since []int) bool { return since[0] > 0 && since[1] > 0 && since[2] > 0 }

			pushUntil(even) // Connections come one after the other.
			before := messages()
			push(30)
			for i, n := range messages() {
				assert.InDelta(t, 10, n-before[i], 1, "server %d of messages %v after %v", i, messages(), before)
			}

			servers[1].Down()
			dead := messages()[1]
			push(30)
			assert.Equal(t, dead, messages()[1])
			assert.GreaterOrEqual(t, messages()[0]-before[0], 20)
			assert.GreaterOrEqual(t, messages()[2]-before[2], 20)

			require.NoError(t, servers[1].Up())
			pushUntil(even)
			require.NoError(t, e.Shutdown(t.Context()))

			c := f.counts("logs")
			assert.Equal(t, counts{sent: next}, c)
			arrived := map[string]bool{}
			for _, s := range servers {
				for _, envelope := range s.Envelopes() {
					arrived[envelope.GetTags()["number"]] = true
				}
			}
			assert.Len(t, arrived, next)
		})
	}
}

var chaosDuration = flag.Duration("chaos.duration", 5*time.Second, "how long TestChaos makes faults")

// chaos has the faults that TestChaos makes.
var chaos = []func(*fixture){
	func(f *fixture) { f.ingress.Stall() },
	func(f *fixture) { f.ingress.Slow(rand.N(20 * time.Millisecond)) },
	func(f *fixture) { f.ingress.Refuse(status.Error(codes.Unavailable, "chaos")) },
	func(f *fixture) { f.ingress.Refuse(status.Error(codes.Internal, "chaos")) },
	func(f *fixture) {
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			if len(batch) > 1+rand.IntN(5) {
				return status.Error(codes.ResourceExhausted, "larger than max")
			}
			return nil
		})
	},
	func(f *fixture) { f.ingress.CutConnections() },
	func(f *fixture) { f.ingress.CutAfter(rand.IntN(50_000)) },
	func(f *fixture) { f.ingress.HalfOpen() },
	func(f *fixture) { f.ingress.Reorder() },
	func(f *fixture) { f.ingress.Router() },
	func(f *fixture) { f.ingress.Down() },
	func(f *fixture) {
		f.ingress.Expire(f.t)
		f.ingress.CutConnections()
	},
}

// Random faults, several at a time, while 16 goroutines push all signals. In the end every item counts once, and no push took as long
// as an attempt without a response: none waited for the server.
func TestChaos(t *testing.T) {
	const (
		pushers = 16
		longest = 2 * time.Second // of a fault, and of an attempt
	)
	start := time.Now()
	f := newFixture(t)
	arrived := newArrivals(f)
	f.cfg.Diode = DiodeConfig{Capacity: 50, MaxItems: 300, DropPolicy: DropOldest}
	f.cfg.Batch.MaxEnvelopes = 50
	f.cfg.TimeoutConfig.Timeout = longest
	f.cfg.RetryConfig.MaxElapsedTime = 5 * time.Second
	f.cfg.RateLimit = RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}
	signals := []string{"logs", "metrics", "traces"}
	feeds := map[string]feed{}
	pushed := map[string]*atomic.Int64{}
	for _, signal := range signals {
		feeds[signal] = f.start(signal)
		pushed[signal] = &atomic.Int64{}
	}

	// run pushes until it is over, and returns the longest time that a push took.
	run := func(over <-chan struct{}) time.Duration {
		var mu sync.Mutex
		var slowest time.Duration
		var wg sync.WaitGroup
		for p := range pushers {
			e := feeds[signals[p%len(signals)]]
			numbers := pushed[e.signal]
			wg.Go(func() {
				pace := time.NewTicker(time.Millisecond)
				defer pace.Stop()
				mine := time.Duration(0)
				for {
					select {
					case <-over:
						mu.Lock()
						slowest = max(slowest, mine)
						mu.Unlock()
						return
					case <-pace.C:
					}
					n := 1 + rand.IntN(10)
					first := int(numbers.Add(int64(n))) - n
					before := time.Now()
					e.push(first, n, 100)
					mine = max(mine, time.Since(before))
				}
			})
		}
		wg.Wait()
		return slowest
	}
	after := func(d time.Duration) <-chan struct{} {
		over := make(chan struct{})
		time.AfterFunc(d, func() { close(over) })
		return over
	}

	over := after(*chaosDuration)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			length := rand.N(longest / 2)
			if rand.IntN(8) == 0 {
				length = longest
			}
			for range 1 + rand.IntN(2) {
				chaos[rand.IntN(len(chaos))](f)
			}
			select {
			case <-over:
				return
			case <-after(length):
			}
			f.ingress.Resume()
			assert.NoError(t, f.ingress.Up())
		}
	}()
	slowest := run(over)
	<-ended
	f.ingress.Resume()
	require.NoError(t, f.ingress.Up())
	for _, e := range feeds {
		require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
		require.NoError(t, e.Shutdown(t.Context()))
	}

	t.Logf("longest push: %v", slowest)
	assert.Less(t, slowest, longest, "a push waited for the peer")
	for _, signal := range signals {
		accepted := int(pushed[signal].Load())
		c := f.counts(signal)
		t.Logf("%s: accepted %d, %+v", signal, accepted, c)
		f.checkIdentity(signal, accepted)
		assert.GreaterOrEqual(t, arrived.distinct(signal), c.sent, "what was sent has arrived")
		assert.LessOrEqual(t, arrived.distinct(signal), c.sent+c.failed, "what was dropped was not sent before")
		assert.Positive(t, c.sent)
		assert.Positive(t, c.dropped)
	}
	// Each signal logs at most one line of a kind per interval, and one when it ends.
	atMost := len(signals) * (2 + int(time.Since(start)/lossInterval))
	kinds := map[string]int{}
	for _, line := range f.logs.All() {
		kinds[line.Message]++
	}
	for message, n := range kinds {
		assert.LessOrEqual(t, n, atMost, message)
	}
}

// arrivals is the set of the numbers that have arrived of each signal, in little memory.
type arrivals struct {
	mu   sync.Mutex
	bits map[string][]uint64
}

// newArrivals makes the ingress of a fixture keep nothing but these.
func newArrivals(f *fixture) *arrivals {
	a := &arrivals{bits: map[string][]uint64{}}
	f.ingress.Divert(func(envelopes []*loggregator_v2.Envelope) {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range envelopes {
			n, err := strconv.Atoi(e.GetTags()["number"])
			if err != nil {
				f.t.Errorf("no number in %v", e)
				return
			}
			signal := signalOf(e)
			if missing := n/64 + 1 - len(a.bits[signal]); missing > 0 {
				a.bits[signal] = append(a.bits[signal], make([]uint64, missing)...)
			}
			a.bits[signal][n/64] |= 1 << (n % 64)
		}
	})
	return a
}

func (a *arrivals) distinct(signal string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, word := range a.bits[signal] {
		n += bits.OnesCount64(word)
	}
	return n
}

// TestMessages provokes every message that a user can see and compares them with testdata/messages.txt, where they can be read in a
// row. `-update` writes the file.
func TestMessages(t *testing.T) {
	var out strings.Builder
	out.WriteString("# What `validate --config` and the start of the collector say of a wrong value\n\n")
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

	out.WriteString("\n# What the log says\n\n")
	for _, entry := range logOfEverything(t) {
		fmt.Fprintf(&out, "%s %s\n", strings.ToUpper(entry.level.String()), entry.message)
		for _, field := range entry.fields {
			fmt.Fprintf(&out, "    %s\n", field)
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

type logged struct {
	level   zapcore.Level
	message string
	fields  []string
}

// Texts that differ from run to run.
var (
	addresses = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	durations = regexp.MustCompile(`[0-9.]+(µs|ms|s)\b`)
)

// logOfEverything provokes everything that the exporter logs, and returns each line once, without what differs from run to run.
func logOfEverything(t *testing.T) []logged {
	t.Helper()
	all := map[string]logged{}
	attempted := func(f *fixture) {
		require.Eventually(t, func() bool { return f.attempts() > 0 }, waitAtMost, time.Millisecond)
	}
	arrived := func(f *fixture) { f.ingress.WaitForEnvelopes(t, 2) }
	refuse := func(code codes.Code, message string) func(*fixture) {
		return func(f *fixture) { f.ingress.Refuse(status.Error(code, message)) }
	}
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))

	// In each row an exporter pushes two records, with something wrong, until a condition holds.
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
		require.NoError(t, e.Shutdown(t.Context()))
		collect(all, f)
	}

	// Losses that need no server.
	f := newFixture(t)
	set := f.settings()
	r := telemetry.New(set.Logger)
	require.NoError(t, r.Register(set, telemetry.Settings{Signal: pipeline.SignalLogs}, nil))
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

	var lines []logged
	for _, key := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, all[key])
	}
	return lines
}

// collect adds the lines of a log that are not there yet.
func collect(all map[string]logged, f *fixture) {
	for _, entry := range f.logs.All() {
		l := logged{level: entry.Level, message: entry.Message}
		encoder := zapcore.NewMapObjectEncoder()
		for _, field := range entry.Context {
			field.AddTo(encoder)
		}
		for _, key := range slices.Sorted(maps.Keys(encoder.Fields)) {
			value := fmt.Sprint(encoder.Fields[key])
			value = durations.ReplaceAllString(addresses.ReplaceAllString(value, "127.0.0.1:PORT"), "TIME")
			value = strings.ReplaceAll(value, "preface: connection reset by peer", "preface: EOF") // By which of them the server ends is chance.
			if key == "failed_attempts" || key == "failed_items" || key == "refused_messages" {
				value = "N"
			}
			l.fields = append(l.fields, key+": "+value)
		}
		all[l.level.String()+l.message+strings.Join(l.fields, "")] = l
	}
}

// docs/operations.md explains every line of the log from level info on.
func TestPageExplainsLogLines(t *testing.T) {
	page, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	for _, line := range logOfEverything(t) {
		if line.level < zap.InfoLevel {
			continue
		}
		first, _, _ := strings.Cut(line.message, ". ")
		if !strings.Contains(string(page), strings.TrimSuffix(first, ".")) { // assert would print all of it.
			t.Errorf("docs/operations.md does not explain: %s", line.message)
		}
	}
}
