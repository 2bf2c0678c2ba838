// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"path"
	"reflect"
	"runtime/debug"
	"strings"
	"time"

	collector "go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configopaque"
)

// object is a JSON object.
type object = map[string]any

// reference matches a reference to a value from elsewhere, which the collector allows in place of any value.
const reference = `\$\{.+\}`

// duration matches the input of time.ParseDuration, and references.
const duration = `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$|` + reference

// schema returns the JSON schema of the component's configuration, with all keys of the packages whose settings it includes.
func (c component) schema(all []setting) object {
	known := map[string]setting{}
	for _, s := range all {
		known[s.Key] = s
	}
	root := schemaOf(reflect.TypeOf(c.factory.CreateDefaultConfig()).Elem(), "", known)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "https://raw.githubusercontent.com/loggregatorexporter/loggregatorexporter/main/" + c.schemaFile()
	root["$comment"] = "The settings of collector " + collectorVersion() + "."
	root["title"] = c.name
	return root
}

func (c component) schemaFile() string { return path.Join(c.folder, "config.schema.json") }

// collectorVersion returns the version of the collector that this program is built with, which determines the available keys.
func collectorVersion() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "go.opentelemetry.io/collector/exporter/exporterhelper" {
			return module.Version
		}
	}
	return "unknown"
}

// schemaOf returns the schema of a key and its type.
func schemaOf(t reflect.Type, key string, known map[string]setting) object {
	s := typeOf(t, key, known)
	row, ok := known[key]
	if !ok {
		return s
	}
	s["description"] = row.Doc
	if row.def != nil {
		s["default"] = row.def
	}
	if row.Max > 0 { // Only numbers have a maximum.
		number := s["anyOf"].([]object)[0]
		number["minimum"], number["maximum"] = row.Min, row.Max
	}
	if len(row.Enum) > 0 {
		maps.Copy(s, or(object{"enum": row.Enum}))
		delete(s, "type")
	}
	return s
}

// or returns a schema that allows a reference in place of a value. Free text allows one anyway.
func or(value object) object {
	return object{"anyOf": []object{value, {"type": "string", "pattern": reference}}}
}

func typeOf(t reflect.Type, key string, known map[string]setting) object {
	if of, ok := optional(t); ok {
		s := typeOf(of, key, known)
		s["type"] = []string{"object", "null"}
		return s
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return object{"anyOf": []object{{"type": "string", "pattern": duration}, {"const": 0}}}
	case reflect.TypeFor[collector.ID]():
		return object{"type": "string"}
	case reflect.TypeFor[configopaque.MapList]():
		// Either a map or a list of names and values.
		return object{"type": []string{"object", "array"}}
	}
	switch t.Kind() {
	case reflect.Bool:
		return or(object{"type": "boolean"})
	case reflect.String:
		return object{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return or(object{"type": "number"})
	case reflect.Slice:
		return object{"type": "array", "items": typeOf(t.Elem(), key, known)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": typeOf(t.Elem(), key, known)}
	case reflect.Pointer:
		return typeOf(t.Elem(), key, known)
	case reflect.Struct:
		properties := object{}
		for _, f := range fields(t) {
			properties[f.key] = schemaOf(f.Type, strings.TrimPrefix(key+"."+f.key, "."), known)
		}
		return object{"type": "object", "properties": properties, "additionalProperties": false}
	default:
		if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
			return or(object{"type": "integer"})
		}
		return object{}
	}
}
