// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startProgress starts progress.sh with a command that waits until somebody opens a pipe. Its lines end when both have ended: the command
// has the pipe of the lines too, as descriptor 9.
func startProgress(t *testing.T) (cmd *exec.Cmd, lines *bufio.Scanner, pipe string) {
	t.Helper()
	pipe = filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	cmd = exec.CommandContext(t.Context(), "bash", "-c", `exec 9>&2; exec ../tools/progress.sh "the work" "2 min" cat "$0"`, pipe)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(stderr), pipe
}

// progress.sh prints lines while a command is silent.
func TestProgress(t *testing.T) {
	cmd, lines, pipe := startProgress(t)
	for range 3 {
		require.True(t, lines.Scan())
		assert.Regexp(t, `^the work: \d+ s.* \(usually 2 min\)$`, lines.Text())
	}
	// The command ends now.
	require.NoError(t, exec.CommandContext(t.Context(), "bash", "-c", `: > "$0"`, pipe).Run())
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	assert.Regexp(t, `^the work: done in \d+ s$`, last)
	require.NoError(t, cmd.Wait())
}

func TestProgressBuild(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sink")
	out, err := exec.CommandContext(t.Context(), "../tools/progress.sh", "the sink", "10 s",
		"build", "-C", "..", "-o", binary, "./cmd/loggregator-sink").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.FileExists(t, binary)
}

// progress.sh prints the output of a command that fails, and exits with its code.
func TestProgressFailure(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "../tools/progress.sh", "the work", "2 min", "bash", "-c", "echo no such thing; exit 7").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.ExitCode())
	assert.Contains(t, string(out), "no such thing")
}

// Ctrl-C ends the command too.
func TestProgressInterrupted(t *testing.T) {
	cmd, lines, _ := startProgress(t)
	require.True(t, lines.Scan())
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
		assert.NotContains(t, lines.Text(), "done")
	}
	require.Error(t, cmd.Wait())
}
