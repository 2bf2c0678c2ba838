// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/reporttest"
)

func TestConsumeContract(t *testing.T) {
	f := newFixture(t)
	f.cfg.Batch.MaxEnvelopes = 1 // The contract expects a call per item.
	reporttest.CheckConsumeContract(t, f.cfg, func(signal pipeline.Signal, next reporttest.Consumer) (component.Component, func() int64) {
		f.ingress.RefuseIf(func(batch []*loggregator_v2.Envelope) error {
			if batch[0].GetCounter() != nil && batch[0].GetTags()["le"] != "+Inf" {
				return nil // A histogram point is counted by its last envelope.
			}
			switch err := next.ConsumeLogs(context.Background(), plog.NewLogs()); {
			case consumererror.IsPermanent(err):
				return status.Error(codes.Internal, err.Error())
			case err != nil:
				return status.Error(codes.Unavailable, err.Error())
			}
			return nil
		})
		e := f.create(signal.String())
		return e.Component, e.waiting
	})
}

func TestSignals(t *testing.T) {
	f := newFixture(t)
	for signal := range itemNames {
		e := f.start(signal)
		assert.False(t, e.Component.(interface{ Capabilities() consumer.Capabilities }).Capabilities().MutatesData)
		e.push(0, 1, 0)
		e.stop()
		assert.Len(t, f.numbers(signal), 1)
		f.check(signal, counts{sent: 1})
		assert.Equal(t, 1, f.sum("exporter_loggregator_send_duration", "signal="+signal))
	}
	assert.Empty(t, f.logs.All())
}

func TestSharedConnection(t *testing.T) {
	f := newFixture(t)
	logs, traces := f.start("logs"), f.start("traces")
	other := *f.cfg
	f.cfg = &other
	another := f.create("logs")
	logs.push(0, 1, 0)
	traces.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 2)
	assert.Equal(t, 1, f.ingress.Connections(), "two signals of one exporter ID")

	require.NoError(t, another.Start(t.Context(), f.host))
	another.push(0, 1, 0)
	f.ingress.WaitForEnvelopes(t, 3)
	assert.Equal(t, 2, f.ingress.Connections(), "another exporter ID")

	another.stop()
	logs.stop()
	traces.push(1, 1, 0)
	f.ingress.WaitForEnvelopes(t, 4)
	traces.stop()
	f.ingress.WaitFor(t, "the last user to close the connection", func() bool { return f.ingress.Connections() == 0 })
}
