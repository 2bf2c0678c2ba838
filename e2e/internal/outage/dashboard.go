// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Dashboard is what of a dashboard of Grafana is a chart over time.
type Dashboard struct {
	Title  string
	Panels []Panel
	// Variables are the queries of its variables, as PromQL.
	Variables []Query
}

// labelValues is how a variable asks for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((.+), *([a-z_]+)\)$`)

// ReadDashboard reads a dashboard. In its queries the variables are replaced as if All were chosen of each, and the
// default of a text box; $__rate_interval is left.
func ReadDashboard(file string) (*Dashboard, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var model struct {
		Title  string
		Panels []struct {
			Type, Title string
			FieldConfig struct {
				Defaults struct {
					Unit   string
					Custom struct {
						ScaleDistribution struct{ Type string }
					}
				}
			}
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct {
				Name, Type, AllValue string
				Query                json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(b, &model); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &Dashboard{Title: model.Title}
	values := map[string]string{}
	for _, v := range model.Templating.List {
		switch v.Type {
		case "datasource":
		case "query":
			var query struct{ Query string }
			if err := json.Unmarshal(v.Query, &query); err != nil {
				return nil, fmt.Errorf("%s: $%s: %w", file, v.Name, err)
			}
			m := labelValues.FindStringSubmatch(query.Query)
			if m == nil {
				return nil, fmt.Errorf("%s: $%s: not label_values: %s", file, v.Name, query.Query)
			}
			d.Variables = append(d.Variables, Query{Expr: fmt.Sprintf("count by (%s) (%s)", m[2], m[1]), Legend: m[2]})
			values["$"+v.Name] = v.AllValue
		default:
			return nil, fmt.Errorf("%s: $%s has the unknown type %s", file, v.Name, v.Type)
		}
	}
	replace := func(expr string) string {
		for name, value := range values {
			expr = strings.ReplaceAll(expr, name, value)
		}
		return expr
	}
	for i := range d.Variables {
		d.Variables[i].Expr = replace(d.Variables[i].Expr)
	}
	for _, p := range model.Panels {
		switch p.Type {
		case "row":
			continue
		case "timeseries":
		default:
			return nil, fmt.Errorf("%s: the panel %q has the unknown type %s", file, p.Title, p.Type)
		}
		defaults := p.FieldConfig.Defaults
		panel := Panel{Title: p.Title, Unit: defaults.Unit, Log: defaults.Custom.ScaleDistribution.Type == "log"}
		for _, t := range p.Targets {
			panel.Queries = append(panel.Queries, Query{Expr: replace(t.Expr), Legend: t.LegendFormat})
		}
		d.Panels = append(d.Panels, panel)
	}
	return d, nil
}
