// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
)

// ring is the ring that a router has for each of its readers, as a sender sees it: it is read every interval, and what does
// not fit is gone.
type ring struct {
	size     int
	interval time.Duration

	kept []time.Time // when each of the envelopes of the last interval was kept
	lost int
}

// keep returns those of the envelopes for which there is room at this time.
func (r *ring) keep(envelopes []*loggregator_v2.Envelope, now time.Time) []*loggregator_v2.Envelope {
	for len(r.kept) > 0 && now.Sub(r.kept[0]) >= r.interval {
		r.kept = r.kept[1:]
	}
	n := min(len(envelopes), r.size-len(r.kept))
	for range n {
		r.kept = append(r.kept, now)
	}
	r.lost += len(envelopes) - n
	return envelopes[:n]
}
