// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// Random items, in random parts, over random messages, of which the server refuses some, and some as too large: each item counts
// once, and as sent if and only if the server took all its parts.
func TestOutboxAgainstAModel(t *testing.T) {
	f := newFixture(t)
	e := f.start("logs")
	exporter := e.Component.(logsExporter).signalExporter
	var want counts
	accepted := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		// What the server does with an envelope and with a message is decided by the numbers in it.
		refused := map[int]bool{}
		for n := range 1000 {
			refused[n] = random.IntN(12) == 0
		}
		var mu sync.Mutex
		taken := map[int]bool{}
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			mu.Lock()
			defer mu.Unlock()
			first, err := strconv.Atoi(batch[0].GetSourceId())
			switch {
			case err != nil:
				return err
			case refused[first] && first%2 == 0:
				return status.Error(codes.Internal, "refused")
			case refused[first]:
				return status.Error(codes.ResourceExhausted, "larger than max")
			}
			for _, e := range batch {
				n, _ := strconv.Atoi(e.GetSourceId())
				taken[n] = true
			}
			return nil
		})

		limits := BatchConfig{MaxEnvelopes: 1 + random.IntN(8), MaxBytes: 1 << 20}
		out := newOutbox(t.Context(), exporter.client.NewSender(exporter.telemetry.attempted), limits, exporter.telemetry)
		type item struct{ parts []int }
		var items []item // that are complete
		next, rejected, total := 0, 0, 0
		add := func(completes int) int {
			out.take(translate.Envelope{Encoded: envelope.AppendSourceID(nil, fmt.Sprint(next)), Items: completes})
			next++
			return next - 1
		}
		for range 40 {
			var parts []int
			for range random.IntN(5) - 1 {
				parts = append(parts, add(0))
			}
			switch random.IntN(5) {
			case 0:
				exporter.telemetry.accepted(1)
				out.take(translate.Envelope{Items: 1, Reason: translate.ReasonTooLarge})
				rejected++
				total++
			case 1: // A gauge: one envelope of several items, the first of which may have parts before it.
				n := 1 + random.IntN(3)
				exporter.telemetry.accepted(n)
				last := add(n)
				items = append(items, item{append(parts, last)})
				for range n - 1 {
					items = append(items, item{[]int{last}})
				}
				total += n
			default:
				exporter.telemetry.accepted(1)
				items = append(items, item{append(parts, add(1))})
				total++
			}
			if random.IntN(6) == 0 {
				out.flush()
			}
		}
		out.flush()

		for _, it := range items {
			sent := true
			for _, part := range it.parts {
				sent = sent && taken[part]
			}
			if sent {
				want.sent++
			} else {
				want.failed++
			}
		}
		want.rejected += rejected
		accepted += total
		require.Equal(t, want, f.counts("logs"), "seed %d", seed)
	}
	f.ingress.Resume()
	require.NoError(t, e.Shutdown(t.Context()))
	f.checkIdentity("logs", accepted)
	assert.Positive(t, want.failed)
}
