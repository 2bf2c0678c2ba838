// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// Alerter is told of elements that a diode dropped.
//
// Alert is called on the goroutine whose call dropped the element, at that moment and before that call returns, with the
// number of elements dropped: 1. A poller of [OneToMany] calls it on the goroutine that reads, when it finds out how many
// elements it was lapped by, with that number. Goroutines that drop at the same time call it at the same time. What Alert does delays its
// caller, so it should be as cheap as adding to an atomic counter.
type Alerter interface {
	Alert(missed int)
}

// AlertFunc is a function that is an [Alerter].
type AlertFunc func(missed int)

// Alert calls f(missed).
func (f AlertFunc) Alert(missed int) { f(missed) }
