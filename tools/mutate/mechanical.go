// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// swaps holds the operator that mechanical substitutes for another.
var swaps = map[token.Token]token.Token{
	token.EQL: token.NEQ, token.NEQ: token.EQL,
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.ADD: token.SUB, token.SUB: token.ADD, token.SHL: token.SHR, token.SHR: token.SHL,
	token.AND: token.OR, token.OR: token.AND, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.INC: token.DEC, token.DEC: token.INC,
}

// mechanical returns a row for each swapped operator, negated condition and removed statement in the files that match pattern. It omits
// the changes of the table.
func mechanical(pattern string, table []row) (rows []row, err error) {
	files, err := filepath.Glob(filepath.Join(*root, pattern))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files := token.NewFileSet()
		tree, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(*root, path)
		if err != nil {
			return nil, err
		}
		known := map[string]bool{string(text): true}
		for _, r := range table {
			if r.file == name {
				changed, err := r.apply(string(text))
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", r.file, r.name, err)
				}
				known[changed] = true
			}
		}
		var failed error
		edit := func(what string, from, to token.Pos, by string) {
			r := row{file: name, name: fmt.Sprintf("%s in line %d", what, files.Position(from).Line), verdict: "caught"}
			r.change = change(string(text), files.Position(from).Offset, files.Position(to).Offset, by)
			changed, err := r.apply(string(text))
			failed = errors.Join(failed, err)
			if !known[changed] {
				rows = append(rows, r)
			}
		}
		swap := func(at token.Pos, old token.Token) {
			if by, ok := swaps[old]; ok {
				edit(fmt.Sprintf("%s for %s", by, old), at, at+token.Pos(len(old.String())), by.String())
			}
		}
		not := func(cond ast.Expr) {
			if b, ok := cond.(*ast.BinaryExpr); cond == nil || ok && (b.Op == token.EQL || b.Op == token.NEQ) {
				return // Swapping the operator has the same effect.
			}
			edit("a negated condition", cond.Pos(), cond.End(), "!("+string(text[files.Position(cond.Pos()).Offset:files.Position(cond.End()).Offset])+")")
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				swap(n.OpPos, n.Op)
			case *ast.AssignStmt:
				swap(n.TokPos, n.Tok)
				if n.Tok != token.DEFINE {
					edit("no assignment", n.Pos(), n.End(), "")
				}
			case *ast.IncDecStmt:
				swap(n.TokPos, n.Tok)
				edit("no step", n.Pos(), n.End(), "")
			case *ast.ExprStmt, *ast.DeferStmt:
				edit("no call", n.Pos(), n.End(), "")
			case *ast.IfStmt:
				not(n.Cond)
			case *ast.ForStmt:
				not(n.Cond)
			}
			return true
		})
		if failed != nil {
			return nil, failed
		}
	}
	return rows, nil
}

// change returns the lines of an edit, with enough context to make them unique in the text.
func change(text string, from, to int, by string) (lines []string) {
	first, last := strings.LastIndexByte(text[:from], '\n')+1, to+strings.IndexByte(text[to:], '\n')
	begin, end := first, last
	for strings.Count("\n"+text, "\n"+text[begin:end]+"\n") > 1 {
		if begin > 0 {
			begin = strings.LastIndexByte(text[:begin-1], '\n') + 1
		}
		if end < len(text)-1 {
			end += 1 + strings.IndexByte(text[end+1:], '\n')
		}
	}
	add := func(prefix, part string) {
		for line := range strings.Lines(part) {
			lines = append(lines, prefix+strings.TrimSuffix(line, "\n"))
		}
	}
	add(" ", text[begin:first])
	add("-", text[first:last])
	if after := text[first:from] + by + text[to:last]; strings.TrimSpace(after) != "" {
		add("+", after)
	}
	add(" ", strings.TrimPrefix(text[last:end], "\n"))
	return lines
}
