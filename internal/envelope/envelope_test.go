// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"github.com/stretchr/testify/assert"
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

func decode(t *testing.T, batch []byte) []*loggregator_v2.Envelope {
	t.Helper()
	var got loggregator_v2.EnvelopeBatch
	require.NoError(t, proto.Unmarshal(batch, &got))
	require.Empty(t, got.ProtoReflect().GetUnknown())
	return got.GetBatch()
}

func requireEqual(t *testing.T, want, got *loggregator_v2.Envelope) {
	t.Helper()
	require.Truef(t, proto.Equal(want, got), "want %v\ngot  %v", want, got)
}

func TestEnvelopeOfEachKind(t *testing.T) {
	with := func(e *loggregator_v2.Envelope) *loggregator_v2.Envelope {
		e.Timestamp = 1767225600_000000001
		e.SourceId = "app"
		e.InstanceId = "7"
		e.Tags = map[string]string{"a": "1", "": "", "empty": ""}
		return e
	}
	for name, want := range map[string]*loggregator_v2.Envelope{
		"no message": with(&loggregator_v2.Envelope{}),
		"log": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{
			Payload: []byte("hello\xff\x00"), Type: loggregator_v2.Log_ERR,
		}}}),
		"empty log": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Log{Log: &loggregator_v2.Log{}}}),
		"counter": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{
			Name: "n", Delta: 1, Total: math.MaxUint64,
		}}}),
		"zero counter": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Counter{Counter: &loggregator_v2.Counter{
			Name: "n",
		}}}),
		"gauge": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{
			Metrics: map[string]*loggregator_v2.GaugeValue{
				"zero": {}, "unit": {Unit: "By"}, "both": {Unit: "s", Value: -1.5}, "minus zero": {Value: math.Copysign(0, -1)},
			},
		}}}),
		"empty gauge": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Gauge{Gauge: &loggregator_v2.Gauge{}}}),
		"timer": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Timer{Timer: &loggregator_v2.Timer{
			Name: "GET /", Start: -5, Stop: 10,
		}}}),
		"event": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{
			Title: "t", Body: "b",
		}}}),
		"empty event": with(&loggregator_v2.Envelope{Message: &loggregator_v2.Envelope_Event{Event: &loggregator_v2.Event{}}}),
	} {
		t.Run(name, func(t *testing.T) {
			got := decode(t, Append(nil, encode(want)))
			require.Len(t, got, 1)
			requireEqual(t, want, got[0])
		})
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
			require.Equal(t, proto.Size(e), len(encoded), "as compact as the generated code")
		}
		got := decode(t, batch)
		require.Len(t, got, len(want))
		for i := range want {
			requireEqual(t, want[i], got[i])
		}
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
	switch rnd.IntN(5) {
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
			metrics[randomString(rnd)] = &loggregator_v2.GaugeValue{Unit: randomString(rnd), Value: rnd.NormFloat64()}
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

func randomString(rnd *rand.Rand) string {
	var s strings.Builder
	for range rnd.IntN(1 << rnd.IntN(9)) {
		s.WriteRune([]rune{'a', 'Z', '0', ' ', 0, 'é', '世', '😀'}[rnd.IntN(8)])
	}
	return s.String()
}

func TestInvalidUTF8(t *testing.T) {
	const bad, mended = "a\xff\xfeb\xc3", "a\uFFFDb\uFFFD"
	e := AppendSourceID(nil, bad)
	e = AppendInstanceID(e, bad)
	e = slices.Clip(AppendTag(e, AppendKey(nil, bad), bad))
	for name, b := range map[string][]byte{
		"log":     AppendLog(e, bad, Out),
		"counter": AppendCounter(e, bad, 1, 1),
		"gauge":   AppendGauge(e, AppendGaugeMetric(nil, bad, bad, 1)),
		"timer":   AppendTimer(e, bad, 1, 1),
		"event":   AppendEvent(e, bad, bad),
	} {
		t.Run(name, func(t *testing.T) {
			got := decode(t, Append(nil, b))[0]
			assert.Equal(t, mended, got.GetSourceId())
			assert.Equal(t, mended, got.GetInstanceId())
			assert.Equal(t, map[string]string{mended: mended}, got.GetTags())
			switch m := got.GetMessage().(type) {
			case *loggregator_v2.Envelope_Log:
				assert.Equal(t, bad, string(m.Log.GetPayload()), "a payload is bytes")
			case *loggregator_v2.Envelope_Counter:
				assert.Equal(t, mended, m.Counter.GetName())
			case *loggregator_v2.Envelope_Gauge:
				assert.Equal(t, mended, m.Gauge.GetMetrics()[mended].GetUnit())
			case *loggregator_v2.Envelope_Timer:
				assert.Equal(t, mended, m.Timer.GetName())
			case *loggregator_v2.Envelope_Event:
				assert.Equal(t, mended, m.Event.GetTitle())
				assert.Equal(t, mended, m.Event.GetBody())
			}
		})
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add("source", "0", "key", "value", "text", int64(1), uint64(2), 3.5)
	f.Add("\xff", "", "k\xc3", "\xe4\xb8", "a\x00b", int64(-1), uint64(math.MaxUint64), math.Inf(-1))
	f.Fuzz(func(t *testing.T, source, instance, key, value, text string, i int64, u uint64, d float64) {
		head := slices.Clip(AppendTag(AppendInstanceID(AppendSourceID(AppendTimestamp(nil, i), source), instance), AppendKey(nil, key), value))
		var batch []byte
		for _, e := range [][]byte{
			AppendLog(head, text, Err),
			AppendCounter(head, text, u, u),
			AppendGauge(head, AppendGaugeMetric(nil, text, value, d)),
			AppendTimer(head, text, i, i),
			AppendEvent(head, text, value),
		} {
			batch = Append(batch, e)
		}
		got := decode(t, batch)
		require.Len(t, got, 5)
		for _, e := range got {
			require.Equal(t, i, e.GetTimestamp())
			if utf8.ValidString(source) && utf8.ValidString(key) && utf8.ValidString(value) {
				require.Equal(t, source, e.GetSourceId())
				require.Equal(t, map[string]string{key: value}, e.GetTags())
			}
		}
		require.Equal(t, text, string(got[0].GetLog().GetPayload()))
	})
}
