// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingress

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
)

// codec hands gRPC bytes that are encoded already, and does not decode the answer, which has no fields.
type codec struct{}

// nothing is the answer to Send.
type nothing struct{}

// buffer is an encoded EnvelopeBatch.
type buffer struct{ mem.Buffer }

// Marshal gives gRPC a reference of its own: it may still be writing when the call has been given up.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*buffer)
	if !ok {
		return nil, fmt.Errorf("ingress: can't encode %T", v)
	}
	b.Ref()
	return mem.BufferSlice{b.Buffer}, nil
}

func (codec) Unmarshal(_ mem.BufferSlice, v any) error {
	if _, ok := v.(nothing); !ok {
		return fmt.Errorf("ingress: can't decode %T", v)
	}
	return nil
}

// Name is that of the codec whose encoding this is, because it becomes part of the content type.
func (codec) Name() string { return "proto" }

// buffers recycles the memory of batches.
var buffers pool

// pool is a mem.BufferPool of buffers that grow to the size of the batches that they hold.
type pool struct{ sync.Pool }

// Get returns a buffer with length 0; it has no use for the length that it will need.
func (p *pool) Get(int) *[]byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	return new([]byte)
}

// Put takes a buffer that nobody uses any more.
func (p *pool) Put(b *[]byte) { p.Pool.Put(b) }
