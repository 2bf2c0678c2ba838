// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"fmt"
	"strings"
	"time"

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
	// Hint says what a person can do about it; often empty.
	Hint string

	status *status.Status
	delay  time.Duration
}

// Error is the server's or gRPC's own words, with the code and the hint.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.status.Code(), e.status.Message())
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Type is the gRPC code, as the attribute error.type has it.
func (e *Error) Type() string { return e.status.Code().String() }

// classify is the one place that knows what the error of an attempt means.
func classify(err error) *Error {
	e := &Error{status: status.Convert(err), Everything: true}
	var retry *errdetails.RetryInfo
	for _, detail := range e.status.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			retry = info
		}
	}
	e.delay = retry.GetRetryDelay().AsDuration()

	switch e.status.Code() {
	// The codes that OTLP exporters retry, for the same reasons.
	case codes.Unavailable: // There is no connection, or it broke, or the server shuts down.
		if m := e.status.Message(); strings.Contains(m, "broken pipe") || strings.Contains(m, "connection reset") {
			e.Hint = "a server that does not accept the client certificate in tls::cert_file breaks the connection like that"
		}
	case codes.DeadlineExceeded, // No answer within the timeout.
		codes.Canceled, // The server, or a proxy, gave the call up.
		codes.Aborted, codes.OutOfRange, codes.DataLoss:
	case codes.ResourceExhausted:
		// With RetryInfo the server asks for a pause. Without it the batch is larger than the server takes.
		if retry == nil {
			e.Permanent, e.Everything = true, false
			e.Hint = "is batch::max_bytes above what the server takes?"
		}
	case codes.Unimplemented:
		e.Permanent = true
		e.Hint = "the endpoint does not serve loggregator.v2.Ingress/Send: it has to be a Loggregator agent, not a router, and without compression"
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Permanent = true
		e.Hint = "the server does not accept who the client is; see tls::cert_file and auth"
	default:
		e.Permanent, e.Everything = true, false
	}
	return e
}
