// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

// memo remembers what was made of keys that come again and again, which put adds.
type memo[K comparable, V any] map[K]V

// keysRemembered is how many keys a memo has at most, and keyRemembered how many bytes a key should have: data with ever new keys
// takes no more memory than that.
const (
	keysRemembered = 4096
	keyRemembered  = 256
)

// emptied returns m without its entries. A map that has grown large is dropped: to clear it would cost every later use the time
// that its largest use took.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > keysRemembered {
		return nil
	}
	clear(m)
	return m
}

// put remembers what was made of a key, which must hold no string of the data. A memo that is full begins anew.
func (m memo[K, V]) put(key K, v V) {
	if len(m) >= keysRemembered {
		clear(m)
	}
	m[key] = v
}
