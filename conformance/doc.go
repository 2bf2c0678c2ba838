// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package conformance checks the goldens of the mapping against the consumers behind Loggregator: each envelope gets through syslog, which
// feeds Log Cache, and each metric can be queried in PromQL with the right result.
//
// It contains only tests. It is a separate module because they use the parser and engine of Prometheus, which is large and must not become
// a dependency of collectors that include the exporter.
package conformance
