// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ingresstest")
	if err == nil {
		certs = dir
		err = ingressserver.WriteCerts(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// certs is a folder of certificates for the tests that need no other: making keys takes a while.
var certs string

// clientTLS is what a client of the server with the certificates in a folder needs.
func clientTLS(t *testing.T, dir string) *tls.Config {
	t.Helper()
	c := &Capture{Certs: dir}
	cert, err := tls.LoadX509KeyPair(c.File(ingressserver.ClientCertFile), c.File(ingressserver.ClientKeyFile))
	require.NoError(t, err)
	ca, err := os.ReadFile(c.File(ingressserver.CAFile))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: ingressserver.AgentName, Certificates: []tls.Certificate{cert}, RootCAs: pool}
}

// dial makes a client that is closed when the test ends.
func dial(t *testing.T, address string, config *tls.Config) loggregator_v2.IngressClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return loggregator_v2.NewIngressClient(conn)
}

// start is StartCapture with certificates that are there already, and a client.
func start(t *testing.T) (*Capture, loggregator_v2.IngressClient) {
	t.Helper()
	config, err := ingressserver.ServerTLS(certs)
	require.NoError(t, err)
	server := &Capture{Certs: certs}
	server.Server, err = Start("127.0.0.1:0", config, server.keep)
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	return server, dial(t, server.Addr(), clientTLS(t, certs))
}

func envelope(payload string) *loggregator_v2.Envelope {
	return &loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(payload)}}}
}

func batch(payloads ...string) *loggregator_v2.EnvelopeBatch {
	var b loggregator_v2.EnvelopeBatch
	for _, p := range payloads {
		b.Batch = append(b.Batch, envelope(p))
	}
	return &b
}

// send sends a batch, which has to be acknowledged.
func send(t *testing.T, client loggregator_v2.IngressClient, payloads ...string) {
	t.Helper()
	_, err := client.Send(t.Context(), batch(payloads...))
	require.NoError(t, err)
}

// sendEventually sends a batch until it is acknowledged.
func sendEventually(t *testing.T, client loggregator_v2.IngressClient, payload string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := client.Send(t.Context(), batch(payload))
		return err == nil
	}, waitAtMost, time.Millisecond)
}

// sendAsync sends from another goroutine; the channel gets the result.
func sendAsync(t *testing.T, client loggregator_v2.IngressClient, payloads ...string) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := client.Send(t.Context(), batch(payloads...))
		result <- err
	}()
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

func requireCode(t *testing.T, want codes.Code, err error) {
	t.Helper()
	require.Equal(t, want, status.Code(err), "%v", err)
}

func payloads(server *Capture) []string {
	var got []string
	for _, e := range server.Envelopes() {
		got = append(got, string(e.GetLog().GetPayload()))
	}
	return got
}
