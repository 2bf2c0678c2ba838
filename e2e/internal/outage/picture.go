// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package outage

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is a chart over time.
type Panel struct {
	Title   string
	Unit    string // as in Grafana: short, ops, s, bytes, Bps, percentunit
	Log     bool   // whether the axis is logarithmic
	Queries []Query
}

// Query is PromQL, with a legend for each of its series, in which {{label}} stands for the value of a label.
type Query struct{ Expr, Legend string }

// demoPanels are those of the picture of a run.
func demoPanels() []Panel {
	perSignal := func(format, legend string) []Query {
		var queries []Query
		for _, s := range Signals {
			queries = append(queries, Query{
				Expr:   strings.NewReplacer("$items", s.Items, "$signal", s.Name).Replace(format),
				Legend: s.Name + legend,
			})
		}
		return queries
	}
	return []Panel{
		{Title: "Accepted", Unit: "ops", Queries: perSignal(`rate(otelcol_receiver_accepted_$items[$__rate_interval])`, "")},
		{Title: "Sent", Unit: "ops", Queries: perSignal(`rate(otelcol_exporter_sent_$items[$__rate_interval])`, "")},
		{Title: "Dropped", Unit: "ops", Queries: perSignal(
			`sum(rate(otelcol_exporter_loggregator_dropped_items{signal="$signal"}[$__rate_interval]))`, "")},
		{Title: "Waiting items", Unit: "short", Queries: perSignal(
			`otelcol_exporter_loggregator_waiting_items{signal="$signal"}`, "")},
		// The median over a second: one look sees few pushes.
		{Title: "Duration of a push, as the OTLP client sees it", Unit: "s", Log: true, Queries: slices.Concat(
			perSignal(`quantile_over_time(0.5, demo_push_seconds{signal="$signal", quantile="0.5"}[1s])`, " p50"),
			perSignal(`max_over_time(demo_push_seconds{signal="$signal", quantile="0.99"}[1s])`, " p99"),
		)},
	}
}

// DrawDemo draws how the items of a run went and how long pushes took, one chart above the other.
func DrawDemo(r *Recording, file string) error {
	return drawFile(r, "A collector through an outage: Loggregator stalls where it is grey", demoPanels(), 1, file)
}

// DrawDashboard draws the panels of a dashboard side by side.
func DrawDashboard(r *Recording, d *Dashboard, file string) error {
	return drawFile(r, d.Title+", through an outage: Loggregator stalls where it is grey", d.Panels, 2, file)
}

// colors are told apart by those who see less of them too.
var colors = []color.RGBA{
	{0, 114, 178, 255}, {230, 159, 0, 255}, {0, 158, 115, 255}, {213, 94, 0, 255}, {204, 121, 167, 255}, {86, 180, 233, 255},
}

var (
	shade = color.RGBA{226, 226, 226, 255}
	grid  = color.RGBA{200, 200, 200, 255}
)

const (
	pictureWidth = 900
	panelHeight  = 165
	legendHeight = 15 // between the title of a chart and its data
)

var typeface = font.Font{Typeface: "Liberation", Variant: "Sans"}

// style is that of a text, which goes on to the right of a point.
func style(size vg.Length) draw.TextStyle {
	s := plot.New().Title.TextStyle
	s.Font = typeface
	s.Font.Size = size
	s.XAlign, s.YAlign = draw.XLeft, draw.YCenter
	return s
}

func drawFile(r *Recording, title string, panels []Panel, columns int, file string) error {
	rows := (len(panels) + columns - 1) / columns
	c := vgsvg.New(pictureWidth, vg.Length(panelHeight*rows+40))
	dc := draw.New(c)
	dc.SetColor(color.White)
	dc.Fill(dc.Path())

	dc.FillText(style(14), vg.Point{X: dc.Min.X + 10, Y: dc.Max.Y - 14}, title)
	dc = draw.Crop(dc, 4, -8, 4, -34)

	plots := make([][]*plot.Plot, rows)
	legends := map[*plot.Plot][]entry{}
	for i := range plots {
		plots[i] = make([]*plot.Plot, columns)
	}
	for i, panel := range panels {
		p, legend, err := r.chart(panel)
		if err != nil {
			return fmt.Errorf("%s: %w", panel.Title, err)
		}
		plots[i/columns][i%columns], legends[p] = p, legend
	}
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 16, PadY: 10}
	for i, canvases := range plot.Align(plots, tiles, dc) {
		for k, canvas := range canvases {
			if p := plots[i][k]; p != nil {
				p.Draw(canvas)
				drawLegend(legends[p], p.DataCanvas(canvas))
			}
		}
	}
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return err
	}
	// Not every reader has the font.
	svg := bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(file, svg, 0o644)
}

// entry is a line in the legend of a chart.
type entry struct {
	name  string
	style draw.LineStyle
}

// drawLegend writes a legend from left to right into the room above the data. gonum's own stands on the data.
func drawLegend(entries []entry, dc draw.Canvas) {
	const sample, gap = 14, 4
	text := style(8)
	x, y := dc.Min.X, dc.Max.Y+legendHeight/2
	for _, e := range entries {
		dc.StrokeLine2(e.style, x, y, x+sample, y)
		x += sample + gap
		dc.FillText(text, vg.Point{X: x, Y: y}, e.name)
		x += text.Width(e.name)*1.12 + 2*gap // The reader may have wider letters.
	}
}

// chart draws a panel, with the stall in grey behind it. Its legend is for the room above its data.
func (r *Recording) chart(panel Panel) (*plot.Plot, []entry, error) {
	from, to := r.Span()
	p := plot.New()
	p.Title.Text = panel.Title
	p.Title.TextStyle.Font = typeface
	p.Title.TextStyle.Font.Size = 11
	p.Title.Padding = legendHeight
	p.X.Min, p.X.Max = 0, to.Sub(from).Seconds()
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Tick.Label.Font = typeface
		axis.Tick.Label.Font.Size = 8
		axis.Tick.Length = 0
		axis.Width = 0
	}
	p.X.Padding, p.Y.Padding = 3, 4
	p.X.Tick.Marker = ticks{unit: "time", most: 9}
	p.Y.Tick.Marker = ticks{unit: panel.Unit, most: 5, log: panel.Log}
	lines, low, high, err := r.lines(panel)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case panel.Log:
		p.Y.Scale = plot.LogScale{}
		low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	default:
		low = min(low, 0)
		if high <= low {
			high = low + 1
		}
		high += (high - low) * 0.1
	}
	top := high
	if panel.Log {
		top *= 1.6 // Room for the highest label.
	}
	for _, s := range r.stalls() {
		x0, x1 := s[0].Sub(from).Seconds(), s[1].Sub(from).Seconds()
		stall, err := plotter.NewPolygon(plotter.XYs{{X: x0, Y: low}, {X: x1, Y: low}, {X: x1, Y: top}, {X: x0, Y: top}})
		if err != nil {
			return nil, nil, err
		}
		stall.Color, stall.Width = shade, 0
		p.Add(stall)
	}
	lattice := plotter.NewGrid()
	lattice.Horizontal.Color, lattice.Vertical.Color = grid, color.Transparent
	lattice.Horizontal.Width = 0.4
	p.Add(lattice)
	var legend []entry
	for i, l := range lines {
		style := draw.LineStyle{Color: colors[i%len(colors)], Width: 1.4}
		if i == 0 && len(lines) > 1 {
			style.Width = 3 // So that it is seen behind another one.
		}
		if i >= len(colors) {
			style.Dashes = []vg.Length{4, 2}
		}
		for _, part := range l.parts {
			line, err := plotter.NewLine(part)
			if err != nil {
				return nil, nil, err
			}
			line.LineStyle = style
			p.Add(line)
		}
		legend = append(legend, entry{l.name, style})
	}
	p.Y.Min, p.Y.Max = low, top
	return p, legend, nil
}

// line is a series of a panel, in parts, because there are times without a value.
type line struct {
	name  string
	parts []plotter.XYs
}

func (l line) always0() bool {
	for _, part := range l.parts {
		if slices.ContainsFunc(part, func(p plotter.XY) bool { return p.Y != 0 }) {
			return false
		}
	}
	return true
}

// lines asks the queries of a panel, over the whole recording, and finds the bounds of their values.
func (r *Recording) lines(panel Panel) (lines []line, low, high float64, err error) {
	from, to := r.Span()
	step := r.Interval()
	low, high = math.Inf(1), math.Inf(-1)
	for _, q := range panel.Queries {
		matrix, err := r.Range(context.Background(), q.Expr, from, to, step)
		if err != nil {
			return nil, 0, 0, fmt.Errorf("%s: %w", q.Expr, err)
		}
		for _, series := range matrix {
			l := line{name: q.legend(series.Metric)}
			last := int64(math.MinInt64 / 2)
			for _, f := range series.Floats {
				if math.IsNaN(f.F) || math.IsInf(f.F, 0) || panel.Log && f.F <= 0 {
					continue
				}
				if f.T-last > step.Milliseconds() {
					l.parts = append(l.parts, nil)
				}
				last = f.T
				low, high = min(low, f.F), max(high, f.F)
				part := &l.parts[len(l.parts)-1]
				*part = append(*part, plotter.XY{X: time.UnixMilli(f.T).Sub(from).Seconds(), Y: f.F})
			}
			if len(l.parts) > 0 {
				lines = append(lines, l)
			}
		}
	}
	if len(lines) == 0 {
		return nil, 0, 0, fmt.Errorf("nothing to draw for %q", panel.Queries)
	}
	return legible(lines), low, high, nil
}

// legible shortens the names of lines. For those that are always 0 there is no room.
func legible(lines []line) []line {
	some := slices.DeleteFunc(slices.Clone(lines), line.always0)
	switch {
	case len(some) == 0:
		return []line{{name: "all are 0", parts: lines[0].parts}}
	case len(lines) > 3:
		lines = some
	}
	for {
		first, _, ok := strings.Cut(lines[0].name, " ")
		other := func(l line) bool { return !strings.HasPrefix(l.name, first+" ") }
		if !ok || len(lines) == 1 || slices.ContainsFunc(lines, other) {
			return lines
		}
		for i := range lines {
			lines[i].name = strings.TrimPrefix(lines[i].name, first+" ")
		}
	}
}

// legend is the legend of a series.
func (q Query) legend(metric labels.Labels) string {
	text := q.Legend
	metric.Range(func(l labels.Label) { text = strings.ReplaceAll(text, "{{"+l.Name+"}}", l.Value) })
	return text
}

// Range asks a query as a chart of Grafana would, which replaces its variables.
func (r *Recording) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	engine := NewEngine()
	defer engine.Close()
	expr = strings.ReplaceAll(expr, "$__rate_interval", fmt.Sprintf("%dms", 4*r.Interval().Milliseconds()))
	query, err := engine.NewRangeQuery(ctx, r, nil, expr, from, to, step)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	matrix, err := result.Matrix()
	if err != nil {
		return nil, err
	}
	// The points are the query's, which uses them again after Close.
	copied := make(promql.Matrix, len(matrix))
	for i, s := range matrix {
		copied[i] = promql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats)}
	}
	return copied, nil
}

// stalls are the times in which Loggregator stalled.
func (r *Recording) stalls() (spans [][2]time.Time) {
	for _, s := range r.byName[StalledMetric] {
		for i, p := range s.Floats {
			switch at := time.UnixMilli(p.T); {
			case p.F == 0:
			case i > 0 && s.Floats[i-1].F == 1:
				spans[len(spans)-1][1] = at
			default:
				spans = append(spans, [2]time.Time{at, at})
			}
		}
	}
	return spans
}

// ticks are round numbers with a short unit.
type ticks struct {
	unit string
	most int
	log  bool
}

func (t ticks) Ticks(low, high float64) []plot.Tick {
	var marks []plot.Tick
	if t.log {
		for v := low; v <= high; v *= 10 {
			marks = append(marks, plot.Tick{Value: v, Label: t.label(v)})
		}
		return marks
	}
	base, factors := 10.0, []float64{1, 2, 5, 10}
	if t.unit == "bytes" {
		base, factors = 2, []float64{1, 2}
	}
	step := math.Pow(base, math.Floor(math.Log((high-low)/float64(t.most))/math.Log(base)))
	for _, factor := range factors {
		if (high-low)/(step*factor) <= float64(t.most) {
			step *= factor
			break
		}
	}
	for k := math.Ceil(low / step); k*step <= high; k++ {
		marks = append(marks, plot.Tick{Value: k * step, Label: t.label(k * step)})
	}
	return marks
}

func (t ticks) label(v float64) string {
	number := func(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64) }
	scaled := func(base float64, prefixes ...string) string {
		i := 0
		for ; math.Abs(v) >= base && i < len(prefixes)-1; i++ {
			v /= base
		}
		return number(v) + prefixes[i]
	}
	switch t.unit {
	case "time":
		return number(v) + " s"
	case "s":
		switch {
		case v == 0:
			return "0"
		case v < 0.001:
			return number(v*1e6) + " µs"
		case v < 1:
			return number(v*1e3) + " ms"
		}
		return number(v) + " s"
	case "percentunit":
		return number(v*100) + " %"
	case "bytes":
		return scaled(1024, " B", " KiB", " MiB", " GiB")
	case "Bps":
		return scaled(1000, " B/s", " kB/s", " MB/s")
	case "ops":
		return scaled(1000, "/s", " k/s", " M/s")
	}
	return scaled(1000, "", " k", " M")
}
