// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"maps"
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// Blocks of code, the commands within text, links, headings, and addresses of files of this repository.
var (
	codeBlock  = regexp.MustCompile("(?ms)^ *```(\\w*)\n(.*?)^ *```")
	inlineCode = regexp.MustCompile("`((?:[A-Z0-9]+=\\S+ )*(?:make|docker|go) [^`]+)`")
	link       = regexp.MustCompile(`\]\(([^)\s]*)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	ownAddress = regexp.MustCompile(`https://(?:github\.com/` + owner + `/(?:blob|tree)|raw\.githubusercontent\.com/` + owner + `)/main/([^\s")\\]+)`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
)

const owner = "loggregatorexporter/loggregatorexporter"

// pages are the patterns of all pages.
var pages = []string{"*.md", "*/*.md", "deploy/*/*.md"}

// documents returns the texts of files, by their paths in the repository.
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

// commands returns those of a page: each line of a block, or the whole block if its lines belong together.
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

// Each command of each page works as it is written, but for ports and for how long it takes. The first pattern that matches says how it is
// tried; a command without one fails the test.
func TestCommands(t *testing.T) {
	ci := read(t, "../.ci/run")
	bin := t.TempDir()
	dryRun := func(command string) { shell(t, strings.Replace(command, "make ", "make -n ", 1)) }
	syntax := func(command string) { shell(t, "bash -n <<'end'\n"+command+"\nend") }
	var run *process // make run, while the other commands are tried
	ports := freePorts(t, 4)
	startRun := func(command string) {
		for i, variable := range []string{"SINK_PORT", "OTLP_GRPC_PORT", "OTLP_HTTP_PORT", "METRICS_PORT"} {
			command += " " + variable + "=" + strconv.Itoa(ports[i])
		}
		cmd := exec.Command("bash", "-c", "exec "+command)
		cmd.Dir = ".."
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches all of it.
		run = start(t, cmd, nil)
		// What the README shows of it.
		for _, text := range []string{
			"system_cpu_load_average_1m", "line 1 from examples/local/run.sh", "system_network_io_bytes_total", "Ctrl-C ends both",
		} {
			run.eventuallyWrites(text)
		}
	}
	generate := func(command string) {
		require.NotNil(t, run, "make run comes first")
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
		// What CI runs, or takes too long: the target or the test is there, with these flags.
		{`^make `, dryRun},
		{`^(GOARCH=386 )?(CGO_ENABLED=0 )?go test `, func(command string) {
			if !strings.Contains(ci, "\n"+command+"\n") {
				shell(t, strings.Replace(command, "-race ", "", 1)+" -list .")
			}
		}},
		// What needs a Cloud Foundry, or a release.
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
		// The collector has to run before something is sent to it.
		return cmp.Or(strings.Compare(strconv.FormatBool(b == "make run"), strconv.FormatBool(a == "make run")), strings.Compare(a, b))
	}) {
		known := slices.IndexFunc(tries, func(try try) bool { return regexp.MustCompile(try.pattern).MatchString(command) })
		if assert.NotEqual(t, -1, known, "%s has a command that nothing tries: %s", found[command], command) {
			t.Logf("%s: %s", found[command], command)
			tries[known].run(command)
		}
	}
	require.NotNil(t, run)
	_ = run.Stop() // make reports that it was interrupted.
	assert.NotContains(t, strings.ToLower(read(t, "../build/run/collector.log")), "deprecated")
}

// Each configuration in a page is what the collector takes: a part of one on top of an example, a whole one by itself. If that has the
// exporter, it delivers.
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
					out, err := validate(t, s.certs, example, "yaml:"+block[2])
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
					s.forget()
					s.requireDelivery(c.dial(), readTelemetry(t, "shop.yaml"), "logs")
				}
			})
		}
	}
	assert.Positive(t, started)
}

// Each link to a file of this repository, and to a heading in it, leads there.
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
