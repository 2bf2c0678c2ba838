// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import "net"

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
