// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
)

// faults is what is wrong with a server; the zero value is nothing.
type faults struct {
	stalled chan struct{} // not nil while the server stalls; closed when it resumes
	refusal func([]*loggregator_v2.Envelope) error
	delay   time.Duration
	router  bool
	ring    *ring
	turns   chan struct{} // not nil while answers come out of order: an answer that waits meets the next one here
	cert    *tls.Certificate
	muted   chan struct{} // not nil while nothing is read; closed when it is again
	carry   *int          // how many more bytes a connection carries before it breaks; nil: any number
}

// hold makes a channel that holds something until it is closed, if there is none.
func hold(until *chan struct{}) {
	if *until == nil {
		*until = make(chan struct{})
	}
}

// ring is the ring that a router has for each of its readers, as a sender sees it: it is read every interval, and what does
// not fit is gone.
type ring struct {
	size     int
	interval time.Duration

	mu   sync.Mutex
	kept []time.Time // when each of the envelopes of the last interval was kept
	lost int
}

// keep returns those of the envelopes for which there is room at this time.
func (r *ring) keep(envelopes []*loggregator_v2.Envelope, now time.Time) []*loggregator_v2.Envelope {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.kept) > 0 && now.Sub(r.kept[0]) >= r.interval {
		r.kept = r.kept[1:]
	}
	n := min(len(envelopes), r.size-len(r.kept))
	for range n {
		r.kept = append(r.kept, now)
	}
	r.lost += len(envelopes) - n
	return envelopes[:n]
}

// listener takes connections with the faults of a server.
type listener struct {
	net.Listener
	server *Server
}

// Accept takes the next connection.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted, server: l.server, closed: make(chan struct{})}
	l.server.change(func() { l.server.open[c] = struct{}{} })
	return c, nil
}

type conn struct {
	net.Conn
	server  *Server
	carry   *int // of the faults at the last Read
	carried int  // bytes since that fault began
	closed  chan struct{}
}

// Read reads, and holds back what it has read while the server is half open.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	f := c.server.now()
	if f.muted != nil {
		select {
		case <-f.muted:
		case <-c.closed:
		}
	}
	if c.carry != f.carry {
		c.carry, c.carried = f.carry, 0
	}
	c.carried += n
	if c.carry != nil && c.carried > *c.carry {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// Close closes the connection.
func (c *conn) Close() error {
	c.server.change(func() {
		if _, open := c.server.open[c]; open {
			delete(c.server.open, c)
			close(c.closed)
		}
	})
	return c.Conn.Close()
}
