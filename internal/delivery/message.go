// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package delivery

import "github.com/loggregatorexporter/loggregatorexporter/internal/envelope"

// Message is a message under construction: an encoded EnvelopeBatch, and how many items each of its envelopes completes. It is
// filled, delivered, and filled again. It belongs to one goroutine.
//
// An item is one or more consecutive envelopes, which may be spread over several messages, and counts once, with the last of them.
type Message struct {
	maxEnvelopes, maxBytes int

	bytes *[]byte
	parts []part
	// settled is how many of the parts have an outcome.
	settled  int
	outcomes []Outcome
	// lost is why an earlier envelope of the current item was not acknowledged; nil if all of them were.
	lost error
}

// part is what is known of one envelope.
type part struct {
	end   int  // where it ends in the bytes of the message
	items int  // that it completes
	open  bool // whether its item continues in the next envelope
}

// Outcome is what became of envelopes that were sent at once, and of the items that they completed.
type Outcome struct {
	Envelopes int
	Bytes     int
	Items     int
	// Err is nil if they were acknowledged. Otherwise it is a *[Error], or the context's error if there was no attempt at all.
	Err error
}

// NewMessage makes an empty message for at most so many envelopes and bytes.
func NewMessage(maxEnvelopes, maxBytes int) *Message {
	return &Message{maxEnvelopes: maxEnvelopes, maxBytes: maxBytes}
}

// Fits reports whether an encoded envelope fits into the message beside what it has. Any envelope fits into an empty one.
func (m *Message) Fits(encoded []byte) bool {
	return m.Len() == 0 || m.Len() < m.maxEnvelopes && m.Size()+envelope.Size(len(encoded)) <= m.maxBytes
}

// Append appends a copy of an encoded envelope, which completes so many items. One that completes none belongs to the item that the
// next envelope with items completes first.
func (m *Message) Append(encoded []byte, items int) {
	if m.bytes == nil {
		m.bytes = buffers.Get(0)
	}
	*m.bytes = envelope.Append(*m.bytes, encoded)
	m.parts = append(m.parts, part{end: len(*m.bytes), items: items, open: items == 0})
}

// EndItem ends the current item without another envelope: the rest of it was rejected, and it counts as rejected.
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

// Outcomes returns what became of the envelopes and items of the message that was delivered last, from the first to the last envelope.
// An item counts as acknowledged only if all its envelopes were: one that lost an envelope in an earlier message has an Outcome of its
// own, without envelopes. The result is valid until the next delivery.
func (m *Message) Outcomes() []Outcome { return m.outcomes }

// begin begins a delivery and takes the bytes out.
func (m *Message) begin() *[]byte {
	bytes := m.bytes
	m.bytes, m.settled, m.outcomes = nil, 0, m.outcomes[:0]
	return bytes
}

// settle records what became of the next envelopes.
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

// end ends a delivery: the message is empty.
func (m *Message) end() { m.parts = m.parts[:0] }
