// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loggregatorexporter/loggregatorexporter"
)

// setting is a row of the table.
type setting struct {
	key  string // with dots between the levels
	doc  string
	def  reflect.Value
	enum []string
	// min and max are the least and the most that a number can be, if not both are 0.
	min, max float64
}

// foreign are the settings of the collector's own packages that are different here or that most need. The last ones are those
// that follow the exporter's own.
var foreign = []setting{
	{key: "endpoint", doc: "the agent or router, as host and port or a gRPC target such as `dns:///doppler.service.cf.internal:8082`"},
	{key: "balancer_name", doc: "how messages spread over the addresses of a name: `round_robin` or `pick_first`"},
	{key: "tls.ca_file", doc: "the Loggregator CA; it is read at the start only"},
	{key: "tls.cert_file", doc: "a client certificate of that CA"},
	{key: "tls.key_file", doc: "the key of that certificate"},
	{key: "tls.server_name_override", doc: "the name in the certificate of the server; a router's is `doppler`"},
	{key: "tls.reload_interval", doc: "how often to read the client certificate again, so that it is renewed without a restart; `0s` is never"},
	{key: "tls.insecure", doc: "`true` turns TLS off; not beside a CA or a certificate"},
	{key: "keepalive.time", doc: "how often to ping; at least `10s`, or the agent closes the connection"},
	{key: "write_buffer_size", doc: "in bytes, what is written to the connection at once"},
	{key: "compression", doc: "not possible: Loggregator decompresses nothing"},
	{key: "timeout", doc: "how long one attempt may take; `0s` is no limit"},
	{key: "retry_on_failure.enabled", doc: "whether what failed for a while is sent again"},
	{key: "retry_on_failure.initial_interval", doc: "the first pause"},
	{key: "retry_on_failure.multiplier", doc: "how much longer each further pause is; at least `1`"},
	{key: "retry_on_failure.randomization_factor", doc: "how far a pause may differ, as a share of it"},
	{key: "retry_on_failure.max_interval", doc: "the longest pause"},
	{key: "retry_on_failure.max_elapsed_time", doc: "when to give a message up; `0s` is never, else it is at least `initial_interval` and `max_interval`"},
}

// limits are what numbers and words can be. A test asks the code whether that is so.
var limits = []setting{
	{key: "diode.capacity", min: 1, max: 8_000_000},
	{key: "diode.drop_policy", enum: []string{"oldest", "newest"}},
	{key: "batch.max_envelopes", min: 1, max: math.MaxInt32},
	{key: "batch.max_bytes", min: 128 << 10, max: 4 << 20},
	{key: "logs.max_payload_bytes", min: 64, max: 60 << 10},
	{key: "logs.events_as", enum: []string{"event", "log"}},
	{key: "metrics.naming", enum: []string{"prometheus", "otel"}},
	{key: "metrics.double_sums", enum: []string{"counter", "gauge"}},
}

// settings are all rows. config is the file with the comments of the exporter's own.
func settings(config string) ([]setting, error) {
	docs, err := comments(config)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(foreign)
	root := reflect.ValueOf(loggregatorexporter.NewFactory().CreateDefaultConfig()).Elem()
	for i := range all {
		if all[i].def, err = find(root, strings.Split(all[i].key, ".")); err != nil {
			return nil, fmt.Errorf("%s: %w", all[i].key, err)
		}
	}
	if all, err = own(all, root, "", docs); err != nil {
		return nil, err
	}
	for _, limit := range limits {
		i := slices.IndexFunc(all, func(s setting) bool { return s.key == limit.key })
		if i < 0 {
			return nil, fmt.Errorf("%s: there is no such setting", limit.key)
		}
		all[i].enum, all[i].min, all[i].max = limit.enum, limit.min, limit.max
	}
	return all, nil
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

// own appends the settings of a struct of the exporter's own.
func own(all []setting, of reflect.Value, prefix string, docs map[string]string) ([]setting, error) {
	for field, value := range of.Fields() {
		key, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		if key == "" || options == "squash" || !isOwn(field.Type) && field.Type.PkgPath() != "" {
			continue
		}
		if field.Type.Kind() == reflect.Struct {
			var err error
			if all, err = own(all, value, prefix+key+".", docs); err != nil {
				return nil, err
			}
			continue
		}
		doc := docs[of.Type().Name()+"."+field.Name]
		// "Capacity is how many …"
		rest, ok := strings.CutPrefix(doc, field.Name+" is ")
		if !ok {
			return nil, fmt.Errorf("%s.%s: the comment has to begin with %q", of.Type().Name(), field.Name, field.Name+" is")
		}
		all = append(all, setting{key: prefix + key, doc: strings.TrimSuffix(rest, "."), def: value})
	}
	return all, nil
}

func isOwn(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[loggregatorexporter.Config]().PkgPath()
}

// find is the value of a key.
func find(of reflect.Value, path []string) (reflect.Value, error) {
	of = present(of)
	for field, value := range of.Fields() {
		key, options, _ := strings.Cut(field.Tag.Get("mapstructure"), ",")
		switch {
		case options == "squash":
			if found, err := find(value, path); err == nil {
				return found, nil
			}
		case key == path[0] && len(path) == 1:
			return value, nil
		case key == path[0]:
			return find(value, path[1:])
		}
	}
	return reflect.Value{}, fmt.Errorf("%s has no %s", of.Type(), path[0])
}

// present is what is in a configoptional.Optional, or the value itself.
func present(v reflect.Value) reflect.Value {
	if t, ok := optional(v.Type()); ok {
		get := v.Addr().MethodByName("Get").Call(nil)[0]
		if get.IsNil() {
			return reflect.Zero(t)
		}
		return get.Elem()
	}
	return v
}

// optional says whether a type is a configoptional.Optional, and of what.
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
	if list, ok := value.([]any); ok {
		var words []string
		for _, v := range list {
			words = append(words, fmt.Sprintf("`%v`", v))
		}
		return strings.Join(words, ", ")
	}
	if number, ok := value.(float64); ok {
		value = strconv.FormatFloat(number, 'f', -1, 64)
	}
	if value == "" {
		return "none"
	}
	return fmt.Sprintf("`%v`", value)
}

// meaning is what a setting is, and can be.
func (s setting) meaning() string {
	switch {
	case s.max > 0 && s.max < math.MaxInt32:
		return fmt.Sprintf("%s; %s to %s", s.doc, strconv.FormatFloat(s.min, 'f', -1, 64), strconv.FormatFloat(s.max, 'f', -1, 64))
	default:
		return s.doc
	}
}
