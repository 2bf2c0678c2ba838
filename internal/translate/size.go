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

// headRoom is how many bytes a timestamp takes in an envelope at most.
const headRoom = 11

// maxLength is longer than any value.
const maxLength = math.MaxInt

// fit makes common small enough, the encoded identity and tags that the envelopes of an item share. room is how many bytes the
// largest of these envelopes needs beside common and a timestamp. Syslog escapes what is in texts, and nothing in payload bytes. If
// the envelopes do not fit into [envelope.MaxSize], fit truncates the longest tag values. It reports false if that is not enough.
func (t *translator) fit(room, payload int, texts ...string) bool {
	if t.tooLarge {
		return false
	}
	escape := t.opts.SyslogSafe
	most := headRoom + len(t.common) + room
	if escape {
		most += most - payload // There is at most one escape for each byte.
	}
	if most <= envelope.MaxSize {
		return true
	}
	budget := envelope.MaxSize - headRoom - room
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

// fits reports whether the tags, with their values truncated to length bytes, take at most budget bytes. With escape, what syslog
// escapes in the values counts too.
func (s *tagSet) fits(length, budget int, escape bool) bool {
	n := 0
	for i := range s.tags {
		n += tagSize(len(s.tags[i].key), min(len(s.tags[i].value), length))
	}
	if !escape || n > budget || 2*n <= budget { // There is at most one escape for each byte.
		return n <= budget
	}
	for i := range s.tags {
		n += envelope.SyslogEscapes(s.tags[i].truncatedValue(length))
	}
	return n <= budget
}

// truncatedValue returns the value truncated to length bytes, with an ellipsis at its end. A source type has none: it becomes part of
// a PROCID, which is ASCII.
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

// prefix returns the whole characters in the first length bytes of s.
func prefix(s string, length int) string {
	if len(s) <= length {
		return s
	}
	return s[:runeStart(s, length)]
}

// tagSize is how many bytes a tag takes in an envelope.
func tagSize(key, value int) int {
	return 1 + protowire.SizeBytes(2+protowire.SizeBytes(key)+protowire.SizeBytes(value))
}

const ellipsis = "…"

// truncate shortens the longest values, all to the same length, until the tags fit; see fits. It reports false, and changes
// nothing, when even the shortest values would not do.
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

// runeStart returns the largest index up to i that is in the middle of no character of s.
func runeStart[S string | []byte](s S, i int) int {
	for n := i; n > i-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return i // Not UTF-8, or the beginning.
}
