// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newReport returns a report with its own log.
func newReport(others ...func()) (*Report, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return New(zap.New(core), Messages{"overflow", "shutdown", "failed", "outage", "outage loses", "recovered"}, append(others, nil)[0]), logs
}

// The attempts in the rows of TestStatus.
var (
	unreached = Attempt{Err: errors.New("unreached"), Outage: true, RetryIn: time.Second}
	denied    = Attempt{Err: errors.New("denied"), Outage: true}
	refused   = Attempt{Err: errors.New("refused")}
	success   = Attempt{}
)

const (
	recoverable = componentstatus.StatusRecoverableError
	ok          = componentstatus.StatusOK
)

// TestStatus drives a report through fake time without an ingress.
func TestStatus(t *testing.T) {
	type step struct {
		after   time.Duration
		attempt Attempt
	}
	const moment = 10 * time.Millisecond
	for name, tt := range map[string]struct {
		steps []step
		then  time.Duration // how long nothing happens after the last step
		want  []componentstatus.Status
	}{
		"short failure":                      {[]step{{0, unreached}, {moment, success}}, time.Minute, nil},
		"lasting failure":                    {[]step{{0, unreached}}, outageGrace, []componentstatus.Status{recoverable}},
		"outage":                             {[]step{{0, unreached}, {time.Minute, success}}, 0, []componentstatus.Status{recoverable, ok}},
		"just before the end of the grace":   {[]step{{0, unreached}}, outageGrace - 1, nil},
		"refusal":                            {[]step{{0, refused}}, time.Hour, nil},
		"two refusals at once":               {[]step{{0, refused}, {moment, refused}}, time.Hour, nil},
		"only refusals":                      {slices.Repeat([]step{{outageGrace / 2, refused}}, 5), time.Hour, nil},
		"only refusals, far apart":           {slices.Repeat([]step{{time.Minute, refused}}, 2), 0, nil},
		"every second message refused":       {slices.Concat(slices.Repeat([]step{{0, refused}}, 1), []step{{time.Second, success}, {time.Second, refused}, {time.Second, success}}), 0, nil},
		"short failure long after a refusal": {[]step{{0, refused}, {time.Hour, unreached}, {moment, success}}, time.Minute, nil},
		"failure, then refusal":              {[]step{{0, unreached}, {moment, refused}}, time.Hour, nil},
		"refusal after an outage":            {[]step{{0, unreached}, {time.Minute, refused}, {time.Minute, success}}, 0, []componentstatus.Status{recoverable, ok}},
		"only refusals after an outage":      {[]step{{0, unreached}, {time.Minute, refused}, {time.Minute, refused}}, time.Hour, []componentstatus.Status{recoverable}},
		"denied":                             {slices.Repeat([]step{{time.Second, denied}}, 3), 0, []componentstatus.Status{recoverable}},
		"denied for long":                    {slices.Repeat([]step{{time.Second, denied}}, 40), time.Hour, []componentstatus.Status{recoverable}},
		"denied, then accepted":              {slices.Concat(slices.Repeat([]step{{time.Second, denied}}, 40), []step{{0, success}}), 0, []componentstatus.Status{recoverable, ok}},
		"success, then failure at once":      {[]step{{0, unreached}, {time.Minute, success}, {0, unreached}, {moment, success}}, time.Minute, []componentstatus.Status{recoverable, ok}},
		"second outage":                      {[]step{{0, unreached}, {time.Minute, success}, {0, unreached}, {time.Minute, success}}, 0, []componentstatus.Status{recoverable, ok, recoverable, ok}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := reporttest.NewHost()
				r, _ := newReport()
				r.Start(host)
				for _, s := range tt.steps {
					time.Sleep(s.after)
					r.Attempted(s.attempt)
				}
				time.Sleep(tt.then)
				synctest.Wait()
				assert.Equal(t, tt.want, host.Statuses())
				r.Shutdown()
			})
		})
	}
}

// The status is reported in time although losses are logged later, and losses are logged although no status is due.
func TestSharedTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := reporttest.NewHost()
		r, logs := newReport()
		r.Start(host)
		lines := func() int { return logs.FilterMessage("overflow").Len() }
		r.Dropped(DropOverflow, 1)
		synctest.Wait()
		assert.Equal(t, 1, lines(), "the first loss is logged at once")
		r.Dropped(DropOverflow, 2)
		r.Attempted(unreached)
		synctest.Wait()
		assert.Equal(t, 1, lines())
		time.Sleep(outageGrace)
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{recoverable}, host.Statuses())
		time.Sleep(logInterval - outageGrace)
		synctest.Wait()
		assert.Equal(t, 2, lines())
		r.Attempted(success)
		time.Sleep(time.Hour)
		r.Dropped(DropOverflow, 4)
		synctest.Wait()
		assert.Equal(t, 3, lines())
		assert.Equal(t, []componentstatus.Status{recoverable, ok}, host.Statuses())
		r.Dropped(DropOverflow, 8)
		r.Dropped(DropOverflow, 16)
		r.Shutdown()
		var dropped []map[string]any
		for _, line := range logs.FilterMessage("overflow").All() {
			dropped = append(dropped, line.ContextMap())
		}
		assert.Equal(t, []map[string]any{ // Each since the previous line.
			{"dropped_items": int64(1)},
			{"dropped_items": int64(2)},
			{"dropped_items": int64(4)},
			{"dropped_items": int64(24)},
		}, dropped)
	})
}

// A single loss is logged once, at once, and with its details.
func TestLossLines(t *testing.T) {
	gaveUp := errors.New("gave up")
	for name, tt := range map[string]struct {
		lose func(*Report)
		line string
		want map[string]any
	}{
		"overflow": {func(r *Report) { r.Dropped(DropOverflow, 3) }, "overflow",
			map[string]any{"dropped_items": int64(3)}},
		"shutdown": {func(r *Report) { r.Dropped(DropShutdown, 3) }, "shutdown",
			map[string]any{"dropped_items": int64(3)}},
		"failed": {func(r *Report) { r.Failed(gaveUp, false, 3) }, "failed",
			map[string]any{"failed_items": int64(3), "error": "gave up", "permanent": false}},
		"failed permanently": {func(r *Report) { r.Failed(gaveUp, true, 3) }, "failed",
			map[string]any{"failed_items": int64(3), "error": "gave up", "permanent": true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, logs := newReport()
				r.Start(reporttest.NewHost())
				synctest.Wait()
				for range 2 {
					tt.lose(r)
					synctest.Wait()
					time.Sleep(2 * logInterval)
				}
				r.Shutdown()
				lines := logs.All()
				require.Len(t, lines, 2)
				for i, line := range lines {
					assert.Equal(t, tt.line, line.Message)
					assert.Equal(t, tt.want, line.ContextMap())
					assert.Equal(t, 2*logInterval, lines[1].Time.Sub(lines[0].Time), "line %d is logged at once", i)
				}
			})
		})
	}
}

// Losses between two lines add up, with the latest error. Other losses are logged at the same time.
func TestLossSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		others := 0
		r, logs := newReport(func() { others++ })
		r.Start(reporttest.NewHost())
		r.Dropped(DropShutdown, 1)
		synctest.Wait()
		logs.TakeAll() // The next lines follow after an interval.
		r.Failed(errors.New("one"), true, 3)
		r.Failed(errors.New("another"), false, 4)
		r.Lost()
		time.Sleep(logInterval)
		synctest.Wait()
		require.Equal(t, 1, logs.Len())
		assert.Equal(t, map[string]any{"failed_items": int64(7), "error": "another", "permanent": false}, logs.All()[0].ContextMap())
		assert.Equal(t, 2, others)
		r.Shutdown()
		assert.Equal(t, 3, others)
	})
}

// Losses during a log of losses are logged an interval later. Shutdown waits for a line that is being logged.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs := newReport()
		lines := func() int { return logs.FilterMessage("overflow").Len() }
		during := func() {} // called during the next line
		r.logger = r.logger.WithOptions(zap.Hooks(func(zapcore.Entry) error {
			f := during
			during = func() {}
			f()
			return nil
		}))
		r.Start(reporttest.NewHost())
		during = func() { r.Dropped(DropOverflow, 2) }
		r.Dropped(DropOverflow, 1)
		time.Sleep(logInterval)
		synctest.Wait()
		assert.Equal(t, 2, lines())

		release, ended := make(chan struct{}), make(chan struct{})
		during = func() { <-release }
		r.Dropped(DropOverflow, 1)
		time.Sleep(logInterval)
		synctest.Wait()
		go func() {
			defer close(ended)
			r.Shutdown()
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Shutdown has not waited for the line")
		default:
		}
		close(release)
		<-ended
		assert.Equal(t, 3, lines())
	})
}

// A success ends the error status, even if a refusal follows before the status is reported.
func TestRefusalAfterSuccess(t *testing.T) {
	now := time.Now()
	o := outage{logger: zap.NewNop(), messages: &Messages{}}
	o.attempted(unreached, now)
	now = now.Add(outageGrace)
	event, _ := o.due(now)
	require.Equal(t, recoverable, event.Status())
	assert.False(t, o.attempted(refused, now))
	assert.True(t, o.attempted(success, now))
	assert.True(t, o.attempted(refused, now))
	event, _ = o.due(now)
	require.NotNil(t, event)
	assert.Equal(t, ok, event.Status())
}

// Log lines about an outage count only its own attempts and time.
func TestOutageLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs := newReport()
		r.Start(reporttest.NewHost())
		r.Attempted(refused)
		time.Sleep(time.Hour)
		for range 3 {
			r.Attempted(unreached)
			time.Sleep(time.Second)
		}
		r.Attempted(refused) // The server responds.
		time.Sleep(time.Hour)
		r.Attempted(success)
		r.Attempted(denied)
		time.Sleep(time.Minute)
		r.Attempted(success)
		ends := logs.FilterMessage("recovered").All()
		if assert.Len(t, ends, 2) {
			assert.Equal(t, map[string]any{"outage": "3s", "failed_attempts": int64(3)}, ends[0].ContextMap())
			assert.Equal(t, map[string]any{"outage": "1m0s", "failed_attempts": int64(1)}, ends[1].ContextMap())
		}
		if begins := logs.FilterMessage("outage").All(); assert.Len(t, begins, 1) {
			assert.Equal(t, "1s", begins[0].ContextMap()["retry_in"])
		}
		if begins := logs.FilterMessage("outage loses").All(); assert.Len(t, begins, 1) {
			assert.NotContains(t, begins[0].ContextMap(), "retry_in")
		}
		r.Shutdown()
	})
}

// An outage is logged once per kind of error, at most once per interval.
func TestOutageKindLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, logs := newReport()
		kind := func(kind string) Attempt {
			return Attempt{Err: errors.New(kind), Outage: true, Kind: kind, RetryIn: time.Second}
		}
		for i := range 60 {
			r.Attempted(kind([]string{"one", "two"}[i%2]))
			time.Sleep(time.Second)
		}
		lines := logs.FilterMessage("outage").All()
		require.Len(t, lines, 2)
		assert.Contains(t, lines[0].ContextMap()["error"], "one")
		assert.Contains(t, lines[1].ContextMap()["error"], "two")
		assert.Equal(t, logInterval+time.Second, lines[1].Time.Sub(lines[0].Time))
	})
}

func TestStopStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := reporttest.NewHost()
		r, logs := newReport()
		r.Start(host)
		r.Attempted(unreached)
		time.Sleep(outageGrace)
		synctest.Wait()
		r.StopStatus()
		r.Attempted(success)
		r.Attempted(unreached)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []componentstatus.Status{recoverable}, host.Statuses())
		assert.Equal(t, 1, logs.FilterMessage("recovered").Len(), "recoveries are still logged")
		r.Shutdown()
	})
}
