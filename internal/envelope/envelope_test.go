// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// encode writes e the way a translator does.
func encode(e *loggregator_v2.Envelope) []byte {
	b := AppendTimestamp(nil, e.GetTimestamp())
	b = AppendSourceID(b, e.GetSourceId())
	b = AppendInstanceID(b, e.GetInstanceId())
	for k, v := range e.GetTags() {
		b = AppendTag(b, AppendKey(nil, k), v)
	}
	switch m := e.GetMessage().(type) {
	case *loggregator_v2.Envelope_Log:
		b = AppendLog(b, m.Log.GetPayload(), LogType(m.Log.GetType()))
	case *loggregator_v2.Envelope_Counter:
		b = AppendCounter(b, m.Counter.GetName(), m.Counter.GetDelta(), m.Counter.GetTotal())
	case *loggregator_v2.Envelope_Gauge:
		var metrics []byte
		for name, v := range m.Gauge.GetMetrics() {
			metrics = AppendGaugeMetric(metrics, name, v.GetUnit(), v.GetValue())
		}
		b = AppendGauge(b, metrics)
	case *loggregator_v2.Envelope_Timer:
		b = AppendTimer(b, m.Timer.GetName(), m.Timer.GetStart(), m.Timer.GetStop())
	case *loggregator_v2.Envelope_Event:
		b = AppendEvent(b, m.Event.GetTitle(), m.Event.GetBody())
	}
	return b
}

// requireBatch checks that a receiver decodes batch as want.
func requireBatch(t *testing.T, want []*loggregator_v2.Envelope, batch []byte) {
	t.Helper()
	var got loggregator_v2.EnvelopeBatch
	require.NoError(t, proto.Unmarshal(batch, &got))
	require.Empty(t, got.ProtoReflect().GetUnknown())
	require.Len(t, got.GetBatch(), len(want))
	for i := range want {
		require.Truef(t, proto.Equal(want[i], got.GetBatch()[i]), "want %v\ngot  %v", want[i], got.GetBatch()[i])
	}
}

func TestRandomEnvelopes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var batch []byte
		var want []*loggregator_v2.Envelope
		for range rnd.IntN(50) {
			e := randomEnvelope(rnd)
			want = append(want, e)
			encoded := encode(e)
			before := len(batch)
			batch = Append(batch, encoded)
			require.Equal(t, Size(len(encoded)), len(batch)-before)
			require.Equal(t, proto.Size(e), len(encoded), "size of the generated encoding")
		}
		requireBatch(t, want, batch)
	}
}

func randomEnvelope(rnd *rand.Rand) *loggregator_v2.Envelope {
	e := &loggregator_v2.Envelope{
		Timestamp:  randomInt(rnd),
		SourceId:   randomString(rnd),
		InstanceId: randomString(rnd),
		Tags:       map[string]string{},
	}
	for range rnd.IntN(20) {
		e.Tags[randomString(rnd)] = randomString(rnd)
	}
	switch rnd.IntN(6) {
	case 0:
		e.Message = &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{
			Payload: []byte(randomString(rnd)), Type: loggregator_v2.Log_Type(rnd.IntN(2)),
		}}
	case 1:
		e.Message = &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{
			Name: randomString(rnd), Delta: uint64(randomInt(rnd)), Total: uint64(randomInt(rnd)),
		}}
	case 2:
		metrics := map[string]*loggregator_v2.GaugeValue{}
		for range rnd.IntN(10) {
			metrics[randomString(rnd)] = &loggregator_v2.GaugeValue{Unit: randomString(rnd), Value: randomDouble(rnd)}
		}
		e.Message = &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{Metrics: metrics}}
	case 3:
		e.Message = &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{
			Name: randomString(rnd), Start: randomInt(rnd), Stop: randomInt(rnd),
		}}
	case 4:
		e.Message = &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{
			Title: randomString(rnd), Body: randomString(rnd),
		}}
	}
	return e
}

// randomInt returns a number of any magnitude, for varints of every length.
func randomInt(rnd *rand.Rand) int64 { return int64(rnd.Uint64() >> rnd.UintN(64)) }

func randomDouble(rnd *rand.Rand) float64 {
	return []float64{0, math.Copysign(0, -1), rnd.NormFloat64(), rnd.NormFloat64()}[rnd.IntN(4)]
}

func randomString(rnd *rand.Rand) string {
	var s strings.Builder
	for range rnd.IntN(1 << rnd.IntN(9)) {
		s.WriteRune([]rune{'a', 'Z', '0', ' ', 0, 'é', '世', '😀'}[rnd.IntN(8)])
	}
	return s.String()
}

// Invalid UTF-8 in strings is replaced. A payload is bytes and stays unchanged.
func FuzzEnvelope(f *testing.F) {
	f.Add("source", "0", "key", "value", "text", int64(1), uint64(2), 3.5)
	f.Add("\xff", "", "k\xc3", "\xe4\xb8", "a\x00b", int64(-1), uint64(math.MaxUint64), math.Inf(-1))
	const bad = "a\xff\xfeb\xc3"
	f.Add(bad, bad, bad, bad, bad, int64(1), uint64(1), 1.0)
	f.Fuzz(func(t *testing.T, source, instance, key, value, text string, i int64, u uint64, d float64) {
		// all returns an envelope of each kind, with its strings passed through fix.
		all := func(fix func(string) string) []*loggregator_v2.Envelope {
			name, other := fix(text), fix(value)
			metrics := map[string]*loggregator_v2.GaugeValue{name: {Unit: other, Value: d}}
			envelopes := []*loggregator_v2.Envelope{
				{Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{Payload: []byte(text), Type: loggregator_v2.Log_ERR}}},
				{Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{Name: name, Delta: u, Total: u}}},
				{Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{Metrics: metrics}}},
				{Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{Name: name, Start: i, Stop: i}}},
				{Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{Title: name, Body: other}}},
			}
			for _, e := range envelopes {
				e.Timestamp, e.SourceId, e.InstanceId = i, fix(source), fix(instance)
				e.Tags = map[string]string{fix(key): other}
			}
			return envelopes
		}
		var batch []byte
		for _, e := range all(func(s string) string { return s }) {
			batch = Append(batch, encode(e))
		}
		requireBatch(t, all(func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }), batch)
	})
}
