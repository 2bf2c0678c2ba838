// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command check runs the benchmarks that a baseline names, and fails if one of them has become worse.
//
// A line of the baseline is a benchmark, a unit, a peer, the peer of the same run that it is compared with or "-", and the most that
// the ratio, or the peer's value, may be. What is compared with nobody is no time, because that would be the machine's.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
)

func main() {
	log.SetFlags(0)
	file := flag.String("baseline", "bench/baseline.txt", "the file with what is allowed")
	binary := flag.String("bench", "build/bench/exporter.test", "the benchmarks, compiled")
	onlyAllocs := flag.Bool("allocs", false, "leave out what is a time: allocations are the same on a machine that is busy")
	flag.Parse()
	baseline, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	limits, err := results.ParseLimits(string(baseline))
	if err != nil {
		log.Fatalf("%s: %v", *file, err)
	}
	rounds, benchtime := 5, "200ms"
	if *onlyAllocs {
		limits = slices.DeleteFunc(limits, func(l results.Limit) bool { return !strings.HasPrefix(l.Unit, "allocs/") })
		rounds, benchtime = 1, "2000x"
	}
	if len(limits) == 0 {
		log.Fatalf("%s has nothing to check", *file)
	}
	wanted := map[string]bool{}
	for _, l := range limits {
		for _, peer := range []string{l.Peer, l.Other} {
			name := regexp.QuoteMeta("Benchmark" + results.Name(l.Benchmark, peer))
			wanted["^"+strings.ReplaceAll(name, "/", "$/^")+"$"] = true // There is none of the peer "-".
		}
	}
	pattern := strings.Join(slices.Sorted(maps.Keys(wanted)), "|")
	all := results.Samples{}
	for range rounds {
		cmd := exec.Command(*binary, "-test.run", "^$", "-test.bench", pattern, "-test.benchtime", benchtime)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			log.Fatalf("%v\n%s", err, out)
		}
		if _, err := all.Read(bytes.NewReader(out)); err != nil {
			log.Fatal(err)
		}
	}
	worse := 0
	for _, l := range limits {
		v, ok := l.Value(all)
		verdict := "ok"
		if !ok || !l.Met(v) {
			worse++
			verdict = "WORSE"
		}
		fmt.Printf("%-5s  %.3g (at most %s)  %s %s\n", verdict, v, l.Text, l.Benchmark, l.What())
	}
	if worse > 0 {
		log.Fatalf("%d of %d are worse than %s allows", worse, len(limits), *file)
	}
}
