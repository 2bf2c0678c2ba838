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

// status is a size of the process in /proc, in MiB.
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

// uniform is the shape of batches of so many items of each signal.
func uniform(items, resources, payload int, attributes [3]int) outage.Shape {
	return outage.Shape{Items: [3]int{items, items, items}, Resources: resources, Payload: payload, Attributes: attributes}
}

// load is a load on a collector, until the test ends.
type load struct {
	*outage.Load
	c *collector
}

// startLoad pushes so many batches of each signal a second.
func startLoad(t *testing.T, c *collector, s outage.Shape, batches rate.Limit) *load {
	t.Helper()
	l := &load{outage.StartLoad(c.dial(), s, batches, func(int, time.Duration) {}), c}
	t.Cleanup(func() { assert.NoError(t, l.Stop()) })
	return l
}

// accounts returns the account of each signal at one moment.
func (l *load) accounts() []outage.Account {
	l.c.t.Helper()
	page := l.c.page()
	require.NotEmpty(l.c.t, page, "the metrics page") // Else all would be 0.
	return page.Accounts()
}

// settle stops the load, waits until nothing waits in the collector, and returns what became of everything.
func (l *load) settle() (accounts []outage.Account) {
	l.c.t.Helper()
	require.NoError(l.c.t, l.Stop())
	l.c.eventually("the end of what waits", func() bool {
		accounts = l.accounts()
		return outage.Empty(accounts)
	})
	return accounts
}

// mostMemory is what a small VM can spare for a collector, in MiB.
const mostMemory = 512

// With the default settings the memory of the collector is bounded during an outage, however much is pushed into the full diodes.
func TestMemoryDuringOutage(t *testing.T) {
	skipWithoutProc(t)
	nobody := freePorts(t, 1)[0]
	c := startPlain(t, fmt.Sprintf("endpoint: 127.0.0.1:%d", nobody), "GOMEMLIMIT=400MiB")
	items := uniform(1000, 4, 120, [3]int{12, 6, 10})
	l := startLoad(t, c, items, rate.Inf)

	// Each signal goes on until its diode is full, and then for as many items again.
	var targets [3]int64
	c.eventually("a turn of all diodes", func() bool {
		if c.status("VmHWM") >= mostMemory {
			return true // It can only become worse.
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
	c.Kill() // It would take its time to give up all that waits.
	assert.Less(t, peak, float64(mostMemory), "VmHWM in MiB")
}

var soakDuration = flag.Duration("soak.duration", 0, "how long TestSoak runs; 0 skips it")

// soakSamples is how often TestSoak looks.
const soakSamples = 20

// Under steady load and faults the collector does not grow, and every item counts once.
func TestSoak(t *testing.T) {
	if *soakDuration == 0 {
		t.Skip("runs with -soak.duration only")
	}
	skipWithoutProc(t)
	s := startSinkTo(t, discard)
	// A stall of 2 s is more than the diode holds.
	c := startPlain(t, s.to()+", diode: {capacity: 40}, "+untiring)
	begin := time.Now()
	items := uniform(50, 5, 120, [3]int{4, 2, 4})
	l := startLoad(t, c, items, 30)

	var rss, goroutines, fds []float64
	row := func(columns ...any) { t.Logf("%8v %10v %10v %8v %9v %11v %5v", columns...) }
	row("elapsed", "sent", "dropped", "RSS MiB", "heap MiB", "goroutines", "fds")
	ticker := time.NewTicker(*soakDuration / soakSamples)
	defer ticker.Stop()
	for sample := 1; sample <= soakSamples; sample++ {
		<-ticker.C // Before the first sample, it is the time to warm up.
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
			time.Sleep(2 * time.Second) // This is the stall.
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
		assert.LessOrEqualf(t, last, second*(1+column.mayGrow)+column.slack, "%s: the last third, beside the second", column.name)
	}
}

// profile finds a number in a profile of the collector.
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
