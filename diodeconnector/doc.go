// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package diodeconnector is an OpenTelemetry Collector connector that gives any exporter a queue that drops the oldest data, and a
// pipeline that never waits for it.
//
// What the first pipeline pushes goes into a diode, a ring buffer that never blocks and never refuses: when the next pipeline is slower for
// so long that the ring is full, the oldest batch is dropped and counted. One goroutine for each signal passes the batches on, in order.
package diodeconnector
