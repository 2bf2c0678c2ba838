// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/pipeline"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// TestMessages has every message that a user can meet, to be read one after the other in testdata/messages.txt: what happened, what
// it means, what to do. It makes them all happen; `-update` writes the file anew.
func TestMessages(t *testing.T) {
	var out strings.Builder
	out.WriteString("# What `validate --config` and the start of the collector say of a wrong value\n\n")
	certs := t.TempDir()
	invalid := invalidConfigs(t, certs)
	byYAML := func(a, b string) int { return strings.Compare(invalid[a].yaml, invalid[b].yaml) }
	for _, name := range slices.SortedFunc(maps.Keys(invalid), byYAML) {
		_, err := load(t, "loggregator: {"+invalid[name].yaml+"}", "loggregator")
		require.Error(t, err)
		message := strings.ReplaceAll(err.Error(), certs, "CERTS")
		if want := invalid[name].want; !strings.Contains(want, " ") {
			message = "(the collector's own message, which names " + want + ")"
		}
		fmt.Fprintf(&out, "%s\n    %s\n", strings.ReplaceAll(invalid[name].yaml, certs, "CERTS"), strings.ReplaceAll(message, "\n", "\n    "))
	}

	f := newFixture(t)
	require.NoError(t, os.Remove(f.cfg.TLS.CertFile))
	gone := f.create("logs")
	err := gone.Start(t.Context(), f.host)
	require.ErrorContains(t, err, f.cfg.TLS.CertFile, "the start names a file that has gone since the validation")
	require.NoError(t, gone.Shutdown(t.Context()))

	out.WriteString("\n# What the log says\n\n")
	for _, entry := range logOfEverything(t) {
		fmt.Fprintf(&out, "%s %s\n", strings.ToUpper(entry.level.String()), entry.message)
		for _, field := range entry.fields {
			fmt.Fprintf(&out, "    %s\n", field)
		}
	}

	file := filepath.Join("testdata", "messages.txt")
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), out.String())
}

type logged struct {
	level   zapcore.Level
	message string
	fields  []string
}

// What differs from run to run.
var (
	addresses = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	durations = regexp.MustCompile(`[0-9.]+(µs|ms|s)\b`)
)

// logOfEverything makes everything happen that the exporter logs, and returns each line once, without what differs from run to
// run.
func logOfEverything(t *testing.T) []logged {
	t.Helper()
	f := newFixture(t)
	all := map[string]logged{}

	// An exporter that pushes two records, until its end.
	run := func(f *fixture, until func(*fixture)) {
		e := f.start("logs")
		e.push(0, 2, 0)
		until(f)
		require.NoError(t, e.Shutdown(t.Context()))
		collect(all, f)
	}
	attempted := func(f *fixture) {
		require.Eventually(t, func() bool { return f.attempts() > 0 }, waitAtMost, time.Millisecond)
	}
	arrived := func(f *fixture) { f.ingress.WaitForEnvelopes(t, 2) }

	// An agent that is away, hangs, or does not like what it gets.
	for _, failure := range []error{
		status.Error(codes.PermissionDenied, "not you"),
		status.Error(codes.Unauthenticated, "who are you?"),
		status.Error(codes.Internal, "panic"),
		status.Error(codes.ResourceExhausted, "grpc: received message larger than max (5 vs. 4)"),
	} {
		each := newFixture(t)
		each.ingress.Refuse(failure)
		run(each, attempted)
	}
	back := newFixture(t)
	back.ingress.Refuse(status.Error(codes.Unavailable, "the agent shuts down"))
	run(back, func(f *fixture) {
		attempted(f)
		f.ingress.Resume()
		arrived(f)
	})
	away := newFixture(t)
	away.ingress.Down()
	run(away, attempted)

	router := newFixture(t)
	router.ingress.Router()
	run(router, arrived)

	stranger := t.TempDir()
	require.NoError(t, ingressserver.WriteCerts(stranger))
	wrong := newFixture(t)
	wrong.cfg.TLS.CAFile = filepath.Join(stranger, ingressserver.CAFile)
	run(wrong, attempted)

	noCA := newFixture(t)
	noCA.cfg.TLS.CAFile = ""
	run(noCA, attempted)
	plaintext := newFixture(t)
	plaintext.cfg.TLS = configtls.ClientConfig{Insecure: true}
	run(plaintext, attempted)

	// What is lost on this side.
	set := f.settings()
	r, err := report.New(set, report.Settings{Signal: pipeline.SignalLogs}, queue.New[int](queue.Bounds{Capacity: 1}))
	require.NoError(t, err)
	for _, reason := range []report.DropReason{report.DropOverflow, report.DropShutdown} {
		r.Dropped(reason, 100)
	}
	for _, reason := range []translate.Reason{
		translate.Empty, translate.Malformed, translate.Negative, translate.NotFinite, translate.OutOfRange,
		translate.Stale, translate.Temporality, translate.TooLarge, translate.ZeroDelta,
	} {
		r.Rejected(reason, 100)
	}
	r.Shutdown()
	collect(all, f)

	var lines []logged
	for _, key := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, all[key])
	}
	return lines
}

// collect takes the lines of a log that are not there yet.
func collect(all map[string]logged, f *fixture) {
	for _, entry := range f.logs.All() {
		l := logged{level: entry.Level, message: entry.Message}
		encoder := zapcore.NewMapObjectEncoder()
		for _, field := range entry.Context {
			field.AddTo(encoder)
		}
		for _, key := range slices.Sorted(maps.Keys(encoder.Fields)) {
			value := fmt.Sprint(encoder.Fields[key])
			value = durations.ReplaceAllString(addresses.ReplaceAllString(value, "127.0.0.1:PORT"), "TIME")
			if key == "failed_attempts" || key == "failed_items" || key == "refused_messages" {
				value = "N"
			}
			l.fields = append(l.fields, key+": "+value)
		}
		all[l.level.String()+l.message+strings.Join(l.fields, "")] = l
	}
}

// The README explains every line of the log that is no debugging.
func TestReadmeKnowsTheLog(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, line := range logOfEverything(t) {
		if line.level < zap.InfoLevel {
			continue
		}
		first, _, _ := strings.Cut(line.message, ". ")
		if !strings.Contains(string(readme), strings.TrimSuffix(first, ".")) { // assert would print all of it.
			t.Errorf("the README does not explain: %s", line.message)
		}
	}
}
