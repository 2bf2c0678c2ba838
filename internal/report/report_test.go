// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"maps"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/metric/metricdata/metricdatatest"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/metadatatest"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// However counts meet: in the end all of them add up.
func TestCounts(t *testing.T) {
	const pushers, pushes = 16, 1000
	telemetry := componenttest.NewTelemetry()
	r, logs := newReport(t, func(set *exporter.Settings) { set.TelemetrySettings = telemetry.NewTelemetrySettings() })
	r.Start(&statusHost{Host: componenttest.NewNopHost()})
	var wg sync.WaitGroup
	for range pushers {
		wg.Go(func() {
			for range pushes {
				r.Accepted(10)
				r.Dropped(DropOverflow, 3)
				r.Dropped(DropShutdown, 2)
				assert.GreaterOrEqual(t, r.Waiting(), int64(0))
			}
		})
	}
	wg.Go(func() {
		for range pushers * pushes / 10 {
			r.Accepted(3)
			r.Sent(delivery.Outcome{Envelopes: 1, Items: 1})
			r.Failed(refused.Err, 1)
			r.Rejected(translate.ReasonEmpty, 1)
		}
	})
	wg.Wait()
	assert.EqualValues(t, 5*pushers*pushes, r.Waiting())
	r.Shutdown()
	dropped := int64(0)
	for _, line := range logs.FilterMessageSnippet("The diode is full").All() {
		dropped += line.ContextMap()["dropped_items"].(int64)
	}
	assert.EqualValues(t, 3*pushers*pushes, dropped, "the log says it to the item")
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

// An item is accepted before it is counted out, and Waiting looks in the other order. So many stripes take it so long that pushes meet
// most calls; where there is one processor, enough of them.
func TestWaitingIsNotNegative(t *testing.T) {
	r, _ := newReport(t)
	r.pushes = make(pushes, 1<<16)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				r.Accepted(1)
				r.Dropped(DropOverflow, 1)
			}
		})
	}
	for met := 0; met < 30; {
		before := r.pushes.sum(acceptedItems)
		if waiting := r.Waiting(); waiting < 0 {
			t.Errorf("%d items wait", waiting)
			break
		}
		if r.pushes.sum(acceptedItems) != before {
			met++
		}
	}
	stop.Store(true)
	wg.Wait()
}

// fullQueue has a length and a capacity of its own.
type fullQueue struct{}

func (fullQueue) Len() int { return 3 }
func (fullQueue) Cap() int { return 7 }

func TestMetricsOfTheQueue(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	r, err := New(metadatatest.NewSettings(telemetry), Settings{Signal: pipeline.SignalTraces}, fullQueue{})
	require.NoError(t, err)
	r.Dropped(DropOverflow, 5)
	r.Dropped(DropShutdown, 11)
	id := attribute.String("exporter", "loggregator")
	point := func(value int64, attributes ...attribute.KeyValue) metricdata.DataPoint[int64] {
		return metricdata.DataPoint[int64]{Attributes: attribute.NewSet(append(attributes, id)...), Value: value}
	}
	type points = []metricdata.DataPoint[int64]
	dataType, signal := attribute.String("data_type", "traces"), attribute.String("signal", "traces")
	metadatatest.AssertEqualExporterQueueSize(t, telemetry, points{point(3, dataType)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterQueueCapacity(t, telemetry, points{point(7, dataType)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterEnqueueFailedSpans(t, telemetry, points{point(5)}, metricdatatest.IgnoreTimestamp())
	metadatatest.AssertEqualExporterLoggregatorDroppedItems(t, telemetry, points{
		point(5, signal, attribute.String("reason", "overflow")), point(11, signal, attribute.String("reason", "shutdown")),
	}, metricdatatest.IgnoreTimestamp())
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

func TestCountingAllocatesNothing(t *testing.T) {
	r, _ := newReport(t)
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		r.Accepted(1)
		r.Dropped(DropOverflow, 1)
	}))
}

// A goroutine stays with few stripes, however its stack moves, and many goroutines have many.
func TestStripes(t *testing.T) {
	p := newPushes()
	require.GreaterOrEqual(t, len(p), stripesPerProcessor)
	require.Zero(t, len(p)&(len(p)-1), "a power of two")
	used := make([]map[*stripe]bool, 8*len(p))
	var all sync.WaitGroup // One that ends would leave its stack to the next.
	all.Add(len(used))
	var wg sync.WaitGroup
	for g := range used {
		used[g] = map[*stripe]bool{}
		wg.Go(func() {
			for range 100 {
				used[g][p.stripe()] = true
			}
			all.Done()
			all.Wait()
		})
	}
	wg.Wait()
	together := map[*stripe]bool{}
	for _, of := range used {
		assert.LessOrEqual(t, len(of), 4)
		maps.Copy(together, of)
	}
	assert.Greater(t, len(together), len(p)/2)
}
