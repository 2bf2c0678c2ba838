// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// Every item counts once, although the sink is killed in the middle of messages again and again. A message that the sink had not
// acknowledged is sent again, so an item may arrive twice. The sink prints before it acknowledges: sent items must have arrived.
func TestSinkKilledUnderLoad(t *testing.T) {
	arrived, next := &outage.Arrivals{}, make(chan struct{})
	take := func(e *loggregator_v2.Envelope) {
		assert.NoError(t, arrived.Add(e))
		select {
		case next <- struct{}{}:
		default:
		}
	}
	s := startSinkTo(t, take)
	// Of the diode's 20 batches some are dropped in less than a second without a sink.
	c := startPlain(t, s.to()+", diode: {capacity: 20}, "+untiring)
	l := startLoad(t, c, uniform(50, 5, 1, [3]int{}), 40)

	var before [3]int
	// arrives waits until more arrives of each signal than what waited in its diode.
	arrives := func() {
		t.Helper()
		s.eventually("items of each signal at the sink", func() bool {
			for i := range before {
				if total, _, _ := arrived.Count(i); total < before[i]+2000 {
					return false
				}
			}
			return true
		})
	}
	arrives()
	for range 10 {
		// The moment at which the first lines of a message are read is a bad one: the rest is not printed yet, and the
		// message not acknowledged.
		select {
		case <-next:
		case <-time.After(time.Minute):
			t.Fatal("nothing arrives any more")
		}
		s.Kill()
		killed := l.accounts()
		for i := range before {
			before[i], _, _ = arrived.Count(i)
		}
		c.eventually("drops of each signal", func() bool {
			for i, now := range l.accounts() {
				if now.Dropped == killed[i].Dropped {
					return false
				}
			}
			return true
		})
		s.listen(t, s.addr)
		arrives()
	}

	accounts := l.settle()
	s.Kill() // So that all of what it printed is read.
	for i, signal := range outage.Signals {
		a, generated := accounts[i], int(l.Sent[i].Load())
		total, distinct, highest := arrived.Count(i)
		t.Logf("%s: %d generated, %d arrived and %d again, %+v", signal.Name, generated, distinct, total-distinct, a)
		assert.Equal(t, generated, distinct+a.Dropped+a.Failed+a.Rejected, signal.Name)
		assert.Equal(t, distinct, a.Sent, signal.Name)
		assert.Zero(t, a.Failed, "%s: a sink that dies is no reason to give up", signal.Name)
		assert.Less(t, highest, generated, "an ID that was never sent")
	}
}

// eventuallyHealth waits until the health check extension answers with this code and status.
func (c *collector) eventuallyHealth(code int, status string) {
	c.t.Helper()
	c.eventually(status, func() bool {
		got, body, _ := outage.Get(outage.Loopback(c.healthPort), "/")
		return got == code && strings.Contains(string(body), `"`+status+`"`)
	})
}

// The health check follows an outage.
func TestHealthFollowsLoggregator(t *testing.T) {
	s := startSinkTo(t, discard)
	c := startPlain(t, s.to()+", "+untiring)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	l := startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventually("what is sent", func() bool { return c.metric("otelcol_exporter_sent_log_records") > 0 })
	s.Kill()
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
	s.listen(t, s.addr)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	require.NoError(t, l.Stop())
}

// A wrong certificate is a recoverable error.
func TestHealthWrongCertificate(t *testing.T) {
	s, other := startSinkTo(t, discard), startSinkTo(t, discard)
	other.addr = s.addr // With the certificates of another authority.
	c := startPlain(t, other.to()+", "+untiring)
	startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
}

// While the agent stalls, a reload takes the 10 s that the signals of an exporter share. The log says what was dropped, and the
// collector sends again when the agent resumes.
func TestReloadDuringStall(t *testing.T) {
	const ready, lost = "Everything is ready.", "Dropped items that could not be sent before shutdown"
	s := startSink(t)
	c := startFull(t, s)
	conn, all := c.dial(), readTelemetry(t, "shop.yaml")
	s.requireDelivery(conn, all, signals...)

	require.NoError(t, s.Signal(syscall.SIGSTOP))
	defer func() { _ = s.Signal(syscall.SIGCONT) }()
	for range 200 { // Each signal has more messages of 100 envelopes than attempts of 5 s.
		push(t, conn, all, signals...)
	}
	start := time.Now()
	require.NoError(t, c.Signal(syscall.SIGHUP))
	c.eventually("the end of the reload", func() bool { return strings.Count(c.output(), ready) == 2 })
	took := time.Since(start)
	t.Logf("the reload took %s", took)
	assert.Less(t, took, shutdownAtMost)
	assert.Equal(t, 3, strings.Count(c.output(), lost), "each signal says what it lost")

	require.NoError(t, s.Signal(syscall.SIGCONT))
	want := all["traces"].Envelopes
	before := len(s.from(want[0].GetSourceId()))
	push(t, conn, all, signals...)
	s.waitFor(want[0].GetSourceId(), before+len(want))
	require.NoError(t, c.Stop())
}
