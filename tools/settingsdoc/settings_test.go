// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"

	"github.com/loggregatorexporter/loggregatorexporter"
)

const root = "../.."

func read(t *testing.T, folder, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, file))
	require.NoError(t, err)
	return string(content)
}

// validate returns the validation error for one setting.
func validate(t *testing.T, c component, key string, value any) error {
	t.Helper()
	cfg := c.factory.CreateDefaultConfig()
	settings := map[string]any{strings.ReplaceAll(key, ".", "::"): value}
	if c.name == exporter.name { // Otherwise it would bound other settings.
		settings["rate_limit::envelopes_per_second"] = 0
	}
	require.NoError(t, confmap.NewFromStringMap(settings).Unmarshal(cfg))
	return confmap.Validate(cfg)
}

// The code accepts exactly the values that the table and the schema allow.
func TestLimits(t *testing.T) {
	for _, c := range []component{exporter, connector} {
		all, err := c.settings(root)
		require.NoError(t, err)
		limited := 0
		for _, limit := range all {
			if limit.Max == 0 && len(limit.Enum) == 0 {
				continue
			}
			limited++
			name := strings.ReplaceAll(limit.Key, ".", "::") + ": must be "
			for _, word := range limit.Enum {
				assert.NoError(t, validate(t, c, limit.Key, word), limit.Key)
			}
			if len(limit.Enum) > 0 {
				assert.ErrorContains(t, validate(t, c, limit.Key, "something else"), name)
				continue
			}
			assert.NoError(t, validate(t, c, limit.Key, limit.Min), limit.Key)
			assert.NoError(t, validate(t, c, limit.Key, limit.Max), limit.Key)
			assert.ErrorContains(t, validate(t, c, limit.Key, limit.Min-1), name)
			assert.ErrorContains(t, validate(t, c, limit.Key, limit.Max+1), name)
		}
		assert.NotZero(t, limited)
	}
}

// The generated files are up to date; `make generate` writes them.
func TestUpToDate(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"config.go", "diodeconnector/config.go", queueFile, exporter.page} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(read(t, root, file)), 0o600))
	}
	require.NoError(t, write(dir))
	for _, file := range []string{exporter.page, exporter.schemaFile(), connector.schemaFile()} {
		assert.Equal(t, read(t, dir, file), read(t, root, file), file)
	}
}

// Each README lists the defaults of the code.
func TestReadmeDefaults(t *testing.T) {
	for c, n := range map[*component]int{&exporter: 11, &connector: 3} {
		all, err := c.settings(root)
		require.NoError(t, err)
		_, rows, _ := strings.Cut(read(t, root, c.folder+"/README.md"), "| key | default | change it |\n| --- | --- | --- |\n")
		rows, _, _ = strings.Cut(rows, "\n\n")
		require.Equal(t, n, strings.Count(rows, "\n"))
		for row := range strings.Lines(rows) {
			assert.True(t, slices.ContainsFunc(all, func(s setting) bool {
				return strings.HasPrefix(row, fmt.Sprintf("| `%s` | %s |", s.Key, s.shownDefault()))
			}), row)
		}
	}
}

// The schema contains every key of the default configuration.
func TestSchemaHasEveryKey(t *testing.T) {
	all, err := exporter.settings(root)
	require.NoError(t, err)
	conf := confmap.New()
	require.NoError(t, conf.Marshal(loggregatorexporter.NewFactory().CreateDefaultConfig()))
	for _, key := range conf.AllKeys() {
		at := exporter.schema(all)
		for part := range strings.SplitSeq(key, "::") {
			properties, ok := at["properties"].(object)
			require.True(t, ok, key)
			at, ok = properties[part].(object)
			require.True(t, ok, key)
		}
		if slices.ContainsFunc(all, func(s setting) bool { return s.Key == strings.ReplaceAll(key, "::", ".") }) {
			assert.NotEmpty(t, at["description"], key)
		}
	}
}
