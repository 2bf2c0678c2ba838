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
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

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
		st := l.Streams[i]
		t.Logf("%s: %+v", st.Name, a)
		assert.EqualValues(t, st.Sent.Load(), a.Accepted, st.Name)
		assert.Equal(t, a.Accepted, a.Sent+a.Failed+a.Dropped+a.Rejected, st.Name)
		assert.NotZero(t, a.Dropped, "%s: the stalls were too short", st.Name)
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
