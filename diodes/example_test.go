// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes_test

import (
	"fmt"

	"github.com/loggregatorexporter/loggregatorexporter/diodes"
)

func ExampleManyToOne() {
	missed := 0
	d := diodes.NewManyToOne[string](3, diodes.AlertFunc(func(n int) { missed += n }))

	for _, x := range []string{"a", "b", "c", "d"} {
		if dropped, ok := d.Set(x); ok {
			fmt.Println("dropped", dropped)
		}
	}
	d.Close()

	for {
		x, ok := d.Next()
		if !ok {
			break
		}
		fmt.Println("read", x)
	}
	fmt.Println("missed", missed)
	// Output:
	// dropped a
	// read b
	// read c
	// read d
	// missed 1
}
