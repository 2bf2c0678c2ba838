// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// status returns a size from the status of the process in /proc, in MiB.
func (p *process) status(field string) float64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	require.NoError(p.t, err)
	_, after, ok := strings.Cut(string(status), "\n"+field+":")
	require.Truef(p.t, ok, "no %s in\n%s", field, status)
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	require.NoError(p.t, err)
	return kib / 1024
}

func skipWithoutProc(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc")
	}
}

// uniform returns the shape of batches with the same number of items for each signal.
func uniform(items, resources, payload int, attributes [3]int) outage.Shape {
	return outage.Shape{Items: [3]int{items, items, items}, Resources: resources, Payload: payload, Attributes: attributes}
}

// load is a load on a collector that lasts until the test ends.
type load struct {
	*outage.Load
	c *collector
}

// startLoad pushes batches of each signal at the given rate per second.
func startLoad(t *testing.T, c *collector, s outage.Shape, batches rate.Limit) *load {
	t.Helper()
	l := &load{outage.StartLoad(c.dial(), s, batches, func(int, time.Duration) {}), c}
	t.Cleanup(func() { assert.NoError(t, l.Stop()) })
	return l
}

// accounts returns the current account of each signal.
func (l *load) accounts() []outage.Account {
	l.c.t.Helper()
	page := l.c.page()
	require.NotEmpty(l.c.t, page, "the metrics page") // Without it, all counts would be 0.
	return page.Accounts()
}

// settle stops the load, waits until no item waits in the collector, and returns the accounts.
func (l *load) settle() (accounts []outage.Account) {
	l.c.t.Helper()
	require.NoError(l.c.t, l.Stop())
	l.c.eventually("no waiting items", func() bool {
		accounts = l.accounts()
		return outage.Empty(accounts)
	})
	return accounts
}

// maxMemory is the memory that a small VM can spare for a collector, in MiB.
const maxMemory = 512

// With the default settings, the memory of the collector is bounded during an outage, even if pushes into the full diodes continue.
func TestMemoryDuringOutage(t *testing.T) {
	skipWithoutProc(t)
	unused := freePorts(t, 1)[0]
	c := startPlain(t, fmt.Sprintf("endpoint: 127.0.0.1:%d", unused), "GOMEMLIMIT=400MiB")
	items := uniform(1000, 4, 120, [3]int{12, 6, 10})
	l := startLoad(t, c, items, rate.Inf)

	// Each signal pushes until its diode is full, and then as many items again.
	var targets [3]int64
	c.eventually("a replacement of all items in all diodes", func() bool {
		if c.status("VmHWM") >= maxMemory {
			return true // The test has failed.
		}
		done := true
		for i, a := range l.accounts() {
			sent := l.Sent[i].Load()
			if targets[i] == 0 && a.Dropped > 0 {
				targets[i] = 2 * sent
			}
			done = done && targets[i] > 0 && sent >= targets[i]
		}
		return done
	})
	require.NoError(t, l.Stop())
	peak := c.status("VmHWM")
	t.Logf("VmHWM %.0f MiB, VmRSS %.0f MiB", peak, c.status("VmRSS"))
	for i, a := range l.accounts() {
		t.Logf("%s: %+v", outage.Signals[i].Name, a)
	}
	c.Kill() // A shutdown would first try to send the waiting items.
	assert.Less(t, peak, float64(maxMemory), "VmHWM in MiB")
}

var soakDuration = flag.Duration("soak.duration", 0, "how long TestSoak runs; 0 skips it")

// soakSamples is the number of samples that TestSoak takes.
const soakSamples = 20

// Under steady load and faults, the collector does not grow, and every item is counted once.
func TestSoak(t *testing.T) {
	if *soakDuration == 0 {
		t.Skip("needs -soak.duration")
	}
	skipWithoutProc(t)
	s := startSinkTo(t, discard)
	// A stall of 2 s overflows the diode.
	c := startPlain(t, s.settings()+", diode: {capacity: 40}, "+retryForever)
	begin := time.Now()
	items := uniform(50, 5, 120, [3]int{4, 2, 4})
	l := startLoad(t, c, items, 30)

	var rss, goroutines, fds []float64
	row := func(columns ...any) { t.Logf("%8v %10v %10v %8v %9v %11v %5v", columns...) }
	row("elapsed", "sent", "dropped", "RSS MiB", "heap MiB", "goroutines", "fds")
	ticker := time.NewTicker(*soakDuration / soakSamples)
	defer ticker.Stop()
	for sample := 1; sample <= soakSamples; sample++ {
		<-ticker.C // The first interval is the warm-up.
		var sum outage.Account
		for _, a := range l.accounts() {
			sum.Sent += a.Sent
			sum.Dropped += a.Dropped
		}
		heap := c.profile("heap", `(?m)^# HeapInuse = (\d+)$`) / (1 << 20)
		rss = append(rss, c.status("VmRSS"))
		goroutines = append(goroutines, c.profile("goroutine", `^goroutine profile: total (\d+)\n`))
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.Cmd.Process.Pid))
		require.NoError(t, err)
		fds = append(fds, float64(len(open)))
		row(time.Since(begin).Round(time.Second), sum.Sent, sum.Dropped, int(rss[sample-1]), int(heap),
			goroutines[sample-1], len(open))

		switch {
		case sample == soakSamples/2:
			s.Kill()
			s.listen(t, s.addr)
		case sample%2 == 1:
			require.NoError(t, s.Signal(syscall.SIGSTOP))
			time.Sleep(2 * time.Second) // The stall.
			require.NoError(t, s.Signal(syscall.SIGCONT))
		}
	}

	for i, a := range l.settle() {
		t.Logf("%s: %+v", outage.Signals[i].Name, a)
		assert.EqualValues(t, l.Sent[i].Load(), a.Accepted, outage.Signals[i].Name)
		assert.Equal(t, a.Accepted, a.Sent+a.Failed+a.Dropped+a.Rejected, outage.Signals[i].Name)
		assert.NotZero(t, a.Dropped, "%s: the stalls were too short", outage.Signals[i].Name)
	}
	for _, column := range []struct {
		name           string
		values         []float64
		mayGrow, slack float64
	}{
		{"RSS in MiB", rss, 0.2, 16},
		{"goroutines", goroutines, 0, 10},
		{"file descriptors", fds, 0, 10},
	} {
		n := len(column.values)
		second, last := median(column.values[n/3:n-n/3]), median(column.values[n-n/3:])
		assert.LessOrEqualf(t, last, second*(1+column.mayGrow)+column.slack, "%s: the last third, compared with the second", column.name)
	}
}

// profile returns a number from a profile of the collector, found with a regular expression.
func (c *collector) profile(name, number string) float64 {
	c.t.Helper()
	page := c.get(c.pprofPort, "/debug/pprof/"+name+"?debug=1")
	found := regexp.MustCompile(number).FindStringSubmatch(page)
	require.NotNilf(c.t, found, "no %s in the profile %s", number, name)
	n, err := strconv.ParseFloat(found[1], 64)
	require.NoError(c.t, err)
	return n
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
