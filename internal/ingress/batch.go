// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import "github.com/loggregatorexporter/loggregatorexporter/internal/envelope"

// Batch is an EnvelopeBatch under construction, encoded. Its zero value is empty. It belongs to one goroutine.
type Batch struct {
	bytes *[]byte
	ends  []int // where each envelope ends in bytes
}

// Append appends an encoded envelope.
func (b *Batch) Append(encoded []byte) {
	if b.bytes == nil {
		b.bytes = buffers.Get(0)
	}
	*b.bytes = envelope.Append(*b.bytes, encoded)
	b.ends = append(b.ends, len(*b.bytes))
}

// Len is the number of envelopes.
func (b *Batch) Len() int { return len(b.ends) }

// Size is the number of bytes.
func (b *Batch) Size() int {
	if b.bytes == nil {
		return 0
	}
	return len(*b.bytes)
}

// take takes the bytes out.
func (b *Batch) take() *[]byte {
	bytes := b.bytes
	b.bytes = nil
	return bytes
}

// part copies the envelopes from i to j out of a batch with these bytes and ends.
func part(bytes []byte, ends []int, i, j int) *Batch {
	begin := 0
	if i > 0 {
		begin = ends[i-1]
	}
	p := &Batch{bytes: buffers.Get(0)}
	*p.bytes = append(*p.bytes, bytes[begin:ends[j-1]]...)
	for _, end := range ends[i:j] {
		p.ends = append(p.ends, end-begin)
	}
	return p
}
