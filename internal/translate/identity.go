// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// The lengths in bytes that get through syslog: APP-NAME of RFC 5424 is 48 at most; an instance ID is an index or a GUID.
const (
	maxSourceID   = 48
	maxInstanceID = 36
)

// Identity says where a source ID or an instance ID comes from: Value if it is not empty; else the first of Attributes that
// is set and not empty on the record, the scope or the resource; else Default.
type Identity struct {
	Value      string
	Attributes []string
	Default    string
	limit      int
}

// clean is i with Value and Default made fit for syslog once and for all.
func (i Identity) clean(limit int) Identity {
	i.limit = limit
	i.Value = cleanID(i.Value, limit)
	i.Default = cleanID(i.Default, limit)
	return i
}

// identity is the source ID and instance ID of an item.
type identity struct{ source, instance string }

// identities finds the identity of items. What the scope and the resource say is looked up once for all items of the scope.
type identities struct {
	source, instance         Identity
	baseSource, baseInstance inherited
}

// inherited is an ID that an item has from its scope or resource: the rank of the attribute in the list and its value.
type inherited struct {
	rank  int
	value string
}

func (i *identities) beginScope(scope, resource *level) {
	i.baseSource = i.source.inherit(scope, resource)
	i.baseInstance = i.instance.inherit(scope, resource)
}

func (i *identities) find(record *level) identity {
	return identity{
		source:   i.source.find(record, i.baseSource),
		instance: i.instance.find(record, i.baseInstance),
	}
}

// depends says whether one of these attributes can be an ID of the item, if it is not empty.
func (i *identities) depends(attrs pcommon.Map) bool {
	return i.source.depends(attrs, i.baseSource) || i.instance.depends(attrs, i.baseInstance)
}

func (i *Identity) depends(attrs pcommon.Map, base inherited) bool {
	for rank, key := range i.Attributes {
		if _, ok := attrs.Get(key); ok && rank <= base.rank {
			return true
		}
	}
	return false
}

func (i *Identity) inherit(levels ...*level) inherited {
	if i.Value != "" {
		return inherited{rank: -1, value: i.Value}
	}
	for rank, key := range i.Attributes {
		for _, l := range levels {
			if id := i.lookUp(l.attrs, key); id != "" {
				return inherited{rank: rank, value: id}
			}
		}
	}
	return inherited{rank: len(i.Attributes), value: i.Default}
}

// find gives a record's own attribute precedence over an inherited one of the same or a later rank.
func (i *Identity) find(record *level, base inherited) string {
	for rank, key := range i.Attributes {
		if rank > base.rank {
			break
		}
		if id := i.lookUp(record.attrs, key); id != "" {
			return id
		}
	}
	return base.value
}

func (i *Identity) lookUp(attrs pcommon.Map, key string) string {
	v, ok := attrs.Get(key)
	if !ok {
		return ""
	}
	return cleanID(valueString(v), i.limit)
}

// cleanID replaces each character that is not printable ASCII, a space included, by an underscore and cuts the result to
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

// printable says whether r is PRINTUSASCII of RFC 5424: visible ASCII, no space.
func printable(r rune) bool { return '!' <= r && r <= '~' }
