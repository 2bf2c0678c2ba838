// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:generate tools/generate.sh

// Package loggregatorexporter is an OpenTelemetry Collector exporter that sends logs, metrics and traces to Cloud Foundry's
// Loggregator as v2 envelopes.
//
// The exporter never blocks the pipeline and never returns an error to it. A push puts its batch into a diode, a ring buffer bounded
// in batches, items and bytes. If the diode is full, the push drops the oldest batches or, with the drop policy newest, its own.
// One goroutine per signal takes batches out, translates them to envelopes, and sends these to an agent or a router, within the
// exporter's rate limit. It retries each message until the message is acknowledged or given up.
//
// Every item (log record, metric point, span) is counted exactly once: as sent, failed, dropped, rejected or waiting.
//
// README.md describes when to use the exporter and how to configure it, docs/operations.md the settings, and docs/mapping.md the
// translation of each kind of telemetry.
package loggregatorexporter
