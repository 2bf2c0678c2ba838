// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command settingsdoc writes what says how to configure the exporter and the connector: the table of the exporter's settings in
// docs/operations.md, and each config.schema.json, by which editors complete and check. Keys, types and defaults are those of the code; so
// are the words of our own settings, which are the comments of each config.go.
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

// The table is between these lines of the page.
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
		return fmt.Errorf("%s has no place for the settings", page)
	}
	return os.WriteFile(file, slices.Concat(text[:at[3]], table(all), text[at[4]:]), 0o600) //nolint:gosec // Whoever runs this says where.
}

// table is the settings in Markdown.
func table(all []setting) []byte {
	var b bytes.Buffer
	b.WriteString("| key | default | meaning |\n| --- | --- | --- |\n")
	for _, s := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Key, s.shownDefault(), s.meaning())
	}
	return b.Bytes()
}
