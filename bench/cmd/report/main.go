// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command report writes a page of docs from the raw output of the benchmarks, and its plots: the tables are benchstat's, the
// verdicts are ratios of medians.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
)

// A target is a line of a case: what was measured, its unit, a peer, the one it is compared with, and the most that the
// ratio, or the peer's value, is to be, or behind a ">" the least. "-" stands for no other peer and for no target.
type target struct{ bench, unit, peer, other, most string }

func targets(lines string) (all []target) {
	for line := range strings.Lines(lines) {
		if f := strings.Fields(line); len(f) == 5 {
			all = append(all, target{f[0], f[1], f[2], f[3], f[4]})
		}
	}
	return all
}

// row is the target's row in the table of the verdicts.
func (t target) row(s results.Samples) string {
	_, what, sub := strings.Cut(t.bench, "/")
	if sub {
		what += ": "
	}
	v, ok := s.Median(results.Name(t.bench, t.peer), t.unit)
	what += t.unit + " of " + t.peer
	format, sign := "%.4g", ""
	if v >= 1000 {
		format = "%.0f"
	}
	if t.other != "-" {
		of, found := s.Median(results.Name(t.bench, t.other), t.unit)
		v, ok = v/of, ok && found
		format, sign = "%.2f×", "×"
		if v < .1 {
			format = "%.1g×"
		}
		what += " / " + t.other
	}
	measured, aim, verdict := fmt.Sprintf(format, v), "–", "–"
	if most, err := strconv.ParseFloat(strings.TrimPrefix(t.most, ">"), 64); err == nil {
		least := strings.HasPrefix(t.most, ">")
		aim, verdict = "≤ "+t.most+sign, "**no**"
		if least {
			aim = "≥ " + t.most[1:] + sign
		}
		if least && v >= most || !least && v <= most {
			verdict = "yes"
		}
	}
	// Without contention a ratio may be fine that isn't fine with it.
	if cores, some := s.Median(results.Name(t.bench, t.peer), "cores"); some && cores < 1.5 && t.other != "-" {
		verdict = fmt.Sprintf("not shown: on %.1f cores", cores)
	}
	if !ok {
		measured, verdict = "not measured", "–"
	}
	return fmt.Sprintf("%s | %s | %s | %s", what, aim, measured, verdict)
}

// A book is a page of benchmarks.
type book struct {
	head  string // what it begins with, with $names of what the raw output says of its making
	note  func(results.Samples) string
	cases []benchCase
}

var books = map[string]book{"diodes": diodes, "exporter": exporter}

func main() {
	log.SetFlags(0)
	name := flag.String("book", "exporter", "what the page is about: exporter or diodes")
	rawFile := flag.String("raw", "build/bench/exporter.txt", "the raw output of the benchmarks")
	plots := flag.String("plots", "docs/plots", "the folder of the plots, as the page, which is in docs, has them too")
	benchstat := flag.String("benchstat", "benchstat", "the command that is benchstat")
	flag.Parse()
	b, ok := books[*name]
	if !ok {
		log.Fatalf("there is no book %q", *name)
	}
	raw, err := os.ReadFile(*rawFile)
	if err != nil {
		log.Fatal(err)
	}
	all, config := results.Parse(string(raw))

	var out bytes.Buffer
	fmt.Fprint(&out, os.Expand(b.head, func(key string) string { return config[key] }))
	if b.note != nil {
		fmt.Fprint(&out, b.note(all))
	}
	fmt.Fprint(&out, verdictHead)
	for _, c := range b.cases {
		for _, t := range targets(c.targets) {
			fmt.Fprintf(&out, "| %s | %s |\n", c.title, t.row(all))
		}
	}
	for _, c := range b.cases {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", c.title, strings.TrimSpace(c.about))
		for _, p := range c.plots {
			file := filepath.Join(*plots, p.file+".svg")
			if err := p.draw(all, file); err != nil {
				log.Fatalf("%s: %v", file, err)
			}
			fmt.Fprintf(&out, "\n![%s](%s)\n", p.title, filepath.ToSlash(filepath.Join(filepath.Base(*plots), p.file+".svg")))
		}
		for _, unit := range strings.Fields(c.units) {
			args := append(strings.Fields(*benchstat), "-table", "", "-row", c.row, "-col", c.col,
				"-filter", ".name:"+c.name+" .unit:"+unit, *rawFile)
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stderr = os.Stderr
			table, err := cmd.Output()
			if err != nil {
				log.Fatalf("benchstat: %v", err)
			}
			fmt.Fprintf(&out, "\n```\n%s\n```\n", trimLines(string(table)))
		}
		if c.why != "" {
			fmt.Fprintf(&out, "\n%s\n", strings.TrimSpace(c.why))
		}
	}
	if _, err := os.Stdout.Write(out.Bytes()); err != nil {
		log.Fatal(err)
	}
}

func trimLines(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Trim(strings.Join(lines, "\n"), "\n")
}
