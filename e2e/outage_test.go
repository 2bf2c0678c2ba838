// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
)

// The alerts see the run stretched from seconds to minutes: a second becomes five minutes, and reading the metrics every 50 ms
// becomes a scrape every 15 s.
const (
	outageInterval = 50 * time.Millisecond
	outageStretch  = 300
	outageMaxItems = 2000
)

// A stalled Loggregator does not delay the pipeline, and every item is counted once. The dashboard and the alerts are evaluated on the
// metrics of the run.
func TestOutage(t *testing.T) {
	recorded := newRecording()
	report, err := outage.Run(t.Context(), outage.Options{
		Collector: collectorBinary,
		Dir:       t.TempDir(),
		Phases: []outage.Phase{
			{Name: "before", Duration: 1500 * time.Millisecond},
			{Name: "stall", Duration: 3 * time.Second, Fault: outage.Stall},
			{Name: "after", Duration: 2 * time.Second},
			{Name: "broken", Duration: 2500 * time.Millisecond, Fault: outage.Break},
		},
		Interval: outageInterval, Batches: 40, Capacity: 60, MaxItems: outageMaxItems, OnSnapshot: recorded.record,
	})
	require.NoError(t, err)
	for _, p := range report.Phases {
		t.Logf("%s: %d pushes, p50 %s, p99 %s, %+v", p.Name, p.Pushes, p.P50, p.P99, p.Delta)
	}

	t.Run("accounts", func(t *testing.T) {
		before, stall := report.Phases[0], report.Phases[1]
		for i, signal := range outage.Signals {
			a := report.Accounts[i]
			t.Logf("%s: %+v, %d pushed, %d arrived", signal.Name, a, report.Pushed[i], report.Arrived[i])
			assert.True(t, a.Balanced(), "%s: %+v", signal.Name, a)
			assert.Equal(t, report.Pushed[i], a.Accepted, "%s: pushed and accepted", signal.Name)
			assert.Equal(t, report.Arrived[i], a.Sent, "%s: arrived and sent", signal.Name)
			assert.Zero(t, a.Waiting, signal.Name)
			assert.Zero(t, before.Delta[i].Dropped, "%s: dropped before the stall", signal.Name)
			assert.Positive(t, stall.Delta[i].Dropped, "%s: dropped during the stall", signal.Name)
			assert.Positive(t, stall.Delta[i].Accepted, "%s: accepted during the stall", signal.Name)
			assert.Zero(t, stall.Delta[i].Failed, "%s: failed during the stall", signal.Name)
		}
	})
	t.Run("push latency", func(t *testing.T) {
		before, stall := report.Phases[0], report.Phases[1]
		// A push that waited for Loggregator would take until the end of the stall. A slow machine may add some time.
		assert.Less(t, stall.P99, 4*before.P99+time.Second, "p99 during the stall; %s before it", before.P99)
	})
	t.Run("dashboard", func(t *testing.T) { checkDashboard(t, recorded, report) })
	t.Run("alerts", func(t *testing.T) { checkAlerts(t, recorded, report) })
}

// checkDashboard runs each query of the dashboard. Each must return data, and the single numbers must match the report of the run.
func checkDashboard(t *testing.T, recorded *recording, report *outage.Report) {
	panels, variables := readDashboard(t, "../deploy/grafana/dashboard.json")
	from, to := recorded.span()
	numbers := map[string]float64{} // single numbers, by panel and series
	for _, q := range slices.Concat(variables, panels) {
		checkSelectors(t, recorded, q.panel, q.Expr)
		begin := from
		if q.Instant {
			begin = to
		}
		matrix, err := recorded.rangeQuery(t.Context(), q.Expr, begin, to, recorded.interval())
		require.NoErrorf(t, err, "%s: %s", q.panel, q.Expr)
		points := 0
		for _, series := range matrix {
			points += len(series.Floats)
			if q.Instant {
				name := strings.NewReplacer("{{reason}}", series.Metric.Get("reason"), "{{error_type}}", series.Metric.Get("error_type")).Replace(q.Legend)
				numbers[q.panel+", "+name] = series.Floats[0].F
			}
			for part := range strings.SplitSeq(q.Legend, "{{") {
				if label, _, ok := strings.Cut(part, "}}"); ok {
					assert.NotEmptyf(t, series.Metric.Get(label), "%s: %s has no label %s for its legend", q.panel, q.Expr, label)
				}
			}
		}
		assert.NotZerof(t, points, "%s: no data for %s", q.panel, q.Expr)
	}
	var sum outage.Account
	for _, a := range report.Accounts {
		sum.Sent, sum.Failed, sum.Dropped, sum.Rejected = sum.Sent+a.Sent, sum.Failed+a.Failed, sum.Dropped+a.Dropped, sum.Rejected+a.Rejected
	}
	for series, want := range map[string]int{
		"Delivered, delivered":                     sum.Sent,
		"Lost, by reason, dropped: overflow":       sum.Dropped,
		"Lost, by reason, failed: InvalidArgument": sum.Failed,
	} {
		assert.InEpsilon(t, want, numbers[series], 0.1, "%s: %v", series, numbers)
	}
	lost := sum.Failed + sum.Dropped + sum.Rejected
	assert.InEpsilon(t, float64(sum.Sent)/float64(sum.Sent+lost), numbers["Share delivered, share"], 0.1)
}

// checkSelectors runs each selector of a query on its own: a query can return data although one of its metrics does not exist.
func checkSelectors(t *testing.T, recorded *recording, of, expr string) {
	t.Helper()
	from, to := recorded.span()
	// The parser does not know Grafana's variables.
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(recorded.interpolate(expr))
	require.NoErrorf(t, err, "%s: %s", of, expr)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		alone := parser.VectorSelector{Name: selector.Name, LabelMatchers: selector.LabelMatchers}
		found, err := recorded.rangeQuery(t.Context(), alone.String(), from, to, recorded.interval())
		require.NoErrorf(t, err, "%s: %s", of, alone.String())
		assert.NotEmptyf(t, found, "%s: the collector has no %s", of, alone.String())
		return nil
	})
}

// checkAlerts evaluates the alerts as Prometheus does, during the run and for a while after the end of the collector.
func checkAlerts(t *testing.T, recorded *recording, report *outage.Report) {
	quiet := slog.New(slog.DiscardHandler)
	groups, errs := rulefmt.ParseFile("../deploy/prometheus/alerts.yaml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), quiet)
	require.Empty(t, errs)

	// After the end of the collector, up is 0 and all other series are stale.
	stretched := recorded.stretched(outageStretch)
	const scrape = outageInterval * outageStretch
	from, end := stretched.span()
	stretched.end(end.Add(scrape))
	last := end.Add(20 * time.Minute)
	for at := end.Add(scrape); at.Before(last); at = at.Add(scrape) {
		stretched.up(at, 0)
	}
	at := func(run time.Time) time.Time { return from.Add(run.Sub(from) * outageStretch) }
	phases := map[string][2]time.Time{"gone": {end.Add(scrape), last}}
	for _, p := range report.Phases {
		phases[p.Name] = [2]time.Time{at(p.Start), at(p.End)}
	}

	engine := newEngine()
	defer engine.Close()
	query := rules.EngineQueryFunc(engine, stretched)
	firing := map[string]map[string][]time.Time{} // by alert and signal
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			require.NotEmpty(t, rule.Alert)
			assert.Containsf(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
			// TestLinks checks that this heading exists.
			runbook := "https://github.com/" + owner + "/blob/main/docs/operations.md#" + strings.ToLower(rule.Alert)
			assert.Equal(t, runbook, rule.Annotations["runbook_url"], "the runbook of the alert")
			for _, annotation := range []string{"summary", "description"} {
				assert.NotEmptyf(t, rule.Annotations[annotation], "%s: %s", rule.Alert, annotation)
			}
			checkSelectors(t, recorded, rule.Alert, rule.Expr)
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(rule.Expr)
			require.NoError(t, err)
			alert := rules.NewAlertingRule(rule.Alert, expr, time.Duration(rule.For), time.Duration(rule.KeepFiringFor),
				labels.FromMap(rule.Labels), labels.FromMap(rule.Annotations), labels.EmptyLabels(), "", true, quiet)
			firing[rule.Alert] = map[string][]time.Time{}
			for now := from; now.Before(last); now = now.Add(scrape) {
				_, err := alert.Eval(t.Context(), 0, now, query, nil, 0)
				require.NoErrorf(t, err, rule.Alert)
				for _, a := range alert.ActiveAlerts() {
					assert.NotContainsf(t, a.Annotations.Get("summary")+a.Annotations.Get("description"), "<error", rule.Alert)
					assert.NotContainsf(t, a.Annotations.Get("summary"), "<no value>", rule.Alert)
					if a.State == rules.StateFiring {
						signal := cmp.Or(a.Labels.Get("signal"), a.Labels.Get("data_type"))
						firing[rule.Alert][signal] = append(firing[rule.Alert][signal], now)
					}
				}
			}
		}
	}
	noSignal := []string{""}
	expected := []struct {
		alert   string
		phase   string
		signals []string // for which it fires in the phase
		silent  []string // phases in which it does not fire
	}{
		{"LoggregatorExporterDropping", "stall", signals, []string{"before", "gone"}},
		{"LoggregatorExporterFillingUp", "stall", signals, []string{"before", "gone"}},
		{"LoggregatorExporterNotSending", "stall", signals, []string{"before", "gone"}},
		{"LoggregatorExporterFailing", "broken", signals, []string{"before", "stall", "after"}},
		{"LoggregatorExporterRejecting", "broken", []string{"logs", "metrics"}, []string{"before", "stall", "after"}},
		{"LoggregatorExporterTargetDown", "gone", noSignal, []string{"before", "stall", "after", "broken"}},
		{"LoggregatorExporterAbsent", "gone", noSignal, []string{"before", "stall", "after", "broken"}},
	}
	var names []string
	for _, e := range expected {
		names = append(names, e.alert)
		fires := func(phase, signal string) bool {
			return slices.ContainsFunc(firing[e.alert][signal], func(at time.Time) bool {
				return !at.Before(phases[phase][0]) && at.Before(phases[phase][1])
			})
		}
		for _, signal := range e.signals {
			assert.Truef(t, fires(e.phase, signal), "%s does not fire for %q in the phase %s", e.alert, signal, e.phase)
		}
		for signal := range firing[e.alert] {
			for _, phase := range e.silent {
				assert.Falsef(t, fires(phase, signal), "%s fires for %q in the phase %s", e.alert, signal, phase)
			}
		}
		for signal, times := range firing[e.alert] {
			t.Logf("%s %s: fires from minute %.1f to %.1f", e.alert, signal, times[0].Sub(from).Minutes(),
				times[len(times)-1].Sub(from).Minutes())
		}
	}
	for signal, times := range firing["LoggregatorExporterNotSending"] {
		assert.Falsef(t, slices.ContainsFunc(times, func(at time.Time) bool {
			return !at.Before(phases["after"][1].Add(-2*scrape)) && at.Before(phases["broken"][0])
		}), "LoggregatorExporterNotSending fires for %s although sends succeed", signal)
	}
	assert.ElementsMatch(t, names, slices.Collect(maps.Keys(firing)), "the alerts in alerts.yaml")
}

// query is a PromQL query, with a legend for its series, in which {{label}} is replaced with the value of a label.
type query struct {
	panel, Expr string
	Legend      string `json:"legendFormat"`
	Instant     bool   // at the end of the time range only
}

// panel holds the tested fields of a panel.
type panel struct {
	Type, Title string
	Targets     []query
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			NoValue    string
			Thresholds struct{ Steps []any }
		}
	}
}

// overlaps reports whether two panels share a cell of the grid.
func (p panel) overlaps(o panel) bool {
	a, b := p.GridPos, o.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// labelValues matches a variable's query for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), *([a-z_]+)\)$`)

// readDashboard returns the queries of a dashboard's panels and variables. Each variable in them is replaced with its value for All;
// $__rate_interval and $__range remain.
func readDashboard(t *testing.T, file string) (panels, variables []query) {
	t.Helper()
	var dashboard struct {
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type, AllValue string
				Query                json.RawMessage
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, file)), &dashboard))
	var all []string // pairs of a variable and its value for All
	for _, v := range dashboard.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		require.Equal(t, "query", v.Type, v.Name)
		var values struct{ Query string }
		require.NoError(t, json.Unmarshal(v.Query, &values), v.Name)
		m := labelValues.FindStringSubmatch(values.Query)
		require.NotNil(t, m, "%s: not label_values: %s", v.Name, values.Query)
		variables = append(variables, query{
			panel: "the variable " + m[2], Expr: fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), Legend: m[2],
		})
		all = append(all, "$"+v.Name, v.AllValue)
	}
	for i, p := range dashboard.Panels {
		assert.False(t, slices.ContainsFunc(dashboard.Panels[:i], p.overlaps) || p.GridPos.X+p.GridPos.W > 24, "%q overlaps another panel", p.Title)
		if p.Type == "row" {
			continue
		}
		require.Contains(t, []string{"timeseries", "stat", "gauge"}, p.Type, p.Title)
		if p.Type != "timeseries" {
			assert.NotEmpty(t, p.FieldConfig.Defaults.NoValue, "%q: the text without a value", p.Title)
			assert.NotEmpty(t, p.FieldConfig.Defaults.Thresholds.Steps, "%q: the thresholds", p.Title)
		}
		for _, q := range p.Targets {
			q.panel = p.Title
			panels = append(panels, q)
		}
	}
	require.NotEmpty(t, panels)
	require.NotEmpty(t, variables)
	for _, queries := range [][]query{variables, panels} {
		for i := range queries {
			queries[i].Expr = strings.NewReplacer(all...).Replace(queries[i].Expr)
		}
	}
	return panels, variables
}
