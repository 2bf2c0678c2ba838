// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command settingsdoc writes the documentation of the exporter's and the connector's settings: the table in docs/operations.md, and each
// config.schema.json, which editors use for completion and checks. Keys, types and defaults come from the code; so do the descriptions
// of our own settings, which are the comments in each config.go.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// place matches the table, between two marker lines of the page.
var place = regexp.MustCompile(`(?s)(<!-- settings: written by make generate -->\n).*(<!-- end of settings -->)`)

func main() {
	root := flag.String("root", ".", "the root of the repository")
	flag.Parse()
	log.SetFlags(0)
	if err := write(*root); err != nil {
		log.Fatal(err)
	}
}

func write(root string) error {
	for _, c := range []component{exporter, connector} {
		all, err := c.settings(root)
		if err != nil {
			return err
		}
		if c.page != "" {
			if err := writeTable(root, c.page, all); err != nil {
				return err
			}
		}
		encoded, err := json.MarshalIndent(c.schema(all), "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, c.schemaFile()), append(encoded, '\n'), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeTable(root, page string, all []setting) error {
	file := filepath.Join(root, filepath.FromSlash(page))
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := place.FindSubmatchIndex(text)
	if at == nil {
		return fmt.Errorf("%s has no markers for the settings", page)
	}
	return os.WriteFile(file, slices.Concat(text[:at[3]], table(all), text[at[4]:]), 0o600) //nolint:gosec // The path is an argument of this tool.
}

// table returns the settings as a Markdown table.
func table(all []setting) []byte {
	var b bytes.Buffer
	b.WriteString("| key | default | meaning |\n| --- | --- | --- |\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Key, s.shownDefault(), s.meaning())
	}
	return b.Bytes()
}
