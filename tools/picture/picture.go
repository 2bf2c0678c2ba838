// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package picture draws the charts of the documentation in one style: linear axes that start at zero, a unit with each number, and
// colors for light and dark pages.
package picture

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Chart shows lines over time or, if Groups is set, bars.
type Chart struct {
	Title  string
	Unit   string   // of the values, such as ms or /s; may be empty
	Groups []string // names of groups of bars: each point of a series is a bar in one group, in this order
	Series []Series // at most four
	Shade  Shade
}

// A Series is a line over seconds, or a bar in each group. Names are shown only if there are several series.
type Series struct {
	Name   string
	Points plotter.XYs
}

// A Shade marks a time range in seconds. The zero value marks none.
type Shade struct {
	Name     string
	From, To float64
}

// All sizes are in points. A README shows a picture at its full width or slightly smaller.
const (
	width      = 640
	left       = 6
	lineHeight = 145
	barWidth   = 17
	groupGap   = 9
	titleLine  = 20
	legendLine = 18
	ticksLine  = 24
	titleSize  = 12
	textSize   = 10
)

// shown is a color on light pages, used to draw the charts, and its replacement on dark pages.
type shown struct{ light, dark color.RGBA }

var (
	page  = shown{color.RGBA{255, 255, 255, 255}, color.RGBA{13, 17, 23, 255}}
	shade = shown{color.RGBA{234, 238, 242, 255}, color.RGBA{33, 38, 45, 255}}
	grid  = shown{color.RGBA{208, 215, 222, 255}, color.RGBA{61, 68, 77, 255}}
	other = shown{color.RGBA{145, 152, 161, 255}, color.RGBA{125, 133, 144, 255}}
	// series can be distinguished with any color vision (Okabe and Ito).
	series = []shown{
		{color.RGBA{0, 114, 178, 255}, color.RGBA{86, 180, 233, 255}}, {color.RGBA{213, 94, 0, 255}, color.RGBA{230, 159, 0, 255}},
		{color.RGBA{0, 158, 115, 255}, color.RGBA{0, 178, 130, 255}}, {color.RGBA{204, 121, 167, 255}, color.RGBA{214, 141, 184, 255}},
	}
)

// ours is the prefix of the names of highlighted groups.
const ours = "this exporter"

// Draw writes an SVG file with the charts stacked vertically, and creates its folder.
func Draw(file string, charts ...Chart) error {
	height := vg.Length(0)
	var plots [][]*plot.Plot
	for _, c := range charts {
		p, err := c.plot()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Title, err)
		}
		plots = append(plots, []*plot.Plot{p})
		height += c.height()
	}
	svg := vgsvg.New(width, height)
	canvas := draw.New(svg)
	canvas.SetColor(page.light)
	canvas.Fill(canvas.Path())
	tiles := draw.Tiles{Rows: len(charts), Cols: 1, PadY: 10}
	for i, row := range plot.Align(plots, tiles, draw.Crop(canvas, left, -14, 6, -4)) {
		charts[i].draw(plots[i][0], row[0])
	}
	var out bytes.Buffer
	if _, err := svg.WriteTo(&out); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // The folder is public.
		return err
	}
	styled := strings.Replace(out.String(), "\n<g", "\n"+darkStyle()+"<g", 1)
	// Not every viewer has the font.
	styled = strings.ReplaceAll(styled, "Liberation Sans", "Liberation Sans,Arial,Helvetica,sans-serif")
	return os.WriteFile(file, []byte(styled), 0o644) //nolint:gosec // The file is public.
}

// darkStyle returns the style for dark pages, which replaces the colors of each element.
func darkStyle() string {
	hex := func(c color.RGBA) string { return fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B) }
	var css strings.Builder
	css.WriteString("<style>@media (prefers-color-scheme:dark){text{fill:#E6EDF3}\n")
	for _, c := range append([]shown{page, shade, grid, other}, series...) {
		for _, property := range []string{"fill", "stroke"} {
			fmt.Fprintf(&css, "[style*=\"%s:%s\"]{%[1]s:%[3]s!important}\n", property, hex(c.light), hex(c.dark))
		}
	}
	return css.String() + "}</style>\n"
}

func (c Chart) height() vg.Length {
	if len(c.Groups) == 0 {
		return lineHeight
	}
	height := vg.Length(len(c.Groups))*(vg.Length(len(c.Series))*barWidth+groupGap) + titleLine + ticksLine
	if len(c.Series) > 1 {
		height += legendLine
	}
	return height
}

// style returns the text style for a size in points.
func style(size vg.Length) text.Style {
	s := plot.New().Title.TextStyle
	s.Font.Variant, s.Font.Size, s.XAlign, s.YAlign = "Sans", size, draw.XLeft, draw.YCenter
	return s
}

func (c Chart) plot() (*plot.Plot, error) {
	if len(c.Series) > len(series) {
		return nil, fmt.Errorf("more than %d series", len(series))
	}
	p := plot.New()
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Tick.Label.Font = style(textSize).Font
		axis.Tick.Length, axis.Width, axis.Padding = 0, 0, 4
	}
	longest, top := 0.0, 0.0
	for _, s := range c.Series {
		if len(s.Points) == 0 {
			return nil, fmt.Errorf("series %q has no points", s.Name)
		}
		for _, at := range s.Points {
			longest, top = max(longest, at.X), max(top, at.Y)
		}
	}
	top = 1.12 * max(top, 1e-9) // Room for the number next to a bar.
	lines := plotter.NewGrid()
	lines.Horizontal.Color, lines.Vertical.Color = grid.light, nil
	if n := len(c.Groups); n > 0 {
		lines.Horizontal, lines.Vertical = lines.Vertical, lines.Horizontal
		p.Add(lines)
		c.bars(p)
		p.X.Max, p.Y.Min, p.Y.Max = top, -0.5, float64(n)-0.5
	} else {
		p.Add(lines)
		c.lines(p, top)
		p.X.Max, p.Y.Min, p.Y.Max = longest, 0, top
	}
	p.X.Min = 0
	return p, plotter.CheckFloats(longest, top)
}

func (c Chart) lines(p *plot.Plot, top float64) {
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{9, "s"}, ticks{4, c.Unit}
	from, to := c.Shade.From, c.Shade.To
	p.Add(&plotter.Polygon{XYs: []plotter.XYs{{{X: from}, {X: to}, {X: to, Y: top}, {X: from, Y: top}}}, Color: shade.light})
	for i, s := range c.Series {
		p.Add(&plotter.Line{XYs: s.Points, LineStyle: draw.LineStyle{Color: series[i].light, Width: 1.5}})
	}
}

// bars adds horizontal bars, from top to bottom, which leave room for long names.
func (c Chart) bars(p *plot.Plot) {
	for i, s := range c.Series {
		for group, at := range s.Points {
			fill := series[i].light
			if len(c.Series) == 1 && !strings.HasPrefix(c.Groups[group], ours) {
				fill = other.light
			}
			row, offset := float64(len(c.Groups)-1-group), barWidth*vg.Length(len(c.Series)-1-2*i)/2
			p.Add(&plotter.BarChart{
				Values: plotter.Values{at.Y}, XMin: row, Offset: offset, Width: barWidth - 2, Color: fill, Horizontal: true,
			}, &plotter.Labels{
				XYs: plotter.XYs{{X: at.Y, Y: row}}, Labels: []string{withUnit(at.Y, c.Unit)},
				TextStyle: []text.Style{style(textSize)}, Offset: vg.Point{X: 4, Y: offset + 1},
			})
		}
	}
	names := slices.Clone(c.Groups)
	slices.Reverse(names)
	p.NominalY(names...)
	p.Y.Padding, p.X.Tick.Marker = 4, ticks{6, c.Unit}
}

// draw draws a plot below its title and, if there are several series, their names from left to right. gonum's own legend covers data.
func (c Chart) draw(p *plot.Plot, on draw.Canvas) {
	title, name := style(titleSize), style(textSize)
	on.FillText(title, vg.Point{X: left, Y: on.Max.Y - titleLine/2}, c.Title)
	on.Max.Y -= titleLine
	if len(c.Series) > 1 {
		x, y := vg.Length(left), on.Max.Y-legendLine/2
		for i, s := range c.Series {
			on.StrokeLine2(draw.LineStyle{Color: series[i].light, Width: 3}, x, y, x+14, y)
			on.FillText(name, vg.Point{X: x + 18, Y: y}, s.Name)
			x += 34 + 1.1*name.Width(s.Name) // A viewer may have a wider font.
		}
		on.Max.Y -= legendLine
	}
	p.Draw(on)
	data := p.DataCanvas(on)
	on.FillText(name, vg.Point{X: data.X(p.X.Norm(c.Shade.From)) + 6, Y: data.Max.Y - textSize}, c.Shade.Name)
}

// ticks marks 0 and at most most other multiples of a step, which is 1, 2 or 5 times a power of ten.
type ticks struct {
	most float64
	unit string
}

func (t ticks) Ticks(_, high float64) (marks []plot.Tick) {
	step := math.Pow(10, math.Ceil(math.Log10(high/t.most)))
	for _, smaller := range []float64{2, 2.5} {
		if high <= step/smaller*t.most {
			step /= smaller
		}
	}
	for v := 0.0; v <= high; v += step {
		marks = append(marks, plot.Tick{Value: v, Label: withUnit(v, t.unit)})
	}
	return marks
}

// withUnit returns a number with three significant digits and a unit. A unit that begins with a slash follows without a space.
func withUnit(v float64, unit string) string {
	digits := message.NewPrinter(language.English).Sprint(number.Decimal(v, number.Precision(3)))
	switch {
	case v == 0:
		return "0"
	case unit == "" || unit[0] == '/':
		return digits + unit
	}
	return digits + " " + unit
}
