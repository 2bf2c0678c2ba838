// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command mutate applies changes to the code, one at a time, and runs the tests that must catch them. It modifies no source file: the
// changed file is an overlay of the build.
//
//	go run ./mutate -root .. [-only regexp] [-mechanical pattern]
//
// mutations.txt has a row for each change:
//
//	diodes/eventcount.go: the epoch moves before the wake-up is sent
//	-	e.wakes.send()
//	 	e.epoch.CompareAndSwap(epoch, epoch+1)
//	+	e.wakes.send()
//	caught by TestExplore/Writer_1_s_s_nn
//
// The lines that begin with a space or - must be in the file exactly once. The last line is the verdict: caught, or equivalent or speed
// with a reason. mutate writes the test that caught a change into the file. It fails if a verdict is wrong.
//
// With -mechanical it generates the changes: it swaps operators, negates conditions and removes statements in the files that match the
// pattern, such as diodes/ring.go, and prints the surviving changes as rows. The table does not change.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// suites holds the arguments of go test for a folder. They run in order until one fails.
var suites = map[string][][]string{
	"diodes": {
		{"-tags", "explore", "-run", "Explore", "-short", "./diodes", "-explore.changed"},
		{"-short", "./diodes"},
	},
	"internal/queue":     {{"./internal/queue"}, {"-short", "-run", "Item|Batch|Bounds|Pooled|Drop|Shutdown", "."}},
	"internal/delivery":  {{"./internal/delivery"}},
	"internal/report":    {{"./internal/report"}, {"-short", "."}},
	"internal/retry":     {{"./internal/retry"}, {"./internal/delivery"}},
	"diodeconnector":     {{"-short", "./diodeconnector"}},
	"internal/telemetry": {{"./internal/telemetry"}, {"-short", "."}},
	".":                  {{"-short", "-run", "Item|Batch|Bounds|Pooled|Drop|Shutdown", "."}, {"-short", "."}},
}

var (
	root    = flag.String("root", ".", "the folder of the module")
	only    = flag.String("only", "", "run the rows whose first line matches this expression")
	workers = flag.Int("workers", 2, "number of changes to test at the same time")
	timeout = flag.Duration("timeout", 2*time.Minute, "timeout of each run of go test")
	swapped = flag.String("mechanical", "", "instead of the rows, change each operator, condition and statement in the files that match this pattern")
)

var errDoesNotCompile = errors.New("it does not compile")

// A row is a change and its verdict.
type row struct {
	file, name string
	change     []string
	verdict    string
}

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	table := filepath.Join(*root, "tools/mutate/mutations.txt")
	text, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	rows, err := parse(string(text))
	if err != nil {
		return err
	}
	if *swapped != "" {
		if rows, err = mechanical(*swapped, rows); err != nil {
			return err
		}
	}
	which, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var mu sync.Mutex
	var failed []error
	var working sync.WaitGroup
	todo := make(chan int)
	for range *workers {
		working.Go(func() {
			for i := range todo {
				r := &rows[i]
				begin := time.Now()
				caught, err := r.test(filepath.Join(dir, strconv.Itoa(i)))
				must := strings.HasPrefix(r.verdict, "caught")
				switch {
				case *swapped != "" && errors.Is(err, errDoesNotCompile):
					err, r.verdict = nil, "it does not compile"
				case err != nil:
				case caught == "" && must:
					err = errors.New("survived")
				case caught != "" && !must:
					err = fmt.Errorf("caught by %s, but the row says %s", caught, r.verdict)
				case must:
					r.verdict = "caught by " + caught
				}
				mu.Lock()
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %s\n%s\n%w", r.file, r.name, strings.Join(r.change, "\n"), err))
				}
				fmt.Printf("%s: %s: %s (%v) %v\n", r.file, r.name, r.verdict, time.Since(begin).Round(time.Second), err)
				mu.Unlock()
			}
		})
	}
	for i := range rows {
		if which.MatchString(rows[i].file + ": " + rows[i].name) {
			todo <- i
		}
	}
	close(todo)
	working.Wait()

	if *swapped != "" {
		return errors.Join(failed...)
	}
	var out strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&out, "%s: %s\n%s\n%s\n\n", r.file, r.name, strings.Join(r.change, "\n"), r.verdict)
	}
	failed = append(failed, os.WriteFile(table, []byte(out.String()), 0o600))
	return errors.Join(failed...)
}

func parse(text string) (rows []row, err error) {
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(block, "\n")
		last := len(lines) - 1
		file, name, ok := strings.Cut(lines[0], ": ")
		if !ok || last < 2 || !regexp.MustCompile(`^(caught|(equivalent|speed): .)`).MatchString(lines[last]) {
			return nil, fmt.Errorf("not a row: %q", block)
		}
		rows = append(rows, row{file, name, lines[1:last], lines[last]})
	}
	return rows, nil
}

// apply applies the change to the text of the file.
func (r *row) apply(text string) (string, error) {
	var before, after strings.Builder
	for _, line := range r.change {
		if line == "" || strings.IndexByte(" +-", line[0]) < 0 {
			return "", fmt.Errorf("not a line of a change: %q", line)
		}
		if line[0] != '+' {
			before.WriteString(line[1:] + "\n")
		}
		if line[0] != '-' {
			after.WriteString(line[1:] + "\n")
		}
	}
	if n := strings.Count("\n"+text, "\n"+before.String()); n != 1 {
		return "", fmt.Errorf("the file contains the lines %d times", n)
	}
	return strings.Replace("\n"+text, "\n"+before.String(), "\n"+after.String(), 1)[1:], nil
}

// test returns the first test that fails with the change; "" if none does.
func (r *row) test(dir string) (caught string, err error) {
	file, err := filepath.Abs(filepath.Join(*root, r.file))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	changed, err := r.apply(string(text))
	if err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: filepath.Join(dir, "changed.go")}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "changed.go"), []byte(changed), 0o600), //nolint:gosec // dir is temporary.
		os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)); err != nil {
		return "", err
	}
	suite, ok := suites[filepath.Dir(r.file)]
	if !ok {
		return "", errors.New("no tests for this folder")
	}
	for _, args := range suite {
		ctx, cancel := context.WithTimeout(context.Background(), 2**timeout) // Including compilation.
		args = append([]string{"test", "-vet=off", "-count=1", "-failfast", "-timeout", timeout.String(),
			"-overlay", filepath.Join(dir, "overlay.json")}, args...)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = *root
		out, err := cmd.CombinedOutput()
		late := ctx.Err()
		cancel()
		var exit *exec.ExitError
		switch {
		case err == nil:
			continue
		case late != nil:
			return "", late
		case !errors.As(err, &exit):
			return "", err
		case bytes.Contains(out, []byte("[build failed]")):
			return "", fmt.Errorf("%w:\n%s", errDoesNotCompile, out)
		}
		return failing(out), nil
	}
	return "", nil
}

// failing returns the name of the first test that failed according to the output of go test.
func failing(out []byte) string {
	names := regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`).FindAllSubmatch(out, -1)
	switch {
	case len(names) > 0: // Subtests follow their test.
		return string(names[min(1, len(names)-1)][1])
	case bytes.Contains(out, []byte("test timed out")):
		return "a test that does not return"
	case bytes.Contains(out, []byte("panic: ")), bytes.Contains(out, []byte("fatal error: ")):
		return "a panic"
	default:
		return string(bytes.TrimSpace(out))
	}
}
