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
	Recovered:   "Loggregator accepts envelopes again.",
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

// An Exporter reports on an exporter of one signal. Its own methods may be called by one goroutine at a time, the drain.
type Exporter struct {
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

// New returns a report. [Exporter.Register] must be called before the drain starts.
func New(logger *zap.Logger) *Exporter {
	e := &Exporter{logger: logger}
	e.Report = report.New(logger, messages, e.logLosses)
	return e
}

// Register registers the metrics. They stay registered after Shutdown, so that the last export of the collector includes all drops.
func (e *Exporter) Register(set exporter.Settings, s Settings, q Queue) (err error) {
	e.metrics, err = newMetrics(set, s, q, e.Report)
	return err
}

// Rejected counts items that could not be translated.
func (e *Exporter) Rejected(reason translate.Reason, items int) {
	e.Out(items)
	e.metrics.ExporterLoggregatorRejectedItems.Add(background, int64(items), e.metrics.byReason(string(reason)))
	e.mu.Lock()
	if e.losses.rejected == nil {
		e.losses.rejected = map[translate.Reason]int{}
	}
	e.losses.rejected[reason] += items
	e.mu.Unlock()
	e.Lost()
}

// Truncated counts shortened items, in addition to their outcome.
func (e *Exporter) Truncated(items int) {
	if items > 0 {
		e.metrics.ExporterLoggregatorTruncatedItems.Add(background, int64(items), e.metrics.bySignal)
	}
}

// Sent counts acknowledged items and their envelopes and bytes.
func (e *Exporter) Sent(o delivery.Outcome) {
	e.Out(o.Items)
	e.metrics.sentItems.Add(background, int64(o.Items), e.metrics.byExporter)
	e.metrics.ExporterLoggregatorEnvelopes.Add(background, int64(o.Envelopes), e.metrics.bySignal)
	e.metrics.ExporterLoggregatorBytes.Add(background, int64(o.Bytes), e.metrics.bySignal)
}

// Failed counts items whose last attempt failed.
func (e *Exporter) Failed(err *delivery.Error, items int) {
	if items == 0 {
		return // The envelopes count with the rest of their item.
	}
	e.metrics.failedItems.Add(background, int64(items), e.metrics.byError(err.Type(), !err.Retryable))
	e.Report.Failed(err, !err.Retryable, items)
}

// Attempted records an attempt to send a message.
func (e *Exporter) Attempted(a delivery.Attempt) {
	e.metrics.ExporterLoggregatorSendDuration.Record(background, a.Duration.Seconds(), e.metrics.bySignal)
	attempt := report.Attempt{RetryIn: a.RetryIn}
	if a.Err != nil {
		attempt.Err, attempt.Kind = a.Err, a.Err.Type()+a.Err.Hint
		attempt.Outage = a.Err.Scope == delivery.ScopeEndpoint
	}
	e.Report.Attempted(attempt)
	if a.Halved {
		e.mu.Lock()
		e.losses.halved++
		e.losses.tooLarge = a.Err
		e.mu.Unlock()
		e.Lost()
	}
}

func (e *Exporter) logLosses() {
	e.mu.Lock()
	l := e.losses
	e.losses = losses{}
	e.mu.Unlock()
	for reason, items := range l.rejected {
		e.logRejected(reason, items)
	}
	if l.halved > 0 {
		e.logger.Warn("Loggregator refused messages as too large. They were split in half and sent again.",
			zap.Int("refused_messages", l.halved), zap.Error(l.tooLarge))
	}
}

func (e *Exporter) logRejected(reason translate.Reason, items int) {
	fields := []zap.Field{zap.String("reason", string(reason)), zap.Int("rejected_items", items)}
	if hint := reason.Hint(); hint != "" {
		e.logger.Warn("Rejected items that Loggregator cannot represent. They are lost.", append(fields, zap.String("hint", hint))...)
	} else {
		e.logger.Debug("Rejected items with nothing to send. This is normal.", fields...)
	}
}
