// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// eventuallyHealth waits until the health check extension answers with this code and status.
func (c *collector) eventuallyHealth(code int, status string) {
	c.t.Helper()
	c.eventually(status, func() bool {
		got, body, _ := outage.Get(outage.Loopback(c.healthPort), "/")
		return got == code && strings.Contains(string(body), `"`+status+`"`)
	})
}

// The health check follows an outage.
func TestHealthFollowsLoggregator(t *testing.T) {
	s := startSinkTo(t, discard)
	c := startPlain(t, s.to()+", "+untiring)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	l := startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventually("what is sent", func() bool { return c.metric("otelcol_exporter_sent_log_records") > 0 })
	s.Kill()
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
	s.listen(t, s.addr)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	require.NoError(t, l.Stop())
}

// A wrong certificate is a recoverable error.
func TestHealthWrongCertificate(t *testing.T) {
	s, other := startSinkTo(t, discard), startSinkTo(t, discard)
	other.addr = s.addr // With the certificates of another authority.
	c := startPlain(t, other.to()+", "+untiring)
	startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
}
