// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configtls"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error says why a batch was not acknowledged.
type Error struct {
	// Permanent is whether another attempt can't help.
	Permanent bool
	// Everything is whether every message would have failed, not only this one.
	Everything bool
	// ByHand is whether it stays like that until a person does something on this side: the client's certificates or
	// permissions are wrong. A server can be mended without the client's knowledge.
	ByHand bool
	// TooLarge is whether a smaller message may get through.
	TooLarge bool
	// Hint says what a person can do about it; often empty.
	Hint string
	// Guess is whether the hint is only one of the possible reasons.
	Guess bool

	status *status.Status
	delay  time.Duration
}

// maxServerDelay bounds the delay that a server may ask for.
const maxServerDelay = 5 * time.Minute

// maxErrorText bounds, in bytes, what is repeated of a server's words. A server may quote what it was sent.
const maxErrorText = 300

// Error is the server's or gRPC's own words, up to 300 bytes of them, with the code and the hint.
func (e *Error) Error() string {
	text := e.status.Message()
	if len(text) > maxErrorText {
		cut := maxErrorText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	s := fmt.Sprintf("%s: %s", e.status.Code(), text)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Type is the gRPC code, as the attribute error.type has it.
func (e *Error) Type() string { return e.status.Code().String() }

// verdict is what a code means for the message that got it.
type verdict struct {
	retry      bool // another attempt can help
	everything bool // every other message would get it too
}

// verdicts has each code that an attempt can fail with. Those that are retried are those of OTLP's exporters, for the same
// reasons. A code that is not here is like Unknown.
var verdicts = map[codes.Code]verdict{
	// There is no connection, or it broke, or the server shuts down. certificateFaults knows what never passes.
	codes.Unavailable: {retry: true, everything: true},
	// No answer within the timeout.
	codes.DeadlineExceeded: {retry: true, everything: true},
	// The server, or a proxy, gave the call up.
	codes.Canceled: {retry: true, everything: true},
	codes.Aborted:  {retry: true, everything: true},
	// The server's state is not what it will be.
	codes.OutOfRange: {retry: true, everything: true},
	codes.DataLoss:   {retry: true, everything: true},

	// The server has too little of something. tooLarge and RetryInfo say more.
	codes.ResourceExhausted: {},
	// The message is not what the server expects, and will not be the next time.
	codes.InvalidArgument:    {},
	codes.NotFound:           {},
	codes.AlreadyExists:      {},
	codes.FailedPrecondition: {},
	// The server could not decode the message, or has a bug.
	codes.Internal: {},
	codes.Unknown:  {},

	// What listens there is no ingress.
	codes.Unimplemented: {everything: true},
	// It is one, and does not let us in.
	codes.Unauthenticated:  {everything: true},
	codes.PermissionDenied: {everything: true},
}

// tooLarge is how gRPC's implementations say that a message is above a limit of theirs.
var tooLarge = regexp.MustCompile(`larger than max|exceeds (the )?maximum|too large`)

// fault is a reason that is found in the words of an error.
type fault struct {
	words, hint string
	side        side
}

// side is what has to be mended.
type side int

const (
	serverSide side = iota
	// clientCertificate can be renewed without a restart if it is reloaded; configtls reloads nothing else.
	clientCertificate
	clientSettings
)

// byHand is whether only a person can do it, with these settings.
func (s side) byHand(settings *configtls.ClientConfig) bool {
	switch s {
	case clientSettings:
		return true
	case clientCertificate:
		return settings.ReloadInterval == 0 || settings.CertFile == ""
	default:
		return false
	}
}

// certificateFaults are words of errors with code Unavailable that a certificate is the reason of, and what to do. The first
// one that fits counts. The errors of crypto/tls begin with "remote error" where the server found the fault: then the words are
// those of an alert of RFC 8446, section 6.2.
var certificateFaults = []fault{
	{"certificate signed by unknown authority", wrongCAHint, clientSettings},
	{"certificate has expired or is not yet valid", "the server's certificate is out of date, or one of the clocks is wrong", serverSide},
	{"certificate is valid for", "the server's certificate has another name than tls::server_name_override", clientSettings},
	{"cannot validate certificate for", "the server's certificate has no such name; see tls::server_name_override", clientSettings},
	{"failed to verify certificate", "the server's certificate is not what tls asks for", serverSide},
	{"remote error: tls: certificate required", "the server asks for a client certificate: set tls::cert_file and tls::key_file", clientCertificate},
	{"remote error: tls: expired certificate", "the certificate in tls::cert_file is out of date", clientCertificate},
	{"remote error: tls: revoked certificate", "the certificate in tls::cert_file is revoked", clientCertificate},
	{"remote error: tls: unknown certificate authority", "the certificate in tls::cert_file is of a CA that the server does not know", clientCertificate},
	{"remote error: tls: bad certificate", refusedHint, clientCertificate},
	{"remote error: tls: unsupported certificate", refusedHint, clientCertificate},
	{"remote error: tls: unknown certificate", refusedHint, clientCertificate},
	{"remote error: tls: access denied", refusedHint, clientCertificate},
}

// Hints that depend on the settings, and those for other errors. The README explains each.
const (
	wrongCAHint       = "the server's certificate is not of the CA in tls::ca_file, which is read at the start only"
	noCAHint          = "tls::ca_file is not set, so the roots of the system were used: set it to the Loggregator CA"
	readOnceHint      = "; the file is read at the start only, because tls::reload_interval is not set"
	plaintextHint     = "the server probably wants TLS: remove tls::insecure"
	noTLSHint         = "the server does not speak TLS"
	refusedHint       = "the server does not accept the certificate in tls::cert_file"
	noCertificateHint = "the server may ask for a client certificate: set tls::cert_file and tls::key_file"
	handshakeHint     = "client and server have no TLS version or cipher suite in common, or the server does not accept the certificate in tls::cert_file"
	credentialsHint   = "the extension in auth has no credentials"
	identityHint      = "the server does not accept who the client is; see tls::cert_file and auth"
	proxyHint         = "the answer is not of an ingress but of a proxy in between"
	noIngressHint     = "the endpoint does not serve loggregator.v2.Ingress: it has to be a Loggregator agent or router"
	tooLargeHint      = "batch::max_bytes is above what the server takes: lower it"
)

// handshakeFailure is what a server says if it gets no client certificate in TLS 1.2, among other reasons.
const handshakeFailure = "remote error: tls: handshake failure"

// brokenHint is for connections that break before the first answer: with TLS 1.3 a client may see no more of it than that.
const brokenHint = "if it stays like that: a server that does not accept the client certificate in tls::cert_file breaks the connection like that"

// credentialFaults is how gRPC says that an auth extension has nothing to send along. The call was not made.
var credentialFaults = regexp.MustCompile(`^transport: (per-RPC creds failed|received per-RPC creds error)`)

// fromProxy is how gRPC says that the answer is not gRPC at all: something in between gave it.
const fromProxy = "unexpected HTTP status code"

// ownWords is how gRPC begins when it says why there is no connection, or why it broke. An ingress, or a proxy, may say the same of
// a connection of its own.
var ownWords = regexp.MustCompile(`^(last connection error: |connection error: desc = |connection closed |error reading |closing transport |transport: |write )`)

// classify is the one place that knows what the error of an attempt means, made with these settings.
func classify(err error, settings *configgrpc.ClientConfig) *Error {
	s := status.Convert(err)
	v := verdicts[s.Code()]
	e := &Error{Permanent: !v.retry, Everything: v.everything, status: s}
	var retry *errdetails.RetryInfo
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			retry = info
		}
	}
	e.delay = min(retry.GetRetryDelay().AsDuration(), maxServerDelay)

	if credentialFaults.MatchString(s.Message()) {
		e.Permanent, e.Everything = false, true
		e.Hint = credentialsHint
		return e
	}
	switch s.Code() {
	case codes.Unavailable:
		e.explainConnection(&settings.TLS)
	case codes.ResourceExhausted:
		switch {
		case retry != nil: // The server asks for a pause.
			e.Permanent, e.Everything = false, true
		case tooLarge.MatchString(s.Message()):
			e.TooLarge = true
			e.Hint = tooLargeHint
		}
	case codes.Unimplemented:
		e.Hint = noIngressHint
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Hint = identityHint
		e.ByHand = !settings.Auth.HasValue() && clientCertificate.byHand(&settings.TLS) // An extension may have another token.
		if strings.HasPrefix(s.Message(), fromProxy) {
			e.ByHand, e.Hint = false, proxyHint
		}
	}
	return e
}

// explainConnection says why there is no connection, as far as the words of gRPC and TLS do.
func (e *Error) explainConnection(settings *configtls.ClientConfig) {
	text := e.status.Message()
	if !ownWords.MatchString(text) {
		return
	}
	for _, f := range certificateFaults {
		if strings.Contains(text, f.words) {
			e.Hint, e.ByHand = f.hint, f.side.byHand(settings)
			switch {
			case f.hint == wrongCAHint && settings.CAFile == "" && settings.CAPem == "":
				e.Hint = noCAHint
			case f.side == clientCertificate && settings.CertFile != "" && settings.ReloadInterval == 0:
				e.Hint += readOnceHint
			}
			return
		}
	}
	switch {
	case strings.Contains(text, handshakeFailure):
		if settings.CertFile == "" && settings.CertPem == "" {
			e.Hint = noCertificateHint
			e.ByHand = true
			return
		}
		e.Hint = handshakeHint
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		e.Hint = noTLSHint
	case settings.Insecure && strings.Contains(text, "error reading server preface"):
		e.Hint, e.Guess = plaintextHint, true // A server that is on its way down breaks connections like that, too.
	case strings.Contains(text, "broken pipe"), strings.Contains(text, "connection reset"):
		e.Hint, e.Guess = brokenHint, true
	}
}
