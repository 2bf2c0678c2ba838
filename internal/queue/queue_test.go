// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/report"
)

// numbers counts the references to the data of a signal. A datum is its number of items and has ten times as many bytes.
type numbers map[*int]int

func (n numbers) signal() Signal[*int] {
	return Signal[*int]{
		Items: func(x *int) int { return *x },
		Bytes: func(x *int) int { return *x * 10 },
		Ref:   func(x *int) { n[x]++ },
		Unref: func(x *int) { n[x]-- },
	}
}

func (n numbers) held() (items int) {
	for x, references := range n {
		items += *x * references
	}
	return items
}

func number(n int) *int { return &n }

func TestQueueCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		bounds             Config
		use                func(q *Queue[*int])
		accepted, held     int
		overflow, shutdown int64
	}{
		"waiting batch": {Config{Capacity: 2}, func(q *Queue[*int]) { q.Push(number(3)) }, 3, 3, 0, 0},
		"no items":      {Config{Capacity: 2}, func(q *Queue[*int]) { q.Push(number(0)) }, 0, 0, 0, 0},
		"drop-oldest":   {Config{Capacity: 1}, func(q *Queue[*int]) { q.Push(number(3)); q.Push(number(4)) }, 7, 4, 3, 0},
		"drop-newest":   {Config{Capacity: 1, DropPolicy: DropNewest}, func(q *Queue[*int]) { q.Push(number(3)); q.Push(number(4)) }, 7, 3, 4, 0},
		"bytes":         {Config{Capacity: 9, MaxBytes: 60}, func(q *Queue[*int]) { q.Push(number(3)); q.Push(number(4)) }, 7, 4, 3, 0},
		"after Close":   {Config{Capacity: 2}, func(q *Queue[*int]) { q.Push(number(3)); q.Close(); q.Push(number(4)) }, 7, 3, 0, 4},
		"full while closing": {Config{Capacity: 1}, func(q *Queue[*int]) {
			q.Push(number(3))
			q.closing.Store(true)
			q.Push(number(4))
		}, 7, 4, 3, 0},
		"DropAll": {Config{Capacity: 2}, func(q *Queue[*int]) { q.Push(number(3)); q.Push(number(4)); q.DropAll() }, 7, 0, 0, 7},
		"All with canceled context": {Config{Capacity: 3}, func(q *Queue[*int]) {
			q.Push(number(3))
			q.Push(number(4))
			q.Push(number(5))
			q.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for b, ok := range q.All(ctx) {
				if ok {
					q.Release(b)
					cancel()
				}
			}
		}, 12, 0, 0, 9},
	} {
		t.Run(name, func(t *testing.T) {
			n := numbers{}
			r := report.New(zap.NewNop(), report.Messages{}, nil)
			q := New(n.signal(), tt.bounds, r)
			tt.use(q)
			assert.EqualValues(t, tt.accepted, r.AcceptedItems(), "accepted")
			assert.Equal(t, tt.held, n.held(), "referenced")
			assert.Equal(t, tt.held > 0, q.Len() > 0, "waiting")
			assert.Equal(t, tt.overflow, r.DroppedItems(report.DropOverflow), "overflow")
			assert.Equal(t, tt.shutdown, r.DroppedItems(report.DropShutdown), "shutdown")
		})
	}
}
