// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math"
	"strings"

	"github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// Metrics translates data points to Gauge and Counter envelopes. One goroutine at a time may use it.
type Metrics struct {
	translator
	batches[pmetric.Metrics]
	gauges    gaugeGroups
	fractions fractions
	gauge     []byte // the current gauge metric
	buckets   buckets
	// Caches of names and formatted numbers, which recur in every batch.
	nameCache          cache[metricKey, string]
	histogramNameCache cache[string, histogramNames]
	numberCache        cache[float64, string]
	now                int64 // the time of points without one; the same for a batch, so that they can share envelopes
}

// NewMetrics returns a translator of metrics.
func NewMetrics(opts Options) *Metrics {
	m := &Metrics{translator: newTranslator(opts, opts.PrometheusNames), fractions: newFractions()}
	m.sorted = true
	m.init(&m.translator, m.translate)
	return m
}

func (m *Metrics) translate(metrics pmetric.Metrics) {
	m.gauges.reset() // A sequence that was not read to its end leaves some behind.
	m.now = m.timestamp()
	for _, rm := range metrics.ResourceMetrics().All() {
		m.beginResource(rm.Resource())
		for _, sm := range rm.ScopeMetrics().All() {
			m.beginScope(sm.Scope())
			for _, metric := range sm.Metrics().All() {
				if m.stopped {
					return
				}
				m.metric(metric)
			}
			m.putGauges()
		}
	}
}

// metricKey holds everything that determines the name of a metric in envelopes.
type metricKey struct {
	name, unit string
	kind       pmetric.MetricType
	monotonic  bool
}

// name returns the name of a metric in envelopes. Names that become equal on the wire are already equal here.
func (m *Metrics) name(metric pmetric.Metric) string {
	if !m.opts.PrometheusNames {
		return envelope.ValidUTF8(metric.Name())
	}
	key := metricKey{name: metric.Name(), unit: metric.Unit(), kind: metric.Type()}
	if key.kind == pmetric.MetricTypeSum {
		key.monotonic = metric.Sum().IsMonotonic()
	}
	name, ok := m.nameCache[key]
	if !ok {
		cached := len(key.name)+len(key.unit) <= cachedKeyBytes
		if cached {
			key.name, key.unit = strings.Clone(key.name), strings.Clone(key.unit)
		}
		name = prometheusName(key)
		if cached {
			m.nameCache.put(key, name)
		}
	}
	return name
}

// prometheusName returns a name for Log Cache's PromQL, with suffixes for unit and type. Each character that PromQL does not allow becomes
// an underscore. A name without any letter or digit of PromQL becomes metric_ and its FNV-1a hash.
func prometheusName(key metricKey) string {
	metric := pmetric.NewMetric()
	metric.SetName(key.name)
	if key.name != "" && !strings.ContainsFunc(key.name, inPromQL) {
		metric.SetName("metric_" + hash32(key.name))
	}
	metric.SetUnit(key.unit)
	switch key.kind {
	case pmetric.MetricTypeGauge:
		metric.SetEmptyGauge() // With unit 1, it gets the suffix _ratio.
	case pmetric.MetricTypeSum:
		metric.SetEmptySum().SetIsMonotonic(key.monotonic) // If monotonic, it gets the suffix _total.
	}
	return strings.Map(func(r rune) rune {
		if inPromQL(r) {
			return r
		}
		return '_'
	}, prometheus.BuildCompliantName(metric, "", true))
}

// inPromQL reports whether r is a letter or digit that PromQL allows in metric names.
func inPromQL(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func (m *Metrics) metric(metric pmetric.Metric) {
	name, unit := m.name(metric), metric.Unit()
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		m.numbers(name, metric.Gauge().DataPoints(), func(p pmetric.NumberDataPoint) Reason { return m.gaugePoint(name, unit, p) })
	case pmetric.MetricTypeSum:
		m.sum(name, unit, metric.Sum())
	case pmetric.MetricTypeHistogram:
		h := metric.Histogram()
		if m.cumulative(h.AggregationTemporality(), h.DataPoints().Len()) {
			eachPoint(m, h.DataPoints().All(), func(p pmetric.HistogramDataPoint) Reason { return m.histogramPoint(name, unit, p) })
		}
	case pmetric.MetricTypeExponentialHistogram:
		h := metric.ExponentialHistogram()
		if m.cumulative(h.AggregationTemporality(), h.DataPoints().Len()) {
			eachPoint(m, h.DataPoints().All(), func(p pmetric.ExponentialHistogramDataPoint) Reason { return m.exponentialPoint(name, unit, p) })
		}
	case pmetric.MetricTypeSummary:
		eachPoint(m, metric.Summary().DataPoints().All(), func(p pmetric.SummaryDataPoint) Reason { return m.summaryPoint(name, unit, p) })
	}
}

// cumulative reports whether points are cumulative, and rejects them if they are not. An unspecified temporality counts as cumulative.
func (m *Metrics) cumulative(temporality pmetric.AggregationTemporality, points int) bool {
	if temporality != pmetric.AggregationTemporalityDelta {
		return true
	}
	m.reject(ReasonTemporality, points)
	return false
}

// eachPoint calls point for each point with a recorded value. It rejects the others, and those for which point returns a reason.
func eachPoint[P interface{ Flags() pmetric.DataPointFlags }](m *Metrics, points iter.Seq2[int, P], point func(P) Reason) {
	for _, p := range points {
		if p.Flags().NoRecordedValue() {
			m.reject(ReasonStale, 1)
		} else {
			m.reject(point(p), 1)
		}
	}
}

// sum yields the points of a sum. The agent adds up the deltas of a monotonic sum.
func (m *Metrics) sum(name, unit string, sum pmetric.Sum) {
	gauge := func(p pmetric.NumberDataPoint) Reason { return m.gaugePoint(name, unit, p) }
	point := gauge
	switch {
	case !sum.IsMonotonic():
		if !m.cumulative(sum.AggregationTemporality(), sum.DataPoints().Len()) {
			return
		}
	case sum.AggregationTemporality() == pmetric.AggregationTemporalityDelta:
		point = func(p pmetric.NumberDataPoint) Reason { return m.deltaPoint(name, p) }
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

// numbers calls point for each point with a finite number. It rejects the others, and those for which point returns a reason.
func (m *Metrics) numbers(name string, points pmetric.NumberDataPointSlice, point func(pmetric.NumberDataPoint) Reason) {
	if name == "" {
		m.reject(ReasonMalformed, points.Len())
		return
	}
	eachPoint(m, points.All(), func(p pmetric.NumberDataPoint) Reason {
		switch {
		case p.ValueType() == pmetric.NumberDataPointValueTypeEmpty:
			return ReasonEmpty
		case p.ValueType() == pmetric.NumberDataPointValueTypeDouble && !isFinite(p.DoubleValue()):
			return ReasonNotFinite
		}
		return point(p)
	})
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// encodeCommon encodes the identity and tags that all envelopes of a point share, and makes them fit; see fit. The instance ID is also a
// tag: PromQL matches only tags, and without it the agent would add up the deltas of all instances. own is plan.own.
func (m *Metrics) encodeCommon(attrs pcommon.Map, own *cleanKey, room int, texts ...string) bool {
	m.common, _ = m.appendItem(m.common[:0], attrs, own, 0)
	return m.fit(room, 0, texts...)
}

func (m *Metrics) pointTime(ts pcommon.Timestamp) int64 {
	if ns := nanoseconds(ts); ns != 0 {
		return ns
	}
	return m.now
}

// totalPoint yields a point of a monotonic cumulative sum.
func (m *Metrics) totalPoint(name string, p pmetric.NumberDataPoint) Reason {
	total, reason := wholePart(p)
	if reason != "" {
		return reason
	}
	m.message = envelope.AppendCounter(m.message[:0], name, 0, total)
	if !m.encodeCommon(p.Attributes(), nil, len(m.message), name) {
		return ReasonTooLarge
	}
	m.emit(m.pointTime(p.Timestamp()), nil, "", 1)
	return ""
}

// wholePart returns the value of a point of a monotonic sum, truncated to an integer.
func wholePart(p pmetric.NumberDataPoint) (uint64, Reason) {
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		if p.IntValue() < 0 {
			return 0, ReasonNegative
		}
		return uint64(p.IntValue()), ""
	}
	return wholePartOf(p.DoubleValue())
}

func wholePartOf(v float64) (uint64, Reason) {
	switch {
	case v < 0:
		return 0, ReasonNegative
	case v >= 1<<64:
		return 0, ReasonOutOfRange
	}
	return uint64(v), ""
}

// deltaPoint yields a point of a monotonic delta sum. The agent adds up the deltas.
func (m *Metrics) deltaPoint(name string, p pmetric.NumberDataPoint) Reason {
	delta, reason := wholePart(p)
	if reason != "" {
		return reason
	}
	m.message = envelope.AppendCounter(m.message[:0], name, math.MaxUint64, 0)
	if !m.encodeCommon(p.Attributes(), nil, len(m.message), name) {
		return ReasonTooLarge
	}
	if p.ValueType() == pmetric.NumberDataPointValueTypeDouble {
		sum := m.fractions.carried(name, m.common) + p.DoubleValue()
		if delta, reason = wholePartOf(sum); reason != "" {
			return reason
		}
		m.fractions.carry(sum - math.Trunc(sum))
	}
	if delta == 0 {
		return ReasonZeroDelta
	}
	m.message = envelope.AppendCounter(m.message[:0], name, delta, 0)
	m.emit(m.pointTime(p.Timestamp()), nil, "", 1)
	return ""
}

// gaugePoint adds a point to the Gauge envelope of points with the same tags and time.
func (m *Metrics) gaugePoint(name, unit string, p pmetric.NumberDataPoint) Reason {
	value := p.DoubleValue()
	if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
		value = float64(p.IntValue())
	}
	m.gauge = envelope.AppendGaugeMetric(m.gauge[:0], name, unit, value)
	if !m.encodeCommon(p.Attributes(), nil, envelope.Size(len(m.gauge)), name, unit) {
		return ReasonTooLarge
	}
	m.gauges.add(m.pointTime(p.Timestamp()), m.common, name, m.gauge, m.takeTruncated())
	if m.gauges.size > gaugesAtMost {
		m.putGauges()
	}
	return ""
}

// gaugesAtMost limits, in bytes, the memory of a scope's gauges that wait for further points.
const gaugesAtMost = 4 << 20

// putGauges yields the Gauge envelopes of a scope in the order of their first points.
func (m *Metrics) putGauges() {
	for i := range m.gauges.groups[:m.gauges.used] {
		g := &m.gauges.groups[i]
		m.common = append(m.common[:0], g.common...)
		m.message = envelope.AppendGauge(m.message[:0], g.metrics)
		m.yieldEnvelope(m.encode(g.timestamp, nil, ""), g.points, g.truncated)
	}
	m.gauges.reset()
}

// gaugeGroups collects the gauge points of a scope into one Gauge per time and set of tags.
type gaugeGroups struct {
	groups []gaugeGroup // reused from scope to scope; the first used of them are in use
	used   int
	latest map[string]int           // the group for further points of a key: their common part and time
	names  map[gaugeMember]struct{} // the metrics in each group
	key    []byte                   // the current key
	size   int                      // of all groups, in bytes
}

type gaugeMember struct {
	group int
	name  string
}

type gaugeGroup struct {
	timestamp       int64
	common, metrics []byte
	points          int
	truncated       int // the number of truncated points
}

func (g *gaugeGroups) reset() {
	g.used, g.size = 0, 0
	g.latest, g.names = resetMap(g.latest), resetMap(g.names)
}

// add adds one encoded metric. It begins another group if the current one already has a metric of that name, or no room. Syslog's escapes
// need no room, because the syslog agent makes a message of each metric.
func (g *gaugeGroups) add(timestamp int64, common []byte, name string, metric []byte, truncated int) {
	g.key = binary.BigEndian.AppendUint64(append(g.key[:0], common...), uint64(timestamp))
	i, ok := g.latest[string(g.key)]
	if ok {
		_, taken := g.names[gaugeMember{i, name}]
		size := maxTimestampSize + len(common) + envelope.Size(len(g.groups[i].metrics)+len(metric))
		ok = !taken && size <= envelope.MaxSize
	}
	if !ok {
		i = g.begin(timestamp, common)
	}
	g.names[gaugeMember{i, name}] = struct{}{}
	g.groups[i].metrics = append(g.groups[i].metrics, metric...)
	g.groups[i].points++
	g.groups[i].truncated += truncated
	g.size += len(metric)
}

// begin begins a group for the current key and returns its index.
func (g *gaugeGroups) begin(timestamp int64, common []byte) int {
	if g.latest == nil {
		g.latest = map[string]int{}
	}
	if g.names == nil {
		g.names = map[gaugeMember]struct{}{}
	}
	if g.used == len(g.groups) {
		g.groups = append(g.groups, gaugeGroup{})
	}
	group := &g.groups[g.used]
	group.timestamp = timestamp
	group.common = append(group.common[:0], common...)
	group.metrics = group.metrics[:0]
	group.points, group.truncated = 0, 0
	g.size += len(common)
	g.latest[string(g.key)] = g.used
	g.used++
	return g.used - 1
}

// fractions holds, for each stream of double deltas, the truncated fraction to add to its next point.
//
// Its memory is bounded: once rememberedStreams other streams have been seen, a stream may be forgotten, along with its fraction, which is
// less than 1. Streams are identified by a 64-bit hash; two with the same hash share a fraction.
type fractions struct {
	recent, older map[uint64]float64
	seed          maphash.Seed
	stream        uint64 // last passed to carried
}

// rememberedStreams is half the number of counters whose totals the agent keeps.
const rememberedStreams = 5000

func newFractions() fractions {
	return fractions{recent: map[uint64]float64{}, seed: maphash.MakeSeed()}
}

// carried returns the fraction of a stream: a metric name with an encoded identity and tags.
func (f *fractions) carried(name string, common []byte) float64 {
	var h maphash.Hash
	h.SetSeed(f.seed)
	_, _ = h.WriteString(name)
	_ = h.WriteByte(0)
	_, _ = h.Write(common)
	f.stream = h.Sum64()
	if fraction, ok := f.recent[f.stream]; ok {
		return fraction
	}
	return f.older[f.stream]
}

// carry sets the fraction of the stream last passed to carried.
func (f *fractions) carry(fraction float64) {
	if len(f.recent) >= rememberedStreams {
		f.recent, f.older = map[uint64]float64{}, f.recent
	}
	f.recent[f.stream] = fraction
}
