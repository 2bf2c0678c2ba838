// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

func TestSendEachKind(t *testing.T) {
	server, client := start(t)
	sender := observe(client)

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

	// The server records the batch before it acknowledges it, so there is no need to wait.
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

// rawCodec does not decode messages. It has protobuf's name, as gRPC servers expect.
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
	type call struct {
		method string
		header metadata.MD
		batch  []byte
	}
	calls := make(chan call, 1)
	cfg := serve(t, nil,
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var c call
			c.method, _ = grpc.MethodFromServerStream(stream)
			c.header, _ = metadata.FromIncomingContext(stream.Context())
			if err := stream.RecvMsg(&c.batch); err != nil {
				return err
			}
			calls <- c
			// A later version of the agent may respond with fields.
			return stream.SendMsg(&[]byte{0x0a, 0x01, 'x'})
		}),
	)
	sender := observe(connect(t, cfg))

	random := rand.NewChaCha8([32]byte{})
	// Around the size below which gRPC does not recycle memory, the size of a frame, and the window of a stream.
	for _, size := range []int{0, 1, 1 << 10, 1<<10 + 1, 16 << 10, 1 << 16, 1 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			want := make([]byte, size)
			_, _ = random.Read(want)
			message := buffers.Get(0)
			require.Empty(t, *message)
			*message = append(*message, want...)
			require.NoError(t, sendBytes(t.Context(), sender, message))

			got := ingresstest.Await(t, "the call", calls)
			require.Equal(t, len(want), len(got.batch))
			require.True(t, string(want) == string(got.batch), "the received bytes differ from the sent ones")
			assert.Equal(t, loggregator_v2.Ingress_Send_FullMethodName, got.method)
			assert.Equal(t, []string{"application/grpc+proto"}, got.header.Get("content-type"))
			assert.Empty(t, got.header.Get("grpc-encoding"), "the agent does not accept compressed messages")
			require.Len(t, got.header.Get("user-agent"), 1)
			assert.Regexp(t, `^otelcol-test/1\.2\.3 grpc-go/`, got.header.Get("user-agent")[0])
		})
	}
}

// numbered returns a log whose payload repeats its number, so that each byte shows its origin.
func numbered(number uint64, size int) *loggregator_v2.Envelope {
	e := logEnvelope("")
	e.GetLog().Payload = bytes.Repeat(binary.BigEndian.AppendUint64(nil, number), size/8)
	return e
}

// gRPC may still be writing an abandoned message when the next one is encoded. If they shared memory, the race detector would report
// it, or the server would receive the wrong bytes.
func TestAbandonedMessageBuffer(t *testing.T) {
	const iterations = 90
	// The first is too small for gRPC to recycle its memory. The last exceeds a stream's window, so it is abandoned half sent.
	sizes := []int{512, 8 << 10, 200 << 10}

	server, client := start(t)
	warm(t, client)
	sender := observe(client)
	seen := map[*byte]bool{}
	reused := 0
	batch := func(envelope *loggregator_v2.Envelope) *[]byte {
		b := buffers.Get(0)
		if cap(*b) > 0 && seen[&(*b)[:1][0]] {
			reused++
		}
		var err error
		*b, err = proto.MarshalOptions{}.MarshalAppend(*b, &loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{envelope}})
		require.NoError(t, err)
		seen[&(*b)[0]] = true
		return b
	}

	number := uint64(0)
	acknowledged := map[uint64]bool{}
	for i := range iterations {
		size := sizes[i%len(sizes)]
		server.Stall()
		calls := server.Calls()
		ctx, cancel := context.WithCancel(t.Context())
		number++
		abandoned := batch(numbered(number, size))
		result := make(chan error, 1)
		go func() { result <- sendBytes(ctx, sender, abandoned) }()
		if i%2 == 0 {
			server.WaitFor(t, "the call", func() bool { return server.Calls() > calls })
		} else {
			// At any point of the attempt.
			for range i % 20 {
				runtime.Gosched()
			}
		}
		cancel()
		require.Error(t, ingresstest.Await(t, "the end of Send", result))

		// Encode the next batches while gRPC may still be writing the abandoned one.
		next := make([]*[]byte, 3)
		for n := range next {
			number++
			next[n] = batch(numbered(number, size))
		}
		server.Resume()
		for n, b := range next {
			require.NoError(t, sendBytes(t.Context(), sender, b))
			acknowledged[number-uint64(len(next)-1-n)] = true
		}
	}

	for _, e := range server.Envelopes() {
		payload := e.GetLog().GetPayload()
		require.NotEmpty(t, payload)
		got := binary.BigEndian.Uint64(payload)
		require.Truef(t, proto.Equal(numbered(got, len(payload)), e), "batch %d contains bytes of other batches", got)
		delete(acknowledged, got)
	}
	assert.Empty(t, acknowledged, "acknowledged batches that did not arrive")
	assert.Positive(t, reused, "the test proves nothing unless memory is reused")
}

func TestNoConnection(t *testing.T) {
	server := ingresstest.StartCapture(t)
	otherCerts := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(otherCerts))

	down := ingresstest.StartCapture(t)
	down.Down()

	// With TLS 1.3, a client learns only after its handshake that the server refuses its certificate, or sees only a broken connection.
	// Either way, the error must mention the certificate.
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"wrong server name", func(c *Config) { c.GRPC.TLS.ServerName = "doppler" }, "certificate is valid for metron, not doppler"},
		{"address as server name", func(c *Config) { c.GRPC.TLS.ServerName = "" }, "cannot validate certificate for 127.0.0.1"},
		{"wrong authority", func(c *Config) { c.GRPC.TLS.CAFile = filepath.Join(otherCerts, ingressserver.CAFile) }, "certificate signed by unknown authority"},
		{"no client certificate", func(c *Config) { c.GRPC.TLS.CertFile, c.GRPC.TLS.KeyFile = "", "" }, "certificate"},
		{"client certificate from another authority", func(c *Config) {
			c.GRPC.TLS.CertFile = filepath.Join(otherCerts, ingressserver.ClientCertFile)
			c.GRPC.TLS.KeyFile = filepath.Join(otherCerts, ingressserver.ClientKeyFile)
		}, "certificate"},
		{"no TLS", func(c *Config) { c.GRPC.TLS.Insecure = true; c.GRPC.TLS.CAFile = "" }, "connection error"},
		{"no listener", func(c *Config) { c.GRPC.Endpoint = down.Addr() }, "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sender := observe(connect(t, configFor(server), noRetry, tt.change))
			e := requireError(t, send(t.Context(), sender, logEnvelopes(1)...), "Unavailable")
			assert.Contains(t, e.Error(), tt.want)
			assert.True(t, e.Retryable, "certificates get replaced and agents get started")
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
		{"missing authority", func(c *Config) { c.GRPC.TLS.CAFile += ".not" }, "ca.crt.not"},
		{"invalid authority", func(c *Config) { c.GRPC.TLS.CAFile = garbage }, "CA"},
		{"missing certificate", func(c *Config) { c.GRPC.TLS.CertFile += ".not" }, "client.crt.not"},
		{"missing key", func(c *Config) { c.GRPC.TLS.KeyFile += ".not" }, "client.key.not"},
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
	server, client := start(t)
	for state := client.conn.GetState(); state != connectivity.Ready; state = client.conn.GetState() {
		require.True(t, client.conn.WaitForStateChange(t.Context(), state))
	}
	assert.Zero(t, server.Calls())
}

func TestCloseDuringAttempt(t *testing.T) {
	server, client := start(t, noRetry)
	server.Stall()
	result := sendAsync(t.Context(), observe(client), logEnvelopes(1)...)
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })

	require.NoError(t, client.Close())
	requireError(t, ingresstest.Await(t, "the end of Send", result), "Canceled")
	assert.Empty(t, server.Envelopes())
}

func TestTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	server, client := start(t, func(c *Config) { c.Timeout = timeout })
	// On a busy machine, connecting may take longer than the timeout.
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
		assert.GreaterOrEqual(t, a.Duration, timeout)
	}
	assert.Nil(t, attempts[len(attempts)-1].Err)
	assert.NotEmpty(t, server.Envelopes())
}

func TestNoTimeout(t *testing.T) {
	server, client := start(t, noRetry, func(c *Config) { c.Timeout = 0 })
	server.Stall()
	result := sendAsync(t.Context(), observe(client), logEnvelope("late"))
	server.WaitFor(t, "the call", func() bool { return server.Calls() == 1 })
	server.Resume()
	require.NoError(t, ingresstest.Await(t, "the acknowledgement", result))
	assert.Equal(t, []string{"late"}, server.Payloads())
}

// With wait_for_ready, an attempt without a connection waits for one instead of failing.
func TestWaitForReady(t *testing.T) {
	server, client := start(t, noRetry, func(c *Config) { c.GRPC.WaitForReady = true })
	for name, fault := range map[string]func(){"agent": func() {}, "router": server.Router} {
		warm(t, client)
		server.Down()
		require.Eventually(t, func() bool { return client.conn.GetState() == connectivity.TransientFailure }, waitAtMost, time.Millisecond)
		fault()
		sent := make(chan error, 1)
		go func() { sent <- send(t.Context(), observe(client), logEnvelope(name)) }()
		require.NoError(t, server.Up()) // gRPC reconnects after a second.
		require.NoError(t, ingresstest.Await(t, "the acknowledgement", sent), name)
	}
}
