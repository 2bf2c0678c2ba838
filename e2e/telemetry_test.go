// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// telemetry is OTLP, and the envelopes that it becomes.
type telemetry struct {
	Requests  []any
	Envelopes envelopes
}

// envelopes are read from protojson, or from YAML with the same content.
type envelopes []*loggregator_v2.Envelope

// UnmarshalYAML decodes a list of envelopes.
func (e *envelopes) UnmarshalYAML(node *yaml.Node) error {
	var encoded []any
	if err := node.Decode(&encoded); err != nil {
		return err
	}
	for _, one := range encoded {
		text, err := json.Marshal(one)
		if err != nil {
			return err
		}
		*e = append(*e, &loggregator_v2.Envelope{})
		if err := protojson.Unmarshal(text, (*e)[len(*e)-1]); err != nil {
			return err
		}
	}
	return nil
}

// readTelemetry reads a file of testdata: its telemetry by signal.
func readTelemetry(t *testing.T, file string) (all map[string]telemetry) {
	t.Helper()
	readYAML(t, "testdata/"+file, &all)
	return all
}

// signals are all of them.
var signals = []string{"logs", "metrics", "traces"}

// push pushes the telemetry of these signals.
func push(t *testing.T, conn *grpc.ClientConn, all map[string]telemetry, signals ...string) {
	t.Helper()
	ready := grpc.WaitForReady(true)
	for _, signal := range signals {
		for _, request := range all[signal].Requests {
			encoded, err := json.Marshal(request)
			require.NoError(t, err)
			switch signal {
			case "logs":
				request := plogotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = plogotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			case "metrics":
				request := pmetricotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = pmetricotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			case "traces":
				request := ptraceotlp.NewExportRequest()
				require.NoError(t, request.UnmarshalJSON(encoded))
				_, err = ptraceotlp.NewGRPCClient(conn).Export(t.Context(), request, ready)
			}
			require.NoError(t, err)
		}
	}
}

// requireDelivery pushes the telemetry of these signals, and requires that the sink gets its envelopes, and no others of their sources.
func (s *sink) requireDelivery(conn *grpc.ClientConn, all map[string]telemetry, signals ...string) {
	s.t.Helper()
	push(s.t, conn, all, signals...)
	for _, signal := range signals {
		want := all[signal].Envelopes
		requireEnvelopes(s.t, want, s.waitFor(want[0].GetSourceId(), len(want)))
	}
}

// requireEnvelopes compares without regard to order: Loggregator keeps none.
func requireEnvelopes(t *testing.T, want, got []*loggregator_v2.Envelope) {
	t.Helper()
	texts := func(envelopes []*loggregator_v2.Envelope) (all []string) {
		for _, e := range envelopes {
			all = append(all, protojson.MarshalOptions{}.Format(e))
		}
		return all
	}
	require.ElementsMatch(t, texts(want), texts(got))
}
