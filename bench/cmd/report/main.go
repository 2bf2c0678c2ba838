// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command report writes a page of docs and its pictures from the raw output of the benchmarks and a template in this folder. The tables
// are from benchstat, the verdicts are ratios of medians. With -check, it instead runs benchmarks and compares them with a baseline, which
// lists limits in the format of the templates.
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
	page := flag.String("page", "exporter", "subject of the page: exporter or diodes")
	baseline := flag.String("check", "", "baseline file to check")
	binary := flag.String("bench", "build/bench/exporter.test", "test binary with the benchmarks to check")
	allocs := flag.Bool("allocs", false, "check only allocations")
	r := report{samples: samples{}}
	flag.StringVar(&r.raw, "raw", "build/bench/exporter.txt", "raw output of the benchmarks")
	flag.StringVar(&r.docs, "docs", "docs", "folder of the page, for its pictures")
	flag.StringVar(&r.benchstat, "benchstat", "benchstat", "command that runs benchstat")
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

// must returns v. It ends the program if err is not nil.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// report implements the functions of the templates.
type report struct {
	raw, docs, benchstat string
	samples              samples
}

// above returns the number of samples above a limit.
func (r *report) above(name, unit string, limit float64) (n int) {
	for _, v := range r.samples[measured{name, unit}] {
		if v > limit {
			n++
		}
	}
	return n
}

// verdicts returns table rows that show which limits are met.
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
	// A ratio may be good only because there was no contention.
	if cores, some := r.samples.median(nameOf(l.benchmark, l.peer), "cores"); some && cores < 1.5 && l.other != "-" {
		verdict = fmt.Sprintf("not shown: on %.1f cores", cores)
	}
	if !ok {
		measured, verdict = "not measured", "–"
	}
	return fmt.Sprintf("%s | %s | %s | %s", what, aim, measured, verdict)
}

// tables returns a benchstat table for each unit.
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

// chart draws a bar chart of medians. Each line of groups is a name, a colon, a benchmark and a unit. Each line of peers, which form the
// series, is a name, a colon and a peer; if peers is empty there is one series. Values are divided by per. chart returns the Markdown for
// the picture.
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
