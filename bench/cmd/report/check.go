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

// check runs the benchmarks named in a baseline, and fails if one of them exceeds its limit. With onlyAllocs it checks only allocations,
// which do not depend on the load of the machine. Times are only compared with those of a peer, because they depend on the machine.
func check(baseline, binary string, onlyAllocs bool) {
	limits := must(parseLimits(string(must(os.ReadFile(baseline)))))
	rounds, benchtime := 5, "200ms"
	if onlyAllocs {
		limits = slices.DeleteFunc(limits, func(l limit) bool { return !strings.HasPrefix(l.unit, "allocs/") })
		rounds, benchtime = 1, "2000x"
	}
	if len(limits) == 0 {
		log.Fatalf("%s contains nothing to check", baseline)
	}
	var wanted []string
	for _, l := range limits {
		for _, peer := range []string{l.peer, l.other} {
			name := regexp.QuoteMeta("Benchmark" + nameOf(l.benchmark, peer))
			wanted = append(wanted, "^"+strings.ReplaceAll(name, "/", "$/^")+"$") // There is no benchmark of the peer "-".
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
		log.Fatalf("%d of %d exceed the limits in %s", worse, len(limits), baseline)
	}
}
