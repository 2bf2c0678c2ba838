// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

const verdictHead = `## Verdicts

Ratios are those of the medians.

| case | measured | target | came to | reached |
|---|---|---|---|---|
`

// A benchCase is a section of the report: a benchmark, whose units have a table each.
type benchCase struct {
	title, name, units, row, col string
	about                        string
	targets                      string // see target
	plots                        []plot
	why                          string // what there is to say about the numbers, and about targets that were not reached
}
