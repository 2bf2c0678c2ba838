// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package reporttest has what tests look at of what a component reports.
package reporttest

import (
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Host keeps the status events of a component. Any goroutine may use it at any time.
type Host struct {
	component.Host
	mu     sync.Mutex
	events []*componentstatus.Event
}

// NewHost returns a host without extensions.
func NewHost() *Host { return &Host{Host: componenttest.NewNopHost()} }

// Report implements [componentstatus.Reporter].
func (h *Host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Events returns the events so far.
func (h *Host) Events() []*componentstatus.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// Statuses returns the statuses of the events so far.
func (h *Host) Statuses() (statuses []componentstatus.Status) {
	for _, e := range h.Events() {
		statuses = append(statuses, e.Status())
	}
	return statuses
}

// Points returns the points of a counter or gauge of the collector, without the prefix otelcol_ of its name. The error is that it has none.
func Points(t *componenttest.Telemetry, name string) ([]metricdata.DataPoint[int64], error) {
	m, err := t.GetMetric("otelcol_" + name)
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		return data.DataPoints, err
	case metricdata.Gauge[int64]:
		return data.DataPoints, err
	default:
		return nil, err
	}
}

// Has reports whether attributes have all of these.
func Has(attributes attribute.Set, these ...attribute.KeyValue) bool {
	for _, want := range these {
		if got, ok := attributes.Value(want.Key); !ok || got != want.Value {
			return false
		}
	}
	return true
}
