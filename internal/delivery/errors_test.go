// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configtls"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// refusal returns an error of a server, with details.
func refusal(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	s := status.New(code, "no")
	if len(details) > 0 {
		var err error
		s, err = s.WithDetails(details...)
		require.NoError(t, err)
	}
	return s.Err()
}

func retryIn(delay time.Duration) *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(delay)}
}

// plain and reloading are settings with a client certificate, without and with reload_interval.
var (
	plain     = withTLS(configtls.Config{CertFile: "client.crt"})
	reloading = withTLS(configtls.Config{CertFile: "client.crt", ReloadInterval: time.Minute})
)

func withTLS(settings configtls.Config) *configgrpc.ClientConfig {
	return &configgrpc.ClientConfig{TLS: configtls.ClientConfig{Config: settings}}
}

// lastCode is the last code that gRPC has.
const lastCode = codes.Unauthenticated

// retryableCodes has each code: whether it is retryable without details.
var retryableCodes = map[codes.Code]bool{
	codes.Canceled:           true,
	codes.Unknown:            false,
	codes.InvalidArgument:    false,
	codes.DeadlineExceeded:   true,
	codes.NotFound:           false,
	codes.AlreadyExists:      false,
	codes.PermissionDenied:   false,
	codes.ResourceExhausted:  false,
	codes.FailedPrecondition: false,
	codes.Aborted:            true,
	codes.OutOfRange:         true,
	codes.Unimplemented:      false,
	codes.Internal:           false,
	codes.Unavailable:        true,
	codes.DataLoss:           true,
	codes.Unauthenticated:    false,
}

// codeHints has a part of the hint of each code that has one.
var codeHints = map[codes.Code]string{
	codes.PermissionDenied: "tls::cert_file",
	codes.Unauthenticated:  "tls::cert_file",
	codes.Unimplemented:    "agent or router",
}

func TestClassifyCodes(t *testing.T) {
	require.Len(t, retryableCodes, int(lastCode), "every code but OK")
	for code := codes.Canceled; code <= lastCode; code++ {
		t.Run(code.String(), func(t *testing.T) {
			e := classify(refusal(t, code), plain)
			assert.Equal(t, retryableCodes[code], e.Retryable)
			assert.Equal(t, code.String(), e.Type())
			assert.Zero(t, e.delay)
			if want := codeHints[code]; want == "" {
				assert.Empty(t, e.Hint)
				assert.EqualError(t, e, code.String()+": no")
			} else {
				assert.Contains(t, e.Hint, want)
				assert.EqualError(t, e, code.String()+": no ("+e.Hint+")")
			}
		})
	}
}

func TestClassifyDetails(t *testing.T) {
	help := &errdetails.Help{Links: []*errdetails.Help_Link{{Description: "call somebody"}}}
	tests := []struct {
		name      string
		err       error
		retryable bool
		code      codes.Code
		delay     time.Duration
	}{
		{"exhausted, with a pause", refusal(t, codes.ResourceExhausted, retryIn(3*time.Second)), true, codes.ResourceExhausted, 3 * time.Second},
		{"exhausted, with a pause of 0", refusal(t, codes.ResourceExhausted, retryIn(0)), true, codes.ResourceExhausted, 0},
		{"exhausted, with RetryInfo that is empty", refusal(t, codes.ResourceExhausted, &errdetails.RetryInfo{}), true, codes.ResourceExhausted, 0},
		{"exhausted, with something else", refusal(t, codes.ResourceExhausted, help), false, codes.ResourceExhausted, 0},
		{"exhausted, with a pause after something else", refusal(t, codes.ResourceExhausted, help, retryIn(time.Second)), true, codes.ResourceExhausted, time.Second},
		{"unavailable, with a pause", refusal(t, codes.Unavailable, retryIn(time.Second)), true, codes.Unavailable, time.Second},
		{"a pause makes no permanent error pass", refusal(t, codes.InvalidArgument, retryIn(time.Second)), false, codes.InvalidArgument, time.Second},
		{"a pause longer than time can say", refusal(t, codes.Unavailable, &errdetails.RetryInfo{
			RetryDelay: &durationpb.Duration{Seconds: 315_576_000_000},
		}), true, codes.Unavailable, maxServerDelay},
		{"an error that is not gRPC's", errors.New("no"), false, codes.Unknown, 0},
		{"a code that nobody knows", refusal(t, lastCode+1), false, lastCode + 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := classify(tt.err, plain)
			assert.Equal(t, tt.retryable, e.Retryable)
			assert.Equal(t, tt.code.String(), e.Type())
			assert.Equal(t, tt.delay, e.delay)
			assert.Contains(t, e.Error(), "no")
			if tt.retryable {
				assert.Empty(t, e.Hint, "what passes needs nobody")
			}
		})
	}
}

// An error of one message must not count as an outage.
func TestClassifyScope(t *testing.T) {
	for code, want := range map[codes.Code]Scope{
		codes.Unavailable: ScopeEndpoint, codes.DeadlineExceeded: ScopeEndpoint, codes.Canceled: ScopeEndpoint,
		codes.Unimplemented: ScopeEndpoint, codes.Unauthenticated: ScopeEndpoint, codes.PermissionDenied: ScopeEndpoint,
		codes.InvalidArgument: ScopeMessage, codes.Internal: ScopeMessage, codes.ResourceExhausted: ScopeMessage,
	} {
		assert.Equal(t, want, classify(status.Error(code, ""), plain).Scope, code)
	}
	assert.Equal(t, ScopeEndpoint, classify(refusal(t, codes.ResourceExhausted, retryIn(time.Second)), plain).Scope)
	noCredentials := status.Error(codes.Internal, "transport: received per-RPC creds error with illegal status: rpc error")
	assert.Equal(t, ScopeEndpoint, classify(noCredentials, plain).Scope)
}

// Certificate faults are classified by the text of crypto/tls and gRPC: the client's own, and alerts of the server.
func TestClassifyClientFault(t *testing.T) {
	const (
		handshake = "connection error: desc = \"transport: authentication handshake failed: "
		preface   = "error reading server preface: remote error: tls: "
	)
	for text, hint := range map[string]string{
		handshake + "tls: failed to verify certificate: x509: certificate signed by unknown authority\"":                 "set it to the Loggregator CA",
		handshake + "tls: failed to verify certificate: x509: certificate is valid for metron, not doppler\"":            "tls::server_name_override",
		handshake + "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: it is 2026\"": "expired or is not yet valid",
		preface + "certificate required":                     "set tls::cert_file",
		preface + "expired certificate":                      "tls::cert_file has expired",
		preface + "revoked certificate":                      "tls::cert_file is revoked",
		preface + "unknown certificate authority":            "a CA that the server does not trust",
		preface + "bad certificate":                          "does not accept the certificate in tls::cert_file",
		preface + "unsupported certificate":                  "does not accept the certificate in tls::cert_file",
		preface + "unknown certificate":                      "does not accept the certificate in tls::cert_file",
		preface + "access denied":                            "does not accept the certificate in tls::cert_file",
		handshake + "remote error: tls: handshake failure\"": "no TLS version or cipher suite in common",
	} {
		for _, settings := range []*configgrpc.ClientConfig{plain, reloading} {
			e := classify(status.Error(codes.Unavailable, text), settings)
			assert.True(t, e.Retryable, "it is mended without a restart")
			assert.Equal(t, ScopeEndpoint, e.Scope)
			assert.Contains(t, e.Hint, hint, text)
		}
	}
}

// With TLS 1.2 a server that gets no client certificate only says that the handshake failed.
func TestClassifyHandshakeFailure(t *testing.T) {
	for name, tt := range map[string]struct {
		settings *configgrpc.ClientConfig
		want     bool
	}{
		"no certificate":    {withTLS(configtls.Config{}), true},
		"one in a file":     {plain, false},
		"one in the config": {withTLS(configtls.Config{CertPem: "PEM"}), false},
	} {
		e := classify(status.Error(codes.Unavailable, "connection error: desc = \"remote error: tls: handshake failure\""), tt.settings)
		assert.Equal(t, tt.want, strings.Contains(e.Hint, "set tls::cert_file and tls::key_file"), name)
	}
}

// Each version of TLS has its own error for a missing client certificate.
func TestMissingClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			certs := t.TempDir()
			require.NoError(t, ingressserver.WriteCerts(certs))
			settings, err := ingressserver.ServerTLS(certs)
			require.NoError(t, err)
			settings.MinVersion, settings.MaxVersion = version, version
			served := serve(t, early{}, grpc.Creds(credentials.NewTLS(settings)))
			cfg := configWith(served.GRPC.Endpoint, certs)
			cfg.GRPC.TLS.CertFile, cfg.GRPC.TLS.KeyFile = "", ""
			ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
			defer cancel()
			// With TLS 1.3 an attempt may see no more than a broken connection.
			var last *Error
			sender := observe(connect(t, cfg), func(a Attempt) {
				if last = a.Err; last != nil && strings.Contains(last.Hint, "set tls::cert_file") {
					cancel()
				}
			})
			require.Error(t, send(ctx, sender, logEnvelopes(1)...))
			require.NotNil(t, last)
			assert.Contains(t, last.Hint, "set tls::cert_file and tls::key_file")
		})
	}
}

// Hints name settings that are missing, and files that are not read again.
func TestHintSettings(t *testing.T) {
	unknownCA := status.Error(codes.Unavailable, `connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"`)
	expired := status.Error(codes.Unavailable, "error reading server preface: remote error: tls: expired certificate")
	const (
		noCA       = "tls::ca_file is not set, so the system's root CAs were used: set it to the Loggregator CA"
		notOfTheCA = "the server's certificate is not signed by the CA in tls::ca_file, which is read only at start"
	)
	for name, tt := range map[string]struct {
		err      error
		settings configtls.Config
		want     string
	}{
		"no CA":                {unknownCA, configtls.Config{}, noCA},
		"no CA, certificate":   {unknownCA, configtls.Config{CertFile: "client.crt", ReloadInterval: time.Minute}, noCA},
		"CA":                   {unknownCA, configtls.Config{CAFile: "ca.crt"}, notOfTheCA},
		"CA, reload":           {unknownCA, configtls.Config{CAFile: "ca.crt", ReloadInterval: time.Minute}, notOfTheCA},
		"CA in the settings":   {unknownCA, configtls.Config{CAPem: "PEM"}, notOfTheCA},
		"certificate":          {expired, configtls.Config{CertFile: "client.crt"}, "the certificate in tls::cert_file has expired; the file is read only at start, because tls::reload_interval is not set"},
		"certificate, reload":  {expired, configtls.Config{CertFile: "client.crt", ReloadInterval: time.Minute}, "the certificate in tls::cert_file has expired"},
		"certificate, no file": {expired, configtls.Config{CertPem: "PEM"}, "the certificate in tls::cert_file has expired"},
	} {
		assert.Equal(t, tt.want, classify(tt.err, withTLS(tt.settings)).Hint, name)
	}
}

// Only one side speaks TLS.
func TestTLSMismatch(t *testing.T) {
	hintOf := func(cfg Config) *Error {
		cfg.Retry.Enabled = false
		var failure *Error
		require.ErrorAs(t, send(t.Context(), observe(connect(t, cfg)), logEnvelopes(1)...), &failure)
		return failure
	}
	secured := ingresstest.StartCapture(t)
	plaintext := configFor(secured)
	plaintext.GRPC.TLS = configtls.ClientConfig{Insecure: true}
	e := hintOf(plaintext)
	assert.Equal(t, "the server probably requires TLS: remove tls::insecure", e.Hint, e)

	served := serve(t, early{})
	e = hintOf(configWith(served.GRPC.Endpoint, secured.Certs))
	assert.Equal(t, "the server does not speak TLS", e.Hint, e)

	ended := status.Error(codes.Unavailable, "connection error: desc = \"error reading server preface: EOF\"")
	assert.Empty(t, classify(ended, plain).Hint, "both do")
}

// The text of a server about a connection of its own gets no hint.
func TestClassifyForeignText(t *testing.T) {
	for _, text := range []string{
		"upstream: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"no route: remote error: tls: bad certificate", "upstream connect error: connection reset", "remote error: tls: handshake failure",
	} {
		e := classify(status.Error(codes.Unavailable, text), plain)
		assert.Empty(t, e.Hint, text)
	}
}

func TestClassifyProxy(t *testing.T) {
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied} {
		e := classify(status.Error(code, "unexpected HTTP status code received from server: 403 (Forbidden)"), plain)
		assert.Contains(t, e.Hint, "proxy")
	}
}

func TestClassifyTooLarge(t *testing.T) {
	for text, want := range map[string]Scope{
		"grpc: received message larger than max (5 vs. 4)":              ScopeSize, // Go, C++
		"gRPC message exceeds maximum size 4: 5":                        ScopeSize, // Java
		"Received message exceeds the maximum configured message size.": ScopeSize, // .NET
		"the quota of this hour is used up":                             ScopeMessage,
		"grpc: received message after decompression larger than max 10": ScopeSize,
	} {
		assert.Equal(t, want, classify(status.Error(codes.ResourceExhausted, text), plain).Scope, text)
	}
	assert.Equal(t, ScopeMessage, classify(status.Error(codes.Internal, "larger than max"), plain).Scope)
	later, err := status.New(codes.ResourceExhausted, "the queue is too large").WithDetails(retryIn(time.Second))
	require.NoError(t, err)
	assert.Equal(t, ScopeEndpoint, classify(later.Err(), plain).Scope)
}

// The text of a server is bounded: it may quote what it was sent.
func TestErrorText(t *testing.T) {
	e := classify(status.Error(codes.Internal, strings.Repeat("é", 1000)), plain)
	assert.Equal(t, "Internal: "+strings.Repeat("é", maxErrorText/2)+"…", e.Error())
	longest := strings.Repeat("é", maxErrorText/2)
	assert.Equal(t, "Internal: "+longest, classify(status.Error(codes.Internal, longest), plain).Error())
	e = classify(status.Error(codes.Internal, "x"+strings.Repeat("é", 1000)), plain)
	assert.Equal(t, "Internal: x"+strings.Repeat("é", maxErrorText/2-1)+"…", e.Error())
}

// docs/operations.md explains each hint, up to its colon.
func TestPageExplainsHints(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	hints := []string{wrongCAHint, noCAHint, strings.TrimPrefix(readOnceHint, "; "), plaintextHint, refusedHint, noCertificateHint, handshakeHint, credentialsHint, identityHint, proxyHint, noIngressHint, tooLargeHint, brokenHint}
	for _, f := range connectionFaults {
		hints = append(hints, f.hint)
	}
	for _, hint := range hints {
		words, _, _ := strings.Cut(hint, ": ")
		if !strings.Contains(string(page), words) { // assert would print all of it.
			t.Errorf("docs/operations.md does not have: %s", words)
		}
	}
}
