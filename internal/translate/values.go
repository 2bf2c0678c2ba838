// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"bytes"
	"encoding/json"
	"math"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// valueString is v as a string: pdata's AsString, which turns maps and slices into JSON.
func valueString(v pcommon.Value) string {
	s := v.AsString()
	if s == "" {
		// AsString gives up on a map or slice with a number in it that JSON does not have.
		switch v.Type() {
		case pcommon.ValueTypeMap:
			return jsonString(v.Map().AsRaw())
		case pcommon.ValueTypeSlice:
			return jsonString(v.Slice().AsRaw())
		}
	}
	return s
}

// jsonString is the JSON of what pdata's AsRaw returns. NaN and infinities become the strings that AsString has for them.
func jsonString(raw any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(raw); err != nil {
		b.Reset()
		if err = enc.Encode(finite(raw)); err != nil {
			return "" // Nothing that AsRaw returns comes to this.
		}
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func finite(raw any) any {
	switch raw := raw.(type) {
	case map[string]any:
		for k, v := range raw {
			raw[k] = finite(v)
		}
	case []any:
		for i, v := range raw {
			raw[i] = finite(v)
		}
	case float64:
		if math.IsNaN(raw) || math.IsInf(raw, 0) {
			return pcommon.NewValueDouble(raw).AsString()
		}
	}
	return raw
}
