// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"io"
	"log"
	"sync"
	"testing"

	cfdiodes "code.cloudfoundry.org/go-diodes"
	"github.com/stretchr/testify/assert"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

// go-diodes logs each collision. A discarded message is not even formatted, which costs go-diodes less than in production.
func init() { log.SetOutput(io.Discard) }

type element = *[64]byte

// payload is the element of all peers, as &payload, so that none pays for creating one. The address is a constant, so there is no load of
// a variable whose cache line may be written.
var payload [64]byte

// A ring is a peer's ring for one run. The loops are within its functions, with direct calls, so that the smallest results do not include
// calls of function values.
type ring struct {
	writer  func() func(n int) // returns a function for one goroutine that sets n elements
	pairs   func(n int)        // sets an element and takes it out again, n times
	tryNext func() bool
	next    func() bool // blocks while the ring is empty; false if it is closed and empty
	close   func()      // called when the writers are done
}

type peer struct {
	name string
	open func(size int) ring
}

var (
	ours           = peer{"ours", openOurs(diodes.DropOldest)}
	oursWriter     = peer{"ours-writer", openOursWriter}
	oursDropNewest = peer{"ours-drop-newest", openOurs(diodes.DropNewest)}
	goDiodes       = peer{"go-diodes", openGoDiodes}
	goDiodesWaiter = peer{"go-diodes-waiter", openGoDiodesWaiter}
	goDiodesPoller = peer{"go-diodes-poller", openGoDiodesPoller}
	channel        = peer{"channel", openChannel}
	channelSelect  = peer{"channel-select", openChannelSelect}
	mutex          = peer{"mutex-ring", openMutexRing}
)

// each runs f as a sub-benchmark for each peer.
func each(b *testing.B, f func(b *testing.B, p peer), peers ...peer) {
	for _, p := range peers {
		b.Run("peer="+p.name, func(b *testing.B) {
			b.ReportAllocs()
			f(b, p)
		})
	}
}

// shared returns a ring.writer for a peer whose writers share one function.
func shared(set func(n int)) func() func(n int) { return func() func(n int) { return set } }

func openOurs(policy diodes.DropPolicy) func(size int) ring {
	return func(size int) ring {
		d := diodes.NewManyToOne[element](size, nil, policy)
		return ring{
			writer: shared(func(n int) {
				for range n {
					d.Set(&payload)
				}
			}),
			pairs: func(n int) {
				for range n {
					d.Set(&payload)
					d.TryNext()
				}
			},
			tryNext: func() bool { _, ok := d.TryNext(); return ok },
			next:    func() bool { _, ok := d.Next(); return ok },
			close:   d.Close,
		}
	}
}

func openOursWriter(size int) ring {
	d := diodes.NewManyToOne[element](size, nil)
	return ring{
		writer: func() func(n int) {
			w := d.Writer()
			return func(n int) {
				for range n {
					w.Set(&payload)
				}
			}
		},
		pairs: func(n int) {
			w := d.Writer()
			for range n {
				w.Set(&payload)
				d.TryNext()
			}
		},
		next:  func() bool { _, ok := d.Next(); return ok },
		close: d.Close,
	}
}

func openGoDiodes(size int) ring {
	d := cfdiodes.NewManyToOne(size, nil)
	return ring{
		writer: shared(func(n int) {
			for range n {
				d.Set(cfdiodes.GenericDataType(&payload))
			}
		}),
		pairs: func(n int) {
			for range n {
				d.Set(cfdiodes.GenericDataType(&payload))
				d.TryNext()
			}
		},
		tryNext: func() bool { _, ok := d.TryNext(); return ok },
	}
}

func openGoDiodesWaiter(size int) ring {
	ctx, stop := context.WithCancel(context.Background())
	d := cfdiodes.NewWaiter(cfdiodes.NewManyToOne(size, nil), cfdiodes.WithWaiterContext(ctx))
	return ring{
		writer: shared(func(n int) {
			for range n {
				d.Set(cfdiodes.GenericDataType(&payload))
			}
		}),
		pairs: func(n int) {
			for range n {
				d.Set(cfdiodes.GenericDataType(&payload))
				d.TryNext()
			}
		},
		// When its context is done, Next may return although elements are left.
		next:  func() bool { return d.Next() != nil || has(d) },
		close: stop,
	}
}

func openGoDiodesPoller(size int) ring {
	ctx, stop := context.WithCancel(context.Background())
	d := cfdiodes.NewManyToOne(size, nil)
	p := cfdiodes.NewPoller(d, cfdiodes.WithPollingContext(ctx))
	return ring{
		writer: shared(func(n int) {
			for range n {
				d.Set(cfdiodes.GenericDataType(&payload))
			}
		}),
		next:  func() bool { return p.Next() != nil || has(d) },
		close: stop,
	}
}

func has(d cfdiodes.Diode) bool {
	_, ok := d.TryNext()
	return ok
}

func openChannel(size int) ring {
	c := make(chan element, size)
	return ring{
		writer: shared(func(n int) {
			for range n {
				c <- &payload
			}
		}),
		pairs: func(n int) {
			for range n {
				c <- &payload
				<-c
			}
		},
		next:  func() bool { _, ok := <-c; return ok },
		close: func() { close(c) },
	}
}

// openChannelSelect drops the new element when the channel is full.
func openChannelSelect(size int) ring {
	c := make(chan element, size)
	set := func(n int) {
		for range n {
			select {
			case c <- &payload:
			default:
			}
		}
	}
	return ring{
		writer: shared(set),
		pairs: func(n int) {
			for range n {
				select {
				case c <- &payload:
				default:
				}
				select {
				case <-c:
				default:
				}
			}
		},
		tryNext: func() bool {
			select {
			case <-c:
				return true
			default:
				return false
			}
		},
		next:  func() bool { _, ok := <-c; return ok },
		close: func() { close(c) },
	}
}

func openMutexRing(size int) ring {
	r := newMutexRing[element](size)
	return ring{
		writer: shared(func(n int) {
			for range n {
				r.Set(&payload)
			}
		}),
		pairs: func(n int) {
			for range n {
				r.Set(&payload)
				r.TryNext()
			}
		},
		tryNext: func() bool { _, ok := r.TryNext(); return ok },
		next:    func() bool { _, ok := r.Next(); return ok },
		close:   r.Close,
	}
}

// mutexRing is the simple alternative to a diode: an exact ring behind a lock, which returns the oldest element when it is full.
type mutexRing[T any] struct {
	mu       sync.Mutex
	filled   sync.Cond
	cells    []T
	first, n int
	closed   bool
}

func newMutexRing[T any](size int) *mutexRing[T] {
	r := &mutexRing[T]{cells: make([]T, size)}
	r.filled.L = &r.mu
	return r
}

func (r *mutexRing[T]) Set(x T) (dropped T, ok bool) {
	r.mu.Lock()
	if ok = r.n == len(r.cells); ok {
		dropped = r.take()
	}
	last := r.first + r.n
	if last >= len(r.cells) {
		last -= len(r.cells)
	}
	r.cells[last] = x
	r.n++
	if r.n == 1 { // Only then can the reader be waiting.
		r.filled.Signal()
	}
	r.mu.Unlock()
	return dropped, ok
}

func (r *mutexRing[T]) TryNext() (x T, ok bool) {
	r.mu.Lock()
	if ok = r.n > 0; ok {
		x = r.take()
	}
	r.mu.Unlock()
	return x, ok
}

func (r *mutexRing[T]) Next() (x T, ok bool) {
	r.mu.Lock()
	for r.n == 0 && !r.closed {
		r.filled.Wait()
	}
	if ok = r.n > 0; ok {
		x = r.take()
	}
	r.mu.Unlock()
	return x, ok
}

func (r *mutexRing[T]) Close() {
	r.mu.Lock()
	r.closed = true
	r.filled.Signal()
	r.mu.Unlock()
}

// take takes the oldest element. The caller holds the lock, and the ring is not empty.
func (r *mutexRing[T]) take() (x T) {
	var none T
	x, r.cells[r.first] = r.cells[r.first], none
	r.n--
	if r.first++; r.first == len(r.cells) {
		r.first = 0
	}
	return x
}

// The measurements need a correct peer.
func TestMutexRing(t *testing.T) {
	r := newMutexRing[int](3)
	for i := 1; i <= 5; i++ {
		dropped, ok := r.Set(i)
		assert.Equal(t, i > 3, ok, i)
		assert.Equal(t, max(i-3, 0), dropped, i)
	}
	r.Close()
	for i := 3; i <= 5; i++ {
		x, ok := r.Next()
		assert.True(t, ok, i)
		assert.Equal(t, i, x)
	}
	_, ok := r.Next()
	assert.False(t, ok, "the ring is empty")
}
