// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo-outage shows a collector while Loggregator stalls. It runs the built collector with an ingress that stalls,
// pushes logs, metrics and traces, and prints and draws their outcome.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"gonum.org/v1/plot/plotter"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
	"github.com/loggregatorexporter/loggregatorexporter/tools/picture"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo-outage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout *os.File) error {
	flags := flag.NewFlagSet("demo-outage", flag.ContinueOnError)
	collector := flags.String("collector", "build/collector/otelcol-loggregator", "`path` of the built collector")
	before := flags.Duration("before", 10*time.Second, "time before the stall")
	stall := flags.Duration("stall", 20*time.Second, "time during which Loggregator accepts nothing")
	after := flags.Duration("after", 10*time.Second, "time after the stall")
	batches := flags.Int("batches", 40, "batches to push a second, for each signal")
	capacity := flags.Int("capacity", 200, "diode.capacity: batches that can wait, for each signal")
	maxItems := flags.Int("max-items", 40000, "diode.max_items: items that can wait, for each signal")
	interval := flags.Duration("interval", 250*time.Millisecond, "time between two reads of the collector's metrics")
	file := flags.String("picture", "build/demo-outage.svg", "`file` to draw")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *batches < 1 || *batches > 1000:
		return fmt.Errorf("-batches: must be from 1 to 1000, not %d", *batches)
	case *interval < 10*time.Millisecond:
		return fmt.Errorf("-interval: must be at least 10ms, not %s", *interval)
	case *before < 4**interval || *stall < 4**interval || *after < 4**interval:
		return errors.New("-before, -stall and -after: must be at least four times -interval")
	}
	dir, err := os.MkdirTemp("", "demo-outage")
	if err != nil {
		return err
	}
	info, err := stdout.Stat()
	view := &view{out: stdout, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, lineAt: -window}
	report, err := outage.Run(ctx, outage.Options{
		Collector: *collector,
		Dir:       dir,
		Phases: []outage.Phase{
			{Name: "before", Duration: *before},
			{Name: "stall", Duration: *stall, Fault: outage.Stall},
			{Name: "after", Duration: *after},
		},
		Interval: *interval, Batches: *batches, Capacity: *capacity, MaxItems: *maxItems,
		OnSnapshot: view.show,
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (its files are in %s)", err, dir)
	}
	if removed := os.RemoveAll(dir); err != nil || removed != nil {
		return errors.Join(err, removed)
	}
	summary(stdout, report)
	// The picture ends before the waiting items are sent.
	snapshots := slices.DeleteFunc(view.snapshots, func(l outage.Snapshot) bool { return l.Elapsed > *before+*stall+*after })
	if err := drawPicture(snapshots, *file); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "The picture is %s.\n", *file)
	return nil
}

// window is the time over which rates and quantiles are calculated.
const window = time.Second

// history holds the snapshots of a run.
type history []outage.Snapshot

// window returns the snapshots of the last window, and the one before it.
func (h history) window() history {
	for len(h) > 2 && h[len(h)-1].Elapsed-h[1].Elapsed >= window {
		h = h[1:]
	}
	return h
}

// rate returns the number of items of a signal with this outcome per second.
func (h history) rate(signal int, outcome func(outage.Account) int) float64 {
	first, last := h[0], h[len(h)-1]
	passed := (last.Elapsed - first.Elapsed).Seconds()
	if passed == 0 {
		return 0
	}
	return float64(outcome(last.Accounts[signal])-outcome(first.Accounts[signal])) / passed
}

// push returns quantiles of the pushes of these signals.
func (h history) push(signals ...int) (p50, p99 time.Duration) {
	var all []time.Duration
	for _, l := range h {
		for _, i := range signals {
			all = append(all, l.Pushes[i]...)
		}
	}
	return outage.Quantile(all, 0.5), outage.Quantile(all, 0.99)
}

func accepted(a outage.Account) int { return a.Accepted }

// view shows a run in progress: on a terminal in a fixed place, elsewhere as one line per second.
type view struct {
	out       io.Writer
	terminal  bool
	snapshots history
	lineAt    time.Duration // when the last line was written
}

// show adds a snapshot to the run, and shows it.
func (v *view) show(s outage.Snapshot) {
	s.Page = nil // The view needs only its accounts.
	v.snapshots = append(v.snapshots, s)
	switch {
	case v.terminal:
		v.redraw(s)
	case s.Elapsed-v.lineAt >= window:
		v.line(s)
		v.lineAt = s.Elapsed.Truncate(window)
	}
}

func state(s outage.Snapshot) string {
	if s.Phase.Fault == outage.Stall {
		return "stalled"
	}
	return "ok"
}

// columns are the names of the values shown for each signal.
var columns = []any{"accepted/s", "waiting", "sent", "dropped", "rejected", "failed", "p50 ms", "p99 ms"}

// row returns the columns of a signal.
func (v *view) row(i int) []any {
	recent := v.snapshots.window()
	a := v.snapshots[len(v.snapshots)-1].Accounts[i]
	p50, p99 := recent.push(i)
	rate := fmt.Sprintf("%.0f", recent.rate(i, accepted))
	return []any{rate, a.Waiting, a.Sent, a.Dropped, a.Rejected, a.Failed, millis(p50), millis(p99)}
}

func (v *view) redraw(s outage.Snapshot) {
	var b strings.Builder
	if len(v.snapshots) > 1 {
		fmt.Fprintf(&b, "\x1b[%dA", 2+len(outage.Signals)) // Up to the first line.
	}
	color := "32" // green
	if state(s) == "stalled" {
		color = "31" // red
	}
	fmt.Fprintf(&b, "\x1b[2KLoggregator: \x1b[1;%sm%-7s\x1b[0m %6.1f s\n", color, state(s), s.Elapsed.Seconds())
	const format = "\x1b[2K%-7s %10v %7v %7v %7v %8v %6v %8v %8v\n"
	fmt.Fprintf(&b, format, append([]any{""}, columns...)...)
	for i, s := range outage.Signals {
		fmt.Fprintf(&b, format, append([]any{s.Name}, v.row(i)...)...)
	}
	_, _ = io.WriteString(v.out, b.String()) // The run continues without a view.
}

func (v *view) line(s outage.Snapshot) {
	if v.lineAt < 0 {
		fmt.Fprintln(v.out, "Numbers are for logs/metrics/traces.")
	}
	fmt.Fprintf(v.out, "%3.0f s Loggregator: %-7s", s.Elapsed.Seconds(), state(s))
	rows := [][]any{v.row(0), v.row(1), v.row(2)}
	for k, name := range columns {
		fmt.Fprintf(v.out, " %v %v/%v/%v", name, rows[0][k], rows[1][k], rows[2][k])
	}
	fmt.Fprintln(v.out)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// drawPicture draws the pushes and the items of a run over time.
func drawPicture(snapshots history, file string) error {
	// series draws a value, calculated from the snapshots up to each moment.
	series := func(name string, value func(until history) float64) picture.Series {
		s := picture.Series{Name: name}
		for i := 1; i < len(snapshots); i++ {
			s.Points = append(s.Points, plotter.XY{X: snapshots[i].Elapsed.Seconds(), Y: value(snapshots[:i+1])})
		}
		return s
	}
	items := func(name string, outcome func(outage.Account) int) picture.Series {
		return series(name, func(until history) (sum float64) {
			for i := range outage.Signals {
				sum += until.window().rate(i, outcome)
			}
			return sum
		})
	}
	pushes := func(name string, quantile func(p50, p99 time.Duration) time.Duration) picture.Series {
		return series(name, func(until history) float64 { return 1000 * quantile(until.window().push(0, 1, 2)).Seconds() })
	}
	var stall picture.Shade
	for _, s := range snapshots {
		if state(s) == "stalled" {
			stall.From, stall.To = cmp.Or(stall.From, s.Elapsed.Seconds()), s.Elapsed.Seconds()
		}
	}
	named := picture.Shade{Name: "Loggregator accepts nothing", From: stall.From, To: stall.To}
	return picture.Draw(file,
		picture.Chart{Title: "Duration of a push into the collector", Unit: "ms", Shade: named, Series: []picture.Series{
			pushes("median", func(p50, _ time.Duration) time.Duration { return p50 }),
			pushes("99th percentile", func(_, p99 time.Duration) time.Duration { return p99 }),
		}},
		picture.Chart{Title: "Outcome of logs, metric points and spans", Unit: "/s", Shade: stall, Series: []picture.Series{
			items("pushed", accepted),
			items("delivered", func(a outage.Account) int { return a.Sent }),
			items("dropped, oldest first", func(a outage.Account) int { return a.Dropped }),
		}},
		picture.Chart{Title: "Items waiting in the exporter", Shade: stall, Series: []picture.Series{
			series("waiting", func(until history) (sum float64) {
				for _, a := range until[len(until)-1].Accounts {
					sum += float64(a.Waiting)
				}
				return sum
			}),
		}},
	)
}

// summary prints the outcome of a run.
func summary(w io.Writer, r *outage.Report) {
	fmt.Fprintf(w, "\nPushes, as seen by the OTLP clients:\n")
	for _, p := range r.Phases {
		fmt.Fprintf(w, "  %-6s  %5.1f s, %5d pushes: p50 %s ms, p99 %s ms\n", p.Name, p.End.Sub(p.Start).Seconds(),
			p.Pushes, millis(p.P50), millis(p.P99))
	}
	fmt.Fprintf(w, "\nOutcome of the items:\n")
	for i, s := range outage.Signals {
		a := r.Accounts[i]
		verdict := "true, to the item"
		if !a.Balanced() {
			verdict = "NOT TRUE, which is a bug"
		}
		fmt.Fprintf(w, "  %-7s  accepted %d = sent %d + failed %d + dropped %d + rejected %d + waiting %d: %s\n", s.Name,
			a.Accepted, a.Sent, a.Failed, a.Dropped, a.Rejected, a.Waiting, verdict)
		fmt.Fprintf(w, "           the clients pushed %d; %d distinct items arrived at Loggregator, and %d duplicates\n",
			r.Pushed[i], r.Arrived[i], r.Duplicates[i])
		for _, p := range r.Phases {
			if d := p.Delta[i].Dropped; d > 0 {
				fmt.Fprintf(w, "           dropped in the phase %q: %d\n", p.Name, d)
			}
		}
	}
	fmt.Fprintln(w)
}
