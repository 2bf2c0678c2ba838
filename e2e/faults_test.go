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

// Every item is counted once, although the sink is repeatedly killed in the middle of a message. A message that the sink has not
// acknowledged is sent again, so an item may arrive twice. The sink prints before it acknowledges: sent items must have arrived.
func TestSinkKilledUnderLoad(t *testing.T) {
	arrived, next := &outage.Arrivals{}, make(chan struct{})
	receive := func(e *loggregator_v2.Envelope) {
		assert.NoError(t, arrived.Add(e))
		select {
		case next <- struct{}{}:
		default:
		}
	}
	s := startSinkTo(t, receive)
	// Without a sink, a diode of 20 batches drops some in less than a second.
	c := startPlain(t, s.settings()+", diode: {capacity: 20}, "+retryForever)
	l := startLoad(t, c, uniform(50, 5, 1, [3]int{}), 40)

	var before [3]int
	// awaitItems waits until more items of each signal have arrived than its diode can hold.
	awaitItems := func() {
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
	awaitItems()
	for range 10 {
		// Kill the sink while it prints a message: the rest is not printed yet, and the message is not acknowledged.
		select {
		case <-next:
		case <-time.After(time.Minute):
			t.Fatal("no more envelopes arrive")
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
		awaitItems()
	}

	accounts := l.settle()
	s.Kill() // Kill returns when all output has been read.
	for i, signal := range outage.Signals {
		a, generated := accounts[i], int(l.Sent[i].Load())
		total, distinct, highest := arrived.Count(i)
		t.Logf("%s: %d generated, %d arrived, %d duplicates, %+v", signal.Name, generated, distinct, total-distinct, a)
		assert.Equal(t, generated, distinct+a.Dropped+a.Failed+a.Rejected, signal.Name)
		assert.Equal(t, distinct, a.Sent, signal.Name)
		assert.Zero(t, a.Failed, "%s: messages given up because of a killed sink", signal.Name)
		assert.Less(t, highest, generated, "the highest ID that arrived")
	}
}

// eventuallyHealth waits until the health check extension returns this code and status.
func (c *collector) eventuallyHealth(code int, status string) {
	c.t.Helper()
	c.eventually(status, func() bool {
		got, body, _ := outage.Get(outage.Loopback(c.healthPort), "/")
		return got == code && strings.Contains(string(body), `"`+status+`"`)
	})
}

func TestHealthOutage(t *testing.T) {
	s := startSinkTo(t, discard)
	c := startPlain(t, s.settings()+", "+retryForever)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	l := startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventually("sent items", func() bool { return c.metric("otelcol_exporter_sent_log_records") > 0 })
	s.Kill()
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
	s.listen(t, s.addr)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	require.NoError(t, l.Stop())
}

// A wrong certificate is a recoverable error.
func TestHealthWrongCertificate(t *testing.T) {
	s, other := startSinkTo(t, discard), startSinkTo(t, discard)
	other.addr = s.addr // other has certificates of another authority.
	c := startPlain(t, other.settings()+", "+retryForever)
	startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
}

// While the agent stalls, a reload takes the 10 s that the signals of an exporter share. The log reports the dropped items, and the
// collector sends again when the agent resumes.
func TestReloadDuringStall(t *testing.T) {
	const ready, lost = "Everything is ready.", "Dropped items that could not be sent before shutdown"
	s := startSink(t)
	c := startFull(t, s)
	conn, all := c.dial(), readTelemetry(t, "shop.yaml")
	s.requireDelivery(conn, all, signals...)

	require.NoError(t, s.Signal(syscall.SIGSTOP))
	defer func() { _ = s.Signal(syscall.SIGCONT) }()
	for range 200 { // Each signal has more messages of 100 envelopes than attempts of 5 s in 10 s.
		push(t, conn, all, signals...)
	}
	start := time.Now()
	require.NoError(t, c.Signal(syscall.SIGHUP))
	c.eventually("the end of the reload", func() bool { return strings.Count(c.output(), ready) == 2 })
	took := time.Since(start)
	t.Logf("the reload took %s", took)
	assert.Less(t, took, maxShutdown)
	assert.Equal(t, 3, strings.Count(c.output(), lost), "one line for each signal")

	require.NoError(t, s.Signal(syscall.SIGCONT))
	want := all["traces"].Envelopes
	before := len(s.from(want[0].GetSourceId()))
	push(t, conn, all, signals...)
	s.waitFor(want[0].GetSourceId(), before+len(want))
	require.NoError(t, c.Stop())
}
