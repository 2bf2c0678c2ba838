// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package results holds the results of benchmarks against limits.
package results

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// Samples are the values of a benchmark by its name, without "Benchmark" and the number of processors, and by unit.
type Samples map[string]map[string][]float64

// Read adds the results in the output of go test -bench. It returns what the output says about itself, and the number of
// processors as procs.
func (s Samples) Read(output io.Reader) (map[string]string, error) {
	about := map[string]string{"procs": "1"}
	for r := benchfmt.NewReader(output, "benchmarks"); ; {
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
		if _, parts := result.Name.Parts(); len(parts) > 0 {
			if procs, ok := strings.CutPrefix(string(parts[len(parts)-1]), "-"); ok {
				about["procs"], name = procs, strings.TrimSuffix(name, "-"+procs)
			}
		}
		if s[name] == nil {
			s[name] = map[string][]float64{}
		}
		for _, v := range result.Values {
			unit, value := v.Unit, v.Value
			if v.OrigUnit != "" {
				unit, value = v.OrigUnit, v.OrigValue
			}
			s[name][unit] = append(s[name][unit], value)
		}
	}
}

// Median returns 0, false when there are no samples: a benchmark may have skipped.
func (s Samples) Median(name, unit string) (float64, bool) {
	values := s[name][unit]
	if len(values) == 0 {
		return 0, false
	}
	sample := benchmath.NewSample(values, &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, 0.95).Center, true
}

// Name returns the name of a benchmark's case for a peer, or for another key=value.
func Name(benchmark, peer string) string {
	if strings.Contains(peer, "=") {
		return benchmark + "/" + peer
	}
	return benchmark + "/peer=" + peer
}

// Limit bounds the value of a peer, or its ratio to the value of another one.
type Limit struct {
	Benchmark, Unit, Peer string
	Other                 string // "-" is none
	Text                  string // the bound: the most or, behind a ">", the least; "-" is none
	bound                 float64
}

// ParseLimits reads limits, one in a line: benchmark, unit, peer, other peer and bound. A line that begins with # is a comment.
func ParseLimits(text string) (limits []Limit, err error) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 5 {
			return nil, fmt.Errorf("not five words: %q", line)
		}
		l := Limit{Benchmark: f[0], Unit: f[1], Peer: f[2], Other: f[3], Text: f[4]}
		if l.Text != "-" {
			var wrong error
			l.bound, wrong = strconv.ParseFloat(strings.TrimPrefix(l.Text, ">"), 64)
			err = errors.Join(err, wrong)
		}
		limits = append(limits, l)
	}
	return limits, err
}

// What says what the limit is about, without the benchmark.
func (l Limit) What() string {
	if l.Other == "-" {
		return l.Unit + " of " + l.Peer
	}
	return l.Unit + " of " + l.Peer + " / " + l.Other
}

// Value returns the median of the peer or the ratio of medians. It returns false when something was not measured.
func (l Limit) Value(s Samples) (float64, bool) {
	v, ok := s.Median(Name(l.Benchmark, l.Peer), l.Unit)
	if l.Other == "-" {
		return v, ok
	}
	other, found := s.Median(Name(l.Benchmark, l.Other), l.Unit)
	return v / other, ok && found
}

// Met reports whether a value is within the bound. NaN never is.
func (l Limit) Met(v float64) bool {
	if strings.HasPrefix(l.Text, ">") {
		return v >= l.bound
	}
	return v <= l.bound
}
