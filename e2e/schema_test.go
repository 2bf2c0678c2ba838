// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// schemaURL is where the schemas refer to each other, and where editors get them.
const schemaURL = "https://raw.githubusercontent.com/loggregatorexporter/loggregatorexporter/main/"

// collectorSchema returns a function that checks a collector's configuration as an editor does with collector.schema.json.
func collectorSchema(t *testing.T) func(config any) error {
	t.Helper()
	load := func(at *url.URL) (*jsonschema.Schema, error) {
		content, err := os.ReadFile("../" + strings.TrimPrefix(at.String(), schemaURL))
		if err != nil {
			return nil, err
		}
		var schema jsonschema.Schema
		return &schema, json.Unmarshal(content, &schema)
	}
	at, err := url.Parse(schemaURL + "collector.schema.json")
	require.NoError(t, err)
	schema, err := load(at)
	require.NoError(t, err)
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{Loader: load})
	require.NoError(t, err)
	return func(config any) error {
		// JSON's types, as editors have them.
		encoded, err := json.Marshal(config)
		require.NoError(t, err)
		var decoded any
		require.NoError(t, json.Unmarshal(encoded, &decoded))
		return resolved.Validate(decoded)
	}
}

// collectorConfigs returns every configuration of a collector in the repository, and every part of one in its pages, by file.
func collectorConfigs(t *testing.T) map[string][]any {
	t.Helper()
	configs := map[string][]any{}
	add := func(file, text string) {
		var config any
		require.NoError(t, yaml.Unmarshal([]byte(text), &config), "%s:\n%s", file, text)
		sections, _ := config.(map[string]any)
		for _, key := range []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"} {
			if _, ok := sections[key].(map[string]any); ok { // A list is that of ocb.
				configs[file] = append(configs[file], config)
				return
			}
		}
	}
	for _, pattern := range []string{"examples/*/config.yaml", "deploy/*/config.yaml", "e2e/testdata/*.yaml", "e2e/internal/outage/*.yaml"} {
		for file, text := range documents(t, pattern) {
			add(file, text)
		}
	}
	for page, text := range documents(t, pages...) {
		for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			if block[1] == "yaml" {
				add(page, block[2])
			}
		}
	}
	// The BOSH operations have theirs in the properties of a job.
	for file, text := range documents(t, "deploy/bosh/*.yml") {
		var visit func(node *yaml.Node)
		visit = func(node *yaml.Node) {
			for i, below := range node.Content {
				if node.Kind == yaml.MappingNode && i%2 == 1 && node.Content[i-1].Value == "config" {
					var config any
					require.NoError(t, below.Decode(&config))
					configs[file] = append(configs[file], config)
				}
				visit(below)
			}
		}
		var operations yaml.Node
		require.NoError(t, yaml.Unmarshal([]byte(text), &operations))
		visit(&operations)
	}
	return configs
}

// An editor accepts what the collector is shown to accept.
func TestSchemaAcceptsExamples(t *testing.T) {
	check := collectorSchema(t)
	configs := collectorConfigs(t)
	for file, all := range configs {
		for _, config := range all {
			assert.NoError(t, check(config), file)
		}
	}
	for _, file := range []string{
		"README.md", "examples/cloudfoundry/config.yaml", "deploy/docker/config.yaml", "deploy/bosh/add-loggregator-exporter.yml",
	} {
		assert.NotEmpty(t, configs[file], file)
	}
}

// What the collector refuses is mostly refused in an editor as well.
func TestSchema(t *testing.T) {
	check := collectorSchema(t)
	for text, valid := range map[string]bool{
		`{}`:                                    true,
		`{exporters: {loggregator: , debug: }}`: true,
		`{exporters: {debug: {anything: 1}}}`:   true,
		`{receivers: "${file:receivers.yaml}"}`: true,
		`{connectors: {forward/b: }, service: {pipelines: {metrics/a: {receivers: [otlp], exporters: [forward/b]}}}}`: true,
		`{exporter: {}}`:                      false,
		`{exporters: [loggregator]}`:          false,
		`{exporters: {loggregator: 1}}`:       false,
		`{exporters: {"no type": {}}}`:        false,
		`{service: {pipeline: {}}}`:           false,
		`{service: {extensions: {zpages: }}}`: false,
		`{service: {pipelines: {events: {receivers: [otlp], exporters: [debug]}}}}`:         false,
		`{service: {pipelines: {logs: {receivers: [otlp]}}}}`:                               false,
		`{service: {pipelines: {logs: {receivers: [a], processor: [b], exporters: [c]}}}}`:  false,
		`{service: {pipelines: {logs: {receivers: [otlp], exporters: {loggregator: {}}}}}}`: false,
	} {
		var config any
		require.NoError(t, yaml.Unmarshal([]byte(text), &config))
		assert.Equal(t, valid, check(config) == nil, text)
	}
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
		for _, id := range []string{"loggregator", "loggregator/named"} {
			config := map[string]any{"exporters": map[string]any{id: settings}}
			assert.Equal(t, valid, check(config) == nil, "%s: %s", id, text)
		}
	}
}
