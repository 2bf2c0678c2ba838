// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build explore

package diodes

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func (c call) String() string {
	if c.letter == 's' {
		return fmt.Sprintf("s%#x", c.arg)
	}
	return string(c.letter)
}

// explains reports whether a call with the result r in the model may have returned got.
func (r result) explains(got result) bool {
	if r.loose && got.alerted <= r.alerted {
		got.alerted = r.alerted
	}
	r.loose = false
	return r == got
}

// makeWorld creates a new world. It accesses the locations that the threads will share, so that they have the same names in all
// executions.
func (x *explorer) makeWorld() {
	w := newWorld(x.scenario, 0, AlertFunc(func(n int) {
		if x.current != nil {
			x.current.result.alerted += n
		}
	}))
	x.world = w
	ready := []*eventcount{w.ready}
	if w.many != nil {
		ready = nil
		for _, p := range w.pollers {
			if p != nil {
				ready = append(ready, &p.ready)
			}
		}
		w.many.wake()
	} else {
		for i := range w.arena.first {
			w.arena.first[i].get()
		}
	}
	for _, e := range ready {
		e.wake()
		e.wakes.sent.Load()
	}
	w.Len()
	if w.shared != nil {
		for s := &w.shared.writers; s != nil; s = s.next.Load() {
			s.held.Load()
		}
	}
}

// call makes the current call of t.
func (x *explorer) call(t *thread) {
	w := x.world
	switch t.call.letter {
	case 'l':
		if n := w.Len(); n < 0 || n > w.Cap() {
			x.fail("Len returned %d", n)
		}
	case 'k': // A step at the location where the reader sleeps, because it wakes the reader.
		ready := w.ready
		if w.many != nil {
			ready = &w.pollers[1].ready
		}
		at := &ready.wakes.sent.location
		x.before(w.ctx, at, send)
		w.cancel()
		x.after(at, send, at.value, at.value)
	default:
		t.result.x, t.result.ok = w.call(t.index, t.call)
	}
}

// fillers calls f with the filler of each writer, the part that outlives a call.
func (w *world) fillers(f func(*filler)) {
	if w.shared == nil {
		f(&w.writer.filler)
		return
	}
	for s := &w.shared.writers; s != nil; s = s.next.x {
		f(&s.filler)
	}
	for _, h := range w.handles {
		if h != nil {
			f(&h.writer.filler)
		}
	}
}

// plain calls f with each part of the diode's state that outlives a call and is neither atomic nor in a cell.
func (w *world) plain(f func(uint64)) {
	at := func(p position) { f(uint64(p.lap) + uint64(p.slot)) }
	w.fillers(func(w *filler) {
		at(w.at)
		at(w.gone)
		f(uint64(w.spare))
	})
	if d := w.many; d != nil {
		f(d.behind)
		f(fingerprint(d.known))
		f(uint64(len(d.retired)))
		for _, p := range w.pollers {
			if p != nil {
				at(p.next)
				f(p.ready.armed)
			}
		}
		return
	}
	at(w.queue.at)
	f(uint64(w.queue.spare))
	f(w.ready.armed)
	if w.shared != nil {
		f(uint64(len(w.shared.released)))
		for _, node := range w.shared.released {
			f(uint64(node))
		}
	}
}

// due reports whether a sleeping reader has something to return.
func (w *world) due(t *thread) bool {
	_, head := w.ring.head()
	if p := w.pollers[t.index]; p != nil {
		return head.closed() || p.place.Load()&closedPoller != 0 || p.Len() > 0
	}
	return head.closed() || w.Len() > 0
}

// checkEnd checks the final state of the diode, when no thread can take another step.
func (x *explorer) checkEnd(j judge) {
	w := x.world
	could := func(same func(m *model) bool) bool {
		return slices.ContainsFunc(j.configs, func(c config) bool { return c.done == 0 && same(&c.model) })
	}
	checkRest := func(r reader[int], want func(m *model) string) []int {
		rest := drain(r)
		same := func(v int, b byte) bool { return v == int(b) }
		if !could(func(m *model) bool { return slices.EqualFunc(rest, []byte(want(m)), same) }) {
			x.fail("the elements left to read are %#x", rest)
		}
		return rest
	}
	var nodes []uint32
	if d := w.many; d != nil {
		for i, p := range w.pollers {
			if p != nil {
				checkRest(p, func(m *model) string { return m.rest(i) })
			}
		}
		for ok := true; ok; {
			_, ok = d.Evict()
		}
		for _, r := range d.retired {
			if !r.free.Load() {
				x.fail("a retired node is not free")
			}
			nodes = append(nodes, r.node.get())
		}
		if open := len(*d.pollers.Load()); !could(func(m *model) bool { return m.open() == open }) {
			x.fail("%d pollers are listed", open)
		}
		if n := d.asleep.Load(); int(n) != len(x.threads)-x.finished() {
			x.fail("%d pollers count as asleep", n)
		}
	} else {
		n := w.Len()
		if rest := checkRest(w.reader, (*model).inside); n != len(rest) {
			x.fail("%d elements are left, Len returned %d", len(rest), n)
		}
		nodes = append(nodes, w.queue.spare)
	}
	if d := w.shared; d != nil {
		if _, held := d.countWriters(); held != w.frozen {
			x.fail("%d writers are held", held)
		}
		nodes = append(nodes, d.released...)
	}
	w.fillers(func(f *filler) { nodes = append(nodes, f.spare) })
	for i := range w.ring.slots {
		nodes = append(nodes, state(w.ring.slots[i].Load()).node())
	}
	slices.Sort(nodes)
	for i, node := range nodes {
		if int(node) != i {
			x.fail("a node has no owner or two: %v", nodes)
			break
		}
		if v := w.arena.at(node).get(); v != 0 {
			x.fail("element %#x was removed but is still referenced", v)
		}
	}
	if n := int(w.arena.handed.Load()); n != len(nodes) {
		x.fail("%d nodes were handed out, %d have an owner", n, len(nodes))
	}
}

// scenarios lists the calls to explore, for each size and policy. Some have too many interleavings: "a b ≤3" limits them to those with
// at most three preemptions.
var scenarios = []struct {
	kind  string
	calls []string
}{
	// The writer laps the reader.
	{"OneToOne", []string{"sssssss ttt", "sses tt", "ssss nn", "ssl t c", "ss nn c ≤3", "ss xx k ≤3"}},
	// Writers with handles.
	{"Writer", []string{"ss ss tt ≤4", "sss sss tt ≤3", "s s s t ≤3", "ss ss s tt ≤2", "s s nn", "ss s nn c ≤2", "ss s xx k ≤2"}},
	{"Writer", []string{"ss e t", "ss se tt ≤3", "s se n ≤3", "ss s c t ≤3", "ss e c ≤3", "s c nn c ≤2", "sss ee t ≤3", "sss ee e ≤2"}},
	// Borrowed writers, and handles that are taken and released.
	{"ManyToOne", []string{"s s tt", "ss s tt ≤3", "s s s t ≤2", "se s t ≤3", "s s nn c ≤2", "wsr wsr t ≤3", "wsrwsr s t ≤2", "sss ee e ≤2"}},
	// The same, while the initial writers are held by goroutines descheduled inside Set.
	{"Frozen", []string{"s s", "ss s t ≤2"}},
	// Pollers that read, sleep, are closed and are created.
	{"OneToMany", []string{"sss tt", "ssssss ttt ≤3", "ssses ttt ≤3", "sss t t ≤3"}},
	{"OneToMany", []string{"ss nn", "sss nnn ≤3", "s n n ≤3", "sss nn c ≤3", "ss xx k ≤3"}},
	{"OneToMany", []string{"s n Q", "ss n Q", "ss t Q Q ≤2", "s q q", "sss nn Q ≤3", "sss tt Q ≤3"}},
	{"OneToMany", []string{"sss pt", "sss pt pt ≤2", "ssse ptt Pt ≤2", "sss tqpt c ≤2", "sss ptq ptq ≤2"}},
	{"Wrapping", []string{"ssee pt"}},
	// Writers with handles and a ring of six, in which evictions search for the oldest element.
	{"Large", []string{"sssssss eete ≤2"}},
}

// eachScenario yields the scenarios in the order of explored.md, with one preemption less under -short.
func eachScenario(yield func(s scenario, bound int) bool) {
	for _, row := range scenarios {
		for _, calls := range row.calls {
			calls, most, _ := strings.Cut(calls, " ≤")
			bound, _ := strconv.Atoi(most) // 0: no limit
			if testing.Short() && bound > 1 {
				bound--
			}
			kind, sizes := row.kind, []int{1, 2, 3}
			if kind == "Large" {
				kind, sizes = "Writer", []int{6}
			}
			for _, size := range sizes {
				for policy := DropOldest; policy <= DropNewest; policy++ {
					s := scenario{kind, size, policy, calls}
					if s.broadcasts() && policy == DropNewest {
						continue
					}
					if !yield(s, bound) {
						return
					}
				}
			}
		}
	}
}

var (
	exploreSchedule = flag.String("explore.schedule", "", "follow this schedule of the scenario selected with -run, step by step")
	exploreUpdate   = flag.Bool("explore.update", false, "update explored.md")
	exploreChanged  = flag.Bool("explore.changed", false, "the code was changed: ignore explored.md and schedules that do not fit")
	exploreFor      = flag.Duration("explore.for", 0, "explore random scenarios for this long")
)

// Each execution of each scenario has the results of a sequential diode, even if some thread is never scheduled again.
func TestExplore(t *testing.T) {
	var table strings.Builder
	table.WriteString(exploredHead)
	all := !testing.Short()
	for s, bound := range eachScenario {
		ran := false
		t.Run(s.String(), func(t *testing.T) {
			ran = true
			x := explore(t, s, bound)
			fmt.Fprintf(&table, "| %s | %d | %v | `%s` | %s | %d | %d | %d |\n",
				s.kind, s.size, s.policy, s.calls, x.interleavings(), len(x.visited), x.executions, x.longest['s'])
		})
		all = all && ran
	}
	if !all || t.Failed() || *exploreChanged {
		return
	}
	const file = "explored.md"
	if *exploreUpdate {
		if err := os.WriteFile(file, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(file)
	if err != nil || string(written) != table.String() {
		t.Errorf("%s is out of date: run go test -tags explore -run Explore ./diodes -explore.update", file)
	}
}

const exploredHead = `# Explored scenarios

Written by ` + "`go test -tags explore -run Explore ./diodes -explore.update`" + `. Each word of the calls is a goroutine; ` +
	"`model_test.go`" + ` explains
the letters. "all" means every interleaving, "≤ 3" every interleaving with at most three preemptions.

| diode | size | policy | calls | interleavings | states | executions | longest Set, in steps |
| --- | --- | --- | --- | --- | --- | --- | --- |
`

// explore explores a scenario, or follows the schedule of the flag.
func explore(t *testing.T, sc scenario, bound int) *explorer {
	x := &explorer{scenario: sc, bound: bound}
	if *exploreSchedule != "" {
		x.follow(parseSchedule(t, *exploreSchedule))
		t.Log(strings.Join(x.trace, "\n"))
		if x.failure != "" {
			t.Error(x.failure)
		}
		return x
	}
	schedule := x.explore()
	if failure := x.failure; failure != "" {
		x.follow(schedule)
		t.Errorf("%s\n%s\nagain: -run 'TestExplore/%s' -explore.schedule=%s", failure, strings.Join(x.trace, "\n"),
			strings.ReplaceAll(sc.String(), " ", "_"), formatSchedule(schedule))
	} else {
		t.Logf("%s interleavings: %d states, %d executions", x.interleavings(), len(x.visited), x.executions)
	}
	return x
}

func (x *explorer) interleavings() string {
	if x.bound > 0 {
		return fmt.Sprint("≤ ", x.bound)
	}
	return "all"
}

// formatSchedule writes the thread of each run of steps, with the number of steps: 0*12,1*3,0.
func formatSchedule(schedule []choice) string {
	var runs []string
	for i := 0; i < len(schedule); {
		n := 1
		for i+n < len(schedule) && schedule[i+n] == schedule[i] {
			n++
		}
		run := fmt.Sprint(schedule[i])
		if n > 1 {
			run += fmt.Sprint("*", n)
		}
		runs = append(runs, run)
		i += n
	}
	return strings.Join(runs, ",")
}

func parseSchedule(t *testing.T, s string) (schedule []choice) {
	for run := range strings.SplitSeq(s, ",") {
		var c choice
		n := 1
		if _, err := fmt.Sscanf(run, "%d*%d", &c, &n); err != nil {
			if _, err := fmt.Sscanf(run, "%d", &c); err != nil {
				t.Fatalf("invalid schedule at %s: %v", run, err)
			}
		}
		for range n {
			schedule = append(schedule, c)
		}
	}
	return schedule
}

// These schedules reproduce defects that were found, and one that takes more preemptions than are explored. A change of the steps
// invalidates them: then find them again by reintroducing the defect.
func TestExploreSchedules(t *testing.T) {
	for _, c := range []struct {
		name     string
		schedule string
		scenario
	}{
		{"refused Set without wake-up", "2*3,0*5,1*4", scenario{"Writer", 1, DropNewest, "s s n"}},
		{"Set after Close without wake-up", "0*6,1*5,2*3,0*2", scenario{"OneToOne", 1, DropOldest, "ss nn c"}},
		{"closed poller unlisted before wake-up", "1*6,0*6,2*6,0", scenario{"OneToMany", 1, DropOldest, "s n Q"}},
		{"retired node freed before clearing", "0*7,1*4,0*17,1*3,2*6,0*14", scenario{"OneToMany", 1, DropOldest, "ssss t t"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &explorer{scenario: c.scenario}
			x.follow(parseSchedule(t, c.schedule))
			switch {
			case x.diverged && *exploreChanged:
				t.Skip(x.failure)
			case x.failure != "":
				t.Errorf("%s\n%s", x.failure, strings.Join(x.trace, "\n"))
			}
		})
	}
}

// Sleep sets skip steps but no states.
func TestExploreSleepSets(t *testing.T) {
	if *exploreChanged {
		t.Skip("the exploration may end early")
	}
	for _, sc := range []scenario{
		{"Writer", 1, DropOldest, "ss e t"},
		{"Frozen", 1, DropOldest, "s s"},
		{"OneToMany", 2, DropOldest, "ss n Q"},
	} {
		t.Run(sc.String(), func(t *testing.T) {
			reduced, whole := explorer{scenario: sc}, explorer{scenario: sc, whole: true}
			reduced.explore()
			whole.explore()
			if len(reduced.visited) != len(whole.visited) || reduced.executions >= whole.executions {
				t.Errorf("%d states in %d executions, without sleep sets %d in %d",
					len(reduced.visited), reduced.executions, len(whole.visited), whole.executions)
			}
		})
	}
}

// An absence calls during before the first step that changes a location, as if the goroutine were descheduled there.
type absence struct {
	at     *location
	during func()
}

func (a *absence) before(_ context.Context, at *location, kind access) bool {
	if during := a.during; during != nil && at == a.at && kind != load {
		a.during = nil
		during()
	}
	return false
}

func (*absence) after(*location, access, uint64, uint64) {}
func (*absence) forget(uint64)                           {}
func (*absence) pointer(any) uint64                      { return 0 }

// Like TestLateHint, for a writer that was descheduled after it had checked the slot.
func TestExploreLateHint(t *testing.T) {
	d := NewOneToOne[int](3, nil)
	for x := range 3 {
		d.Set(x)
	}
	d.hint.Store(0)
	var start position
	scheduler = &absence{&d.hint.location, func() { start = d.skipTo(1 << 38 * lapUnit) }}
	defer func() { scheduler = nil }()
	d.moveHint(position{slot: 2}, position{lap: lapUnit})
	if got := unpackPosition(d.hint.Load()); got != start || start.lap == 0 {
		t.Errorf("the hint is %v, want %v", got, start)
	}
}

// Random scenarios, for the time given by -explore.for.
func TestExploreRandom(t *testing.T) {
	if *exploreFor == 0 {
		t.Skip("without -explore.for")
	}
	explored, states, executions := 0, 0, 0
	for begin := time.Now(); time.Since(begin) < *exploreFor && !t.Failed(); explored++ {
		kinds := []string{"OneToOne", "Writer", "ManyToOne", "OneToMany", "Wrapping"}
		sc := scenario{kind: kinds[rand.IntN(len(kinds))], size: 1 + rand.IntN(3)}
		pick := func(n int, letters string) (word string) {
			for range 1 + rand.IntN(n) {
				word += string(letters[rand.IntN(len(letters))])
			}
			return word
		}
		words := []string{"s" + pick(4, "sssel"), pick(3, "tn")}
		if sc.broadcasts() {
			words = append(words, []string{pick(2, "t"), pick(2, "n"), "p" + pick(2, "tn"), "Pt", "Q", "ptq"}[rand.IntN(6)])
		} else {
			sc.policy = DropPolicy(rand.IntN(2))
			if sc.kind != "OneToOne" {
				words = append(words, "s"+pick(2, "se"))
			}
		}
		switch rand.IntN(4) {
		case 0:
			words = append(words, "c")
		case 1:
			words[1], words = "x"+words[1], append(words, "k")
		}
		sc.calls = strings.Join(words, " ")
		t.Run(sc.String(), func(t *testing.T) {
			x := explore(t, sc, 1+rand.IntN(4-len(words)/2))
			states += len(x.visited)
			executions += x.executions
		})
	}
	t.Logf("%d scenarios, %d states, %d executions", explored, states, executions)
}
