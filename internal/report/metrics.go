// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"

	"go.opentelemetry.io/otel/metric"
)

// Observe registers a metric that observe reads when it is exported.
func Observe(register func(metric.Int64Callback) error, observe func(metric.Int64Observer)) error {
	return register(func(_ context.Context, o metric.Int64Observer) error {
		observe(o)
		return nil
	})
}
