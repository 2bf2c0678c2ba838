// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingress"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// outbox collects envelopes into a message, sends it when it is full or flushed, and counts every item once by what became
// of it. It is the drain's alone.
//
// An item whose envelopes are spread over several messages counts as sent if all of these were.
type outbox struct {
	ctx       context.Context
	sender    *ingress.Sender
	limits    BatchConfig
	telemetry *telemetry

	message ingress.Batch
	parts   []part // what each envelope in message is
	settled int    // how many of them are settled, while message is being sent
	// broken is why an earlier envelope of the item in work was not sent; nil if they all were.
	broken error
}

// part is what one envelope is of its item.
type part struct {
	items int  // that it completes
	open  bool // whether the item goes on in the next envelope
}

func newOutbox(ctx context.Context, sender *ingress.Sender, limits BatchConfig, telemetry *telemetry) *outbox {
	return &outbox{ctx: ctx, sender: sender, limits: limits, telemetry: telemetry}
}

// take adds an envelope, or counts items that make none, or no further one.
func (o *outbox) take(e translate.Envelope) {
	o.telemetry.cut(e.Truncated)
	if e.Reason == "" {
		if o.message.Len() == o.limits.MaxEnvelopes || o.message.Size()+envelope.Size(len(e.Encoded)) > o.limits.MaxBytes {
			o.flush()
		}
		o.message.Append(e.Encoded)
		o.parts = append(o.parts, part{items: e.Items, open: e.Items == 0})
		return
	}
	o.telemetry.rejected(e.Reason, e.Items)
	if n := len(o.parts); n > 0 {
		o.parts[n-1].open = false // What it belongs to is counted now.
	} else {
		o.broken = nil
	}
}

// flush sends the message and returns when it is acknowledged or given up.
func (o *outbox) flush() {
	o.settled = 0
	o.sender.Send(o.ctx, &o.message, o.settle)
	o.parts = o.parts[:0]
}

// settle counts what became of the next envelopes of the message.
func (o *outbox) settle(outcome ingress.Outcome) {
	if outcome.Err == nil {
		o.telemetry.acknowledged(outcome.Envelopes, outcome.Bytes)
	}
	parts := o.parts[o.settled:][:outcome.Envelopes]
	o.settled += outcome.Envelopes
	items := 0
	for _, p := range parts {
		switch {
		case p.open:
			if outcome.Err != nil {
				o.broken = outcome.Err
			}
			continue
		case p.items > 0 && o.broken != nil:
			o.count(o.broken, 1)
			p.items--
		}
		o.broken = nil
		items += p.items
	}
	o.count(outcome.Err, items)
}

func (o *outbox) count(err error, items int) {
	if items == 0 {
		return
	}
	var failure *ingress.Error
	switch {
	case err == nil:
		o.telemetry.sent(items)
	case errors.As(err, &failure):
		o.telemetry.failed(failure, items)
	default: // Given up by Shutdown before the first attempt.
		o.telemetry.dropped(shutdown, items)
	}
}
