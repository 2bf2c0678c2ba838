// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command versions moves the repository to other versions of the collector, in every file that names one, and writes the README's
// table of them. Three versions are in the tree: the oldest, which go.mod requires and which stays; that of the collectors built
// here, by ocb; and the newest, which tests and benchmarks use. Without flags only the table is written.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const (
	core    = "go.opentelemetry.io/collector"
	contrib = "github.com/open-telemetry/opentelemetry-collector-contrib"
	beta    = core + "/exporter/exporterhelper" // numbered as the collector is
	stable  = core + "/component"               // numbered as the stable modules are
	ocb     = core + "/cmd/builder"
)

var (
	builderConfigs = []string{"builder-config.yaml", "examples/local/builder-config.yaml"}
	newestModules  = []string{"bench", "e2e", "conformance"}
	// What names a component in a builder configuration.
	gomod = regexp.MustCompile(`(gomod: )(` + core + `|` + contrib + `)(/\S+) (v\d\S*)`)
	// Where a document shows a version of the collector that moves with the tree.
	shown = regexp.MustCompile("((?:gomod: " + core + "|gomod: " + contrib + "|=> " + core + ")\\S* |`ocb` )(v\\d[0-9.]*\\d)")
	// The table is between these lines of the README.
	begin = "<!-- versions: written by make upgrade -->\n"
	end   = "<!-- end of versions -->"
)

// versions is one release of the collector.
type versions struct{ beta, stable string }

func (v versions) String() string { return v.beta + " (" + v.stable + " of the stable modules)" }

// tree is the versions that the repository is at.
type tree struct{ oldest, built, newest versions }

func main() {
	root := flag.String("root", ".", "the root of the repository")
	collector := flag.String("collector", "", "the newest collector: such as v0.165.0, latest, or current")
	build := flag.String("build", "", "the collector that ocb builds, if not the newest: for when a component is not published yet")
	flag.Parse()
	log.SetFlags(0)
	if err := run(*root, *collector, *build); err != nil {
		log.Fatal(err)
	}
}

func run(root, collector, build string) error {
	from, err := read(root)
	if err != nil {
		return err
	}
	to := from
	if collector == "current" {
		collector, build = from.newest.beta, cmp.Or(build, from.built.beta)
	}
	if collector != "" {
		newest, err := releaseOf(collector)
		if err != nil {
			return err
		}
		built, err := releaseOf(cmp.Or(build, newest.beta()))
		if err != nil {
			return err
		}
		if semver.Compare(newest.beta(), built.beta()) < 0 || semver.Compare(built.beta(), from.oldest.beta) < 0 {
			return fmt.Errorf("the collector that is built, %s, must be from %s to %s", built.beta(), from.oldest.beta, newest.beta())
		}
		to.built, to.newest = built.versions(), newest.versions()
		if err := newest.require(root); err != nil {
			return err
		}
		if err := built.build(root); err != nil {
			return err
		}
		if err := documents(root, from, to); err != nil {
			return err
		}
	}
	return table(root, to)
}

// read finds the versions that the repository is at.
func read(root string) (tree, error) {
	var t tree
	for dir, v := range map[string]*versions{".": &t.oldest, "bench": &t.newest} {
		required, err := requirements(filepath.Join(root, dir, "go.mod"))
		if err != nil {
			return t, err
		}
		*v = versions{required[beta], required[stable]}
	}
	config, err := os.ReadFile(filepath.Join(root, builderConfigs[0]))
	if err != nil {
		return t, err
	}
	for _, m := range gomod.FindAllStringSubmatch(string(config), -1) {
		if semver.Major(m[4]) == "v0" {
			t.built.beta = m[4]
		} else {
			t.built.stable = m[4]
		}
	}
	for _, v := range []versions{t.oldest, t.built, t.newest} {
		if v.beta == "" || v.stable == "" {
			return t, errors.New("a file names no version: go.mod, bench/go.mod or builder-config.yaml")
		}
	}
	return t, nil
}

// requirements is the modules that a go.mod requires, with their versions.
func requirements(file string) (map[string]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	parsed, err := modfile.ParseLax(file, content, nil)
	if err != nil {
		return nil, err
	}
	required := map[string]string{}
	for _, r := range parsed.Require {
		required[r.Mod.Path] = r.Mod.Version
	}
	return required, nil
}

// release is the collector's own modules in one release, with their versions.
type release map[string]string

// releaseOf asks for a release, which may be latest. A module whose number is that of the collector requires the others in the
// versions that belong to it.
func releaseOf(version string) (release, error) {
	r := release{}
	for _, seed := range []string{beta, core + "/exporter/otlpexporter", core + "/receiver/otlpreceiver", core + "/otelcol"} {
		out, err := goCommand(os.TempDir(), "list", "-m", "-f", "{{.Version}} {{.GoMod}}", seed+"@"+cmp.Or(r[beta], version))
		if err != nil {
			return nil, err
		}
		v, file, _ := strings.Cut(strings.TrimSpace(out), " ")
		required, err := requirements(file)
		if err != nil {
			return nil, err
		}
		r[seed] = v
		for module, v := range required {
			if module == core || strings.HasPrefix(module, core+"/") {
				r[module] = v
			}
		}
	}
	return r, nil
}

func (r release) beta() string       { return r[beta] }
func (r release) versions() versions { return versions{r[beta], r[stable]} }

// of is the version of a module in the release. Modules of others, and those of contrib with a number of their own, stay.
func (r release) of(module, now string) string {
	inCore, inContrib := module == core || strings.HasPrefix(module, core+"/"), strings.HasPrefix(module, contrib+"/")
	switch {
	case r[module] != "":
		return r[module]
	case (inCore || inContrib) && semver.Major(now) == "v0":
		return r[beta]
	case inCore:
		return r[stable]
	}
	return now
}

// require sets the go.mod of the modules that use the newest.
func (r release) require(root string) error {
	for _, dir := range newestModules {
		required, err := requirements(filepath.Join(root, dir, "go.mod"))
		if err != nil {
			return err
		}
		arguments := []string{"mod", "edit"}
		for module, now := range required {
			if version := r.of(module, now); version != now {
				arguments = append(arguments, "-require="+module+"@"+version)
			}
		}
		if len(arguments) > 2 {
			// The exporter requires it for its oldest collector. Packages have left it since, and would be there twice.
			arguments = append(arguments, "-require="+core+"@"+r[beta])
			if _, err := goCommand(filepath.Join(root, dir), arguments...); err != nil {
				return err
			}
		}
		if _, err := goCommand(filepath.Join(root, dir), "mod", "tidy"); err != nil {
			return err
		}
	}
	return nil
}

// build sets ocb and its configurations.
func (r release) build(root string) error {
	tools := filepath.Join(root, "tools")
	if _, err := goCommand(tools, "mod", "edit", "-require="+ocb+"@"+r[beta]); err != nil {
		return err
	}
	if _, err := goCommand(tools, "mod", "tidy"); err != nil {
		return err
	}
	for _, name := range builderConfigs {
		err := edit(filepath.Join(root, name), func(text string) string {
			return gomod.ReplaceAllStringFunc(text, func(line string) string {
				m := gomod.FindStringSubmatch(line)
				return m[1] + m[2] + m[3] + " " + r.of(m[2]+m[3], m[4])
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// documents changes what is to be copied from documents. What they say of the oldest stays.
func documents(root string, from, to tree) error {
	out, err := command(root, "git", "ls-files", "--", "*.md", "deploy/*.yml", "deploy/*.yaml", ":!CHANGELOG.md")
	if err != nil {
		return err
	}
	changed := map[string]string{
		from.built.beta: to.built.beta, from.built.stable: to.built.stable,
		from.newest.beta: to.newest.beta, from.newest.stable: to.newest.stable,
		from.oldest.beta: from.oldest.beta, from.oldest.stable: from.oldest.stable,
	}
	for name := range strings.FieldsSeq(out) {
		err := edit(filepath.Join(root, name), func(text string) string {
			return shown.ReplaceAllStringFunc(text, func(place string) string {
				m := shown.FindStringSubmatch(place)
				return m[1] + cmp.Or(changed[m[2]], m[2])
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// table writes the README's table.
func table(root string, t tree) error {
	rows := []string{
		"| the oldest, required by `go.mod` | " + t.oldest.String() + " | unit tests; builds in a module of its own |",
		"| built here by `ocb` | " + t.built.String() + " | end to end: `builder-config.yaml` and the examples |",
		"| the newest | " + t.newest.String() + " | unit tests; builds beside `prometheusreceiver` and `prometheusremotewriteexporter` |",
	}
	if t.built == t.newest {
		rows = slices.Delete(rows, 2, 3)
		rows[1] = "| the newest | " + t.newest.String() +
			" | unit tests; builds beside Prometheus' components; end to end: `builder-config.yaml` and the examples |"
	}
	text := "| collector | version | tested |\n| --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n"
	found := false
	err := edit(filepath.Join(root, "README.md"), func(readme string) string {
		before, rest, ok := strings.Cut(readme, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if found = ok && ok2; !found {
			return readme
		}
		return before + begin + text + end + after
	})
	if err == nil && !found {
		err = errors.New("README.md has no place for the versions")
	}
	return err
}

// edit changes a file, if there is something to change.
func edit(file string, change func(string) string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := change(string(content))
	if changed == string(content) {
		return nil
	}
	return os.WriteFile(file, []byte(changed), 0o600)
}

func goCommand(dir string, arguments ...string) (string, error) {
	return command(dir, "go", arguments...)
}

func command(dir, name string, arguments ...string) (string, error) {
	cmd := exec.Command(name, arguments...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	return string(out), nil
}
