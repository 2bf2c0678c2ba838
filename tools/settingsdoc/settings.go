// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	_ "embed" // settings.yaml
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
	"go.yaml.in/yaml/v3"

	"github.com/loggregatorexporter/loggregatorexporter"
	"github.com/loggregatorexporter/loggregatorexporter/diodeconnector"
)

// setting is a row of the table.
type setting struct {
	Key  string // with dots between the levels
	Doc  string
	Enum []string
	// Min and Max bound a number, if not both are 0.
	Min, Max float64
	def      reflect.Value
}

//go:embed settings.yaml
var known []byte

// A component is what has settings.
type component struct {
	name    string
	folder  string // of config.go
	page    string // of the table of settings; empty: it has none
	factory interface{ CreateDefaultConfig() collector.Config }
	// key returns the component's key for one of settings.yaml, or empty.
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

// defaults returns the default configuration, a struct.
func (c component) defaults() reflect.Value {
	return reflect.ValueOf(c.factory.CreateDefaultConfig()).Elem()
}

// settings returns all rows.
func (c component) settings(root string) ([]setting, error) {
	docs, err := comments(filepath.Join(root, c.folder, "config.go"))
	if err != nil {
		return nil, err
	}
	var written []setting
	if err := yaml.Unmarshal(known, &written); err != nil {
		return nil, err
	}
	defaults := map[string]reflect.Value{}
	var own []setting
	config := c.defaults()
	isOwn := func(t reflect.Type) bool { return t.PkgPath() == config.Type().PkgPath() }
	walk(config, "", func(key string, owner reflect.Type, field reflect.StructField, value reflect.Value) {
		defaults[key] = value
		if !isOwn(owner) || field.Type.Kind() == reflect.Struct || !isOwn(field.Type) && field.Type.PkgPath() != "" {
			return
		}
		doc, ok := strings.CutPrefix(docs[owner.Name()+"."+field.Name], field.Name+" ")
		if !ok {
			err = fmt.Errorf("%s.%s: the comment has to begin with %q", owner.Name(), field.Name, field.Name)
		}
		doc = strings.TrimPrefix(doc, "is ") // "Capacity is how many …"
		own = append(own, setting{Key: key, Doc: strings.TrimSuffix(doc, "."), def: value})
	})
	var foreign []setting
	for _, s := range written {
		if s.Key = c.key(s.Key); s.Key == "" {
			continue
		}
		value, ok := defaults[s.Key]
		i := slices.IndexFunc(own, func(o setting) bool { return o.Key == s.Key })
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: there is no such setting", s.Key)
		case i < 0:
			s.def = value
			foreign = append(foreign, s)
		default:
			own[i].Enum, own[i].Min, own[i].Max = s.Enum, s.Min, s.Max
		}
	}
	return slices.Concat(foreign, own), err
}

// comments are those of the fields of structs in a file, by struct and field, in one line each.
func comments(file string) (map[string]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	docs := map[string]string{}
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
	return docs, nil
}

// walk calls visit with the key and the value of each field below a struct, in the order of the fields.
func walk(
	of reflect.Value, prefix string, visit func(key string, owner reflect.Type, field reflect.StructField, value reflect.Value),
) {
	for field, value := range of.Fields() {
		name, squash := keyOf(field)
		value = present(value)
		if name != "" {
			visit(prefix+name, of.Type(), field, value)
			name += "."
		}
		if (name != "" || squash) && value.Kind() == reflect.Struct {
			walk(value, prefix+name, visit)
		}
	}
}

// keyOf returns the key of a field, and whether its own fields are in its place. It is empty for what is no setting.
func keyOf(field reflect.StructField) (key string, squash bool) {
	key, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
	switch {
	case slices.Contains(strings.Split(options, ","), "squash"):
		return "", true
	case !field.IsExported() || key == "-":
		return "", false
	}
	return cmp.Or(key, strings.ToLower(field.Name)), false
}

// present returns what is in a configoptional.Optional, or its zero value; and any other value itself.
func present(v reflect.Value) reflect.Value {
	of, ok := optional(v.Type())
	if !ok {
		return v
	}
	pointer := reflect.New(v.Type())
	pointer.Elem().Set(v)
	if get := pointer.MethodByName("Get").Call(nil)[0]; !get.IsNil() {
		return get.Elem()
	}
	return reflect.Zero(of)
}

// optional reports whether a type is a configoptional.Optional, and of what.
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

// plain is a value as YAML has it.
func plain(v reflect.Value) any {
	switch value := v.Interface().(type) {
	case time.Duration:
		s := value.String()
		for _, tail := range []string{"m0s", "h0m"} {
			if strings.HasSuffix(s, tail) {
				s = strings.TrimSuffix(s, tail[1:])
			}
		}
		return s
	default:
		switch v.Kind() {
		case reflect.String:
			return v.String()
		case reflect.Slice:
			list := []any{}
			for i := range v.Len() {
				list = append(list, plain(v.Index(i)))
			}
			return list
		}
		return value
	}
}

// shownDefault is the default in Markdown.
func (s setting) shownDefault() string {
	value := plain(s.def)
	if _, ok := value.([]any); ok { // Too wide for a table.
		return "[a list](mapping.md#identity)"
	}
	if value == "" {
		return "none"
	}
	return fmt.Sprintf("`%v`", value)
}

// meaning is what a setting is, and can be.
func (s setting) meaning() string {
	if s.Max == 0 || s.Max >= math.MaxInt32 {
		return s.Doc
	}
	return fmt.Sprintf("%s; %.0f to %.0f", s.Doc, s.Min, s.Max)
}
