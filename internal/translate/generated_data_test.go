// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/testdata"
)

// What the collector's own generators make, which all exporters are tested with, gets through whole: every item is in envelopes
// or rejected (requireItems, in the functions called), and every envelope fits.
func TestDataOfTheCollectorsGenerators(t *testing.T) {
	for _, n := range []int{1, 7, 200} {
		logs := testdata.GenerateLogs(n)
		out := translateLogs(t, defaults(), logs)
		requireFit(t, out.envelopes)
		requireSame(t, out, translateLogs(t, defaults(), logs))
		require.Empty(t, out.rejected, "logs")

		metrics := testdata.GenerateMetrics(n)
		out = translateMetrics(t, defaults(), metrics)
		requireFit(t, out.envelopes)
		requireSame(t, out, translateMetrics(t, defaults(), metrics))
		for reason := range out.rejected {
			require.Equal(t, ReasonTemporality, reason, "the generator makes a delta histogram")
		}

		traces := testdata.GenerateTraces(n)
		opts := options(spanEvents)
		out = translateTraces(t, opts, traces)
		requireFit(t, out.envelopes)
		requireSame(t, out, translateTraces(t, opts, traces))
		require.Empty(t, out.rejected, "traces")
	}
}
