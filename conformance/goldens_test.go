// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// golden is a test case of the mapping.
type golden struct {
	name      string // signal/case
	input     []byte // OTLP JSON, except for long and nested values
	envelopes []*loggregator_v2.Envelope
	config    struct {
		Tags struct {
			SyslogSafe *bool `yaml:"syslog_safe"`
		}
		Metrics struct{ Naming string }
	}
}

// syslogSafe reports whether tag keys are made valid for syslog.
func (g golden) syslogSafe() bool {
	return g.config.Tags.SyslogSafe == nil || *g.config.Tags.SyslogSafe
}

// prometheusNames reports whether names are made valid for PromQL.
func (g golden) prometheusNames() bool { return g.config.Metrics.Naming != "otel" }

// readGoldens reads the test cases of a signal, or all of them with "*".
func readGoldens(t *testing.T, signal string) []golden {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join("..", "testdata", "translate", signal, "*"))
	require.NoError(t, err)
	var all []golden
	for _, dir := range dirs {
		g := golden{name: filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)}
		content, err := os.ReadFile(filepath.Join(dir, "output.json"))
		require.NoError(t, err)
		var output struct{ Envelopes []json.RawMessage }
		require.NoError(t, json.Unmarshal(content, &output))
		for _, encoded := range output.Envelopes {
			e := &loggregator_v2.Envelope{}
			require.NoError(t, protojson.Unmarshal(encoded, e))
			lengthen(e)
			g.envelopes = append(g.envelopes, e)
		}
		var input any
		readYAML(t, filepath.Join(dir, "input.yaml"), &input)
		g.input, err = json.Marshal(input)
		require.NoError(t, err)
		if _, err := os.Stat(filepath.Join(dir, "config.yaml")); !errors.Is(err, fs.ErrNotExist) {
			readYAML(t, filepath.Join(dir, "config.yaml"), &g.config)
		}
		all = append(all, g)
	}
	require.NotEmpty(t, all)
	return all
}

// shortened matches a string above 1,000 bytes in output.json: its beginning, its length and its end.
var shortened = regexp.MustCompile(`(?s)^(.+)… (\d+) bytes ….+$`)

// lengthen restores the lengths of abbreviated strings in an envelope by repeating their beginnings.
func lengthen(e *loggregator_v2.Envelope) {
	long := func(s string) string {
		match := shortened.FindStringSubmatch(s)
		if match == nil {
			return s
		}
		n, _ := strconv.Atoi(match[2])
		return strings.ToValidUTF8(strings.Repeat(match[1], n/len(match[1])+1)[:n], "?") // The end may be half a character.
	}
	for key, value := range e.GetTags() {
		e.Tags[key] = long(value)
	}
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		m.Log.Payload = []byte(long(string(m.Log.GetPayload())))
	case *loggregator_v2.Envelope_Event:
		m.Event.Title, m.Event.Body = long(m.Event.GetTitle()), long(m.Event.GetBody())
	}
}

func readYAML(t *testing.T, path string, to any) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(content, to), path)
}
