// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// One name for three agents, or three routers: messages spread, a dead one is left out, and is back when it is.
func TestRoundRobin(t *testing.T) {
	for name, router := range map[string]bool{"agents": false, "routers": true} {
		t.Run(name, func(t *testing.T) {
			const perMessage = 10
			f := newFixture(t)
			servers := []*ingresstest.Capture{f.ingress}
			_, port, err := net.SplitHostPort(f.ingress.Addr())
			require.NoError(t, err)
			for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
				if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
					t.Skipf("loopback has one address only: %v", err)
				} else {
					_ = l.Close()
				}
				servers = append(servers, ingresstest.StartCaptureAt(t, net.JoinHostPort(host, port)))
			}
			if router {
				for _, s := range servers {
					s.Router()
				}
			}
			dns := ingresstest.StartDNS(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2}, [4]byte{127, 0, 0, 3})
			f.cfg.Endpoint = "dns://" + dns + "/agents.test:" + port
			f.cfg.BalancerName = "round_robin"
			f.cfg.Batch.MaxEnvelopes = perMessage
			require.NoError(t, f.cfg.Validate())
			e := f.start("logs")
			next := 0
			push := func(messages int) {
				e.push(next, messages*perMessage, 0)
				next += messages * perMessage
				require.Eventually(t, func() bool { return e.waiting() == 0 }, waitAtMost, time.Millisecond)
			}
			messages := func() (n []int) {
				for _, s := range servers {
					n = append(n, len(s.Batches()))
				}
				return n
			}
			// pushUntil pushes until a condition is true of what has come to each server since it was called.
			pushUntil := func(condition func(since []int) bool) {
				before := messages()
				require.Eventually(t, func() bool {
					push(3)
					since := messages()
					for i := range since {
						since[i] -= before[i]
					}
					return condition(since)
				}, waitAtMost, time.Millisecond)
			}
			even := func(since []int) bool { return since[0] > 0 && since[1] > 0 && since[2] > 0 }

			pushUntil(even) // Connections come one after the other.
			before := messages()
			push(30)
			for i, n := range messages() {
				assert.InDelta(t, 10, n-before[i], 1, "server %d of messages %v after %v", i, messages(), before)
			}

			servers[1].Down()
			dead := messages()[1]
			push(30)
			assert.Equal(t, dead, messages()[1])
			assert.GreaterOrEqual(t, messages()[0]-before[0], 20)
			assert.GreaterOrEqual(t, messages()[2]-before[2], 20)

			require.NoError(t, servers[1].Up())
			pushUntil(even)
			require.NoError(t, e.Shutdown(t.Context()))

			c := f.counts("logs")
			assert.Equal(t, counts{sent: next}, c)
			arrived := map[string]bool{}
			for _, s := range servers {
				for _, envelope := range s.Envelopes() {
					arrived[envelope.GetTags()["number"]] = true
				}
			}
			assert.Len(t, arrived, next)
		})
	}
}
