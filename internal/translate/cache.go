// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// cache has what was made of keys that come again and again. The zero value is empty.
type cache[K comparable, V any] map[K]V

// A cache has at most cachedKeys keys, each of at most cachedKeyBytes bytes: data with ever new keys takes no more memory than that.
const (
	cachedKeys     = 4096
	cachedKeyBytes = 256
)

// emptied returns m without its entries. A map that has grown large is dropped: to clear it would cost every later use the time
// that its largest use took.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > cachedKeys {
		return nil
	}
	clear(m)
	return m
}

// put adds what was made of a key. Neither may hold a string of the data. A cache that is full begins anew.
func (m *cache[K, V]) put(key K, v V) {
	if *m == nil || len(*m) >= cachedKeys {
		*m = cache[K, V]{}
	}
	(*m)[key] = v
}
