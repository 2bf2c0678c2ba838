// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command report writes a page of docs, which is a template beside this file, from the raw output of the benchmarks, and its
// pictures: the tables are benchstat's, the verdicts are ratios of medians. With -check it runs benchmarks instead, and compares them with
// a baseline, which has limits as the templates have them.
package main

import (
	"embed"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"gonum.org/v1/plot/plotter"

	"github.com/loggregatorexporter/loggregatorexporter/tools/picture"
)

//go:embed *.md.tmpl
var pages embed.FS

func main() {
	log.SetFlags(0)
	page := flag.String("page", "exporter", "what the page is about: exporter or diodes")
	baseline := flag.String("check", "", "the file with what is allowed")
	binary := flag.String("bench", "build/bench/exporter.test", "the benchmarks to check, compiled")
	allocs := flag.Bool("allocs", false, "check allocations only")
	r := report{samples: samples{}}
	flag.StringVar(&r.raw, "raw", "build/bench/exporter.txt", "the raw output of the benchmarks")
	flag.StringVar(&r.docs, "docs", "docs", "the folder of the page, for its pictures")
	flag.StringVar(&r.benchstat, "benchstat", "benchstat", "the command that is benchstat")
	flag.Parse()
	if *baseline != "" {
		check(*baseline, *binary, *allocs)
		return
	}
	about := must(r.samples.read(must(os.ReadFile(r.raw))))
	t := must(template.New("").Funcs(template.FuncMap{
		"samples":  func(name, unit string) int { return len(r.samples[measured{name, unit}]) },
		"above":    r.above,
		"verdicts": r.verdicts,
		"tables":   r.tables,
		"chart":    r.chart,
	}).ParseFS(pages, "*.md.tmpl"))
	if err := t.ExecuteTemplate(os.Stdout, *page+".md.tmpl", about); err != nil {
		log.Fatal(err)
	}
}

// must ends the program with an error, if there is one.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// report has the functions of the templates.
type report struct {
	raw, docs, benchstat string
	samples              samples
}

// above returns how many samples are above a limit.
func (r *report) above(name, unit string, limit float64) (n int) {
	for _, v := range r.samples[measured{name, unit}] {
		if v > limit {
			n++
		}
	}
	return n
}

// verdicts returns rows of a table that say which limits are met.
func (r *report) verdicts(title, text string) (string, error) {
	limits, err := parseLimits(text)
	var rows strings.Builder
	for _, l := range limits {
		fmt.Fprintf(&rows, "| %s | %s |\n", title, r.verdict(l))
	}
	return rows.String(), err
}

func (r *report) verdict(l limit) string {
	v, ok := l.value(r.samples)
	what := l.what()
	if _, sub, cut := strings.Cut(l.benchmark, "/"); cut {
		what = sub + ": " + what
	}
	format, sign := "%.4g", ""
	switch {
	case l.other != "-" && v < .1:
		format, sign = "%.1g×", "×"
	case l.other != "-":
		format, sign = "%.2f×", "×"
	case v >= 1000:
		format = "%.0f"
	}
	measured, aim, verdict := fmt.Sprintf(format, v), "–", "–"
	if l.text != "-" {
		aim, verdict = "≤ "+l.text+sign, "**no**"
		if least, ok := strings.CutPrefix(l.text, ">"); ok {
			aim = "≥ " + least + sign
		}
		if l.met(v) {
			verdict = "yes"
		}
	}
	// Without contention a ratio may be fine that isn't fine with it.
	if cores, some := r.samples.median(nameOf(l.benchmark, l.peer), "cores"); some && cores < 1.5 && l.other != "-" {
		verdict = fmt.Sprintf("not shown: on %.1f cores", cores)
	}
	if !ok {
		measured, verdict = "not measured", "–"
	}
	return fmt.Sprintf("%s | %s | %s | %s", what, aim, measured, verdict)
}

// tables returns a table of benchstat for each unit.
func (r *report) tables(benchmark, row, column, units string) (string, error) {
	var tables []string
	for unit := range strings.FieldsSeq(units) {
		args := append(strings.Fields(r.benchstat), "-table", "", "-row", row, "-col", column,
			"-filter", ".name:"+benchmark+" .unit:"+unit, r.raw)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stderr = os.Stderr
		table, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("benchstat: %w", err)
		}
		var lines []string
		for line := range strings.Lines(string(table)) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
		tables = append(tables, "```\n"+strings.Trim(strings.Join(lines, "\n"), "\n")+"\n```")
	}
	return strings.Join(tables, "\n\n"), nil
}

// chart draws medians as bars, a group in a line: its name, a colon, a benchmark and a unit. The series are peers, each in a line:
// its name, a colon and the peer; or one without peers. Values are divided by per. It returns what shows the picture on the page.
func (r *report) chart(file, title, unit string, per float64, peers, groups string) (string, error) {
	chart := picture.Chart{Title: title, Unit: unit}
	for peer := range strings.Lines(strings.TrimSpace(peers) + "\n") {
		s := picture.Series{}
		s.Name, peer, _ = strings.Cut(strings.TrimSpace(peer), ": ")
		chart.Groups = nil
		for line := range strings.Lines(strings.TrimSpace(groups)) {
			group, of, _ := strings.Cut(strings.TrimSpace(line), ": ")
			name, unit, _ := strings.Cut(of, " ")
			if peer != "" {
				name = nameOf(name, peer)
			}
			v, ok := r.samples.median(name, unit)
			if !ok {
				return "", fmt.Errorf("%s has no %s", name, unit)
			}
			chart.Groups = append(chart.Groups, group)
			s.Points = append(s.Points, plotter.XY{Y: v / per})
		}
		chart.Series = append(chart.Series, s)
	}
	return fmt.Sprintf("![%s](%s.svg)", title, file), picture.Draw(filepath.Join(r.docs, file+".svg"), chart)
}
