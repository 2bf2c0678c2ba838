// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// A cache maps recurring keys to values derived from them. The zero value is empty.
type cache[K comparable, V any] map[K]V

// A cache has at most cachedKeys keys, each of at most cachedKeyBytes bytes, which bounds its memory even if data always has new keys.
const (
	cachedKeys     = 4096
	cachedKeyBytes = 256
)

// resetMap returns m without its entries. It drops a map that has grown large, because clear takes time in proportion to the largest
// size that the map has had.
func resetMap[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > cachedKeys {
		return nil
	}
	clear(m)
	return m
}

// put adds an entry. Neither the key nor the value may refer to strings of the batch. A full cache starts over.
func (m *cache[K, V]) put(key K, v V) {
	if *m == nil || len(*m) >= cachedKeys {
		*m = cache[K, V]{}
	}
	(*m)[key] = v
}
