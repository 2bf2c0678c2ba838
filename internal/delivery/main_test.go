// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/config/configtls"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	waitAtMost = ingresstest.WaitAtMost
	// never is a pause too long for any test to wait for.
	never = time.Hour
)

var buildInfo = component.BuildInfo{Command: "otelcol-test", Version: "1.2.3"}

func configFor(server *ingresstest.Capture) Config { return configWith(server.Addr(), server.Certs) }

// configWith returns settings with these certificates and endless retries, 1 ms apart.
func configWith(endpoint, certs string) Config {
	cfg := Config{
		GRPC:    configgrpc.NewDefaultClientConfig(),
		Timeout: waitAtMost,
		Retry: configretry.BackOffConfig{
			Enabled:         true,
			InitialInterval: time.Millisecond,
			Multiplier:      1,
			MaxInterval:     time.Millisecond,
		},
	}
	cfg.GRPC.Endpoint = endpoint
	cfg.GRPC.TLS.CAFile = filepath.Join(certs, ingressserver.CAFile)
	cfg.GRPC.TLS.CertFile = filepath.Join(certs, ingressserver.ClientCertFile)
	cfg.GRPC.TLS.KeyFile = filepath.Join(certs, ingressserver.ClientKeyFile)
	cfg.GRPC.TLS.ServerName = ingressserver.AgentName
	return cfg
}

func noRetry(c *Config) { c.Retry.Enabled = false }

// pausing sets the pause between attempts.
func pausing(pause time.Duration) func(*Config) {
	return func(c *Config) { c.Retry.InitialInterval, c.Retry.MaxInterval = pause, pause }
}

func limited(envelopesPerSecond float64, burst int) func(*Config) {
	return func(c *Config) { c.EnvelopesPerSecond, c.Burst = envelopesPerSecond, burst }
}

// connect returns a client with changed settings. The client is closed when the test ends.
func connect(t *testing.T, cfg Config, changes ...func(*Config)) *Client {
	t.Helper()
	for _, change := range changes {
		change(&cfg)
	}
	client, err := NewClient(t.Context(), cfg, nil, componenttest.NewNopTelemetrySettings(), buildInfo)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// start starts a server and returns it with a client.
func start(t *testing.T, changes ...func(*Config)) (*ingresstest.Capture, *Client) {
	t.Helper()
	server := ingresstest.StartCapture(t)
	return server, connect(t, configFor(server), changes...)
}

// serve runs a server without TLS, for ingress unless it is nil, and returns the settings for a client.
func serve(t *testing.T, ingress loggregator_v2.IngressServer, options ...grpc.ServerOption) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(options...)
	if ingress != nil {
		loggregator_v2.RegisterIngressServer(server, ingress)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	cfg := configWith(l.Addr().String(), "")
	cfg.GRPC.TLS = configtls.ClientConfig{Insecure: true}
	return cfg
}

// observed is a sender that records its attempts. It must not be used concurrently.
type observed struct {
	*Sender
	attempts []Attempt
	hooks    []func(Attempt)
}

// observe returns a sender that calls hooks after each attempt.
func observe(client *Client, hooks ...func(Attempt)) *observed {
	return &observed{Sender: client.NewSender(), hooks: hooks}
}

// watch returns a sender that sends its attempts to a channel.
func watch(client *Client) (*observed, <-chan Attempt) {
	attempts := make(chan Attempt, 100)
	return observe(client, func(a Attempt) { attempts <- a }), attempts
}

func (s *observed) attempted(a Attempt) {
	s.attempts = append(s.attempts, a)
	for _, hook := range s.hooks {
		hook(a)
	}
}

// resumeAfter returns a hook that ends the faults of a server after this number of attempts.
func resumeAfter(server *ingresstest.Capture, attempts int) func(Attempt) {
	return func(Attempt) {
		if attempts--; attempts == 0 {
			server.Resume()
		}
	}
}

// deliver delivers a message and returns its outcomes.
func (s *observed) deliver(ctx context.Context, m *Message) []Outcome {
	for a := range s.Deliver(ctx, m) {
		s.attempted(a)
	}
	return m.Outcomes()
}

// newMessage returns a message without limits.
func newMessage() *Message { return NewMessage(math.MaxInt, math.MaxInt) }

// warm waits for the connection.
func warm(t *testing.T, client *Client) {
	t.Helper()
	require.NoError(t, sendBytes(t.Context(), observe(client), buffers.Get(0)))
}

func logEnvelope(payload string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{
		SourceId: "app",
		Message:  &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(payload)}},
	}
}

func logEnvelopes(n int) []*loggregator_v2.Envelope {
	envelopes := make([]*loggregator_v2.Envelope, n)
	for i := range envelopes {
		envelopes[i] = logEnvelope(fmt.Sprintf("log %d", i))
	}
	return envelopes
}

// messageOf returns a message of these envelopes, each of which completes an item.
func messageOf(envelopes ...*loggregator_v2.Envelope) *Message {
	message := newMessage()
	for _, e := range envelopes {
		encoded, err := proto.Marshal(e)
		if err != nil {
			panic(err)
		}
		message.Append(encoded, 1)
	}
	return message
}

// send sends a message of these envelopes. It returns the error of the last outcome that has one.
func send(ctx context.Context, s *observed, envelopes ...*loggregator_v2.Envelope) error {
	var err error
	for _, o := range s.deliver(ctx, messageOf(envelopes...)) {
		if o.Err != nil {
			err = o.Err
		}
	}
	return err
}

// sendBytes sends bytes as a message of one envelope.
func sendBytes(ctx context.Context, s *observed, message *[]byte) error {
	b := &buffer{mem.NewBuffer(message, &buffers)}
	defer b.Free()
	return s.send(ctx, b, 1, func(a Attempt) bool {
		s.attempted(a)
		return true
	})
}

// sendAsync sends from another goroutine. The channel receives the result.
func sendAsync(ctx context.Context, s *observed, envelopes ...*loggregator_v2.Envelope) <-chan error {
	result := make(chan error, 1)
	go func() { result <- send(ctx, s, envelopes...) }()
	return result
}

// requireError requires an *Error with this gRPC code.
func requireError(t *testing.T, err error, wantType string) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, wantType, e.Type(), "%v", err)
	return e
}
