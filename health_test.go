// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
)

// Attempts, as a row of statusCase has them.
var (
	unreached = ingress.Attempt{Err: &ingress.Error{Everything: true}, RetryIn: time.Second}
	denied    = ingress.Attempt{Err: &ingress.Error{Everything: true, ByHand: true, Permanent: true}}
	guessed   = ingress.Attempt{Err: &ingress.Error{Everything: true, Guess: true}, RetryIn: time.Second}
	refused   = ingress.Attempt{Err: &ingress.Error{Permanent: true}}
	halved    = ingress.Attempt{Err: &ingress.Error{Permanent: true, TooLarge: true}, Halved: true}
	success   = ingress.Attempt{}
)

// TestStatus drives health through time without an ingress. Time is that of the test: it takes none.
func TestStatus(t *testing.T) {
	type step struct {
		after   time.Duration
		attempt ingress.Attempt
	}
	const moment = 10 * time.Millisecond
	for name, tt := range map[string]struct {
		steps []step
		then  time.Duration // how long nothing happens after the last
		want  []componentstatus.Status
	}{
		"a failure that passes":                    {[]step{{0, unreached}, {moment, success}}, time.Minute, nil},
		"a failure that stays":                     {[]step{{0, unreached}}, outageGrace, []componentstatus.Status{recoverable}},
		"a failure that stayed":                    {[]step{{0, unreached}, {time.Minute, success}}, 0, []componentstatus.Status{recoverable, ok}},
		"a message is refused":                     {[]step{{0, refused}}, time.Hour, nil},
		"two are, at once":                         {[]step{{0, refused}, {moment, refused}}, time.Hour, nil},
		"all are":                                  {slices.Repeat([]step{{outageGrace / 2, refused}}, 5), 0, []componentstatus.Status{recoverable}},
		"all are, each after a while":              {slices.Repeat([]step{{time.Minute, refused}}, 2), 0, []componentstatus.Status{recoverable}},
		"every second one is":                      {slices.Concat(slices.Repeat([]step{{0, refused}}, 1), []step{{time.Second, success}, {time.Second, refused}, {time.Second, success}}), 0, nil},
		"a large one goes in halves":               {slices.Concat(slices.Repeat([]step{{time.Second, halved}}, 9), []step{{0, success}}), 0, nil},
		"a moment's failure, long after a refusal": {[]step{{0, refused}, {time.Hour, unreached}, {moment, success}}, time.Minute, nil},
		"a failure, and then a refusal":            {[]step{{0, unreached}, {moment, refused}}, time.Hour, nil},
		"denied":                                   {slices.Repeat([]step{{time.Second, denied}}, 3), 0, []componentstatus.Status{recoverable}},
		"denied, for long":                         {slices.Repeat([]step{{time.Second, denied}}, 40), 0, []componentstatus.Status{recoverable, permanent}},
		"denied twice, far apart":                  {slices.Repeat([]step{{time.Hour, denied}}, 2), 0, []componentstatus.Status{recoverable}},
		"denied at the ends of an outage":          {slices.Concat(slices.Repeat([]step{{0, denied}}, 2), slices.Repeat([]step{{time.Second, unreached}}, 60), slices.Repeat([]step{{0, denied}}, 3)), 0, []componentstatus.Status{recoverable}},
		"denied, in words that come and go":        {slices.Concat(slices.Repeat([]step{{time.Second, denied}}, 20), slices.Repeat([]step{{time.Second, guessed}}, 9), slices.Repeat([]step{{time.Second, denied}}, 9)), 0, []componentstatus.Status{recoverable, permanent}},
		"denied, and then guesses for long":        {slices.Concat(slices.Repeat([]step{{0, denied}}, 3), slices.Repeat([]step{{time.Second, guessed}}, 60)), 0, []componentstatus.Status{recoverable}},
		"a large one, after a failure":             {[]step{{0, unreached}, {outageGrace / 2, halved}, {outageGrace, success}}, 0, nil},
		"nothing is taken back":                    {slices.Concat(slices.Repeat([]step{{time.Second, denied}}, 40), []step{{0, success}, {0, unreached}, {time.Minute, success}}), 0, []componentstatus.Status{recoverable, permanent}},
		"a second outage is one":                   {[]step{{0, unreached}, {time.Minute, success}, {0, unreached}, {time.Minute, success}}, 0, []componentstatus.Status{recoverable, ok, recoverable, ok}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := &statusHost{Host: componenttest.NewNopHost()}
				h := newHealth(host, zap.NewNop())
				for _, s := range tt.steps {
					time.Sleep(s.after)
					synctest.Wait()
					h.observe(s.attempt)
				}
				time.Sleep(tt.then)
				synctest.Wait()
				assert.Equal(t, tt.want, host.statuses())
				h.stop()
			})
		})
	}
}

// What the log says of an outage is about the outage.
func TestOutageInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		h := newHealth(&statusHost{Host: componenttest.NewNopHost()}, zap.New(core))
		h.observe(refused)
		time.Sleep(time.Hour)
		for range 3 {
			h.observe(unreached)
			time.Sleep(time.Second)
		}
		h.observe(refused) // Somebody has answered.
		time.Sleep(time.Hour)
		h.observe(success)
		ends := logs.FilterMessageSnippet("takes envelopes again").All()
		if assert.Len(t, ends, 1) {
			assert.Equal(t, map[string]any{"outage": 3 * time.Second, "failed_attempts": int64(3)}, ends[0].ContextMap())
		}
		h.stop()
	})
}
