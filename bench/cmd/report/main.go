// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command report writes a page of docs, which is a template beside this file, from the raw output of the benchmarks, and its
// plots: the tables are benchstat's, the verdicts are ratios of medians.
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

	"golang.org/x/perf/benchunit"
	"gonum.org/v1/plot/plotter"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
	"github.com/loggregatorexporter/loggregatorexporter/tools/picture"
)

//go:embed *.md.tmpl
var pages embed.FS

func main() {
	log.SetFlags(0)
	page := flag.String("page", "exporter", "what the page is about: exporter or diodes")
	r := report{samples: results.Samples{}}
	flag.StringVar(&r.raw, "raw", "build/bench/exporter.txt", "the raw output of the benchmarks")
	flag.StringVar(&r.plots, "plots", "docs/plots", "the folder of the plots, beside the page")
	flag.StringVar(&r.benchstat, "benchstat", "benchstat", "the command that is benchstat")
	flag.Parse()
	if err := r.write(*page); err != nil {
		log.Fatal(err)
	}
}

// report has the functions of the templates.
type report struct {
	raw, plots, benchstat string
	samples               results.Samples
}

func (r *report) write(page string) error {
	raw, err := os.Open(r.raw)
	if err != nil {
		return err
	}
	defer raw.Close()
	about, err := r.samples.Read(raw)
	if err != nil {
		return err
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"samples":  func(name, unit string) int { return len(r.samples[name][unit]) },
		"above":    r.above,
		"verdicts": r.verdicts,
		"tables":   r.tables,
		"chart":    r.chart,
	}).ParseFS(pages, "*.md.tmpl")
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(os.Stdout, page+".md.tmpl", about)
}

// above returns how many samples are above a limit.
func (r *report) above(name, unit string, limit float64) (n int) {
	for _, v := range r.samples[name][unit] {
		if v > limit {
			n++
		}
	}
	return n
}

// verdicts returns rows of a table that say which limits are met.
func (r *report) verdicts(title, text string) (string, error) {
	limits, err := results.ParseLimits(text)
	var rows strings.Builder
	for _, l := range limits {
		fmt.Fprintf(&rows, "| %s | %s |\n", title, r.verdict(l))
	}
	return rows.String(), err
}

func (r *report) verdict(l results.Limit) string {
	v, ok := l.Value(r.samples)
	what := l.What()
	if _, sub, cut := strings.Cut(l.Benchmark, "/"); cut {
		what = sub + ": " + what
	}
	format, sign := "%.4g", ""
	switch {
	case l.Other != "-" && v < .1:
		format, sign = "%.1g×", "×"
	case l.Other != "-":
		format, sign = "%.2f×", "×"
	case v >= 1000:
		format = "%.0f"
	}
	measured, aim, verdict := fmt.Sprintf(format, v), "–", "–"
	if l.Text != "-" {
		aim, verdict = "≤ "+l.Text+sign, "**no**"
		if least, ok := strings.CutPrefix(l.Text, ">"); ok {
			aim = "≥ " + least + sign
		}
		if l.Met(v) {
			verdict = "yes"
		}
	}
	// Without contention a ratio may be fine that isn't fine with it.
	if cores, some := r.samples.Median(results.Name(l.Benchmark, l.Peer), "cores"); some && cores < 1.5 && l.Other != "-" {
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

// chart draws medians of peers, and returns what shows the picture. A line of groups is a label, a colon, a benchmark and a
// unit. The groups are bars; or they are points of lines, if the x axis has a name. Then the labels are numbers.
func (r *report) chart(name, title, axis, x, peers, groups string) (string, error) {
	chart := picture.Chart{Title: title, Unit: axis, X: x}
	for peer := range strings.FieldsSeq(peers) {
		s := picture.Series{Name: peer}
		chart.Groups = nil
		for line := range strings.Lines(strings.TrimSpace(groups)) {
			label, of, _ := strings.Cut(strings.TrimSpace(line), ": ")
			benchmark, unit, _ := strings.Cut(of, " ")
			v, ok := r.samples.Median(results.Name(benchmark, peer), unit)
			if !ok {
				return "", fmt.Errorf("%s has no %s of %s", benchmark, unit, peer)
			}
			at := plotter.XY{}
			at.Y, _ = benchunit.Tidy(v, unit) // Such as seconds.
			if x == "" {
				chart.Groups = append(chart.Groups, label)
			} else if _, err := fmt.Sscan(label, &at.X); err != nil {
				return "", fmt.Errorf("%s: %w", label, err)
			}
			s.Points = append(s.Points, at)
		}
		chart.Series = append(chart.Series, s)
		chart.LogX = x != "" && s.Points[len(s.Points)-1].X > 100*s.Points[0].X
	}
	file := filepath.Join(r.plots, name+".svg")
	return fmt.Sprintf("![%s](%s/%s.svg)", title, filepath.Base(r.plots), name), picture.Draw(file, chart)
}
