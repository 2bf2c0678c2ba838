// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// config.schema.json accepts the examples and refuses most of what the collector refuses.
func TestConfigSchema(t *testing.T) {
	content, err := os.ReadFile("../config.schema.json")
	require.NoError(t, err)
	var schema jsonschema.Schema
	require.NoError(t, json.Unmarshal(content, &schema))
	resolved, err := schema.Resolve(nil)
	require.NoError(t, err)
	// JSON's types, as editors have them.
	check := func(value any) error {
		encoded, err := json.Marshal(value)
		require.NoError(t, err)
		var decoded any
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		return resolved.Validate(decoded)
	}

	files, err := filepath.Glob("../examples/*/config.yaml")
	require.NoError(t, err)
	files = append(files, "../deploy/docker/config.yaml")
	checked := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		var config struct{ Exporters map[string]any }
		require.NoError(t, yaml.Unmarshal(content, &config), file)
		for id, settings := range config.Exporters {
			if kind, _, _ := strings.Cut(id, "/"); kind == "loggregator" {
				checked++
				assert.NoError(t, check(settings), "%s: %s", file, id)
			}
		}
	}
	assert.GreaterOrEqual(t, checked, 10)

	for text, valid := range map[string]bool{
		`{}`: true,
		`{timeout: 3s, headers: {a: b}, auth: {authenticator: oauth2client}, keepalive: null}`: true,
		`{diode: {capacity: "${env:CAPACITY}", drop_policy: newest}}`:                          true,
		`{retry_on_failure: {max_elapsed_time: 0s}, tls: {insecure: true}}`:                    true,
		`{dioade: {capacity: 1}}`:                false,
		`{diode: {size: 1}}`:                     false,
		`{diode: {capacity: 0}}`:                 false,
		`{diode: {capacity: many}}`:              false,
		`{diode: {drop_policy: random}}`:         false,
		`{batch: {max_bytes: 4194305}}`:          false,
		`{timeout: soon}`:                        false,
		`{identity: {source_id: {value: [a]}}}`:  false,
		`{tls: {insecure: perhaps}}`:             false,
		`{logs: {max_payload_bytes: 63}}`:        false,
		`{metrics: {naming: influx}}`:            false,
		`{traces: {span_events: 1}}`:             false,
		`{retry_on_failure: {multiplier: fast}}`: false,
	} {
		var settings any
		require.NoError(t, yaml.Unmarshal([]byte(text), &settings))
		assert.Equal(t, valid, check(settings) == nil, text)
	}
}
