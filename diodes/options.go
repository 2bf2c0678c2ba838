// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "fmt"

// GenericDataType is the element type of a diode for mixed types, as in Cloud Foundry's go-diodes:
//
//	d.Set(diodes.GenericDataType(&metric))
//	x, _ := d.TryNext()
//	metric, ok := x.(*Metric)
//
// In go-diodes it is an unsafe.Pointer, which the reader converts unchecked. Here a wrong type fails the assertion.
type GenericDataType = any

// A DropPolicy selects the element that a full diode drops.
type DropPolicy uint8

const (
	// DropOldest drops the oldest element in the ring. It is the default.
	DropOldest DropPolicy = iota
	// DropNewest drops the element being set.
	DropNewest
)

func (p DropPolicy) String() string {
	switch p {
	case DropOldest:
		return "DropOldest"
	case DropNewest:
		return "DropNewest"
	default:
		return fmt.Sprintf("DropPolicy(%d)", uint8(p))
	}
}

// option returns the last given option, or the default, which is zero. It panics if an option is greater than most.
func option[O ~uint8](given []O, most O) (o O) {
	for _, o = range given {
		if o > most {
			panic(fmt.Sprintf("%T(%d) is unknown", o, o)) // "diodes.DropPolicy(7) is unknown"
		}
	}
	return o
}
