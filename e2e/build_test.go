// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const (
	ours    = "github.com/loggregatorexporter/loggregatorexporter"
	core    = "go.opentelemetry.io/collector"
	contrib = "github.com/open-telemetry/opentelemetry-collector-contrib"
)

// What the README says to add to a builder configuration builds with the oldest collector and with the newest, and takes no module of
// another release there. The newest has Prometheus components beside the exporter, which share its translation of names.
func TestBuildIntoYourCollector(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "../README.md"), "\n## Build it into your collector\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)`ocb` (v[0-9.]+).*?```yaml\n(.*?)```").FindAllStringSubmatch(section, -1)
	require.Len(t, blocks, 2)
	assert.Equal(t, requiredIn(t, "../bench", core+"/exporter/exporterhelper"), blocks[0][1], "the newest comes first")
	assert.Equal(t, requiredIn(t, "..", core+"/exporter/exporterhelper"), blocks[1][1], "then the oldest")
	for i, block := range blocks {
		version, text := block[1], block[2]
		t.Run(version, func(t *testing.T) {
			checkout, err := filepath.Abs("..")
			require.NoError(t, err)
			require.Contains(t, text, "path: /the/checkout ")
			text = strings.Replace(text, "/the/checkout", checkout, 1)

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
			// What a reader's collector has besides.
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
			goIn(t, dir, "build", ours, contrib+"/pkg/translator/prometheus")

			stable := requiredIn(t, "..", core+"/component")
			if i == 0 {
				stable = requiredIn(t, "../bench", core+"/component")
			}
			numbers := map[string]bool{}
			for line := range strings.Lines(goIn(t, dir, "list", "-m", "-f", "{{.Path}} {{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", "all")) {
				module, number, _ := strings.Cut(strings.TrimSpace(line), " ")
				if module == core || strings.HasPrefix(module, core+"/") {
					numbers[number] = true
				}
			}
			assert.Equal(t, map[string]bool{version: true, stable: true}, numbers, "all of one release")
		})
	}
}

// requiredIn is the version of a module in the module in dir.
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
