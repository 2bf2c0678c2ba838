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

// refusal returns a server's error with this code and details.
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

// lastCode is the highest gRPC code.
const lastCode = codes.Unauthenticated

// meanings holds the meaning of each code without details.
var meanings = map[codes.Code]struct {
	scope     Scope
	retryable bool
	hint      string // a substring
}{
	codes.Canceled:           {ScopeEndpoint, true, ""},
	codes.Unknown:            {ScopeMessage, false, ""},
	codes.InvalidArgument:    {ScopeMessage, false, ""},
	codes.DeadlineExceeded:   {ScopeEndpoint, true, ""},
	codes.NotFound:           {ScopeMessage, false, ""},
	codes.AlreadyExists:      {ScopeMessage, false, ""},
	codes.PermissionDenied:   {ScopeEndpoint, false, "tls::cert_file"},
	codes.ResourceExhausted:  {ScopeMessage, false, ""},
	codes.FailedPrecondition: {ScopeMessage, false, ""},
	codes.Aborted:            {ScopeEndpoint, true, ""},
	codes.OutOfRange:         {ScopeEndpoint, true, ""},
	codes.Unimplemented:      {ScopeEndpoint, false, "agent or router"},
	codes.Internal:           {ScopeMessage, false, ""},
	codes.Unavailable:        {ScopeEndpoint, true, ""},
	codes.DataLoss:           {ScopeEndpoint, true, ""},
	codes.Unauthenticated:    {ScopeEndpoint, false, "tls::cert_file"},
}

func TestClassifyCodes(t *testing.T) {
	require.Len(t, meanings, int(lastCode), "every code but OK")
	for code, want := range meanings {
		t.Run(code.String(), func(t *testing.T) {
			e := classify(refusal(t, code), plain)
			assert.Equal(t, want.scope, e.Scope)
			assert.Equal(t, want.retryable, e.Retryable)
			assert.Equal(t, code.String(), e.Type())
			assert.Zero(t, e.delay)
			if want.hint == "" {
				assert.Empty(t, e.Hint)
				assert.EqualError(t, e, code.String()+": no")
			} else {
				assert.Contains(t, e.Hint, want.hint)
				assert.EqualError(t, e, code.String()+": no ("+e.Hint+")")
			}
		})
	}
}

func TestClassifyDetails(t *testing.T) {
	help := &errdetails.Help{Links: []*errdetails.Help_Link{{Description: "call somebody"}}}
	tooLong := &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 315_576_000_000}}
	full, err := status.New(codes.ResourceExhausted, "no: the queue is too large").WithDetails(retryIn(time.Second))
	require.NoError(t, err)
	tests := []struct {
		name      string
		err       error
		scope     Scope
		retryable bool
		code      codes.Code
		delay     time.Duration
	}{
		{"exhausted, with a pause", refusal(t, codes.ResourceExhausted, retryIn(3*time.Second)),
			ScopeEndpoint, true, codes.ResourceExhausted, 3 * time.Second},
		{"exhausted, with a pause of 0", refusal(t, codes.ResourceExhausted, retryIn(0)), ScopeEndpoint, true, codes.ResourceExhausted, 0},
		{"exhausted, with an empty RetryInfo", refusal(t, codes.ResourceExhausted, &errdetails.RetryInfo{}),
			ScopeEndpoint, true, codes.ResourceExhausted, 0},
		{"exhausted, with another detail", refusal(t, codes.ResourceExhausted, help), ScopeMessage, false, codes.ResourceExhausted, 0},
		{"exhausted, with a pause after another detail", refusal(t, codes.ResourceExhausted, help, retryIn(time.Second)),
			ScopeEndpoint, true, codes.ResourceExhausted, time.Second},
		{"too large, with a pause", full.Err(), ScopeEndpoint, true, codes.ResourceExhausted, time.Second},
		{"unavailable, with a pause", refusal(t, codes.Unavailable, retryIn(time.Second)), ScopeEndpoint, true, codes.Unavailable, time.Second},
		{"permanent, with a pause", refusal(t, codes.InvalidArgument, retryIn(time.Second)),
			ScopeMessage, false, codes.InvalidArgument, time.Second},
		{"a pause longer than a Duration", refusal(t, codes.Unavailable, tooLong), ScopeEndpoint, true, codes.Unavailable, maxServerDelay},
		{"not a gRPC error", errors.New("no"), ScopeMessage, false, codes.Unknown, 0},
		{"an unknown code", refusal(t, lastCode+1), ScopeMessage, false, lastCode + 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := classify(tt.err, plain)
			assert.Equal(t, tt.scope, e.Scope)
			assert.Equal(t, tt.retryable, e.Retryable)
			assert.Equal(t, tt.code.String(), e.Type())
			assert.Equal(t, tt.delay, e.delay)
			assert.Contains(t, e.Error(), "no")
			if tt.retryable {
				assert.Empty(t, e.Hint, "a temporary error needs no fix")
			}
		})
	}
}

const (
	handshakeFailed = `connection error: desc = "transport: authentication handshake failed: `
	unknownCA       = handshakeFailed + `tls: failed to verify certificate: x509: certificate signed by unknown authority"`
	fromServer      = "error reading server preface: remote error: tls: "
)

// Certificate faults are classified by the text of crypto/tls and gRPC: errors of the client, and alerts from the server.
func TestClassifyClientFault(t *testing.T) {
	for text, hint := range map[string]string{
		unknownCA: "set it to the Loggregator CA",
		handshakeFailed + `tls: failed to verify certificate: x509: certificate is valid for metron, not doppler"`:            "tls::server_name_override",
		handshakeFailed + `tls: failed to verify certificate: x509: certificate has expired or is not yet valid: it is 2026"`: "expired or is not yet valid",
		fromServer + "certificate required":                       "set tls::cert_file",
		fromServer + "expired certificate":                        "tls::cert_file has expired",
		fromServer + "revoked certificate":                        "tls::cert_file is revoked",
		fromServer + "unknown certificate authority":              "a CA that the server does not trust",
		fromServer + "bad certificate":                            "does not accept the certificate in tls::cert_file",
		fromServer + "unsupported certificate":                    "does not accept the certificate in tls::cert_file",
		fromServer + "unknown certificate":                        "does not accept the certificate in tls::cert_file",
		fromServer + "access denied":                              "does not accept the certificate in tls::cert_file",
		handshakeFailed + `remote error: tls: handshake failure"`: "no TLS version or cipher suite in common",
	} {
		for _, settings := range []*configgrpc.ClientConfig{plain, reloading} {
			e := classify(status.Error(codes.Unavailable, text), settings)
			assert.True(t, e.Retryable, "the fix needs no restart")
			assert.Equal(t, ScopeEndpoint, e.Scope)
			assert.Contains(t, e.Hint, hint, text)
		}
	}
}

// Hints name missing settings and files that are not reloaded.
func TestHintSettings(t *testing.T) {
	const (
		expired          = fromServer + "expired certificate"
		handshakeFailure = `connection error: desc = "remote error: tls: handshake failure"`
		noCA             = "tls::ca_file is not set, so the system's root CAs were used: set it to the Loggregator CA"
		otherCA          = "the server's certificate is not signed by the CA in tls::ca_file, which is read only at start"
		hasExpired       = "the certificate in tls::cert_file has expired"
		missing          = "the server may require a client certificate: set tls::cert_file and tls::key_file"
		nothingInCommon  = "client and server have no TLS version or cipher suite in common, or the server does not accept the certificate in tls::cert_file"
	)
	for name, tt := range map[string]struct {
		text     string
		settings configtls.Config
		want     string
	}{
		"no CA":                {unknownCA, configtls.Config{}, noCA},
		"no CA, certificate":   {unknownCA, configtls.Config{CertFile: "client.crt", ReloadInterval: time.Minute}, noCA},
		"CA":                   {unknownCA, configtls.Config{CAFile: "ca.crt"}, otherCA},
		"CA, reload":           {unknownCA, configtls.Config{CAFile: "ca.crt", ReloadInterval: time.Minute}, otherCA},
		"CA in the settings":   {unknownCA, configtls.Config{CAPem: "PEM"}, otherCA},
		"certificate":          {expired, configtls.Config{CertFile: "client.crt"}, hasExpired + "; the file is read only at start, because tls::reload_interval is not set"},
		"certificate, reload":  {expired, configtls.Config{CertFile: "client.crt", ReloadInterval: time.Minute}, hasExpired},
		"certificate, no file": {expired, configtls.Config{CertPem: "PEM"}, hasExpired},
		// With TLS 1.2, a server that gets no client certificate reports only that the handshake failed.
		"TLS 1.2, no certificate":              {handshakeFailure, configtls.Config{}, missing},
		"TLS 1.2, certificate":                 {handshakeFailure, configtls.Config{CertFile: "client.crt"}, nothingInCommon},
		"TLS 1.2, certificate in the settings": {handshakeFailure, configtls.Config{CertPem: "PEM"}, nothingInCommon},
		"connection ends, both sides use TLS":  {`connection error: desc = "error reading server preface: EOF"`, configtls.Config{}, ""},
	} {
		assert.Equal(t, tt.want, classify(status.Error(codes.Unavailable, tt.text), withTLS(tt.settings)).Hint, name)
	}
}

// Each version of TLS has its own error for a missing client certificate.
func TestMissingClientCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			certs := ingresstest.Certs(t)
			settings, err := ingressserver.ServerTLS(certs)
			require.NoError(t, err)
			settings.MinVersion, settings.MaxVersion = version, version
			served := serve(t, early{}, grpc.Creds(credentials.NewTLS(settings)))
			cfg := configWith(served.GRPC.Endpoint, certs)
			cfg.GRPC.TLS.CertFile, cfg.GRPC.TLS.KeyFile = "", ""
			ctx, cancel := context.WithTimeout(t.Context(), waitAtMost)
			defer cancel()
			// With TLS 1.3, an attempt may see only a broken connection.
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

// Only one side uses TLS.
func TestTLSMismatch(t *testing.T) {
	secured := ingresstest.StartCapture(t)
	insecure := func(c *Config) { c.GRPC.TLS = configtls.ClientConfig{Insecure: true} }
	for name, tt := range map[string]struct {
		client *Client
		want   string
	}{
		"only the server": {connect(t, configFor(secured), noRetry, insecure), "the server probably requires TLS: remove tls::insecure"},
		"only the client": {connect(t, configWith(serve(t, early{}).GRPC.Endpoint, secured.Certs), noRetry), "the server does not speak TLS"},
	} {
		e := requireError(t, send(t.Context(), observe(tt.client), logEnvelopes(1)...), "Unavailable")
		assert.Equal(t, tt.want, e.Hint, "%s: %v", name, e)
	}
}

// Text from a server or a proxy is not mistaken for gRPC's own. It may be about another connection or not from an ingress at all.
func TestClassifyForeignText(t *testing.T) {
	for _, text := range []string{
		"upstream: tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"no route: remote error: tls: bad certificate", "upstream connect error: connection reset", "remote error: tls: handshake failure",
	} {
		assert.Empty(t, classify(status.Error(codes.Unavailable, text), plain).Hint, text)
	}
	for _, code := range []codes.Code{codes.Unauthenticated, codes.PermissionDenied} {
		e := classify(status.Error(code, "unexpected HTTP status code received from server: 403 (Forbidden)"), plain)
		assert.Contains(t, e.Hint, "proxy")
	}
}

func TestClassifyScope(t *testing.T) {
	for text, tt := range map[string]struct {
		code codes.Code
		want Scope
	}{
		"grpc: received message larger than max (5 vs. 4)":                       {codes.ResourceExhausted, ScopeSize}, // Go, C++
		"gRPC message exceeds maximum size 4: 5":                                 {codes.ResourceExhausted, ScopeSize}, // Java
		"Received message exceeds the maximum configured message size.":          {codes.ResourceExhausted, ScopeSize}, // .NET
		"grpc: received message after decompression larger than max 10":          {codes.ResourceExhausted, ScopeSize},
		"the quota of this hour is used up":                                      {codes.ResourceExhausted, ScopeMessage},
		"larger than max":                                                        {codes.Internal, ScopeMessage},
		"transport: received per-RPC creds error with illegal status: rpc error": {codes.Internal, ScopeEndpoint},
	} {
		assert.Equal(t, tt.want, classify(status.Error(tt.code, text), plain).Scope, text)
	}
}

// The text from a server is bounded because it may quote the message.
func TestErrorText(t *testing.T) {
	longest := strings.Repeat("é", maxErrorText/2)
	for text, want := range map[string]string{
		longest:             longest,
		longest + "é":       longest + "…",
		"x" + longest + "é": "x" + strings.TrimSuffix(longest, "é") + "…",
	} {
		assert.EqualError(t, classify(status.Error(codes.Internal, text), plain), "Internal: "+want)
	}
}

// docs/operations.md explains each hint, which it quotes up to the colon.
func TestHintsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	hints := []string{wrongCAHint, noCAHint, strings.TrimPrefix(readOnceHint, "; "), plaintextHint, refusedHint, noCertificateHint, handshakeHint, credentialsHint, identityHint, proxyHint, noIngressHint, tooLargeHint, brokenHint}
	for _, f := range connectionFaults {
		hints = append(hints, f.hint)
	}
	for _, hint := range hints {
		words, _, _ := strings.Cut(hint, ": ")
		if !strings.Contains(string(page), words) { // assert would print the whole page.
			t.Errorf("docs/operations.md does not explain: %s", words)
		}
	}
}
