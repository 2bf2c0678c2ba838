// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"maps"
	"math"
	"net"
	"slices"
	"sync"
)

// connections are the open connections of a server, and what is wrong with them.
type connections struct {
	changed func() // called when there is one more or less

	mu    sync.Mutex
	open  map[*conn]struct{}
	carry int           // how many bytes a new connection carries before it breaks
	muted chan struct{} // not nil while nothing is read; closed when it is again
}

// unlimited is more than any connection carries.
const unlimited = math.MaxInt

func newConnections(changed func()) *connections {
	return &connections{changed: changed, open: map[*conn]struct{}{}, carry: unlimited}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *connections) add(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.left = c.carry
	c.open[conn] = struct{}{}
}

func (c *connections) remove(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

func (c *connections) cut() {
	c.mu.Lock()
	open := slices.Collect(maps.Keys(c.open))
	c.mu.Unlock()
	for _, conn := range open {
		_ = conn.Close()
	}
}

func (c *connections) cutAfter(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carry = bytes
	for conn := range c.open {
		conn.left = bytes
	}
}

func (c *connections) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted == nil {
		c.muted = make(chan struct{})
	}
}

// heal ends all faults.
func (c *connections) heal() {
	c.cutAfter(unlimited)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted != nil {
		close(c.muted)
		c.muted = nil
	}
}

// listener takes connections and adds them to conns.
type listener struct {
	net.Listener
	conns *connections
}

// Accept takes the next connection.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := &conn{Conn: c, conns: l.conns, closed: make(chan struct{})}
	l.conns.add(tracked)
	l.conns.changed()
	return tracked, nil
}

type conn struct {
	net.Conn
	conns  *connections
	left   int // bytes it carries before it breaks; connections.mu guards it
	once   sync.Once
	closed chan struct{}
}

// Read reads, and holds back what it has read while the connections are muted.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.conns.mu.Lock()
	muted := c.conns.muted
	if c.left != unlimited {
		c.left -= n
	}
	cut := c.left < 0
	c.conns.mu.Unlock()
	if muted != nil {
		select {
		case <-muted:
		case <-c.closed:
		}
	}
	if cut {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.conns.remove(c)
	c.conns.changed()
	return c.Conn.Close()
}
