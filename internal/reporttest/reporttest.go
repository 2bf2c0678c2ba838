// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package reporttest helps tests of the exporter and the connector check the status, the metrics, and the contract of exporters.
package reporttest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Host records the status events of a component. Any goroutine may use it at any time.
type Host struct {
	Extensions map[component.ID]component.Component
	mu         sync.Mutex
	events     []*componentstatus.Event
}

// NewHost returns a host without extensions.
func NewHost() *Host { return &Host{} }

// GetExtensions implements [component.Host].
func (h *Host) GetExtensions() map[component.ID]component.Component { return h.Extensions }

// Report implements [componentstatus.Reporter].
func (h *Host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Events returns the recorded events.
func (h *Host) Events() []*componentstatus.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Statuses returns the statuses of the recorded events.
func (h *Host) Statuses() (statuses []componentstatus.Status) {
	for _, e := range h.Events() {
		statuses = append(statuses, e.Status())
	}
	return statuses
}

// Sum returns the sum of a metric's points with all of the given attributes, such as reason=overflow. For a histogram it sums the counts.
// Every point must have the attribute owner. name does not include the prefix otelcol_. ok reports whether the metric exists.
func Sum(tb testing.TB, t *componenttest.Telemetry, name, owner string, having ...string) (sum int, ok bool) {
	tb.Helper()
	add := func(set attribute.Set, value int) {
		attributes := strings.Split(set.Encoded(attribute.DefaultEncoder()), ",")
		require.Contains(tb, attributes, owner, name)
		if !slices.ContainsFunc(having, func(a string) bool { return !slices.Contains(attributes, a) }) {
			sum += value
		}
	}
	m, err := t.GetMetric("otelcol_" + name)
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, int(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, int(p.Value))
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			add(p.Attributes, int(p.Count))
		}
	}
	return sum, err == nil
}
