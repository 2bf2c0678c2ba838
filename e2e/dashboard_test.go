// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// query is PromQL, with a legend for each of its series, in which {{label}} stands for the value of a label.
type query struct {
	panel, Expr string
	Legend      string `json:"legendFormat"`
	Instant     bool   // at the end of the time range only
}

// panel is what these tests look at in a panel.
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

// labelValues is how a variable asks for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), *([a-z_]+)\)$`)

// readDashboard returns the queries of the panels and of the variables of a dashboard. In them the variables are replaced as if
// All were chosen of each; $__rate_interval and $__range are left.
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
	var all []string // the variables, each before the value for All
	for _, v := range dashboard.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		require.Equal(t, "query", v.Type, v.Name)
		var asks struct{ Query string }
		require.NoError(t, json.Unmarshal(v.Query, &asks), v.Name)
		m := labelValues.FindStringSubmatch(asks.Query)
		require.NotNil(t, m, "%s: not label_values: %s", v.Name, asks.Query)
		variables = append(variables, query{
			panel: "the variable " + m[2], Expr: fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), Legend: m[2],
		})
		all = append(all, "$"+v.Name, v.AllValue)
	}
	for i, p := range dashboard.Panels {
		assert.False(t, slices.ContainsFunc(dashboard.Panels[:i], p.overlaps) || p.GridPos.X+p.GridPos.W > 24, "%q has no place of its own", p.Title)
		if p.Type == "row" {
			continue
		}
		require.Contains(t, []string{"timeseries", "stat", "gauge"}, p.Type, p.Title)
		if p.Type != "timeseries" {
			assert.NotEmpty(t, p.FieldConfig.Defaults.NoValue, "what %q shows without a value", p.Title)
			assert.NotEmpty(t, p.FieldConfig.Defaults.Thresholds.Steps, "the thresholds of %q", p.Title)
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
