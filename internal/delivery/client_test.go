// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestEachKindArrives(t *testing.T) {
	server := ingresstest.StartCapture(t)
	sender := observe(connect(t, configFor(server)))

	want := []*loggregator_v2.Envelope{
		{
			Timestamp: math.MinInt64, SourceId: "app", InstanceId: "0", Tags: map[string]string{"source_type": "APP", "": "ü"},
			Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte("\x00\xff\n"), Type: loggregator_v2.Log_ERR}},
		},
		{Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{Name: "c", Delta: 1, Total: math.MaxUint64}}},
		{Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{
			Metrics: map[string]*loggregator_v2.GaugeValue{"g": {Unit: "s", Value: math.Inf(-1)}},
		}}},
		{Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{Name: "t", Start: 1, Stop: 2}}},
		{Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{Title: "e", Body: "b"}}},
		{},
	}
	require.NoError(t, send(t.Context(), sender, want...))

	// The acknowledgement comes after the batch: there is nothing to wait for.
	got := server.Envelopes()
	require.Len(t, got, len(want))
	for i := range want {
		assert.Truef(t, proto.Equal(want[i], got[i]), "want %v\ngot  %v", want[i], got[i])
	}
	assert.Equal(t, []int{len(want)}, server.Batches())
	require.Len(t, sender.attempts, 1)
	assert.Nil(t, sender.attempts[0].Err)
	assert.Zero(t, sender.attempts[0].RetryIn)
	assert.Positive(t, sender.attempts[0].Duration)
}

// rawCodec does not decode messages. Its name is protobuf's, as gRPC's servers expect.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "proto" }

// The server checks the bytes and the headers on the wire.
func TestBytesOnTheWire(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(dir))
	config, err := ingressserver.ServerTLS(dir)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)

	type call struct {
		method string
		header metadata.MD
		batch  []byte
	}
	calls := make(chan call, 1)
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(config)),
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var c call
			c.method, _ = grpc.MethodFromServerStream(stream)
			c.header, _ = metadata.FromIncomingContext(stream.Context())
			if err := stream.RecvMsg(&c.batch); err != nil {
				return err
			}
			calls <- c
			// Fields that a later version of the agent may respond with.
			return stream.SendMsg(&[]byte{0x0a, 0x01, 'x'})
		}),
	)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})

	cfg := configWith(listener.Addr().String(), dir)
	sender := observe(connect(t, cfg))

	random := rand.NewChaCha8([32]byte{})
	// Around the size below which gRPC does not recycle memory, a frame, and the window of a stream.
	for _, size := range []int{0, 1, 1 << 10, 1<<10 + 1, 16 << 10, 1 << 16, 1 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			want := make([]byte, size)
			_, _ = random.Read(want)
			message := buffers.Get(0)
			require.Empty(t, *message)
			*message = append(*message, want...)
			require.NoError(t, sendBytes(t.Context(), sender, message))

			got := await(t, "the call", calls)
			require.Equal(t, len(want), len(got.batch))
			require.True(t, string(want) == string(got.batch), "other bytes than those that were sent")
			assert.Equal(t, loggregator_v2.Ingress_Send_FullMethodName, got.method)
			assert.Equal(t, []string{"application/grpc+proto"}, got.header.Get("content-type"))
			assert.Empty(t, got.header.Get("grpc-encoding"), "the agent takes nothing that is compressed")
			require.Len(t, got.header.Get("user-agent"), 1)
			assert.Regexp(t, `^otelcol-test/1\.2\.3 grpc-go/`, got.header.Get("user-agent")[0])
		})
	}
}

func TestNoConnection(t *testing.T) {
	server := ingresstest.StartCapture(t)
	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))

	// A port without a listener.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := listener.Addr().String()
	require.NoError(t, listener.Close())

	// With TLS 1.3 a client learns only after its handshake that the server refuses its certificate, or sees only a broken
	// connection. Either way the error has to name the certificate.
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"wrong server name", func(c *Config) { c.GRPC.TLS.ServerName = "doppler" }, "certificate is valid for metron, not doppler"},
		{"server name is the address", func(c *Config) { c.GRPC.TLS.ServerName = "" }, "cannot validate certificate for 127.0.0.1"},
		{"wrong authority", func(c *Config) { c.GRPC.TLS.CAFile = filepath.Join(stranger, ingressserver.CAFile) }, "certificate signed by unknown authority"},
		{"no client certificate", func(c *Config) { c.GRPC.TLS.CertFile, c.GRPC.TLS.KeyFile = "", "" }, "certificate"},
		{"client certificate of another authority", func(c *Config) {
			c.GRPC.TLS.CertFile = filepath.Join(stranger, ingressserver.ClientCertFile)
			c.GRPC.TLS.KeyFile = filepath.Join(stranger, ingressserver.ClientKeyFile)
		}, "certificate"},
		{"no TLS", func(c *Config) { c.GRPC.TLS.Insecure = true; c.GRPC.TLS.CAFile = "" }, "connection error"},
		{"nobody listens", func(c *Config) { c.GRPC.Endpoint = nobody }, "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configFor(server)
			cfg.Retry.Enabled = false
			tt.change(&cfg)
			sender := observe(connect(t, cfg))

			e := requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unavailable")
			assert.Contains(t, e.Error(), tt.want)
			assert.True(t, e.Retryable, "certificates get exchanged and agents start")
			assert.Len(t, sender.attempts, 1)
		})
	}
	assert.Zero(t, server.Calls())
}

func TestNewClientInvalidConfig(t *testing.T) {
	server := ingresstest.StartCapture(t)
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	require.NoError(t, os.WriteFile(garbage, []byte("garbage"), 0o600))
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"authority that is not there", func(c *Config) { c.GRPC.TLS.CAFile += ".not" }, "ca.crt.not"},
		{"authority that is none", func(c *Config) { c.GRPC.TLS.CAFile = garbage }, "CA"},
		{"certificate that is not there", func(c *Config) { c.GRPC.TLS.CertFile += ".not" }, "client.crt.not"},
		{"key that is not there", func(c *Config) { c.GRPC.TLS.KeyFile += ".not" }, "client.key.not"},
		{"key of another certificate", func(c *Config) { c.GRPC.TLS.KeyFile = server.File(ingressserver.AgentKeyFile) }, "private key does not match"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := configFor(server)
			tt.change(&cfg)
			client, err := NewClient(t.Context(), cfg, nil, componenttest.NewNopTelemetrySettings(), buildInfo)
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, client)
		})
	}
}

func TestNewClientConnects(t *testing.T) {
	server := ingresstest.StartCapture(t)
	client := connect(t, configFor(server))
	for state := client.conn.GetState(); state != connectivity.Ready; state = client.conn.GetState() {
		require.True(t, client.conn.WaitForStateChange(t.Context(), state))
	}
	assert.Zero(t, server.Calls())
}

func TestCloseDuringAttempt(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Stall()
	cfg := configFor(server)
	cfg.Retry.Enabled = false
	client := connect(t, cfg)
	result := sendAsync(t.Context(), observe(client), logEnvelopes(1)...)
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })

	require.NoError(t, client.Close())
	requireError(t, await(t, "the end of Send", result), codes.Canceled.String())
	assert.Empty(t, server.Envelopes())
}

func TestTimeout(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Timeout = 100 * time.Millisecond
	client := connect(t, cfg)
	// On a busy machine the connection may take longer than the timeout.
	warm(t, client)

	server.Stall()
	sender := observe(client, resumeAfter(server, 2))
	require.NoError(t, send(t.Context(), sender, logEnvelopes(1)...))
	attempts := sender.attempts
	require.GreaterOrEqual(t, len(attempts), 3)
	for _, a := range attempts[:2] {
		require.NotNil(t, a.Err)
		assert.Equal(t, "DeadlineExceeded", a.Err.Type())
		assert.True(t, a.Err.Retryable)
		assert.GreaterOrEqual(t, a.Duration, cfg.Timeout)
	}
	assert.Nil(t, attempts[len(attempts)-1].Err)
	assert.NotEmpty(t, server.Envelopes())
}

func TestNoTimeout(t *testing.T) {
	server := ingresstest.StartCapture(t)
	server.Stall()
	cfg := configFor(server)
	cfg.Timeout = 0
	cfg.Retry.Enabled = false
	result := sendAsync(t.Context(), observe(connect(t, cfg)), logEnvelope("late"))
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	server.Resume()
	require.NoError(t, await(t, "the acknowledgement", result))
	requireLogs(t, server, "late")
}

func TestRateLimit(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.EnvelopesPerSecond = 1000
	cfg.Burst = 100
	client := connect(t, cfg)

	const senders, batches, perBatch = 4, 5, 25
	start := time.Now()
	var (
		mu       sync.Mutex
		sent     int
		tooEarly []string
		wg       sync.WaitGroup
	)
	allowed := func(elapsed time.Duration) float64 {
		return float64(cfg.Burst) + cfg.EnvelopesPerSecond*elapsed.Seconds() + 1 // For rounding.
	}
	for range senders {
		sender := observe(client, func(Attempt) {
			mu.Lock()
			defer mu.Unlock()
			sent += perBatch
			if elapsed := time.Since(start); float64(sent) > allowed(elapsed) {
				tooEarly = append(tooEarly, fmt.Sprintf("%d envelopes in %v", sent, elapsed))
			}
		})
		wg.Go(func() {
			for range batches {
				assert.NoError(t, send(t.Context(), sender, logEnvelopes(perBatch)...))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	assert.Empty(t, tooEarly)
	assert.Len(t, server.Envelopes(), senders*batches*perBatch)
	// The burst is free, the rest comes at the rate or slower.
	assert.GreaterOrEqual(t, elapsed, 399*time.Millisecond)
}

func TestRateLimitRetry(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.EnvelopesPerSecond = 100
	cfg.Burst = 10
	client := connect(t, cfg)

	server.Refuse(refusal(t, codes.Unavailable))
	sender := observe(client, resumeAfter(server, 3))
	start := time.Now()
	require.NoError(t, send(t.Context(), sender, logEnvelopes(10)...))
	assert.Len(t, sender.attempts, 4)
	assert.GreaterOrEqual(t, time.Since(start), 299*time.Millisecond, "a batch that was refused may have been taken all the same")
}

func TestNoRateLimit(t *testing.T) {
	server := ingresstest.StartCapture(t)
	cfg := configFor(server)
	cfg.Burst = 1 // Means nothing without a rate.
	require.NoError(t, send(t.Context(), observe(connect(t, cfg)), logEnvelopes(1000)...))
	assert.Equal(t, []int{1000}, server.Batches())
}

func TestMethods(t *testing.T) {
	assert.Equal(t, loggregator_v2.Ingress_Send_FullMethodName, sendMethod)
	assert.Equal(t, loggregator_v2.Ingress_BatchSender_FullMethodName, batchSenderMethod)
}
