// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// level is the attributes of a resource, a scope or a record.
type level struct {
	attrs pcommon.Map
	tags  tagSet
}

func (l *level) reset(attrs pcommon.Map, keys *keyCleaner) {
	l.attrs = attrs
	l.tags.reset()
	for key, value := range attrs.All() {
		if clean := keys.clean(key); clean.isTag {
			l.tags.add(clean.key, key, envelope.ValidUTF8(valueString(value)))
		}
	}
}

// tag is one tag of an envelope. Its key and value are valid UTF-8, so that keys differ on the wire if they differ here, and
// sizes are those on the wire. original is the attribute key that it comes from, which decides between attributes of one
// level whose keys become the same; it is empty for a tag that is not from an attribute.
type tag struct{ key, original, value string }

// tagSet is tags with different keys, in the order in which they came.
type tagSet struct {
	tags  []tag
	index map[string]int // of each key, once there are more tags than a search should look through
}

const searchAtMost = 16

func (s *tagSet) reset() {
	s.tags = s.tags[:0]
	if len(s.index) > 0 {
		clear(s.index)
	}
}

// find is the index of the tag with this key, or -1.
func (s *tagSet) find(key string) int {
	if len(s.tags) > searchAtMost {
		if i, ok := s.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range s.tags {
		if s.tags[i].key == key {
			return i
		}
	}
	return -1
}

func (s *tagSet) has(key string) bool { return s.find(key) >= 0 }

func (s *tagSet) append(t tag) {
	s.tags = append(s.tags, t)
	switch {
	case len(s.tags) <= searchAtMost:
		return
	case s.index == nil:
		s.index = make(map[string]int, 4*searchAtMost)
	}
	if len(s.tags) == searchAtMost+1 {
		for i := range s.tags {
			s.index[s.tags[i].key] = i
		}
		return
	}
	s.index[t.key] = len(s.tags) - 1
}

// add adds the tag of an attribute. Of attributes whose keys become the same, the first in byte order wins.
func (s *tagSet) add(key, original, value string) {
	i := s.find(key)
	switch {
	case i < 0:
		s.append(tag{key: key, original: original, value: value})
	case original < s.tags[i].original:
		s.tags[i] = tag{key: key, original: original, value: value}
	}
}

// set adds a tag of the exporter's own, which wins over an attribute.
func (s *tagSet) set(key, value string) {
	value = envelope.ValidUTF8(value)
	if i := s.find(key); i >= 0 {
		s.tags[i] = tag{key: key, value: value}
		return
	}
	s.append(tag{key: key, value: value})
}

func (s *tagSet) setTraceID(id pcommon.TraceID) {
	if !id.IsEmpty() {
		s.set("trace_id", id.String())
	}
}

func (s *tagSet) setSpanID(key string, id pcommon.SpanID) {
	if !id.IsEmpty() {
		s.set(key, id.String())
	}
}

// setDefault adds a tag unless an attribute says it already.
func (s *tagSet) setDefault(key, value string) {
	if !s.has(key) {
		s.append(tag{key: key, value: envelope.ValidUTF8(value)})
	}
}

// sort puts the tags into the order of their keys, so that the same tags are the same bytes. Nothing can be looked up or
// added after that.
func (s *tagSet) sort() {
	slices.SortFunc(s.tags, func(a, b tag) int { return strings.Compare(a.key, b.key) })
}

// value is that of the tag with this key, or empty.
func (s *tagSet) value(key string) string {
	if i := s.find(key); i >= 0 {
		return s.tags[i].value
	}
	return ""
}

// inherit adds the tags of an outer level that s does not have.
func (s *tagSet) inherit(outer *tagSet) {
	for i := range outer.tags {
		if !s.has(outer.tags[i].key) {
			s.append(outer.tags[i])
		}
	}
}

// size is what the tags take in an envelope, in bytes.
func (s *tagSet) size() int { return s.sizeCut(math.MaxInt) }

// sizeCut is what the tags take with their values cut to length bytes.
func (s *tagSet) sizeCut(length int) int {
	n := 0
	for i := range s.tags {
		n += tagSize(len(s.tags[i].key), min(len(s.tags[i].value), length))
	}
	return n
}

// tagSize is what a tag takes in an envelope, in bytes.
func tagSize(key, value int) int {
	return 1 + protowire.SizeBytes(2+protowire.SizeBytes(key)+protowire.SizeBytes(value))
}

const ellipsis = "…"

// cut cuts the longest values, all to the same length, such that the tags take at most budget bytes. A cut value ends in an
// ellipsis. It reports false, and cuts nothing, when even the shortest values would not do.
func (s *tagSet) cut(budget int) bool {
	// The largest length to which values can be cut, by bisection.
	fits := func(length int) bool { return s.sizeCut(length) <= budget }
	if !fits(len(ellipsis)) {
		return false
	}
	low, high := len(ellipsis), max(budget, len(ellipsis))
	for low < high {
		if middle := (low + high + 1) / 2; fits(middle) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	for i := range s.tags {
		if value := s.tags[i].value; len(value) > low {
			s.tags[i].value = value[:runeStart(value, low-len(ellipsis))] + ellipsis
		}
	}
	return true
}

// runeStart is the largest index up to i at which s can be cut without cutting a character in two.
func runeStart[S string | []byte](s S, i int) int {
	for n := i; n > i-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(s[n]) {
			return n
		}
	}
	return i // Not UTF-8, or the beginning.
}

// keyCleaner makes tag keys of attribute keys. It remembers the keys it has made.
type keyCleaner struct {
	make func(string) string
	made memo[string, cleanKey]
}

// cleanKey is the tag key of an attribute, also as envelope.AppendKeyedTag takes it; isTag is false for an attribute that
// becomes no tag.
type cleanKey struct {
	key     string
	encoded []byte
	isTag   bool
}

func newKeyCleaner(clean func(string) string) keyCleaner {
	return keyCleaner{make: clean, made: memo[string, cleanKey]{}}
}

func (c *keyCleaner) clean(attribute string) cleanKey {
	made, ok := c.made[attribute]
	if ok {
		return made
	}
	remember := len(attribute) <= keyRemembered
	if remember {
		attribute = strings.Clone(attribute) // What is made of it may be a part of it.
	}
	if made.key, made.isTag = renameKey(attribute); made.isTag {
		made.key = c.make(made.key)
		// Normalized to the name of an identity, it would pass for that in a query.
		made.isTag = made.key != sourceIDKey && made.key != instanceIDKey
		made.encoded = envelope.AppendKey(nil, made.key)
	}
	if remember {
		c.made.put(attribute, made)
	}
	return made
}

// cloudFoundryKeys are the names that Cloud Foundry has for attributes of the semantic conventions.
var cloudFoundryKeys = map[string]string{
	"cloudfoundry.app.id":       "app_id",
	"cloudfoundry.app.name":     "app_name",
	"cloudfoundry.space.id":     "space_id",
	"cloudfoundry.space.name":   "space_name",
	"cloudfoundry.org.id":       "organization_id",
	"cloudfoundry.org.name":     "organization_name",
	"cloudfoundry.process.id":   "process_id",
	"cloudfoundry.process.type": "process_type",
}

// The attributes that are identity and never a tag of their own.
const (
	sourceIDKey   = "source_id"
	instanceIDKey = "instance_id"
)

// cloudFoundryPrefix is what the contrib cloudfoundryreceiver puts before tags.
const cloudFoundryPrefix = "org.cloudfoundry."

// renameKey gives a key the name that Cloud Foundry has for it; false for one that is part of the identity and no tag.
func renameKey(key string) (string, bool) {
	switch key {
	case "cloudfoundry.app.instance.id", sourceIDKey, instanceIDKey:
		return "", false
	}
	if name, ok := cloudFoundryKeys[key]; ok {
		return name, true
	}
	if name, ok := strings.CutPrefix(key, cloudFoundryPrefix); ok {
		return name, name != sourceIDKey && name != instanceIDKey
	}
	return key, true
}

// cleanKeyFunc is what makes a tag key of a renamed attribute key.
func cleanKeyFunc(normalizeLabel, syslogSafe bool) func(string) string {
	return func(key string) string {
		if normalizeLabel {
			key = promLabel(key)
		}
		if syslogSafe {
			key = syslogKey(key)
		}
		return envelope.ValidUTF8(key)
	}
}

// labelNamer makes labels as contrib's NormalizeLabel did up to collector v0.163.0, except that letters and digits outside ASCII, which
// PromQL does not take, become underscores too.
var labelNamer = otlptranslator.LabelNamer{
	UnderscoreLabelSanitization: true, //nolint:staticcheck // It is the rule of the labels that exist: _x becomes key_x.
	PreserveMultipleUnderscores: true,
}

// promLabel makes a Prometheus label of a key. A key without a letter or digit has no label: it becomes as many underscores as it
// has characters.
func promLabel(key string) string {
	label, err := labelNamer.Build(key)
	if err != nil {
		return strings.Repeat("_", utf8.RuneCountInString(key))
	}
	return label
}

// The longest SD-NAME of RFC 5424, in bytes, and the part of a longer key that stays readable before its hash.
const (
	maxKey  = 32
	keyHead = 23
)

// syslogKey makes an SD-NAME of RFC 5424: each character that is not printable ASCII, and space, =, ] and ", becomes an
// underscore. A key above 32 bytes becomes its first 23 bytes, an underscore, and the 32-bit FNV-1a hash of all of key in
// 8 hexadecimal digits.
func syslogKey(key string) string {
	safe := strings.Map(func(r rune) rune {
		if !printable(r) || r == '=' || r == ']' || r == '"' {
			return '_'
		}
		return r
	}, key)
	switch {
	case safe == "":
		return "_"
	case len(safe) <= maxKey:
		return safe
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(key))
	return fmt.Sprintf("%s_%08x", safe[:keyHead], hash.Sum32())
}
