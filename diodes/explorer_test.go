// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

//go:build explore

package diodes

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"math/bits"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// An explorer runs a scenario, in which a few threads call a real diode, in every possible order of their steps. A thread is a
// coroutine that stops before each step. One execution takes steps until the scenario has ended or it reaches a visited state. The next
// execution repeats the beginning of the previous one and then takes a different step.
//
// Two executions are in the same state if their memory is equal, each thread has made the same observations in its current call, and
// the judge has drawn the same conclusions from the returned calls. Equal states have equal continuations, so exploring each state once
// covers every interleaving. In addition, sleep sets skip steps that only reach a state by a second path (Godefroid, Partial-Order
// Methods for the Verification of Concurrent Systems, 1996, chapter 5).
//
// The explorer assumes no progress of other threads: a call that depends on a thread that is never scheduled again exceeds stepLimit,
// because the explorer also schedules the caller alone.
type explorer struct {
	scenario
	bound int  // maximum number of preemptions; 0: no limit
	whole bool // without sleep sets
	world *world

	threads  []*thread
	current  *thread // nil while the world is created or checked
	run      int
	memory   uint64 // hash of all values at all locations
	names    map[any]uint64
	named    uint64
	alone    int // number of steps outside of threads
	failure  string
	diverged bool     // the schedule to follow does not fit
	trace    []string // the steps in words, if tracing
	tracing  bool

	stack   []frame
	visited map[uint64]*visit

	executions int
	longest    map[byte]int // number of steps of the longest call of each kind
}

// stepLimit is the maximum number of steps of a call, far more than any call needs.
const stepLimit = 150

// A choice is the index of the thread that takes the next step, plus canceled if that is a receive that ends with its context.
type choice uint8

const (
	canceled   = choice(8)
	maxChoices = 16
)

// choices is a set of choices, one bit each.
type choices uint16

func (c choice) in(set choices) bool { return set>>c&1 == 1 }

// A step is a thread's access to a location. Steps that commute lead to the same state in either order.
type step struct {
	at    uint64
	wrote bool
	kinds uint8
	plain []step // the plain accesses before the step, which end with it, and those after it
}

// Apart from memory, these make the order of steps visible.
const (
	began    = 1 << iota // a call began with the step
	returned             // a call returned after it
	slept                // a thread fell asleep or was woken
	looked               // the judge looked at memory
	named                // the thread was the first to access a location, which is named differently in another order
)

func (a step) conflicts(b step) bool { return a.at == b.at && (a.wrote || b.wrote) }

func (a step) commutes(b step) bool {
	if a.conflicts(b) || (a.kinds|b.kinds)&(looked|named) != 0 {
		return false
	}
	for _, p := range a.plain {
		if slices.ContainsFunc(b.plain, p.conflicts) {
			return false
		}
	}
	return a.kinds == 0 || b.kinds == 0 || bits.OnesCount8(a.kinds|b.kinds) == 1
}

// A frame is a state on the path to the current state.
type frame struct {
	visit       *visit
	judge       judge
	choice      choice  // the one taken
	todo        choices // still to be taken
	asleep      choices // need not be taken
	steps       [maxChoices]step
	running     choices // of the thread that took the last step
	preemptions int     // number of switches so far from a thread that could have continued
}

// A visit is the record of a visited state.
type visit struct {
	asleep choices // asleep at every visit
	active bool    // on the stack
}

// A thread makes the calls of its script, one per letter.
type thread struct {
	index  int
	script string
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool

	// The next step.
	at   *location
	kind access
	ctx  context.Context

	cancel   bool // the next step is a receive that ends with its context
	step     step
	begins   bool // the next step is the first of a call
	began    bool // the last step was the first of a call
	returned bool // a call returned after the last step
	done     bool
	aborted  bool

	call   call
	result result
	ended  call   // the last call that returned
	got    result // the result of ended
	steps  int    // of call
	// Hashes of the current call. history: everything that it has observed. path: where it has stored, tried to swap, or slept. seen:
	// what it remembers, which is what it has observed since it last called forget, and the path up to then.
	history, path, seen uint64
	open                []step // plain accesses since the last step
}

type abort struct{}

func mix(a, b uint64) uint64 {
	h, l := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xe7037ed1a0b428db)
	return h ^ l + a
}

func (x *explorer) pointer(p any) uint64 {
	if reflect.ValueOf(p).IsNil() {
		return 0
	}
	name, ok := x.names[p]
	if !ok {
		name = x.name()
		x.names[p] = name
	}
	return name
}

func (t *thread) observe(what uint64) {
	t.history = mix(t.history, what)
	t.seen = mix(t.seen, what)
}

// name returns a name for a location or a pointer, derived from the first thread to access it and its observations by then. It is
// the same in all executions that lead to the same state.
func (x *explorer) name() uint64 {
	x.named++
	if t := x.current; t != nil {
		return mix(mix(t.history, uint64(t.index)), uint64(t.steps)<<32+uint64(len(t.open)))
	}
	return mix(x.named, 0)
}

func (x *explorer) put(at *location, value uint64) {
	for _, v := range [...]uint64{at.value, value} {
		if v != 0 {
			x.memory ^= mix(at.id, v)
		}
	}
	at.value = value
}

func (x *explorer) before(ctx context.Context, at *location, kind access) bool {
	t := x.current
	if t == nil || t.aborted {
		if x.alone++; x.alone > 10_000 {
			panic("a call without interference does not return")
		}
		return false
	}
	t.at, t.kind, t.ctx = at, kind, ctx
	if t.yield(struct{}{}); t.aborted {
		panic(abort{})
	}
	t.began, t.begins = t.begins, false
	t.step = step{plain: t.open}
	t.open = nil
	if t.steps++; t.steps > stepLimit {
		x.fail("%s has not returned after %d steps", t.call, t.steps)
		t.aborted = true
		panic(abort{})
	}
	return t.cancel
}

func (x *explorer) after(at *location, kind access, was, is uint64) {
	value := was
	first := uint8(0)
	if at.run != x.run {
		*at = location{run: x.run, id: x.name()}
		x.put(at, value)
		first = named
	}
	if kind != load && kind != plainRead {
		x.put(at, is)
	}
	t := x.current
	if t == nil || t.aborted {
		return
	}
	if x.tracing {
		x.traceStep(t, kind, was, is)
	}
	s := step{at: at.id, wrote: kind != load && kind != plainRead && (kind != swap || value != at.value), kinds: first}
	switch kind {
	case plainRead, plainWrite:
		for _, other := range x.threads {
			for _, o := range other.open {
				if other != t && o.conflicts(s) {
					x.fail("threads %d and %d access the same cell concurrently", other.index, t.index)
				}
			}
		}
		t.open = append(t.open, s)
		t.step.plain = append(t.step.plain, s)
		t.step.kinds |= first
		t.observe(mix(at.id, value))
		return
	case store:
		value = 0 // A store observes nothing.
	case send, receive:
		s.kinds |= slept
	}
	s.plain = t.step.plain
	t.step = s
	what := uint64(kind)<<1 | fingerprint(t.cancel)
	if kind != load {
		t.path = mix(t.path, mix(at.id, what))
	}
	if kind == receive {
		x.forget(0)
	}
	t.observe(mix(mix(at.id, value), what))
}

func (x *explorer) forget(keep uint64) {
	if t := x.current; t != nil {
		t.seen = mix(t.path, keep)
	}
}

func (x *explorer) fail(format string, args ...any) {
	if x.failure == "" {
		x.failure = fmt.Sprintf(format, args...)
	}
}

func (x *explorer) traceStep(t *thread, kind access, was, is uint64) {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var where string
	for {
		f, more := frames.Next()
		if file := filepath.Base(f.File); file != "sync_explore_test.go" || !more {
			where = fmt.Sprintf("%s:%d", file, f.Line)
			break
		}
	}
	names := [...]string{"load", "store", "swap", "lock", "send", "receive", "  read", "  write"}
	x.trace = append(x.trace, fmt.Sprintf("%d %v %-8s %-16s %#x → %#x", t.index, t.call, names[kind], where, was, is))
}

// start creates the world and brings each thread to its first step.
func (x *explorer) start() {
	x.executions++
	x.run++
	x.memory, x.named, x.alone, x.current, x.failure = 0, 0, 0, nil, ""
	clear(x.names)
	x.makeWorld()
	for _, t := range x.threads {
		*t = thread{index: t.index, script: t.script, resume: t.resume, stop: t.stop, yield: t.yield}
	}
	for _, t := range x.threads {
		x.resume(t)
	}
}

// open creates a thread for each word of the calls. The thread runs its script once per execution.
func (x *explorer) open() {
	scheduler = x
	x.visited = map[uint64]*visit{}
	x.names = map[any]uint64{}
	x.longest = map[byte]int{}
	for i, script := range strings.Fields(x.calls) {
		t := &thread{index: i, script: script}
		t.resume, t.stop = iter.Pull(func(yield func(struct{}) bool) {
			for t.yield = yield; yield(struct{}{}); {
				x.runScript(t)
			}
		})
		t.resume()
		x.threads = append(x.threads, t)
	}
}

func (x *explorer) runScript(t *thread) {
	defer func() {
		if r := recover(); r != nil && r != (abort{}) {
			x.fail("panic in %s: %v", t.call, r)
			t.aborted = true
		}
	}()
	for i, letter := range []byte(t.script) {
		t.seen = mix(uint64(i), 1)
		t.history, t.path, t.steps, t.begins = t.seen, t.seen, 0, true
		t.call = call{letter, uint8(t.index<<4 + strings.Count(t.script[:i], "s") + 1)}
		t.result = result{}
		x.call(t)
		t.ended, t.got, t.returned = t.call, t.result, true
		x.longest[letter] = max(x.longest[letter], t.steps)
	}
	t.seen, t.done = 0, true
}

func (x *explorer) resume(t *thread) {
	x.current = t
	t.resume()
	x.current = nil
}

// finished returns the number of threads that have made all their calls.
func (x *explorer) finished() (n int) {
	for _, t := range x.threads {
		if t.done {
			n++
		}
	}
	return n
}

// abort ends the current execution.
func (x *explorer) abort() {
	for _, t := range x.threads {
		if !t.done && !t.aborted {
			t.aborted = true
			x.resume(t)
		}
	}
}

func (x *explorer) close() {
	for _, t := range x.threads {
		t.stop()
	}
	scheduler = nil
}

// take takes the next step of a thread.
func (x *explorer) take(c choice) *thread {
	t := x.threads[c%canceled]
	t.cancel = c >= canceled
	t.began, t.returned = false, false
	x.resume(t)
	if t.began {
		t.step.kinds |= began
	}
	if t.returned {
		t.step.kinds |= returned
	}
	if !t.done && t.kind == receive {
		t.step.kinds |= slept
	}
	return t
}

// asleep reports whether a thread waits for a signal that has not been sent.
func (t *thread) asleep() bool {
	return !t.done && t.kind == receive && t.at.value == 0 && t.ctx.Err() == nil
}

// enabled returns the set of possible choices.
func (x *explorer) enabled() (set choices) {
	for i, t := range x.threads {
		switch {
		case t.done:
		case t.kind == lock:
			set |= choices(1&^t.at.value) << i
		case t.kind == receive:
			set |= choices(t.at.value&1) << i
			if t.ctx.Err() != nil {
				set |= 1 << (choice(i) + canceled)
			}
		default:
			set |= 1 << i
		}
	}
	return set
}

// key returns the hash of the current state.
func (x *explorer) key(j judge, preemptions int, last int) uint64 {
	h := mix(x.memory, j.hash)
	for _, t := range x.threads {
		open := uint64(0)
		for _, o := range t.open {
			open += mix(o.at, fingerprint(o.wrote))
		}
		h = mix(mix(h, t.seen), open+uint64(j.asleep[t.index])<<8+uint64(t.result.alerted))
	}
	x.world.plain(func(v uint64) { h = mix(h, v) })
	if x.bound > 0 {
		h = mix(h, uint64(preemptions*maxChoices+last))
	}
	return h
}

// explore runs executions until all are done or one fails. It returns the schedule of the failed one.
func (x *explorer) explore() []choice {
	x.open()
	defer x.close()
	for {
		x.execute(nil)
		if x.failure != "" {
			return x.schedule()
		}
		for {
			last := len(x.stack) - 1
			if last < 0 {
				return nil
			}
			f := &x.stack[last]
			f.asleep |= 1 << f.choice
			if f.todo != 0 {
				f.choose(f.todo)
				break
			}
			f.visit.active = false
			x.stack = x.stack[:last]
		}
	}
}

// schedule returns the schedule of the current execution.
func (x *explorer) schedule() []choice {
	var s []choice
	for _, f := range x.stack {
		s = append(s, f.choice)
	}
	return s
}

// choose takes the next of the choices in set.
func (f *frame) choose(set choices) {
	f.choice = choice(bits.TrailingZeros16(uint16(set)))
	f.todo &^= 1 << f.choice
}

// execute repeats the steps on the stack, of which the last one is new, and continues from there. If there is a schedule, it follows
// that as far as it goes.
func (x *explorer) execute(schedule []choice) {
	x.start()
	defer x.abort()
	var t *thread
	for i := range x.stack {
		t = x.take(x.stack[i].choice)
	}
	if len(x.stack) == 0 && !x.arrive(frame{judge: newJudge(x)}, -1, schedule) {
		return
	}
	for {
		f := &x.stack[len(x.stack)-1]
		if t == nil {
			t = x.take(f.choice)
		}
		if x.failure != "" {
			return
		}
		next := frame{judge: f.judge, preemptions: f.preemptions}
		next.judge.watch(x, t)
		if x.failure != "" {
			return
		}
		f.steps[f.choice] = t.step
		switch {
		case x.bound > 0 && f.running != 0 && !f.choice.in(f.running):
			next.preemptions++
		case x.bound == 0 && !x.whole:
			for rest := f.asleep; rest != 0; rest &= rest - 1 {
				if c := choice(bits.TrailingZeros16(uint16(rest))); f.steps[c].commutes(t.step) {
					next.asleep |= 1 << c
					next.steps[c] = f.steps[c]
				}
			}
		}
		last := t.index
		t = nil
		if !x.arrive(next, last, schedule) {
			return
		}
	}
}

// arrive pushes the current state and chooses its next step. It returns false if there is no step to take.
func (x *explorer) arrive(f frame, last int, schedule []choice) bool {
	enabled := x.enabled()
	for _, t := range x.threads {
		if !t.done && t.kind == lock && strings.IndexByte("sec", t.call.letter) >= 0 {
			x.fail("%s takes a lock", t.call)
			return false
		}
	}
	if len(schedule) > len(x.stack) {
		f.choice = schedule[len(x.stack)]
		if !f.choice.in(enabled) {
			x.diverged = true
			x.fail("the schedule does not fit: choice %d is not possible at step %d", f.choice, len(x.stack))
			return false
		}
		x.stack = append(x.stack, f)
		return true
	}
	if last >= 0 {
		f.running = enabled & (1<<last | 1<<(last+int(canceled)))
	}
	before, seen := choices(0), false
	if schedule == nil {
		key := x.key(f.judge, f.preemptions, last)
		f.visit, seen = x.visited[key]
		if !seen {
			f.visit = &visit{asleep: f.asleep}
			x.visited[key] = f.visit
		}
		if f.visit.active {
			x.fail("%s loops without any change", x.threads[last].call)
			return false
		}
		before = f.visit.asleep
		f.asleep &= before
		f.visit.asleep = f.asleep
	}
	f.todo = enabled &^ f.asleep
	if x.bound > 0 && f.preemptions == x.bound && f.running != 0 {
		f.todo = f.running
	}
	if seen {
		f.todo &= before
	}
	switch {
	case enabled == 0:
		if !seen {
			x.end(f.judge)
		}
		return false
	case f.todo == 0:
		return false
	}
	if f.visit != nil {
		f.visit.active = true
	}
	if same := f.todo & f.running; same != 0 {
		f.choose(same)
	} else {
		f.choose(f.todo)
	}
	x.stack = append(x.stack, f)
	return true
}

// end checks the final state, in which no thread can take another step.
func (x *explorer) end(j judge) {
	for _, t := range x.threads {
		switch {
		case t.done:
		case !t.asleep():
			x.fail("deadlock: thread %d waits for a lock", t.index)
		case x.world.due(t):
			x.fail("thread %d sleeps and will not be woken", t.index)
		}
	}
	if x.failure == "" {
		x.checkEnd(j)
	}
}

// A judge compares the results of calls with those of a sequential diode, the model. A call may take effect at any moment between its
// first and its last step. The judge keeps every state that the model can be in, given the results so far, along with the results of
// calls that have taken effect but not yet returned. If no state remains, no order of the calls explains their results (Lowe, Testing
// for linearizability, 2017: just-in-time linearization).
type judge struct {
	configs []config
	pending uint8
	calls   [maxThreads]call
	asleep  [maxThreads]uint8 // for each call, the threads that have slept since before it began, one bit each
	hash    uint64
}

type config struct {
	model   model
	done    uint8 // the pending calls that have taken effect, one bit each
	results [maxThreads]result
}

var seed = maphash.MakeSeed()

func newJudge(x *explorer) judge {
	j := judge{configs: []config{{model: x.world.model()}}}
	j.rehash()
	return j
}

func (j *judge) rehash() {
	j.hash = mix(uint64(j.pending), 0)
	for _, c := range j.configs {
		j.hash += maphash.Comparable(seed, c)
	}
	for t, c := range j.calls {
		if j.pending>>t&1 == 1 {
			j.hash = mix(j.hash, uint64(c.letter)<<8+uint64(c.arg))
		}
	}
}

// watch records the step that t has taken.
func (j *judge) watch(x *explorer, t *thread) {
	if t.step.kinds&slept != 0 { // Threads may have been woken.
		for _, other := range x.threads {
			if !other.asleep() {
				for i := range j.asleep {
					j.asleep[i] &^= 1 << other.index
				}
			}
		}
	}
	if t.began {
		j.pending |= 1 << t.index
		j.calls[t.index] = t.call
		if t.returned { // t.call may already be the next one.
			j.calls[t.index] = t.ended
		}
		j.asleep[t.index] = 0
		for _, other := range x.threads {
			if other.asleep() {
				j.asleep[t.index] |= 1 << other.index
			}
		}
	}
	if t.returned {
		j.returns(x, t)
	}
	if t.began || t.returned {
		j.rehash()
	}
}

// returns drops the configurations that do not explain the result of t's call.
func (j *judge) returns(x *explorer, t *thread) {
	var left []config
	known := map[config]bool{}
	var reach func(c config)
	reach = func(c config) {
		if known[c] {
			return
		}
		known[c] = true
		if c.done>>t.index&1 == 1 {
			if c.results[t.index].explains(t.got) {
				c.done &^= 1 << t.index
				c.results[t.index] = result{}
				if !slices.Contains(left, c) {
					left = append(left, c)
				}
			}
			return
		}
		for i := range x.threads {
			if (j.pending&^c.done)>>i&1 == 0 {
				continue
			}
			next := c
			if r, ok := next.model.take(x.world, i, j.calls[i]); ok {
				next.done |= 1 << i
				next.results[i] = r
				reach(next)
			}
		}
	}
	for _, c := range j.configs {
		reach(c)
	}
	if len(left) == 0 {
		x.fail("%s returned %v: no order of the calls explains it", t.ended, t.got)
		return
	}
	j.configs = left
	j.pending &^= 1 << t.index
	if strings.IndexByte("scQ", t.ended.letter) >= 0 {
		for _, other := range x.threads {
			wakes := t.ended.letter != 'Q' || other.index == 1 // Q closes that thread's poller only.
			if wakes && j.asleep[t.index]>>other.index&1 == 1 {
				t.step.kinds |= looked
				if x.world.due(other) {
					x.fail("thread %d still sleeps after %s", other.index, t.ended)
				}
			}
		}
	}
	j.asleep[t.index] = 0
}

// follow executes and traces a schedule.
func (x *explorer) follow(schedule []choice) {
	*x = explorer{scenario: x.scenario, bound: x.bound, tracing: true}
	x.open()
	defer x.close()
	x.execute(schedule)
}
