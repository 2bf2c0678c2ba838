// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap/confmaptest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// The goldens of the mapping: testdata/translate/<signal>/<case>/ contains
//
//	input.yaml    the pushed batch, as OTLP JSON written in YAML. The tag !!binary is a string of arbitrary bytes in base64,
//	              !repeat a long string from pairs: !repeat [x, 70000] is 70,000 times x. !nested 70 is a value of maps
//	              and lists, 70 deep.
//	config.yaml   the settings of the exporter that differ from the defaults, if any
//	output.json   the envelopes as protojson; the payloads of logs as text; the number of rejected items by reason; the
//	              number of truncated items. Strings above 1,000 bytes are reduced to beginning, length and end.
//
// testdata/translate/rows.yaml names the cases of each row of the mapping. docs/mapping.md is generated from all of this.
const goldens = "testdata/translate"

var update = flag.Bool("update", false, "rewrite the golden files")

// goldenNow is the current time in the goldens: 2026-01-01 01:00:00 UTC.
var goldenNow = time.Unix(1767229200, 0)

func TestMapping(t *testing.T) {
	for _, name := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			dir, signal := filepath.Join(goldens, name), filepath.Dir(name)
			opts, input := goldenOptions(t, filepath.Join(dir, "config.yaml")), readGolden(t, filepath.Join(dir, "input.yaml"))
			got, again := translateGolden(t, opts, signal, input), translateGolden(t, opts, signal, input)
			require.Equal(t, got.encoded, again.encoded, "the same input gives the same bytes")

			path := filepath.Join(dir, "output.json")
			if *update {
				require.NoError(t, os.WriteFile(path, got.readable(t), 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got.readable(t)))
		})
	}
}

// Each row of the mapping has a case, and each case a row.
func TestMappingRows(t *testing.T) {
	var sections []struct {
		Section string
		Rows    []struct {
			OTel, Loggregator string
			Cases             []string
		}
	}
	content, err := os.ReadFile(filepath.Join(goldens, "rows.yaml"))
	require.NoError(t, err)
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&sections))

	var named []string
	for _, section := range sections {
		for _, row := range section.Rows {
			assert.NotEmpty(t, row.Loggregator, "%s: the envelopes of %q", section.Section, row.OTel)
			assert.NotEmpty(t, row.Cases, "%s: a case of %q", section.Section, row.OTel)
			named = append(named, row.Cases...)
		}
	}
	assert.ElementsMatch(t, goldenCases(t), named)
}

// goldenCases returns the names of the cases: signal/case.
func goldenCases(t *testing.T) []string {
	t.Helper()
	names, err := fs.Glob(os.DirFS(goldens), "*/*")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

// goldenOptions returns the options of the default configuration, overridden by the settings in the file, if it exists.
func goldenOptions(t *testing.T, path string) translate.Options {
	t.Helper()
	cfg := createDefaultConfig().(*Config)
	if _, err := os.Stat(path); err == nil {
		conf, err := confmaptest.LoadConf(path)
		require.NoError(t, err)
		require.NoError(t, conf.Unmarshal(cfg))
		require.NoError(t, cfg.Validate())
	}
	opts := cfg.translation()
	opts.Now = func() time.Time { return goldenNow }
	return opts
}

// readGolden reads OTLP JSON written in YAML.
func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	var document yaml.Node
	require.NoError(t, yaml.Unmarshal(content, &document))
	resolveTags(t, &document)
	var value any
	require.NoError(t, document.Decode(&value))
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	// JSON cannot represent bytes that are not UTF-8, but pdata accepts them.
	return rawBytes.ReplaceAllFunc(encoded, func(match []byte) []byte {
		raw, err := hex.DecodeString(string(rawBytes.FindSubmatch(match)[1]))
		require.NoError(t, err)
		return raw
	})
}

var rawBytes = regexp.MustCompile(`raw\(([0-9a-f]*)\)`)

func resolveTags(t *testing.T, node *yaml.Node) {
	t.Helper()
	switch node.Tag {
	case "!!binary":
		raw, err := base64.StdEncoding.DecodeString(node.Value)
		require.NoError(t, err)
		*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: fmt.Sprintf("raw(%x)", raw)}
	case "!nested":
		depth, err := strconv.Atoi(node.Value)
		require.NoError(t, err)
		*node = nested(depth)
	case "!repeat":
		var long strings.Builder
		for pair := range slices.Chunk(node.Content, 2) {
			require.Len(t, pair, 2, "!repeat takes pairs of a string and a number")
			times, err := strconv.Atoi(pair[1].Value)
			require.NoError(t, err)
			long.WriteString(strings.Repeat(pair[0].Value, times))
		}
		*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: long.String()}
	}
	for _, child := range node.Content {
		resolveTags(t, child)
	}
}

// nested returns alternating maps and lists, depth levels deep, around a string.
func nested(depth int) (n yaml.Node) {
	text := `{ stringValue: innermost }`
	for i := range depth {
		if i%2 == 0 {
			text = `{ kvlistValue: { values: [{ key: k, value: ` + text + ` }] } }`
		} else {
			text = `{ arrayValue: { values: [` + text + `] } }`
		}
	}
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	return *n.Content[0]
}

func translateGolden(t *testing.T, opts translate.Options, signal string, otlp []byte) *goldenOutput {
	t.Helper()
	out := &goldenOutput{rejected: map[translate.Reason]int{}}
	items := 0
	switch signal {
	case "logs":
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs(otlp)
		require.NoError(t, err)
		out.add(translate.NewLogs(opts).Translate(logs))
		items = logs.LogRecordCount()
	case "metrics":
		metrics, err := (&pmetric.JSONUnmarshaler{}).UnmarshalMetrics(otlp)
		require.NoError(t, err)
		out.add(translate.NewMetrics(opts).Translate(metrics))
		items = metrics.DataPointCount()
	case "traces":
		traces, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(otlp)
		require.NoError(t, err)
		out.add(translate.NewTraces(opts).Translate(traces))
		items = traces.SpanCount()
	default:
		t.Fatalf("unknown signal: %s", signal)
	}
	require.Positive(t, items, "items in input.yaml")
	require.Equal(t, items, out.items, "sent and rejected items")
	return out
}

// goldenOutput is the output of a translator.
type goldenOutput struct {
	encoded   [][]byte
	items     int
	rejected  map[translate.Reason]int
	truncated int
}

func (o *goldenOutput) add(envelopes iter.Seq[translate.Envelope]) {
	for e := range envelopes {
		o.items += e.Items
		o.truncated += e.Truncated
		if e.Reason != "" {
			o.rejected[e.Reason] += e.Items
			continue
		}
		o.encoded = append(o.encoded, bytes.Clone(e.Encoded))
	}
}

// readable returns the content of output.json.
func (o *goldenOutput) readable(t *testing.T) []byte {
	t.Helper()
	content := struct {
		Envelopes []any                    `json:"envelopes"`
		Payloads  []string                 `json:"payloads,omitempty"`
		Rejected  map[translate.Reason]int `json:"rejected,omitempty"`
		Truncated int                      `json:"truncated,omitempty"`
	}{Envelopes: []any{}, Rejected: o.rejected, Truncated: o.truncated}
	for _, encoded := range o.encoded {
		e := &loggregator_v2.Envelope{}
		require.NoError(t, proto.Unmarshal(encoded, e))
		if log := e.GetLog(); log != nil {
			log.Payload = []byte(shorten(string(log.GetPayload())))
			payload := string(log.GetPayload())
			if !utf8.ValidString(payload) {
				payload = strconv.Quote(payload)
			}
			content.Payloads = append(content.Payloads, payload)
		}
		compact, err := protojson.Marshal(e)
		require.NoError(t, err)
		decoder := json.NewDecoder(bytes.NewReader(compact))
		decoder.UseNumber()
		var value any
		require.NoError(t, decoder.Decode(&value))
		content.Envelopes = append(content.Envelopes, shortenAll(value))
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	require.NoError(t, encoder.Encode(content))
	return b.Bytes()
}

func shortenAll(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			value[key] = shortenAll(v)
		}
	case []any:
		for i, v := range value {
			value[i] = shortenAll(v)
		}
	case string:
		return shorten(value)
	}
	return value
}

func shorten(s string) string {
	const limit, shown = 1000, 20
	if len(s) <= limit {
		return s
	}
	return fmt.Sprintf("%s… %d bytes …%s", strings.ToValidUTF8(s[:shown], ""), len(s), strings.ToValidUTF8(s[len(s)-shown:], ""))
}
