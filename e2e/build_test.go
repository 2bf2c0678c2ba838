// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	exporterModule = "github.com/loggregatorexporter/loggregatorexporter"
	core           = "go.opentelemetry.io/collector"
	contrib        = "github.com/open-telemetry/opentelemetry-collector-contrib"
)

// The builder configuration of the README builds with the oldest and the newest collector, and raises no module to another
// release. The newest build includes Prometheus components, which share the exporter's translation of names.
func TestBuild(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "../README.md"), "\n## Build it into your collector\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	block := regexp.MustCompile("(?s)`ocb` (v[0-9.]+).*?```yaml\n(.*?)```").FindStringSubmatch(section)
	require.NotNil(t, block)
	newest, oldest := requiredIn(t, "../bench", core+"/exporter/exporterhelper"), requiredIn(t, "..", core+"/exporter/exporterhelper")
	require.Equal(t, newest, block[1])
	for i, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) {
			checkout, err := filepath.Abs("..")
			require.NoError(t, err)
			require.Contains(t, block[2], "path: /path/to/this/repository ")
			text := strings.ReplaceAll(strings.Replace(block[2], "/path/to/this/repository", checkout, 1), newest, version)
			if version == oldest {
				text, _, ok = strings.Cut(text, "replaces:")
				require.True(t, ok)
			}

			type component struct {
				Module string `yaml:"gomod"`
				Path   string `yaml:"path,omitempty"`
			}
			var config struct {
				Dist       map[string]string
				Receivers  []component
				Exporters  []component
				Processors []component
				Replaces   []string
			}
			require.NoError(t, yaml.Unmarshal([]byte(text), &config))
			// Components that a reader's collector has in addition.
			dir := filepath.Join(t.TempDir(), "collector")
			config.Dist = map[string]string{"name": "collector", "module": "example.com/collector", "output_path": dir}
			config.Receivers = append(config.Receivers, component{Module: core + "/receiver/otlpreceiver " + version})
			if i == 0 {
				config.Receivers = append(config.Receivers, component{Module: contrib + "/receiver/prometheusreceiver " + version})
				config.Exporters = append(config.Exporters, component{Module: contrib + "/exporter/prometheusremotewriteexporter " + version})
			}
			encoded, err := yaml.Marshal(config)
			require.NoError(t, err)
			file := filepath.Join(filepath.Dir(dir), "builder-config.yaml")
			require.NoError(t, os.WriteFile(file, encoded, 0o600))

			goIn(t, filepath.Dir(dir), "run", core+"/cmd/builder@"+version, "--config", file, "--skip-compilation")
			goIn(t, dir, "build", exporterModule, contrib+"/pkg/translator/prometheus")

			stable := requiredIn(t, "../bench", core+"/component")
			if i == 1 {
				stable = requiredIn(t, "..", core+"/component")
				assert.Empty(t, raised(t, dir), "modules of the oldest collector raised by the exporter")
			}
			numbers := map[string]bool{}
			for module, number := range selected(t, dir) {
				if module == core || strings.HasPrefix(module, core+"/") {
					numbers[number] = true
				}
			}
			assert.Equal(t, map[string]bool{version: true, stable: true}, numbers, "the versions of the collector's modules")
		})
	}
}

// selected returns the modules of a build, with their versions.
func selected(t *testing.T, dir string) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for line := range strings.Lines(goIn(t, dir, "list", "-m", "-f", "{{.Path}} {{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", "all")) {
		module, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[module] = version
	}
	return versions
}

// raised returns the modules that others require too, but whose selected version only the exporter requires.
func raised(t *testing.T, dir string) []string {
	t.Helper()
	byUs, byOthers := map[string]string{}, map[string][]string{}
	for line := range strings.Lines(goIn(t, dir, "mod", "graph")) {
		from, to, _ := strings.Cut(strings.TrimSpace(line), " ")
		module, version, _ := strings.Cut(to, "@")
		switch {
		case strings.HasPrefix(from, exporterModule+"@"):
			byUs[module] = version
		case strings.Contains(from, "@"): // Excludes the build itself, which requires all selected versions.
			byOthers[module] = append(byOthers[module], version)
		}
	}
	var found []string
	for module, version := range selected(t, dir) {
		if byUs[module] == version && len(byOthers[module]) > 0 && !slices.Contains(byOthers[module], version) {
			found = append(found, module+" "+version)
		}
	}
	return found
}

// requiredIn returns the version of a module that the module in dir requires.
func requiredIn(t *testing.T, dir, module string) string {
	t.Helper()
	return strings.TrimSpace(goIn(t, dir, "list", "-m", "-f", "{{.Version}}", module))
}

func goIn(t *testing.T, dir string, arguments ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", arguments...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s\n%s%s", cmd, out, stderr.String())
	return string(out)
}

// startProgress starts progress.sh with a command that waits until the test opens pipe. lines ends when both have ended, because the
// command has it open too, as descriptor 9.
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

// progress.sh prints lines although its command prints none.
func TestProgress(t *testing.T) {
	cmd, lines, pipe := startProgress(t)
	for range 3 {
		require.True(t, lines.Scan())
		assert.Regexp(t, `^the work: \d+ s.* \(usually 2 min\)$`, lines.Text())
	}
	// Let the command end.
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
