// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
)

// codec passes encoded bytes to gRPC, and does not decode the response, which has no fields.
type codec struct{}

// nothing is the response to Send.
type nothing struct{}

// buffer is an encoded EnvelopeBatch.
type buffer struct{ mem.Buffer }

// Marshal gives gRPC a reference of its own: it may still be writing after the call was given up.
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

// Name is protobuf's: it becomes part of the content type.
func (codec) Name() string { return "proto" }

// buffers recycles the memory of messages.
var buffers pool

// pool is a mem.BufferPool of buffers that grow to the size of the messages in them.
type pool struct{ sync.Pool }

// Get returns a buffer of length 0, whatever length is asked for.
func (p *pool) Get(int) *[]byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	return new([]byte)
}

// Put takes back a buffer.
func (p *pool) Put(b *[]byte) { p.Pool.Put(b) }

// copyOf copies encoded envelopes into a buffer of their own.
func copyOf(encoded []byte) *buffer {
	b := buffers.Get(0)
	*b = append(*b, encoded...)
	return &buffer{mem.NewBuffer(b, &buffers)}
}
