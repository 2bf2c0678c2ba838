// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	_ "embed" // settings.yaml
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.yaml.in/yaml/v3"

	"github.com/loggregatorexporter/loggregatorexporter"
	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector"
)

// setting is a row of the table.
type setting struct {
	Key  string // with dots between the levels
	Doc  string
	Enum []string
	// Min and Max bound a number, unless both are 0.
	Min, Max float64
	def      any // nil: none
}

const (
	// module is the prefix of the paths of packages with our own settings.
	module = "github.com/loggregatorexporter/loggregatorexporter"
	// queueFile defines the settings that both components share.
	queueFile = "internal/queue/queue.go"
)

//go:embed settings.yaml
var known []byte

// A component is the exporter or the connector.
type component struct {
	name    string
	folder  string // of config.go
	page    string // of the table of settings; empty: no table
	factory interface{ CreateDefaultConfig() collector.Config }
	// key returns the component's key for a key of settings.yaml; "" if it has no such setting.
	key func(string) string
}

var (
	exporter  = component{"exporter/loggregator", ".", "docs/operations.md", loggregatorexporter.NewFactory(), func(key string) string { return key }}
	connector = component{"connector/diode", "diodeconnector", "", diodeconnector.NewFactory(), func(key string) string {
		if own, ok := strings.CutPrefix(key, "diode."); ok || strings.HasPrefix(key, "retry_on_failure.") {
			return own
		}
		return ""
	}}
)

// settings returns all rows.
func (c component) settings(root string) ([]setting, error) {
	docs, err := comments(filepath.Join(root, c.folder, "config.go"), filepath.Join(root, queueFile))
	if err != nil {
		return nil, err
	}
	var written []setting
	config, defaults := c.factory.CreateDefaultConfig(), confmap.New()
	if err := errors.Join(yaml.Unmarshal(known, &written), defaults.Marshal(config)); err != nil {
		return nil, err
	}
	types := map[string]reflect.Type{}
	var own []setting
	isOwn := func(t reflect.Type) bool { return strings.HasPrefix(t.PkgPath(), module) }
	walk(reflect.TypeOf(config).Elem(), "", func(key string, f field) {
		types[key] = f.Type
		if !isOwn(f.owner) || f.Type.Kind() == reflect.Struct || !isOwn(f.Type) && f.Type.PkgPath() != "" {
			return
		}
		doc, ok := strings.CutPrefix(docs[f.owner.Name()+"."+f.Name], f.Name+" ")
		if !ok {
			err = fmt.Errorf("%s.%s: the comment must begin with %q", f.owner.Name(), f.Name, f.Name)
		}
		doc = strings.TrimPrefix(doc, "is ") // "Capacity is how many …"
		own = append(own, setting{Key: key, Doc: strings.TrimSuffix(doc, ".")})
	})
	var foreign []setting
	for _, s := range written {
		if s.Key = c.key(s.Key); s.Key == "" {
			continue
		}
		i := slices.IndexFunc(own, func(o setting) bool { return o.Key == s.Key })
		switch {
		case types[s.Key] == nil:
			return nil, fmt.Errorf("%s: no such setting", s.Key)
		case i < 0:
			foreign = append(foreign, s)
		default:
			own[i].Enum, own[i].Min, own[i].Max = s.Enum, s.Min, s.Max
		}
	}
	all := slices.Concat(foreign, own)
	for i, s := range all {
		value := defaults.Get(strings.ReplaceAll(s.Key, ".", confmap.KeyDelimiter))
		if t := types[s.Key]; value == nil && t.Kind() != reflect.String { // Marshal omits empty values.
			value = reflect.Zero(t).Interface()
		}
		all[i].def = plain(value)
	}
	return all, err
}

// comments returns the comments of struct fields in the files, each on one line, by struct and field.
func comments(files ...string) (map[string]string, error) {
	docs := map[string]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range of.Fields.List {
					for _, name := range field.Names {
						docs[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return docs, nil
}

// walk calls visit with the key of each field in a struct, recursively, in field order.
func walk(of reflect.Type, prefix string, visit func(key string, f field)) {
	for _, f := range fields(of) {
		visit(prefix+f.key, f)
		t := f.Type
		if in, ok := optional(t); ok {
			t = in
		}
		if t.Kind() == reflect.Struct {
			walk(t, prefix+f.key+".", visit)
		}
	}
}

// field is a struct field that is a setting or contains settings.
type field struct {
	reflect.StructField
	key   string
	owner reflect.Type
}

// fields returns the fields of a struct, including those of squashed structs.
func fields(of reflect.Type) (all []field) {
	for f := range of.Fields() {
		key, options, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
		switch {
		case slices.Contains(strings.Split(options, ","), "squash"):
			all = append(all, fields(f.Type)...)
		case f.IsExported() && key != "-":
			all = append(all, field{f, cmp.Or(key, strings.ToLower(f.Name)), of})
		}
	}
	return all
}

// optional returns the type within a configoptional.Optional, and reports whether t is one.
func optional(t reflect.Type) (reflect.Type, bool) {
	if !strings.HasPrefix(t.Name(), "Optional[") {
		return nil, false
	}
	get, ok := reflect.PointerTo(t).MethodByName("Get")
	if !ok {
		return nil, false
	}
	return get.Type.Out(0).Elem(), true
}

// plain returns a value as written in YAML; nil for an empty string.
func plain(value any) any {
	if value == "" {
		return nil
	}
	if d, ok := value.(time.Duration); ok {
		return strings.NewReplacer("h0m0s", "h", "m0s", "m").Replace(d.String())
	}
	return value
}

// shownDefault returns the default in Markdown.
func (s setting) shownDefault() string {
	switch s.def.(type) {
	case []any: // Too wide for a table.
		return "[a list](mapping.md#identity)"
	case nil:
		return "none"
	}
	return fmt.Sprintf("`%v`", s.def)
}

// meaning returns the description of a setting, with its bounds.
func (s setting) meaning() string {
	if s.Max == 0 || s.Max >= math.MaxInt32 {
		return s.Doc
	}
	return fmt.Sprintf("%s; %.0f to %.0f", s.Doc, s.Min, s.Max)
}
