// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo-outage shows what a Loggregator that takes nothing for a while does to a collector: it runs the built
// collector before an ingress that stalls, pushes logs, metrics and traces, shows what becomes of them, and draws it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/loggregatorexporter/loggregatorexporter/e2e/internal/outage"
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
	before := flags.Duration("before", 10*time.Second, "how long all is well at first")
	stall := flags.Duration("stall", 20*time.Second, "how long Loggregator takes nothing")
	after := flags.Duration("after", 10*time.Second, "how long all is well again")
	batches := flags.Int("batches", 40, "batches to push a second, for each signal")
	capacity := flags.Int("capacity", 200, "diode.capacity: batches that can wait, for each signal")
	maxItems := flags.Int("max-items", 40000, "diode.max_items: items that can wait, for each signal")
	interval := flags.Duration("interval", 250*time.Millisecond, "time between two looks at the collector's metrics")
	recording := flags.String("recording", "build/demo-outage.prom.gz", "`file` to keep the metrics in")
	picture := flags.String("picture", "build/demo-outage.svg", "`file` to draw")
	from := flags.String("from", "", "draw this recording, a `file`, instead of a run")
	dashboard := flags.String("dashboard", "", "draw the panels of this Grafana dashboard, a `file`, instead of the run's own")
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
	var samples *outage.Recording
	if *from != "" {
		var err error
		if samples, err = outage.ReadFile(*from); err != nil {
			return err
		}
	} else {
		dir, err := os.MkdirTemp("", "demo-outage")
		if err != nil {
			return err
		}
		view := newView(stdout)
		report, err := outage.Run(ctx, outage.Options{
			Collector: *collector,
			Dir:       dir,
			Phases: []outage.Phase{
				{Name: "before", Duration: *before},
				{Name: "stall", Duration: *stall, Fault: outage.Stall},
				{Name: "after", Duration: *after},
			},
			Interval: *interval, Batches: *batches, Capacity: *capacity, MaxItems: *maxItems,
			OnLook: view.look,
		})
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%w (its files are in %s)", err, dir)
		}
		if removed := os.RemoveAll(dir); err != nil || removed != nil {
			return errors.Join(err, removed)
		}
		if err := os.MkdirAll(filepath.Dir(*recording), 0o755); err != nil {
			return err
		}
		if err := report.Recording.WriteFile(*recording); err != nil {
			return err
		}
		summary(stdout, report)
		fmt.Fprintf(stdout, "The metrics are in %s.\n", *recording)
		samples = report.Recording
	}
	if err := os.MkdirAll(filepath.Dir(*picture), 0o755); err != nil {
		return err
	}
	if *dashboard != "" {
		d, err := outage.ReadDashboard(*dashboard)
		if err != nil {
			return err
		}
		if err := outage.DrawDashboard(samples, d, *picture); err != nil {
			return err
		}
	} else if err := outage.DrawDemo(samples, *picture); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "The picture is %s.\n", *picture)
	return nil
}

// window is the time over which the view takes rates and the worst push.
const window = time.Second

// view shows a run while it goes on: on a terminal always in the same place, else one line a second.
type view struct {
	out      io.Writer
	terminal bool
	drawn    int           // lines on the terminal
	looks    []outage.Look // of the last window, and the one before
	lineAt   time.Duration // when the last line was written
}

func newView(out *os.File) *view {
	info, err := out.Stat()
	return &view{out: out, terminal: err == nil && info.Mode()&os.ModeCharDevice != 0, lineAt: -window}
}

// look shows a look.
func (v *view) look(l outage.Look) {
	v.looks = append(v.looks, l)
	for len(v.looks) > 2 && l.Elapsed-v.looks[1].Elapsed >= window {
		v.looks = v.looks[1:]
	}
	switch {
	case v.terminal:
		v.redraw(l)
	case l.Elapsed-v.lineAt >= window:
		v.line(l)
		v.lineAt = l.Elapsed.Truncate(window)
	}
}

func state(l outage.Look) string {
	if l.Phase.Fault == outage.Stall {
		return "stalled"
	}
	return "ok"
}

// rate is how many items of a signal were accepted a second.
func (v *view) rate(i int) float64 {
	first, last := v.looks[0], v.looks[len(v.looks)-1]
	passed := (last.Elapsed - first.Elapsed).Seconds()
	if passed == 0 {
		return 0
	}
	return float64(last.Accounts[i].Accepted-first.Accounts[i].Accepted) / passed
}

// push is the median of the medians, and the largest p99, of the looks at a signal.
func (v *view) push(i int) (p50, p99 time.Duration) {
	var medians []time.Duration
	for _, l := range v.looks {
		if l.P99[i] > 0 {
			medians = append(medians, l.P50[i])
			p99 = max(p99, l.P99[i])
		}
	}
	return outage.Quantile(medians, 0.5), p99
}

func (v *view) redraw(l outage.Look) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.drawn) // Up to its first line.
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\x1b[2K"+format+"\n", args...) }
	colour := "32" // green
	if state(l) == "stalled" {
		colour = "31" // red
	}
	line("Loggregator: \x1b[1;%sm%-7s\x1b[0m %6.1f s", colour, state(l), l.Elapsed.Seconds())
	line("%-7s %10s %7s %7s %7s %8s %6s %8s %8s", "", "accepted/s", "waiting", "sent", "dropped", "rejected", "failed",
		"p50 ms", "p99 ms")
	for i, s := range outage.Signals {
		a := l.Accounts[i]
		p50, p99 := v.push(i)
		line("%-7s %10.0f %7d %7d %7d %8d %6d %8s %8s", s.Name, v.rate(i), a.Waiting, a.Sent, a.Dropped, a.Rejected, a.Failed,
			millis(p50), millis(p99))
	}
	v.drawn = strings.Count(b.String(), "\n")
	_, _ = io.WriteString(v.out, b.String()) // A view that can't be written is no reason to stop.
}

func (v *view) line(l outage.Look) {
	column := func(of func(i int) string) string {
		var values []string
		for i := range outage.Signals {
			values = append(values, of(i))
		}
		return strings.Join(values, "/")
	}
	number := func(of func(outage.Account) int) string {
		return column(func(i int) string { return strconv.Itoa(of(l.Accounts[i])) })
	}
	if v.lineAt < 0 {
		fmt.Fprintln(v.out, "The numbers are of logs/metrics/traces.")
	}
	fmt.Fprintf(v.out, "%3.0f s Loggregator: %-7s accepted/s %s waiting %s sent %s dropped %s rejected %s failed %s "+
		"push p50 %s p99 %s ms\n",
		l.Elapsed.Seconds(), state(l),
		column(func(i int) string { return fmt.Sprintf("%.0f", v.rate(i)) }),
		number(func(a outage.Account) int { return a.Waiting }),
		number(func(a outage.Account) int { return a.Sent }),
		number(func(a outage.Account) int { return a.Dropped }),
		number(func(a outage.Account) int { return a.Rejected }),
		number(func(a outage.Account) int { return a.Failed }),
		column(func(i int) string { p50, _ := v.push(i); return millis(p50) }),
		column(func(i int) string { _, p99 := v.push(i); return millis(p99) }))
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func short(d time.Duration) string { return millis(d) + " ms" }

// summary says in words how it went.
func summary(w io.Writer, r *outage.Report) {
	fmt.Fprintf(w, "\nPushes, as the OTLP clients see them:\n")
	for _, p := range r.Phases {
		fmt.Fprintf(w, "  %-6s  %5.1f s, %5d pushes: p50 %s, p99 %s\n", p.Name, p.End.Sub(p.Start).Seconds(), p.Pushes,
			short(p.P50), short(p.P99))
	}
	fmt.Fprintf(w, "\nWhat became of the items:\n")
	for i, s := range outage.Signals {
		a := r.Accounts[i]
		fmt.Fprintf(w, "  %-7s  accepted %d = sent %d + failed %d + dropped %d + rejected %d + waiting %d", s.Name,
			a.Accepted, a.Sent, a.Failed, a.Dropped, a.Rejected, a.Waiting)
		if a.Balanced() {
			fmt.Fprintf(w, ": true, to the item\n")
		} else {
			fmt.Fprintf(w, ": NOT TRUE, that is a defect\n")
		}
		fmt.Fprintf(w, "           the clients pushed %d; at Loggregator arrived %d different ones, %d of them more than once\n",
			r.Pushed[i], r.Arrived[i], r.Again[i])
		for _, p := range r.Phases {
			if d := p.Became[i].Dropped; d > 0 {
				fmt.Fprintf(w, "           dropped in the phase %q: %d\n", p.Name, d)
			}
		}
	}
	fmt.Fprintln(w)
}
