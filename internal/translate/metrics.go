// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"hash/maphash"
	"math"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Metrics translates data points to Gauge and Counter envelopes. One goroutine at a time may use it.
type Metrics struct {
	translator
	gauges    gaugeGroups
	fractions fractions
	gauge     []byte // the gauge metric in work
	buckets   buckets
	now       int64 // the time of points that have none; one for all of a push, so that they can share envelopes
}

// NewMetrics makes a translator of metrics.
func NewMetrics(opts Options) *Metrics {
	return &Metrics{
		translator: newTranslator(opts, cleanKeyFunc(opts.PrometheusNames, opts.SyslogSafe)),
		fractions:  newFractions(),
	}
}

// Translate puts the envelopes of all data points out.
func (m *Metrics) Translate(metrics pmetric.Metrics, out Output) {
	m.out = out
	m.now = m.timestamp()
	for _, rm := range metrics.ResourceMetrics().All() {
		m.beginResource(rm.Resource())
		for _, sm := range rm.ScopeMetrics().All() {
			m.beginScope(sm.Scope())
			for _, metric := range sm.Metrics().All() {
				if m.hopeless {
					m.reject(TooLarge, pointCount(metric))
					continue
				}
				m.metric(metric)
			}
			m.putGauges()
		}
	}
}

// pointCount is the number of data points of a metric.
func pointCount(metric pmetric.Metric) int {
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		return metric.Gauge().DataPoints().Len()
	case pmetric.MetricTypeSum:
		return metric.Sum().DataPoints().Len()
	case pmetric.MetricTypeHistogram:
		return metric.Histogram().DataPoints().Len()
	case pmetric.MetricTypeExponentialHistogram:
		return metric.ExponentialHistogram().DataPoints().Len()
	case pmetric.MetricTypeSummary:
		return metric.Summary().DataPoints().Len()
	}
	return 0
}

func (m *Metrics) metric(metric pmetric.Metric) {
	name := metric.Name()
	if m.opts.PrometheusNames {
		name = prometheus.BuildCompliantName(metric, "", true)
	}
	name = envelope.ValidUTF8(name) // Names that are the same on the wire are the same here.
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		m.numbers(name, metric.Gauge().DataPoints(), func(p pmetric.NumberDataPoint) Reason {
			return m.gaugePoint(name, metric.Unit(), p)
		})
	case pmetric.MetricTypeSum:
		m.sum(name, metric)
	case pmetric.MetricTypeHistogram:
		m.histogram(name, metric.Unit(), metric.Histogram())
	case pmetric.MetricTypeExponentialHistogram:
		m.exponentialHistogram(name, metric.Unit(), metric.ExponentialHistogram())
	case pmetric.MetricTypeSummary:
		m.summary(name, metric.Unit(), metric.Summary())
	}
}

// sum puts the points of a sum out. One that does not say its temporality is taken for cumulative.
func (m *Metrics) sum(name string, metric pmetric.Metric) {
	sum := metric.Sum()
	delta := sum.AggregationTemporality() == pmetric.AggregationTemporalityDelta
	gauge := func(p pmetric.NumberDataPoint) Reason { return m.gaugePoint(name, metric.Unit(), p) }
	var point func(pmetric.NumberDataPoint) Reason
	switch {
	case delta && !sum.IsMonotonic():
		m.reject(Temporality, sum.DataPoints().Len())
		return
	case delta:
		point = func(p pmetric.NumberDataPoint) Reason { return m.deltaPoint(name, p) }
	case !sum.IsMonotonic():
		point = gauge
	default:
		point = func(p pmetric.NumberDataPoint) Reason {
			if m.opts.DoubleSumsAsGauges && p.ValueType() == pmetric.NumberDataPointValueTypeDouble && p.DoubleValue() >= 0 {
				return gauge(p)
			}
			return m.totalPoint(name, p)
		}
	}
	m.numbers(name, sum.DataPoints(), point)
}

// numbers calls point for each point that has a finite number, and rejects those for which that returns a reason.
func (m *Metrics) numbers(name string, points pmetric.NumberDataPointSlice, point func(pmetric.NumberDataPoint) Reason) {
	if name == "" {
		m.reject(Malformed, points.Len())
		return
	}
	for _, p := range points.All() {
		reason := unusable(p)
		if reason == "" {
			reason = point(p)
		}
		if reason != "" {
			m.reject(reason, 1)
		}
	}
}

func unusable(p pmetric.NumberDataPoint) Reason {
	switch {
	case p.Flags().NoRecordedValue():
		return Stale
	case p.ValueType() == pmetric.NumberDataPointValueTypeEmpty:
		return Empty
	case p.ValueType() == pmetric.NumberDataPointValueTypeDouble && !isFinite(p.DoubleValue()):
		return NotFinite
	}
	return ""
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// beginPoint is beginItem, and makes the instance ID a tag: PromQL can match it only as a tag, and without it the agent
// would add the deltas of all instances together.
func (m *Metrics) beginPoint(attrs pcommon.Map) {
	m.beginItem(attrs)
	if m.id.instance != "" {
		m.tags.set(instanceIDKey, m.id.instance)
	}
}

func (m *Metrics) pointTime(ts pcommon.Timestamp) int64 {
	if ts == 0 {
		return m.now
	}
	return m.timestamp(ts)
}

// totalPoint puts a point of a monotonic cumulative sum out.
func (m *Metrics) totalPoint(name string, p pmetric.NumberDataPoint) Reason {
	total, reason := wholePart(p)
	if reason != "" {
		return reason
	}
	m.beginPoint(p.Attributes())
	return m.counter(m.pointTime(p.Timestamp()), name, 0, total)
}

// wholePart is the number of a monotonic sum, cut to an integer.
func wholePart(p pmetric.NumberDataPoint) (uint64, Reason) {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		if p.IntValue() < 0 {
			return 0, Negative
		}
		return uint64(p.IntValue()), ""
	}
	return wholePartOf(p.DoubleValue())
}

func wholePartOf(v float64) (uint64, Reason) {
	switch {
	case v < 0:
		return 0, Negative
	case v >= 1<<64:
		return 0, OutOfRange
	}
	return uint64(v), ""
}

// deltaPoint puts a point of a monotonic delta sum out. The agent adds the deltas up.
func (m *Metrics) deltaPoint(name string, p pmetric.NumberDataPoint) Reason {
	delta, reason := wholePart(p)
	if reason != "" {
		return reason
	}
	m.beginPoint(p.Attributes())
	if p.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		m.tags.sort()
		m.encodeShared()
		sum := m.fractions.carried(name, m.sealed) + p.DoubleValue()
		if delta, reason = wholePartOf(sum); reason != "" {
			return reason
		}
		m.fractions.carry(sum - math.Trunc(sum))
	}
	if delta == 0 {
		return ZeroDelta
	}
	return m.counter(m.pointTime(p.Timestamp()), name, delta, 0)
}

func (m *Metrics) counter(timestamp int64, name string, delta, total uint64) Reason {
	m.message = envelope.AppendCounter(m.message[:0], name, delta, total)
	if !m.seal(len(m.message)) {
		return TooLarge
	}
	m.emit(timestamp, "", "", 1)
	return ""
}

// gaugePoint adds a point to the Gauge envelope of the points with the same tags and time.
func (m *Metrics) gaugePoint(name, unit string, p pmetric.NumberDataPoint) Reason {
	value := p.DoubleValue()
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		value = float64(p.IntValue())
	}
	m.beginPoint(p.Attributes())
	m.tags.sort()
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name, unit, value)
	if !m.seal(envelope.Size(len(m.gauge))) {
		return TooLarge
	}
	m.gauges.add(m.pointTime(p.Timestamp()), m.sealed, name, m.gauge)
	m.countShortened()
	return ""
}

// putGauges puts the Gauge envelopes of a scope out, in the order of their first points.
func (m *Metrics) putGauges() {
	for i := range m.gauges.inUse() {
		g := &m.gauges.groups[i]
		m.sealed = append(m.sealed[:0], g.sealed...)
		m.message = envelope.AppendGauge(m.message[:0], g.metrics)
		m.emit(g.timestamp, "", "", g.points)
	}
	m.gauges.reset()
}

// gaugeGroups collects the gauge points of a scope into one Gauge for each time and set of tags.
type gaugeGroups struct {
	groups []gaugeGroup // reused from scope to scope; the first used of them are in use
	used   int
	latest map[gaugeKey]int         // the group that takes further points of a key
	names  map[gaugeMember]struct{} // the metrics in each group
}

type gaugeKey struct {
	timestamp int64
	sealed    string
}

type gaugeMember struct {
	group int
	name  string
}

type gaugeGroup struct {
	timestamp       int64
	sealed, metrics []byte
	points          int
}

func (g *gaugeGroups) inUse() []gaugeGroup { return g.groups[:g.used] }

func (g *gaugeGroups) reset() {
	g.used = 0
	clear(g.latest)
	clear(g.names)
}

// add adds one encoded metric. A group that has a metric of that name, or no room, is followed by another one.
func (g *gaugeGroups) add(timestamp int64, sealed []byte, name string, metric []byte) {
	key := gaugeKey{timestamp: timestamp, sealed: string(sealed)}
	i, ok := g.latest[key]
	if ok {
		_, taken := g.names[gaugeMember{i, name}]
		size := headRoom + len(sealed) + envelope.Size(len(g.groups[i].metrics)+len(metric))
		ok = !taken && size <= envelope.MaxSize
	}
	if !ok {
		i = g.begin(key)
	}
	g.names[gaugeMember{i, name}] = struct{}{}
	g.groups[i].metrics = append(g.groups[i].metrics, metric...)
	g.groups[i].points++
}

func (g *gaugeGroups) begin(key gaugeKey) int {
	if g.latest == nil {
		g.latest = map[gaugeKey]int{}
		g.names = map[gaugeMember]struct{}{}
	}
	if g.used == len(g.groups) {
		g.groups = append(g.groups, gaugeGroup{})
	}
	group := &g.groups[g.used]
	group.timestamp = key.timestamp
	group.sealed = append(group.sealed[:0], key.sealed...)
	group.metrics = group.metrics[:0]
	group.points = 0
	g.latest[key] = g.used
	g.used++
	return g.used - 1
}

// fractions remembers what was cut off the delta of each stream of doubles, for its next point.
//
// Its memory is bounded: a stream that was not seen while rememberedStreams others were is forgotten, with its fraction,
// which is less than 1. Streams are known by a hash of 64 bits; should two ever have the same, they share a fraction.
type fractions struct {
	recent, older map[uint64]float64
	seed          maphash.Seed
	stream        uint64 // that carried was last asked for
}

// rememberedStreams is half of the counters of which the agent keeps totals.
const rememberedStreams = 5000

func newFractions() fractions {
	return fractions{recent: map[uint64]float64{}, seed: maphash.MakeSeed()}
}

// carried is the fraction of a stream: a metric and its encoded identity and tags.
func (f *fractions) carried(name string, sealed []byte) float64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	_, _ = h.WriteString(name)
	_ = h.WriteByte(0)
	_, _ = h.Write(sealed)
	f.stream = h.Sum64()
	if fraction, ok := f.recent[f.stream]; ok {
		return fraction
	}
	return f.older[f.stream]
}

// carry sets the fraction of the stream that carried was last asked for.
func (f *fractions) carry(fraction float64) {
	if len(f.recent) >= rememberedStreams {
		f.recent, f.older = map[uint64]float64{}, f.recent
	}
	f.recent[f.stream] = fraction
}
