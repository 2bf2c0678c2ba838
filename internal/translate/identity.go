// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"math"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Identity is the source of a source ID or an instance ID: Value if it is not empty; else the first of Attributes that is set and
// not empty on the record, the scope or the resource; else Default.
type Identity struct {
	Value      string
	Attributes []string
	Default    string
}

// identity is the source ID and instance ID of an item.
type identity struct{ source, instance string }

// append encodes the identity.
func (id identity) append(b []byte) []byte {
	return envelope.AppendInstanceID(envelope.AppendSourceID(b, id.source), id.instance)
}

// identities finds the identity of items. It looks up what scope and resource say once for all items of the scope.
type identities struct{ source, instance idFinder }

// idFinder finds one of the IDs.
type idFinder struct {
	Identity
	limit    int  // in bytes
	inProcID bool // it has to get through a PROCID of syslog
	// The ID of items without an attribute up to this rank in the list.
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

// inherited returns the identity of items whose attributes have none.
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

// firstOf returns the rank of the first of these attributes that can be the ID of an item.
func (i *idFinder) firstOf(attrs pcommon.Map) int {
	for rank, key := range i.Attributes {
		if _, ok := attrs.Get(key); ok {
			return rank
		}
	}
	return math.MaxInt
}

// find gives a record's own attribute precedence over an inherited one of the same or a later rank.
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

// clean makes an ID fit for syslog.
func (i *idFinder) clean(id string) string {
	id = cleanID(id, i.limit)
	if i.inProcID {
		id = cleanInstanceID(id)
	}
	return id
}

// cleanID replaces each character that is not printable ASCII, a space included, by an underscore and truncates the result to
// limit bytes. A dash alone becomes an underscore too: in RFC 5424 it says that there is nothing.
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

// cleanInstanceID replaces slashes, and brackets at the ends, by underscores. Log Cache trims the brackets of a PROCID, and takes
// what follows its last slash.
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

// printable reports whether r is PRINTUSASCII of RFC 5424: visible ASCII, no space.
func printable(r rune) bool { return '!' <= r && r <= '~' }
