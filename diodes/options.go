// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes

import "fmt"

// GenericDataType is the element type of a diode that holds elements of several types:
//
//	d := diodes.NewManyToOne[diodes.GenericDataType](1024, alerter)
//	d.Set(diodes.GenericDataType(&metric))
//	...
//	x, ok := d.TryNext()
//	metric, isMetric := x.(*Metric)
//
// It is an ordinary interface, so a reader gets an element's own type by a checked type assertion or a type switch.
//
// The name is that of Cloud Foundry's diodes, whose GenericDataType is an unsafe.Pointer, which the reader converts to the
// pointer type that it expects; nothing checks that. A writer that passes a pointer to an interface, or to anything but what
// the reader converts to, makes the reader take the header of the interface for the value: it reads the address of a type
// descriptor where it expects a field. Here such a reader gets false from the assertion.
//
// A diode of one type does not need it: NewManyToOne[*Metric] is checked by the compiler.
type GenericDataType = any

// An Option changes how a diode works. [DropPolicy] is one.
type Option interface {
	apply(*options)
}

type options struct {
	policy DropPolicy
}

func newOptions(opts []Option) options {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt.apply(&o)
		}
	}
	return o
}

// A DropPolicy says which element gives way when a diode is full. It is an [Option].
type DropPolicy uint8

const (
	// DropOldest keeps what is new: the oldest element in the ring gives way. It is the default.
	DropOldest DropPolicy = iota
	// DropNewest keeps what is there: the element that was to be set gives way.
	DropNewest
)

func (p DropPolicy) apply(o *options) {
	if p > DropNewest {
		panic(fmt.Sprintf("diodes: there is no %v", p))
	}
	o.policy = p
}

// String is the name of the constant.
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
