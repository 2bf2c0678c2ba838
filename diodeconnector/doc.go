// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package diodeconnector is an OpenTelemetry Collector connector that gives any exporter a queue that drops the oldest data instead of
// blocking the pipeline.
//
// The first pipeline pushes into a diode, a ring buffer that never blocks and never refuses data. If the next pipeline is too slow and
// the ring is full, the oldest batches or, with the drop policy newest, the new one are dropped and counted. One goroutine per signal passes the batches on, in order.
package diodeconnector
