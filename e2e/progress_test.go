// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// progress.sh prints lines while a command is silent.
func TestProgress(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	cmd := exec.CommandContext(t.Context(), "../tools/progress.sh", "the work", "2 min", "cat", fifo)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	for range 3 {
		require.True(t, lines.Scan())
		assert.Regexp(t, `^the work: \d+ s.* \(usually 2 min\)$`, lines.Text())
	}
	// The command ends now.
	require.NoError(t, exec.CommandContext(t.Context(), "bash", "-c", `: > "$0"`, fifo).Run())
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
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	// The command has the pipe as descriptor 9, which is at its end only when the command is.
	cmd := exec.CommandContext(t.Context(), "bash", "-c",
		`exec 9>&2; exec ../tools/progress.sh "the work" "2 min" cat "$0"`, fifo)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	require.True(t, lines.Scan())
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text())
	}
	require.Error(t, cmd.Wait())
	assert.NotContains(t, rest.String(), "done")
}
