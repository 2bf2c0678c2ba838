// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

// An Alerter counts the elements that a diode drops. Set and Evict call Alert(1) for each dropped element before they return;
// for [OneToMany], only a Set after Close does. A [Poller] calls Alert when it reads, with the number of elements that it missed.
//
// Alert must be safe for concurrent use. It delays only its caller. If it panics, so does its caller. The element is then lost, but
// the diode remains usable.
type Alerter interface {
	Alert(missed int)
}

// AlertFunc is a function that implements [Alerter].
type AlertFunc func(missed int)

// Alert calls f(missed).
func (f AlertFunc) Alert(missed int) { f(missed) }

func alert(alerter Alerter) {
	if alerter != nil {
		alerter.Alert(1)
	}
}
