// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"sort"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// maxTimestampSize is the maximum size of a timestamp in an envelope, in bytes.
const maxTimestampSize = 11

// maxLength is a length that no value exceeds.
const maxLength = math.MaxInt

// fit makes the envelopes of an item fit in [envelope.MaxSize]: if necessary, it truncates the longest tag values in common. It reports
// false if that is not enough. room is the number of bytes that the largest of the envelopes needs in addition to common and a timestamp.
// Of these, payload bytes are a log payload, which syslog does not escape; texts are strings that it escapes.
func (t *translator) fit(room, payload int, texts ...string) bool {
	if t.tooLarge {
		return false
	}
	escape := t.opts.SyslogSafe
	most := maxTimestampSize + len(t.common) + room
	if escape {
		most += most - payload // At most one escape per byte.
	}
	if most <= envelope.MaxSize {
		return true
	}
	budget := envelope.MaxSize - maxTimestampSize - room
	if escape {
		for _, text := range texts {
			budget -= envelope.SyslogEscapes(text)
		}
	}
	var tags tagSet
	var rest []byte
	for field := range envelope.Fields(t.common) {
		if field.IsTag {
			tags.append(tag{cleanKey: newTagKey(field.Key), value: field.Value})
		} else {
			rest = append(rest, field.Encoded...)
		}
	}
	budget -= len(rest)
	if tags.fits(maxLength, budget, escape) {
		return true
	}
	if !tags.truncate(budget, escape) {
		return false
	}
	t.common = append(t.common[:0], rest...)
	for i := range tags.tags {
		t.common = envelope.AppendTag(t.common, tags.tags[i].encoded, tags.tags[i].value)
	}
	t.truncated = true
	return true
}

// fits reports whether the tags, with their values truncated to length bytes, take at most budget bytes. With escape, the syslog escapes of
// the values count too.
func (s *tagSet) fits(length, budget int, escape bool) bool {
	n := 0
	for i := range s.tags {
		n += tagSize(len(s.tags[i].key), min(len(s.tags[i].value), length))
	}
	if !escape || n > budget || 2*n <= budget { // At most one escape per byte.
		return n <= budget
	}
	for i := range s.tags {
		n += envelope.SyslogEscapes(s.tags[i].truncatedValue(length))
	}
	return n <= budget
}

// truncatedValue returns the value truncated to length bytes, ending in an ellipsis. A source type has no ellipsis: it becomes part of a
// PROCID, which is ASCII.
func (t *tag) truncatedValue(length int) string {
	switch {
	case len(t.value) <= length:
		return t.value
	case t.key == sourceTypeTag:
		return prefix(t.value, length)
	default:
		return prefix(t.value, length-len(ellipsis)) + ellipsis
	}
}

// prefix returns the complete characters in the first length bytes of s.
func prefix(s string, length int) string {
	if len(s) <= length {
		return s
	}
	return s[:runeStart(s, length)]
}

// tagSize returns the size of an encoded tag with a key and a value of these lengths, in bytes.
func tagSize(key, value int) int {
	return 1 + protowire.SizeBytes(2+protowire.SizeBytes(key)+protowire.SizeBytes(value))
}

const ellipsis = "…"

// truncate shortens the longest values, all to the same length, until the tags fit; see fits. If even the shortest values would not fit, it
// changes nothing and reports false.
func (s *tagSet) truncate(budget int, escape bool) bool {
	if !s.fits(len(ellipsis), budget, escape) {
		return false
	}
	most := max(budget, len(ellipsis))
	tooLong := sort.Search(most+1, func(length int) bool { return length > len(ellipsis) && !s.fits(length, budget, escape) })
	for i := range s.tags {
		s.tags[i].value = s.tags[i].truncatedValue(tooLong - 1)
	}
	return true
}

// runeStart returns the largest index up to i that is not in the middle of a character of s.
func runeStart[S string | []byte](s S, i int) int {
	for n := i; n > i-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return i // Not UTF-8, or the beginning.
}
