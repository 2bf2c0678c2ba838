// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command report writes docs/benchmarks.md from the raw output of the benchmarks: the tables are benchstat's, the verdicts
// are ratios of medians.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// samples are the values of a benchmark by its name, without "Benchmark" and the number of processors, and by unit.
type samples map[string]map[string][]float64

var (
	configLine = regexp.MustCompile(`^([a-z][a-z0-9-]*): +(.+)$`)
	resultLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-(\d+))?\s+\d+\s+(.+)$`)
)

// parse returns the samples and what the file says about how they came about; the number of processors is its "procs".
func parse(raw string) (samples, map[string]string) {
	all, config := samples{}, map[string]string{"procs": "1"}
	for line := range strings.Lines(raw) {
		line = strings.TrimSpace(line)
		if m := configLine.FindStringSubmatch(line); m != nil {
			config[m[1]] = m[2]
		}
		m := resultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[2] != "" {
			config["procs"] = m[2]
		}
		if all[m[1]] == nil {
			all[m[1]] = map[string][]float64{}
		}
		values := strings.Fields(m[3])
		for i := 0; i+1 < len(values); i += 2 {
			if v, err := strconv.ParseFloat(values[i], 64); err == nil {
				all[m[1]][values[i+1]] = append(all[m[1]][values[i+1]], v)
			}
		}
	}
	return all, config
}

// median is 0, false when there are no samples: a benchmark may have skipped.
func (s samples) median(name, unit string) (float64, bool) {
	v := slices.Sorted(slices.Values(s[name][unit]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// A target is a line of a case: what was measured, its unit, a peer, the one it is compared with, and the most that the
// ratio, or the peer's value, is to be. "-" stands for no other peer and for no target.
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
func (s samples) row(t target) string {
	name := func(peer string) string {
		if strings.Contains(peer, "=") {
			return t.bench + "/" + peer
		}
		return t.bench + "/peer=" + peer
	}
	_, what, sub := strings.Cut(t.bench, "/")
	if sub {
		what += ": "
	}
	v, ok := s.median(name(t.peer), t.unit)
	what += t.unit + " of " + t.peer
	format, sign := "%.4g", ""
	if v >= 1000 {
		format = "%.0f"
	}
	if t.other != "-" {
		of, found := s.median(name(t.other), t.unit)
		v, ok = v/of, ok && found
		format, sign = "%.2f×", "×"
		if v < .1 {
			format = "%.1g×"
		}
		what += " / " + t.other
	}
	measured, aim, verdict := fmt.Sprintf(format, v), "–", "–"
	if most, err := strconv.ParseFloat(t.most, 64); err == nil {
		aim, verdict = "≤ "+t.most+sign, "**no**"
		if v <= most {
			verdict = "yes"
		}
	}
	// Without contention a ratio may be fine that isn't fine with it.
	if cores, some := s.median(name(t.peer), "cores"); some && cores < 1.5 && t.other != "-" {
		verdict = fmt.Sprintf("not shown: on %.1f cores", cores)
	}
	if !ok {
		measured, verdict = "not measured", "–"
	}
	return fmt.Sprintf("%s | %s | %s | %s", what, aim, measured, verdict)
}

func main() {
	log.SetFlags(0)
	rawFile := flag.String("raw", "build/bench/diodes.txt", "the raw output of the benchmarks")
	benchstat := flag.String("benchstat", "benchstat", "the command that is benchstat")
	flag.Parse()
	raw, err := os.ReadFile(*rawFile)
	if err != nil {
		log.Fatal(err)
	}
	all, config := parse(string(raw))

	var out bytes.Buffer
	fmt.Fprintf(&out, head, config["cpu"], config["procs"], config["goos"], config["goarch"], config["go"],
		config["go-diodes"], config["rounds"], config["benchtime"])
	// A cache line that takes more than 2 µs to and fro did not go between two cores that both ran.
	trips := all["Baseline/op=round-trip"]["ns/op"]
	if together := len(slices.DeleteFunc(slices.Clone(trips), func(ns float64) bool { return ns > 2000 })); together < len(trips) {
		fmt.Fprintf(&out, noSecondCore, len(trips)-together, len(trips))
	}
	fmt.Fprint(&out, verdictHead)
	for _, c := range cases {
		for _, t := range targets(c.targets) {
			fmt.Fprintf(&out, "| %s | %s |\n", c.title, all.row(t))
		}
	}
	for _, c := range cases {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n", c.title, strings.TrimSpace(c.about))
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
