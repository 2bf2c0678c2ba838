// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance checks the goldens of the mapping against what stands behind Loggregator: each envelope gets through
// syslog, which is how Log Cache is fed, and each metric can be asked for in PromQL, with the answer that the data has.
//
// It has tests only. It is a module of its own because Prometheus, whose parser and engine they use, is large, and nobody
// who builds the exporter into a collector should have it among the dependencies.
package conformance
