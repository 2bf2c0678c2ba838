// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
	"testing"
)

type setter[T any] interface {
	Set(x T) (dropped T, ok bool)
	Evict() (T, bool)
}

type reader[T any] interface {
	TryNext() (T, bool)
	Next() (T, bool)
	NextContext(context.Context) (T, bool)
}

type container interface {
	Close()
	Len() int
	Cap() int
}

// A subject is a diode, its writer and reader, and their internals.
type subject[T any] struct {
	setter[T]
	reader[T]
	container
	ring   *ring
	arena  *arena[T]
	writer *writer[T]
	ready  *eventcount
	queue  *queue[T]     // nil for a OneToMany
	shared *ManyToOne[T] // nil for others
	many   *OneToMany[T] // nil for others
}

// queues lists the ways to set into a diode with one reader; kinds lists all ways.
var (
	queues = []string{"OneToOne", "ManyToOne", "Writer"}
	kinds  = append(queues[:3:3], "OneToMany")
)

func newKind[T any](kind string, size int, alerter Alerter, policy ...DropPolicy) (d subject[T]) {
	switch kind {
	case "OneToOne":
		o := NewOneToOne[T](size, alerter, policy...)
		d.setter, d.writer, d.queue = o, &o.writer, &o.queue
	case "ManyToOne", "Writer":
		m := NewManyToOne[T](size, alerter, policy...)
		d.setter, d.writer, d.queue, d.shared = m, &m.writers.writer, &m.queue, m
		if kind == "Writer" {
			w := m.Writer()
			d.setter, d.writer = w, &w.writer
		}
	case "OneToMany":
		d = newMany[T](size, alerter)
		p := d.many.NewPoller()
		d.reader, d.ready = p, &p.ready
		return d
	}
	q := d.queue
	d.reader, d.container, d.ring, d.arena, d.ready = q, q, &q.ring, &q.arena, &q.ready
	return d
}

// newMany returns a OneToMany without a reader.
func newMany[T any](size int, alerter Alerter) subject[T] {
	m := NewOneToMany[T](size, alerter)
	return subject[T]{setter: m, container: m, ring: &m.ring, arena: &m.arena, writer: &m.writer, many: m}
}

func forKinds(t *testing.T, kinds []string, test func(t *testing.T, kind string)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, kind) })
	}
}

// A scenario is a diode and the calls of its threads. Each thread is a word, whose letters are its calls:
//
//	s  Set of the thread's next element
//	e  Evict
//	t  TryNext
//	n  Next
//	x  NextContext with the context that k cancels
//	c  Close
//	l  Len
//	w  Writer; the thread then sets and evicts with it
//	r  Release
//	f  hold all existing shared writers for good, as if their goroutines were descheduled inside Set
//	p  NewPoller; P: from the newest. A thread that reads a OneToMany without starting with p or P has a poller from the start.
//	q  Close of the thread's poller; Q: of the second thread's poller
type scenario struct {
	// kind is the type of the diode, or Writer: a ManyToOne whose writers have handles; Frozen: a ManyToOne whose writers are all
	// held; Wrapping: a OneToMany in the last lap before places wrap.
	kind   string
	size   int
	policy DropPolicy
	calls  string // one word per thread
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

// A result holds the results of a call.
type result struct {
	x       int
	ok      bool
	alerted int
	loose   bool // only in the model: alerted is an upper bound
}

func (r result) String() string { return fmt.Sprintf("%d, %t, and %d alerted", r.x, r.ok, r.alerted) }

const maxThreads = 6

// A world is the diode of a scenario, with the handles and pollers of its threads.
type world struct {
	scenario
	subject[int]
	handles [maxThreads]*Writer[int]
	pollers [maxThreads]*Poller[int]
	ctx     context.Context
	cancel  context.CancelFunc
	frozen  int // number of writers held for good
}

// newWorld creates the world of a scenario. Its diode is empty, in lap.
func newWorld(sc scenario, lap state, alerter Alerter) *world {
	w := &world{scenario: sc}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	switch sc.kind {
	case "OneToMany", "Wrapping":
		w.subject = newMany[int](sc.size, alerter)
	case "OneToOne":
		w.subject = newKind[int]("OneToOne", sc.size, alerter, sc.policy)
	default:
		w.subject = newKind[int]("ManyToOne", sc.size, alerter, sc.policy)
		if sc.kind == "Writer" {
			w.shared.Writer().Release() // The first handle gets a released node.
		}
	}
	if sc.kind == "Wrapping" {
		lap = (1<<38 - 1) * lapUnit
	}
	if lap != 0 {
		w.writer.at = w.ring.skipTo(lap)
		if w.queue != nil {
			w.queue.at = w.writer.at
		}
	}
	for i, script := range strings.Fields(sc.calls) {
		switch {
		case sc.kind == "Writer" && strings.IndexByte("se", script[0]) >= 0:
			w.handles[i] = w.shared.Writer()
			w.writer = &w.handles[i].writer
		case w.many != nil && strings.IndexByte("tnxq", script[0]) >= 0:
			w.pollers[i] = w.many.NewPoller()
		}
	}
	if sc.kind == "Frozen" {
		w.freeze()
	}
	return w
}

func (w *world) freeze() {
	for s := &w.shared.writers; s != nil; s = s.next.Load() {
		s.held.Store(1)
		w.frozen++
	}
}

// call makes a call for thread i.
func (w *world) call(i int, c call) (x int, ok bool) {
	writer, reader := w.setter, w.reader
	if h := w.handles[i]; h != nil {
		writer = h
	}
	if p := w.pollers[i]; p != nil {
		reader = p
	}
	switch c.letter {
	case 's':
		return writer.Set(int(c.arg))
	case 'e':
		return writer.Evict()
	case 't':
		return reader.TryNext()
	case 'n':
		return reader.Next()
	case 'x':
		return reader.NextContext(w.ctx)
	case 'c':
		w.Close()
	case 'k':
		w.cancel()
	case 'w':
		w.handles[i] = w.shared.Writer()
	case 'r':
		w.handles[i].Release()
		w.handles[i] = nil
	case 'f':
		w.freeze()
	case 'p':
		w.pollers[i] = w.many.NewPoller()
	case 'P':
		w.pollers[i] = w.many.NewPoller(FromNewest)
	case 'q':
		w.pollers[i].Close()
	case 'Q':
		w.pollers[1].Close()
	}
	return 0, false
}

// A model is a sequential diode: the elements set so far and, for each poller, the index of the next one.
type model struct {
	list     string // one byte per element
	out      int    // index of the next element to leave
	closed   bool
	canceled bool
	next     [maxThreads]int
	pollers  uint8
	shut     uint8 // closed pollers
}

func (w *world) model() (m model) {
	for i, p := range w.pollers {
		if p != nil {
			m.pollers |= 1 << i
		}
	}
	return m
}

func (m *model) inside() string { return m.list[m.out:] }

// rest returns the elements that poller i has yet to read.
func (m *model) rest(i int) string {
	if m.shut>>i&1 == 1 {
		return ""
	}
	return m.list[max(m.out, m.next[i]):]
}

// open returns the number of open pollers.
func (m *model) open() int { return bits.OnesCount8(m.pollers &^ m.shut) }

func (m *model) leave() int {
	m.out++
	return int(m.list[m.out-1])
}

// take applies a call of thread i. It returns false if the call has to wait.
func (m *model) take(w *world, i int, c call) (r result, ok bool) {
	one := 1
	if w.many != nil {
		one = 0 // Its pollers alert instead.
	}
	empty := m.out == len(m.list)
	switch c.letter {
	case 's':
		full := len(m.list)-m.out == w.size
		if m.closed || full && w.policy == DropNewest {
			return result{x: int(c.arg), ok: true, alerted: 1}, true
		}
		if full {
			r = result{x: m.leave(), ok: true, alerted: one}
		}
		m.list += string([]byte{c.arg})
	case 'e':
		if !empty {
			r = result{x: m.leave(), ok: true, alerted: one}
		}
	case 't', 'n', 'x':
		if w.many != nil {
			r = m.read(i)
		} else if !empty {
			r = result{x: m.leave(), ok: true}
		}
		if !r.ok && !r.loose && !m.closed && c.letter != 't' && (c.letter != 'x' || !m.canceled) {
			return r, false
		}
	case 'c':
		m.closed = true
	case 'k':
		m.canceled = true
	case 'p', 'P':
		m.pollers |= 1 << i
		m.shut &^= 1 << i
		m.next[i] = m.out
		if c.letter == 'P' && !empty {
			m.next[i] = len(m.list) - 1
		}
	case 'q':
		m.shut |= 1 << i
	case 'Q':
		m.shut |= 1 << 1
	}
	return r, true
}

// read applies a poller's read. A poller that has been closed may have counted missed elements just before.
func (m *model) read(i int) (r result) {
	r.alerted = max(0, m.out-m.next[i])
	if m.shut>>i&1 == 1 {
		r.loose = true
		return r
	}
	m.next[i] = max(m.next[i], m.out)
	if m.next[i] < len(m.list) {
		r.x, r.ok = int(m.list[m.next[i]]), true
		m.next[i]++
	}
	return r
}

// A sequence compares a diode with its model, call by call.
type sequence struct {
	*world
	t      *testing.T
	name   string
	model  model
	thread int
	calls  []byte // made
	sets   int    // made; modulo 256 also the last element
	got    result
	alerts int
	missed [maxThreads]int // per poller
}

// newSequence returns a sequence that begins in lap. The first thread of a OneToMany has a poller.
func newSequence(t *testing.T, kind string, size int, policy DropPolicy, lap state) *sequence {
	s := &sequence{t: t, name: fmt.Sprintf("%s of %d, %v", kind, size, policy)}
	sc := scenario{kind: kind, size: size, policy: policy, calls: "s"}
	if sc.broadcasts() {
		sc.calls = "t"
	}
	s.world = newWorld(sc, lap, AlertFunc(func(n int) {
		s.alerts++
		s.got.alerted += n
	}))
	s.model = s.world.model()
	return s
}

// run makes one call per letter. A digit selects the thread for the following calls. A call that would block is skipped.
func (s *sequence) run(calls string) {
	for _, letter := range []byte(calls) {
		s.calls = append(s.calls, letter)
		if letter <= '9' {
			s.thread = int(letter - '0')
			continue
		}
		if letter == 's' {
			s.sets++
		}
		c := call{letter, uint8(s.sets)}
		next := s.model
		want, returns := next.take(s.world, s.thread, c)
		if !returns {
			continue
		}
		s.model = next
		if want.loose {
			want = result{}
		}
		s.got, s.alerts = result{}, 0
		s.got.x, s.got.ok = s.call(s.thread, c)
		if s.got != want || s.alerts > 1 {
			s.t.Fatalf("%s: %s: want %v, got %v in %d alerts", s.name, s.calls, want, s.got, s.alerts)
		}
		switch letter {
		case 'p', 'P':
			s.missed[s.thread] = 0
		case 't', 'n', 'x':
			s.missed[s.thread] += want.alerted
		}
		s.check()
	}
}

func (s *sequence) check() {
	if want := len(s.model.inside()); s.Len() != want || s.Cap() != s.size {
		s.t.Fatalf("%s: %s: want %d of %d elements, got %d of %d", s.name, s.calls, want, s.size, s.Len(), s.Cap())
	}
	if s.many == nil {
		return
	}
	if got := len(*s.many.pollers.Load()); got != s.model.open() {
		s.t.Fatalf("%s: %s: want %d pollers listed, got %d", s.name, s.calls, s.model.open(), got)
	}
	for i, p := range s.pollers {
		if p == nil {
			continue
		}
		want := len(s.model.rest(i))
		if s.model.shut>>i&1 == 0 && p.Len() != want || int(p.Missed()) != s.missed[i] {
			s.t.Fatalf("%s: %s: poller %d: want %d unread and %d missed, got %d and %d",
				s.name, s.calls, i, want, s.missed[i], p.Len(), p.Missed())
		}
	}
}

// sequences runs sequences of calls on diodes of each kind, policy and size.
func sequences(t *testing.T, kinds []string, sizes []int, calls func(size int, run func(calls string))) {
	for _, kind := range kinds {
		for policy := DropOldest; policy <= DropNewest && (policy == DropOldest || kind != "OneToMany"); policy++ {
			for _, size := range sizes {
				t.Run(fmt.Sprintf("%s of %d, %v", kind, size, policy), func(t *testing.T) {
					calls(size, func(calls string) { newSequence(t, kind, size, policy, 0).run(calls) })
				})
			}
		}
	}
}

func times(n int, calls string) string { return strings.Repeat(calls, max(0, n)) }
