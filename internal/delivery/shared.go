// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import "sync"

// Shared holds one [Client] per key while it is in use. It is safe for concurrent use.
type Shared[K comparable] struct {
	mu   sync.Mutex
	open map[K]*sharedClient
}

type sharedClient struct {
	*Client
	users int
}

// Acquire returns the client of a key. For the first user, it calls connect to create the client. The last user's release closes it.
// Only the first call of each release has an effect.
func (s *Shared[K]) Acquire(key K, connect func() (*Client, error)) (client *Client, release func() error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared, ok := s.open[key]
	if !ok {
		client, err = connect()
		if err != nil {
			return nil, nil, err
		}
		if s.open == nil {
			s.open = map[K]*sharedClient{}
		}
		shared = &sharedClient{Client: client}
		s.open[key] = shared
	}
	shared.users++
	return shared.Client, sync.OnceValue(func() error { return s.release(key) }), nil
}

func (s *Shared[K]) release(key K) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.open[key]
	if shared.users--; shared.users > 0 {
		return nil
	}
	delete(s.open, key)
	return shared.Close()
}
