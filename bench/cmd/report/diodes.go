// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"github.com/loggregatorexporter/loggregatorexporter/bench/internal/results"
)

const diodesHead = `# Benchmarks of package diodes

<!-- Written by make bench-diodes; the text is in bench/cmd/report. -->

The diodes beside their peers, measured in one run on one machine. What counts is the ratio of two columns; the numbers
themselves are this machine's.

- processor: ${cpu}, ${procs} cores; ${goos}/${goarch}, ${go}
- peers: code.cloudfoundry.org/go-diodes ${go-diodes}, Go's channels, and a ring behind a sync.Mutex
- ${rounds} rounds of ${benchtime} for each benchmark; a round runs every benchmark once, so that a slow spell of the machine hits all peers

The peers, which are the columns:

- ours: a ManyToOne, or a OneToOne where the case says so; ours-writer: a ManyToOne with a handle for each goroutine that
  writes; ours-drop-newest: a ManyToOne with that policy
- go-diodes: its diode, bare; go-diodes-waiter and go-diodes-poller: in the wrapper that makes the reader wait. Its messages
  about collisions are discarded unformatted, which costs it less than in production
- channel: blocks when it is full, so it is no diode; channel-select: drops the new element when it is full
- mutex-ring: drops the oldest element, exactly, under a lock (bench/mutexring_test.go)

Every peer is given the same pointer; none pays for making an element. All rings have room for 1000, unless the case says
otherwise. A percentage in a table compares with the first column. benchstat scales numbers: 250m is 0.25.

`

const noSecondCore = `**In %d of %d rounds the machine gave the baseline no second core.** (A cache line goes to another core and back in less than
a microsecond.) A case with several goroutines shows contention only as far as it had two; see its table of cores.

`

// together says in how many rounds the baseline had two cores.
func together(all results.Samples) string {
	// A cache line that takes more than 2 µs to and fro did not go between two cores that both ran.
	trips := all["Baseline/op=round-trip"]["ns/op"]
	both := len(slices.DeleteFunc(slices.Clone(trips), func(ns float64) bool { return ns > 2000 }))
	if both == len(trips) {
		return ""
	}
	return fmt.Sprintf(noSecondCore, len(trips)-both, len(trips))
}

var diodes = book{head: diodesHead, note: together, cases: []benchCase{
	{
		title: "Baseline", name: "Baseline", units: "sec/op", row: ".name", col: "/op",
		about: `
What the machine can do at all: one compare-and-swap that nobody contends for, and one cache line's way to another core and
back.`,
		targets: `
Baseline ns/op op=cas - -
Baseline ns/op op=round-trip - -`,
	},
	{
		title: "ManyToOne, Set + TryNext", name: "ManyToOne", units: "sec/op allocs/op", row: ".fullname", col: "/peer",
		about: `
One goroutine sets an element and takes it out again. Nobody contends.`,
		targets: `
ManyToOne ns/op ours go-diodes 0.35
ManyToOne ns/op ours channel 0.55
ManyToOne ns/op ours-writer go-diodes 0.35
ManyToOne ns/op ours-writer channel 0.55
ManyToOne ns/op ours mutex-ring -
ManyToOne allocs/op ours - 0`,
		why: `
A Set without a handle takes three locked instructions, and TryNext one: to take a writer, to publish the element, to give
the writer back; and to take the element out. With a handle it is one and one. Four times the baseline's, or twice, is what
the hardware takes of ours, whatever the code around it does: on a machine where that alone is more than the target, nothing
with that many can reach it. go-diodes has two, and an allocation, which is cheap as long as nobody collects the garbage. One
goroutine alone is also the best that can happen to a mutex, which has two.`,
	},
	{
		title: "OneToOne, Set + TryNext", name: "OneToOne", units: "sec/op allocs/op", row: ".fullname", col: "/peer",
		about: `
The same with the diodes for one writer. The floors are no rings that one could use: they have no policies, nobody who is
lapped, no Close, no parking and one type of element. "floor" has one compare-and-swap on each side and one cell written
and cleared; "floor-exchange" has in addition what every design needs in which neither side can hold up the other: the side that
comes looks at the slot first, and takes the cell that is there for its own.`,
		targets: `
OneToOne ns/op ours go-diodes 0.25
OneToOne ns/op ours channel 0.35
OneToOne ns/op floor go-diodes -
OneToOne ns/op floor channel -
OneToOne ns/op floor-exchange go-diodes -
OneToOne ns/op floor-exchange channel -
OneToOne ns/op ours floor-exchange -
OneToOne allocs/op ours - 0`,
		why: `
The ratios of the floors say how much of a target is taken up before a ring does anything of its own. Two locked
instructions, which Go needs for a publication on each side (its atomic stores are locked too), take up most; to look at a
slot that has just been swapped, and then for the cell that it names, has to wait for the swap.`,
	},
	{
		title: "Fan-in with a reader", name: "FanIn", units: "sec/op delivered-% cores", row: ".fullname", col: "/peer",
		about: `
8 and 64 goroutines set, one reads as fast as it can and sleeps when there is nothing. Time is per Set, until the last
writer is done; delivered is the share of the elements that came out, the rest gave way. Cores are how many the process
had at work.`,
		targets: `
FanIn/writers=8 ns/op ours go-diodes-waiter 0.5
FanIn/writers=8 ns/op ours-writer go-diodes-waiter 0.5
FanIn/writers=8 ns/op ours mutex-ring -
FanIn/writers=8 delivered-% ours - -
FanIn/writers=8 delivered-% go-diodes-waiter - -
FanIn/writers=64 ns/op ours go-diodes-waiter 0.5
FanIn/writers=64 ns/op ours-writer go-diodes-waiter 0.5
FanIn/writers=64 ns/op ours mutex-ring -
FanIn/writers=64 delivered-% ours - -
FanIn/writers=64 delivered-% go-diodes-waiter - -`,
		why: `
Read the two tables together: a peer whose reader gets little also has a reader that hardly contends with the writers. The
reader gets its time on a core from Go's scheduler, beside all the writers; on two cores, two goroutines run at a time,
however many there are. A channel that blocks makes the writers wait for the reader, and so delivers everything.

A goroutine without a handle shares a writer with the others, and so one place in memory more with the other core than one
that has a handle. How much that costs is the baseline's round trip, which on a virtual machine is 100 ns in one minute and 500
in the next. Who meets another leaves the field to it for two to three microseconds, so that the memory goes to the other core
once in some dozens of Sets, not at each.`,
	},
	{
		title: "Overflow storm", name: "OverflowStorm", units: "sec/op cores", row: ".fullname", col: "/peer",
		about: `
2 and 64 goroutines set into a full ring that nobody reads. Time is per Set. Cores are how many the process had at work;
a peer whose writers sleep has fewer.`,
		targets: `
OverflowStorm/writers=2 ns/op ours go-diodes 0.4
OverflowStorm/writers=2 ns/op ours-writer go-diodes 0.4
OverflowStorm/writers=2 ns/op ours mutex-ring -
OverflowStorm/writers=64 ns/op ours go-diodes 0.4
OverflowStorm/writers=64 ns/op ours-writer go-diodes 0.4
OverflowStorm/writers=64 ns/op ours mutex-ring 1
OverflowStorm/writers=64 ns/op ours-writer mutex-ring 1
OverflowStorm/writers=64 allocs/op ours - 0`,
		why: `
A full channel refuses an element after one look, and writes nothing; ours-drop-newest gives the same result. The others put
the new element in and the oldest out. A mutex lets the goroutine that runs take it again and again while the others sleep:
that is good for the mean, and bad for those that sleep, as the latency of a single Set shows. Ours has no such lock: a Set
that meets another pauses once and then goes on, whatever the other does. A longer pause would bring the mean down further, at the
expense of the latency of a single Set.`,
	},
	{
		title: "Overflow by one", name: "OverflowByOne", units: "lost", row: ".fullname", col: "/peer",
		about: `
A ring of 10,000 is filled, gets one element more, and is read out: how many elements are lost.`,
		targets: `
OverflowByOne lost ours - 1
OverflowByOne lost go-diodes - -`,
	},
	{
		title: "Latency of a single Set", name: "SetLatency", units: "p50-ns p99-ns p99.9-ns cores", row: ".fullname", col: "/peer",
		about: `
8 goroutines set into a full ring whose reader stalls; each Set is timed on its own. Each time has a reading of the clock
in it: the peer "clock" is that alone, and shows how often the machine takes a goroutine off its core.`,
		targets: `
SetLatency p99.9-ns clock - -
SetLatency p99.9-ns ours - -
SetLatency p99.9-ns ours-writer - -
SetLatency p99.9-ns ours go-diodes 1
SetLatency p99.9-ns ours mutex-ring 1`,
	},
	{
		title: "Wake-up of a sleeping reader", name: "Wakeup", units: "sec/op allocs/op", row: ".fullname", col: "/peer",
		about: `
One element into an empty ring whose reader sleeps, and the reader's reply over an unbuffered channel, the same for all
peers: the difference is the peers' own. With one processor the reader sleeps each time for certain; with two, nearly
always.`,
		targets: `
Wakeup/procs=1 ns/op ours go-diodes-waiter -
Wakeup/procs=1 ns/op ours channel 1.33
Wakeup/procs=1 ns/op ours mutex-ring -
Wakeup/procs=1 allocs/op ours - 0
Wakeup/procs=2 ns/op ours go-diodes-waiter -
Wakeup/procs=2 allocs/op ours - 0`,
	},
	{
		title: "Collision stall", name: "Collision", units: "stalled-% sets-to-recover", row: ".fullname", col: "/peer",
		about: `
A ring of 100 has overflowed by one and was read since. Then a Set and a TryNext meet in a slot, and after both there is
an element for the reader. Stalled is the share of the rounds in which the reader can't get it; sets to recover is how
many more Sets it takes then until it gets one.

In go-diodes the slot still has an element in it that was lost in the overflow. When the reader clears it away between
the writer's look and its swap, the swap fails and the writer goes on to the next number and slot. The reader waits for a
number that nobody will write any more, until a writer comes round to the slot again: nearly a whole ring of elements
later, all of which are lost but the last.`,
		targets: `
Collision stalled-% ours - 0
Collision stalled-% go-diodes - -
Collision sets-to-recover ours - 0
Collision sets-to-recover go-diodes - -`,
		why: `
How often the two meet is the machine's timing; 0 for go-diodes means that they never met in this run.`,
	},
	{
		title: "Growth", name: "Growth", units: "sec/op", row: ".fullname", col: "/size",
		about: `
ManyToOne, Set + TryNext, in rings of 10 to 100,000. The columns are sizes; the work is the same, over more memory.`,
		targets: `
Growth ns/op size=100000/peer=ours size=10/peer=ours -`,
	},
}}
