// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// asCommand is an environment variable that makes the test binary run the command.
const asCommand = "LOGGREGATOR_SINK_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	time.Local = time.UTC // Text lines use local time.
	goleak.VerifyTestMain(m)
}

// output is a writer whose content can be read at any time.
type output struct {
	mu      sync.Mutex
	written bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

var listening = regexp.MustCompile(`(?m)^listening on (127\.0\.0\.1:\d+); a client needs ca\.crt, client\.crt and client\.key from `)

// address waits for the address that the sink listens on.
func (o *output) address(t *testing.T) string {
	t.Helper()
	if !assert.Eventually(t, func() bool { return listening.MatchString(o.String()) }, ingresstest.WaitAtMost, time.Millisecond) {
		t.Fatalf("the sink does not listen:\n%s", o)
	}
	return listening.FindStringSubmatch(o.String())[1]
}

// sink is a running sink.
type sink struct {
	client loggregator_v2.IngressClient
	stdout *os.File
	stderr *output
	stop   func() error
}

// startSink runs the sink in this process, with these arguments and with a file as stdout.
func startSink(t *testing.T, args ...string) *sink {
	t.Helper()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stdout.Close() })
	return startSinkTo(t, stdout, args...)
}

func startSinkTo(t *testing.T, stdout *os.File, args ...string) *sink {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &sink{stdout: stdout, stderr: &output{}}
	certs := ingresstest.Certs(t)
	done := make(chan error, 1)
	args = append([]string{"-listen", "127.0.0.1:0", "-certs", certs}, args...)
	go func() {
		err := run(ctx, args, stdout, s.stderr)
		if err != nil {
			fmt.Fprintln(s.stderr, err) // address prints it on a timeout.
		}
		done <- err
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { assert.NoError(t, s.stop()) })
	s.client = ingresstest.Dial(t, s.stderr.address(t), certs)
	return s
}

// send sends a batch, and returns when it is printed: the sink acknowledges it only then.
func (s *sink) send(t *testing.T, envelopes ...*loggregator_v2.Envelope) {
	t.Helper()
	_, err := s.client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{Batch: envelopes})
	require.NoError(t, err)
}

// printed returns the printed lines.
func (s *sink) printed(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(s.stdout.Name())
	require.NoError(t, err)
	lines := strings.Split(string(content), "\n")
	require.Empty(t, lines[len(lines)-1], "the output ends with a line end")
	return lines[:len(lines)-1]
}

func TestSummary(t *testing.T) {
	for name, tt := range map[string]struct {
		batches [][]*loggregator_v2.Envelope
		want    string
		lines   int
	}{
		"nothing":     {nil, `\nno envelopes arrived\n$`, 0},
		"empty batch": {[][]*loggregator_v2.Envelope{{}}, `\nno envelopes arrived\n$`, 0},
		"each kind": {[][]*loggregator_v2.Envelope{
			{logOf("a"), logOf("b"), logOf("c")},
			{counterOf(1, 0), counterOf(0, 1)},
			{gaugeOf(nil), timerOf(0, 1), eventOf("t", "b"), {}, logOf("d")},
		}, `\n10 envelopes in 3 batches: 4 LOG, 2 COUNTER, 1 GAUGE, 1 TIMER, 1 EVENT, 1 EMPTY\n\d+\.\d envelopes/s over \d`, 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSink(t)
			for _, batch := range tt.batches {
				s.send(t, batch...)
			}
			require.NoError(t, s.stop())
			assert.Regexp(t, tt.want, s.stderr.String())
			assert.Len(t, s.printed(t), tt.lines)
		})
	}
}

func TestStream(t *testing.T) {
	s := startSink(t)
	stream, err := s.client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{logOf("a"), logOf("b")}}))
	_, err = stream.CloseAndRecv()
	require.ErrorContains(t, err, "EOF", "a stream ends as with an agent")
	assert.Len(t, s.printed(t), 2)
}

func TestConcurrentClients(t *testing.T) {
	s := startSink(t)
	const clients, batches, perBatch = 4, 25, 4
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for b := range batches {
				var envelopes []*loggregator_v2.Envelope
				for e := range perBatch {
					envelopes = append(envelopes, logOf(fmt.Sprintf("%d-%d-%d", c, b, e)))
				}
				_, err := s.client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{Batch: envelopes})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.stop())
	distinct := map[string]bool{}
	for _, line := range s.printed(t) {
		assert.Regexp(t, `^00:00:00\.000 LOG      app OUT \d-\d+-\d$`, line)
		distinct[line] = true
	}
	assert.Len(t, distinct, clients*batches*perBatch)
	assert.Contains(t, s.stderr.String(), "400 envelopes in 100 batches: 400 LOG")
}

func TestInvalidFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	certs, damaged := ingresstest.Certs(t), t.TempDir()
	for _, name := range []string{"ca.crt", "metron.crt", "metron.key", "client.crt", "client.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(damaged, name), []byte("garbage"), 0o600))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()

	tests := []struct {
		name string
		args []string
		want []string // parts of the error
	}{
		{"unknown flag", []string{"-bogus"}, []string{"-bogus"}},
		{"unexpected argument", []string{"-output", "json", "127.0.0.1:3458"}, []string{"unexpected argument", `"127.0.0.1:3458"`}},
		{"invalid output", []string{"-output", "xml"}, []string{"-output", "text", "json", `"xml"`}},
		{"empty output", []string{"-output", ""}, []string{"-output", `""`}},
		{"invalid color", []string{"-color", "sometimes"}, []string{"-color", "auto", "always", "never", `"sometimes"`}},
		{"invalid address", []string{"-certs", certs, "-listen", "nonsense"}, []string{"-listen", "nonsense"}},
		{"invalid port", []string{"-certs", certs, "-listen", "127.0.0.1:99999"}, []string{"-listen", "99999"}},
		{"address in use", []string{"-certs", certs, "-listen", taken.Addr().String()}, []string{"-listen", taken.Addr().String(), "address already in use"}},
		{"certs is a file", []string{"-certs", file}, []string{"-certs", file}},
		{"invalid certs", []string{"-certs", damaged}, []string{"-certs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // For the default of -certs.
			stdout, err := os.Create("stdout")
			require.NoError(t, err)
			defer func() { _ = stdout.Close() }()
			stderr := &output{}
			err = run(t.Context(), tt.args, stdout, stderr)
			require.Error(t, err)
			for _, want := range tt.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, stderr.String(), "listening on")
			assert.NoDirExists(t, "loggregator-certs", "a failed start leaves nothing behind")
		})
	}
}

func TestHelp(t *testing.T) {
	stderr := &output{}
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, nil, stderr), flag.ErrHelp)
	for _, want := range []string{"-listen", "-certs", "-output", "-color", "127.0.0.1:3458"} {
		assert.Contains(t, stderr.String(), want)
	}
}

func TestFirstStart(t *testing.T) {
	certs := filepath.Join(t.TempDir(), "certs")
	s := startSink(t, "-certs", certs)
	assert.Contains(t, s.stderr.String(), certs)
	address := s.stderr.address(t)
	_, err := ingresstest.Dial(t, address, certs).Send(t.Context(), &loggregator_v2.EnvelopeBatch{})
	require.NoError(t, err)
	_, err = s.client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{})
	require.Error(t, err, "a client with a certificate from another authority")
}

// command returns the sink as a separate process.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), ingresstest.WaitAtMost)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "TZ=UTC")
	return cmd
}

func TestExitStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		fails bool
		want  string
	}{
		"invalid value": {[]string{"-output", "xml"}, true, `^loggregator-sink: -output: must be text or json, not "xml"\n$`},
		"unknown flag":  {[]string{"-bogus"}, true, `^[^\n]*-bogus\n$`},
		"help":          {[]string{"-h"}, false, `^Usage of loggregator-sink`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, tt.args...)
			stderr, err := cmd.CombinedOutput()
			if tt.fails {
				require.Error(t, err)
				assert.Equal(t, 1, cmd.ProcessState.ExitCode())
			} else {
				require.NoError(t, err)
			}
			assert.Regexp(t, tt.want, string(stderr))
		})
	}
}

// startCommand starts a process that listens. stop sends a signal and waits for it to end.
func startCommand(t *testing.T, cmd *exec.Cmd, sig os.Signal) *sink {
	t.Helper()
	certs := ingresstest.Certs(t)
	s := &sink{stderr: &output{}, stop: func() error { return errors.Join(cmd.Process.Signal(sig), cmd.Wait()) }}
	cmd.Args = append(cmd.Args, "-listen", "127.0.0.1:0", "-certs", certs)
	cmd.Stderr = s.stderr
	require.NoError(t, cmd.Start())
	s.client = ingresstest.Dial(t, s.stderr.address(t), certs)
	return s
}

// stdout is a pipe, so there are no colors.
func TestSignals(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := command(t)
			stdout := &output{}
			cmd.Stdout = stdout
			s := startCommand(t, cmd, sig)
			s.send(t, logOf("hello"))
			require.NoError(t, s.stop())
			assert.Equal(t, "00:00:00.000 LOG      app OUT hello\n", stdout.String())
			assert.Contains(t, s.stderr.String(), "\n1 envelopes in 1 batches: 1 LOG\n")
		})
	}
}

// As in loggregator-sink | head, the sink keeps taking envelopes when the reader of its output is gone. In a separate process, a closed
// stdout raises a signal.
func TestStdoutClosed(t *testing.T) {
	cmd := command(t)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	s := startCommand(t, cmd, os.Interrupt)
	s.send(t, logOf("hello"))
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "00:00:00.000 LOG      app OUT hello\n", line)
	require.NoError(t, stdout.Close())
	s.send(t, logOf("hello"))
	s.send(t, logOf("hello"))
	require.NoError(t, s.stop())
	assert.Contains(t, s.stderr.String(), "\n3 envelopes in 3 batches: 3 LOG\n")
}

// In this process, writing to a closed stdout returns an error.
func TestStdoutError(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	defer func() { _ = writer.Close() }()
	s := startSinkTo(t, writer)
	for range 3 {
		s.send(t, logOf("hello"))
	}
	require.NoError(t, s.stop())
	assert.Contains(t, s.stderr.String(), "\n3 envelopes in 3 batches: 3 LOG\n")
}

func TestColors(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	reader, pipe, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _, _ = reader.Close(), pipe.Close() }()

	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Log("no terminal available:", err)
	}
	defer func() { _ = terminal.Close() }()

	tests := []struct {
		name           string
		out            *os.File
		noColor, color string
		want           bool
	}{
		{"auto, file", file, "", "auto", false},
		{"auto, pipe", pipe, "", "auto", false},
		{"always, file", file, "", "always", true},
		{"always, pipe", pipe, "", "always", true},
		{"never, pipe", pipe, "", "never", false},
		{"auto, terminal", terminal, "", "auto", true},
		{"auto, terminal, NO_COLOR", terminal, "1", "auto", false},
		{"always, terminal, NO_COLOR", terminal, "1", "always", true},
		{"never, terminal", terminal, "", "never", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.out == nil {
				t.Skip("no terminal")
			}
			t.Setenv("NO_COLOR", tt.noColor)
			p, err := newPrinter(tt.out, "text", tt.color)
			require.NoError(t, err)
			assert.Equal(t, tt.want, p.color)
		})
	}
}

// The binary does not link package testing.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	packages := strings.Fields(string(out))
	require.Contains(t, packages, "github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver")
	assert.NotContains(t, packages, "testing")
}
