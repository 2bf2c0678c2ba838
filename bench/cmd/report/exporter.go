// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

const exporterHead = `# Benchmarks

<!-- Written by make bench; the text is in bench/cmd/report. -->

The exporter beside its peers, measured in one run on one machine. What counts is the ratio of two columns; the numbers
themselves are this machine's. [benchmarks-diodes.md](benchmarks-diodes.md) has those of package diodes.

- processor: ${cpu}, ${procs} cores; ${goos}/${goarch}, ${go}
- peers: the collector's exporterhelper and otlp exporter ${exporterhelper}, go-loggregator ${go-loggregator}
- ${rounds} rounds; a round runs every benchmark once, so that a slow spell of the machine hits all peers

The peers, which are the columns:

- exporter: this one
- straightforward: the same mapping, as far as the inputs need it, to go-loggregator's structs with a map of tags each, 100 of which
  are encoded by proto.Marshal
- ProtoMarshaler: pdata's own encoding of the same data, which is OTLP; copy: copying the bytes of that once
- sending_queue: exporterhelper with its memory queue of 1,000 batches, before a pusher of the straightforward structs by Send
- IngressClient: go-loggregator's client, given the straightforward structs; queue-structs-Send: sending_queue, told to wait when
  it is full; otlp: the collector's own exporter, to a sink of OTLP
- channel: a bare channel of 1,000 batches that drops what does not fit

The inputs: logs are 1,000 records with 12 attributes over 4 resources, points 500 gauges and 500 sums with 4 attributes, histograms 100
with 12 buckets, spans 1,000 with 10 attributes, one-log is a batch of a single record. An item is a record, a point, a histogram
or a span. Pushes are of 100 records. A percentage in a table compares with the first column.

`

var exporter = book{head: exporterHead, cases: []benchCase{
	{
		title: "Translate and encode", name: "Encode", units: "ns/item B/item allocs/item", row: ".fullname", col: "/peer",
		about: `
pdata to messages of 100 envelopes, ready for the wire. What is made once, such as caches, is made before. A histogram makes 14
envelopes, of which each has all tags: OTLP has one.`,
		targets: `
Encode/input=logs ns/item exporter straightforward 0.083
Encode/input=logs ns/item exporter ProtoMarshaler 1
Encode/input=logs allocs/item exporter - 0.01
Encode/input=spans ns/item exporter straightforward 0.083
Encode/input=spans ns/item exporter ProtoMarshaler 1
Encode/input=spans allocs/item exporter - 0.01
Encode/input=points ns/item exporter straightforward 0.083
Encode/input=points ns/item exporter ProtoMarshaler -
Encode/input=points allocs/item exporter - 0.05
Encode/input=histograms ns/item exporter straightforward 0.083
Encode/input=histograms ns/item exporter ProtoMarshaler -
Encode/input=histograms allocs/item exporter - 0.01
Encode/input=one-log ns/item exporter straightforward -
Encode/input=one-log ns/item exporter ProtoMarshaler -
Encode/input=one-log allocs/item exporter - 0.01`,
		plots: []plot{{
			file: "encode", title: "Translate and encode an item", bench: "Encode", unit: "ns/item", y: "ns",
			peers:  []string{"exporter", "straightforward", "ProtoMarshaler"},
			groups: []string{"input=logs", "input=points", "input=histograms", "input=spans", "input=one-log"},
		}},
		why: `
Attributes with the same keys in the same order share a plan: all of their tags but the values, encoded once. A batch of one
record pays for its plan alone. The allocation left in points is the key of a group of gauges that share an envelope.`,
	},
	{
		title: "Growth of encoding", name: "EncodeGrowth", units: "ns/item", row: ".fullname", col: "/peer",
		about: `
Logs of 1 to 10,000 records, and of 1 to 64 attributes: a line that does not rise is linear in the size of the batch; the time of an
item grows with its attributes.`,
		targets: `
EncodeGrowth/grow=records ns/item n=10000/peer=exporter n=10/peer=exporter -
EncodeGrowth/grow=attributes ns/item n=64/peer=exporter n=16/peer=exporter -`,
		plots: []plot{
			{file: "encode-records", title: "Encode, by the size of a batch", bench: "EncodeGrowth", unit: "ns/item", grow: "records",
				peers: []string{"exporter", "ProtoMarshaler"}, x: "records a batch", y: "ns a record"},
			{file: "encode-attributes", title: "Encode, by attributes", bench: "EncodeGrowth", unit: "ns/item", grow: "attributes",
				peers: []string{"exporter", "ProtoMarshaler"}, x: "attributes a record", y: "ns a record"},
		},
	},
	{
		title: "Push", name: "Push", units: "p50-ns p99-ns p99.9-ns allocs/push", row: ".fullname", col: "/peer",
		about: `
How long a pipeline is held up by a push, from 1, 8 and 64 goroutines as fast as they can, before an ingress that takes
everything, one that takes 20 ms for each message, one that hangs, or nobody. What is full drops, or refuses: the exporter
drops the oldest batch and counts it, the queue refuses the new one, which the pipeline has to deal with.`,
		targets: `
Push/pushers=1/behind=live p50-ns exporter sending_queue 0.2
Push/pushers=1/behind=stalled p50-ns exporter sending_queue 0.2
Push/pushers=8/behind=stalled p50-ns exporter sending_queue 0.2
Push/pushers=64/behind=stalled p50-ns exporter sending_queue 0.2
Push/pushers=1/behind=stalled p99.9-ns exporter sending_queue -
Push/pushers=8/behind=stalled p99.9-ns exporter sending_queue -
Push p99.9-ns pushers=1/behind=stalled/peer=exporter pushers=1/behind=live/peer=exporter 1.5
Push p99.9-ns pushers=8/behind=stalled/peer=exporter pushers=8/behind=live/peer=exporter 1.5
Push p99.9-ns pushers=64/behind=stalled/peer=exporter pushers=64/behind=live/peer=exporter 1.5
Push/pushers=1/behind=stalled allocs/push exporter - 0.01
Push/pushers=8/behind=stalled allocs/push exporter - 0.01
Push/pushers=1/behind=stalled allocs/push sending_queue - -`,
		plots: []plot{{
			file: "push", title: "A push by one of 8 pushers, while Loggregator hangs", bench: "Push/pushers=8/behind=stalled",
			peers: []string{"exporter", "sending_queue"}, units: []string{"p50-ns", "p99-ns", "p99.9-ns"}, y: "ns",
		}},
		why: `
Each time has a reading of the clock in it, 30 to 40 ns: see channel. A fifth of the queue's median is out of reach. One pusher into a
full ring takes about 75 ns beside the clock: a third of that is the ring, which takes the batch in and the oldest out, half is to
count what was lost, to the item, in three metrics and the log; a full queue looks at its length and refuses. With eight
pushers on two cores all of these are places in memory that go from core to core, and a pusher that meets another leaves the field
to it for two microseconds: a fifth of the time is that, and another fifth the exchanges that fail, as the page of the diodes
explains. What a median does not show: a single pusher's rare pushes take a hundredth of the queue's, nothing is allocated
that the garbage collector would have to find, and it makes no difference what is behind.`,
	},
	{
		title: "Growth of pushing", name: "PushGrowth", units: "p50-ns p99.9-ns", row: ".fullname", col: "/peer",
		about: `
The same before an ingress that hangs, from 1 to 64 goroutines, and by one into rings of 10 to 100,000 batches.`,
		targets: `
PushGrowth/grow=capacity p50-ns n=100000/peer=exporter n=10/peer=exporter -`,
		plots: []plot{
			{file: "push-pushers", title: "Push, by the number of pushers", bench: "PushGrowth", unit: "p99.9-ns", grow: "pushers",
				peers: []string{"exporter", "sending_queue"}, x: "pushers", y: "p99.9, ns"},
			{file: "push-capacity", title: "Push, by the size of the ring", bench: "PushGrowth", unit: "p50-ns", grow: "capacity",
				peers: []string{"exporter"}, x: "batches in the ring", y: "p50, ns"},
		},
	},
	{
		title: "End to end", name: "Deliver", units: "cpu-s/million items/s B/item", row: ".fullname", col: "/peer",
		about: `
From the push of 1,000 records, as often as it goes, to a sink in another process over mutual TLS, with one core and with two for the
peer. The rate limit of the exporter is off. exporter has messages of 100 envelopes, its default; exporter_1000 of
1,000, which is what otlp sends; otlp_100 sends 100 records a message. The sink only counts what is in the messages. Processor time is that of the peer's process for a
million records, B/item is garbage.`,
		targets: `
Deliver/cores=1 items/s exporter IngressClient >3
Deliver/cores=2 items/s exporter IngressClient >3
Deliver/cores=1 cpu-s/million exporter IngressClient -
Deliver/cores=1 cpu-s/million exporter queue-structs-Send -
Deliver/cores=1 cpu-s/million exporter otlp 1
Deliver/cores=1 cpu-s/million exporter otlp_100 -
Deliver/cores=1 cpu-s/million exporter_1000 otlp 1
Deliver/cores=2 cpu-s/million exporter otlp 1
Deliver/cores=2 cpu-s/million exporter_1000 otlp 1
Deliver/cores=1 B/item exporter queue-structs-Send 0.2`,
		plots: []plot{
			{file: "deliver-cpu", title: "Processor time of a million log records, to the wire", bench: "Deliver", unit: "cpu-s/million", y: "s",
				peers:  []string{"exporter", "exporter_1000", "IngressClient", "otlp"},
				groups: []string{"cores=1", "cores=2"}},
			{file: "deliver-rate", title: "Log records a second over mutual TLS", bench: "Deliver", unit: "items/s", y: "records/s",
				peers:  []string{"exporter", "exporter_1000", "IngressClient", "otlp"},
				groups: []string{"cores=1", "cores=2"}},
		},
		why: `
The exporter spends a third of the processor time of go-loggregator's structs. Of its own, a tenth is the translation. A message of any
size costs about 200 µs of processor time here, most of it to fall asleep and be woken for the answer, and a record 1.7 µs: TLS, the
kernel, and copies of 850 bytes, where OTLP has 640, because it has the tags of a resource once for all of its records. So with
messages of 1,000 it is near otlp, and with 100, the default, not: compare otlp_100, which sends 100 records a message, ten
messages at a time. Larger messages by default would be more than a router keeps at once.

Items a second follow from that: one message of each signal is on its way at a time, so that they arrive in order and nothing is
lost when one fails; IngressClient waits for no answer. To translate the next message meanwhile would win no more than the 40 µs
that it takes of the 600 of a message, so it is left out. At the default rate limit, 5,000 envelopes a second, all of this is
2 % of a core.`,
	},
	{
		title: "Memory of what waits", name: "Full", units: "heap-B/batch allocated-B/batch", row: ".name", col: "/peer",
		about: `
1,000 batches of 1,000 records wait, and nobody takes them. The records are the same in each, so that what is measured is what the
peer adds: heap is that of the whole component, allocated is what the pushes allocated, both divided by the number of batches.`,
		targets: `
Full heap-B/batch exporter - -
Full heap-B/batch sending_queue - -
Full allocated-B/batch exporter sending_queue -`,
		why: `
A batch of 1,000 records is 1.9 MB, so the peak of both is that of the records, to a few hundredths of a percent. A part of what the
exporter has is the message in work, in buffers that are used again; its ring, of 140 bytes a batch, is there from the start. The garbage of what is
sent, which is what counts over time, is in "End to end".`,
	},
}}
