// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// snapshots returns two snapshots of a large load, a second apart.
func snapshots() []outage.Snapshot {
	at := func(elapsed time.Duration, accepted int, phase outage.Phase) outage.Snapshot {
		a := outage.Account{Accepted: accepted, Sent: 1234567, Failed: 12345, Dropped: 1234567, Rejected: 12345, Waiting: 40000}
		ms := time.Millisecond
		return outage.Snapshot{
			Elapsed: elapsed, Phase: phase, Accounts: []outage.Account{a, a, a},
			Pushes: [3][]time.Duration{{ms, ms, ms, 10000 * ms}, {ms, 2 * ms}, {ms, 3 * ms}},
		}
	}
	return []outage.Snapshot{
		at(time.Second, 1000, outage.Phase{Name: "before"}),
		at(2*time.Second, 3500, outage.Phase{Name: "stall", Fault: outage.Stall}),
	}
}

var escape = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

func TestViewTerminal(t *testing.T) {
	var out bytes.Buffer
	v := &view{out: &out, terminal: true}
	for _, s := range snapshots() {
		v.show(s)
	}
	first, second, ok := strings.Cut(out.String(), "\x1b[5A")
	require.True(t, ok, "the second view replaces the first: %q", out.String())
	for _, drawn := range []string{first, second} {
		lines := strings.Split(strings.TrimSuffix(escape.ReplaceAllString(drawn, ""), "\n"), "\n")
		require.Len(t, lines, 5)
		for _, l := range lines {
			assert.Less(t, len(l), 80, "a wrapped line would not be replaced: %q", l)
		}
	}
	assert.Contains(t, escape.ReplaceAllString(first, ""), "Loggregator: ok")
	second = escape.ReplaceAllString(second, "")
	assert.Contains(t, second, "Loggregator: stalled")
	assert.Regexp(t, `(?m)^logs +2500 +40000 +1234567 +1234567 +12345 +12345 +1\.00 +10000\.00$`, second)
}

func TestViewLines(t *testing.T) {
	var out bytes.Buffer
	v := &view{out: &out, lineAt: -window}
	l := snapshots()
	between := l[0]
	between.Elapsed += window / 2
	for _, s := range []outage.Snapshot{l[0], between, l[1]} {
		v.show(s)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 3, "a legend and one line per second: %q", lines)
	assert.Contains(t, lines[1], "Loggregator: ok")
	assert.Contains(t, lines[2], "Loggregator: stalled accepted/s 2500/2500/2500 waiting 40000/40000/40000")
	assert.NotContains(t, out.String(), "\x1b")
}

func TestPicture(t *testing.T) {
	file := filepath.Join(t.TempDir(), "folder", "outage.svg")
	require.NoError(t, drawPicture(snapshots(), file))
	drawn, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Contains(t, string(drawn), "Items waiting in the exporter")
	assert.Contains(t, string(drawn), ">Loggregator accepts nothing</text>")
	assert.Contains(t, string(drawn), "sans-serif")
	colors := regexp.MustCompile(`style="(?:fill:none;)?((?:fill|stroke):#[0-9A-F]{6})`).FindAllStringSubmatch(string(drawn), -1)
	require.NotEmpty(t, colors)
	for _, color := range colors {
		assert.Contains(t, string(drawn), `[style*="`+color[1]+`"]`, "a replacement of this color on dark pages")
	}
}

func TestSummaryMismatch(t *testing.T) {
	var out bytes.Buffer
	good := outage.Account{Accepted: 10, Sent: 4, Dropped: 3, Rejected: 2, Failed: 1}
	bad := good
	bad.Sent++
	summary(&out, &outage.Report{
		Phases: []outage.PhaseReport{{
			Phase: outage.Phase{Name: "stall"},
			Delta: []outage.Account{{Dropped: 3}, {}, {}},
		}},
		Accounts: []outage.Account{good, bad, good}, Pushed: []int{10, 10, 10}, Arrived: []int{4, 4, 4}, Duplicates: []int{0, 0, 0},
	})
	assert.Contains(t, out.String(),
		"logs     accepted 10 = sent 4 + failed 1 + dropped 3 + rejected 2 + waiting 0: true, to the item")
	assert.Contains(t, out.String(), "metrics  accepted 10 = sent 5 + failed 1 + dropped 3 + rejected 2 + waiting 0: NOT TRUE")
	assert.Equal(t, 1, strings.Count(out.String(), "dropped in the phase"))
}

func TestFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"argument":   {"more"},
		"-batches":   {"-batches", "0"},
		"-interval":  {"-interval", "1ms"},
		"-before":    {"-stall", "1ms"},
		"-undefined": {"-undefined"},
	} {
		assert.ErrorContains(t, run(t.Context(), args, nil), name)
	}
}
