// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"
)

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
	targets := make([]int64, len(l.Streams))
	c.eventually("a turn of all diodes", func() bool {
		if c.status("VmHWM") >= mostMemory {
			return true // It can only become worse.
		}
		done := true
		for i, a := range l.accounts() {
			sent := l.Streams[i].Sent.Load()
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
		t.Logf("%s: %+v", l.Streams[i].Name, a)
	}
	c.Kill() // It would take its time to give up all that waits.
	assert.Less(t, peak, float64(mostMemory), "VmHWM in MiB")
}
