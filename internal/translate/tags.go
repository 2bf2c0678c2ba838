// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"cmp"
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
	var same []tag // those of attributes whose keys become that of another one
	for key, value := range attrs.All() {
		clean := keys.clean(key)
		if !clean.isTag {
			continue
		}
		s, truncated := valueString(value)
		if t := (tag{key: clean.key, original: key, value: envelope.ValidUTF8(s), truncated: truncated}); !l.tags.add(&t) {
			same = append(same, t)
		}
	}
	if keys.joins && same != nil {
		l.tags.join(same)
	}
}

// tag is one tag of an envelope. Its key and value are valid UTF-8, so that keys differ on the wire if they differ here, and
// sizes are those on the wire. original is the attribute key that it comes from, which decides between attributes of one
// level whose keys become the same; it is empty for a tag that is not from an attribute. truncated reports whether a part of
// the value was left out.
type tag struct {
	key, original, value string
	truncated            bool
}

// tagSet is tags with different keys, in the order in which they came.
type tagSet struct {
	tags  []tag
	index map[string]int // of each key, once there are more tags than a search should look through
}

const searchAtMost = 16

func (s *tagSet) reset() {
	s.tags = s.tags[:0]
	s.index = emptied(s.index)
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

// add adds the tag of an attribute. When there is one with the same tag key already, that of the attribute key that is first in
// byte order stays, t becomes the other one, and add reports false.
func (s *tagSet) add(t *tag) bool {
	i := s.find(t.key)
	if i < 0 {
		s.append(*t)
		return true
	}
	if t.original < s.tags[i].original {
		s.tags[i], *t = *t, s.tags[i]
	}
	return false
}

// join joins the values of other attributes to those of the tags with the same keys, by ";" and in byte order of the attribute
// keys: the rule of OpenTelemetry's Prometheus compatibility specification. It sorts others.
func (s *tagSet) join(others []tag) {
	slices.SortStableFunc(others, func(a, b tag) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.original, b.original))
	})
	for len(others) > 0 {
		joined := &s.tags[s.find(others[0].key)]
		values, last := []string{joined.value}, joined.original
		n := 0
		for ; n < len(others) && others[n].key == joined.key; n++ {
			if other := &others[n]; other.original != last { // Not the same attribute twice.
				values, last = append(values, other.value), other.original
				joined.truncated = joined.truncated || other.truncated
			}
		}
		joined.value = strings.Join(values, ";")
		others = others[n:]
	}
}

// export renames the tag with this key, if there is one, because the exporter has a tag of its own with the key.
func (s *tagSet) export(key string) {
	i := s.find(key)
	if i < 0 {
		return
	}
	exported := s.tags[i]
	exported.key = exportedPrefix + key
	rest := append(slices.Clone(s.tags[:i]), s.tags[i+1:]...)
	if j := s.find(exported.key); j >= 0 {
		exported.value = s.tags[j].value + ";" + exported.value
		exported.truncated = exported.truncated || s.tags[j].truncated
		rest = slices.DeleteFunc(rest, func(t tag) bool { return t.key == exported.key })
	}
	s.reset()
	for _, t := range append(rest, exported) {
		s.append(t)
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
func (s *tagSet) size() int { return s.truncatedSize(math.MaxInt) }

// truncatedSize is what the tags take with their values truncated to length bytes.
func (s *tagSet) truncatedSize(length int) int {
	n := 0
	for i := range s.tags {
		n += tagSize(len(s.tags[i].key), min(len(s.tags[i].value), length))
	}
	return n
}

// fits reports whether the tags, with their values truncated to length bytes, take at most budget bytes. With escape they have to
// leave room for what syslog escapes in the values. It counts that in no more than budget bytes.
func (s *tagSet) fits(length, budget int, escape bool) bool {
	n := s.truncatedSize(length)
	if !escape || n > budget || 2*n <= budget { // There is at most one escape for each byte.
		return n <= budget
	}
	for i := range s.tags {
		n += envelope.SyslogEscapes(s.tags[i].truncatedValue(length))
	}
	return n <= budget
}

// truncatedValue is the value shortened to at most length bytes, which have room for the ellipsis in which it ends then. A source
// type has none: it becomes part of a PROCID, which is ASCII.
func (t *tag) truncatedValue(length int) string {
	switch {
	case len(t.value) <= length:
		return t.value
	case t.key == sourceTypeTag:
		return t.value[:runeStart(t.value, length)]
	default:
		return t.value[:runeStart(t.value, length-len(ellipsis))] + ellipsis
	}
}

// tagSize is what a tag takes in an envelope, in bytes.
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
	// The largest length that fits, by bisection.
	low, high := len(ellipsis), max(budget, len(ellipsis))
	for low < high {
		if middle := (low + high + 1) / 2; s.fits(middle, budget, escape) {
			low = middle
		} else {
			high = middle - 1
		}
	}
	for i := range s.tags {
		s.tags[i].value = s.tags[i].truncatedValue(low)
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
	// joins reports whether attributes of one level whose keys become the same are joined; else the first one wins.
	joins bool
}

// cleanKey is the tag key of an attribute, also as envelope.AppendKeyedTag takes it; isTag is false for an attribute that
// becomes no tag.
type cleanKey struct {
	key     string
	encoded []byte
	isTag   bool
}

func newKeyCleaner(prometheusLabels, syslogSafe bool) keyCleaner {
	return keyCleaner{make: cleanKeyFunc(prometheusLabels, syslogSafe), made: memo[string, cleanKey]{}, joins: prometheusLabels}
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
		if made.key == sourceIDKey || made.key == instanceIDKey {
			made.key = exportedPrefix + made.key
		}
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

// exportedPrefix is what Prometheus puts before a label that a target has too. A key that becomes the name of an identity, or of
// another tag of the exporter's own, would pass for that in a query.
const exportedPrefix = "exported_"

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
	return safe[:keyHead] + "_" + hash32(key)
}

// hash32 is the 32-bit FNV-1a hash of s in 8 hexadecimal digits.
func hash32(s string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s))
	return fmt.Sprintf("%08x", hash.Sum32())
}
