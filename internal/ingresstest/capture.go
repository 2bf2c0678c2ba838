// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// A Capture is an ingress that keeps the envelopes it receives.
type Capture struct {
	*Server
	// Certs is the folder with its certificates; see [ingressserver.WriteCerts].
	Certs string
	// Authority issued the certificates.
	Authority *ingressserver.Authority

	mu        sync.Mutex
	take      func([]*loggregator_v2.Envelope) // gets the envelopes; nil: they are kept
	batches   []int
	envelopes []*loggregator_v2.Envelope
}

// WaitAtMost is how long a test waits for an expected event. It is far longer than any of them takes.
const WaitAtMost = time.Minute

// shared holds the certificates of all tests of a process, because keys take a while to generate. They are issued at init, before a
// synctest bubble could date them 2000.
var shared, errShared = ingressserver.NewCerts()

// Certs returns a new folder with the shared certificates; see [ingressserver.WriteCerts].
func Certs(tb testing.TB) string {
	tb.Helper()
	require.NoError(tb, errShared)
	dir := tb.TempDir()
	require.NoError(tb, shared.Write(dir))
	return dir
}

// StartCapture starts an ingress on a free port of loopback, and stops it when the test ends.
func StartCapture(tb testing.TB) *Capture {
	tb.Helper()
	return StartCaptureAt(tb, "127.0.0.1:0")
}

// StartCaptureAt is like StartCapture, on the given address.
func StartCaptureAt(tb testing.TB, address string) *Capture {
	tb.Helper()
	c := &Capture{Certs: Certs(tb), Authority: shared.Authority}
	config, err := ingressserver.ServerTLS(c.Certs)
	require.NoError(tb, err)
	c.Server, err = Start(address, config, c.keep)
	require.NoError(tb, err)
	tb.Cleanup(c.Stop)
	return c
}

func (c *Capture) keep(envelopes []*loggregator_v2.Envelope) {
	c.mu.Lock()
	take := c.take
	if take == nil {
		c.batches = append(c.batches, len(envelopes))
		c.envelopes = append(c.envelopes, envelopes...)
	}
	c.mu.Unlock()
	if take != nil {
		take(envelopes)
	}
}

// Divert passes arriving batches to take, from one goroutine per call, instead of keeping them.
func (c *Capture) Divert(take func([]*loggregator_v2.Envelope)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take = take
}

// Expire makes c present an expired certificate on new connections.
func (c *Capture) Expire(tb testing.TB) {
	tb.Helper()
	pair, err := c.Authority.IssueUntil(ingressserver.AgentName, time.Now().Add(-time.Minute))
	require.NoError(tb, err)
	cert, err := pair.Certificate()
	require.NoError(tb, err)
	c.Present(cert)
}

// File returns the path of a certificate or key of c.
func (c *Capture) File(name string) string { return filepath.Join(c.Certs, name) }

// Envelopes returns the envelopes that have arrived, in order.
func (c *Capture) Envelopes() []*loggregator_v2.Envelope {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.envelopes)
}

// Batches returns the number of envelopes of each batch that has arrived, in order.
func (c *Capture) Batches() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.batches)
}

// Payloads returns the log payload of each envelope that has arrived, in order; "" if it is not a log.
func (c *Capture) Payloads() []string {
	var payloads []string
	for _, e := range c.Envelopes() {
		payloads = append(payloads, string(e.GetLog().GetPayload()))
	}
	return payloads
}

// WaitFor waits until condition is true, which it checks like [Server.Wait]. It fails the test if that takes longer than WaitAtMost.
func (c *Capture) WaitFor(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), WaitAtMost)
	defer cancel()
	if err := c.Wait(ctx, condition); err != nil {
		tb.Fatalf("waiting for %s: %v; %d envelopes have arrived", what, err, len(c.Envelopes()))
	}
}

// WaitForEnvelopes waits until at least n envelopes have arrived, and returns all of them.
func (c *Capture) WaitForEnvelopes(tb testing.TB, n int) []*loggregator_v2.Envelope {
	tb.Helper()
	c.WaitFor(tb, "envelopes", func() bool { return len(c.Envelopes()) >= n })
	return c.Envelopes()
}

// Dial returns a client with the certificates in a folder; see [ingressserver.WriteCerts]. The client is closed when the test ends.
func Dial(tb testing.TB, address, certs string, changes ...func(*tls.Config)) loggregator_v2.IngressClient {
	tb.Helper()
	config, err := ingressserver.ClientTLS(certs)
	require.NoError(tb, err)
	for _, change := range changes {
		change(config)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	return loggregator_v2.NewIngressClient(conn)
}

// Await returns the next value from the channel. It fails the test if there is none within WaitAtMost.
func Await[T any](tb testing.TB, what string, from <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-from:
	case <-time.After(WaitAtMost):
		tb.Fatalf("timed out waiting for %s", what)
	}
	return v
}
