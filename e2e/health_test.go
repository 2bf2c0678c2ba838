// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
)

// eventuallyHealth waits until the health check extension answers with this code and status.
func (c *collector) eventuallyHealth(code int, status string) {
	c.t.Helper()
	c.eventually(status, func() bool {
		got, body := c.fetch(c.healthPort, "/")
		return got == code && strings.Contains(body, `"`+status+`"`)
	})
}

// The health check follows an outage.
func TestHealthFollowsLoggregator(t *testing.T) {
	forget := func(*loggregator_v2.Envelope) {}
	s := startSinkAt(t, "127.0.0.1:0", t.TempDir(), forget)
	c := startCollectorWith(t, nil, s.to()+", "+untiring)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	l := startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventually("what is sent", func() bool { return c.metric("otelcol_exporter_sent_log_records") > 0 })
	s.kill()
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
	startSinkAt(t, s.addr, s.certs, forget)
	c.eventuallyHealth(http.StatusOK, "StatusOK")
	l.stop()
}

// A wrong certificate is a recoverable error.
func TestHealthWrongCertificate(t *testing.T) {
	s := startSinkAt(t, "127.0.0.1:0", t.TempDir(), func(*loggregator_v2.Envelope) {})
	other := startSinkAt(t, "127.0.0.1:0", t.TempDir(), func(*loggregator_v2.Envelope) {})
	other.addr = s.addr // With the certificates of another authority.
	c := startCollectorWith(t, nil, other.to()+", "+untiring)
	startLoad(t, c, uniform(10, 1, 1, [3]int{}), 10)
	c.eventuallyHealth(http.StatusInternalServerError, "StatusRecoverableError")
}
