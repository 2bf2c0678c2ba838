// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "hash/maphash"

// An exploration is a model whose machines, goroutines that take one atomic step at a time, run in every possible order.
type exploration[S comparable] struct {
	machines int
	// step lets a machine take its next step; other chooses the other one where there are two. It returns false if there is
	// none.
	step func(s *S, machine int, other bool) bool
	// rename makes states equal that differ in names only.
	rename func(*S)
	// check is called with each state, end with those in which nobody can take a step.
	check, end func(*S)
	failed     func() bool
}

// explore visits each state that can be reached from the start once, until one has failed. It returns how many it visited.
func explore[S comparable](start S, e exploration[S]) int {
	// A state is known by its hash; 64 bits of it tell millions of states apart.
	seed := maphash.MakeSeed()
	seen := map[uint64]struct{}{}
	var todo []S
	visit := func(s *S) {
		e.rename(s)
		hash := maphash.Comparable(seed, *s)
		if _, ok := seen[hash]; !ok {
			seen[hash] = struct{}{}
			todo = append(todo, *s)
		}
	}
	var s, next S
	next = start
	visit(&next)
	for len(todo) > 0 && !e.failed() {
		s = todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		e.check(&s)
		moved := false
		for i := range e.machines {
			for _, other := range []bool{false, true} {
				next = s
				if e.step(&next, i, other) {
					moved = true
					visit(&next)
				}
			}
		}
		if !moved {
			e.end(&s)
		}
	}
	return len(seen)
}
