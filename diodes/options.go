// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "fmt"

// GenericDataType is the element type of a diode of mixed types. As in Cloud Foundry's go-diodes:
//
//	d.Set(diodes.GenericDataType(&metric))
//	x, _ := d.TryNext()
//	metric, ok := x.(*Metric)
//
// There it is an unsafe.Pointer that the reader converts unchecked; here a wrong type is a failed assertion.
type GenericDataType = any

// A DropPolicy says which element a full diode drops.
type DropPolicy uint8

const (
	// DropOldest drops the oldest element in the ring. It is the default.
	DropOldest DropPolicy = iota
	// DropNewest drops the element that is being set.
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

// option returns the last of the options given, or the default, which is zero. It panics at one above most.
func option[O ~uint8](given []O, most O) (o O) {
	for _, o = range given {
		if o > most {
			panic(fmt.Sprintf("%T(%d) is unknown", o, o)) // "diodes.DropPolicy(7) is unknown"
		}
	}
	return o
}
