// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Identity configures a source ID or an instance ID: Value if it is not empty; else the first of Attributes that is set and not empty on
// the record, the scope or the resource; else Default.
type Identity struct {
	Value      string
	Attributes []string
	Default    string
}

// identity is the source ID and instance ID of an item.
type identity struct{ source, instance string }

// append appends the encoded identity to b.
func (id identity) append(b []byte) []byte {
	return envelope.AppendInstanceID(envelope.AppendSourceID(b, id.source), id.instance)
}

// identities finds the identity of items. It looks up the attributes of scope and resource once per scope.
type identities struct{ source, instance idFinder }

// idFinder finds the source ID or the instance ID.
type idFinder struct {
	Identity
	limit    int  // in bytes
	inProcID bool // the ID becomes part of a PROCID of syslog
	// inherited is the ID of items that have none of Attributes up to index rank.
	inherited string
	rank      int
}

func newIdentities(opts Options) identities {
	ids := identities{
		source:   idFinder{Identity: opts.SourceID, limit: envelope.MaxSourceID},
		instance: idFinder{Identity: opts.InstanceID, limit: envelope.MaxInstanceID, inProcID: opts.SyslogSafe},
	}
	for _, i := range []*idFinder{&ids.source, &ids.instance} {
		i.Value, i.Default = i.clean(i.Value), i.clean(i.Default)
	}
	return ids
}

func (i *identities) beginScope(scope, resource pcommon.Map) {
	i.source.beginScope(scope, resource)
	i.instance.beginScope(scope, resource)
}

func (i *identities) find(record pcommon.Map) identity {
	return identity{source: i.source.find(record), instance: i.instance.find(record)}
}

// inherited returns the identity of items without an ID in their own attributes.
func (i *identities) inherited() identity { return identity{i.source.inherited, i.instance.inherited} }

func (i *idFinder) beginScope(scopes ...pcommon.Map) {
	i.rank, i.inherited = -1, i.Value
	if i.Value != "" {
		return
	}
	for i.rank = range i.Attributes {
		for _, attrs := range scopes {
			if i.inherited = i.lookUp(attrs, i.Attributes[i.rank]); i.inherited != "" {
				return
			}
		}
	}
	i.rank, i.inherited = len(i.Attributes), i.Default
}

// firstOf returns the lowest index in Attributes of a key in attrs, or math.MaxInt if there is none.
func (i *idFinder) firstOf(attrs pcommon.Map) int {
	for rank, key := range i.Attributes {
		if _, ok := attrs.Get(key); ok {
			return rank
		}
	}
	return math.MaxInt
}

// find returns the ID of a record. The record's own attribute takes precedence over an inherited one of the same or a later rank.
func (i *idFinder) find(record pcommon.Map) string {
	for rank, key := range i.Attributes {
		if rank > i.rank {
			break
		}
		if id := i.lookUp(record, key); id != "" {
			return id
		}
	}
	return i.inherited
}

func (i *idFinder) lookUp(attrs pcommon.Map, key string) string {
	v, ok := attrs.Get(key)
	if !ok {
		return ""
	}
	id, _ := valueString(v)
	return i.clean(id)
}

// clean makes an ID valid for syslog.
func (i *idFinder) clean(id string) string {
	id = cleanID(id, i.limit)
	if i.inProcID {
		id = cleanInstanceID(id)
	}
	return id
}

// cleanID replaces each character that is not printable ASCII, and each space, with an underscore, and truncates the result to limit bytes.
// A lone dash also becomes an underscore: in RFC 5424 it is the nil value.
func cleanID(id string, limit int) string {
	for i := range len(id) {
		if !printable(rune(id[i])) {
			id = strings.Map(func(r rune) rune {
				if printable(r) {
					return r
				}
				return '_'
			}, id)
			break
		}
	}
	if id == "-" {
		return "_"
	}
	return id[:min(len(id), limit)]
}

// cleanInstanceID replaces slashes, and brackets at the ends, with underscores. Log Cache trims the brackets of a PROCID, and keeps only
// the part after its last slash.
func cleanInstanceID(id string) string {
	if strings.Trim(id, "[]") == id && !strings.Contains(id, "/") {
		return id
	}
	id = strings.ReplaceAll(id, "/", "_")
	inner := strings.TrimLeft(id, "[]")
	begin := len(id) - len(inner)
	inner = strings.TrimRight(inner, "[]")
	return strings.Repeat("_", begin) + inner + strings.Repeat("_", len(id)-begin-len(inner))
}

// printable reports whether r is PRINTUSASCII in RFC 5424: visible ASCII, not a space.
func printable(r rune) bool { return '!' <= r && r <= '~' }
