// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/loggregatorexporter/loggregatorexporter"

// TestImports holds the rules of docs/architecture.md: what a room may import of ours, and what it must not import at all. What it may
// not know of it can't depend on.
func TestImports(t *testing.T) {
	rooms := map[string]struct {
		may     []string // of ours
		mustNot []string // of others, and what is below
		onlyStd bool
	}{
		"diodes":               {onlyStd: true, mustNot: []string{"unsafe"}},
		"internal/envelope":    {mustNot: []string{"go.opentelemetry.io", "google.golang.org/grpc", "unsafe"}},
		"internal/queue":       {may: []string{"diodes"}, mustNot: []string{"go.opentelemetry.io", "google.golang.org", "unsafe"}},
		"internal/translate":   {may: []string{"internal/envelope"}, mustNot: []string{"google.golang.org/grpc", "unsafe"}},
		"internal/ingress":     {may: []string{"internal/envelope"}, mustNot: []string{"go.opentelemetry.io/collector/pdata", "unsafe"}},
		"internal/ingresstest": {mustNot: []string{"go.opentelemetry.io"}},
		"cmd/loggregator-sink": {may: []string{"internal/ingresstest"}, mustNot: []string{"go.opentelemetry.io"}},
	}
	for room, rule := range rooms {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files, room)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			require.NoError(t, err)
			for _, spec := range parsed.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if ours, ok := strings.CutPrefix(path, module+"/"); ok {
					assert.Truef(t, slices.Contains(rule.may, ours), "%s imports %s", file, ours)
					continue
				}
				for _, forbidden := range rule.mustNot {
					assert.Falsef(t, path == forbidden || strings.HasPrefix(path, forbidden+"/"), "%s imports %s", file, path)
				}
				first, _, _ := strings.Cut(path, "/")
				assert.Falsef(t, rule.onlyStd && strings.Contains(first, "."), "%s imports %s", file, path)
			}
		}
	}
	// A room that nobody has a rule for is a room that was forgotten.
	entries, err := os.ReadDir("internal")
	require.NoError(t, err)
	for _, e := range entries {
		if room := "internal/" + e.Name(); !slices.Contains([]string{"internal/metadata", "internal/metadatatest", "internal/settingsdoc"}, room) {
			assert.Contains(t, rooms, room)
		}
	}
}
