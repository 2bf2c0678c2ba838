// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
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
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

const (
	recoverable = componentstatus.StatusRecoverableError
	ok          = componentstatus.StatusOK
)

// waitForStatuses waits until these statuses were reported, and no others.
func (f *fixture) waitForStatuses(want ...componentstatus.Status) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return len(f.host.statuses()) >= len(want) }, waitAtMost, time.Millisecond)
	require.Equal(f.t, want, f.host.statuses())
}

// attempts is how often it was tried to send.
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
	assert.ErrorContains(t, f.host.events[0].Err(), "Unavailable: out to lunch")
	assert.Equal(t, 2, f.counts("logs").waiting)

	f.ingress.Resume()
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, map[int]int{1: 1, 2: 1}, f.numbers("logs"))
	assert.Len(t, f.lines("Loggregator does not take envelopes"), 1, "one line an outage")
	assert.Len(t, f.lines("Loggregator takes envelopes again"), 1)
	f.checkIdentity("logs", 2)
}

// The next attempt can be long after the first: the outage is reported all the same.
func TestOutageIsReportedBetweenAttempts(t *testing.T) {
	f := newFixture(t)
	f.cfg.RetryConfig.InitialInterval, f.cfg.RetryConfig.MaxInterval = time.Hour, time.Hour
	f.cfg.RetryConfig.MaxElapsedTime = 0
	f.ingress.Refuse(status.Error(codes.Unavailable, "out to lunch"))
	e := f.start("logs")
	e.push(1, 1, 0)
	f.waitForStatuses(recoverable)
	assert.Equal(t, 1, f.ingress.Calls())
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()), "which makes the second")
	assert.Len(t, f.ingress.Envelopes(), 1)
	assert.Len(t, f.lines("Loggregator takes envelopes again"), 1)
	assert.Equal(t, []componentstatus.Status{recoverable}, f.host.statuses(), "the collector takes none from a component that it stops")
}

// An outage that begins with Shutdown is in the log and in the counts, and no status.
func TestNoStatusInShutdown(t *testing.T) {
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
	assert.Empty(t, f.host.statuses())
	f.checkIdentity("logs", 2000)
}

func TestShortOutageIsNotReported(t *testing.T) {
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
		assert.Empty(t, f.host.statuses())
	}
}

// A message that is refused for what is in it is no outage.
func TestRefusedMessageIsNoStatus(t *testing.T) {
	f := newFixture(t)
	f.ingress.Refuse(status.Error(codes.InvalidArgument, "not this one"))
	e := f.start("logs")
	e.push(1, 1, 0)
	require.Eventually(t, func() bool { return f.counts("logs").failed == 1 }, waitAtMost, time.Millisecond)
	refused := time.Now()
	require.Eventually(t, func() bool { return time.Since(refused) > outageGrace }, waitAtMost, time.Millisecond)
	f.ingress.Resume()
	e.push(2, 1, 0)
	f.ingress.WaitForEnvelopes(t, 1)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Empty(t, f.host.statuses())
	assert.Empty(t, f.lines("does not take envelopes"))
	assert.Len(t, f.lines("Gave up sending"), 1)
}

// Data that is refused is no status, even if all of it is: it is counted, and the log says so.
func TestEverythingRefusedIsNoStatus(t *testing.T) {
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
			assert.Empty(t, f.host.statuses())
			assert.Equal(t, counts{failed: pushed, sent: 1}, f.counts("logs"))
			f.checkIdentity("logs", pushed+1)
			assert.Empty(t, f.lines("does not take envelopes"))
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
	*statusHost
	extensions map[component.ID]component.Component
}

func (h extensionHost) GetExtensions() map[component.ID]component.Component { return h.extensions }

// Where tokens come from can be away for a while. Nothing is lost for that.
func TestAuthWithoutAToken(t *testing.T) {
	f := newFixture(t)
	id, auth := component.MustNewID("oauth2client"), &tokens{}
	f.cfg.Auth = configoptional.Some(configauth.Config{AuthenticatorID: id})
	auth.missing.Store(true)
	e := f.create("logs")
	require.NoError(t, e.Start(t.Context(), extensionHost{f.host, map[component.ID]component.Component{id: auth}}))
	e.push(0, 100, 0)
	f.waitForStatuses(recoverable)
	assert.ErrorContains(t, f.host.events[0].Err(), "the extension in auth has no credentials")
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
	assert.ErrorContains(t, f.host.events[0].Err(), "see tls::cert_file and auth")
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
	assert.Len(t, f.lines("Loggregator does not take envelopes. This message is given up: its items are lost."), 1)
	assert.Len(t, f.lines("Loggregator takes envelopes again"), 1)
	assert.Equal(t, 6, f.sum("exporter_send_failed_log_records", attribute.String("error.type", "PermissionDenied"),
		attribute.Bool("error.permanent", true)))
	f.checkIdentity("logs", 7)
}

// A wrong certificate, on whichever side, is one clear line and a recoverable status: it is mended without a restart.
func TestCertificateFaults(t *testing.T) {
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))
	other := &ingresstest.Capture{Certs: stranger}
	for name, tt := range map[string]struct {
		flaw func(*fixture)
		want string
	}{
		"wrong CA": {func(f *fixture) { f.cfg.TLS.CAFile = other.File(ingressserver.CAFile) },
			"the server's certificate is not of the CA in tls::ca_file"},
		"wrong server name": {func(f *fixture) { f.cfg.TLS.ServerName = "doppler" },
			"another name than tls::server_name_override"},
		"expired server certificate": {func(f *fixture) { f.ingress.Expire(f.t) },
			"the server's certificate is out of date"},
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
			assert.ErrorContains(t, f.host.events[0].Err(), tt.want)
			lines := f.lines("Loggregator does not take envelopes")
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

// writeClientCert replaces the certificate of the exporter by one that expires at that time.
func (f *fixture) writeClientCert(expires time.Time) {
	f.t.Helper()
	pair, err := f.ingress.Authority.IssueUntil("otelcol", expires)
	require.NoError(f.t, err)
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.KeyFile, pair.KeyPEM, 0o600))
	require.NoError(f.t, os.WriteFile(f.cfg.TLS.CertFile, pair.CertPEM, 0o600))
}

// With tls.reload_interval a certificate that expires is renewed by writing a new file.
func TestCertificateIsRenewedWithoutARestart(t *testing.T) {
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
	// A connection outlives the certificate that it began with.
	require.Eventually(t, func() bool { return f.counts("logs").sent == 2 }, waitAtMost, time.Millisecond)
	f.ingress.CutConnections()
	e.push(3, 1, 0)
	f.waitForStatuses(recoverable)
	require.Eventually(t, func() bool { return len(f.lines("Loggregator does not take envelopes")) == 1 }, waitAtMost, time.Millisecond)

	f.writeClientCert(time.Now().Add(time.Hour))
	f.ingress.WaitForEnvelopes(t, 3)
	f.waitForStatuses(recoverable, ok)
	require.NoError(t, e.Shutdown(t.Context()))
	assert.Equal(t, map[int]int{1: 1, 2: 1, 3: 1}, f.numbers("logs"))
	f.checkIdentity("logs", 3)
}

// What is to be sent again is kept as it is on the wire. Meanwhile the diode goes on taking and dropping.
func TestRetryDoesNotTranslateAgain(t *testing.T) {
	f := newFixture(t)
	f.cfg.Diode.Capacity = 3
	f.ingress.Refuse(status.Error(codes.Unavailable, "not yet"))
	e := f.create("logs")
	exporter := e.Component.(logsExporter).signalExporter
	var translated atomic.Int32
	original := exporter.signal.translate
	exporter.signal.translate = func(data plog.Logs) iter.Seq[translate.Envelope] {
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

// A message that is refused as too large goes in halves. Only the item that alone is too large is lost.
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
	lines := f.lines("Loggregator refused messages as too large. They were sent again in halves.")
	require.NotEmpty(t, lines)
	assert.Contains(t, lines[0].ContextMap()["error"], "batch::max_bytes is above what the server takes")
	assert.Empty(t, f.host.statuses())
}

// To a router messages go by stream, and count as sent when the router has read them.
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
	assert.Len(t, f.lines("it is no agent"), 3, "once a connection; here each signal has one of its own")
	assert.Empty(t, f.host.statuses())
}
