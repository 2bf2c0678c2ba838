// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package picture draws the charts of the documentation, in one style: axes start at zero, the legend is above the data, and
// numbers have three digits and a prefix.
package picture

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart has lines or, if it has groups, bars.
type Chart struct {
	Title  string
	X      string   // what is on the horizontal axis
	Unit   string   // of the vertical axis, such as s, B or /s
	Groups []string // names of groups of bars: the points of a series are a bar in each group, in that order
	Series []Series
	LogX   bool         // makes the horizontal axis logarithmic
	Shaded [][2]float64 // stretches of the horizontal axis with a grey background
}

// Series is a line, or a bar in each group.
type Series struct {
	Name   string
	Points plotter.XYs
}

// All sizes are in points.
const (
	width      = 640
	oneHeight  = 260 // of a chart alone
	eachHeight = 165 // of one of several charts
	legendLine = 16  // between title and data
	barWidth   = 24
)

var (
	// colors can be told apart with any color vision (Okabe and Ito).
	colors = []color.Color{
		color.RGBA{0, 114, 178, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
	}
	shade = color.Gray{226}
	lines = color.Gray{200}
)

// Draw writes an SVG file with the charts one above the other, and makes its folder.
func Draw(file string, charts ...Chart) error {
	height := vg.Length(oneHeight)
	if len(charts) > 1 {
		height = vg.Length(eachHeight * len(charts))
	}
	svg := vgsvg.New(width, height)
	canvas := draw.New(svg)
	canvas.SetColor(color.White) // Or it can't be read on a dark page.
	canvas.Fill(canvas.Path())
	var plots [][]*plot.Plot
	for _, c := range charts {
		p, err := c.plot()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Title, err)
		}
		plots = append(plots, []*plot.Plot{p})
	}
	tiles := draw.Tiles{Rows: len(charts), Cols: 1, PadY: 8}
	for i, row := range plot.Align(plots, tiles, draw.Crop(canvas, 8, -12, 6, -6)) {
		plots[i][0].Draw(row[0])
		charts[i].legend(plots[i][0].DataCanvas(row[0]))
	}
	var out bytes.Buffer
	if _, err := svg.WriteTo(&out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // Everybody may read it.
		return err
	}
	// Not every viewer has the font.
	named := bytes.ReplaceAll(out.Bytes(), []byte("Liberation Sans"), []byte("Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(file, named, 0o644) //nolint:gosec // Everybody may read it.
}

// style is the style of text of a size in points.
func style(size vg.Length) text.Style {
	s := plot.New().Title.TextStyle
	s.Font.Variant, s.Font.Size, s.XAlign, s.YAlign = "Sans", size, draw.XLeft, draw.YCenter
	return s
}

func (c Chart) plot() (*plot.Plot, error) {
	if len(c.Series) > len(colors) {
		return nil, fmt.Errorf("more than %d series", len(colors))
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text = c.Title, c.X
	p.Title.TextStyle.Font = style(11).Font
	p.Title.Padding = legendLine
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = style(9).Font, style(8).Font
		axis.Tick.Length, axis.Width, axis.Padding = 0, 0, 4
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{9, ""}, ticks{5, c.Unit}
	low, high, top := 0.0, 0.0, 0.0
	if c.LogX {
		low = math.Inf(1)
	}
	for _, s := range c.Series {
		if len(s.Points) == 0 {
			return nil, fmt.Errorf("nothing of %s", s.Name)
		}
		for _, at := range s.Points {
			low, high, top = min(low, at.X), max(high, at.X), max(top, at.Y)
		}
	}
	top = 1.1 * max(top, 1e-9)
	for _, s := range c.Shaded {
		area, err := plotter.NewPolygon(plotter.XYs{{X: s[0]}, {X: s[1]}, {X: s[1], Y: top}, {X: s[0], Y: top}})
		if err != nil {
			return nil, err
		}
		area.Color, area.Width = shade, 0
		p.Add(area)
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Horizontal.Width, grid.Vertical.Color = lines, 0.4, color.Transparent
	p.Add(grid)
	add := c.lines
	if len(c.Groups) > 0 {
		p.NominalX(c.Groups...)
		add, low, high = c.bars, -0.5, float64(len(c.Groups))-0.5
	} else if c.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	}
	if err := add(p); err != nil {
		return nil, err
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = low, high, 0, top
	return p, nil
}

func (c Chart) lines(p *plot.Plot) error {
	for i, s := range c.Series {
		line, err := plotter.NewLine(s.Points)
		if err != nil {
			return err
		}
		line.Color, line.Width = colors[i], 1.5
		p.Add(line)
	}
	return nil
}

func (c Chart) bars(p *plot.Plot) error {
	for i, s := range c.Series {
		var heights plotter.Values
		numbers := plotter.XYLabels{XYs: make(plotter.XYs, len(s.Points))}
		for group, at := range s.Points {
			heights = append(heights, at.Y)
			numbers.XYs[group] = plotter.XY{X: float64(group), Y: at.Y}
			numbers.Labels = append(numbers.Labels, number(at.Y, c.Unit))
		}
		chart, err := plotter.NewBarChart(heights, barWidth-2)
		if err != nil {
			return err
		}
		chart.Offset = barWidth * vg.Length(2*i-len(c.Series)+1) / 2
		chart.Color, chart.LineStyle.Width = colors[i], 0
		above, err := plotter.NewLabels(numbers)
		if err != nil {
			return err
		}
		above.Offset = vg.Point{X: chart.Offset, Y: 2}
		for k := range above.TextStyle {
			above.TextStyle[k].Font, above.TextStyle[k].XAlign = style(7).Font, draw.XCenter
		}
		p.Add(chart, above)
	}
	return nil
}

// legend writes the names of the series from left to right above the data. The legend of gonum covers data.
func (c Chart) legend(data draw.Canvas) {
	if len(c.Series) < 2 {
		return
	}
	text := style(8)
	x, y := data.Min.X, data.Max.Y+legendLine/2
	for i, s := range c.Series {
		data.StrokeLine2(draw.LineStyle{Color: colors[i], Width: 3}, x, y, x+14, y)
		data.FillText(text, vg.Point{X: x + 18, Y: y}, s.Name)
		x += 28 + 1.1*text.Width(s.Name) // A viewer may have a wider font.
	}
}

// ticks are multiples of 1, 2 or 5 times a power of ten, not more than most.
type ticks struct {
	most float64
	unit string
}

func (t ticks) Ticks(low, high float64) (marks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/t.most)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*factor) <= t.most {
			step *= factor
			break
		}
	}
	for k := math.Ceil(low / step); k*step <= high; k++ {
		marks = append(marks, plot.Tick{Value: k * step, Label: number(k*step, t.unit)})
	}
	return marks
}

// decades are powers of ten.
func decades(low, high float64) (marks []plot.Tick) {
	for v := math.Pow(10, math.Ceil(math.Log10(low))); v <= high; v *= 10 {
		marks = append(marks, plot.Tick{Value: v, Label: number(v, "")})
	}
	return marks
}

// number is a number with three digits, a prefix and a unit. A unit that begins with a slash follows without a space.
func number(v float64, unit string) string {
	if v == 0 {
		return "0"
	}
	prefix := ""
	if exponent := math.Floor(math.Log10(math.Abs(v)*1.0005) / 3); exponent != 0 {
		if i := int(exponent) + 3; i >= 0 && i < 7 {
			prefix = []string{"n", "µ", "m", "", "k", "M", "G"}[i]
			v /= math.Pow(1000, exponent)
		}
	}
	digits := strconv.FormatFloat(v, 'g', 3, 64)
	if v >= 100 || v == math.Trunc(v) {
		digits = strconv.FormatFloat(v, 'f', 0, 64)
	}
	if prefix == "" && (unit == "" || strings.HasPrefix(unit, "/")) {
		return digits + unit
	}
	return digits + " " + prefix + unit
}
