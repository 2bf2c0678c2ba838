// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.yaml.in/yaml/v3"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// goldenNow is the current time in the goldens, in ns since 1970.
const goldenNow = 1767229200000000000

// post sends a body to a path of the collector's OTLP/HTTP receiver.
func post(t *testing.T, port int, path, contentType string, body []byte) {
	t.Helper()
	resp, err := http.Post("http://"+outage.Loopback(port)+path, contentType, bytes.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
}

// The goldens of the mapping, posted to the built collector over OTLP/HTTP, arrive at the sink as expected. The test skips goldens
// with settings of their own, and goldens with abbreviated strings.
func TestGoldensOverHTTP(t *testing.T) {
	s := startSink(t)
	c := startPlain(t, s.settings())
	inputs, err := filepath.Glob("../testdata/translate/*/*/input.yaml")
	require.NoError(t, err)
	posted := 0
	for _, input := range inputs {
		dir := filepath.Dir(input)
		if _, err := os.Stat(filepath.Join(dir, "config.yaml")); err == nil {
			continue
		}
		document := read(t, input)
		if strings.Contains(document, " !") {
			continue
		}
		posted++
		t.Run(strings.TrimPrefix(dir, "../testdata/translate/"), func(t *testing.T) {
			var data any
			require.NoError(t, yaml.Unmarshal([]byte(document), &data))
			body, err := json.Marshal(data)
			require.NoError(t, err)
			var output struct{ Envelopes envelopes }
			readYAML(t, filepath.Join(dir, "output.json"), &output)
			want := output.Envelopes

			s.reset()
			post(t, c.httpPort, "/v1/"+filepath.Base(filepath.Dir(dir)), "application/json", body)
			c.eventually("an empty diode", func() bool { return c.metric("otelcol_exporter_loggregator_waiting_items") == 0 })
			s.eventually(fmt.Sprintf("%d envelopes", len(want)), func() bool { return len(s.all()) >= len(want) })
			got := s.all()
			for _, e := range append(want, got...) {
				if e.GetTimestamp() >= goldenNow { // The current time of the golden or of this run.
					if timer := e.GetTimer(); timer.GetStart() == e.GetTimestamp() {
						timer.Start, timer.Stop = goldenNow, goldenNow
					}
					e.Timestamp = goldenNow
				}
			}
			requireEnvelopes(t, want, got)
		})
	}
	assert.Greater(t, posted, 100)
}

// A body of nested kvlists, as deep as the size of a request allows, is truncated and does not crash the collector.
func TestDeepBodyOverHTTP(t *testing.T) {
	s := startSink(t)
	c := startPlain(t, s.settings())
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	value := records.AppendEmpty().Body()
	for range 800_000 {
		value = value.SetEmptyMap().PutEmpty("k")
	}
	value.SetStr("innermost")
	records.AppendEmpty().Body().SetStr("the next record")
	body, err := (&plog.ProtoMarshaler{}).MarshalLogs(logs)
	require.NoError(t, err)
	require.Greater(t, len(body), 13<<20)

	post(t, c.httpPort, "/v1/logs", "application/x-protobuf", body)
	got := s.waitFor("otelcol", 2)
	assert.Equal(t, strings.Repeat(`{"k":`, 64)+`"…"`+strings.Repeat("}", 64), string(got[0].GetLog().GetPayload()))
	assert.Equal(t, "the next record", string(got[1].GetLog().GetPayload()))
	c.eventually("the count of truncated items", func() bool { return c.metric("otelcol_exporter_loggregator_truncated_items") == 1 })
	require.NoError(t, c.Stop())
}
