// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package results reads what go test -bench has printed.
package results

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Samples are the values of a benchmark by its name, without "Benchmark" and the number of processors, and by unit.
type Samples map[string]map[string][]float64

var (
	configLine = regexp.MustCompile(`^([a-z][a-z0-9-]*): +(.+)$`)
	resultLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-(\d+))?\s+\d+\s+(.+)$`)
)

// Parse returns the samples and what the file says about how they came about; the number of processors is its "procs".
func Parse(raw string) (Samples, map[string]string) {
	all, config := Samples{}, map[string]string{"procs": "1"}
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

// Median is 0, false when there are no samples: a benchmark may have skipped.
func (s Samples) Median(name, unit string) (float64, bool) {
	v := slices.Sorted(slices.Values(s[name][unit]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

// Name is the name of a benchmark's case for a peer, or for another key=value.
func Name(benchmark, peer string) string {
	if strings.Contains(peer, "=") {
		return benchmark + "/" + peer
	}
	return benchmark + "/peer=" + peer
}
