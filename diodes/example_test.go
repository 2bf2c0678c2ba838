// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package diodes_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

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

	for x, ok := d.Next(); ok; x, ok = d.Next() {
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

func ExampleManyToOne_dropNewest() {
	d := diodes.NewManyToOne[string](3, nil, diodes.DropNewest)

	for _, x := range []string{"a", "b", "c", "d"} {
		if dropped, ok := d.Set(x); ok {
			fmt.Println("dropped", dropped)
		}
	}
	for x, ok := d.TryNext(); ok; x, ok = d.TryNext() {
		fmt.Println("read", x)
	}
	// Output:
	// dropped d
	// read a
	// read b
	// read c
}

// Goroutines that set often use a handle each.
func ExampleManyToOne_Writer() {
	d := diodes.NewManyToOne[int](100, nil)

	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			w := d.Writer()
			defer w.Release()
			for x := range 10 {
				w.Set(x)
			}
		})
	}
	writers.Wait()

	fmt.Println(d.Len(), "of", d.Cap())
	// Output: 40 of 100
}

// This example bounds a ring in bytes: it evicts the oldest elements until the new one fits.
func ExampleManyToOne_Evict() {
	const maxBytes = 10
	var bytes atomic.Int64
	d := diodes.NewManyToOne[string](100, nil)

	for _, x := range []string{"12345", "1234", "123", "12"} {
		bytes.Add(int64(len(x)))
		for bytes.Load() > maxBytes {
			evicted, ok := d.Evict()
			if !ok {
				break
			}
			bytes.Add(-int64(len(evicted)))
			fmt.Println("evicted", evicted)
		}
		d.Set(x)
	}
	for x, ok := d.TryNext(); ok; x, ok = d.TryNext() {
		bytes.Add(-int64(len(x)))
		fmt.Println("read", x)
	}
	// Output:
	// evicted 12345
	// read 1234
	// read 123
	// read 12
}

func ExampleOneToOne() {
	d := diodes.NewOneToOne[int](3, nil)

	go func() { // the writer
		defer d.Close()
		for x := range 3 {
			d.Set(x)
		}
	}()
	for x, ok := d.Next(); ok; x, ok = d.Next() { // the reader
		fmt.Println("read", x)
	}
	// Output:
	// read 0
	// read 1
	// read 2
}

func ExampleOneToMany() {
	d := diodes.NewOneToMany[string](3, diodes.AlertFunc(func(n int) { fmt.Println("missed", n) }))
	p, q := d.NewPoller(), d.NewPoller()
	defer p.Close()
	defer q.Close()

	next := func(name string, p *diodes.Poller[string]) {
		x, _ := p.TryNext()
		fmt.Println(name, "read", x)
	}
	for _, x := range []string{"a", "b", "c"} {
		d.Set(x)
	}
	next("p", p)
	d.Set("d")
	d.Set("e")
	next("p", p)
	next("q", q)
	// Output:
	// p read a
	// missed 1
	// p read c
	// missed 2
	// q read c
}

func ExampleOneToMany_NewPoller() {
	d := diodes.NewOneToMany[string](3, nil)
	for _, x := range []string{"a", "b", "c", "d"} {
		d.Set(x)
	}
	d.Close()

	oldest, newest := d.NewPoller(), d.NewPoller(diodes.FromNewest)
	for x, ok := oldest.Next(); ok; x, ok = oldest.Next() {
		fmt.Println("from the oldest:", x)
	}
	for x, ok := newest.Next(); ok; x, ok = newest.Next() {
		fmt.Println("from the newest:", x)
	}
	// Output:
	// from the oldest: b
	// from the oldest: c
	// from the oldest: d
	// from the newest: d
}

// This example puts elements of several types into one diode.
func ExampleGenericDataType() {
	type logLine struct{ text string }
	type gauge struct{ value float64 }

	d := diodes.NewManyToOne[diodes.GenericDataType](1024, nil)
	d.Set(diodes.GenericDataType(&logLine{"started"}))
	d.Set(diodes.GenericDataType(&gauge{0.5}))
	d.Set(diodes.GenericDataType("what is this?"))

	for x, ok := d.TryNext(); ok; x, ok = d.TryNext() {
		switch x := x.(type) {
		case *logLine:
			fmt.Println("log", x.text)
		case *gauge:
			fmt.Println("gauge", x.value)
		default:
			fmt.Printf("unknown %T\n", x)
		}
	}
	// Output:
	// log started
	// gauge 0.5
	// unknown string
}

// In go-diodes the alerter runs on the reader. Here it runs on every goroutine that drops an element, so its counter must be safe for
// concurrent use.
func Example_alerterFromGoDiodes() {
	var missed atomic.Int64 // In go-diodes an int would do.
	d := diodes.NewManyToOne[int](10, diodes.AlertFunc(func(n int) { missed.Add(int64(n)) }))

	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for x := range 10 {
				d.Set(x)
			}
		})
	}
	writers.Wait()

	fmt.Println(missed.Load(), "missed,", d.Len(), "inside")
	// Output: 30 missed, 10 inside
}

// In go-diodes, 4 elements set into a ring of 3 cause one alert for 3 missed elements, at the next read. Here they cause one alert for
// one element, by the Set that drops it.
func Example_countsFromGoDiodes() {
	d := diodes.NewManyToOne[int](3, diodes.AlertFunc(func(n int) { fmt.Println("missed", n) }))
	for x := range 4 {
		d.Set(x)
	}
	fmt.Println("no reads yet")
	x, _ := d.TryNext()
	fmt.Println("read", x)
	// Output:
	// missed 1
	// no reads yet
	// read 1
}

// Next and NextContext replace NewWaiter, NewPoller and their options.
func Example_waiterFromGoDiodes() {
	d := diodes.NewOneToOne[*string](3, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	// In go-diodes: w := diodes.NewWaiter(d, diodes.WithWaiterContext(ctx)), then w.Set and w.Next, which returns nil at the end.
	hello := "hello"
	d.Set(&hello)
	for x, ok := d.NextContext(ctx); ok; x, ok = d.NextContext(ctx) {
		fmt.Println(*x)
		cancel()
	}
	fmt.Println(ctx.Err())
	// Output:
	// hello
	// context canceled
}

// In an agent, one goroutine per connection sets each envelope as it arrives. One goroutine reads the envelopes and forwards them at the
// speed of the next hop. There is no back pressure.
func Example_agent() {
	type envelope struct{ source, message string }

	var dropped atomic.Int64
	buffer := diodes.NewManyToOne[envelope](10_000, diodes.AlertFunc(func(missed int) { dropped.Add(int64(missed)) }))

	var ingress sync.WaitGroup
	for _, source := range []string{"router", "cell", "app"} {
		ingress.Go(func() {
			for i := range 100 {
				buffer.Set(envelope{source, fmt.Sprint("message ", i)})
			}
		})
	}

	sent := map[string]int{}
	var egress sync.WaitGroup
	egress.Go(func() {
		for e, ok := buffer.Next(); ok; e, ok = buffer.Next() {
			sent[e.source]++
		}
	})

	ingress.Wait()
	buffer.Close()
	egress.Wait()
	fmt.Println(sent, "dropped", dropped.Load())
	// Output: map[app:100 cell:100 router:100] dropped 0
}
