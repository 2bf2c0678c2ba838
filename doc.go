// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate tools/generate.sh

// Package loggregatorexporter is an OpenTelemetry Collector exporter that sends logs, metrics and traces to Cloud Foundry's
// Loggregator as v2 envelopes.
//
// What the pipeline pushes goes into a diode, a ring buffer that never makes it wait and never refuses: when Loggregator is
// slower than the pipeline for so long that the ring is full, the oldest batch gives way to the newest and is counted. One
// goroutine for each signal takes the batches out, translates them, and sends them within the rate limit.
package loggregatorexporter
