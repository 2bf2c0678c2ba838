// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
