// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"errors"
	"io"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// Signal is a kind of telemetry, with the collector's names for it.
type Signal struct {
	Name  string // logs, metrics or traces
	Items string // in the names of metrics: log_records, metric_points or spans
}

// Signals lists all signals. All values per signal are in this order.
var Signals = []Signal{{"logs", "log_records"}, {"metrics", "metric_points"}, {"traces", "spans"}}

// Page holds the samples of a metrics page.
type Page []Sample

// Sample is the value of a series.
type Sample struct {
	Metric labels.Labels
	Value  float64
}

// ParsePage reads the exposition format of Prometheus. An empty page has no samples.
func ParsePage(text []byte) (Page, error) {
	var page Page
	for p := textparse.NewPromParser(text, labels.NewSymbolTable(), false); ; {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return page, nil
		case err != nil:
			return nil, err
		case entry == textparse.EntrySeries:
			var s Sample
			_, _, s.Value = p.Series()
			p.Labels(&s.Metric)
			page = append(page, s)
		}
	}
}

// Sum returns the sum of all series of a metric with these labels, given as name, value, name, value.
func (p Page) Sum(metric string, matching ...string) (sum float64) {
	matching = append(matching, model.MetricNameLabel, metric)
	for _, s := range p {
		matches := true
		for pair := range slices.Chunk(matching, 2) {
			matches = matches && s.Metric.Get(pair[0]) == pair[1]
		}
		if matches {
			sum += s.Value
		}
	}
	return sum
}

// Account holds the number of items of a signal by their outcome, as in the collector's metrics.
type Account struct{ Accepted, Sent, Failed, Dropped, Rejected, Waiting int }

// Accounts returns the account of each signal.
func (p Page) Accounts() []Account {
	var accounts []Account
	for _, s := range Signals {
		of := func(metric string, matching ...string) int { return int(p.Sum("otelcol_"+metric, matching...)) }
		accounts = append(accounts, Account{
			Accepted: of("receiver_accepted_" + s.Items),
			Sent:     of("exporter_sent_" + s.Items),
			Failed:   of("exporter_send_failed_" + s.Items),
			Dropped:  of("exporter_loggregator_dropped_items", "signal", s.Name),
			Rejected: of("exporter_loggregator_rejected_items", "signal", s.Name),
			Waiting:  of("exporter_loggregator_waiting_items", "signal", s.Name),
		})
	}
	return accounts
}

// Balanced reports whether the outcome of each accepted item is counted exactly once.
func (a Account) Balanced() bool {
	return a.Accepted == a.Sent+a.Failed+a.Dropped+a.Rejected+a.Waiting
}

// Minus returns the difference of two accounts.
func (a Account) Minus(b Account) Account {
	return Account{
		a.Accepted - b.Accepted, a.Sent - b.Sent, a.Failed - b.Failed, a.Dropped - b.Dropped, a.Rejected - b.Rejected,
		a.Waiting - b.Waiting,
	}
}

// Empty reports whether no item waits.
func Empty(accounts []Account) bool {
	return !slices.ContainsFunc(accounts, func(a Account) bool { return a.Waiting > 0 })
}
