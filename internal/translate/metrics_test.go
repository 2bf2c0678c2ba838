// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
)

// oneMetric returns a batch with one metric, which is named m and has no type yet.
func oneMetric() (pmetric.Metrics, pmetric.Metric) {
	metrics := pmetric.NewMetrics()
	m := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("m")
	return metrics, m
}

// point appends a point with the timestamp at.
func point(points pmetric.NumberDataPointSlice, attrs ...any) pmetric.NumberDataPoint {
	p := points.AppendEmpty()
	p.SetTimestamp(at)
	put(p.Attributes(), attrs...)
	return p
}

func sumOf(m pmetric.Metric, monotonic bool, temporality pmetric.AggregationTemporality) pmetric.Sum {
	s := m.SetEmptySum()
	s.SetIsMonotonic(monotonic)
	s.SetAggregationTemporality(temporality)
	return s
}

func monotonic(m pmetric.Metric) pmetric.Sum {
	return sumOf(m, true, pmetric.AggregationTemporalityCumulative)
}

func deltas(m pmetric.Metric) pmetric.Sum {
	return sumOf(m, true, pmetric.AggregationTemporalityDelta)
}

// setNumber sets the value of p: an int, an int64, a float64, or nil for none.
func setNumber(p pmetric.NumberDataPoint, number any) {
	switch n := number.(type) {
	case int:
		p.SetIntValue(int64(n))
	case int64:
		p.SetIntValue(n)
	case float64:
		p.SetDoubleValue(n)
	case nil:
	default:
		panic(fmt.Sprintf("not a number: %T", number))
	}
}

// gauge returns the Gauge expected for one point. tags are in addition to instance_id.
func gauge(name, unit string, value float64, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(
		&loggregator_v2.Gauge{Metrics: map[string]*loggregator_v2.GaugeValue{name: {Unit: unit, Value: value}}},
		append([]string{"instance_id", "0"}, tags...)...)
}

// also adds a metric to a Gauge.
func also(e *loggregator_v2.Envelope, name, unit string, value float64) *loggregator_v2.Envelope {
	e.GetGauge().Metrics[name] = &loggregator_v2.GaugeValue{Unit: unit, Value: value}
	return e
}

func total(name string, total uint64, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Counter{Name: name, Total: total}, append([]string{"instance_id", "0"}, tags...)...)
}

func delta(name string, delta uint64, tags ...string) *loggregator_v2.Envelope {
	return newEnvelope(&loggregator_v2.Counter{Name: name, Delta: delta}, append([]string{"instance_id", "0"}, tags...)...)
}

// metricRow is a metric named m and the expected result.
type metricRow struct {
	options  func(*Options)
	metric   func(pmetric.Metric)
	want     []*loggregator_v2.Envelope
	rejected map[Reason]int
}

func (row metricRow) run(t *testing.T) {
	t.Helper()
	metrics, metric := oneMetric()
	row.metric(metric)
	out := translateMetrics(t, options(row.options), metrics)
	out.requireEnvelopes(row.want...)
	out.requireRejected(row.rejected)
	assert.Zero(t, out.truncated)
}

func list(envelopes ...*loggregator_v2.Envelope) []*loggregator_v2.Envelope { return envelopes }

func TestNumbers(t *testing.T) {
	const (
		cumulative  = pmetric.AggregationTemporalityCumulative
		asDelta     = pmetric.AggregationTemporalityDelta
		unspecified = pmetric.AggregationTemporalityUnspecified
	)
	gaugeOf := func(number any) func(pmetric.Metric) {
		return func(m pmetric.Metric) { setNumber(point(m.SetEmptyGauge().DataPoints()), number) }
	}
	sumWith := func(monotonic bool, temporality pmetric.AggregationTemporality, numbers ...any) func(pmetric.Metric) {
		return func(m pmetric.Metric) {
			s := sumOf(m, monotonic, temporality)
			for _, number := range numbers {
				setNumber(point(s.DataPoints()), number)
			}
		}
	}
	asGauges := func(o *Options) { o.DoubleSumsAsGauges = true }
	for name, row := range map[string]metricRow{
		"gauge, double":            {metric: gaugeOf(-2.5), want: list(gauge("m", "", -2.5))},
		"gauge, int":               {metric: gaugeOf(-3), want: list(gauge("m", "", -3))},
		"gauge, large int":         {metric: gaugeOf(int64(math.MaxInt64)), want: list(gauge("m", "", 1<<63))},
		"gauge, zero":              {metric: gaugeOf(0.0), want: list(gauge("m", "", 0))},
		"gauge, NaN":               {metric: gaugeOf(math.NaN()), rejected: rejectedOnce(ReasonNotFinite)},
		"gauge, infinity":          {metric: gaugeOf(math.Inf(1)), rejected: rejectedOnce(ReasonNotFinite)},
		"gauge, negative infinity": {metric: gaugeOf(math.Inf(-1)), rejected: rejectedOnce(ReasonNotFinite)},
		"gauge, no value":          {metric: gaugeOf(nil), rejected: rejectedOnce(ReasonEmpty)},
		"gauge, stale": {
			metric: func(m pmetric.Metric) {
				p := point(m.SetEmptyGauge().DataPoints())
				p.SetFlags(stale)
				point(m.Gauge().DataPoints()).SetIntValue(1)
			},
			want: list(gauge("m", "", 1)), rejected: rejectedOnce(ReasonStale),
		},

		"not monotonic, cumulative, int":         {metric: sumWith(false, cumulative, -3), want: list(gauge("m", "", -3))},
		"not monotonic, cumulative, double":      {metric: sumWith(false, cumulative, 3.5), want: list(gauge("m", "", 3.5))},
		"not monotonic, cumulative, NaN":         {metric: sumWith(false, cumulative, math.NaN()), rejected: rejectedOnce(ReasonNotFinite)},
		"not monotonic, delta":                   {metric: sumWith(false, asDelta, 3, 4.5), rejected: map[Reason]int{ReasonTemporality: 2}},
		"not monotonic, unspecified temporality": {metric: sumWith(false, unspecified, 3), want: list(gauge("m", "", 3))},

		"cumulative, int":                      {metric: sumWith(true, cumulative, 42), want: list(total("m_total", 42))},
		"cumulative, zero":                     {metric: sumWith(true, cumulative, 0), want: list(total("m_total", 0))},
		"cumulative, largest int":              {metric: sumWith(true, cumulative, int64(math.MaxInt64)), want: list(total("m_total", math.MaxInt64))},
		"cumulative, negative int":             {metric: sumWith(true, cumulative, -1, 5), want: list(total("m_total", 5)), rejected: rejectedOnce(ReasonNegative)},
		"cumulative, no value":                 {metric: sumWith(true, cumulative, nil), rejected: rejectedOnce(ReasonEmpty)},
		"monotonic, unspecified temporality":   {metric: sumWith(true, unspecified, 3), want: list(total("m_total", 3))},
		"cumulative, double":                   {metric: sumWith(true, cumulative, 2.9), want: list(total("m_total", 2))},
		"cumulative, double below one":         {metric: sumWith(true, cumulative, 0.9), want: list(total("m_total", 0))},
		"cumulative, double, whole":            {metric: sumWith(true, cumulative, 1e15), want: list(total("m_total", 1e15))},
		"cumulative, double above int64":       {metric: sumWith(true, cumulative, 0x1p63), want: list(total("m_total", 1<<63))},
		"cumulative, double, largest in range": {metric: sumWith(true, cumulative, math.Nextafter(0x1p64, 0)), want: list(total("m_total", math.MaxUint64-2047))},
		"cumulative, double, out of range":     {metric: sumWith(true, cumulative, 0x1p64), rejected: rejectedOnce(ReasonOutOfRange)},
		"cumulative, double, negative":         {metric: sumWith(true, cumulative, -1.5), rejected: rejectedOnce(ReasonNegative)},
		"cumulative, double, NaN":              {metric: sumWith(true, cumulative, math.NaN()), rejected: rejectedOnce(ReasonNotFinite)},
		"cumulative, double, infinity":         {metric: sumWith(true, cumulative, math.Inf(1)), rejected: rejectedOnce(ReasonNotFinite)},
		"cumulative, double, no growing error": {
			metric: sumWith(true, cumulative, 0.75, 1.5, 2.25, 3.0),
			want:   list(total("m_total", 0), total("m_total", 1), total("m_total", 2), total("m_total", 3)),
		},
		"as gauge: double":                {options: asGauges, metric: sumWith(true, cumulative, 2.9), want: list(gauge("m_total", "", 2.9))},
		"as gauge: out of range":          {options: asGauges, metric: sumWith(true, cumulative, 0x1p70), want: list(gauge("m_total", "", 0x1p70))},
		"as gauge: int stays a counter":   {options: asGauges, metric: sumWith(true, cumulative, 2), want: list(total("m_total", 2))},
		"as gauge: delta stays a counter": {options: asGauges, metric: sumWith(true, asDelta, 2.0), want: list(delta("m_total", 2))},
		"as gauge: NaN":                   {options: asGauges, metric: sumWith(true, cumulative, math.NaN()), rejected: rejectedOnce(ReasonNotFinite)},
		"delta, int":                      {metric: sumWith(true, asDelta, 5), want: list(delta("m_total", 5))},
		"delta, zero":                     {metric: sumWith(true, asDelta, 5, 0, 6), want: list(delta("m_total", 5), delta("m_total", 6)), rejected: rejectedOnce(ReasonZeroDelta)},
		"delta, negative":                 {metric: sumWith(true, asDelta, -1), rejected: rejectedOnce(ReasonNegative)},
		"delta, double":                   {metric: sumWith(true, asDelta, 5.0), want: list(delta("m_total", 5))},
		"delta, double, zero":             {metric: sumWith(true, asDelta, 0.0), rejected: rejectedOnce(ReasonZeroDelta)},
		"delta, double, negative":         {metric: sumWith(true, asDelta, -0.5), rejected: rejectedOnce(ReasonNegative)},
		"delta, double, NaN":              {metric: sumWith(true, asDelta, math.NaN()), rejected: rejectedOnce(ReasonNotFinite)},
		"delta, double, infinity":         {metric: sumWith(true, asDelta, math.Inf(1)), rejected: rejectedOnce(ReasonNotFinite)},
		"delta, double, out of range":     {metric: sumWith(true, asDelta, 0x1p64), rejected: rejectedOnce(ReasonOutOfRange)},
		"delta, fraction carried over": {
			metric: sumWith(true, asDelta, 0.5, 0.25, 0.25, 2.75, 0.25),
			want:   list(delta("m_total", 1), delta("m_total", 2), delta("m_total", 1)), rejected: map[Reason]int{ReasonZeroDelta: 2},
		},
		"delta, stale": {
			metric: func(m pmetric.Metric) {
				p := point(deltas(m).DataPoints())
				p.SetIntValue(3)
				p.SetFlags(stale)
			},
			rejected: rejectedOnce(ReasonStale),
		},
		"no type": {metric: func(pmetric.Metric) {}},
		"gauge, no timestamp": {
			metric: func(m pmetric.Metric) {
				m.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1)
				p := m.Gauge().DataPoints().AppendEmpty()
				p.SetStartTimestamp(5)
				p.SetIntValue(2)
			},
			want: list(timed(gauge("m", "", 1), now), timed(gauge("m", "", 2), now)),
		},
		"counter, no timestamp": {
			metric: func(m pmetric.Metric) { monotonic(m).DataPoints().AppendEmpty().SetIntValue(1) },
			want:   list(timed(total("m_total", 1), now)),
		},
		"start time, exemplars, description and metadata not carried": {
			metric: func(m pmetric.Metric) {
				m.SetDescription("described")
				m.Metadata().PutStr("k", "v")
				p := point(monotonic(m).DataPoints())
				p.SetIntValue(1)
				p.SetStartTimestamp(5)
				p.Exemplars().AppendEmpty().SetIntValue(7)
			},
			want: list(total("m_total", 1)),
		},
	} {
		t.Run(name, row.run)
	}
}

func TestMetricNames(t *testing.T) {
	for name, row := range map[string]struct {
		options    func(*Options)
		name, unit string
		kind       func(pmetric.Metric) pmetric.NumberDataPointSlice
		want       string // empty: rejected as malformed
	}{
		"unchanged":                    {name: "queue", kind: asGauge, want: "queue"},
		"dots":                         {name: "http.server.active", kind: asGauge, want: "http_server_active"},
		"unit":                         {name: "memory.usage", unit: "By", kind: asGauge, want: "memory_usage_bytes"},
		"unit already in the name":     {name: "memory_bytes", unit: "By", kind: asGauge, want: "memory_bytes"},
		"rate":                         {name: "speed", unit: "m/s", kind: asGauge, want: "speed_meters_per_second"},
		"ratio":                        {name: "load", unit: "1", kind: asGauge, want: "load_ratio"},
		"annotation":                   {name: "queue", unit: "{job}", kind: asGauge, want: "queue"},
		"digit first":                  {name: "2xx", kind: asGauge, want: "_2xx"},
		"counter":                      {name: "requests", kind: asCounter, want: "requests_total"},
		"counter, already with total":  {name: "requests_total", kind: asCounter, want: "requests_total"},
		"counter with unit":            {name: "io", unit: "By", kind: asCounter, want: "io_bytes_total"},
		"empty":                        {kind: asGauge},
		"only dots":                    {name: "...", kind: asGauge, want: "metric_0ac31c19"},
		"only underscores":             {name: "__", kind: asGauge, want: "metric_" + fnv1a("__")},
		"letters outside ASCII":        {name: "größe", kind: asGauge, want: "gr__e"},
		"no letter of PromQL":          {name: "温度", kind: asGauge, want: "metric_" + fnv1a("温度")},
		"no letter of PromQL, unit":    {name: "温度", unit: "Cel", kind: asGauge, want: "metric_" + fnv1a("温度") + "_celsius"},
		"no letter of PromQL, counter": {name: "温度", unit: "By", kind: asCounter, want: "metric_" + fnv1a("温度") + "_bytes_total"},
		"not UTF-8":                    {name: "a\xffb", kind: asGauge, want: "a_b"},
		"recording rule":               {name: "job:rate:5m", kind: asGauge, want: "job_rate_5m"},
		"otel":                         {options: otelNames, name: "http.server.active", unit: "By", kind: asGauge, want: "http.server.active"},
		"otel, counter":                {options: otelNames, name: "requests", unit: "1", kind: asCounter, want: "requests"},
		"otel, any character":          {options: otelNames, name: "a b=\"é", kind: asGauge, want: "a b=\"é"},
		"otel, not UTF-8":              {options: otelNames, name: "a\xff", kind: asGauge, want: "a\uFFFD"},
		"otel, not UTF-8, counter":     {options: otelNames, name: "a\xff", kind: asCounter, want: "a\uFFFD"},
		"otel, empty":                  {options: otelNames, kind: asCounter},
	} {
		t.Run(name, func(t *testing.T) {
			metrics, metric := oneMetric()
			metric.SetName(row.name)
			metric.SetUnit(row.unit)
			point(row.kind(metric)).SetIntValue(1)
			out := translateMetrics(t, options(row.options), metrics)
			if row.want == "" {
				out.requireEnvelopes()
				out.requireRejected(rejectedOnce(ReasonMalformed))
				return
			}
			if metric.Type() == pmetric.MetricTypeGauge {
				out.requireEnvelopes(gauge(row.want, row.unit, 1))
			} else {
				out.requireEnvelopes(total(row.want, 1))
			}
		})
	}
}

func asGauge(m pmetric.Metric) pmetric.NumberDataPointSlice { return m.SetEmptyGauge().DataPoints() }

func asCounter(m pmetric.Metric) pmetric.NumberDataPointSlice { return monotonic(m).DataPoints() }

func TestInstanceIDTag(t *testing.T) {
	for name, row := range map[string]struct {
		options          func(*Options)
		resource, record []any
		instance         string
		tags             []string
	}{
		"default": {instance: "0", tags: []string{"instance_id", "0"}},
		"attribute": {
			resource: []any{"service.instance.id", "7"}, instance: "7", tags: []string{"instance_id", "7", "service_instance_id", "7"},
		},
		"attribute that is not a tag": {record: []any{"instance_id", "7"}, instance: "7", tags: []string{"instance_id", "7"}},
		"attribute of the semantic conventions": {
			resource: []any{"cloudfoundry.app.instance.id", "7"}, instance: "7", tags: []string{"instance_id", "7"},
		},
		"cleaned as in the envelope": {
			record: []any{"instance_id", "ä " + strings.Repeat("i", 40)}, instance: "__" + strings.Repeat("i", 34),
			tags: []string{"instance_id", "__" + strings.Repeat("i", 34)},
		},
		"attributes with the names of IDs once renamed": {
			record: []any{"instance.id", "x", "source.id", "y"}, instance: "0",
			tags: []string{"instance_id", "0", "exported_instance_id", "x", "exported_source_id", "y"},
		},
		"no instance ID": {options: func(o *Options) { o.InstanceID.Default = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			metrics := scoped{resource: row.resource, record: row.record}.metrics()
			for _, kind := range []func(pmetric.Metric) pmetric.NumberDataPointSlice{asGauge, asCounter} {
				point(kind(metricOf(metrics)), row.record...).SetIntValue(1)
				out := translateMetrics(t, options(row.options), metrics)
				require.Len(t, out.envelopes, 1)
				assert.Equal(t, row.instance, out.envelopes[0].GetInstanceId())
				requireTags(t, row.tags, out)
			}
		})
	}
}

func TestGaugeGroups(t *testing.T) {
	type in struct {
		name  string
		value float64
		attrs []any
	}
	kv, kw := []any{"k", "v"}, []any{"k", "w"}
	for name, row := range map[string]struct {
		options func(*Options)
		gauges  []in // of one scope
		change  func(pmetric.ScopeMetricsSlice)
		want    []*loggregator_v2.Envelope
	}{
		"two metrics": {gauges: []in{{"a", 1, kv}, {"b", 2, kv}}, want: list(also(gauge("a", "", 1, "k", "v"), "b", "", 2))},
		"gauge and sum with units": {
			gauges: []in{{"a", 1, nil}},
			change: func(s pmetric.ScopeMetricsSlice) {
				s.At(0).Metrics().At(0).SetUnit("By")
				m := s.At(0).Metrics().AppendEmpty()
				m.SetName("b")
				m.SetUnit("s")
				point(sumOf(m, false, pmetric.AggregationTemporalityCumulative).DataPoints()).SetDoubleValue(2.5)
			},
			want: list(also(gauge("a_bytes", "By", 1), "b_seconds", "s", 2.5)),
		},
		"same tags in another order": {
			gauges: []in{{"a", 1, []any{"k", "v", "l", "w"}}, {"b", 2, []any{"l", "w", "k", "v"}}},
			want:   list(also(gauge("a", "", 1, "k", "v", "l", "w"), "b", "", 2)),
		},
		"same tags from the scope": {
			gauges: []in{{"a", 1, nil}, {"b", 2, kv}},
			change: func(s pmetric.ScopeMetricsSlice) { put(s.At(0).Scope().Attributes(), "k", "v") },
			want:   list(also(gauge("a", "", 1, "k", "v"), "b", "", 2)),
		},
		"same tags once renamed": {
			gauges: []in{{"a", 1, []any{"x.y", "v"}}, {"b", 2, []any{"x_y", "v"}}},
			want:   list(also(gauge("a", "", 1, "x_y", "v"), "b", "", 2)),
		},
		"order of the first points": {
			gauges: []in{{"a", 1, kv}, {"b", 2, kw}, {"c", 3, kv}, {"d", 4, kw}},
			want:   list(also(gauge("a", "", 1, "k", "v"), "c", "", 3), also(gauge("b", "", 2, "k", "w"), "d", "", 4)),
		},
		"different tags": {
			gauges: []in{{"a", 1, kv}, {"b", 2, kw}}, want: list(gauge("a", "", 1, "k", "v"), gauge("b", "", 2, "k", "w")),
		},
		"different times": {
			gauges: []in{{"a", 1, nil}, {"b", 2, nil}},
			change: func(s pmetric.ScopeMetricsSlice) {
				s.At(0).Metrics().At(1).Gauge().DataPoints().At(0).SetTimestamp(at + 1)
			},
			want: list(gauge("a", "", 1), timed(gauge("b", "", 2), at+1)),
		},
		"different source IDs": {
			gauges: []in{{"a", 1, nil}, {"b", 2, []any{"source_id", "x"}}}, want: list(gauge("a", "", 1), from(gauge("b", "", 2), "x", "0")),
		},
		"different scopes": {
			gauges: []in{{"a", 1, nil}},
			change: func(s pmetric.ScopeMetricsSlice) {
				s.At(0).CopyTo(s.AppendEmpty())
				s.At(1).Metrics().At(0).SetName("b")
			},
			want: list(gauge("a", "", 1), gauge("b", "", 1)),
		},
		"same name": {
			gauges: []in{{"a", 1, nil}, {"a", 2, nil}, {"b", 3, nil}, {"a", 4, nil}},
			want:   list(gauge("a", "", 1), also(gauge("a", "", 2), "b", "", 3), gauge("a", "", 4)),
		},
		"same name once cleaned": {
			gauges: []in{{"a.b", 1, nil}, {"a_b", 2, nil}}, want: list(gauge("a_b", "", 1), gauge("a_b", "", 2)),
		},
		"same name as valid UTF-8": {
			options: otelNames,
			gauges:  []in{{"a\xff", 1, nil}, {"a\xfe", 2, nil}},
			want:    list(gauge("a\uFFFD", "", 1), gauge("a\uFFFD", "", 2)),
		},
		"one point rejected": {
			gauges: []in{{"a", 1, nil}, {"b", math.NaN(), nil}, {"c", 3, nil}}, want: list(also(gauge("a", "", 1), "c", "", 3)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			metrics := pmetric.NewMetrics()
			scopes := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics()
			scope := scopes.AppendEmpty()
			for _, g := range row.gauges {
				m := scope.Metrics().AppendEmpty()
				m.SetName(g.name)
				point(m.SetEmptyGauge().DataPoints(), g.attrs...).SetDoubleValue(g.value)
			}
			if row.change != nil {
				row.change(scopes)
			}
			translateMetrics(t, options(row.options), metrics).requireEnvelopes(row.want...)
		})
	}
}

// A full Gauge is followed by another, and no point is lost.
func TestGaugeGroupSize(t *testing.T) {
	metrics := pmetric.NewMetrics()
	scope := metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	const points = 5000
	for i := range points {
		m := scope.Metrics().AppendEmpty()
		m.SetName(fmt.Sprintf("a_metric_with_a_rather_long_name_%d", i))
		point(m.SetEmptyGauge().DataPoints(), "k", "v").SetIntValue(int64(i))
	}
	out := translateMetrics(t, defaults(), metrics)
	got := 0
	for i, e := range out.envelopes {
		got += len(e.GetGauge().GetMetrics())
		if i < len(out.envelopes)-1 {
			assert.Greater(t, len(out.encoded[i]), envelope.MaxSize-100, "the Gauge is full")
		}
	}
	assert.Equal(t, points, got)
	assert.Zero(t, out.truncated)
}

func TestDeltaFractions(t *testing.T) {
	metrics := NewMetrics(defaults())
	// others carries the fractions of n other streams.
	others := func(name string, n int) {
		for i := range n {
			metrics.fractions.carried(name, fmt.Append(nil, i))
			metrics.fractions.carry(0.5)
		}
	}
	// next translates one point of the stream and returns its delta.
	next := func(name string, value float64, attrs ...any) uint64 {
		data, metric := oneMetric()
		metric.SetName(name)
		point(deltas(metric).DataPoints(), attrs...).SetDoubleValue(value)
		out := recordAll(t, metrics.Translate(data))
		out.requireItems(1)
		if len(out.envelopes) == 0 {
			out.requireRejected(rejectedOnce(ReasonZeroDelta))
			return 0
		}
		return out.envelopes[0].GetCounter().GetDelta()
	}
	t.Run("across batches", func(t *testing.T) {
		assert.EqualValues(t, 1, next("a", 1.5))
		assert.EqualValues(t, 2, next("a", 1.75))
		assert.EqualValues(t, 0, next("a", 0.5))
		assert.EqualValues(t, 1, next("a", 0.25))
		assert.EqualValues(t, 0, next("a", 0.5))
	})
	t.Run("separate streams", func(t *testing.T) {
		assert.EqualValues(t, 0, next("b", 0.5, "k", "v"))
		assert.EqualValues(t, 0, next("b", 0.5, "k", "w"))
		assert.EqualValues(t, 0, next("b", 0.5))
		assert.EqualValues(t, 0, next("c", 0.5, "k", "v"))
		assert.EqualValues(t, 0, next("b", 0.5, "k", "v", "source_id", "x"))
		assert.EqualValues(t, 0, next("b", 0.5, "k", "v", "instance_id", "x"))
		assert.EqualValues(t, 1, next("b", 0.5, "k", "v"))
		assert.EqualValues(t, 1, next("b", 0.5, "k", "w"))
		assert.EqualValues(t, 1, next("b", 0.5))
	})
	t.Run("attributes in another order", func(t *testing.T) {
		assert.EqualValues(t, 0, next("d", 0.5, "k", "v", "l", "w"))
		assert.EqualValues(t, 1, next("d", 0.5, "l", "w", "k", "v"))
	})
	t.Run("sum of many deltas", func(t *testing.T) {
		sum := uint64(0)
		for range 1000 {
			sum += next("e", 0.7)
		}
		assert.InDelta(t, 700, float64(sum), 1)
	})
	t.Run("rejected point", func(t *testing.T) {
		assert.EqualValues(t, 0, next("f", 0.5))
		data, metric := oneMetric()
		metric.SetName("f")
		point(deltas(metric).DataPoints()).SetDoubleValue(-1)
		out := recordAll(t, metrics.Translate(data))
		out.requireRejected(rejectedOnce(ReasonNegative))
		assert.EqualValues(t, 1, next("f", 0.5))
	})
	t.Run("forgotten stream", func(t *testing.T) {
		assert.EqualValues(t, 0, next("g", 0.5))
		others("h", 2*rememberedStreams+2)
		assert.EqualValues(t, 0, next("g", 0.5))
		assert.LessOrEqual(t, len(metrics.fractions.recent)+len(metrics.fractions.older), 2*rememberedStreams)
	})
	t.Run("stream just recent enough", func(t *testing.T) {
		assert.EqualValues(t, 0, next("i", 0.5))
		others("j", rememberedStreams-1)
		assert.EqualValues(t, 1, next("i", 0.5))
	})
}

// All points of a batch without a timestamp get the same one, so that they can share an envelope.
func TestPointsWithoutTimestamp(t *testing.T) {
	opts := defaults()
	clock := time.Unix(0, now)
	opts.Now = func() time.Time {
		clock = clock.Add(time.Second)
		return clock
	}
	metrics, metric := oneMetric()
	asGauge(metric).AppendEmpty().SetIntValue(1)
	other := metrics.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	other.SetName("other")
	asGauge(other).AppendEmpty().SetIntValue(2)
	m := NewMetrics(opts)
	out := recordAll(t, m.Translate(metrics))
	require.Len(t, out.envelopes, 1)
	require.Equal(t, int64(now)+int64(time.Second), out.envelopes[0].GetTimestamp())
	out.take(m.Translate(metrics))
	require.Len(t, out.envelopes, 2)
	require.Greater(t, out.envelopes[1].GetTimestamp(), out.envelopes[0].GetTimestamp(), "each batch has its own timestamp")
}
