// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// refusal is an error of a server; details say more about it.
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

// lastCode is the last code that gRPC has.
const lastCode = codes.Unauthenticated

// permanentCodes says of each code without details whether another attempt can't help.
var permanentCodes = map[codes.Code]bool{
	codes.Canceled:           false,
	codes.Unknown:            true,
	codes.InvalidArgument:    true,
	codes.DeadlineExceeded:   false,
	codes.NotFound:           true,
	codes.AlreadyExists:      true,
	codes.PermissionDenied:   true,
	codes.ResourceExhausted:  true,
	codes.FailedPrecondition: true,
	codes.Aborted:            false,
	codes.OutOfRange:         false,
	codes.Unimplemented:      true,
	codes.Internal:           true,
	codes.Unavailable:        false,
	codes.DataLoss:           false,
	codes.Unauthenticated:    true,
}

// codeHints are words of the hints, for the codes that have one.
var codeHints = map[codes.Code]string{
	codes.PermissionDenied: "tls::cert_file",
	codes.Unauthenticated:  "tls::cert_file",
	codes.Unimplemented:    "agent or router",
}

func TestClassifyCodes(t *testing.T) {
	require.Len(t, permanentCodes, int(lastCode), "every code but OK")
	for code := codes.Canceled; code <= lastCode; code++ {
		t.Run(code.String(), func(t *testing.T) {
			e := classify(refusal(t, code), false)
			assert.Equal(t, permanentCodes[code], e.Permanent)
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
		permanent bool
		code      codes.Code
		delay     time.Duration
	}{
		{"exhausted, with a pause", refusal(t, codes.ResourceExhausted, retryIn(3*time.Second)), false, codes.ResourceExhausted, 3 * time.Second},
		{"exhausted, with a pause of 0", refusal(t, codes.ResourceExhausted, retryIn(0)), false, codes.ResourceExhausted, 0},
		{"exhausted, with RetryInfo that is empty", refusal(t, codes.ResourceExhausted, &errdetails.RetryInfo{}), false, codes.ResourceExhausted, 0},
		{"exhausted, with something else", refusal(t, codes.ResourceExhausted, help), true, codes.ResourceExhausted, 0},
		{"exhausted, with a pause after something else", refusal(t, codes.ResourceExhausted, help, retryIn(time.Second)), false, codes.ResourceExhausted, time.Second},
		{"unavailable, with a pause", refusal(t, codes.Unavailable, retryIn(time.Second)), false, codes.Unavailable, time.Second},
		{"a pause makes no permanent error pass", refusal(t, codes.InvalidArgument, retryIn(time.Second)), true, codes.InvalidArgument, time.Second},
		{"a pause longer than time can say", refusal(t, codes.Unavailable, &errdetails.RetryInfo{
			RetryDelay: &durationpb.Duration{Seconds: 315_576_000_000},
		}), false, codes.Unavailable, math.MaxInt64},
		{"an error that is not gRPC's", errors.New("no"), true, codes.Unknown, 0},
		{"a code that nobody knows", refusal(t, lastCode+1), true, lastCode + 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := classify(tt.err, false)
			assert.Equal(t, tt.permanent, e.Permanent)
			assert.Equal(t, tt.code.String(), e.Type())
			assert.Equal(t, tt.delay, e.delay)
			assert.Contains(t, e.Error(), "no")
			if !tt.permanent {
				assert.Empty(t, e.Hint, "what passes needs nobody")
			}
		})
	}
}

// What is about one message must not look like an outage.
func TestWhatIsAboutEveryMessage(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.Unavailable: true, codes.DeadlineExceeded: true, codes.Canceled: true,
		codes.Unimplemented: true, codes.Unauthenticated: true, codes.PermissionDenied: true,
		codes.InvalidArgument: false, codes.Internal: false, codes.ResourceExhausted: false,
	} {
		assert.Equal(t, want, classify(status.Error(code, ""), false).Everything, code)
	}
}

func TestWhatOnlyAPersonCanMend(t *testing.T) {
	const handshake = "connection error: desc = \"transport: authentication handshake failed: "
	for text, want := range map[string]string{
		handshake + "tls: failed to verify certificate: x509: certificate signed by unknown authority\"":                 "tls::ca_file",
		handshake + "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: it is 2026\"": "out of date",
		handshake + "tls: failed to verify certificate: x509: certificate is valid for metron, not doppler\"":            "tls::server_name_override",
		"error reading server preface: remote error: tls: certificate required":                                          "set tls::cert_file",
		"error reading server preface: remote error: tls: expired certificate":                                           "tls::cert_file is out of date",
	} {
		e := classify(status.Error(codes.Unavailable, text), false)
		assert.True(t, e.ByHand, text)
		assert.False(t, e.Permanent, "it is tried again: the other end may mend it")
		assert.Contains(t, e.Hint, want)
		assert.False(t, classify(status.Error(codes.Unavailable, text), true).ByHand, "a certificate that is reloaded mends itself")
	}
	for code, want := range map[codes.Code]bool{
		codes.PermissionDenied: true, codes.Unauthenticated: true, codes.Unimplemented: true,
		codes.Unavailable: false, codes.DeadlineExceeded: false, codes.Internal: false,
	} {
		assert.Equal(t, want, classify(status.Error(code, "no"), true).ByHand, code)
	}
}

func TestTooLarge(t *testing.T) {
	for text, want := range map[string]bool{
		"grpc: received message larger than max (5 vs. 4)":              true, // Go, C++
		"gRPC message exceeds maximum size 4: 5":                        true, // Java
		"the quota of this hour is used up":                             false,
		"grpc: received message after decompression larger than max 10": true,
	} {
		assert.Equal(t, want, classify(status.Error(codes.ResourceExhausted, text), false).TooLarge, text)
	}
	assert.False(t, classify(status.Error(codes.Internal, "larger than max"), false).TooLarge)
}

// A server may quote what it was sent, or say more than anybody wants to read.
func TestServersWordsAreBounded(t *testing.T) {
	e := classify(status.Error(codes.Internal, strings.Repeat("é", 1000)), false)
	assert.Equal(t, "Internal: "+strings.Repeat("é", maxErrorText/2)+"…", e.Error())
	e = classify(status.Error(codes.Internal, "x"+strings.Repeat("é", 1000)), false)
	assert.Equal(t, "Internal: x"+strings.Repeat("é", maxErrorText/2-1)+"…", e.Error())
}
