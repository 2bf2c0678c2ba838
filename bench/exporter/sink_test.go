// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package exporter

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// sinkCerts is the environment variable with the certificate folder that makes this binary run as the sink.
const sinkCerts = "BENCH_SINK_CERTS"

func TestMain(m *testing.M) {
	if certs := os.Getenv(sinkCerts); certs != "" {
		if err := serveSink(certs); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// rawCodec does not decode messages.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

// Marshal encodes anything as an empty message.
func (rawCodec) Marshal(any) (mem.BufferSlice, error) { return nil, nil }

// Unmarshal copies the encoded message to a *[]byte.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message := v.(*[]byte)
	*message = append((*message)[:0], data.Materialize()...)
	return nil
}

// fields calls each with the content of every length-delimited field of a message with this number.
func fields(message []byte, number protowire.Number, each func([]byte)) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			panic("not a message")
		}
		message = message[size:]
		if n == number && kind == protowire.BytesType {
			content, size := protowire.ConsumeBytes(message)
			each(content)
			message = message[size:]
			continue
		}
		message = message[protowire.ConsumeFieldValue(n, kind, message):]
	}
}

func countEnvelopes(message []byte) (n int64) {
	fields(message, 1, func([]byte) { n++ })
	return n
}

func countRecords(message []byte) (n int64) {
	fields(message, 1, func(resource []byte) {
		fields(resource, 2, func(scope []byte) {
			fields(scope, 2, func([]byte) { n++ })
		})
	})
	return n
}

// serveSink serves a Loggregator ingress and an OTLP receiver for logs, prints its address, and responds to each line of its input with
// the number of items that have arrived. It decodes only what it needs to count them, because the benchmarks measure sending.
func serveSink(certs string) error {
	config, err := ingressserver.ServerTLS(certs)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var items atomic.Int64
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)), grpc.MaxRecvMsgSize(64<<20), grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			count := countEnvelopes
			if method == plogotlpExport {
				count = countRecords
			}
			var message []byte
			for {
				if err := stream.RecvMsg(&message); err != nil {
					return err // A BatchSender stream ends like this.
				}
				items.Add(count(message))
				if method != loggregator_v2.Ingress_BatchSender_FullMethodName {
					return stream.SendMsg(nil)
				}
			}
		}))
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	fmt.Println(l.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(items.Load())
	}
	return nil
}

const plogotlpExport = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

// sink is a separate process that the peers send to, so that its processor time does not count as theirs.
type sink struct {
	certs, address string
	ask            func() int64
}

func startSink(b *testing.B) *sink {
	b.Helper()
	s := &sink{certs: b.TempDir()}
	require.NoError(b, ingressserver.WriteCerts(s.certs))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), sinkCerts+"="+s.certs)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close() // Ends the process.
		require.NoError(b, cmd.Wait())
	})
	lines := bufio.NewScanner(out)
	require.True(b, lines.Scan(), "the sink did not start")
	s.address = lines.Text()
	s.ask = func() int64 {
		_, err := fmt.Fprintln(in)
		require.NoError(b, err)
		require.True(b, lines.Scan(), "the sink has ended")
		var n int64
		_, err = fmt.Sscan(lines.Text(), &n)
		require.NoError(b, err)
		return n
	}
	return s
}

// waitFor waits until n items have arrived.
func (s *sink) waitFor(b *testing.B, n int64) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); s.ask() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("only %d of %d items have arrived", s.ask(), n)
		}
	}
}

// settings returns the tls settings of a component that connects to the sink.
func (s *sink) settings() map[string]any {
	return map[string]any{
		"ca_file":              filepath.Join(s.certs, ingressserver.CAFile),
		"cert_file":            filepath.Join(s.certs, ingressserver.ClientCertFile),
		"key_file":             filepath.Join(s.certs, ingressserver.ClientKeyFile),
		"server_name_override": ingressserver.AgentName,
	}
}

// client returns the TLS configuration of a client of the sink.
func (s *sink) client(b *testing.B) *tls.Config {
	b.Helper()
	config, err := ingressserver.ClientTLS(s.certs)
	require.NoError(b, err)
	return config
}
