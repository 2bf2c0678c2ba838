// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// ownName identifies the key of a tag that the exporter sets itself.
type ownName uint8

const (
	severityName ownName = iota
	sourceTypeName
	processTypeName // the source type is derived from it
	eventNameName
	partName
	traceIDName
	spanIDName
	parentSpanIDName
	spanKindName
	peerTypeName
	statusCodeName
	statusMessageName
	clockSkewName
)

var ownNames = [...]string{
	"severity", sourceTypeTag, "process_type", "event_name", "part", "trace_id", "span_id", "parent_span_id", "span_kind", "peer_type",
	"status_code", "status_message", "clock_skew",
}

// encodedNames and namesByKey are derived from ownNames.
var encodedNames, namesByKey = func() (encoded [len(ownNames)][]byte, byKey map[string]ownKeys) {
	byKey = map[string]ownKeys{}
	for i, name := range ownNames {
		encoded[i], byKey[name] = envelope.AppendKey(nil, name), ownName(i).set()
	}
	return encoded, byKey
}()

// ownKeys is a set of ownNames.
type ownKeys uint16

func (n ownName) set() ownKeys { return 1 << n }

// keySet is a set of tag keys in insertion order.
type keySet struct {
	keys  []string
	index map[string]int // of each key, once there are more than searchAtMost
}

const searchAtMost = 16

func (s *keySet) reset() {
	s.keys = s.keys[:0]
	s.index = resetMap(s.index)
}

// find returns the index of a key, or -1.
func (s *keySet) find(key string) int {
	if len(s.keys) <= searchAtMost {
		return slices.Index(s.keys, key)
	}
	if i, ok := s.index[key]; ok {
		return i
	}
	return -1
}

func (s *keySet) append(key string) {
	s.keys = append(s.keys, key)
	if len(s.keys) <= searchAtMost {
		return
	}
	if s.index == nil {
		s.index = make(map[string]int, 4*searchAtMost)
	}
	for i := len(s.index); i < len(s.keys); i++ { // The first time, all keys.
		s.index[s.keys[i]] = i
	}
}

// tag is one tag of an envelope. Its key and value are valid UTF-8, so that different keys also differ on the wire, and lengths are those
// on the wire.
type tag struct {
	*cleanKey
	value     string
	truncated bool // reports whether the value was truncated
}

// tagSet is a set of tags with distinct keys, in insertion order.
type tagSet struct {
	keySet
	tags []tag
}

func (s *tagSet) reset() {
	s.keySet.reset()
	s.tags = s.tags[:0]
}

// forget empties s, so that it holds no string of the data.
func (s *tagSet) forget() {
	s.tags, s.keys, s.index = resetSlice(s.tags), resetSlice(s.keys), resetMap(s.index)
}

func (s *tagSet) has(key string) bool { return s.find(key) >= 0 }

func (s *tagSet) append(t tag) {
	s.keySet.append(t.key)
	s.tags = append(s.tags, t)
}

// set adds a tag of the exporter's own, which replaces that of an attribute.
func (s *tagSet) set(key *cleanKey, value string) {
	own := tag{cleanKey: key, value: envelope.ValidUTF8(value)}
	if i := s.find(key.key); i >= 0 {
		s.tags[i] = own
		return
	}
	s.append(own)
}

// inherit adds the tags of an outer attribute scope whose keys s lacks.
func (s *tagSet) inherit(outer *tagSet) {
	for i := range outer.tags {
		if !s.has(outer.tags[i].key) {
			s.append(outer.tags[i])
		}
	}
}

// resetSlice returns s without its elements. A slice that has grown large is dropped; see resetMap.
func resetSlice[T any](s []T) []T {
	if cap(s) > cachedKeys {
		return nil
	}
	clear(s[:cap(s)])
	return s[:0]
}

// attributeTags sets tags to those of a resource or an instrumentation scope.
func (t *translator) attributeTags(tags *tagSet, attrs pcommon.Map) {
	tags.reset()
	if attrs.Len() == 0 {
		return
	}
	t.values = t.values[:0]
	for _, value := range attrs.All() {
		t.values = append(t.values, value)
	}
	p := t.plan(attrs, nil)
	for i := range p.tags {
		from := &p.tags[i]
		var value string
		var truncated bool
		if from.joined == nil {
			value, truncated = valueString(t.values[from.attribute])
		} else {
			value, truncated = joinedString(t.values, from.joined)
		}
		tags.append(tag{from.cleanKey, envelope.ValidUTF8(value), truncated})
	}
}

// joinedString joins the values of the given attributes with ";".
func joinedString(values []pcommon.Value, attributes []int) (s string, truncated bool) {
	var texts []string
	for _, i := range attributes {
		text, deep := valueString(values[i])
		texts, truncated = append(texts, text), truncated || deep
	}
	return strings.Join(texts, ";"), truncated
}

// keyCleaner derives tag keys from attribute keys, and caches them.
type keyCleaner struct {
	made cache[string, *cleanKey]
	// labels turns keys into Prometheus labels. It also joins the values of attributes with the same tag key; otherwise the first wins.
	labels     bool
	syslogSafe bool
}

// cleanKey is the tag key that an attribute becomes.
type cleanKey struct {
	attribute string
	key       string
	encoded   []byte  // for envelope.AppendTag
	own       ownKeys // not 0 for one of the exporter's own keys
	isTag     bool    // reports whether the attribute becomes a tag
}

func newTagKey(key string) *cleanKey {
	return &cleanKey{key: key, encoded: envelope.AppendKey(nil, key), own: namesByKey[key], isTag: true}
}

func (c *keyCleaner) clean(attribute string) *cleanKey {
	if made, ok := c.made[attribute]; ok {
		return made
	}
	cached := len(attribute) <= cachedKeyBytes
	if cached {
		attribute = strings.Clone(attribute) // The tag key may be a substring of it.
	}
	made := &cleanKey{}
	if key, isTag := renameKey(attribute); isTag {
		if c.labels {
			key = promLabel(key)
		}
		if c.syslogSafe {
			key = syslogKey(key)
		}
		made = newTagKey(envelope.ValidUTF8(key))
		if made.key == sourceIDKey || made.key == instanceIDKey {
			made = newTagKey(exportedPrefix + made.key)
		}
	}
	made.attribute = attribute
	if cached {
		c.made.put(attribute, made)
	}
	return made
}

// cloudFoundryKeys are Cloud Foundry's names for attributes of the semantic conventions.
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

// The attributes that belong to the identity and never become tags.
const (
	sourceIDKey   = "source_id"
	instanceIDKey = "instance_id"
)

// exportedPrefix is the prefix that Prometheus adds to a label that conflicts with one of the target. Without it, a key that becomes the
// name of an identity, or of one of the exporter's own tags, would be mistaken for that in a query.
const exportedPrefix = "exported_"

// cloudFoundryPrefix is the prefix that contrib's cloudfoundryreceiver adds to tags.
const cloudFoundryPrefix = "org.cloudfoundry."

// renameKey returns the name of a key in Cloud Foundry. It reports false for a key that belongs to the identity and becomes no tag.
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

// labelNamer builds labels as contrib's NormalizeLabel did up to collector v0.163.0, except that letters and digits outside ASCII, which
// PromQL does not accept, also become underscores.
var labelNamer = otlptranslator.LabelNamer{
	UnderscoreLabelSanitization: true, //nolint:staticcheck // Existing labels follow this rule: _x becomes key_x.
	PreserveMultipleUnderscores: true,
}

// promLabel turns a key into a Prometheus label. A key without a letter or digit makes no label, so each of its characters becomes
// an underscore.
func promLabel(key string) string {
	label, err := labelNamer.Build(key)
	if err != nil {
		return strings.Repeat("_", utf8.RuneCountInString(key))
	}
	return label
}

// keyHead is the length, in bytes, of the readable part before the hash in a key longer than [envelope.MaxTagKey].
const keyHead = envelope.MaxTagKey - len("_") - 8

// syslogKey turns a key into an SD-NAME of RFC 5424: each character that is not printable ASCII, and space, =, ] and ", becomes an
// underscore. A key longer than 32 bytes becomes its first 23 bytes, an underscore, and the 32-bit FNV-1a hash of the whole key before this
// change in 8 hexadecimal digits.
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
	case len(safe) <= envelope.MaxTagKey:
		return safe
	}
	return safe[:keyHead] + "_" + hash32(key)
}

// hash32 returns the 32-bit FNV-1a hash of s in 8 hexadecimal digits.
func hash32(s string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s))
	return fmt.Sprintf("%08x", hash.Sum32())
}
