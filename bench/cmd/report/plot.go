// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	gonum "gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
)

// A plot is a picture of medians, on a logarithmic scale, with a color for each peer. It has bars, a group for each of the
// groups; or, if there is a grow, lines over the n of the benchmarks that have that.
type plot struct {
	file, title, bench, unit string
	peers                    []string
	groups                   []string // as key=value in the name of the benchmark, in front of the peer
	units                    []string // in the place of groups: a group for each unit
	grow, x                  string   // the key of what grows, and its name on the axis
	y                        string
}

// colors can be told apart by those who see no red or green (Okabe and Ito).
var colors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

// draw writes the picture to a file.
func (p plot) draw(all results.Samples, file string) error {
	gonum.DefaultFont.Variant = "Sans"
	canvas := gonum.New()
	canvas.Title.Text = p.title
	canvas.Title.Padding = vg.Points(6)
	canvas.X.Label.Text, canvas.Y.Label.Text = p.x, p.y
	canvas.Y.Scale, canvas.Y.Tick.Marker = gonum.LogScale{}, plainTicks{}
	for _, axis := range []*gonum.Axis{&canvas.X, &canvas.Y} {
		axis.Tick.Label.Font.Size = vg.Points(8)
		axis.Label.TextStyle.Font.Size = vg.Points(9)
	}
	canvas.Legend.Top, canvas.Legend.Left = true, true
	canvas.Legend.TextStyle.Font.Size = vg.Points(8)
	canvas.Legend.XOffs, canvas.Legend.Padding = vg.Points(8), vg.Points(2)
	canvas.BackgroundColor = color.White // Or it can't be read on a dark page.
	canvas.Add(plotter.NewGrid())
	draw := p.bars
	if p.grow != "" {
		draw = p.lines
	}
	if err := draw(canvas, all); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return canvas.Save(20*vg.Centimeter, 10*vg.Centimeter, file)
}

// plainTicks are those of a logarithmic scale, written out.
type plainTicks struct{}

func (plainTicks) Ticks(low, high float64) []gonum.Tick {
	ticks := gonum.LogTicks{Prec: -1}.Ticks(low, high)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = short(ticks[i].Value)
		}
	}
	return ticks
}

// short is a number as a person writes it, with three digits.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

func (p plot) bars(canvas *gonum.Plot, all results.Samples) error {
	groups := p.groups
	if len(groups) == 0 {
		groups = p.units
	}
	const width = 22 // points
	lowest, highest := 0.0, 0.0
	var values []plotter.Values
	var labels plotter.XYLabels
	for _, peer := range p.peers {
		var heights plotter.Values
		for _, group := range groups {
			name, unit := p.bench+"/"+group+"/peer="+peer, p.unit
			if len(p.units) > 0 {
				name, unit = p.bench+"/peer="+peer, group
			}
			v, ok := all.Median(name, unit)
			if !ok {
				return fmt.Errorf("%s has no %s", name, unit)
			}
			heights = append(heights, v)
			if lowest == 0 || v < lowest {
				lowest = v
			}
			highest = max(highest, v)
		}
		values = append(values, heights)
	}
	// On a logarithmic scale bars begin above 0: they stand on others that are not drawn.
	floor := slices.Repeat(plotter.Values{lowest / 2}, len(groups))
	for i, heights := range values {
		base, err := plotter.NewBarChart(floor, vg.Points(width-1))
		if err != nil {
			return err
		}
		base.Offset = vg.Points(width * (float64(i) - float64(len(p.peers)-1)/2))
		above := slices.Clone(heights)
		for group := range above {
			above[group] -= floor[group]
		}
		chart, err := plotter.NewBarChart(above, vg.Points(width-1))
		if err != nil {
			return err
		}
		chart.StackOn(base)
		chart.Color = colors[i]
		chart.LineStyle.Width = 0
		canvas.Add(chart)
		canvas.Legend.Add(p.peers[i], chart)
		for group, v := range heights {
			labels.XYs = append(labels.XYs, plotter.XY{X: float64(group), Y: v})
			labels.Labels = append(labels.Labels, short(v))
		}
	}
	written, err := plotter.NewLabels(labels)
	if err != nil {
		return err
	}
	for i := range written.TextStyle {
		written.TextStyle[i].Font.Size = vg.Points(6)
		written.TextStyle[i].XAlign = -0.5
	}
	canvas.NominalX(names(groups)...)
	canvas.X.Min, canvas.X.Max = -0.5, float64(len(groups))-0.5
	canvas.Y.Min, canvas.Y.Max = lowest/2, highest*8 // There the legend is.
	for i := range values {
		offset := vg.Points(width * (float64(i) - float64(len(p.peers)-1)/2))
		of := *written
		begin := i * len(groups)
		of.XYs, of.Labels, of.TextStyle = written.XYs[begin:][:len(groups)], written.Labels[begin:][:len(groups)], written.TextStyle[begin:][:len(groups)]
		of.Offset = vg.Point{X: offset, Y: vg.Points(2)}
		canvas.Add(&of)
	}
	return nil
}

// names are what the groups are called: the values of the keys.
func names(groups []string) []string {
	var all []string
	for _, group := range groups {
		var parts []string
		for part := range strings.SplitSeq(group, "/") {
			if key, value, ok := strings.Cut(part, "="); ok {
				part = value
				if _, err := strconv.Atoi(value); err == nil {
					part = key + ": " + value
				}
			}
			parts = append(parts, part)
		}
		all = append(all, strings.Join(parts, ", "))
	}
	return all
}

func (p plot) lines(canvas *gonum.Plot, all results.Samples) error {
	canvas.X.Scale, canvas.X.Tick.Marker = gonum.LogScale{}, plainTicks{}
	for i, peer := range p.peers {
		var points plotter.XYs
		for name := range all {
			rest, ok := strings.CutPrefix(name, p.bench+"/grow="+p.grow+"/n=")
			n, of, _ := strings.Cut(rest, "/peer=")
			if !ok || of != peer {
				continue
			}
			x, err := strconv.ParseFloat(n, 64)
			if err != nil {
				return err
			}
			if y, ok := all.Median(name, p.unit); ok {
				points = append(points, plotter.XY{X: x, Y: y})
			}
		}
		if len(points) == 0 {
			return fmt.Errorf("%s has no %s of %s", p.bench, p.grow, peer)
		}
		slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, marks.Color = colors[i], colors[i]
		line.Width = vg.Points(1.5)
		canvas.Add(line, marks)
		canvas.Legend.Add(peer, line, marks)
	}
	canvas.Y.Min, canvas.Y.Max = canvas.Y.Min/2, canvas.Y.Max*4
	return nil
}
