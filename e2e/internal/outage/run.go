// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package outage runs a built collector through an outage of Loggregator, records its metrics, and draws them.
package outage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// The series that a run records beside those of the collector.
const (
	// UpMetric is whether the collector's metrics could be read, under Prometheus' name for it.
	UpMetric = "up"
	// StalledMetric is whether Loggregator stalls.
	StalledMetric = "demo_stalled"
	// PushMetric is a quantile of how long the pushes since the look before took, in seconds, by signal and quantile.
	PushMetric = "demo_push_seconds"
)

// The labels that a Prometheus would give the collector.
const (
	Job      = "otelcol"
	Instance = "demo"
)

// patience is how long a run waits for what has to come. It is far more than it takes.
const patience = time.Minute

// Fault is what is wrong in a phase.
type Fault int

// The faults.
const (
	None  Fault = iota
	Stall       // Loggregator takes no message.
	Break       // Loggregator refuses each message for good, and half of the logs and metrics have no form in Loggregator.
)

// Phase is a part of a run.
type Phase struct {
	Name     string
	Duration time.Duration
	Fault    Fault
}

// Options of a run. All have to be set, but for OnLook.
type Options struct {
	Collector string // the path of the built collector
	Dir       string // for certificates and configuration
	Phases    []Phase
	Interval  time.Duration // between two looks at the collector's metrics
	Batches   int           // pushed for each signal in a second
	Capacity  int           // of the diode of each signal, in batches
	MaxItems  int           // of the diode of each signal
	// OnLook is called with each look, from one goroutine.
	OnLook func(Look)
}

// Account is what the collector's metrics say about the items of a signal.
type Account struct{ Accepted, Sent, Failed, Dropped, Rejected, Waiting int }

// Balanced says whether each accepted item is counted out exactly once.
func (a Account) Balanced() bool {
	return a.Accepted == a.Sent+a.Failed+a.Dropped+a.Rejected+a.Waiting
}

// Look is what a run knows at a moment.
type Look struct {
	Elapsed  time.Duration
	Phase    Phase
	Accounts []Account       // in the order of Signals
	P50, P99 []time.Duration // of the pushes since the look before, in the order of Signals; 0 if there were none
}

// PhaseReport is how a phase went.
type PhaseReport struct {
	Phase
	Start, End time.Time
	Pushes     int
	P50, P99   time.Duration // of the pushes of all signals
	Became     []Account     // of the items in it, in the order of Signals; of Waiting it is the change
}

// Report is how a run went.
type Report struct {
	Phases    []PhaseReport
	Accounts  []Account // at the end, when nothing waited any more, in the order of Signals
	Pushed    []int     // items that the collector acknowledged, as the OTLP clients know it
	Arrived   []int     // different items that arrived at Loggregator
	Again     []int     // those that arrived more than once
	Recording *Recording
}

// Run runs a collector through the phases.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	if err := ingressserver.WriteCerts(filepath.Join(o.Dir, "certs")); err != nil {
		return nil, err
	}
	tls, err := ingressserver.ServerTLS(filepath.Join(o.Dir, "certs"))
	if err != nil {
		return nil, err
	}
	arrived := &arrivals{}
	ingress, err := ingresstest.Start("127.0.0.1:0", tls, arrived.add)
	if err != nil {
		return nil, err
	}
	defer ingress.Stop()
	c, err := startCollector(ctx, o, ingress.Addr())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	conn, err := grpc.NewClient(c.otlp, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := &runner{options: o, ingress: ingress, collector: c, load: newLoad(conn), recording: NewRecording(), begin: time.Now()}
	if report, err = r.run(ctx); err != nil {
		return nil, err
	}
	report.Arrived, report.Again = arrived.count()
	return report, nil
}

// arrivals counts what arrives at Loggregator.
type arrivals struct {
	mu    sync.Mutex
	times [3]map[string]int // how often each item has arrived, in the order of Signals
}

func (a *arrivals) add(envelopes []*loggregator_v2.Envelope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range envelopes {
		i := slices.IndexFunc(Signals, func(s Signal) bool { return s.Name == e.GetSourceId() })
		if i < 0 {
			continue // Not of the load: it is missed as an item that did not arrive.
		}
		if a.times[i] == nil {
			a.times[i] = map[string]int{}
		}
		a.times[i][e.GetTags()[itemTag]]++
	}
}

func (a *arrivals) count() (different, again []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, times := range a.times {
		twice := 0
		for _, n := range times {
			if n > 1 {
				twice++
			}
		}
		different, again = append(different, len(times)), append(again, twice)
	}
	return different, again
}

// collector is the built collector as a process.
type collector struct {
	cmd           *exec.Cmd
	otlp, metrics string // addresses
	log           string // file
	exited        chan struct{}
}

func startCollector(ctx context.Context, o Options, ingress string) (*collector, error) {
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	address := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	c := &collector{
		otlp: address(ports[0]), metrics: address(ports[1]), log: filepath.Join(o.Dir, "collector.log"),
		exited: make(chan struct{}),
	}
	config := filepath.Join(o.Dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
receivers: {otlp: {protocols: {grpc: {endpoint: %[1]q}}}}
exporters:
  loggregator:
    endpoint: %[2]q
    tls: {ca_file: %[3]s/ca.crt, cert_file: %[3]s/client.crt, key_file: %[3]s/client.key}
    diode: {capacity: %[4]d, max_items: %[5]d}
    retry_on_failure: {initial_interval: 100ms, max_interval: 500ms}
service:
  telemetry: {metrics: {readers: [{pull: {exporter: {prometheus: {host: 127.0.0.1, port: %[6]d}}}}]}}
  pipelines:
    logs: {receivers: [otlp], exporters: [loggregator]}
    metrics: {receivers: [otlp], exporters: [loggregator]}
    traces: {receivers: [otlp], exporters: [loggregator]}
`, c.otlp, ingress, filepath.Join(o.Dir, "certs"), o.Capacity, o.MaxItems, ports[1]), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // The process has its own.
	// It is no child of ctx: a Ctrl-C lets it end as it should.
	c.cmd = exec.Command(o.Collector, "--config", config)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Else the terminal's Ctrl-C would reach it too.
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait()
	}()
	// It is ready when its receiver listens and its metrics can be read.
	if err := c.eventually(ctx, func() (bool, error) {
		if _, err := c.page(ctx); err != nil {
			return false, nil //nolint:nilerr // It is still starting.
		}
		conn, err := net.DialTimeout("tcp", c.otlp, time.Second)
		if err != nil {
			return false, nil //nolint:nilerr // It is still starting.
		}
		return true, conn.Close()
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("the start of the collector: %w", err), c.stop())
	}
	return c, nil
}

// FreePorts finds ports that nobody listens on. They are all held until the last is found, so that they differ.
func FreePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// page is the collector's page of metrics.
func (c *collector) page(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", request.URL, response.Status)
	}
	return io.ReadAll(response.Body)
}

// eventually waits for a condition.
func (c *collector) eventually(ctx context.Context, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-c.exited:
			return fmt.Errorf("the collector ended, see %s", c.log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // Between two looks.
		}
	}
}

// stop asks the collector to end, and waits for it.
func (c *collector) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-c.exited:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.exited
		return fmt.Errorf("the collector did not end, see %s", c.log)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the collector ended with %d, see %s", code, c.log)
	}
	return nil
}

// runner is a run.
type runner struct {
	options   Options
	ingress   *ingresstest.Server
	collector *collector
	load      *load
	recording *Recording
	begin     time.Time
}

func (r *runner) run(ctx context.Context) (*Report, error) {
	loadCtx, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	loaded := make(chan error, 1)
	go func() { loaded <- r.load.run(loadCtx, r.options.Batches) }()

	report := &Report{Recording: r.recording}
	ticker := time.NewTicker(r.options.Interval)
	defer ticker.Stop()
	accounts, err := r.look(ctx, r.options.Phases[0])
	if err != nil {
		return nil, err
	}
	for i, phase := range r.options.Phases {
		p, before := PhaseReport{Phase: phase, Start: time.Now()}, accounts
		r.load.pushes.enter(i)
		r.enter(phase.Fault)
		for time.Since(p.Start) < phase.Duration {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case err := <-loaded:
				return nil, errors.Join(errors.New("the load ended"), err)
			case <-ticker.C:
			}
			if accounts, err = r.look(ctx, phase); err != nil {
				return nil, err
			}
		}
		p.End = time.Now()
		for k, a := range accounts {
			b := before[k]
			p.Became = append(p.Became, Account{
				a.Accepted - b.Accepted, a.Sent - b.Sent, a.Failed - b.Failed, a.Dropped - b.Dropped, a.Rejected - b.Rejected,
				a.Waiting - b.Waiting,
			})
		}
		report.Phases = append(report.Phases, p)
	}
	r.enter(None)
	stopLoad()
	if err := <-loaded; err != nil {
		return nil, err
	}
	for i := range report.Phases {
		p := &report.Phases[i]
		all := r.load.pushes.all[i]
		p.Pushes, p.P50, p.P99 = len(all), Quantile(all, 0.5), Quantile(all, 0.99)
	}

	last := r.options.Phases[len(r.options.Phases)-1]
	last.Fault = None
	if err := r.collector.eventually(ctx, func() (done bool, err error) {
		report.Accounts, err = r.look(ctx, last)
		return !slices.ContainsFunc(report.Accounts, func(a Account) bool { return a.Waiting > 0 }), err
	}); err != nil {
		return nil, fmt.Errorf("the end of what waits: %w", err)
	}
	// The last item may have been counted out of what waits, and not yet as sent.
	if report.Accounts, err = r.look(ctx, last); err != nil {
		return nil, err
	}
	for _, st := range r.load.streams {
		report.Pushed = append(report.Pushed, int(st.pushed.Load()))
	}
	return report, nil
}

// enter makes a fault, and ends those before it.
func (r *runner) enter(fault Fault) {
	r.ingress.Resume()
	r.load.malformed.Store(fault == Break)
	switch fault {
	case Stall:
		r.ingress.Stall()
	case Break:
		r.ingress.Refuse(status.Error(codes.InvalidArgument, "refused by the demonstration"))
	}
}

// look reads the collector's metrics.
func (r *runner) look(ctx context.Context, phase Phase) ([]Account, error) {
	at := time.Now()
	page, err := r.collector.page(ctx)
	if err != nil {
		return nil, err
	}
	now := NewRecording()
	if err := now.AddPage(page, at); err != nil {
		return nil, err
	}
	stalled := 0.0
	if phase.Fault == Stall {
		stalled = 1
	}
	now.Add(labels.FromStrings(model.MetricNameLabel, StalledMetric), at.UnixMilli(), stalled)
	now.Add(labels.FromStrings(model.MetricNameLabel, UpMetric), at.UnixMilli(), 1)
	look := Look{Elapsed: at.Sub(r.begin), Phase: phase}
	pushes := r.load.pushes.take()
	for _, signal := range Signals {
		took := pushes[signal.Name]
		p50, p99 := Quantile(took, 0.5), Quantile(took, 0.99)
		look.P50, look.P99 = append(look.P50, p50), append(look.P99, p99)
		if len(took) > 0 {
			for q, d := range map[string]time.Duration{"0.5": p50, "0.99": p99} {
				now.Add(labels.FromStrings(model.MetricNameLabel, PushMetric, "signal", signal.Name, "quantile", q),
					at.UnixMilli(), d.Seconds())
			}
		}
		of := func(name string, matching ...string) int { return int(now.last("otelcol_"+name, matching...)) }
		look.Accounts = append(look.Accounts, Account{
			Accepted: of("receiver_accepted_" + signal.Items),
			Sent:     of("exporter_sent_" + signal.Items),
			Failed:   of("exporter_send_failed_" + signal.Items),
			Dropped:  of("exporter_loggregator_dropped_items", "signal", signal.Name),
			Rejected: of("exporter_loggregator_rejected_items", "signal", signal.Name),
			Waiting:  of("exporter_loggregator_waiting_items", "signal", signal.Name),
		})
	}
	for _, s := range now.series {
		metric := labels.NewBuilder(s.Metric).Set("job", Job).Set("instance", Instance).Labels()
		r.recording.Add(metric, s.Floats[0].T, s.Floats[0].F)
	}
	if r.options.OnLook != nil {
		r.options.OnLook(look)
	}
	return look.Accounts, nil
}

// last is the sum of the last samples of all series of a name with these labels.
func (r *Recording) last(name string, matching ...string) float64 {
	sum := 0.0
	for _, s := range r.byName[name] {
		if len(matching) == 0 || s.Metric.Get(matching[0]) == matching[1] {
			sum += s.Floats[len(s.Floats)-1].F
		}
	}
	return sum
}

// Quantile is the smallest of all values that is not below a share q of them; 0 if there are none.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
