// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// A shape is what items of one scope have in common that have the same attribute keys in the same order: all of their tags but
// the values. Nearly all items of a scope have one of a few shapes. What is in a shape is worked out and encoded once.
//
// A shape makes the same bytes as beginItem and encodeShared. It is for items in which every tag comes from one place: where two
// attributes become the same tag, there is no shape. An item whose envelope is too large goes the long way too.
type shape struct {
	attributes []shapedAttribute
	// head is the encoded identity, if no attribute has a say in that.
	head []byte
	// identified is whether an attribute has.
	identified bool
	// inherited is the encoded tags of scope and resource that are not the item's own.
	inherited []byte
	// own has those of all these tags that the exporter sets itself on other items.
	own ownKeys
	// truncated reports whether a part of an inherited tag was left out.
	truncated bool
	// sourceType is the encoded tag source_type of a Log that has none.
	sourceType []byte
	// sorted is all tags of a point in the order of their keys, constants those that are the same for all items, encoded.
	sorted    []sortedPart
	constants []byte
}

// sortedPart is the tag of an attribute, or one of those below.
type sortedPart struct {
	attribute  int
	begin, end int // in constants, of a constantPart
}

// Parts that are no tag of an attribute.
const (
	constantPart = -1 // tags that are the same for all items
	instancePart = -2 // the tag with the instance ID, of items whose attributes have a say in that
)

// shapedAttribute is an attribute key, and the tag key that it becomes, encoded; nil if it becomes none.
type shapedAttribute struct {
	key string
	tag []byte
}

// ownKeys is a set of the tags that the exporter sets itself.
type ownKeys uint16

const (
	ownSeverity ownKeys = 1 << iota
	ownSourceType
	ownProcessType // of which the source type is made
	ownIOStream    // an attribute that says what stream a log is written to
	ownIDs
	ownSpan     // all others of a span
	ownBound    // of a histogram
	ownQuantile // of a summary
)

func ownKey(key string) ownKeys {
	switch key {
	case "severity":
		return ownSeverity
	case sourceTypeTag:
		return ownSourceType
	case "process_type":
		return ownProcessType
	case boundTag:
		return ownBound
	case quantileTag:
		return ownQuantile
	case "trace_id", "span_id":
		return ownIDs
	case "parent_span_id", "span_kind", "peer_type", "status_code", "status_message", "clock_skew":
		return ownSpan
	}
	return 0
}

const (
	// shapesAtMost is how many shapes a scope can have. Data with ever new keys has no use for them.
	shapesAtMost = 8
	// shapedAttributesAtMost bounds the memory of a shape.
	shapedAttributesAtMost = 128
)

// shapes are those of the scope in work. The memory of earlier ones is used again.
type shapes struct {
	known []shape
	last  int // the one that was used last
	none  int // how many items were found to have no shape
}

func (s *shapes) reset() {
	for i := range s.known {
		clear(s.known[i].attributes) // They hold strings of the data.
	}
	s.known = s.known[:0]
	s.last, s.none = 0, 0
}

// shaped finds the shape of an item with these attributes and encodes, behind b, the identity and all tags that are not the
// exporter's own; nil if there is none. It changes nothing that the long way depends on.
func (t *translator) shaped(b []byte, attrs pcommon.Map) ([]byte, *shape) {
	return t.findShape(b, attrs, t.appendShaped)
}

// findShape finds the shape of an item and encodes it with the given function, which says whether it has the shape.
func (t *translator) findShape(b []byte, attrs pcommon.Map, encode func([]byte, *shape, pcommon.Map) ([]byte, bool)) ([]byte, *shape) {
	n := attrs.Len()
	if t.opts.unshaped || t.long || n > shapedAttributesAtMost {
		return b, nil
	}
	known := &t.shapes
	for i := range known.known {
		// The last one first.
		at := known.last + i
		if at >= len(known.known) {
			at -= len(known.known)
		}
		s := &known.known[at]
		// Only the likely one is worth to be tried without a look.
		if len(s.attributes) != n || i > 0 && !s.fits(attrs) {
			continue
		}
		if encoded, ok := encode(b, s, attrs); ok {
			known.last = at
			return encoded, s
		}
	}
	s := t.newShape(attrs)
	if s == nil {
		return b, nil
	}
	encoded, _ := encode(b, s, attrs)
	return encoded, s
}

// fits says whether an item with as many attributes has the shape.
func (s *shape) fits(attrs pcommon.Map) bool {
	i := 0
	for key := range attrs.All() {
		if s.attributes[i].key != key {
			return false
		}
		i++
	}
	return true
}

// appendShaped encodes an item if it has the shape.
func (t *translator) appendShaped(b []byte, s *shape, attrs pcommon.Map) ([]byte, bool) {
	b = t.appendIdentity(b, s, attrs)
	i := 0
	for key, value := range attrs.All() {
		a := &s.attributes[i]
		if a.key != key {
			return b, false
		}
		b = t.appendShapedTag(b, a, value)
		i++
	}
	t.shortened = t.shortened || s.truncated
	return append(b, s.inherited...), true
}

// appendSorted encodes an item if it has the shape, with its tags in the order of their keys.
func (t *translator) appendSorted(b []byte, s *shape, attrs pcommon.Map) ([]byte, bool) {
	t.unsorted, t.ends = t.unsorted[:0], t.ends[:0]
	i := 0
	for key, value := range attrs.All() {
		a := &s.attributes[i]
		if a.key != key {
			return b, false
		}
		t.unsorted = t.appendShapedTag(t.unsorted, a, value)
		t.ends = append(t.ends, len(t.unsorted))
		i++
	}
	b = t.appendIdentity(b, s, attrs)
	for i := range s.sorted {
		part := &s.sorted[i]
		switch part.attribute {
		case constantPart:
			b = append(b, s.constants[part.begin:part.end]...)
		case instancePart:
			if t.id.instance != "" {
				b = envelope.AppendTag(b, instanceIDKey, t.id.instance)
			}
		default:
			begin := 0
			if part.attribute > 0 {
				begin = t.ends[part.attribute-1]
			}
			b = append(b, t.unsorted[begin:t.ends[part.attribute]]...)
		}
	}
	t.shortened = t.shortened || s.truncated
	return b, true
}

func (t *translator) appendIdentity(b []byte, s *shape, attrs pcommon.Map) []byte {
	if !s.identified {
		t.id = identity{source: t.identity.baseSource.value, instance: t.identity.baseInstance.value}
		return append(b, s.head...)
	}
	level := level{attrs: attrs}
	t.id = t.identity.find(&level)
	return envelope.AppendInstanceID(envelope.AppendSourceID(b, t.id.source), t.id.instance)
}

// appendShapedTag encodes the tag of an attribute, if it becomes one.
func (t *translator) appendShapedTag(b []byte, a *shapedAttribute, value pcommon.Value) []byte {
	if a.tag == nil {
		return b
	}
	switch value.Type() {
	case pcommon.ValueTypeStr:
		return envelope.AppendKeyedTag(b, a.tag, envelope.ValidUTF8(value.Str()))
	case pcommon.ValueTypeInt:
		t.number = strconv.AppendInt(t.number[:0], value.Int(), 10)
		return envelope.AppendKeyedTag(b, a.tag, t.number)
	default:
		return envelope.AppendKeyedTag(b, a.tag, envelope.ValidUTF8(t.text(value)))
	}
}

// tagWriter takes the tags that the exporter sets itself: a tagSet or, for an item with a shape, encodedTags.
type tagWriter interface {
	set(key, value string)
	setTraceID(id pcommon.TraceID)
	setSpanID(key string, id pcommon.SpanID)
}

// encodedTags is an envelope under construction that has none of the tags that are set.
type encodedTags []byte

func (b *encodedTags) set(key, value string) { *b = envelope.AppendTag(*b, key, value) }

func (b *encodedTags) setTraceID(id pcommon.TraceID) {
	if !id.IsEmpty() {
		*b = envelope.AppendHexTag(*b, "trace_id", id[:])
	}
}

func (b *encodedTags) setSpanID(key string, id pcommon.SpanID) {
	if !id.IsEmpty() {
		*b = envelope.AppendHexTag(*b, key, id[:])
	}
}

// beginShaped begins the envelope of an item that has a shape, up to the tags that are not the exporter's own; nil if it has none, or
// one that has any of these tags.
func (t *translator) beginShaped(timestamp int64, attrs pcommon.Map, without ownKeys) *shape {
	encoded, s := t.shaped(envelope.AppendTimestamp(t.encoded[:0], timestamp), attrs)
	t.encoded = encoded
	if s == nil || s.own&without != 0 {
		return nil
	}
	return s
}

// shapedTags takes the exporter's own tags of an item that was begun with beginShaped.
func (t *translator) shapedTags() *encodedTags { return (*encodedTags)(&t.encoded) }

// endShaped puts the envelope of an item that was begun with beginShaped out; false if it may be too large. Syslog escapes nothing
// in payload bytes of it.
func (t *translator) endShaped(payload int) bool {
	if !t.surelyFits(len(t.encoded), payload) {
		return false
	}
	t.put(Envelope{Encoded: t.encoded, Items: 1, Truncated: t.takeShortened()})
	return true
}

// newShape makes the shape of an item with these attributes; nil if it has none, or if there are enough.
func (t *translator) newShape(attrs pcommon.Map) *shape {
	known := &t.shapes
	if len(known.known)+known.none == shapesAtMost {
		return nil
	}
	known.known = slices.Grow(known.known, 1)[:len(known.known)+1]
	s := &known.known[len(known.known)-1]
	*s = shape{
		attributes: s.attributes[:0], head: s.head[:0], inherited: s.inherited[:0], sourceType: s.sourceType[:0],
		sorted: s.sorted[:0], constants: s.constants[:0],
	}
	t.tags.reset() // Here, only to see which keys there are.
	for key := range attrs.All() {
		if key == ioStreamKey {
			s.own |= ownIOStream
		}
		a := shapedAttribute{key: key}
		if clean := t.keys.clean(key); clean.isTag {
			if t.tags.has(clean.key) {
				clear(s.attributes)
				known.known = known.known[:len(known.known)-1]
				known.none++
				return nil
			}
			t.tags.append(tag{key: clean.key})
			s.own |= ownKey(clean.key)
			a.tag = clean.encoded
		}
		s.attributes = append(s.attributes, a)
	}
	processType := ""
	for i := range t.base.tags {
		if tag := &t.base.tags[i]; !t.tags.has(tag.key) {
			s.inherited = envelope.AppendTag(s.inherited, tag.key, tag.value)
			s.truncated = s.truncated || tag.truncated
			if own := ownKey(tag.key); own == ownProcessType {
				processType = tag.value
			} else {
				s.own |= own
			}
		}
	}
	s.identified = t.identity.depends(attrs)
	s.head = envelope.AppendSourceID(s.head, t.identity.baseSource.value)
	s.head = envelope.AppendInstanceID(s.head, t.identity.baseInstance.value)
	sourceType := t.opts.SourceType
	if processType != "" {
		sourceType = processSourceType(processType)
	}
	if sourceType, truncated := cleanSourceType(sourceType, t.opts.SyslogSafe); !truncated {
		s.sourceType = envelope.AppendTag(s.sourceType, sourceTypeTag, sourceType)
	} else {
		s.own |= ownSourceType // That is counted, for each item.
	}
	if t.sorts {
		t.sortShape(s)
	}
	return s
}

// keyedPart is a part of a shape with the key of its tag, and, if it is the same for all items, its value.
type keyedPart struct {
	key, value string
	attribute  int
}

// sortShape finds the order of the tags of a point, whose keys newShape has left in t.tags. The instance ID is one of them.
func (t *translator) sortShape(s *shape) {
	parts := t.parts[:0]
	own := 0
	for i := range s.attributes {
		if s.attributes[i].tag != nil {
			parts = append(parts, keyedPart{key: t.tags.tags[own].key, attribute: i})
			own++
		}
	}
	for i := range t.base.tags {
		if tag := &t.base.tags[i]; !t.tags.has(tag.key) {
			parts = append(parts, keyedPart{tag.key, tag.value, constantPart})
		}
	}
	if instance := t.identity.baseInstance.value; s.identified {
		parts = append(parts, keyedPart{key: instanceIDKey, attribute: instancePart})
	} else if instance != "" {
		parts = append(parts, keyedPart{instanceIDKey, instance, constantPart})
	}
	slices.SortFunc(parts, func(a, b keyedPart) int { return strings.Compare(a.key, b.key) })
	for _, part := range parts {
		if part.attribute != constantPart {
			s.sorted = append(s.sorted, sortedPart{attribute: part.attribute})
			continue
		}
		begin := len(s.constants)
		s.constants = envelope.AppendTag(s.constants, part.key, part.value)
		if n := len(s.sorted); n > 0 && s.sorted[n-1].attribute == constantPart {
			s.sorted[n-1].end = len(s.constants)
		} else {
			s.sorted = append(s.sorted, sortedPart{constantPart, begin, len(s.constants)})
		}
	}
	clear(parts) // They hold strings of the data.
	t.parts = parts
}
