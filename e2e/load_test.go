// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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
