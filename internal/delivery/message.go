// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import "github.com/loggregatorexporter/loggregatorexporter/internal/envelope"

// A Message is a message under construction: an encoded EnvelopeBatch, and the number of items that each envelope completes. It is
// filled, delivered, and filled again. It belongs to one goroutine.
//
// An item consists of one or more consecutive envelopes, which may be spread over several messages. It counts once, with its last
// envelope.
type Message struct {
	maxEnvelopes, maxBytes int

	bytes *[]byte
	parts []part
	// settled is the number of parts with an outcome.
	settled  int
	outcomes []Outcome
	// lost is the error of an earlier envelope of the current item; nil if all of them were acknowledged.
	lost error
}

// part describes one envelope.
type part struct {
	end   int  // offset of its end in the bytes of the message
	items int  // number of items it completes
	open  bool // whether its item continues in the next envelope
}

// An Outcome is the result for envelopes that were sent together, and for the items that they completed.
type Outcome struct {
	Envelopes int
	Bytes     int
	Items     int
	// Err is nil if they were acknowledged. Otherwise it is a *[Error], or the context's error if there was no attempt at all.
	Err error
}

// NewMessage returns an empty message with the given limits.
func NewMessage(maxEnvelopes, maxBytes int) *Message {
	return &Message{maxEnvelopes: maxEnvelopes, maxBytes: maxBytes}
}

// Fits reports whether another encoded envelope fits into the message. Any envelope fits into an empty message.
func (m *Message) Fits(encoded []byte) bool {
	return m.Len() == 0 || m.Len() < m.maxEnvelopes && m.Size()+envelope.Size(len(encoded)) <= m.maxBytes
}

// Append appends a copy of an encoded envelope, which completes the given number of items. An envelope that completes none belongs to
// the first item completed by the next envelope that does.
func (m *Message) Append(encoded []byte, items int) {
	if m.bytes == nil {
		m.bytes = buffers.Get(0)
	}
	*m.bytes = envelope.Append(*m.bytes, encoded)
	m.parts = append(m.parts, part{end: len(*m.bytes), items: items, open: items == 0})
}

// EndItem ends the current item without another envelope. The rest of the item was rejected, so it counts as rejected.
func (m *Message) EndItem() {
	if n := m.Len(); n > 0 {
		m.parts[n-1].open = false
	} else {
		m.lost = nil
	}
}

// Len returns the number of envelopes.
func (m *Message) Len() int { return len(m.parts) }

// Size returns the number of bytes.
func (m *Message) Size() int {
	if m.bytes == nil {
		return 0
	}
	return len(*m.bytes)
}

// Outcomes returns the outcomes of the last delivery, in the order of the envelopes. An item counts as acknowledged only if all its
// envelopes were. An item that lost an envelope in an earlier message or half has a separate Outcome, without envelopes. The result is valid
// until the next delivery.
func (m *Message) Outcomes() []Outcome { return m.outcomes }

// begin begins a delivery and returns the bytes, which it removes from m.
func (m *Message) begin() *[]byte {
	bytes := m.bytes
	m.bytes, m.settled, m.outcomes = nil, 0, m.outcomes[:0]
	return bytes
}

// settle records the result of the next envelopes.
func (m *Message) settle(envelopes, bytes int, err error) {
	o := Outcome{Envelopes: envelopes, Bytes: bytes, Err: err}
	for _, p := range m.parts[m.settled:][:envelopes] {
		if p.open {
			if err != nil {
				m.lost = err
			}
			continue
		}
		if p.items > 0 && m.lost != nil && m.lost != err { //nolint:errorlint // Whether it is the very same error.
			m.outcomes = append(m.outcomes, Outcome{Items: 1, Err: m.lost})
			p.items--
		}
		m.lost = nil
		o.Items += p.items
	}
	m.settled += envelopes
	m.outcomes = append(m.outcomes, o)
}

// end ends a delivery. The message is empty then.
func (m *Message) end() { m.parts = m.parts[:0] }
