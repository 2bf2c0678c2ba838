// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The model of a OneToMany: a writer, two pollers, somebody who closes the first of them, and somebody who closes the diode. It
// is kept in step with the code as that of the queue is: words, positions and places are those of the code, and each machine
// has one step for each access to shared memory, named after it. What head and oldest find is taken as one step, as is an
// Evict but for its letGo: of the words, others than the writer change only the flag that says closed.

const (
	castSlots   = 2
	castPollers = 2
	castNodes   = castSlots + 1 + castPollers
)

type castPC uint8

const (
	castIdle castPC = iota
	castSetLoad
	castSetSwap
	castAsleep // wake
	castWakeList
	castWakeEpoch
	castWakeSend
	castWakeMove
	castLetGo
	castScan // retire
	castScanAdd
	castScanMark
	castScanSub
	castRelease
	castFree

	castJoinLook // NewPoller
	castJoin
	castPlace // tryNext
	castWord
	castPin
	castAgain
	castCopy
	castLeave
	castLeft
	castLeftFree
	castStoreClosed
	castRemove
	castArm // Next
	castCount
	castSleep
	castWoken
	castUncount
	castDisarm

	castCloseSwap // Close of the diode
	castCloseMark
	castCloseRemove
	castCloseWake
	castEnded
)

type castMachine struct {
	pc, after castPC
	script    string // of the writer: what is still to be done; s for Set, e for Evict
	at        position
	spare     uint8
	old       word
	place     uint64
	i         uint8 // the poller that is looked at
	list      uint8 // the pollers to look at
	lag       uint64
	epoch     uint8
	r         uint8 // plus 1: retired
	ended     bool
	second    bool
}

type castRetired struct {
	node uint8
	left uint8
	free bool
	used bool
}

const (
	castWriter   = castPollers
	castCloser   = castPollers + 1
	castLeaver   = castPollers + 2
	castMachines = castPollers + 3
)

type castState struct {
	words   [castSlots]word
	cells   [castNodes]uint8
	nodes   uint8
	place   [castPollers]uint64
	retired [castPollers]uint8 // of a poller: plus 1
	list    uint8
	known   uint8 // plus 1
	behind  uint64
	records [castPollers]castRetired
	asleep  uint8
	epoch   [castPollers]uint8
	armed   [castPollers]uint8
	wakes   [castPollers]bool
	m       [castMachines]castMachine

	// What is to be: elements are numbered from 1, and those above gone and up to set are inside.
	set, gone uint8
	closed    bool
}

type castScenario struct {
	size    int
	script  string
	pollers int
	parks   bool
	closes  bool // somebody closes the diode
	leaves  bool // somebody closes the first poller
	joins   bool // the last poller is made meanwhile
	defect  defect
}

func (sc castScenario) String() string {
	name := fmt.Sprintf("size %d %s pollers %d", sc.size, sc.script, sc.pollers)
	for _, is := range []struct {
		what string
		is   bool
	}{{" parks", sc.parks}, {" closes", sc.closes}, {" leaves", sc.leaves}, {" joins", sc.joins}} {
		if is.is {
			name += is.what
		}
	}
	return name
}

const (
	castNoSecondLook defect = "a poller copies without looking again"
	castNoMark       defect = "the writer uses a cell again that is being copied"
	castScanFirst    defect = "the writer looks for pollers before it replaces the element"
	castRemoveEarly  defect = "a poller that copies is not minded any more once it is closed"
	castStaleBehind  defect = "the writer does not look at pollers it has not seen"
	castCountFirst   defect = "a poller counts itself asleep after its second look"
	castSkipsOne     defect = "a lapped poller goes on one element too late"
	castFullIsGone   defect = "a poller takes the element of the lap before for one of a later lap"
)

type castModel struct {
	castScenario
	failures []string
}

func (md *castModel) fail(s *castState, format string, args ...any) {
	md.failures = append(md.failures, fmt.Sprintf(format, args...)+fmt.Sprintf("\n%+v", *s))
}

func (md *castModel) start() castState {
	var s castState
	for i := range md.size {
		s.words[i] = emptyWord(0, uint32(i))
	}
	s.nodes = uint8(md.size) + 1
	for i := range s.m {
		s.m[i].pc = castEnded
	}
	w := &s.m[castWriter]
	w.pc, w.script, w.spare = castIdle, md.script, uint8(md.size)
	for i := range md.pollers {
		s.m[i].pc = castPlace
		s.list |= 1 << i
	}
	if last := md.pollers - 1; md.joins {
		s.m[last].pc = castJoinLook
		s.list &^= 1 << last
	}
	if md.closes {
		s.m[castCloser].pc = castCloseSwap
	}
	if md.leaves {
		s.m[castLeaver].pc = castCloseMark
	}
	return s
}

func (md *castModel) explore() int {
	return explore(md.start(), exploration[castState]{
		machines: castMachines,
		step:     md.step,
		rename:   func(*castState) {},
		check:    md.check,
		end:      md.end,
		failed:   func() bool { return len(md.failures) > 0 },
	})
}

// element is the one that belongs at a position.
func (md *castModel) element(p position) uint8 {
	return uint8(int(p.lap/lapUnit)*md.size+p.slot) + 1
}

func (md *castModel) step(s *castState, i int, other bool) bool {
	if other || len(md.failures) > 0 {
		return false
	}
	m := &s.m[i]
	switch {
	case i < castPollers:
		return md.stepPoller(s, i, m)
	case m.pc >= castAsleep && m.pc <= castWakeMove:
		md.stepWake(s, m)
	case i == castWriter:
		return md.stepWriter(s, m)
	case m.pc == castEnded:
		return false
	default:
		md.stepCloser(s, m)
	}
	return true
}

func (md *castModel) stepWriter(s *castState, m *castMachine) bool {
	switch m.pc {
	case castIdle:
		if m.script == "" {
			return false
		}
		op := m.script[0]
		m.script = m.script[1:]
		if op == 's' {
			m.pc = castSetLoad
			if md.defect == castScanFirst {
				m.pc = castLetGo
			}
			return md.stepWriter(s, m)
		}
		if s.gone == s.set {
			return true
		}
		p := m.at.lapBefore().plus(md.size-int(s.set-s.gone), md.size)
		m.old = s.words[p.slot]
		s.words[p.slot] = m.old.emptied(uint32(m.spare))
		m.spare = uint8(m.old.node())
		s.gone++
		m.pc = castLetGo

	case castSetLoad:
		m.old = s.words[m.at.slot]
		s.cells[m.spare] = md.element(m.at)
		if m.old.closed() {
			md.refuse(s, m)
		} else {
			m.pc = castSetSwap
		}
	case castSetSwap:
		if s.words[m.at.slot] != m.old {
			md.refuse(s, m)
			break
		}
		s.words[m.at.slot] = fullWord(m.at.lap, uint32(m.spare))
		if s.closed {
			md.fail(s, "set put an element into a closed ring")
		}
		s.set++
		m.at = m.at.next(md.size)
		m.spare = uint8(m.old.node())
		m.after = castIdle
		if m.old.full() {
			s.gone++
			m.after = castLetGo
			if md.defect == castScanFirst {
				md.cleared(s, m.spare)
				m.after = castIdle
			}
		}
		m.pc = castAsleep
		if !md.parks {
			m.pc = m.after
		}

	case castLetGo: // The element that left is number gone.
		if md.defect == castScanFirst {
			m.pc = castSetLoad
			break
		}
		p := md.position(s.gone)
		switch {
		case s.known == s.list+1 && ahead61(s.behind, copies(p)),
			md.defect == castStaleBehind && s.known != 0 && ahead61(s.behind, copies(p)):
			md.cleared(s, m.spare)
			m.pc = castIdle
		default:
			m.list, m.i, m.r = s.list, 0, 0
			m.lag = 0
			m.pc = castScan
		}
	case castScan:
		for m.i < castPollers && m.list&(1<<m.i) == 0 {
			m.i++
		}
		if m.i == castPollers {
			md.scanned(s, m)
			break
		}
		m.place = s.place[m.i]
		if m.place&^closedPoller == copies(md.position(s.gone))|copying && md.defect != castNoMark {
			m.pc = castScanAdd
			break
		}
		md.nextPlace(m, m.place)
	case castScanAdd:
		if m.r == 0 {
			m.r = md.freeRecord(s, m)
		}
		s.records[m.r-1].left++
		s.retired[m.i] = m.r
		m.pc = castScanMark
	case castScanMark:
		if s.place[m.i] != m.place {
			m.pc = castScanSub
			break
		}
		s.place[m.i] |= marked
		m.pc = castScan
		md.nextPlace(m, m.place)
	case castScanSub:
		s.records[m.r-1].left--
		m.pc = castScan
	case castRelease:
		r := &s.records[m.r-1]
		if s.cells[r.node] != s.gone {
			md.fail(s, "set handed out %d, want %d", s.cells[r.node], s.gone)
		}
		r.left--
		m.pc = castFree
		if r.left > 0 {
			m.pc = castIdle
		}
	case castFree:
		r := &s.records[m.r-1]
		md.cleared(s, r.node)
		r.free = true
		m.pc = castIdle
	}
	if m.pc == castIdle {
		m.old, m.place, m.i, m.list, m.r = 0, 0, 0, 0, 0
	}
	return true
}

// position is that of element x.
func (md *castModel) position(x uint8) position {
	return position{}.plusAny(int(x)-1, md.size)
}

func (p position) plusAny(n, size int) position {
	return position{lap: p.lap + word(n/size)*lapUnit, slot: p.slot + n%size}
}

func (*castModel) nextPlace(m *castMachine, place uint64) {
	m.lag = max(m.lag, copies(m.at)-place&^placeFlags)
	m.i++
}

// scanned is the end of retire and of letGo.
func (md *castModel) scanned(s *castState, m *castMachine) {
	at := copies(m.at)
	s.behind = at - min(m.lag, at-copies(md.position(s.gone)))
	m.lag = 0
	if m.r == 0 {
		s.known = m.list + 1
		md.cleared(s, m.spare)
		m.pc = castIdle
	} else {
		m.pc = castRelease
	}
}

// freeRecord is freeNode, and the exchange of the spare.
func (md *castModel) freeRecord(s *castState, m *castMachine) uint8 {
	for i := range s.records {
		r := &s.records[i]
		if !r.used {
			*r = castRetired{node: s.nodes, free: true, used: true}
			if s.nodes++; s.nodes > castNodes {
				md.fail(s, "no node left")
			}
		}
		if r.free {
			r.node, m.spare = m.spare, r.node
			r.left, r.free = 1, false
			return uint8(i) + 1
		}
	}
	md.fail(s, "more retired nodes than pollers")
	return 1
}

// cleared is the clearing of a cell whose element has left. Nobody may be copying it.
func (md *castModel) cleared(s *castState, node uint8) {
	for i := range md.pollers {
		if m := &s.m[i]; m.pc == castCopy && uint8(m.old.node()) == node {
			md.fail(s, "cell %d is cleared while poller %d copies it", node, i)
		}
	}
	s.cells[node] = 0
}

func (md *castModel) refuse(s *castState, m *castMachine) {
	if !s.closed {
		md.fail(s, "set refused, but the ring is open")
	}
	s.cells[m.spare] = 0
	m.pc = castIdle
}

func (md *castModel) stepWake(s *castState, m *castMachine) {
	switch m.pc {
	case castAsleep:
		m.pc = castWakeList
		if s.asleep == 0 {
			m.pc = m.after
		}
	case castWakeList:
		m.list, m.i = s.list, 0
		m.pc = castWakeEpoch
	case castWakeEpoch:
		for m.i < castPollers && m.list&(1<<m.i) == 0 {
			m.i++
		}
		if m.i == castPollers {
			m.i, m.list, m.epoch = 0, 0, 0
			m.pc = m.after
			break
		}
		if m.epoch = s.epoch[m.i]; m.epoch%2 == 0 {
			m.i++
		} else {
			m.pc = castWakeSend
		}
	case castWakeSend:
		s.wakes[m.i] = true
		m.pc = castWakeMove
	case castWakeMove:
		if s.epoch[m.i] == m.epoch {
			s.epoch[m.i]++
		}
		m.i++
		m.pc = castWakeEpoch
	}
}

func (md *castModel) stepPoller(s *castState, i int, m *castMachine) bool {
	switch m.pc {
	case castJoinLook:
		m.at = md.position(s.gone + 1)
		m.pc = castJoin
	case castJoin:
		s.place[i] = copies(m.at)
		s.list |= 1 << i
		m.pc = castPlace

	case castPlace:
		m.place = s.place[i]
		m.pc = castWord
		if m.place&closedPoller != 0 {
			md.noneFor(m, true)
		}
	case castWord:
		m.old = s.words[m.at.slot]
		switch {
		case m.old.awaits(m.at.lap) && (md.defect != castFullIsGone || !m.old.full()):
			if md.element(m.at) != s.set+1 {
				md.fail(s, "poller %d finds nothing at %d, but %d were set", i, md.element(m.at), s.set)
			}
			if m.old.closed() && !s.closed {
				md.fail(s, "poller %d ended, but nobody closed", i)
			}
			md.noneFor(m, m.old.closed())
		case !m.old.holds(m.at.lap):
			to := m.old.oldestLeft(m.at.slot, md.size)
			if md.defect == castSkipsOne {
				to = to.next(md.size)
			}
			if md.element(to) <= md.element(m.at) || md.element(to) > s.gone+1 {
				md.fail(s, "poller %d skips from %d to %d, but %d are gone", i, md.element(m.at), md.element(to), s.gone)
			}
			m.at, m.place = to, 0
			m.pc = castPlace
		default:
			m.pc = castPin
		}
		if m.pc != castPin {
			m.old = 0
		}
	case castPin:
		if s.place[i] != m.place {
			m.old, m.place = 0, 0
			m.pc = castPlace
			break
		}
		s.place[i] = copies(m.at) | copying
		m.place = 0
		m.pc = castAgain
		if md.defect == castNoSecondLook {
			m.pc = castCopy
		}
	case castAgain:
		m.old = s.words[m.at.slot]
		m.pc = castLeave
		if m.old.holds(m.at.lap) {
			m.pc = castCopy
		}
	case castCopy:
		if got := s.cells[m.old.node()]; got != md.element(m.at) {
			md.fail(s, "poller %d copied %d, want %d", i, got, md.element(m.at))
		}
		m.at = m.at.next(md.size)
		m.pc = castLeave
	case castLeave:
		m.place = s.place[i]
		s.place[i] = copies(m.at)
		m.old = 0
		md.left(m, castLeave)
	case castLeft:
		r := &s.records[s.retired[i]-1]
		if r.left--; r.left == 0 {
			m.r = s.retired[i]
			m.pc = castLeftFree
		} else {
			md.left(m, castLeft)
		}
		s.retired[i] = 0
	case castLeftFree:
		r := &s.records[m.r-1]
		md.cleared(s, r.node)
		r.free = true
		m.r = 0
		md.left(m, castLeft)
	case castStoreClosed:
		s.place[i] |= closedPoller
		m.pc = castRemove
	case castRemove:
		s.list &^= 1 << i
		m.place = 0
		md.left(m, castRemove)

	case castArm:
		s.armed[i] = (s.armed[i] + 1) | 1
		s.epoch[i] = s.armed[i]
		m.second = true
		m.pc = castCount
		if md.defect == castCountFirst {
			m.pc = castPlace
		}
	case castCount:
		s.asleep++
		m.pc = castPlace
		if md.defect == castCountFirst {
			m.pc = castSleep
		}
	case castSleep:
		if !s.wakes[i] {
			return false
		}
		s.wakes[i] = false
		m.pc = castWoken
	case castWoken:
		s.asleep--
		m.second = false
		m.pc = castPlace
	case castUncount:
		s.asleep--
		m.pc = castDisarm
	case castDisarm:
		if s.epoch[i] == s.armed[i] {
			s.epoch[i]++
		}
		m.second = false
		m.pc = castPlace
		if m.ended {
			m.pc = castEnded
		}
	default:
		return false
	}
	return true
}

// noneFor is what follows when there is no element for a poller.
func (md *castModel) noneFor(m *castMachine, ended bool) {
	m.ended, m.old, m.place = ended, 0, 0
	switch {
	case m.ended && m.second:
		m.pc = castUncount
	case m.ended:
		m.pc = castEnded
	case !md.parks:
		m.pc = castPlace
	case m.second && md.defect == castCountFirst:
		m.pc = castCount
	case m.second:
		m.pc = castSleep
	default:
		m.pc = castArm
	}
}

// left is what follows in leave, and after it.
func (md *castModel) left(m *castMachine, done castPC) {
	switch {
	case done < castLeft && m.place&marked != 0:
		m.pc = castLeft
	case done < castRemove && m.place&closedPoller != 0:
		m.pc = castStoreClosed
	case m.ended && m.second:
		m.place, m.pc = 0, castUncount
	case m.ended:
		m.place, m.pc = 0, castEnded
	case m.second: // It has got an element, or has to look again, which is no different.
		m.place, m.pc = 0, castUncount
	default:
		m.place, m.pc = 0, castPlace
	}
}

func (md *castModel) stepCloser(s *castState, m *castMachine) {
	switch m.pc {
	case castCloseSwap:
		s.words[md.position(s.set+1).slot] |= closedFlag
		s.closed = true
		m.after = castEnded
		m.pc = castWakeList
		if !md.parks {
			m.pc = castEnded
		}
	case castCloseMark:
		m.place = s.place[0]
		s.place[0] |= closedPoller
		m.pc = castCloseWake
		if m.place&copying == 0 || md.defect == castRemoveEarly {
			m.pc = castCloseRemove
		}
	case castCloseRemove:
		s.list &^= 1
		m.pc = castCloseWake
	case castCloseWake:
		m.place = 0
		m.list, m.i = 1, 0
		m.pc, m.after = castWakeEpoch, castEnded
		if !md.parks {
			m.pc = castEnded
		}
	}
}

// check checks what has to be true at every moment: a poller that stands still stops nobody, and the writer, alone, comes to
// the end of what it does.
func (md *castModel) check(s *castState) {
	for _, i := range []int{castWriter, castCloser, castLeaver} {
		t := *s
		for steps := 0; t.m[i].pc != castIdle && t.m[i].pc != castEnded; steps++ {
			if steps > 40 {
				md.fail(s, "machine %d, alone, does not come to the end of what it does", i)
				return
			}
			md.step(&t, i, false)
		}
		if i == castWriter && md.parks && len(md.failures) == 0 && t.set > s.set {
			for p := range md.pollers {
				if m := &t.m[p]; m.pc == castSleep && !t.wakes[p] && s.list&(1<<p) != 0 {
					md.fail(s, "poller %d sleeps although an element was set", p)
				}
			}
		}
	}
}

// end checks a state in which nobody can move.
func (md *castModel) end(s *castState) {
	for i := range md.pollers {
		m := &s.m[i]
		left := md.leaves && i == 0
		if m.pc != castEnded && (s.closed || left || md.element(m.at) <= s.set) {
			md.fail(s, "poller %d sleeps, and nobody will wake it", i)
		}
		if left && s.list&1 != 0 {
			md.fail(s, "a closed poller is still minded")
		}
	}
	if s.asleep != 0 && !md.parks {
		md.fail(s, "%d count as asleep", s.asleep)
	}
	for _, r := range s.records {
		if r.used && (!r.free || s.cells[r.node] != 0) {
			md.fail(s, "a node was not given back: %+v", r)
		}
	}
	inside := 0
	for node := range s.cells {
		if s.cells[node] != 0 {
			inside++
		}
	}
	if inside != int(s.set-s.gone) {
		md.fail(s, "%d elements are referenced, want %d", inside, s.set-s.gone)
	}
}

// Every interleaving of small scenarios.
func TestOneToManyModel(t *testing.T) {
	for size := 1; size <= castSlots; size++ {
		for _, sc := range []castScenario{
			{script: "sss", pollers: 2, closes: true},
			{script: "ssess", pollers: 1, closes: true},
			{script: "sses", pollers: 2},
			{script: "ss", pollers: 2, leaves: true, closes: true},
			{script: "ssss", pollers: 1, leaves: true},
			{script: "sss", pollers: 2, joins: true},
			{script: "sss", pollers: 1, parks: true, closes: true},
			{script: "s", pollers: 2, parks: true, closes: true},
			{script: "ss", pollers: 1, parks: true, leaves: true, closes: true},
		} {
			sc.size = size
			t.Run(sc.String(), func(t *testing.T) {
				t.Parallel()
				md := &castModel{castScenario: sc}
				n := md.explore()
				for _, f := range md.failures {
					t.Error(f)
				}
				t.Logf("%d states", n)
			})
		}
	}
}

// The model finds each of these defects.
func TestOneToManyModelFindsDefects(t *testing.T) {
	for _, c := range []struct {
		castScenario
		want string
	}{
		{castScenario{defect: castNoSecondLook, size: 1, script: "sss", pollers: 1, closes: true}, "copie"},
		{castScenario{defect: castNoMark, size: 1, script: "ss", pollers: 1, closes: true}, "is cleared while"},
		{castScenario{defect: castScanFirst, size: 1, script: "ss", pollers: 1, closes: true}, "is cleared while"},
		{castScenario{defect: castRemoveEarly, size: 1, script: "ss", pollers: 1, closes: true, leaves: true}, "is cleared while"},
		{castScenario{defect: castStaleBehind, size: 1, script: "sss", pollers: 1, joins: true}, "is cleared while"},
		{castScenario{defect: castCountFirst, size: 1, script: "s", pollers: 1, parks: true}, "sleeps"},
		{castScenario{defect: castSkipsOne, size: 2, script: "sss", pollers: 1, closes: true}, "skips"},
		{castScenario{defect: castFullIsGone, size: 1, script: "s", pollers: 1, closes: true}, "skips"},
	} {
		t.Run(string(c.defect), func(t *testing.T) {
			md := &castModel{castScenario: c.castScenario}
			n := md.explore()
			if !slices.ContainsFunc(md.failures, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("not found in %d states: %v", n, md.failures)
			}
		})
	}
}
