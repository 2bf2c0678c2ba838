// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package outage puts a built collector under load, reads its metrics, and runs it through an outage of Loggregator.
package outage

import (
	"cmp"
	"context"
	_ "embed" // collector.yaml
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// Fault is the fault of a phase.
type Fault int

// The faults.
const (
	None  Fault = iota
	Stall       // Loggregator accepts no message.
	Break       // Loggregator refuses each message for good, and half of the logs and metrics are rejected.
)

// Phase is a part of a run.
type Phase struct {
	Name     string
	Duration time.Duration
	Fault    Fault
}

// Options are the options of a run. All must be set.
type Options struct {
	Collector  string // the path of the built collector
	Dir        string // for certificates and configuration
	Phases     []Phase
	Interval   time.Duration  // between two reads of the collector's metrics
	Batches    int            // pushed per second for each signal
	Capacity   int            // of the diode of each signal, in batches
	MaxItems   int            // of the diode of each signal
	OnSnapshot func(Snapshot) // is called with each snapshot, from one goroutine
}

// Snapshot is the state of a run at a moment.
type Snapshot struct {
	At       time.Time
	Elapsed  time.Duration
	Phase    Phase
	Page     Page
	Accounts []Account
	Pushes   [3][]time.Duration // since the previous snapshot
}

// PhaseReport is the outcome of a phase.
type PhaseReport struct {
	Phase
	Start, End time.Time
	Pushes     int
	P50, P99   time.Duration // of the pushes of all signals
	Delta      []Account     // the change of each signal's account
}

// Report is the outcome of a run.
type Report struct {
	Phases     []PhaseReport
	Accounts   []Account // at the end, with nothing waiting
	Pushed     []int     // items that the collector acknowledged to the OTLP clients
	Arrived    []int     // distinct items that arrived at Loggregator
	Duplicates []int     // repeated arrivals of these items
}

// Run runs a collector through the phases.
func Run(ctx context.Context, o Options) (report *Report, err error) {
	certs := filepath.Join(o.Dir, "certs")
	if err := ingressserver.WriteCerts(certs); err != nil {
		return nil, err
	}
	tls, err := ingressserver.ServerTLS(certs)
	if err != nil {
		return nil, err
	}
	arrived := &Arrivals{}
	ingress, err := ingresstest.Start("127.0.0.1:0", tls, func(envelopes []*loggregator_v2.Envelope) {
		for _, e := range envelopes {
			_ = arrived.Add(e) // An unexpected envelope shows as an item that did not arrive.
		}
	})
	if err != nil {
		return nil, err
	}
	defer ingress.Stop()
	ports, err := FreePorts(2)
	if err != nil {
		return nil, err
	}
	otlp, metrics := Loopback(ports[0]), Loopback(ports[1])
	cmd := exec.Command(o.Collector, "--config", "yaml:"+config)
	cmd.Env = append(os.Environ(), "OTLP="+otlp, "METRICS_PORT="+strconv.Itoa(ports[1]), "INGRESS="+ingress.Addr(), "CERTS="+certs,
		"CAPACITY="+strconv.Itoa(o.Capacity), "MAX_ITEMS="+strconv.Itoa(o.MaxItems))
	log, err := os.Create(filepath.Join(o.Dir, "collector.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Keeps the terminal's Ctrl-C from it.
	c, err := Start(cmd)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	// The collector is ready when its receiver listens and its metrics can be read.
	if err := c.Eventually(ctx, func() (bool, error) {
		conn, err := net.DialTimeout("tcp", otlp, time.Second)
		if err == nil {
			_, err = ReadPage(metrics)
			_ = conn.Close()
		}
		return err == nil, nil
	}); err != nil {
		return nil, fmt.Errorf("wait for the collector to start: %w", err)
	}
	conn, err := grpc.NewClient(otlp, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := &runner{options: o, ingress: ingress, collector: c, metrics: metrics, begin: time.Now()}
	r.load = StartLoad(conn, shape, rate.Limit(o.Batches), r.pushed)
	report, err = r.run(ctx)
	if err = cmp.Or(err, r.load.Stop()); err != nil {
		return nil, err
	}
	for i := range Signals {
		total, distinct, _ := arrived.Count(i)
		report.Arrived, report.Duplicates = append(report.Arrived, distinct), append(report.Duplicates, total-distinct)
	}
	return report, nil
}

// shape fills the diode of traces up to its limit of items, and the others up to their limit of batches. A few points are always
// rejected, as in real data. An attribute of its own prevents a point from sharing an envelope.
var shape = Shape{Items: [3]int{20, 20, 50}, Resources: 1, Payload: 40, Attributes: [3]int{1, 1, 1}, NaN: 200}

//go:embed collector.yaml
var config string

// runner holds the state of a run.
type runner struct {
	options   Options
	ingress   *ingresstest.Server
	collector *Process
	metrics   string // address of the collector's metrics
	load      *Load
	begin     time.Time

	mu     sync.Mutex
	pushes [3][]time.Duration // since the last snapshot
}

func (r *runner) pushed(signal int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pushes[signal] = append(r.pushes[signal], took)
}

func (r *runner) run(ctx context.Context) (*Report, error) {
	report := &Report{}
	ticker := time.NewTicker(r.options.Interval)
	defer ticker.Stop()
	snapshot, err := r.snapshot(r.options.Phases[0])
	if err != nil {
		return nil, err
	}
	for _, phase := range r.options.Phases {
		p, before := PhaseReport{Phase: phase, Start: time.Now()}, snapshot.Accounts
		r.enter(phase.Fault)
		var pushes []time.Duration
		for time.Since(p.Start) < phase.Duration {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-r.load.Ended:
				return nil, r.load.Stop()
			case <-ticker.C:
			}
			if snapshot, err = r.snapshot(phase); err != nil {
				return nil, err
			}
			pushes = slices.Concat(pushes, snapshot.Pushes[0], snapshot.Pushes[1], snapshot.Pushes[2])
		}
		p.End, p.Pushes, p.P50, p.P99 = time.Now(), len(pushes), Quantile(pushes, 0.5), Quantile(pushes, 0.99)
		for i, a := range snapshot.Accounts {
			p.Delta = append(p.Delta, a.Minus(before[i]))
		}
		report.Phases = append(report.Phases, p)
	}
	r.enter(None)
	if err := r.load.Stop(); err != nil {
		return nil, err
	}
	last := r.options.Phases[len(r.options.Phases)-1]
	last.Fault = None
	if err := r.collector.Eventually(ctx, func() (done bool, err error) {
		snapshot, err = r.snapshot(last)
		return Empty(snapshot.Accounts), err
	}); err != nil {
		return nil, fmt.Errorf("wait until no item waits: %w", err)
	}
	// An item stops waiting shortly before it is counted as sent.
	if snapshot, err = r.snapshot(last); err != nil {
		return nil, err
	}
	report.Accounts = snapshot.Accounts
	for i := range Signals {
		report.Pushed = append(report.Pushed, int(r.load.Sent[i].Load()))
	}
	return report, nil
}

// enter ends the previous fault and starts the next one.
func (r *runner) enter(fault Fault) {
	r.ingress.Resume()
	r.load.Malformed.Store(fault == Break)
	switch fault {
	case Stall:
		r.ingress.Stall()
	case Break:
		r.ingress.Refuse(status.Error(codes.InvalidArgument, "refused by the demo"))
	}
}

// snapshot reads the collector's metrics.
func (r *runner) snapshot(phase Phase) (Snapshot, error) {
	at := time.Now()
	page, err := ReadPage(r.metrics)
	if err != nil {
		return Snapshot{}, err
	}
	snapshot := Snapshot{At: at, Elapsed: at.Sub(r.begin), Phase: phase, Page: page, Accounts: page.Accounts()}
	r.mu.Lock()
	snapshot.Pushes, r.pushes = r.pushes, [3][]time.Duration{}
	r.mu.Unlock()
	r.options.OnSnapshot(snapshot)
	return snapshot, nil
}

// Quantile returns the smallest value in all that is not below a share q of them. It returns 0 if all is empty.
func Quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
