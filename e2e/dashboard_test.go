// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
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
func readDashboard(file string) (panels, variables []query, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var dashboard struct {
		Panels     []panel
		Templating struct {
			List []struct {
				Name, Type, AllValue string
				Query                json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []string // the variables, each before the value for All
	for _, v := range dashboard.Templating.List {
		switch v.Type {
		case "datasource":
		case "query":
			var asks struct{ Query string }
			if err := json.Unmarshal(v.Query, &asks); err != nil {
				return nil, nil, fmt.Errorf("%s: $%s: %w", file, v.Name, err)
			}
			m := labelValues.FindStringSubmatch(asks.Query)
			if m == nil {
				return nil, nil, fmt.Errorf("%s: $%s: not label_values: %s", file, v.Name, asks.Query)
			}
			variables = append(variables, query{
				panel: "the variable " + m[2], Expr: fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), Legend: m[2],
			})
			all = append(all, "$"+v.Name, v.AllValue)
		default:
			return nil, nil, fmt.Errorf("%s: $%s has the unknown type %s", file, v.Name, v.Type)
		}
	}
	for i, p := range dashboard.Panels {
		for _, other := range dashboard.Panels[:i] {
			if p.overlaps(other) || p.GridPos.X+p.GridPos.W > 24 {
				return nil, nil, fmt.Errorf("%s: the panel %q has no place of its own", file, p.Title)
			}
		}
		switch p.Type {
		case "row":
			continue
		case "timeseries":
		case "stat", "gauge":
			if p.FieldConfig.Defaults.NoValue == "" || len(p.FieldConfig.Defaults.Thresholds.Steps) == 0 {
				return nil, nil, fmt.Errorf("%s: the panel %q has no thresholds, or nothing to show without a value", file, p.Title)
			}
		default:
			return nil, nil, fmt.Errorf("%s: the panel %q has the unknown type %s", file, p.Title, p.Type)
		}
		for _, q := range p.Targets {
			q.panel = p.Title
			panels = append(panels, q)
		}
	}
	for _, queries := range [][]query{variables, panels} {
		for i := range queries {
			queries[i].Expr = strings.NewReplacer(all...).Replace(queries[i].Expr)
		}
	}
	return panels, variables, nil
}
