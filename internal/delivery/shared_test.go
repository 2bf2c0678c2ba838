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

// connectNowhere returns a client for an address without a listener.
func connectNowhere() (*Client, error) {
	cfg := Config{GRPC: configgrpc.NewDefaultClientConfig()}
	cfg.GRPC.Endpoint = "127.0.0.1:1"
	cfg.GRPC.TLS.Insecure = true
	return NewClient(context.Background(), cfg, nil, componenttest.NewNopTelemetrySettings(), buildInfo)
}

func isClosed(c *Client) bool { return c.conn.GetState() == connectivity.Shutdown }

func acquire[K comparable](t *testing.T, shared *Shared[K], key K) (*Client, func() error) {
	t.Helper()
	client, release, err := shared.Acquire(key, connectNowhere)
	require.NoError(t, err)
	return client, release
}

func TestShared(t *testing.T) {
	var shared Shared[string]
	a1, releaseA1 := acquire(t, &shared, "a")
	a2, releaseA2, err := shared.Acquire("a", func() (*Client, error) { panic("the client already exists") })
	require.NoError(t, err)
	b, releaseB := acquire(t, &shared, "b")
	assert.Same(t, a1, a2)
	assert.NotSame(t, a1, b)

	require.NoError(t, releaseA1())
	require.NoError(t, releaseA1())
	assert.False(t, isClosed(a1), "the other user has not released the client")
	require.NoError(t, releaseA2())
	assert.True(t, isClosed(a1))

	// A late release of the old client does not affect the next one.
	a3, releaseA3 := acquire(t, &shared, "a")
	assert.NotSame(t, a1, a3)
	require.NoError(t, releaseA1())
	require.NoError(t, releaseA2())
	assert.False(t, isClosed(a3))
	require.NoError(t, releaseA3())
	assert.True(t, isClosed(a3))

	assert.False(t, isClosed(b))
	require.NoError(t, releaseB())
	assert.True(t, isClosed(b))
	assert.Empty(t, shared.open)
}

func TestSharedErrors(t *testing.T) {
	var shared Shared[string]
	want := errors.New("no")
	client, release, err := shared.Acquire("a", func() (*Client, error) { return nil, want })
	require.ErrorIs(t, err, want)
	assert.Nil(t, client)
	assert.Nil(t, release)
	assert.Empty(t, shared.open)

	client, release = acquire(t, &shared, "a") // Calls connect again.
	require.NoError(t, client.Close())
	require.Error(t, release(), "already closed")
	require.Error(t, release(), "the result of the first release")
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
				assert.False(t, isClosed(client), "closed while in use")
				assert.NoError(t, release())
			}
		})
	}
	wg.Wait()
	assert.Empty(t, shared.open)
}
