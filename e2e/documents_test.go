// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// Patterns for code blocks, commands within text, links, headings, and URLs of files in this repository.
var (
	codeBlock  = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")
	inlineCode = regexp.MustCompile("`((?:[A-Z0-9]+=\\S+ )*(?:make|docker|go) [^`]+)`")
	link       = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	ownAddress = regexp.MustCompile(`https://(?:github\.com/` + owner + `/(?:blob|tree)|raw\.githubusercontent\.com/` + owner + `)/main/([^\s")\\]+)`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
)

const owner = "loggregatorexporter/loggregatorexporter"

// pages holds the patterns of all pages.
var pages = []string{"*.md", "*/*.md", "deploy/*/*.md"}

// documents returns the contents of files, by their paths in the repository.
func documents(t *testing.T, patterns ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range patterns {
		files, err := filepath.Glob("../" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			texts[strings.TrimPrefix(filepath.ToSlash(file), "../")] = read(t, file)
		}
	}
	return texts
}

// commands returns the commands of a page. Each line of a block is a command, or the whole block if it has continued lines.
func commands(page string) []string {
	var found []string
	for _, block := range codeBlock.FindAllStringSubmatch(page, -1) {
		switch text := strings.TrimSpace(block[2]); {
		case block[1] == "sh" && strings.Contains(text, "\n  "):
			found = append(found, text)
		case block[1] == "sh":
			for line := range strings.Lines(text) {
				found = append(found, strings.TrimSpace(line))
			}
		case block[1] == "console":
			for line := range strings.Lines(text) {
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					found = append(found, strings.TrimSpace(command))
				}
			}
		}
	}
	for _, code := range inlineCode.FindAllStringSubmatch(codeBlock.ReplaceAllString(page, ""), -1) {
		found = append(found, code[1])
	}
	return found
}

// Each command on each page works as written, except for ports and durations. The first matching pattern determines how the test tries it.
// A command without a pattern fails the test.
func TestCommands(t *testing.T) {
	ci := read(t, "../.ci/run")
	bin := t.TempDir()
	dryRun := func(command string) { shell(t, strings.Replace(command, "make ", "make -n ", 1)) }
	syntax := func(command string) { shell(t, "bash -n <<'end'\n"+command+"\nend") }
	var run *process // make run, which continues during the other commands
	ports := freePorts(t, 4)
	startRun := func(command string) {
		for i, variable := range []string{"SINK_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "METRICS_PORT"} {
			command += " " + variable + "=" + strconv.Itoa(ports[i])
		}
		cmd := exec.Command("bash", "-c", "exec "+command)
		cmd.Dir = ".."
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the whole group.
		run = start(t, cmd, nil)
		// The output that the README shows.
		for _, text := range []string{
			"system_cpu_load_average_1m", "line 1 from examples/local/run.sh", "system_network_io_bytes_total", "Ctrl-C ends both",
		} {
			run.eventuallyWrites(text)
		}
	}
	generate := func(command string) {
		require.NotNil(t, run, "make run must come first")
		shell(t, strings.ReplaceAll(command, "--otlp-insecure", "--otlp-insecure --otlp-endpoint "+outage.Loopback(ports[1])))
		for _, text := range []string{"[OTEL/0] telemetrygen OUT the message {app=server", "GAUGE    telemetrygen/0 gen 0 {instance_id=0 service_name=telemetrygen}",
			"TIMER    telemetrygen/0 okey-dokey-0 123µs {", "TIMER    telemetrygen/0 lets-go 123µs {"} {
			assert.Contains(t, read(t, "../README.md"), text)
			run.eventuallyWrites(text)
		}
	}
	type try struct {
		pattern string
		run     func(command string)
	}
	tries := []try{
		{`^git clone https://github.com/` + owner + ` && cd loggregatorexporter$`, func(command string) {
			root, err := filepath.Abs("..")
			require.NoError(t, err)
			at := filepath.Join(t.TempDir(), "loggregatorexporter")
			shell(t, strings.Replace(command, "https://github.com/"+owner+" && cd loggregatorexporter", root+" "+at+" && cd "+at+" && test -f Makefile", 1))
		}},
		{`^make run$`, startRun},
		{`telemetrygen@\S+ \\\n +\$signal --otlp-insecure `, generate},
		{`go install \S+/telemetrygen@`, func(command string) { shell(t, "GOBIN="+bin+" GOFLAGS= "+command) }},
		{`^make collector$`, func(command string) { shell(t, command) }},
		{`^make demo-outage$`, func(command string) { shell(t, command+` DEMO="-before 1s -stall 2s -after 1s"`) }},
		{`^docker build -f deploy/docker/Dockerfile -t \S+ \.$`, func(string) {}}, // TestDockerfile
		{`^key=`, func(command string) { shell(t, `[ "$(`+command+`)" = http.request.header.con_7c4d350b ]`) }},
		// CI runs these commands, or they take too long: check only that the target, or the test with its flags, exists.
		{`^make `, dryRun},
		{`^(GOARCH=386 )?(CGO_ENABLED=0 )?go test `, func(command string) {
			if !strings.Contains(ci, "\n"+command+"\n") {
				shell(t, strings.Replace(command, "-race ", "", 1)+" -list .")
			}
		}},
		// These need a Cloud Foundry or a release.
		{`^(bosh|cf|export|\./telemetrygen|go mod) `, syntax},
	}
	found := map[string]string{}
	for page, text := range documents(t, pages...) {
		for _, command := range commands(text) {
			found[command] = page
		}
	}
	require.Greater(t, len(found), 30)
	for _, command := range slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		// The collector must run before telemetrygen sends to it.
		return cmp.Or(strings.Compare(strconv.FormatBool(b == "make run"), strconv.FormatBool(a == "make run")), strings.Compare(a, b))
	}) {
		known := slices.IndexFunc(tries, func(try try) bool { return regexp.MustCompile(try.pattern).MatchString(command) })
		if assert.NotEqual(t, -1, known, "%s: no pattern for the command: %s", found[command], command) {
			t.Logf("%s: %s", found[command], command)
			tries[known].run(command)
		}
	}
	require.NotNil(t, run)
	_ = run.Stop() // make returns an error when interrupted.
	assert.NotContains(t, strings.ToLower(read(t, "../build/run/collector.log")), "deprecated")
}

// The collector accepts each configuration on each page: a partial one together with an example, a complete one by itself. A complete one
// with the exporter delivers.
func TestConfigurations(t *testing.T) {
	s := startSink(t)
	const example = "../examples/cloudfoundry/config.yaml"
	assert.Contains(t, read(t, "../README.md"), "```yaml\n"+read(t, example)+"```")
	started := 0
	for page, text := range documents(t, pages...) {
		for i, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			var config struct {
				Receivers, Exporters map[string]any
				Service              struct{ Pipelines map[string]any }
			}
			if block[1] != "yaml" || page == "docs/mapping.md" || strings.Contains(block[2], "gomod:") { // TestMapping, TestBuild
				continue
			}
			require.NoError(t, yaml.Unmarshal([]byte(block[2]), &config), page)
			t.Run(page+"/"+strconv.Itoa(i), func(t *testing.T) {
				if config.Service.Pipelines == nil {
					out, err := validate(t, s.certs, componentStatus, "--config", example, "--config", "yaml:"+block[2])
					require.NoError(t, err, out)
					return
				}
				started++
				settings := []string{onGRPCPort}
				if config.Exporters["loggregator"] != nil {
					settings = append(settings, toSink)
				}
				c := startCollector(t, "yaml:"+block[2], s.env(), settings...)
				if config.Exporters["loggregator"] != nil {
					s.reset()
					s.requireDelivery(c.dial(), readTelemetry(t, "shop.yaml"), "logs")
				}
			})
		}
	}
	assert.Positive(t, started)
}

// Each link to a file in this repository, or to a heading in it, has a target.
func TestLinks(t *testing.T) {
	anchors := map[string]map[string]bool{}
	texts := documents(t, pages...)
	require.Greater(t, len(texts), 9)
	for page, text := range texts {
		anchors[page] = map[string]bool{"": true}
		for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
			title := link.ReplaceAllString(strings.ReplaceAll(h[1], "[", ""), "")
			anchors[page][strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(title), ""), " ", "-")] = true
		}
	}
	check := func(from, target string) {
		file, anchor, _ := strings.Cut(target, "#")
		_, err := os.Stat(filepath.Join("..", filepath.FromSlash(file)))
		assert.NoError(t, err, "%s: %s", from, target)
		if known, ok := anchors[file]; ok {
			assert.True(t, known[anchor], "%s: no such heading: %s", from, target)
		}
	}
	maps.Copy(texts, documents(t, "deploy/prometheus/alerts.yaml", "deploy/grafana/dashboard.json"))
	for page, text := range texts {
		for _, own := range ownAddress.FindAllStringSubmatch(text, -1) {
			check(page, own[1])
		}
		for _, l := range link.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
			switch target := l[1]; {
			case strings.HasPrefix(target, "#"):
				check(page, page+target)
			case !strings.Contains(target, ":"):
				check(page, path.Join(path.Dir(page), target))
			}
		}
	}
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

// schemaURL is the base URL by which editors and other schemas find the schemas.
const schemaURL = "https://raw.githubusercontent.com/loggregatorexporter/loggregatorexporter/main/"

// collectorSchema returns a function that checks a collector's configuration as an editor with collector.schema.json does.
func collectorSchema(t *testing.T) func(config any) error {
	t.Helper()
	load := func(at *url.URL) (*jsonschema.Schema, error) {
		content, err := os.ReadFile("../" + strings.TrimPrefix(at.String(), schemaURL))
		if err != nil {
			return nil, err
		}
		var schema jsonschema.Schema
		return &schema, json.Unmarshal(content, &schema)
	}
	at, err := url.Parse(schemaURL + "collector.schema.json")
	require.NoError(t, err)
	schema, err := load(at)
	require.NoError(t, err)
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{Loader: load})
	require.NoError(t, err)
	return func(config any) error {
		// Editors see JSON's types.
		encoded, err := json.Marshal(config)
		require.NoError(t, err)
		var decoded any
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		return resolved.Validate(decoded)
	}
}

// collectorConfigs returns every complete or partial configuration of a collector in the repository, by file.
func collectorConfigs(t *testing.T) map[string][]any {
	t.Helper()
	configs := map[string][]any{}
	add := func(file, text string) {
		var config any
		require.NoError(t, yaml.Unmarshal([]byte(text), &config), "%s:\n%s", file, text)
		sections, _ := config.(map[string]any)
		for _, key := range []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"} {
			if _, ok := sections[key].(map[string]any); ok { // ocb's sections are lists.
				configs[file] = append(configs[file], config)
				return
			}
		}
	}
	for _, pattern := range []string{"examples/*/config.yaml", "deploy/*/config.yaml", "e2e/testdata/*.yaml", "e2e/internal/outage/*.yaml"} {
		for file, text := range documents(t, pattern) {
			add(file, text)
		}
	}
	for page, text := range documents(t, pages...) {
		for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			if block[1] == "yaml" {
				add(page, block[2])
			}
		}
	}
	// In BOSH operations, the configuration is a property of a job.
	for file, text := range documents(t, "deploy/bosh/*.yml") {
		var visit func(node *yaml.Node)
		visit = func(node *yaml.Node) {
			for i, below := range node.Content {
				if node.Kind == yaml.MappingNode && i%2 == 1 && node.Content[i-1].Value == "config" {
					var config any
					require.NoError(t, below.Decode(&config))
					configs[file] = append(configs[file], config)
				}
				visit(below)
			}
		}
		var operations yaml.Node
		require.NoError(t, yaml.Unmarshal([]byte(text), &operations))
		visit(&operations)
	}
	return configs
}

// An editor accepts all configurations that the collector accepts.
func TestSchemaAcceptsExamples(t *testing.T) {
	check := collectorSchema(t)
	configs := collectorConfigs(t)
	for file, all := range configs {
		for _, config := range all {
			assert.NoError(t, check(config), file)
		}
	}
	for _, file := range []string{
		"README.md", "examples/cloudfoundry/config.yaml", "deploy/docker/config.yaml", "deploy/bosh/add-loggregator-exporter.yml",
	} {
		assert.NotEmpty(t, configs[file], file)
	}
}

// An editor refuses most configurations that the collector refuses.
func TestSchema(t *testing.T) {
	check := collectorSchema(t)
	for text, valid := range map[string]bool{
		`{}`:                                    true,
		`{exporters: {loggregator: , debug: }}`: true,
		`{exporters: {debug: {anything: 1}}}`:   true,
		`{receivers: "${file:receivers.yaml}"}`: true,
		`{connectors: {forward/b: }, service: {pipelines: {metrics/a: {receivers: [otlp], exporters: [forward/b]}}}}`: true,
		`{exporter: {}}`:                      false,
		`{exporters: [loggregator]}`:          false,
		`{exporters: {loggregator: 1}}`:       false,
		`{exporters: {"no type": {}}}`:        false,
		`{service: {pipeline: {}}}`:           false,
		`{service: {extensions: {zpages: }}}`: false,
		`{service: {pipelines: {events: {receivers: [otlp], exporters: [debug]}}}}`:         false,
		`{service: {pipelines: {logs: {receivers: [otlp]}}}}`:                               false,
		`{service: {pipelines: {logs: {receivers: [a], processor: [b], exporters: [c]}}}}`:  false,
		`{service: {pipelines: {logs: {receivers: [otlp], exporters: {loggregator: {}}}}}}`: false,
	} {
		var config any
		require.NoError(t, yaml.Unmarshal([]byte(text), &config))
		assert.Equal(t, valid, check(config) == nil, text)
	}
	for text, valid := range map[string]bool{
		`{}`: true,
		`{timeout: 3s, headers: {a: b}, auth: {authenticator: oauth2client}, keepalive: null}`: true,
		`{diode: {capacity: "${env:CAPACITY}", drop_policy: newest}}`:                          true,
		`{retry_on_failure: {max_elapsed_time: 0s}, tls: {insecure: true}}`:                    true,
		`{dioade: {capacity: 1}}`:                false,
		`{diode: {size: 1}}`:                     false,
		`{diode: {capacity: 0}}`:                 false,
		`{diode: {capacity: many}}`:              false,
		`{diode: {drop_policy: random}}`:         false,
		`{batch: {max_bytes: 4194305}}`:          false,
		`{timeout: soon}`:                        false,
		`{identity: {source_id: {value: [a]}}}`:  false,
		`{tls: {insecure: perhaps}}`:             false,
		`{logs: {max_payload_bytes: 63}}`:        false,
		`{metrics: {naming: influx}}`:            false,
		`{traces: {span_events: 1}}`:             false,
		`{retry_on_failure: {multiplier: fast}}`: false,
	} {
		var settings any
		require.NoError(t, yaml.Unmarshal([]byte(text), &settings))
		for _, id := range []string{"loggregator", "loggregator/named"} {
			config := map[string]any{"exporters": map[string]any{id: settings}}
			assert.Equal(t, valid, check(config) == nil, "%s: %s", id, text)
		}
	}
}
