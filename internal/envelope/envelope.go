// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Package envelope writes Loggregator v2 envelopes in protobuf's wire format, straight into the caller's byte slice.
//
// Each function appends one field of an Envelope and returns the extended slice, like those of protowire. Fields appended to an empty
// slice, in any order, form an envelope. Envelopes that [Append] appends to an empty slice form an EnvelopeBatch:
//
//	sourceType := envelope.AppendKey(nil, "source_type") // once, for many envelopes
//
//	e := envelope.AppendTimestamp(nil, now)
//	e = envelope.AppendSourceID(e, "my-app")
//	e = envelope.AppendTag(e, sourceType, "OTEL")
//	e = envelope.AppendLog(e, "hello", envelope.Out)
//	batch = envelope.Append(batch, e)
//
// A receiver refuses a whole batch if a single string in it is not UTF-8. So every string is made valid here: each run of invalid bytes
// becomes one U+FFFD. A log payload is bytes and stays unchanged.
package envelope

import (
	"encoding/hex"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of package loggregator.v2.
const (
	batchBatch protowire.Number = 1

	envelopeTimestamp  protowire.Number = 1
	envelopeSourceID   protowire.Number = 2
	envelopeLog        protowire.Number = 4
	envelopeCounter    protowire.Number = 5
	envelopeGauge      protowire.Number = 6
	envelopeTimer      protowire.Number = 7
	envelopeInstanceID protowire.Number = 8
	envelopeTags       protowire.Number = 9
	envelopeEvent      protowire.Number = 10

	mapKey   protowire.Number = 1
	mapValue protowire.Number = 2

	logPayload protowire.Number = 1
	logType    protowire.Number = 2

	counterName  protowire.Number = 1
	counterDelta protowire.Number = 2
	counterTotal protowire.Number = 3

	gaugeMetrics    protowire.Number = 1
	gaugeValueUnit  protowire.Number = 1
	gaugeValueValue protowire.Number = 2

	timerName  protowire.Number = 1
	timerStart protowire.Number = 2
	timerStop  protowire.Number = 3

	eventTitle protowire.Number = 1
	eventBody  protowire.Number = 2
)

// LogType is the stream that a log was written to.
type LogType int32

// The streams of a log.
const (
	Out LogType = 0 // stdout
	Err LogType = 1 // stderr
)

// Append appends an envelope to an EnvelopeBatch. It adds [Size] bytes.
func Append(batch, envelope []byte) []byte {
	batch = protowire.AppendTag(batch, batchBatch, protowire.BytesType)
	return protowire.AppendBytes(batch, envelope)
}

// Size returns the number of bytes that an envelope of n bytes adds to an EnvelopeBatch.
func Size(n int) int {
	return protowire.SizeTag(batchBatch) + protowire.SizeBytes(n)
}

// AppendTimestamp appends the time of the envelope, in nanoseconds since 1970 UTC.
func AppendTimestamp(b []byte, ns int64) []byte {
	return appendVarint(b, envelopeTimestamp, uint64(ns))
}

// AppendSourceID appends the source ID, which determines who may read the envelope.
func AppendSourceID(b []byte, id string) []byte {
	return appendString(b, envelopeSourceID, id)
}

// AppendInstanceID appends the instance ID.
func AppendInstanceID(b []byte, id string) []byte {
	return appendString(b, envelopeInstanceID, id)
}

// AppendKey appends the part that all tags with this key share: the tag up to its value, with zeros as the lengths of tag and value.
// Appended to nothing, it is a key for [AppendTag].
func AppendKey(b []byte, key string) []byte {
	b = appendMessage(b, envelopeTags, 0)
	b = appendMapString(b, mapKey, ValidUTF8(key))
	return appendMessage(b, mapValue, 0)
}

// AppendTag appends one tag. key must come from [AppendKey]. If two tags have the same key, a receiver keeps the later one.
func AppendTag(b, key []byte, value string) []byte {
	value = ValidUTF8(value)
	n := len(value)
	if len(key)-2+n < 0x80 {
		return setLengths(append(append(b, key...), value...), len(key), n)
	}
	key = key[2 : len(key)-2]
	b = appendMessage(b, envelopeTags, len(key)+1+protowire.SizeBytes(n))
	b = appendMessage(append(b, key...), mapValue, n)
	return append(b, value...)
}

// AppendIntTag is like [AppendTag], but writes value in decimal digits.
func AppendIntTag(b, key []byte, value int64) []byte {
	var digits [20]byte
	return AppendTag(b, key, string(strconv.AppendInt(digits[:0], value, 10)))
}

// AppendHexTag is like [AppendTag], but writes value in hexadecimal digits. key and the digits together must be shorter than 128 bytes, or
// the tag is corrupt.
func AppendHexTag(b, key, value []byte) []byte {
	return setLengths(hex.AppendEncode(append(b, key...), value), len(key), hex.EncodedLen(len(value)))
}

// setLengths sets the lengths that AppendKey left zero, in the tag at the end of b. key and value are the lengths of its key and value.
func setLengths(b []byte, key, value int) []byte {
	tag := b[len(b)-key-value:]
	tag[1], tag[key-1] = byte(len(tag)-2), byte(value)
	return b
}

// Field is a field of an encoded envelope, with its key and value if it is a tag.
type Field struct {
	Encoded    []byte
	IsTag      bool
	Key, Value string
}

// Fields yields the fields of an envelope encoded by this package. It stops at the first malformed field.
func Fields(encoded []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(encoded) > 0 {
			num, _, n := protowire.ConsumeField(encoded)
			if n < 0 {
				return
			}
			field := Field{Encoded: encoded[:n], IsTag: num == envelopeTags}
			encoded = encoded[n:]
			if field.IsTag {
				field.Key, field.Value = tagStrings(field.Encoded)
			}
			if !yield(field) {
				return
			}
		}
	}
}

// tagStrings returns the key and value of an encoded tag.
func tagStrings(field []byte) (key, value string) {
	entry, _ := consumeBytes(field)
	k, entry := consumeBytes(entry)
	v, _ := consumeBytes(entry)
	return string(k), string(v)
}

// consumeBytes returns the content of the first field of a message, which must be bytes, and the rest of the message.
func consumeBytes(message []byte) (content, rest []byte) {
	_, _, n := protowire.ConsumeTag(message)
	content, size := protowire.ConsumeBytes(message[n:])
	return content, message[n+size:]
}

// AppendLog appends the message of a Log envelope.
func AppendLog[P string | []byte](b []byte, payload P, stream LogType) []byte {
	size := 0
	if len(payload) > 0 {
		size += protowire.SizeTag(logPayload) + protowire.SizeBytes(len(payload))
	}
	size += sizeVarint(uint64(stream))
	b = appendMessage(b, envelopeLog, size)
	if len(payload) > 0 {
		b = appendMessage(b, logPayload, len(payload))
		b = append(b, payload...)
	}
	return appendVarint(b, logType, uint64(stream))
}

// AppendCounter appends the message of a Counter envelope. If total is 0 and delta is not, the agent adds delta to its own total; otherwise
// total becomes its new total.
func AppendCounter(b []byte, name string, delta, total uint64) []byte {
	name = ValidUTF8(name)
	b = appendMessage(b, envelopeCounter, sizeNonEmpty(name)+sizeVarint(delta)+sizeVarint(total))
	b = appendString(b, counterName, name)
	b = appendVarint(b, counterDelta, delta)
	return appendVarint(b, counterTotal, total)
}

// AppendGaugeMetric appends one metric to the metrics of a Gauge, which are then passed to [AppendGauge]. If two metrics have the same
// name, a receiver keeps the later one.
func AppendGaugeMetric(metrics []byte, name, unit string, value float64) []byte {
	name, unit = ValidUTF8(name), ValidUTF8(unit)
	double := 0
	if math.Float64bits(value) != 0 {
		double = protowire.SizeTag(gaugeValueValue) + protowire.SizeFixed64()
	}
	gaugeValue := sizeNonEmpty(unit) + double
	metrics = appendMessage(metrics, gaugeMetrics,
		sizeString(name)+protowire.SizeTag(mapValue)+protowire.SizeBytes(gaugeValue))
	metrics = appendMapString(metrics, mapKey, name)
	metrics = appendMessage(metrics, mapValue, gaugeValue)
	metrics = appendString(metrics, gaugeValueUnit, unit)
	if double > 0 {
		metrics = protowire.AppendTag(metrics, gaugeValueValue, protowire.Fixed64Type)
		metrics = protowire.AppendFixed64(metrics, math.Float64bits(value))
	}
	return metrics
}

// AppendGauge appends the message of a Gauge envelope with metrics from [AppendGaugeMetric].
func AppendGauge(b, metrics []byte) []byte {
	b = appendMessage(b, envelopeGauge, len(metrics))
	return append(b, metrics...)
}

// AppendTimer appends the message of a Timer envelope. start and stop are nanoseconds since 1970 UTC.
func AppendTimer(b []byte, name string, start, stop int64) []byte {
	name = ValidUTF8(name)
	b = appendMessage(b, envelopeTimer, sizeNonEmpty(name)+sizeVarint(uint64(start))+sizeVarint(uint64(stop)))
	b = appendString(b, timerName, name)
	b = appendVarint(b, timerStart, uint64(start))
	return appendVarint(b, timerStop, uint64(stop))
}

// AppendEvent appends the message of an Event envelope.
func AppendEvent(b []byte, title, body string) []byte {
	title, body = ValidUTF8(title), ValidUTF8(body)
	b = appendMessage(b, envelopeEvent, sizeNonEmpty(title)+sizeNonEmpty(body))
	b = appendString(b, eventTitle, title)
	return appendString(b, eventBody, body)
}

// ValidUTF8 returns s with each run of invalid UTF-8 replaced with U+FFFD, as the functions that append strings write it.
func ValidUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Proto3 omits fields with their zero value, except for the key and value of a map and the members of a oneof.

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

// sizeVarint returns the number of bytes that appendVarint appends for a field number up to 15.
func sizeVarint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return appendMapString(b, num, ValidUTF8(s))
}

// appendMapString appends s, which must be valid UTF-8, even if it is empty.
func appendMapString(b []byte, num protowire.Number, s string) []byte {
	b = appendMessage(b, num, len(s))
	return append(b, s...)
}

// sizeString returns the number of bytes that appendMapString appends for a field number up to 15.
func sizeString(s string) int { return 1 + protowire.SizeBytes(len(s)) }

// sizeNonEmpty returns the number of bytes that appendString appends for a field number up to 15.
func sizeNonEmpty(s string) int {
	if s == "" {
		return 0
	}
	return sizeString(s)
}

// appendMessage appends the header of an embedded message, or of bytes, of the given size.
func appendMessage(b []byte, num protowire.Number, size int) []byte {
	if num < 16 && size < 0x80 {
		return append(b, byte(num)<<3|byte(protowire.BytesType), byte(size)) // Same as appendLarge, for small sizes.
	}
	return appendLarge(b, num, size)
}

func appendLarge(b []byte, num protowire.Number, size int) []byte {
	b = protowire.AppendTag(b, num, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}
