// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configretry"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitAtMost is how long a test waits for what has to come. It is far more than it takes.
const waitAtMost = time.Minute

var buildInfo = component.BuildInfo{Command: "otelcol-test", Version: "1.2.3"}

func configFor(server *ingresstest.Capture) Config { return configWith(server.Addr(), server.Certs) }

// configWith sends with these certificates, and tries again without a noticeable pause for as long as it takes.
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
	cfg.GRPC.TLS.CAFile = filepath.Join(certs, ingresstest.CAFile)
	cfg.GRPC.TLS.CertFile = filepath.Join(certs, ingresstest.ClientCertFile)
	cfg.GRPC.TLS.KeyFile = filepath.Join(certs, ingresstest.ClientKeyFile)
	cfg.GRPC.TLS.ServerName = ingresstest.AgentName
	return cfg
}

// connect makes a client that is closed when the test ends.
func connect(t *testing.T, cfg Config) *Client {
	t.Helper()
	client, err := NewClient(t.Context(), cfg, nil, componenttest.NewNopTelemetrySettings(), buildInfo)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// warm waits until the connection is there, so that what comes next takes no longer than it has to.
func warm(t *testing.T, client *Client) {
	t.Helper()
	require.NoError(t, send(t.Context(), client.NewSender(func(Attempt) {})))
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

// send encodes a batch into memory of the sender and sends it.
func send(ctx context.Context, s *Sender, envelopes ...*loggregator_v2.Envelope) error {
	batch := s.NewBatch()
	var err error
	*batch, err = proto.MarshalOptions{}.MarshalAppend(*batch, &loggregator_v2.EnvelopeBatch{Batch: envelopes})
	if err != nil {
		return fmt.Errorf("the test can't encode: %w", err)
	}
	return s.Send(ctx, batch, len(envelopes))
}

// sendAsync sends from another goroutine; the channel gets the result.
func sendAsync(ctx context.Context, s *Sender, envelopes ...*loggregator_v2.Envelope) <-chan error {
	result := make(chan error, 1)
	go func() { result <- send(ctx, s, envelopes...) }()
	return result
}

// await returns what comes out of the channel.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		t.Fatalf("waited in vain for %s", what)
		panic("not reached")
	}
}

// requireError requires an *Error with this gRPC code.
func requireError(t *testing.T, err error, wantType string) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, wantType, e.Type(), "%v", err)
	return e
}

// requireLogs requires the payloads of the logs that arrived.
func requireLogs(t *testing.T, server *ingresstest.Capture, want ...string) {
	t.Helper()
	var got []string
	for _, e := range server.Envelopes() {
		got = append(got, string(e.GetLog().GetPayload()))
	}
	require.Equal(t, want, got)
}
