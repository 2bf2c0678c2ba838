// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// memo remembers what was made of keys that come again and again. When it has as many as it may, it begins anew, so that data
// with ever new keys takes no more memory than that.
type memo[K comparable, V any] struct {
	most int
	made map[K]V
}

func newMemo[K comparable, V any](most int) memo[K, V] {
	return memo[K, V]{most: most, made: map[K]V{}}
}

func (m *memo[K, V]) get(key K) (V, bool) {
	v, ok := m.made[key]
	return v, ok
}

// put remembers what was made of a key. A key must hold no string of the data.
func (m *memo[K, V]) put(key K, v V) {
	if len(m.made) >= m.most {
		clear(m.made)
	}
	m.made[key] = v
}
