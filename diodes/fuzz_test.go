// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import (
	"fmt"
	"testing"
)

// operations is a sequence of operations, one per byte. The first bytes choose the diode.
type operations []byte

func (ops *operations) next(n int) int {
	if len(*ops) == 0 {
		return 0
	}
	b := (*ops)[0]
	*ops = (*ops)[1:]
	return int(b) % n
}

// FuzzQueue compares the diodes with one reader with their model.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{0, 2, 0, 0, 0, 0, 0, 5, 5, 5, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		ops := operations(data)
		kind, size, policy := queues[ops.next(len(queues))], 1+ops.next(17), DropPolicy(ops.next(2))
		s := newSequence(t, kind, size, policy, 0)
		for len(ops) > 0 {
			if call := "sssssssttnec"[ops.next(12)]; call != 'c' || ops.next(4) == 0 {
				s.run(string(call))
			}
		}
		s.run(times(size+1, "t"))
	})
}

// FuzzOneToMany compares a OneToMany and its pollers with their model.
func FuzzOneToMany(f *testing.F) {
	f.Add([]byte{2, 5, 0, 0, 0, 0, 0, 7, 7, 7, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		ops := operations(data)
		s := newSequence(t, "OneToMany", 1+ops.next(9), DropOldest, 0)
		opened := 0
		for len(ops) > 0 {
			switch call := "ssssepPttnqc"[ops.next(12)]; call {
			case 'p', 'P':
				if opened++; opened >= maxThreads {
					s.run(fmt.Sprint(opened%maxThreads, "q")) // The new poller takes its place.
				}
				s.run(fmt.Sprint(opened%maxThreads, string(call)))
			case 't', 'n', 'q':
				s.run(fmt.Sprint(ops.next(min(opened+1, maxThreads)), string(call)))
			case 'c':
				if ops.next(4) == 0 {
					s.run("c")
				}
			default:
				s.run(string(call))
			}
		}
	})
}
