// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configtls"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Scope is what an error applies to.
type Scope int

const (
	// ScopeMessage means that the server refused this message. Others may be accepted.
	ScopeMessage Scope = iota
	// ScopeEndpoint means that any message would have failed.
	ScopeEndpoint
	// ScopeSize means that the message is larger than the server accepts. A part of it may be accepted.
	ScopeSize
)

// An Error describes why a message was not acknowledged.
type Error struct {
	Scope Scope
	// Retryable reports whether another attempt may help.
	Retryable bool
	// Hint suggests a fix; often empty.
	Hint string

	status *status.Status
	delay  time.Duration // requested by the server; 0: none
}

// maxServerDelay bounds the delay that a server may request.
const maxServerDelay = 5 * time.Minute

// maxErrorText bounds the server's text in an error, in bytes. A server may quote the message.
const maxErrorText = 300

// Error returns the code, at most 300 bytes of text from the server or gRPC, and the hint.
func (e *Error) Error() string {
	text := e.status.Message()
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	s := fmt.Sprintf("%s: %s", e.status.Code(), text)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Type returns the gRPC code, the value of the attribute error.type.
func (e *Error) Type() string { return e.status.Code().String() }

// verdict is the meaning of a code.
type verdict struct {
	scope     Scope
	retryable bool
}

// verdicts holds each code that an attempt can fail with. The retryable codes are those that OTLP exporters retry. Any other code is
// treated like Unknown.
var verdicts = map[codes.Code]verdict{
	// There is no connection, it broke, or the server is shutting down.
	codes.Unavailable: {ScopeEndpoint, true},
	// No response within the timeout.
	codes.DeadlineExceeded: {ScopeEndpoint, true},
	// The server or a proxy canceled the call.
	codes.Canceled: {ScopeEndpoint, true},
	codes.Aborted:  {ScopeEndpoint, true},
	// OTLP counts these as temporary.
	codes.OutOfRange: {ScopeEndpoint, true},
	codes.DataLoss:   {ScopeEndpoint, true},

	// The server lacks some resource. classify also looks at the text and RetryInfo.
	codes.ResourceExhausted: {ScopeMessage, false},
	// The server does not accept the message, and would not accept it next time.
	codes.InvalidArgument:    {ScopeMessage, false},
	codes.NotFound:           {ScopeMessage, false},
	codes.AlreadyExists:      {ScopeMessage, false},
	codes.FailedPrecondition: {ScopeMessage, false},
	// The server could not decode the message, or has a bug.
	codes.Internal: {ScopeMessage, false},
	codes.Unknown:  {ScopeMessage, false},

	// The server is not an ingress.
	codes.Unimplemented: {ScopeEndpoint, false},
	// The server does not accept this client.
	codes.Unauthenticated:  {ScopeEndpoint, false},
	codes.PermissionDenied: {ScopeEndpoint, false},
}

// tooLarge matches the errors of gRPC implementations about messages above their limit.
var tooLarge = regexp.MustCompile(`larger than max|exceeds (the )?maximum|too large`)

// connectionFaults maps texts of errors with code Unavailable to hints. The first match wins. "remote error" begins an alert from the
// server (RFC 8446, section 6.2): it refused the client's certificate.
var connectionFaults = []struct{ text, hint string }{
	{"certificate signed by unknown authority", wrongCAHint},
	{"certificate has expired or is not yet valid", "the server's certificate has expired or is not yet valid; check the certificate and both clocks"},
	{"certificate is valid for", "the server's certificate is for another name; check tls::server_name_override"},
	{"cannot validate certificate for", "the server's certificate does not have the name of the endpoint; set tls::server_name_override"},
	{"failed to verify certificate", "the server's certificate does not satisfy the tls settings"},
	{clientFault + "certificate required", "the server requires a client certificate: set tls::cert_file and tls::key_file"},
	{clientFault + "expired certificate", "the certificate in tls::cert_file has expired"},
	{clientFault + "revoked certificate", "the certificate in tls::cert_file is revoked"},
	{clientFault + "unknown certificate authority", "the certificate in tls::cert_file is signed by a CA that the server does not trust"},
	{clientFault + "bad certificate", refusedHint},
	{clientFault + "unsupported certificate", refusedHint},
	{clientFault + "unknown certificate", refusedHint},
	{clientFault + "access denied", refusedHint},
	{handshakeFailure, handshakeHint},
	{"first record does not look like a TLS handshake", "the server does not speak TLS"},
	{brokenPreface, plaintextHint},
	{"broken pipe", brokenHint},
	{"connection reset", brokenHint},
}

const (
	clientFault = "remote error: tls: "
	// With TLS 1.2, a server also sends handshakeFailure if the client has no certificate.
	handshakeFailure = clientFault + "handshake failure"
	brokenPreface    = "error reading server preface"
)

// Hints that depend on the settings, and hints for other codes. docs/operations.md explains them.
const (
	wrongCAHint       = "the server's certificate is not signed by the CA in tls::ca_file, which is read only at start"
	noCAHint          = "tls::ca_file is not set, so the system's root CAs were used: set it to the Loggregator CA"
	readOnceHint      = "; the file is read only at start, because tls::reload_interval is not set"
	plaintextHint     = "the server probably requires TLS: remove tls::insecure"
	refusedHint       = "the server does not accept the certificate in tls::cert_file"
	noCertificateHint = "the server may require a client certificate: set tls::cert_file and tls::key_file"
	handshakeHint     = "client and server have no TLS version or cipher suite in common, or the server does not accept the certificate in tls::cert_file"
	credentialsHint   = "the extension in auth has no credentials"
	identityHint      = "the server does not accept this client; check tls::cert_file and auth"
	proxyHint         = "the response is from a proxy, not from an ingress"
	noIngressHint     = "the endpoint does not serve loggregator.v2.Ingress: it must be a Loggregator agent or router"
	tooLargeHint      = "batch::max_bytes is above the server's limit: lower it"
	// brokenHint is for a connection that breaks before the first response. With TLS 1.3, a client may see nothing else when its
	// certificate is refused.
	brokenHint = "if this persists, the server may not accept the client certificate in tls::cert_file"
)

// credentialFaults matches gRPC's errors for an auth extension without credentials. The call was not made.
var credentialFaults = regexp.MustCompile(`^transport: (per-RPC creds failed|received per-RPC creds error)`)

// fromProxy begins gRPC's error for a response that is not gRPC, and so comes from a proxy.
const fromProxy = "unexpected HTTP status code"

// ownWords matches the beginnings of gRPC's own connection errors. Other texts may be from an ingress or a proxy, about its own
// connections.
var ownWords = regexp.MustCompile(`^(last connection error: |connection error: desc = |connection closed |error reading |closing transport |transport: |write )`)

// classify returns the meaning of an attempt's error. Only the detection of routers looks at errors elsewhere. settings are those of the
// connection.
func classify(err error, settings *configgrpc.ClientConfig) *Error {
	s := status.Convert(err)
	v := verdicts[s.Code()]
	e := &Error{Scope: v.scope, Retryable: v.retryable, status: s}
	var retry *errdetails.RetryInfo
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			retry = info
		}
	}
	e.delay = min(retry.GetRetryDelay().AsDuration(), maxServerDelay)

	if credentialFaults.MatchString(s.Message()) {
		e.Scope, e.Retryable, e.Hint = ScopeEndpoint, true, credentialsHint
		return e
	}
	switch s.Code() {
	case codes.Unavailable:
		e.Hint = connectionHint(s.Message(), &settings.TLS)
	case codes.ResourceExhausted:
		switch {
		case retry != nil: // The server asks for a pause.
			e.Scope, e.Retryable = ScopeEndpoint, true
		case tooLarge.MatchString(s.Message()):
			e.Scope, e.Hint = ScopeSize, tooLargeHint
		}
	case codes.Unimplemented:
		e.Hint = noIngressHint
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Hint = identityHint
		if strings.HasPrefix(s.Message(), fromProxy) {
			e.Hint = proxyHint
		}
	}
	return e
}

// connectionHint returns a hint for a text from gRPC and TLS about a missing or broken connection; "" if it knows none.
func connectionHint(text string, settings *configtls.ClientConfig) string {
	if !ownWords.MatchString(text) {
		return ""
	}
	for _, f := range connectionFaults {
		switch {
		case !strings.Contains(text, f.text), f.text == brokenPreface && !settings.Insecure:
			continue
		case f.hint == wrongCAHint && settings.CAFile == "" && settings.CAPem == "":
			return noCAHint
		case f.text == handshakeFailure:
			if settings.CertFile == "" && settings.CertPem == "" {
				return noCertificateHint
			}
		case strings.HasPrefix(f.text, clientFault) && settings.CertFile != "" && settings.ReloadInterval == 0:
			return f.hint + readOnceHint
		}
		return f.hint
	}
	return ""
}
