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

// faults are the faults of a server. The zero value means none.
type faults struct {
	stalled chan struct{} // not nil while the server stalls; closed when it resumes
	refusal func([]*loggregator_v2.Envelope) error
	delay   time.Duration
	router  bool
	ring    *ring
	turns   chan struct{} // not nil while responses are reordered: a waiting response is paired with the next one here
	cert    *tls.Certificate
	muted   chan struct{} // not nil while nothing is read; closed when reading resumes
	carry   *int          // number of bytes that a connection carries before it breaks; nil: no limit
}

// hold sets *until to a new channel, unless there already is one. Calls or reads are held until it is closed.
func hold(until *chan struct{}) {
	if *until == nil {
		*until = make(chan struct{})
	}
}

// ring models a router's ring for each of its readers, as a sender sees it: it is read every interval, and envelopes that do not fit are
// lost.
type ring struct {
	size     int
	interval time.Duration

	mu   sync.Mutex
	kept []time.Time // when each envelope of the last interval was kept
	lost int
}

// keep returns the envelopes that fit at this time.
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

// listener accepts connections that are subject to the server's faults.
type listener struct {
	net.Listener
	server *Server
}

// Accept accepts the next connection.
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
	carry   *int // faults.carry at the last Read
	carried int  // bytes read since carry was set
	closed  chan struct{}
}

// Read reads from the connection, and withholds the bytes while HalfOpen is in effect.
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
