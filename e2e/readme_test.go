// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The README's code blocks of commands, and the commands within its text.
var (
	shellBlock   = regexp.MustCompile("(?s)```sh\n(.*?)```")
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
	inlineCode   = regexp.MustCompile("`((?:make|docker|go) [^`]+)`")
)

// readmeCommands are the commands of the README, each once.
func readmeCommands(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	commands := map[string]bool{}
	for _, block := range shellBlock.FindAllSubmatch(readme, -1) {
		for line := range strings.Lines(string(block[1])) {
			command, _, _ := strings.Cut(line, "   #")
			commands[strings.TrimSpace(command)] = true
		}
	}
	for _, block := range consoleBlock.FindAllSubmatch(readme, -1) {
		for line := range strings.Lines(string(block[1])) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands[strings.TrimSpace(command)] = true
			}
		}
	}
	for _, code := range inlineCode.FindAllSubmatch(readme, -1) {
		commands[string(code[1])] = true
	}
	return slices.Sorted(maps.Keys(commands))
}

// Each command of the README works as written, but for ports and durations. An unknown command fails the test.
func TestReadmeCommands(t *testing.T) {
	ci, err := os.ReadFile("../.ci/run")
	require.NoError(t, err)
	r := &readmeRun{t: t}
	inCI := func(command string) { assert.Contains(t, string(ci), "\n"+command+"\n") }
	known := map[string]func(command string){
		"make run":  r.start,
		"make test": inCI,
		"make e2e":  inCI, // Which runs this.
		"docker build -f deploy/docker/Dockerfile -t otelcol-loggregator .": func(string) {}, // TestDockerfile
		"make collector":                func(command string) { shell(t, command) },
		"make demo-outage":              func(command string) { shell(t, command+` DEMO="-before 1s -stall 2s -after 1s"`) },
		"make run OTLP_GRPC_PORT=14317": func(string) { r.mustBeRunning() }, // By this test, with another port.
		`examples/local/log.sh "hello from $USER"`: func(command string) {
			r.mustBeRunning()
			shell(t, "OTLP_HTTP_PORT="+r.otlpHTTP+" "+command)
			r.waitFor("hello from ")
		},
		"go run github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@v0.161.0 traces --otlp-insecure --traces 3": func(command string) {
			r.mustBeRunning()
			shell(t, command+" --otlp-endpoint localhost:"+r.otlp) // As the README says for another port.
			r.waitFor("lets-go")
		},
	}
	commands := readmeCommands(t)
	require.Greater(t, len(commands), 6)
	// The collector has to run before something is sent to it.
	slices.SortStableFunc(commands, func(a, b string) int {
		return strings.Compare(strconv.FormatBool(b == "make run"), strconv.FormatBool(a == "make run"))
	})
	for _, command := range commands {
		run, ok := known[command]
		if assert.True(t, ok, "the README has a command that nothing tries: %s", command) {
			t.Logf("%s", command)
			run(command)
		}
	}
	r.stop()
}

// shell runs a command in the root of the repository.
func shell(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "USER=somebody")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, out)
}

// readmeRun is `make run` while the other commands are tried.
type readmeRun struct {
	t              *testing.T
	cmd            *exec.Cmd
	otlp, otlpHTTP string
	read           chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

func (r *readmeRun) start(command string) {
	r.t.Helper()
	ports := freePorts(r.t, 4)
	for i, variable := range []string{"SINK_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "METRICS_PORT"} {
		command += " " + variable + "=" + strconv.Itoa(ports[i])
	}
	r.otlp, r.otlpHTTP = strconv.Itoa(ports[1]), strconv.Itoa(ports[2])
	r.cmd = exec.Command("bash", "-c", "exec "+command)
	r.cmd.Dir = ".."
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches all of it.
	pipe, err := r.cmd.StdoutPipe()
	require.NoError(r.t, err)
	r.cmd.Stderr = r.cmd.Stdout
	require.NoError(r.t, r.cmd.Start())
	r.read = make(chan struct{})
	go func() {
		defer close(r.read)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			r.mu.Lock()
			r.out.WriteString(lines.Text() + "\n")
			r.mu.Unlock()
		}
	}()
	r.t.Cleanup(r.stop)
	// What the README shows of it.
	for _, text := range []string{"system_memory_usage_bytes", "system_cpu_load_average_1m", "line 1 from examples/local/run.sh", "Ctrl-C ends both"} {
		r.waitFor(text)
	}
}

func (r *readmeRun) mustBeRunning() {
	r.t.Helper()
	require.NotNil(r.t, r.cmd, "make run comes first")
}

func (r *readmeRun) waitFor(text string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return strings.Contains(r.out.String(), text)
	}, waitAtMost, 20*time.Millisecond, text)
}

// stop presses Ctrl-C.
func (r *readmeRun) stop() {
	if r.cmd == nil {
		return
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGINT)
	<-r.read
	_ = r.cmd.Wait() // make reports that it was interrupted.
	assert.NotContains(r.t, strings.ToLower(read(r.t, "../build/run/collector.log")), "deprecated")
	if r.t.Failed() {
		r.t.Logf("make run:\n%s", r.out.String())
	}
	r.cmd = nil
}
