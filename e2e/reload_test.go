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
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// While the agent hangs, a reload takes the 10 s that the signals of an exporter have together, and the rest of the collector
// hardly any. The log says what was lost, and the collector sends again when the agent is back.
func TestReloadWhileTheAgentHangs(t *testing.T) {
	const ready, lost = "Everything is ready.", "Dropped items that could not be sent before shutdown"
	s := startSink(t)
	c := startCollector(t, s)
	conn := dial(t, c.grpcPort)
	push := func() {
		logs, _ := ourLogs()
		_, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs))
		require.NoError(t, err)
		metrics, _ := ourMetrics()
		_, err = pmetricotlp.NewGRPCClient(conn).Export(t.Context(), pmetricotlp.NewExportRequestFromMetrics(metrics))
		require.NoError(t, err)
		traces, _ := ourTraces()
		_, err = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), ptraceotlp.NewExportRequestFromTraces(traces))
		require.NoError(t, err)
	}
	_, want := ourTraces()
	push()
	s.waitFor(want[0].GetSourceId(), len(want))

	require.NoError(t, s.cmd.Process.Signal(syscall.SIGSTOP))
	defer func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }()
	for range 200 { // Each signal has more messages of 100 envelopes than attempts of 5 s.
		push()
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
	push()
	s.waitFor(want[0].GetSourceId(), before+len(want))
	assert.Zero(t, c.stop(), "exit code of the collector")
}
