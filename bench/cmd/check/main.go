// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command check runs the benchmarks that a baseline names, and fails if one of them has become worse.
//
// A line of the baseline is a benchmark, a unit, a peer, the peer of the same run that it is compared with or "-", and the most that
// the ratio, or the peer's value, may be. What is compared with nobody is no time, because that would be the machine's.
package main

import (
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
)

type line struct {
	bench, unit, peer, other string
	most                     float64
}

func readBaseline(file string) ([]line, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var lines []line
	for text := range strings.Lines(string(text)) {
		f := strings.Fields(text)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("%s: not five words: %q", file, text)
		}
		most, err := strconv.ParseFloat(f[4], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		lines = append(lines, line{f[0], f[1], f[2], f[3], most})
	}
	return lines, nil
}

// run runs the named benchmarks for so many rounds.
func run(binary string, names []string, rounds int, benchtime string) (results.Samples, error) {
	all := results.Samples{}
	for range rounds {
		for _, name := range names {
			var levels []string
			for level := range strings.SplitSeq("Benchmark"+name, "/") {
				levels = append(levels, "^"+regexp.QuoteMeta(level)+"$")
			}
			cmd := exec.Command(binary, "-test.run", "^$", "-test.bench", strings.Join(levels, "/"), "-test.benchtime", benchtime)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", name, err, out)
			}
			samples, _ := results.Parse(string(out))
			for name, units := range samples {
				if all[name] == nil {
					all[name] = map[string][]float64{}
				}
				for unit, values := range units {
					all[name][unit] = append(all[name][unit], values...)
				}
			}
		}
	}
	return all, nil
}

func main() {
	log.SetFlags(0)
	file := flag.String("baseline", "bench/baseline.txt", "the file with what is allowed")
	binary := flag.String("bench", "build/bench/exporter.test", "the benchmarks, compiled")
	onlyAllocs := flag.Bool("allocs", false, "leave out what is a time: allocations are the same on a machine that is busy")
	flag.Parse()
	lines, err := readBaseline(*file)
	if err != nil {
		log.Fatal(err)
	}
	rounds, benchtime := 5, "200ms"
	if *onlyAllocs {
		lines = slices.DeleteFunc(lines, func(l line) bool { return !strings.HasPrefix(l.unit, "allocs/") })
		rounds, benchtime = 1, "2000x"
	}
	if len(lines) == 0 {
		log.Fatalf("%s has nothing to check", *file)
	}
	wanted := map[string]bool{}
	for _, l := range lines {
		wanted[results.Name(l.bench, l.peer)] = true
		if l.other != "-" {
			wanted[results.Name(l.bench, l.other)] = true
		}
	}
	all, err := run(*binary, slices.Sorted(maps.Keys(wanted)), rounds, benchtime)
	if err != nil {
		log.Fatal(err)
	}
	worse := 0
	for _, l := range lines {
		v, ok := all.Median(results.Name(l.bench, l.peer), l.unit)
		what := l.bench + " " + l.unit + " of " + l.peer
		if l.other != "-" {
			other, found := all.Median(results.Name(l.bench, l.other), l.unit)
			v, ok = v/other, ok && found
			what += " / " + l.other
		}
		verdict := "ok"
		if !ok || !(v <= l.most) { // Nor is it if it is no number.
			worse++
			verdict = "WORSE"
		}
		fmt.Printf("%-5s  %.3g (at most %g)  %s\n", verdict, v, l.most, what)
	}
	if worse > 0 {
		log.Fatalf("%d of %d are worse than %s allows", worse, len(lines), *file)
	}
}
