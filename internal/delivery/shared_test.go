// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"google.golang.org/grpc/connectivity"
)

// connectNowhere makes clients of an address where nothing listens.
func connectNowhere() (*Client, error) {
	cfg := Config{GRPC: configgrpc.NewDefaultClientConfig()}
	cfg.GRPC.Endpoint = "127.0.0.1:1"
	cfg.GRPC.TLS.Insecure = true
	return NewClient(context.Background(), cfg, nil, componenttest.NewNopTelemetrySettings(), buildInfo)
}

func isClosed(c *Client) bool { return c.conn.GetState() == connectivity.Shutdown }

func TestShared(t *testing.T) {
	var shared Shared[string]
	a1, releaseA1, err := shared.Acquire("a", connectNowhere)
	require.NoError(t, err)
	a2, releaseA2, err := shared.Acquire("a", func() (*Client, error) { panic("it is there already") })
	require.NoError(t, err)
	b, releaseB, err := shared.Acquire("b", connectNowhere)
	require.NoError(t, err)
	assert.Same(t, a1, a2)
	assert.NotSame(t, a1, b)

	require.NoError(t, releaseA1())
	assert.False(t, isClosed(a1), "there is another user")
	require.NoError(t, releaseA2())
	assert.True(t, isClosed(a1))
	assert.False(t, isClosed(b))
	require.NoError(t, releaseB())
	assert.True(t, isClosed(b))
	assert.Empty(t, shared.open)
}

func TestSharedReleaseTwice(t *testing.T) {
	var shared Shared[int]
	client, release1, err := shared.Acquire(1, connectNowhere)
	require.NoError(t, err)
	_, release2, err := shared.Acquire(1, connectNowhere)
	require.NoError(t, err)
	require.NoError(t, release1())
	require.NoError(t, release1())
	assert.False(t, isClosed(client), "the other user has not released it")
	require.NoError(t, release2())
	assert.True(t, isClosed(client))

	// A late release of the old client leaves the next one alone.
	next, release3, err := shared.Acquire(1, connectNowhere)
	require.NoError(t, err)
	assert.NotSame(t, client, next)
	require.NoError(t, release1())
	require.NoError(t, release2())
	assert.False(t, isClosed(next))
	require.NoError(t, release3())
	assert.True(t, isClosed(next))
}

func TestSharedConnectError(t *testing.T) {
	var shared Shared[string]
	want := errors.New("no")
	client, release, err := shared.Acquire("a", func() (*Client, error) { return nil, want })
	require.ErrorIs(t, err, want)
	assert.Nil(t, client)
	assert.Nil(t, release)
	assert.Empty(t, shared.open)

	client, release, err = shared.Acquire("a", connectNowhere)
	require.NoError(t, err, "the next user's connect is tried")
	require.NoError(t, release())
	assert.True(t, isClosed(client))
}

func TestSharedCloseError(t *testing.T) {
	var shared Shared[string]
	client, release, err := shared.Acquire("a", connectNowhere)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	require.Error(t, release(), "it is closed already")
	require.Error(t, release(), "the same answer to the same question")
	assert.Empty(t, shared.open)
}

func TestSharedConcurrent(t *testing.T) {
	var (
		shared Shared[int]
		wg     sync.WaitGroup
	)
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				client, release, err := shared.Acquire((g+i)%3, connectNowhere)
				if !assert.NoError(t, err) {
					return
				}
				assert.False(t, isClosed(client), "closed while somebody uses it")
				assert.NoError(t, release())
			}
		})
	}
	wg.Wait()
	assert.Empty(t, shared.open)
}
