// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// samples holds the results of benchmarks.
type samples map[measured][]float64

// measured is the name of a benchmark, without "Benchmark" and the number of processors, and a unit.
type measured struct{ name, unit string }

var procsSuffix = regexp.MustCompile(`-(\d+)$`)

// read adds the results in the output of go test -bench. It returns the configuration lines of the output, and the number of processors
// as procs.
func (s samples) read(output []byte) (map[string]string, error) {
	about := map[string]string{"procs": "1"}
	for r := benchfmt.NewReader(bytes.NewReader(output), "benchmarks"); ; {
		if !r.Scan() {
			return about, r.Err()
		}
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		for _, c := range result.Config {
			about[c.Key] = string(c.Value)
		}
		name := result.Name.String()
		if suffix := procsSuffix.FindStringSubmatch(name); suffix != nil {
			about["procs"], name = suffix[1], strings.TrimSuffix(name, suffix[0])
		}
		for _, v := range result.Values {
			of, value := measured{name, v.Unit}, v.Value
			if v.OrigUnit != "" {
				of.unit, value = v.OrigUnit, v.OrigValue
			}
			s[of] = append(s[of], value)
		}
	}
}

// median returns 0, false if there are no samples. A benchmark may have been skipped.
func (s samples) median(name, unit string) (float64, bool) {
	values := s[measured{name, unit}]
	if len(values) == 0 {
		return 0, false
	}
	sample := benchmath.NewSample(values, &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, 0.95).Center, true
}

// nameOf returns the name of a benchmark for a peer or for another key=value.
func nameOf(benchmark, peer string) string {
	if strings.Contains(peer, "=") {
		return benchmark + "/" + peer
	}
	return benchmark + "/peer=" + peer
}

// limit bounds the value of a peer, or its ratio to the value of another peer in the same run.
type limit struct {
	benchmark, unit, peer string
	other                 string // "-": none
	text                  string // the bound: the maximum or, after a ">", the minimum; "-": none
	bound                 float64
}

// parseLimits reads limits, one per line: benchmark, unit, peer, other peer and bound. A line that begins with # is a comment.
func parseLimits(text string) (limits []limit, err error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("not five fields: %q", line)
		}
		l := limit{benchmark: f[0], unit: f[1], peer: f[2], other: f[3], text: f[4]}
		if l.text != "-" {
			if l.bound, err = strconv.ParseFloat(strings.TrimPrefix(l.text, ">"), 64); err != nil {
				return nil, err
			}
		}
		limits = append(limits, l)
	}
	return limits, nil
}

// what describes the limited value, without the benchmark.
func (l limit) what() string {
	if l.other == "-" {
		return l.unit + " of " + l.peer
	}
	return l.unit + " of " + l.peer + " / " + l.other
}

// value returns the median of the peer or the ratio of medians. It returns false if a value was not measured.
func (l limit) value(s samples) (float64, bool) {
	v, ok := s.median(nameOf(l.benchmark, l.peer), l.unit)
	if l.other == "-" {
		return v, ok
	}
	other, found := s.median(nameOf(l.benchmark, l.other), l.unit)
	return v / other, ok && found
}

// met reports whether a value is within the bound. NaN never is.
func (l limit) met(v float64) bool {
	if strings.HasPrefix(l.text, ">") {
		return v >= l.bound
	}
	return v <= l.bound
}
