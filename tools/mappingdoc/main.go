// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command mappingdoc writes docs/mapping.md: the text of docs/mapping.md.tmpl, with the rules from testdata/translate/rows.yaml inserted.
// The example of a rule is its first case, which the tests verify.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"go.yaml.in/yaml/v3"
)

func main() {
	root := flag.String("root", ".", "the root of the repository")
	flag.Parse()
	log.SetFlags(0)
	goldens := filepath.Join(*root, "testdata", "translate")
	var sections []section
	decode(filepath.Join(goldens, "rows.yaml"), &sections)
	unused := map[string]section{}
	for _, s := range sections {
		unused[s.Section] = s
	}
	source := filepath.Join(*root, "docs", "mapping.md.tmpl")
	text := template.Must(template.New(filepath.Base(source)).Funcs(template.FuncMap{"rows": func(name string) string {
		s, ok := unused[name]
		if !ok {
			log.Fatalf("rows.yaml has no section %q, or the section is used twice", name)
		}
		delete(unused, name)
		return s.markdown(goldens)
	}}).ParseFiles(source))
	var b bytes.Buffer
	check(text.Execute(&b, nil))
	for name := range unused {
		log.Fatalf("%s does not use the section %q of rows.yaml", source, name)
	}
	check(os.WriteFile(filepath.Join(*root, "docs", "mapping.md"), b.Bytes(), 0o644)) //nolint:gosec // The file is public.
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func read(file string) []byte {
	content, err := os.ReadFile(file)
	check(err)
	return content
}

// decode decodes YAML or JSON.
func decode(file string, into any) {
	if err := yaml.Unmarshal(read(file), into); err != nil {
		log.Fatalf("%s: %v", file, err)
	}
}

// section is a section of the document.
type section struct {
	Section string
	Rows    []row
}

type row struct {
	OTel, Loggregator string
	Cases             []string
}

// markdown returns the rules, each with a collapsed example.
func (s section) markdown(goldens string) string {
	var b strings.Builder
	for _, r := range s.Rows {
		var links []string
		for _, name := range r.Cases {
			links = append(links, fmt.Sprintf("[%s](../testdata/translate/%s)", strings.ReplaceAll(filepath.Base(name), "_", " "), name))
		}
		fmt.Fprintf(&b, "<details><summary><b>%s</b> → %s.</summary>\n\n%s\n%s\n</details>\n",
			html(r.OTel), html(r.Loggregator), example(filepath.Join(goldens, filepath.FromSlash(r.Cases[0]))), strings.Join(links, " · "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var code = regexp.MustCompile("`([^`]*)`")

// html returns text as one line of HTML, with backquotes replaced by code elements.
func html(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.Join(strings.Fields(text), " "))
	return code.ReplaceAllString(text, "<code>$1</code>")
}

// example returns the settings, input and output of a case.
func example(dir string) string {
	var b strings.Builder
	b.WriteString("```yaml\n")
	if config, err := os.ReadFile(filepath.Join(dir, "config.yaml")); err == nil {
		fmt.Fprintf(&b, "# settings\n%s\n# OTLP\n", config)
	}
	var out output
	decode(filepath.Join(dir, "output.json"), &out)
	fmt.Fprintf(&b, "%s---\n# envelopes\n%s```\n", read(filepath.Join(dir, "input.yaml")), out.yaml())
	return b.String()
}

// output is the content of output.json, which is also valid YAML.
type output struct {
	Envelopes []yaml.Node
	Payloads  []string
	Rejected  map[string]int
	Truncated int
}

// yaml returns the envelopes in a compact form, with log payloads as text, followed by the counts of rejected and truncated items.
func (o output) yaml() string {
	payloads := o.Payloads
	for i := range o.Envelopes {
		e := &o.Envelopes[i]
		var fields []*yaml.Node
		for _, name := range []string{"timestamp", "source_id", "instance_id", "log", "event", "counter", "gauge", "timer", "tags"} {
			for k := 0; k < len(e.Content); k += 2 {
				key, value := e.Content[k], e.Content[k+1]
				if key.Value != name {
					continue
				}
				if name == "log" {
					log := map[string]string{"type": "OUT"}
					check(value.Decode(&log))
					*value = yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle, Content: []*yaml.Node{
						text("payload"), text(payloads[0]), text("type"), text(log["type"]),
					}}
					payloads = payloads[1:]
				}
				fields = append(fields, key, value)
			}
		}
		e.Content, e.Style = fields, 0
		plain(e, "")
	}
	var b strings.Builder
	if len(o.Envelopes) > 0 {
		encoder := yaml.NewEncoder(&b)
		encoder.SetIndent(2)
		check(encoder.Encode(o.Envelopes))
	}
	for _, reason := range slices.Sorted(maps.Keys(o.Rejected)) {
		fmt.Fprintf(&b, "# rejected, %s: %d\n", reason, o.Rejected[reason])
	}
	if o.Truncated > 0 {
		fmt.Fprintf(&b, "# truncated: %d\n", o.Truncated)
	}
	return b.String()
}

func text(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// plain removes the quotes of keys, and writes values as text or numbers. protojson writes 64-bit numbers as text.
func plain(mapping *yaml.Node, within string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		number := key.Value == "timestamp" || (within == "counter" || within == "timer") && key.Value != "name"
		switch {
		case value.Kind == yaml.ScalarNode && number:
			value.Style, value.Tag = 0, "!!int"
		case value.Kind == yaml.ScalarNode && value.Tag == "!!str":
			value.Style = yaml.DoubleQuotedStyle
		}
		key.Style = 0
		plain(value, key.Value)
	}
}
