// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command mappingdoc writes docs/mapping.md: the text of docs/mapping.md.tmpl, with the rows of the mapping and an example of
// each in the places that the text has for them. The rows are those of testdata/translate/rows.yaml, the examples its cases,
// which the tests hold true.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

func main() {
	root := flag.String("root", ".", "the root of the repository")
	flag.Parse()
	log.SetFlags(0)
	if err := write(*root); err != nil {
		log.Fatal(err)
	}
}

// section is a table of the document.
type section struct {
	Section string
	Rows    []row
}

type row struct {
	OTel, Loggregator string
	Cases             []string
}

func write(root string) error {
	goldens := filepath.Join(root, "testdata", "translate")
	content, err := os.ReadFile(filepath.Join(goldens, "rows.yaml"))
	if err != nil {
		return err
	}
	var sections []section
	if err = yaml.Unmarshal(content, &sections); err != nil {
		return err
	}
	used := map[string]bool{}
	funcs := template.FuncMap{
		"rows": func(name string) (string, error) {
			i := slices.IndexFunc(sections, func(s section) bool { return s.Section == name })
			if i < 0 {
				return "", fmt.Errorf("rows.yaml has no section %q", name)
			}
			used[name] = true
			return sections[i].markdown(goldens)
		},
	}
	source := filepath.Join(root, "docs", "mapping.md.tmpl")
	text, err := template.New(filepath.Base(source)).Funcs(funcs).ParseFiles(source)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err = text.Execute(&b, nil); err != nil {
		return err
	}
	for _, s := range sections {
		if !used[s.Section] {
			return fmt.Errorf("%s has no place for the section %q of rows.yaml", source, s.Section)
		}
	}
	return os.WriteFile(filepath.Join(root, "docs", "mapping.md"), b.Bytes(), 0o644) //nolint:gosec // Everybody may read it.
}

// markdown is a table of the rows, and then their examples, folded up.
func (s section) markdown(goldens string) (string, error) {
	var b strings.Builder
	b.WriteString("| OpenTelemetry | Loggregator |\n| --- | --- |\n")
	for _, r := range s.Rows {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(r.OTel), cell(r.Loggregator))
	}
	b.WriteString("\nExamples:\n")
	for _, r := range s.Rows {
		fmt.Fprintf(&b, "\n<details><summary>%s</summary>\n", summary(r.OTel))
		for _, name := range r.Cases {
			example, err := example(filepath.Join(goldens, filepath.FromSlash(name)))
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(&b, "\n[%s](../testdata/translate/%s)\n%s", strings.ReplaceAll(filepath.Base(name), "_", " "), name, example)
		}
		b.WriteString("\n</details>\n")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// summary is text for HTML, where backquotes mean nothing.
func summary(text string) string {
	parts := strings.Split(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(cell(text)), "`")
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return b.String()
}

// example is what goes into the exporter in a case, and what comes out.
func example(dir string) (string, error) {
	var b strings.Builder
	if config, err := os.ReadFile(filepath.Join(dir, "config.yaml")); err == nil {
		fmt.Fprintf(&b, "\nWith these settings:\n\n```yaml\n%s```\n", config)
	}
	input, err := os.ReadFile(filepath.Join(dir, "input.yaml"))
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "\n```yaml\n%s```\n\nbecomes\n\n", input)
	content, err := os.ReadFile(filepath.Join(dir, "output.json"))
	if err != nil {
		return "", err
	}
	var out output
	if err = json.Unmarshal(content, &out); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "```yaml\n%s```\n", out.yaml())
	return b.String(), nil
}

// output is the content of output.json.
type output struct {
	Envelopes []map[string]json.RawMessage
	Payloads  []string
	Rejected  map[string]int
	Cut       int
}

// yaml has an envelope as few lines, with the payload of a log as text.
func (o output) yaml() string {
	var b strings.Builder
	logs := 0
	for _, e := range o.Envelopes {
		if log, ok := e["log"]; ok {
			var fields struct{ Type string }
			_ = json.Unmarshal(log, &fields) // It was written by protojson.
			if fields.Type == "" {
				fields.Type = "OUT"
			}
			e["log"] = json.RawMessage(fmt.Sprintf(`{"payload":%s,"type":%q}`, quoted(o.Payloads[logs]), fields.Type))
			logs++
		}
		indent := "- "
		for _, field := range []string{"timestamp", "source_id", "instance_id", "log", "event", "counter", "gauge", "timer", "tags"} {
			if value, ok := e[field]; ok {
				fmt.Fprintf(&b, "%s%s: %s\n", indent, field, flow(field, value))
				indent = "  "
			}
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(o.Rejected)) {
		fmt.Fprintf(&b, "# rejected, %s: %d\n", reason, o.Rejected[reason])
	}
	if o.Cut > 0 {
		fmt.Fprintf(&b, "# cut: %d\n", o.Cut)
	}
	return b.String()
}

func quoted(s string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // A string can be encoded.
	return strings.TrimSuffix(b.String(), "\n")
}

// flow is a field of an envelope, in JSON, as YAML in one line. protojson puts numbers of 64 bits into quotes; here they have
// none.
func flow(field string, value json.RawMessage) string {
	var node yaml.Node
	if err := yaml.Unmarshal(value, &node); err != nil {
		return string(value)
	}
	bare := func(string) bool { return false }
	switch field {
	case "timestamp":
		return node.Content[0].Value
	case "counter", "timer":
		bare = func(key string) bool { return key != "name" }
	}
	return flowNode(node.Content[0], bare)
}

func flowNode(node *yaml.Node, bare func(key string) bool) string {
	switch {
	case node.Kind == yaml.MappingNode:
		var fields []string
		for i := 0; i < len(node.Content); i += 2 {
			key, value := node.Content[i].Value, node.Content[i+1]
			if bare(key) {
				fields = append(fields, plain(key)+": "+value.Value)
			} else {
				fields = append(fields, plain(key)+": "+flowNode(value, bare))
			}
		}
		return "{ " + strings.Join(fields, ", ") + " }"
	case node.Tag == "!!str":
		return quoted(node.Value)
	}
	return node.Value
}

// plain is a key without quotes if YAML needs none.
func plain(key string) string {
	if key != "" && strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/") == "" {
		return key
	}
	return quoted(key)
}
