// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// check runs the benchmarks that a baseline names, and fails if one of them has become worse; with onlyAllocs it leaves out what is a
// time: allocations are the same on a machine that is busy. What is compared with nobody is no time, because that would be the machine's.
func check(baseline, binary string, onlyAllocs bool) {
	limits := must(parseLimits(string(must(os.ReadFile(baseline)))))
	rounds, benchtime := 5, "200ms"
	if onlyAllocs {
		limits = slices.DeleteFunc(limits, func(l limit) bool { return !strings.HasPrefix(l.unit, "allocs/") })
		rounds, benchtime = 1, "2000x"
	}
	if len(limits) == 0 {
		log.Fatalf("%s has nothing to check", baseline)
	}
	var wanted []string
	for _, l := range limits {
		for _, peer := range []string{l.peer, l.other} {
			name := regexp.QuoteMeta("Benchmark" + nameOf(l.benchmark, peer))
			wanted = append(wanted, "^"+strings.ReplaceAll(name, "/", "$/^")+"$") // There is none of the peer "-".
		}
	}
	all := samples{}
	for range rounds {
		cmd := exec.Command(binary, "-test.run", "^$", "-test.bench", strings.Join(wanted, "|"), "-test.benchtime", benchtime)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			log.Fatalf("%v\n%s", err, out)
		}
		must(all.read(out))
	}
	worse := 0
	for _, l := range limits {
		v, ok := l.value(all)
		verdict := "ok"
		if !ok || !l.met(v) {
			worse++
			verdict = "WORSE"
		}
		fmt.Printf("%-5s  %.3g (at most %s)  %s %s\n", verdict, v, l.text, l.benchmark, l.what())
	}
	if worse > 0 {
		log.Fatalf("%d of %d are worse than %s allows", worse, len(limits), baseline)
	}
}
