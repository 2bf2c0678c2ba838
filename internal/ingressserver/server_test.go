// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingressserver

import (
	"context"
	"io"
	"net"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Stop ends handshakes in progress. Package ingresstest has the other tests of the server.
func TestStopDuringAHandshake(t *testing.T) {
	certs := t.TempDir()
	require.NoError(t, WriteCerts(certs))
	config, err := ServerTLS(certs)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := Serve(l, config, func(context.Context, []*loggregator_v2.Envelope) error { return nil })
	client, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	_, err = client.Write([]byte{0x16}) // The first byte of a handshake.
	require.NoError(t, err)
	s.Stop()
	_, err = io.ReadAll(client) // Ends with the connection.
	t.Logf("the connection ended with %v", err)
	require.NoError(t, client.Close())
}
