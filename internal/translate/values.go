// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/json"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// maxDepth is the maximum depth of nested maps and lists. A deeper one becomes an ellipsis, so that no value exhausts the stack.
const maxDepth = 64

// valueString returns v as a string, as [pcommon.Value.AsString] does: maps and lists as JSON. It reports whether it truncated a value
// nested deeper than maxDepth.
func valueString(v pcommon.Value) (s string, truncated bool) {
	switch v.Type() {
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		raw, truncated := rawValue(v, 0)
		return jsonString(raw), truncated
	default:
		return v.AsString(), false
	}
}

// mapString is like valueString, for a map.
func mapString(m pcommon.Map) (s string, truncated bool) {
	raw, truncated := rawMap(m, 1)
	return jsonString(raw), truncated
}

// jsonString encodes a result of rawMap or rawValue as JSON, which never fails.
func jsonString(raw any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(raw)
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// rawMap and rawValue are like pdata's AsRaw, down to maxDepth. NaN and infinities, which JSON lacks, become the strings that AsString
// returns for them. For rawMap, depth is that of the map; for rawValue, that of its container.

func rawMap(m pcommon.Map, depth int) (raw map[string]any, truncated bool) {
	raw = make(map[string]any, m.Len())
	for key, value := range m.All() {
		element, deep := rawValue(value, depth)
		raw[key] = element
		truncated = truncated || deep
	}
	return raw, truncated
}

func rawValue(v pcommon.Value, depth int) (raw any, truncated bool) {
	switch v.Type() {
	case pcommon.ValueTypeMap, pcommon.ValueTypeSlice:
		if depth == maxDepth {
			return ellipsis, true
		}
		if v.Type() == pcommon.ValueTypeMap {
			return rawMap(v.Map(), depth+1)
		}
		elements := make([]any, 0, v.Slice().Len())
		for _, value := range v.Slice().All() {
			element, deep := rawValue(value, depth+1)
			elements = append(elements, element)
			truncated = truncated || deep
		}
		return elements, truncated
	case pcommon.ValueTypeDouble:
		if !isFinite(v.Double()) {
			return v.AsString(), false
		}
	}
	return v.AsRaw(), false
}
