// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The model of a queue: ManyToOne, and OneToOne as the case of one writer. Its goroutines are machines that take one atomic
// step at a time, in every possible order, and each state that can be reached is visited once. Beside the ring stands what it
// is to be, a plain first in, first out list; every operation happens on the list at the step at which it takes effect on
// the ring, and must come to the same result.
//
// It is kept in step with the code in two ways. Words and positions are those of the code, with all their methods. And each
// machine has one step for each access of the code to shared memory, named after it; the steps of tryFill, fill, past, moveHint,
// evict, oldest, head, close, tryNext, next, nextContext, arm, disarm, sleepContext and wake stand below in the order in
// which they stand there. Whoever changes an access in one of them changes its step here.
//
// What a goroutine does to cells between two steps belongs to one of these: it owns them, and that it does is checked.

const (
	modelSlots    = 3
	modelWriters  = 3
	maxModelNodes = modelSlots + modelWriters + 2
)

// pc is the step that a machine takes next.
type pc uint8

const (
	idle pc = iota
	setLoadWord
	setPastHint // past
	setSwap
	setHintLoad // moveHint
	setHintSwap
	wakeEpoch // wake
	wakeSend
	wakeMove
	evictLoadHead
	evictPastHint
	evictSearch // oldest
	evictLoadAgain
	evictSwap
	closeHint // head
	closeLoadWord
	closePastHint
	closeSwap
	nextLoadWord
	nextSwap
	nextArm
	nextDisarm
	nextSleep
	ended
)

// A machine is a goroutine. Each kind uses some of the fields.
type machine struct {
	pc    pc
	after pc // where wake returns to
	left  uint8
	at    position
	spare uint8
	old   word

	x       uint8 // the element that is to be set
	out     uint8 // the element that has to come out, by the list; 0 for none
	epoch   uint8
	lo, hi  uint8
	head    word
	second  bool // next looks for the second time, armed
	cancels uint8
}

const (
	theReader  = modelWriters
	theEvictor = modelWriters + 1
	theCloser  = modelWriters + 2
	machines   = modelWriters + 3
)

type modelState struct {
	words [modelSlots]word
	hint  uint64
	cells [maxModelNodes]uint8
	epoch uint8
	armed uint8
	wakes bool

	m [machines]machine

	// The list.
	list   [modelSlots]uint8
	length uint8
	closed bool
}

// A scenario is what the goroutines of a model do, and with which defect.
type scenario struct {
	size    int
	policy  DropPolicy
	sets    []uint8 // of each writer
	evicts  uint8
	closes  bool
	parks   bool  // the reader calls Next; else it calls TryNext again and again
	cancels uint8 // how often the context of a waiting reader may end
	defect  defect
}

func (sc scenario) String() string {
	name := fmt.Sprintf("%v size %d sets %v", sc.policy, sc.size, sc.sets)
	if sc.evicts > 0 {
		name += fmt.Sprintf(" evicts %d", sc.evicts)
	}
	if sc.closes {
		name += " closes"
	}
	if sc.parks {
		name += " parks"
	}
	if sc.cancels > 0 {
		name += fmt.Sprintf(" cancels %d", sc.cancels)
	}
	return name
}

// A defect is one that the model has to find.
type defect string

const (
	none              defect = ""
	epochBeforeWakeUp defect = "wake moves the epoch before it sends"
	wakeBeforePublish defect = "set looks for a sleeping reader before it publishes"
	wakeMovesAnyEpoch defect = "wake moves the epoch of a later arming"
	noSecondLook      defect = "next sleeps without looking again"
	hintBeforeSwap    defect = "set moves the hint before it has filled the position"
	lappedToTheSlot   defect = "a lapped reader goes on with the newest element"
	lappedIgnoresLap  defect = "a lapped reader takes what is in its slot"
	evictFirstEmpty   defect = "evict takes the ring for empty without looking at the head again"
	evictIgnoresOrder defect = "evict takes an element that is not the oldest"
	closeAnywhere     defect = "close marks a slot behind the next position to be filled"
	emptiedForgets    defect = "take forgets that the slot was closed"
	newestTooEarly    defect = "drop newest refuses without having found the next position"
)

type model struct {
	scenario
	failures []string
}

func (md *model) fail(s *modelState, format string, args ...any) {
	md.failures = append(md.failures, fmt.Sprintf(format, args...)+fmt.Sprintf("\n%+v", *s))
}

func (md *model) start() modelState {
	var s modelState
	node := 0
	for i := range md.size {
		s.words[i] = emptyWord(0, uint32(node))
		node++
	}
	for i := range s.m {
		s.m[i].pc = ended
		if md.owns(i) {
			s.m[i].spare = uint8(node)
			node++
		}
	}
	for i, n := range md.sets {
		s.m[i].left = n
		s.m[i].pc = idle
	}
	s.m[theReader].pc = nextLoadWord
	s.m[theReader].cancels = md.cancels
	if md.evicts > 0 {
		s.m[theEvictor].left, s.m[theEvictor].pc = md.evicts, idle
	}
	if md.closes {
		s.m[theCloser].pc = closeHint
	}
	return s
}

// explore visits every state that can be reached, or stops at the first failure.
func (md *model) explore() int {
	return explore(md.start(), exploration[modelState]{
		machines: machines,
		step:     md.step,
		rename:   md.rename,
		check:    md.checkState,
		end:      md.checkEnd,
		failed:   func() bool { return len(md.failures) > 0 },
	})
}

// rename numbers the nodes in the order in which they are found. What they are called makes no difference.
func (md *model) rename(s *modelState) {
	var names [maxModelNodes]uint8 // plus 1
	next := uint8(0)
	name := func(node uint8) uint8 {
		if names[node] == 0 {
			next++
			names[node] = next
		}
		return names[node] - 1
	}
	for i := range md.size {
		s.words[i] = s.words[i]&^nodeMask | word(name(uint8(s.words[i].node())))
	}
	for i := range s.m {
		m := &s.m[i]
		if md.owns(i) {
			m.spare = name(m.spare)
		}
	}
	for i := range s.m { // By now all nodes have a name.
		if m := &s.m[i]; m.old != 0 {
			m.old = m.old&^nodeMask | word(name(uint8(m.old.node())))
		}
	}
	if h := &s.m[theEvictor].head; *h != 0 {
		*h = *h&^nodeMask | word(name(uint8(h.node())))
	}
	cells := s.cells
	for node, as := range names {
		if as > 0 {
			s.cells[as-1] = cells[node]
		}
	}
}

// owns says whether machine i has a spare.
func (md *model) owns(i int) bool {
	return i < len(md.sets) || i == theReader || i == theEvictor && md.evicts > 0
}

// step lets machine i take its next step; other chooses the other one where there are two. It returns false if there is none.
func (md *model) step(s *modelState, i int, other bool) bool {
	m := &s.m[i]
	if other && (m.pc != nextSleep || m.cancels == 0) {
		return false
	}
	size := md.size
	switch m.pc {
	case idle:
		if m.left == 0 {
			return false
		}
		m.left--
		if i == theEvictor {
			m.pc = evictLoadHead
			return md.step(s, i, other)
		}
		m.x = uint8(i)<<4 | m.left + 1
		s.cells[m.spare] = m.x
		m.pc = setLoadWord
		if md.defect == hintBeforeSwap {
			m.pc = setHintLoad
		}
		if md.defect == wakeBeforePublish {
			m.pc, m.after = wakeEpoch, setLoadWord
		}
		return md.step(s, i, other) // What comes before the first access to shared memory belongs to it.

	case setLoadWord:
		m.old = s.words[m.at.slot]
		switch {
		case md.defect == newestTooEarly && m.old.full() && md.policy == DropNewest:
			md.refuse(s, m)
		case !m.old.awaits(m.at.lap):
			m.pc = setPastHint
		case m.old.closed() || m.old.full() && md.policy == DropNewest:
			md.refuse(s, m)
		default:
			m.pc = setSwap
		}
	case setPastHint:
		m.at = md.past(s, m.at, m.old)
		m.old = 0
		m.pc = setLoadWord
	case setSwap:
		if s.words[m.at.slot] != m.old {
			m.old = 0
			m.pc = setLoadWord
			break
		}
		s.words[m.at.slot] = fullWord(m.at.lap, uint32(m.spare))
		m.out = md.listSet(s, m.x)
		m.spare = uint8(m.old.node())
		m.at = m.at.next(size)
		switch {
		case md.defect == hintBeforeSwap || md.defect == wakeBeforePublish:
			md.setReturn(s, m)
		case m.at.slot%hintEvery == 0:
			m.pc = setHintLoad
		default:
			md.setWake(s, m)
		}
	case setHintLoad:
		to := m.at
		if md.defect == hintBeforeSwap {
			to = to.next(size)
		}
		if !ahead(to.pack(), s.hint) {
			md.setWake(s, m)
			if md.defect == hintBeforeSwap {
				m.pc = setLoadWord
			}
		} else {
			m.head = word(s.hint) // The hint that moveHint found.
			m.pc = setHintSwap
		}
	case setHintSwap:
		to := m.at
		if md.defect == hintBeforeSwap {
			to = to.next(size)
		}
		if s.hint == uint64(m.head) {
			s.hint = to.pack()
		}
		m.head = 0
		if md.defect == hintBeforeSwap {
			m.pc = setLoadWord
		} else {
			md.setWake(s, m)
		}
	case wakeEpoch:
		m.epoch = s.epoch
		switch {
		case m.epoch%2 == 0:
			md.wakeReturn(s, m)
		case md.defect == epochBeforeWakeUp:
			m.pc = wakeMove
		default:
			m.pc = wakeSend
		}
	case wakeSend:
		s.wakes = true
		m.pc = wakeMove
		if md.defect == epochBeforeWakeUp {
			md.wakeReturn(s, m)
		}
	case wakeMove:
		if s.epoch == m.epoch || md.defect == wakeMovesAnyEpoch && s.epoch%2 == 1 {
			s.epoch++
		}
		if md.defect == epochBeforeWakeUp {
			m.pc = wakeSend
		} else {
			md.wakeReturn(s, m)
		}

	case evictLoadHead:
		m.head = s.words[m.at.slot]
		if !m.head.awaits(m.at.lap) {
			m.pc = evictPastHint
		} else {
			m.lo, m.hi, m.old = 0, uint8(size), 0
			m.pc = evictSearch
		}
	case evictPastHint:
		m.at = md.past(s, m.at, m.head)
		m.head = 0
		m.pc = evictLoadHead
	case evictSearch:
		middle := (m.lo + m.hi) / 2
		p := m.at.lapBefore().plus(int(middle), size)
		if w := s.words[p.slot]; w.holds(p.lap) {
			m.hi, m.old = middle, w
			if md.defect == evictIgnoresOrder {
				m.lo = middle
			}
		} else {
			m.lo = middle + 1
		}
		switch {
		case m.lo < m.hi:
		case m.hi < uint8(size):
			m.pc = evictSwap
		case md.defect == evictFirstEmpty:
			md.listTake(s, 0)
			md.forget(m)
			m.pc = idle
		default:
			m.pc = evictLoadAgain
		}
	case evictLoadAgain:
		if s.words[m.at.slot] != m.head {
			md.forget(m)
			m.pc = evictLoadHead
			break
		}
		md.listTake(s, 0)
		md.forget(m)
		m.pc = idle
	case evictSwap:
		p := m.at.lapBefore().plus(int(m.hi), size)
		if s.words[p.slot] != m.old {
			md.forget(m)
			m.pc = evictLoadHead
			break
		}
		s.words[p.slot] = m.old.emptied(uint32(m.spare))
		m.spare = uint8(m.old.node())
		md.listTake(s, s.cells[m.spare])
		s.cells[m.spare] = 0
		md.forget(m)
		m.pc = idle

	case closeHint:
		m.at = unpackPosition(s.hint)
		m.pc = closeLoadWord
	case closeLoadWord:
		m.old = s.words[m.at.slot]
		switch {
		case md.defect == closeAnywhere:
			m.pc = closeSwap
		case !m.old.awaits(m.at.lap):
			m.pc = closePastHint
		default:
			m.pc = closeSwap
		}
	case closePastHint:
		m.at = md.past(s, m.at, m.old)
		m.pc = closeLoadWord
	case closeSwap:
		if s.words[m.at.slot] != m.old {
			md.forget(m)
			m.pc = closeHint
			break
		}
		s.words[m.at.slot] |= closedFlag
		s.closed = true
		md.forget(m)
		m.at = position{}
		if m.pc, m.after = wakeEpoch, ended; !md.parks {
			m.pc = ended
		}

	case nextLoadWord:
		defer func() {
			if m.pc != nextSwap {
				m.old = 0
			}
		}()
		m.old = s.words[m.at.slot]
		switch {
		case md.defect == lappedIgnoresLap && m.old.full():
			m.at.lap = m.old.lap()
			m.pc = nextSwap
		case m.old.lap() != m.at.lap:
			m.at = m.old.oldestLeft(m.at.slot, size)
			if md.defect == lappedToTheSlot {
				m.at = m.old.lastFilled(m.at.before(size).slot)
			}
		case !m.old.full():
			md.listTake(s, 0)
			switch {
			case m.old.closed():
				if !s.closed {
					md.fail(s, "next ended, but nobody closed")
				}
				m.pc = ended
			case !md.parks:
			case m.second:
				m.pc = nextSleep
			default:
				m.pc = nextArm
			}
		default:
			m.pc = nextSwap
		}
	case nextSwap:
		if s.words[m.at.slot] != m.old {
			m.old = 0
			m.pc = nextLoadWord
			break
		}
		s.words[m.at.slot] = m.old.emptied(uint32(m.spare))
		if md.defect == emptiedForgets {
			s.words[m.at.slot] &^= closedFlag
		}
		m.spare = uint8(m.old.node())
		m.at = m.at.next(size)
		md.listTake(s, s.cells[m.spare])
		s.cells[m.spare] = 0
		m.old = 0
		m.pc = nextLoadWord
		if m.second {
			m.pc = nextDisarm
		}
	case nextArm:
		s.armed = (s.armed + 1) | 1
		s.epoch = s.armed
		m.second = true
		m.pc = nextLoadWord
		if md.defect == noSecondLook {
			m.pc = nextSleep
		}
	case nextDisarm:
		if s.epoch == s.armed {
			s.epoch++
		}
		m.second = false
		m.pc = nextLoadWord
	case nextSleep:
		switch {
		case other: // The context has ended.
			m.cancels--
			m.pc = nextDisarm
		case s.wakes:
			s.wakes = false
			m.second = false
			m.pc = nextLoadWord
		default:
			return false
		}

	case ended:
		return false
	}
	return true
}

// setWake is what comes after the ring has the element.
func (md *model) setWake(s *modelState, m *machine) {
	m.pc, m.after, m.old = wakeEpoch, idle, 0
	if !md.parks {
		md.setReturn(s, m)
	}
}

// wakeReturn is what comes after wake.
func (md *model) wakeReturn(s *modelState, m *machine) {
	m.epoch = 0
	if m.pc = m.after; m.pc == idle {
		md.setReturn(s, m)
	}
}

// setReturn is the end of a set, after its last access to shared memory.
func (md *model) setReturn(s *modelState, m *machine) {
	got := s.cells[m.spare]
	s.cells[m.spare] = 0
	if got != m.out {
		md.fail(s, "set handed out %d, want %d", got, m.out)
	}
	md.forget(m)
	m.pc = idle
}

// forget clears what a machine does not need for its next operation, so that equal states are found equal.
func (*model) forget(m *machine) {
	m.old, m.head, m.x, m.out, m.epoch, m.lo, m.hi = 0, 0, 0, 0, 0, 0, 0
}

func (md *model) past(s *modelState, p position, old word) position {
	next := old.lastFilled(p.slot).next(md.size)
	if ahead(s.hint, next.pack()) {
		return unpackPosition(s.hint)
	}
	return next
}

// refuse is the end of a set that hands out its own element. That has to be right by the list at this moment.
func (md *model) refuse(s *modelState, m *machine) {
	if !s.closed && int(s.length) < md.size {
		md.fail(s, "set refused %d, but the ring is open and not full", m.x)
	}
	m.out = m.x
	md.setReturn(s, m)
}

// listSet puts x into the list, and returns what gives way.
func (md *model) listSet(s *modelState, x uint8) (out uint8) {
	if s.closed {
		md.fail(s, "set put %d into a closed ring", x)
	}
	if int(s.length) == md.size {
		if md.policy == DropNewest {
			md.fail(s, "set dropped the oldest")
		}
		out = md.pop(s)
	}
	s.list[s.length] = x
	s.length++
	return out
}

// listTake takes the oldest element out of the list, and compares it with what came out of the ring.
func (md *model) listTake(s *modelState, got uint8) {
	want := uint8(0)
	if s.length > 0 {
		want = s.list[0]
	}
	if want != got {
		md.fail(s, "took %d, want %d (0 is none)", got, want)
		return
	}
	if got != 0 {
		md.pop(s)
	}
}

func (*model) pop(s *modelState) uint8 {
	x := s.list[0]
	copy(s.list[:], s.list[1:])
	s.length--
	s.list[s.length] = 0
	return x
}

// checkState checks what has to be true at every moment, wherever goroutines have been descheduled.
func (md *model) checkState(s *modelState) {
	// Each node has one owner.
	owned, nodes := 0, md.size
	for i := range md.size {
		owned |= 1 << s.words[i].node()
	}
	for i, m := range s.m {
		if md.owns(i) {
			owned |= 1 << m.spare
			nodes++
		}
	}
	if owned != 1<<nodes-1 {
		md.fail(s, "a node has no owner, or two: %b", owned)
		return
	}

	// While all others stand still, the reader gets what is inside, in order: nobody hides anything.
	t := *s
	r := &t.m[theReader]
	if r.pc != ended {
		switch r.pc {
		case nextArm, nextDisarm, nextSleep:
			r.pc = nextLoadWord
		}
		r.second = false
		for range 4*md.size + 8 {
			if r.pc == nextArm || r.pc == ended {
				break
			}
			md.step(&t, theReader, false) // It compares with the list.
		}
		if len(md.failures) == 0 && t.length != 0 {
			md.fail(s, "the reader, alone, does not come to the end of the ring: %d left", t.length)
		}
	}

	// While all others stand still, a writer comes to the end of its Set or Evict: nobody blocks it. And if that has put an
	// element in, the reader does not sleep on, whatever a writer that stands still was about to do.
	for i := range s.m {
		if i == theReader {
			continue
		}
		t := *s
		m := &t.m[i]
		if m.pc == idle && !md.step(&t, i, false) {
			continue
		}
		before := t.length
		inserts := m.pc == setLoadWord || m.pc == setSwap
		steps := 0
		for ; m.pc != idle && m.pc != ended; steps++ {
			if steps > 8*md.size+16 {
				md.fail(s, "machine %d, alone, does not come to the end of what it does", i)
				break
			}
			md.step(&t, i, false)
		}
		if inserts && t.length > before && t.m[theReader].pc == nextSleep && !t.wakes {
			md.fail(s, "the reader sleeps although machine %d has put an element in", i)
		}
	}
}

// checkEnd checks a state in which nobody can move.
func (md *model) checkEnd(s *modelState) {
	if r := s.m[theReader]; r.pc != ended && (s.length > 0 || s.closed) {
		md.fail(s, "the reader sleeps, and nobody will wake it")
	}
	if md.closes && s.m[theReader].pc != ended {
		md.fail(s, "the reader did not end")
	}
	for i, m := range s.m {
		if i != theReader && m.pc != ended && (m.pc != idle || m.left > 0) {
			md.fail(s, "machine %d is stuck", i)
		}
	}
}

// Every interleaving of small scenarios.
func TestModel(t *testing.T) {
	for _, policy := range []DropPolicy{DropOldest, DropNewest} {
		for size := 1; size <= modelSlots; size++ {
			for _, sc := range []scenario{
				{sets: []uint8{4}, evicts: 1, closes: true},
				{sets: []uint8{3, 2}},
				{sets: []uint8{2, 2}, closes: true},
				{sets: []uint8{2, 2}, evicts: 1},
				{sets: []uint8{1, 1}, evicts: 1, closes: true},
				{sets: []uint8{2, 1, 1}},
				{sets: []uint8{1, 1, 1}, evicts: 1},
				{sets: []uint8{6}, parks: true, cancels: 2},
				{sets: []uint8{2, 1}, parks: true},
				{sets: []uint8{2}, parks: true, closes: true, cancels: 1},
				{sets: []uint8{1, 1}, parks: true, closes: true},
			} {
				sc.size, sc.policy = size, policy
				t.Run(sc.String(), func(t *testing.T) {
					t.Parallel()
					md := &model{scenario: sc}
					n := md.explore()
					for _, f := range md.failures {
						t.Error(f)
					}
					t.Logf("%d states", n)
				})
			}
		}
	}
}

// The model finds each of these defects.
func TestModelFindsDefects(t *testing.T) {
	for _, c := range []struct {
		scenario
		want string
	}{
		{scenario{defect: epochBeforeWakeUp, size: 1, sets: []uint8{2, 1}, parks: true}, "sleeps"},
		{scenario{defect: wakeMovesAnyEpoch, size: 2, sets: []uint8{2, 1}, parks: true}, "sleeps"},
		{scenario{defect: wakeBeforePublish, size: 1, sets: []uint8{1}, parks: true}, "sleeps"},
		{scenario{defect: noSecondLook, size: 1, sets: []uint8{1}, parks: true}, "sleeps"},
		{scenario{defect: hintBeforeSwap, size: 1, sets: []uint8{1, 1}}, ""},
		{scenario{defect: lappedToTheSlot, size: 3, sets: []uint8{4}}, "took"},
		{scenario{defect: lappedIgnoresLap, size: 2, sets: []uint8{3}}, "took"},
		{scenario{defect: evictFirstEmpty, size: 2, sets: []uint8{3}, evicts: 1}, "took 0"},
		{scenario{defect: evictIgnoresOrder, size: 3, sets: []uint8{3}, evicts: 1}, ""},
		{scenario{defect: closeAnywhere, size: 2, sets: []uint8{2}, closes: true}, ""},
		{scenario{defect: emptiedForgets, size: 1, sets: []uint8{2}, closes: true}, ""},
		{scenario{defect: newestTooEarly, size: 2, sets: []uint8{1, 1}, policy: DropNewest}, "not full"},
	} {
		t.Run(string(c.defect), func(t *testing.T) {
			md := &model{scenario: c.scenario}
			n := md.explore()
			if !slices.ContainsFunc(md.failures, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("not found in %d states: %v", n, md.failures)
			}
		})
	}
}
