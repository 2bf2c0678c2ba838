// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// asCommand makes the binary of the tests be the command itself.
const asCommand = "LOGGREGATOR_SINK_AS_COMMAND"

// waitAtMost is the timeout of every wait in these tests: far more than any should take.
const waitAtMost = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	time.Local = time.UTC // The text lines have local times.
	certs, err := os.MkdirTemp("", "loggregator-sink")
	if err == nil {
		certsFolder = certs
		err = ingressserver.WriteCerts(certs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(certs)
		os.Exit(code)
	}))
}

// certsFolder is the folder of the certificates of all tests: making keys takes a while.
var certsFolder string

// output is a writer that anyone may read at any time.
type output struct {
	mu      sync.Mutex
	written bytes.Buffer
	changed chan struct{} // closed and replaced when something is written
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.written.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.written.String()
}

// await waits until the expression matches, and returns its first group.
func (o *output) await(t *testing.T, expression string) string {
	t.Helper()
	re := regexp.MustCompile(expression)
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	for {
		o.mu.Lock()
		match, changed := re.FindStringSubmatch(o.written.String()), o.changed
		o.mu.Unlock()
		if match != nil {
			return match[1]
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("waited in vain for %s in\n%s", expression, o)
		}
	}
}

const listening = `(?m)^listening on (127\.0\.0\.1:\d+); a client needs ca\.crt, client\.crt and client\.key of `

// sink is a run in this process.
type sink struct {
	client loggregator_v2.IngressClient
	stdout *os.File
	stderr *output
	stop   func() error
}

// startSink runs with these arguments and with stdout to a file.
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
	s := &sink{stdout: stdout, stderr: newOutput()}
	done := make(chan error, 1)
	args = append([]string{"-listen", "127.0.0.1:0", "-certs", certsFolder}, args...)
	go func() {
		err := run(ctx, args, stdout, s.stderr)
		if err != nil {
			fmt.Fprintln(s.stderr, err) // For the test that waits in vain.
		}
		done <- err
	}()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { assert.NoError(t, s.stop()) })
	s.client = dial(t, s.stderr.await(t, listening), certsFolder)
	return s
}

// dial makes a client with the files that a client needs. It is closed when the test ends.
func dial(t *testing.T, address, certs string) loggregator_v2.IngressClient {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(certs, "client.crt"), filepath.Join(certs, "client.key"))
	require.NoError(t, err)
	ca, err := os.ReadFile(filepath.Join(certs, "ca.crt"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(ca))
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		ServerName: "metron", Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12,
	})))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return loggregator_v2.NewIngressClient(conn)
}

// send returns when the batch is printed, because it is acknowledged after that.
func (s *sink) send(t *testing.T, envelopes ...*loggregator_v2.Envelope) {
	t.Helper()
	_, err := s.client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{Batch: envelopes})
	require.NoError(t, err)
}

func (s *sink) printed(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(s.stdout.Name())
	require.NoError(t, err)
	return string(content)
}

func TestSummary(t *testing.T) {
	t.Run("of nothing", func(t *testing.T) {
		s := startSink(t)
		require.NoError(t, s.stop())
		assert.Contains(t, s.stderr.String(), "\nno envelopes arrived\n")
	})
	t.Run("of a batch without envelopes", func(t *testing.T) {
		s := startSink(t)
		s.send(t)
		require.NoError(t, s.stop())
		assert.Contains(t, s.stderr.String(), "\nno envelopes arrived\n")
		assert.Empty(t, s.printed(t))
	})
	t.Run("of each kind", func(t *testing.T) {
		s := startSink(t)
		s.send(t, logOf("a"), logOf("b"), logOf("c"))
		s.send(t, counterOf(1, 0), counterOf(0, 1))
		s.send(t, gaugeOf(nil), timerOf(0, 1), eventOf("t", "b"), &loggregator_v2.Envelope{}, logOf("d"))
		require.NoError(t, s.stop())
		assert.Contains(t, s.stderr.String(), "\n10 envelopes in 3 batches: 4 LOG, 2 COUNTER, 1 GAUGE, 1 TIMER, 1 EVENT, 1 EMPTY\n")
		assert.Regexp(t, `(?m)^\d+\.\d envelopes/s over \d`, s.stderr.String())
		assert.Equal(t, 10, strings.Count(s.printed(t), "\n"))
	})
}

func TestStream(t *testing.T) {
	s := startSink(t)
	stream, err := s.client.BatchSender(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{logOf("a"), logOf("b")}}))
	// A stream is not acknowledged.
	require.Eventually(t, func() bool { return strings.Count(s.printed(t), "\n") == 2 }, waitAtMost, time.Millisecond)
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
	lines := strings.Split(strings.TrimSuffix(s.printed(t), "\n"), "\n")
	distinct := map[string]bool{}
	for _, line := range lines {
		assert.Regexp(t, `^00:00:00\.000 LOG      app OUT \d-\d+-\d$`, line)
		distinct[line] = true
	}
	assert.Len(t, distinct, clients*batches*perBatch)
	assert.Contains(t, s.stderr.String(), "400 envelopes in 100 batches: 400 LOG")
}

func TestInvalidFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	damaged := t.TempDir()
	for _, name := range []string{"ca.crt", "metron.crt", "metron.key", "client.crt", "client.key"} {
		require.NoError(t, os.WriteFile(filepath.Join(damaged, name), []byte("garbage"), 0o600))
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()

	tests := []struct {
		name string
		args []string
		want []string // all of them in the error
	}{
		{"unknown flag", []string{"-bogus"}, []string{"-bogus"}},
		{"unexpected argument", []string{"-output", "json", "127.0.0.1:3458"}, []string{"unexpected argument", `"127.0.0.1:3458"`}},
		{"output that is none", []string{"-output", "xml"}, []string{"-output", "text", "json", `"xml"`}},
		{"empty output", []string{"-output", ""}, []string{"-output", `""`}},
		{"color that is none", []string{"-color", "sometimes"}, []string{"-color", "auto", "always", "never", `"sometimes"`}},
		{"address that is none", []string{"-certs", certsFolder, "-listen", "nonsense"}, []string{"-listen", "nonsense"}},
		{"port that is none", []string{"-certs", certsFolder, "-listen", "127.0.0.1:99999"}, []string{"-listen", "99999"}},
		{"address in use", []string{"-certs", certsFolder, "-listen", taken.Addr().String()}, []string{"-listen", taken.Addr().String(), "address already in use"}},
		{"certs is a file", []string{"-certs", file}, []string{"-certs", file}},
		{"certs that are none", []string{"-certs", damaged}, []string{"-certs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir()) // Where the default of -certs would go.
			stdout, err := os.Create("stdout")
			require.NoError(t, err)
			defer func() { _ = stdout.Close() }()
			stderr := newOutput()
			err = run(t.Context(), tt.args, stdout, stderr)
			require.Error(t, err)
			for _, want := range tt.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, stderr.String(), "listening on")
			assert.NoDirExists(t, "loggregator-certs", "what is refused leaves nothing behind")
		})
	}
}

func TestHelp(t *testing.T) {
	stderr := newOutput()
	require.ErrorIs(t, run(t.Context(), []string{"-h"}, nil, stderr), flag.ErrHelp)
	for _, want := range []string{"-listen", "-certs", "-output", "-color", "127.0.0.1:3458"} {
		assert.Contains(t, stderr.String(), want)
	}
}

func TestFirstStart(t *testing.T) {
	certs := filepath.Join(t.TempDir(), "certs")
	s := startSink(t, "-certs", certs)
	assert.Contains(t, s.stderr.String(), certs)
	address := s.stderr.await(t, listening)
	_, err := dial(t, address, certs).Send(t.Context(), &loggregator_v2.EnvelopeBatch{})
	require.NoError(t, err)
	_, err = dial(t, address, certsFolder).Send(t.Context(), &loggregator_v2.EnvelopeBatch{})
	require.Error(t, err, "a client of another authority")
}

// command is a run in a process of its own.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "TZ=UTC")
	return cmd
}

func TestCommand(t *testing.T) {
	t.Run("wrong use", func(t *testing.T) {
		stderr, err := command(t, "-output", "xml").CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 1, exit.ExitCode())
		assert.Equal(t, "loggregator-sink: -output: must be text or json, not \"xml\"\n", string(stderr))
	})
	t.Run("unknown flag is named once", func(t *testing.T) {
		stderr, err := command(t, "-bogus").CombinedOutput()
		require.Error(t, err)
		assert.Equal(t, 1, strings.Count(string(stderr), "-bogus"), "%s", stderr)
	})
	t.Run("help is no failure", func(t *testing.T) {
		stderr, err := command(t, "-h").CombinedOutput()
		require.NoError(t, err)
		assert.Contains(t, string(stderr), "Usage of loggregator-sink")
	})
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run("ends with "+sig.String(), func(t *testing.T) {
			cmd := command(t, "-listen", "127.0.0.1:0", "-certs", certsFolder)
			stdout, stderr := newOutput(), newOutput()
			cmd.Stdout, cmd.Stderr = stdout, stderr
			require.NoError(t, cmd.Start())
			client := dial(t, stderr.await(t, listening), certsFolder)
			_, err := client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{logOf("hello")}})
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Signal(sig))
			require.NoError(t, cmd.Wait())
			assert.Equal(t, "00:00:00.000 LOG      app OUT hello\n", stdout.String())
			assert.Contains(t, stderr.String(), "\n1 envelopes in 1 batches: 1 LOG\n")
		})
	}
}

// As in loggregator-sink | head. In a process of its own a closed stdout raises a signal.
func TestStdoutClosed(t *testing.T) {
	cmd := command(t, "-listen", "127.0.0.1:0", "-certs", certsFolder)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr := newOutput()
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	client := dial(t, stderr.await(t, listening), certsFolder)
	lines := bufio.NewReader(stdout)
	for i := range 3 {
		_, err := client.Send(t.Context(), &loggregator_v2.EnvelopeBatch{Batch: []*loggregator_v2.Envelope{logOf("hello")}})
		require.NoErrorf(t, err, "batch %d: a reader that has gone away is no reason to stop taking envelopes", i)
		if i == 0 {
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			assert.Equal(t, "00:00:00.000 LOG      app OUT hello\n", line)
			require.NoError(t, stdout.Close())
		}
	}
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, cmd.Wait())
	assert.Contains(t, stderr.String(), "\n3 envelopes in 3 batches: 3 LOG\n")
}

// In this process a closed stdout is an error.
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

	tests := []struct {
		name  string
		out   *os.File
		color string
		want  bool
	}{
		{"auto, file", file, "auto", false},
		{"auto, pipe", pipe, "auto", false},
		{"always, file", file, "always", true},
		{"always, pipe", pipe, "always", true},
		{"never, pipe", pipe, "never", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := newPrinter(tt.out, "text", tt.color)
			require.NoError(t, err)
			assert.Equal(t, tt.want, p.color)
		})
	}

	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal to be had:", err)
	}
	defer func() { _ = terminal.Close() }()
	for _, tt := range []struct {
		name, noColor, color string
		want                 bool
	}{
		{"auto, terminal", "", "auto", true},
		{"auto, terminal of somebody who wants none", "1", "auto", false},
		{"always, terminal of somebody who wants none", "1", "always", true},
		{"never, terminal", "", "never", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", tt.noColor)
			p, err := newPrinter(terminal, "text", tt.color)
			require.NoError(t, err)
			assert.Equal(t, tt.want, p.color)
		})
	}
}

func TestNoColorsInPipe(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _ = reader.Close() }()
	s := startSinkTo(t, writer)
	s.send(t, logOf("hello"))
	require.NoError(t, s.stop())
	require.NoError(t, writer.Close())
	got, err := io.ReadAll(reader)
	require.NoError(t, err)
	assert.Equal(t, "00:00:00.000 LOG      app OUT hello\n", string(got))
}

// The binary does not link package testing.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	packages := strings.Fields(string(out))
	require.Contains(t, packages, "github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver")
	assert.NotContains(t, packages, "testing")
}
