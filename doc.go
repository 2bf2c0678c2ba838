// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate tools/generate.sh

// Package loggregatorexporter is an OpenTelemetry Collector exporter that sends logs, metrics and traces to Cloud Foundry's
// Loggregator as v2 envelopes.
//
// The exporter never blocks the pipeline and never returns an error to it. A push puts the batch into a diode, a ring buffer with a
// bound in batches, items and bytes. If the diode is full, the push drops the oldest batches, or its own with the drop policy newest.
// One goroutine for each signal takes batches out, translates them to envelopes, and sends these to an agent or a router, within the
// rate limit of the exporter. A message that is not acknowledged is sent again until it is given up.
//
// Every item (log record, metric point, span) is counted exactly once: as sent, failed, dropped, rejected or waiting.
//
// README.md says when to use the exporter and how to configure it, docs/operations.md explains every setting, and docs/mapping.md
// what becomes of each kind of telemetry.
package loggregatorexporter
