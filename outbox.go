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

	message   *[]byte // an encoded EnvelopeBatch
	envelopes int     // in message
	items     int     // completed in message
	// open is whether the last item in message is not complete.
	open bool
	// broken is why an earlier message with a part of the first item in message was not sent; nil if they all were.
	broken error
}

var _ translate.Output = (*outbox)(nil)

func newOutbox(ctx context.Context, sender *ingress.Sender, limits BatchConfig, telemetry *telemetry) *outbox {
	return &outbox{ctx: ctx, sender: sender, limits: limits, telemetry: telemetry, message: sender.NewBatch()}
}

// Envelope adds an envelope that completes the given number of items.
func (o *outbox) Envelope(encoded []byte, items int) {
	if o.envelopes == o.limits.MaxEnvelopes || len(*o.message)+envelope.Size(len(encoded)) > o.limits.MaxBytes {
		o.flush()
	}
	*o.message = envelope.Append(*o.message, encoded)
	o.envelopes++
	o.items += items
	o.open = items == 0
}

// Reject counts items that make no envelope, or no further one.
func (o *outbox) Reject(reason translate.Reason, items int) {
	o.telemetry.rejected(reason, items)
	o.open = false
	if o.items == 0 {
		o.broken = nil // What was broken is what is rejected now.
	}
}

// Cut counts an item that was shortened.
func (o *outbox) Cut() { o.telemetry.cut() }

// flush sends the message and returns when it is acknowledged or given up.
func (o *outbox) flush() {
	if o.envelopes == 0 {
		return
	}
	size := len(*o.message)
	err := o.sender.Send(o.ctx, o.message, o.envelopes)
	if err == nil {
		o.telemetry.acknowledged(o.envelopes, size)
	}
	items := o.items
	if items > 0 && o.broken != nil {
		o.count(o.broken, 1)
		o.broken = nil
		items--
	}
	o.count(err, items)
	if o.open && err != nil {
		o.broken = err
	}
	o.message = o.sender.NewBatch()
	o.envelopes, o.items = 0, 0
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
