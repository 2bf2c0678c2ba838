// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
)

// codec passes encoded bytes to gRPC. It does not decode responses, which have no fields.
type codec struct{}

// nothing is a response, which is not decoded.
type nothing struct{}

// buffer is an encoded EnvelopeBatch.
type buffer struct{ mem.Buffer }

// Marshal gives gRPC its own reference, because it may still be writing after the call was given up.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*buffer)
	if !ok {
		return nil, fmt.Errorf("delivery: can't encode %T", v)
	}
	b.Ref()
	return mem.BufferSlice{b.Buffer}, nil
}

func (codec) Unmarshal(_ mem.BufferSlice, v any) error {
	if _, ok := v.(nothing); !ok {
		return fmt.Errorf("delivery: can't decode %T", v)
	}
	return nil
}

// Name returns protobuf's name, which becomes part of the content type.
func (codec) Name() string { return "proto" }

// buffers recycles the memory of messages.
var buffers pool

// pool is a mem.BufferPool whose buffers grow to the size of their messages.
type pool struct{ sync.Pool }

// Get returns a buffer of length 0, whatever length is requested.
func (p *pool) Get(int) *[]byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	return new([]byte)
}

// Put takes back a buffer.
func (p *pool) Put(b *[]byte) { p.Pool.Put(b) }

// copyOf copies encoded envelopes into a new buffer.
func copyOf(encoded []byte) *buffer {
	b := buffers.Get(0)
	*b = append(*b, encoded...)
	return &buffer{mem.NewBuffer(b, &buffers)}
}
