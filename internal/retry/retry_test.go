// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package retry

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/collector/config/configretry"
)

func TestNext(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*configretry.BackOffConfig)
		minimum time.Duration
		want    []time.Duration // each after the previous one has passed
	}{
		"growth to max_interval": {func(*configretry.BackOffConfig) {}, 0, []time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}},
		"minimum":                {func(*configretry.BackOffConfig) {}, 2500 * time.Millisecond, []time.Duration{2500 * time.Millisecond, 2500 * time.Millisecond, 3 * time.Second}},
		"zero interval":          {func(c *configretry.BackOffConfig) { c.InitialInterval = 0 }, 0, []time.Duration{1, 1}},
		"disabled":               {func(c *configretry.BackOffConfig) { c.Enabled = false }, time.Second, nil},
		"max_elapsed_time":       {func(c *configretry.BackOffConfig) { c.MaxElapsedTime = 6 * time.Second }, 0, []time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := configretry.BackOffConfig{Enabled: true, InitialInterval: time.Second, Multiplier: 2, MaxInterval: 3 * time.Second}
				tt.change(&cfg)
				pauses := New(cfg)
				var got []time.Duration
				for pause, ok := pauses.Next(tt.minimum); ok && len(got) < max(len(tt.want), 1); pause, ok = pauses.Next(tt.minimum) {
					got = append(got, pause)
					time.Sleep(pause)
				}
				assert.Equal(t, tt.want, got)
				_, again := pauses.Next(tt.minimum)
				assert.Equal(t, cfg.Enabled && cfg.MaxElapsedTime == 0, again)
			})
		})
	}
}
