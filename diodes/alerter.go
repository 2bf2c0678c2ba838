// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// Alerter is told of elements that a diode dropped.
//
// Alert runs on the goroutine whose Set or Evict dropped an element, before that call returns, with missed = 1. Under a
// [Poller] it runs on the reader's goroutine, with the number of elements by which the poller was lapped. Goroutines that
// drop at the same time call Alert at the same time: it must be safe for concurrent use.
//
// Alert delays its caller, so it should be as cheap as adding to an atomic counter. It delays nobody else. If it panics, so does
// its caller, and the element that the call would have returned is lost; the diode can still be used.
type Alerter interface {
	Alert(missed int)
}

// AlertFunc is a function that is an [Alerter].
type AlertFunc func(missed int)

// Alert calls f(missed).
func (f AlertFunc) Alert(missed int) { f(missed) }

// alert tells an alerter, if there is one, of one element.
func alert(alerter Alerter) {
	if alerter != nil {
		alerter.Alert(1)
	}
}
