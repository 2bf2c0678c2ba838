// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package telemetry extends [report.Report] for the exporter, with its metrics and with the outcomes of envelopes and messages.
//
// When no update is in progress,
//
//	accepted = sent + send_failed + dropped + rejected + waiting
package telemetry

import (
	"sync"

	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pipeline"
	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
)

// messages holds the exporter's messages of the log lines of [report.Report].
var messages = report.Messages{
	Overflow:    "The diode is full: dropped items. Loggregator or rate_limit is slower than the pipeline.",
	Shutdown:    "Dropped items that could not be sent before shutdown. All signals of an exporter share 10 s.",
	Failed:      "Gave up sending: Loggregator did not acknowledge these items. They are lost.",
	Outage:      "Loggregator is not accepting envelopes. New data waits in the diode.",
	OutageLoses: "Loggregator is not accepting envelopes. Gave up a message: its items are lost.",
	Recovered:   "Loggregator is reachable again.",
}

// Settings holds the signal of an exporter and the settings that are exposed as metrics.
type Settings struct {
	Signal             pipeline.Signal
	MaxItems           int
	EnvelopesPerSecond float64
}

// Queue is a queue whose length and capacity are metrics.
type Queue interface {
	Len() int
	Cap() int
}

// A Report reports on an exporter of one signal. Its own methods may be called by one goroutine at a time, the drain.
type Report struct {
	*report.Report
	logger  *zap.Logger
	metrics *metrics

	mu     sync.Mutex
	losses losses
}

// losses holds the losses since they were last logged.
type losses struct {
	rejected map[translate.Reason]int
	halved   int             // messages
	tooLarge *delivery.Error // the latest
}

// New returns a report. [Report.Register] must be called before the drain starts.
func New(logger *zap.Logger) *Report {
	r := &Report{logger: logger}
	r.Report = report.New(logger, messages, r.logLosses)
	return r
}

// Register registers the metrics. They stay registered after Shutdown, so that the last export of the collector includes all drops.
func (r *Report) Register(set exporter.Settings, s Settings, q Queue) (err error) {
	r.metrics, err = newMetrics(set, s, q, r.Report)
	return err
}

// Rejected counts items that could not be translated.
func (r *Report) Rejected(reason translate.Reason, items int) {
	r.Out(items)
	r.metrics.ExporterLoggregatorRejectedItems.Add(background, int64(items), r.metrics.byReason(string(reason)))
	r.mu.Lock()
	if r.losses.rejected == nil {
		r.losses.rejected = map[translate.Reason]int{}
	}
	r.losses.rejected[reason] += items
	r.mu.Unlock()
	r.Lost()
}

// Truncated counts shortened items, in addition to their outcome.
func (r *Report) Truncated(items int) {
	if items > 0 {
		r.metrics.ExporterLoggregatorTruncatedItems.Add(background, int64(items), r.metrics.bySignal)
	}
}

// Sent counts acknowledged items and their envelopes and bytes.
func (r *Report) Sent(o delivery.Outcome) {
	r.Out(o.Items)
	r.metrics.sentItems.Add(background, int64(o.Items), r.metrics.byExporter)
	r.metrics.ExporterLoggregatorEnvelopes.Add(background, int64(o.Envelopes), r.metrics.bySignal)
	r.metrics.ExporterLoggregatorBytes.Add(background, int64(o.Bytes), r.metrics.bySignal)
}

// Failed counts items whose last attempt failed.
func (r *Report) Failed(err *delivery.Error, items int) {
	if items == 0 {
		return // The envelopes count with the rest of their item.
	}
	r.metrics.failedItems.Add(background, int64(items), r.metrics.byError(err.Type(), !err.Retryable))
	r.Report.Failed(err, !err.Retryable, items)
}

// Attempted records an attempt to send a message.
func (r *Report) Attempted(a delivery.Attempt) {
	r.metrics.ExporterLoggregatorSendDuration.Record(background, a.Duration.Seconds(), r.metrics.bySignal)
	attempt := report.Attempt{RetryIn: a.RetryIn}
	if a.Err != nil {
		attempt.Err, attempt.Kind = a.Err, a.Err.Type()+a.Err.Hint
		attempt.Outage = a.Err.Scope == delivery.ScopeEndpoint
	}
	r.Report.Attempted(attempt)
	if a.Halved {
		r.mu.Lock()
		r.losses.halved++
		r.losses.tooLarge = a.Err
		r.mu.Unlock()
		r.Lost()
	}
}

func (r *Report) logLosses() {
	r.mu.Lock()
	l := r.losses
	r.losses = losses{}
	r.mu.Unlock()
	for reason, items := range l.rejected {
		r.logRejected(reason, items)
	}
	if l.halved > 0 {
		r.logger.Warn("Loggregator refused messages as too large. They were split in half and sent again.",
			zap.Int("refused_messages", l.halved), zap.Error(l.tooLarge))
	}
}

func (r *Report) logRejected(reason translate.Reason, items int) {
	fields := []zap.Field{zap.String("reason", string(reason)), zap.Int("rejected_items", items)}
	if hint := reason.Hint(); hint != "" {
		r.logger.Warn("Rejected items that Loggregator cannot represent. They are lost.", append(fields, zap.String("hint", hint))...)
	} else {
		r.logger.Debug("Rejected items with nothing to send. This is normal.", fields...)
	}
}
