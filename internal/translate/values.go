// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/json"
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// maxDepth is how deep maps and lists may be nested. A deeper one becomes an ellipsis, so that no value exhausts the stack.
const maxDepth = 64

// valueString returns v as a string, as [pcommon.Value.AsString] does: maps and lists as JSON. It reports whether it
// truncated a value deeper than maxDepth.
func valueString(v pcommon.Value) (s string, truncated bool) {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		return mapString(v.Map())
	case pcommon.ValueTypeSlice:
		raw, truncated := rawSlice(v.Slice(), 1)
		return jsonString(raw), truncated
	default:
		return v.AsString(), false
	}
}

// mapString is valueString of a map.
func mapString(m pcommon.Map) (s string, truncated bool) {
	raw, truncated := rawMap(m, 1)
	return jsonString(raw), truncated
}

// jsonString returns the JSON of what rawMap and rawSlice return, which is always valid.
func jsonString(raw any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(raw)
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// rawMap, rawSlice and rawValue return what pdata's AsRaw does, down to maxDepth. NaN and infinities, which JSON lacks, become
// the strings that AsString has for them. depth is that of the map or slice.

func rawMap(m pcommon.Map, depth int) (raw map[string]any, truncated bool) {
	raw = make(map[string]any, m.Len())
	for key, value := range m.All() {
		element, deep := rawValue(value, depth)
		raw[key] = element
		truncated = truncated || deep
	}
	return raw, truncated
}

func rawSlice(s pcommon.Slice, depth int) (raw []any, truncated bool) {
	raw = make([]any, 0, s.Len())
	for _, value := range s.All() {
		element, deep := rawValue(value, depth)
		raw = append(raw, element)
		truncated = truncated || deep
	}
	return raw, truncated
}

// rawValue returns the value of an element of a map or slice of the given depth.
func rawValue(v pcommon.Value, depth int) (raw any, truncated bool) {
	switch v.Type() {
	case pcommon.ValueTypeMap:
		if depth == maxDepth {
			return ellipsis, true
		}
		return rawMap(v.Map(), depth+1)
	case pcommon.ValueTypeSlice:
		if depth == maxDepth {
			return ellipsis, true
		}
		return rawSlice(v.Slice(), depth+1)
	case pcommon.ValueTypeDouble:
		if d := v.Double(); math.IsNaN(d) || math.IsInf(d, 0) {
			return v.AsString(), false
		}
	}
	return v.AsRaw(), false
}
