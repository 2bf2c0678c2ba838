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
	c := startCollector(t, s)
	conn := dial(t, c.grpcPort)
	want := pushOurs(t, conn)[2]
	s.waitFor(want[0].GetSourceId(), len(want))

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
	defer func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }()
	for range 200 { // Each signal has more messages of 100 envelopes than attempts of 5 s.
		pushOurs(t, conn)
	}
	start := time.Now()
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGHUP))
	c.eventually("the end of the reload", func() bool { return strings.Count(c.output(), ready) == 2 })
	took := time.Since(start)
	t.Logf("the reload took %s", took)
	assert.Less(t, took, shutdownAtMost)
	assert.Equal(t, 3, strings.Count(c.output(), lost), "each signal says what it lost")

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGCONT))
	before := len(s.from(want[0].GetSourceId()))
	pushOurs(t, conn)
	s.waitFor(want[0].GetSourceId(), before+len(want))
	assert.Zero(t, c.stop(), "exit code of the collector")
}
