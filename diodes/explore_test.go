// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build explore

package diodes

import (
	"context"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// A scenario is a diode and what its threads call. Their calls are words of letters:
//
//	s  Set, of the thread's next element
//	e  Evict
//	t  TryNext
//	n  Next
//	x  NextContext, with the context that k cancels
//	c  Close
//	l  Len
//	w  Writer: from then on the thread sets and evicts with it
//	r  Release
//	p  NewPoller; P: from the newest. A thread that reads a OneToMany and does not begin with it has one from the start.
//	q  Close of the thread's poller; Q: of the second thread's
type scenario struct {
	// kind is that of the diode, or Writer: a ManyToOne whose writers have handles; Frozen: one whose writers are all held;
	// Wrapping: a OneToMany in the last lap before places wrap.
	kind   string
	size   int
	policy DropPolicy
	calls  string // a word for each thread
	bound  int    // of preemptions; 0: none
}

func (s scenario) String() string {
	name := fmt.Sprintf("%s %d %s", s.kind, s.size, s.calls)
	if s.policy == DropNewest {
		name += " DropNewest"
	}
	return name
}

func (s scenario) broadcasts() bool { return s.kind == "OneToMany" || s.kind == "Wrapping" }

type call struct {
	letter byte
	arg    uint8
}

func (c call) String() string {
	if c.letter == 's' {
		return fmt.Sprintf("s%#x", c.arg)
	}
	return string(c.letter)
}

// A result is what a call returned.
type result struct {
	x       int
	ok      bool
	alerted int
	loose   bool // of the model: alerted is an upper bound
}

// explains reports whether a call whose result in the model is r can have had the result got.
func (r result) explains(got result) bool {
	if r.loose && got.alerted <= r.alerted {
		got.alerted = r.alerted
	}
	r.loose = false
	return r == got
}

// A world is a diode, and what the threads have of it.
type world struct {
	x       *explorer
	queue   queueDiode[int]
	many    *OneToMany[int]
	handles [maxThreads]*Writer[int]
	pollers [maxThreads]*Poller[int]
	ctx     context.Context
	cancel  context.CancelFunc
	frozen  int // writers that are held for good
}

func newWorld(x *explorer) *world {
	w := &world{x: x, ctx: context.Background()}
	if strings.Contains(x.calls, "k") {
		w.ctx, w.cancel = context.WithCancel(w.ctx)
	}
	alerter := AlertFunc(func(n int) {
		if x.current != nil {
			x.current.result.alerted += n
		}
	})
	// What the threads will meet is touched now, so that it has the same name in all executions.
	switch x.kind {
	case "OneToMany", "Wrapping":
		w.many = NewOneToMany[int](x.size, alerter)
		if x.kind == "Wrapping" {
			w.many.writer.at = w.many.skipTo((1<<38 - 1) * lapUnit)
		}
		for i, script := range strings.Fields(x.calls) {
			if strings.IndexByte("tnxq", script[0]) >= 0 {
				w.pollers[i] = w.many.NewPoller()
				w.pollers[i].ready.wake()
				w.pollers[i].ready.wakes.sent.Load()
			}
		}
		w.many.wake()
		w.many.Len()
	default:
		kind := x.kind
		if kind == "Frozen" {
			kind = "ManyToOne"
		}
		w.queue = newKind[int](kind, x.size, alerter, x.policy)
		if h, ok := w.queue.(handleDiode[int]); ok { // Each thread that writes has a handle.
			h.w.Release()
			w.queue = h.ManyToOne
			for i, script := range strings.Fields(x.calls) {
				if strings.IndexByte("se", script[0]) >= 0 {
					w.handles[i] = h.Writer()
				}
			}
		}
		q := w.queue.queueForTest()
		q.ready.wake()
		q.ready.wakes.sent.Load()
		w.queue.Len()
		for i := range q.arena.first {
			q.arena.first[i].get()
		}
		w.writers(func(s *sharedWriter[int]) {
			s.held.Load()
			s.next.Load()
			if x.kind == "Frozen" {
				s.held.Store(1)
				w.frozen++
			}
		})
	}
	return w
}

// writers calls f with each shared writer.
func (w *world) writers(f func(*sharedWriter[int])) {
	if d, ok := w.queue.(*ManyToOne[int]); ok {
		for s := &d.writers; s != nil; s = s.next.x {
			f(s)
		}
	}
}

// plain calls f with the state of the diode that is neither atomic nor in a cell, as far as it outlives a call.
func (w *world) plain(f func(uint64)) {
	at := func(p position) { f(uint64(p.lap) + uint64(p.slot)) }
	filler := func(w *filler) {
		at(w.at)
		f(uint64(w.spare))
	}
	if w.many != nil {
		filler(&w.many.writer.filler)
		f(w.many.behind)
		f(fingerprint(w.many.known))
		f(uint64(len(w.many.retired)))
		for _, p := range w.pollers {
			if p != nil {
				at(p.next)
				f(p.ready.armed)
			}
		}
		return
	}
	q := w.queue.queueForTest()
	at(q.at)
	f(uint64(q.spare))
	f(q.ready.armed)
	if d, ok := w.queue.(*OneToOne[int]); ok {
		filler(&d.writer.filler)
	}
	w.writers(func(s *sharedWriter[int]) { filler(&s.filler) })
	for _, h := range w.handles {
		if h != nil {
			filler(&h.writer.filler)
		}
	}
	if d, ok := w.queue.(*ManyToOne[int]); ok {
		f(uint64(len(d.released)))
		for _, node := range d.released {
			f(uint64(node))
		}
	}
}

// call makes a thread's call.
func (w *world) call(t *thread) {
	r := &t.result
	i := t.index
	var diode interface {
		Close()
		Len() int
		Cap() int
	} = w.queue
	var writer interface {
		Set(int) (int, bool)
		Evict() (int, bool)
	} = w.queue
	var reader interface {
		TryNext() (int, bool)
		Next() (int, bool)
		NextContext(context.Context) (int, bool)
	} = w.queue
	if w.many != nil {
		diode, writer, reader = w.many, w.many, w.pollers[i]
	}
	if h := w.handles[i]; h != nil {
		writer = h
	}
	switch t.call.letter {
	case 's':
		r.x, r.ok = writer.Set(int(t.call.arg))
	case 'e':
		r.x, r.ok = writer.Evict()
	case 't':
		r.x, r.ok = reader.TryNext()
	case 'n':
		r.x, r.ok = reader.Next()
	case 'x':
		r.x, r.ok = reader.NextContext(w.ctx)
	case 'c':
		diode.Close()
	case 'l':
		if n := diode.Len(); n < 0 || n > diode.Cap() {
			w.x.fail("Len returned %d", n)
		}
	case 'k':
		at := &w.ready().wakes.sent.location
		w.x.before(w.ctx, at, send)
		w.cancel()
		w.x.after(at, send, at.value, at.value)
	case 'w':
		w.handles[i] = w.queue.(*ManyToOne[int]).Writer()
	case 'r':
		w.handles[i].Release()
		w.handles[i] = nil
	case 'p':
		w.pollers[i] = w.many.NewPoller()
	case 'P':
		w.pollers[i] = w.many.NewPoller(FromNewest)
	case 'q':
		w.pollers[i].Close()
	case 'Q':
		w.pollers[1].Close()
	}
}

// ready is where the reader sleeps that k wakes.
func (w *world) ready() *eventcount {
	if w.many != nil {
		return &w.pollers[1].ready
	}
	return &w.queue.queueForTest().ready
}

// due reports whether there is something for a sleeping reader to return.
func (w *world) due(t *thread) bool {
	if w.many != nil {
		p := w.pollers[t.index]
		if p.place.Load()&closedPoller != 0 || p.Len() > 0 {
			return true
		}
	} else if w.queue.Len() > 0 {
		return true
	}
	_, head := w.ring().head()
	return head.closed()
}

func (w *world) ring() *ring {
	if w.many != nil {
		return &w.many.ring
	}
	return &w.queue.queueForTest().ring
}

// end checks what is left in the diode, when no thread can take another step.
func (w *world) end(j judge) {
	ok := func(same func(m *model) bool) bool {
		return slices.ContainsFunc(j.configs, func(c config) bool { return c.done == 0 && same(&c.model) })
	}
	x := w.x
	var arena *arena[int]
	var nodes []uint32
	if d := w.many; d != nil {
		for i, p := range w.pollers {
			if p == nil {
				continue
			}
			rest := drain(p)
			if !ok(func(m *model) bool { return slices.Equal(rest, m.rest(i)) }) {
				x.fail("poller %d has still got %v", i, rest)
			}
		}
		for {
			if _, ok := d.Evict(); !ok {
				break
			}
		}
		arena = &d.arena
		nodes = append(nodes, d.writer.spare)
		for _, r := range d.retired {
			if !r.free.Load() {
				x.fail("a retired node is not free")
			}
			nodes = append(nodes, r.node.get())
		}
		if open := len(*d.pollers.Load()); !ok(func(m *model) bool { return m.open() == open }) {
			x.fail("%d pollers are minded", open)
		}
		if n := d.asleep.Load(); int(n) != len(x.threads)-x.finished() {
			x.fail("%d pollers count as asleep", n)
		}
	} else {
		n := w.queue.Len()
		rest := drain(w.queue)
		if n != len(rest) || !ok(func(m *model) bool { return slices.Equal(rest, m.inside()) }) {
			x.fail("%d elements are left: %v", n, rest)
		}
		held := 0
		q := w.queue.queueForTest()
		arena = &q.arena
		nodes = append(nodes, q.spare)
		if d, ok := w.queue.(*OneToOne[int]); ok {
			nodes = append(nodes, d.writer.spare)
		}
		w.writers(func(s *sharedWriter[int]) {
			nodes = append(nodes, s.spare)
			held += int(s.held.Load())
		})
		if held != w.frozen {
			x.fail("%d writers are held", held)
		}
		for _, h := range w.handles {
			if h != nil {
				nodes = append(nodes, h.writer.spare)
			}
		}
		if d, ok := w.queue.(*ManyToOne[int]); ok {
			nodes = append(nodes, d.released...)
		}
	}
	for i := range w.ring().slots {
		slot := &w.ring().slots[i]
		nodes = append(nodes, state(slot.Load()).node())
	}
	slices.Sort(nodes)
	for i, node := range nodes {
		if int(node) != i {
			x.fail("a node has no owner, or two: %v", nodes)
			break
		}
		if v := arena.at(node).get(); v != 0 {
			x.fail("element %#x is out, but referenced", v)
		}
	}
	if n := int(arena.handed.Load()); n != len(nodes) {
		x.fail("%d nodes were handed out, %d have an owner", n, len(nodes))
	}
}

// A model is a sequential diode: a list of elements, and for each poller the number of the next one.
type model struct {
	list     [8]uint8
	out, in  uint8 // numbers of the next element to leave, and to be set
	closed   bool
	canceled bool
	next     [maxThreads]uint8
	pollers  uint8
	shut     uint8 // pollers that were closed
}

func (w *world) model() (m model) {
	for i, p := range w.pollers {
		if p != nil {
			m.pollers |= 1 << i
		}
	}
	return m
}

func (m *model) inside() (xs []int) {
	for i := m.out; i < m.in; i++ {
		xs = append(xs, int(m.list[i]))
	}
	return xs
}

// rest is what poller i has still got to read.
func (m *model) rest(i int) []int {
	if m.shut>>i&1 == 1 {
		return nil
	}
	c := *m
	c.out = max(m.out, m.next[i])
	return c.inside()
}

// open is the number of pollers that are not closed.
func (m *model) open() int { return bits.OnesCount8(m.pollers &^ m.shut) }

func (m *model) leave() int {
	m.out++
	return int(m.list[m.out-1])
}

// take lets a call of thread i take effect, if it can now.
func (m *model) take(w *world, i int, c call) (r result, ok bool) {
	one := 1
	if w.many != nil {
		one = 0 // There the pollers tell the alerter.
	}
	switch c.letter {
	case 's':
		full := int(m.in-m.out) == w.x.size
		if m.closed || full && w.x.policy == DropNewest {
			return result{x: int(c.arg), ok: true, alerted: 1}, true
		}
		if full {
			r = result{x: m.leave(), ok: true, alerted: one}
		}
		m.list[m.in] = c.arg
		m.in++
	case 'e':
		if m.out < m.in {
			r = result{x: m.leave(), ok: true, alerted: one}
		}
	case 't', 'n', 'x':
		if w.many != nil {
			r = m.read(i)
		} else if m.out < m.in {
			r = result{x: m.leave(), ok: true}
		}
		if !r.ok && !r.loose && !m.closed && c.letter != 't' && (c.letter != 'x' || !m.canceled) {
			return r, false // It waits.
		}
	case 'c':
		m.closed = true
	case 'k':
		m.canceled = true
	case 'p', 'P':
		m.pollers |= 1 << i
		m.shut &^= 1 << i
		m.next[i] = m.out
		if c.letter == 'P' && m.out < m.in {
			m.next[i] = m.in - 1
		}
	case 'q':
		m.shut |= 1 << i
	case 'Q':
		m.shut |= 1 << 1
	}
	return r, true
}

// read is a poller's read. One that is closed may have found out what it missed just before.
func (m *model) read(i int) (r result) {
	if m.next[i] < m.out {
		r.alerted = int(m.out - m.next[i])
	}
	if m.shut>>i&1 == 1 {
		r.loose = true
		return r
	}
	m.next[i] = max(m.next[i], m.out)
	if m.next[i] < m.in {
		r.x, r.ok = int(m.list[m.next[i]]), true
		m.next[i]++
	}
	return r
}

// scenarios are the calls that are explored, for each size and policy. Some have too many interleavings: of these, all with at
// most so many preemptions are explored.
var scenarios = []struct {
	kind  string
	calls string
	bound int
}{
	// The writer goes round, and the reader is lapped.
	{"OneToOne", "sssssss ttt", 0},
	{"OneToOne", "sses tt", 0},
	{"OneToOne", "ssss nn", 0},
	{"OneToOne", "ssl t c", 0},
	{"OneToOne", "ss nn c", 3},
	{"OneToOne", "ss xx k", 3},
	// Writers with handles.
	{"Writer", "ss ss tt", 4},
	{"Writer", "sss sss tt", 3},
	{"Writer", "s s s t", 3},
	{"Writer", "ss ss s tt", 2},
	{"Writer", "s s nn", 0},
	{"Writer", "ss s nn c", 2},
	{"Writer", "ss s xx k", 2},
	{"Writer", "ss e t", 0},
	{"Writer", "ss se tt", 3},
	{"Writer", "s se n", 3},
	{"Writer", "ss s c t", 3},
	{"Writer", "ss e c", 3},
	{"Writer", "s c nn c", 2},
	// Writers that borrow one, and handles that are taken and released.
	{"ManyToOne", "s s tt", 0},
	{"ManyToOne", "ss s tt", 3},
	{"ManyToOne", "s s s t", 2},
	{"ManyToOne", "se s t", 3},
	{"ManyToOne", "s s nn c", 2},
	{"ManyToOne", "wsr wsr t", 3},
	{"ManyToOne", "wsrwsr s t", 2},
	// The same, while others were descheduled inside of Set, and hold the writers that there are.
	{"Frozen", "s s", 0},
	{"Frozen", "ss s t", 2},
	// Pollers.
	{"OneToMany", "sss tt", 0},
	{"OneToMany", "ssssss ttt", 3},
	{"OneToMany", "ssses ttt", 3},
	{"OneToMany", "sss t t", 3},
	{"OneToMany", "ss nn", 0},
	{"OneToMany", "sss nnn", 3},
	{"OneToMany", "s n n", 3},
	{"OneToMany", "sss nn c", 3},
	{"OneToMany", "ss xx k", 3},
	{"OneToMany", "s n Q", 0},
	{"OneToMany", "ss n Q", 0},
	{"OneToMany", "ss t Q Q", 2},
	{"OneToMany", "s q q", 0},
	{"OneToMany", "sss nn Q", 3},
	{"OneToMany", "sss tt Q", 3},
	{"OneToMany", "sss pt", 0},
	{"OneToMany", "sss pt pt", 2},
	{"OneToMany", "ssse ptt Pt", 2},
	{"OneToMany", "sss tqpt c", 2},
	{"OneToMany", "sss ptq ptq", 2},
	{"Wrapping", "ssee pt", 0},
}

var (
	exploreSchedule = flag.String("explore.schedule", "", "follow this schedule of the scenario chosen with -run, step by step")
	exploreUpdate   = flag.Bool("explore.update", false, "write explored.md anew")
	exploreChanged  = flag.Bool("explore.changed", false, "the code was changed: neither explored.md nor schedules have to fit")
	exploreFor      = flag.Duration("explore.for", 0, "explore random scenarios for this long")
)

// Each execution of each scenario ends as a sequential diode can, whichever thread is never scheduled again.
func TestExplore(t *testing.T) {
	var table strings.Builder
	table.WriteString(exploredHead)
	all := !testing.Short()
	for _, sc := range scenarios {
		if testing.Short() && sc.bound > 1 {
			sc.bound--
		}
		for size := 1; size <= 3; size++ {
			for policy := DropOldest; policy <= DropNewest; policy++ {
				s := scenario{sc.kind, size, policy, sc.calls, sc.bound}
				if s.broadcasts() && policy == DropNewest {
					continue
				}
				ran := false
				t.Run(s.String(), func(t *testing.T) {
					ran = true
					x := explore(t, s)
					fmt.Fprintf(&table, "| %s | %d | %v | `%s` | %s | %d | %d | %d |\n",
						s.kind, s.size, s.policy, s.calls, s.interleavings(), len(x.visited), x.executions, x.longest['s'])
				})
				all = all && ran
			}
		}
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
		t.Errorf("%s is not what was explored now: run go test -tags explore -run Explore ./diodes -explore.update", file)
	}
}

const exploredHead = `# What is explored

Written by ` + "`go test -tags explore -run Explore ./diodes -explore.update`" + `. A word of the calls is a goroutine; ` +
	"`explore_test.go`" + ` says what the
letters mean. "all" is every interleaving, "≤ 3" every one with at most three preemptions.

| diode | size | policy | calls | interleavings | states | executions | longest Set, in steps |
| --- | --- | --- | --- | --- | --- | --- | --- |
`

// explore explores a scenario, or follows the schedule of the flag.
func explore(t *testing.T, sc scenario) *explorer {
	x := &explorer{scenario: sc}
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
		t.Logf("%s interleavings: %d states, %d executions", sc.interleavings(), len(x.visited), x.executions)
	}
	return x
}

func (s scenario) interleavings() string {
	if s.bound > 0 {
		return fmt.Sprint("≤ ", s.bound)
	}
	return "all"
}

// A schedule is written as the thread of each step, with the number of steps that it takes: 0*12,1*3,0.
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
				t.Fatalf("%s of the schedule: %v", run, err)
			}
		}
		for range n {
			schedule = append(schedule, c)
		}
	}
	return schedule
}

// Schedules of defects that were found, and of one that takes more preemptions than are explored. A change of the steps makes
// them unfit: then they have to be found anew, with the defect.
func TestExploreSchedules(t *testing.T) {
	for _, c := range []struct {
		name     string
		schedule string
		scenario
	}{
		{"a refused Set does not wake the reader", "2*3,0*5,1*4", scenario{"Writer", 1, DropNewest, "s s n", 0}},
		{"a Set that Close refuses does not wake the reader", "0*6,1*5,2*3,0*2", scenario{"OneToOne", 1, DropOldest, "ss nn c", 0}},
		{"a closed poller is not listed before it is woken", "1*6,0*6,2*6,0", scenario{"OneToMany", 1, DropOldest, "s n Q", 0}},
		{"a retired node is free before it is cleared", "0*7,1*4,0*17,1*3,2*6,0*14",
			scenario{"OneToMany", 1, DropOldest, "ssss t t", 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := &explorer{scenario: c.scenario}
			x.follow(parseSchedule(t, c.schedule))
			switch {
			case x.unfit && *exploreChanged:
				t.Skip(x.failure)
			case x.failure != "":
				t.Errorf("%s\n%s", x.failure, strings.Join(x.trace, "\n"))
			}
		})
	}
}

// Sleep sets leave out steps, but no state.
func TestExploreSleepSets(t *testing.T) {
	if *exploreChanged {
		t.Skip("the exploration may end early")
	}
	for _, sc := range []scenario{
		{"Writer", 1, DropOldest, "ss e t", 0},
		{"Frozen", 1, DropOldest, "s s", 0},
		{"OneToMany", 2, DropOldest, "ss n Q", 0},
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

// absence calls during before the first step that changes a location, as if the goroutine had been descheduled there.
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
func (*absence) anew(uint64)                             {}
func (*absence) pointer(any) uint64                      { return 0 }

// TestLateHint, for a writer that was descheduled after it had looked at the slot.
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

// Random scenarios, for as long as one likes.
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
		sc.calls, sc.bound = strings.Join(words, " "), 1+rand.IntN(4-len(words)/2)
		t.Run(sc.String(), func(t *testing.T) {
			x := explore(t, sc)
			states += len(x.visited)
			executions += x.executions
		})
	}
	t.Logf("%d scenarios, %d states, %d executions", explored, states, executions)
}
