package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
)

const opDecide = "read decisions"

// Decisions are a person's, by system-managed database.
type Decisions map[string][]missing.Decision

// Len is how many there are.
func (d Decisions) Len() (n int) {
	for _, of := range d {
		n += len(of)
	}
	return n
}

// Decided says what a file of decisions does.
type Decided struct {
	Theirs    int `json:"theirs"`    // conflicts for which what the lost region wrote is taken
	Kept      int `json:"kept"`      // for which what is active stays
	Done      int `json:"done"`      // that an earlier merge settled
	Undecided int `json:"undecided"` // that are not in the file
}

// MissingPlan is a file of decisions, as WritePlan wrote it and a person edited it.
type MissingPlan struct {
	file  string
	text  []byte
	entry []planEntry
}

type planFile struct {
	Format    int         `yaml:"format"`
	Group     string      `yaml:"group"`
	Conflicts []planEntry `yaml:"conflicts"`
}

type planEntry struct {
	ID     string            `yaml:"id"`
	Of     string            `yaml:"of"`
	Table  string            `yaml:"table"`
	Key    map[string]scalar `yaml:"key"`
	Op     missing.Op        `yaml:"op"`
	Class  missing.Class     `yaml:"class"`
	Why    string            `yaml:"why"`
	Base   map[string]scalar `yaml:"base"`
	Theirs map[string]scalar `yaml:"theirs"`
	Active map[string]scalar `yaml:"active"`
	Decide missing.Policy    `yaml:"decide"`
	Values map[string]scalar `yaml:"values"`
}

// scalar is a value as it was written, so that 007 and 1.10 are not made other numbers; nil is null.
type scalar struct{ text *string }

// UnmarshalYAML takes the text of what is one value.
func (s *scalar) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.NullNode:
		s.text = nil
	case *ast.LiteralNode:
		s.text = &n.Value.Value
	case *ast.StringNode:
		s.text = &n.Value
	case ast.ScalarNode:
		text := n.GetToken().Value
		s.text = &text
	default:
		return &yaml.SyntaxError{Message: "a column holds one value: put it in quotes", Token: n.GetToken()}
	}
	return nil
}

// ParseMissingPlan reads a file of decisions for a group strictly. Errors are fault.Invalid and begin with "<file>:<line>:".
func ParseMissingPlan(file, group string, b []byte) (MissingPlan, error) {
	p := MissingPlan{file: file, text: b}
	var f planFile
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := decode(d, &f); err != nil {
		return p, p.malformed(err)
	}
	if err := decode(d, new(any)); !errors.Is(err, io.EOF) {
		return p, p.refuse("$", "more than one document")
	}
	p.entry = f.Conflicts
	switch {
	case f.Format != planFormat:
		return p, p.refuse("$.format", "format %d is not the one that this version reads, which is %d", f.Format, planFormat)
	case f.Group != group:
		return p, p.refuse("$.group", "it is of group %q, and not of %q", f.Group, group)
	}
	return p, p.checkEntries()
}

func (p MissingPlan) malformed(err error) error {
	var y yaml.Error
	switch {
	case errors.Is(err, io.EOF):
		return p.refuse("$", "it is empty")
	case errors.As(err, &y) && y.GetToken() != nil:
		return p.hinted(fault.Newf(fault.Invalid, opDecide, "%s:%d: %s", p.file, y.GetToken().Position.Line, y.GetMessage()))
	}
	return p.hinted(fault.Newf(fault.Invalid, opDecide, "%s: %s", p.file, err.Error()))
}

// refuse is an error at the line of a field.
func (p MissingPlan) refuse(path, format string, args ...any) error {
	return p.hinted(fault.Newf(fault.Invalid, opDecide, "%s:%d: %s", p.file, lineOf(p.text, path), fmt.Sprintf(format, args...)))
}

func (p MissingPlan) hinted(e *fault.Error) error {
	return e.WithHint("Nothing was changed. `smartdr missing-rows --plan FILE` writes one of what conflicts now.")
}

// checkEntries refuses what makes no sense whatever is in the databases.
func (p MissingPlan) checkEntries() error {
	seen := map[[2]string]bool{}
	for i, e := range p.entry {
		at := func(field string) string { return fmt.Sprintf("$.conflicts[%d]%s", i, field) }
		switch {
		case e.ID == "" || e.Of == "":
			return p.refuse(at(""), "an entry needs the id and the name of the system-managed database (of) that --plan gave it")
		case seen[[2]string{e.Of, e.ID}]:
			return p.refuse(at(".id"), "%s is decided twice", e.ID)
		case e.Decide != missing.Keep && e.Decide != missing.Theirs:
			return p.refuse(at(".decide"), "%q is no decision: write keep or theirs", e.Decide)
		case len(e.Values) > 0 && e.Decide != missing.Theirs:
			return p.refuse(at(".values"), "values are put into what is taken: they need decide: theirs")
		}
		seen[[2]string{e.Of, e.ID}] = true
	}
	return nil
}

// Check compares the decisions with the conflicts that a comparison has found, and refuses those that are not there any more: the file is
// stale then. What an earlier merge settled is left out.
func (p MissingPlan) Check(all []MissingChanges) (Decisions, Decided, error) {
	there, err := p.lookUp(all)
	if err != nil {
		return nil, Decided{}, err
	}
	out, said := Decisions{}, Decided{Undecided: there.conflicts}
	for i, e := range p.entry {
		c, conflicts := there.byID[e.id()]
		if !conflicts && there.settled[e.place()] {
			said.Done++
			continue
		}
		if err := p.fits(i, e, c, conflicts, all); err != nil {
			return nil, said, err
		}
		if said.Undecided--; e.Decide == missing.Keep {
			said.Kept++
		} else {
			said.Theirs++
		}
		out[e.Of] = append(out[e.Of], missing.Decision{ID: e.ID, Decide: e.Decide, Values: e.values()})
	}
	return out, said, nil
}

func (p MissingPlan) fits(i int, e planEntry, c MissingChange, conflicts bool, all []MissingChanges) error {
	at := func(field string) string { return fmt.Sprintf("$.conflicts[%d]%s", i, field) }
	if !slices.ContainsFunc(all, func(of MissingChanges) bool { return of.Of.Name == e.Of }) {
		return p.refuse(at(".of"), "%s is not what was compared now", e.Of)
	}
	if !conflicts {
		return p.refuse(at(".id"), "it is stale: %s of table %s does not conflict any more as it did, since a side of it has changed", e.ID, e.Table)
	}
	if c.Theirs == nil && len(e.Values) > 0 {
		return p.refuse(at(".values"), "the lost region deleted the row: there is nothing to put values into")
	}
	for name := range e.Values {
		if !slices.Contains(c.Theirs.Columns, name) {
			return p.refuse(at(".values"), "table %s has no column %q", e.Table, name)
		}
	}
	return nil
}

func (e planEntry) values() map[string]*string {
	if len(e.Values) == 0 {
		return nil
	}
	out := map[string]*string{}
	for name, v := range e.Values {
		out[name] = v.text
	}
	return out
}

func (e planEntry) id() [2]string { return [2]string{e.Of, e.ID} }

// place names an entry's row; "" for one without a key.
func (e planEntry) place() string {
	if len(e.Key) == 0 {
		return ""
	}
	var r Row
	for name, v := range e.Key {
		r.Columns, r.Values = append(r.Columns, name), append(r.Values, v.text)
	}
	return placeOf(e.Of, e.Table, &r)
}

// placeOf names a row in all databases that were compared.
func placeOf(of, table string, key *Row) string {
	var parts []string
	for i, column := range key.Columns {
		value := "null"
		if v := key.Values[i]; v != nil {
			value = quoted(cut(*v))
		}
		parts = append(parts, quoted(column)+value)
	}
	slices.Sort(parts)
	return quoted(of) + quoted(table) + strings.Join(parts, "")
}

// found is what a comparison says of the entries of a plan.
type found struct {
	byID      map[[2]string]MissingChange
	settled   map[string]bool // by place: both sides are the same now
	conflicts int             // in all, decided or not
}

// lookUp reads all changes and keeps those that the plan names.
func (p MissingPlan) lookUp(all []MissingChanges) (found, error) {
	out := found{byID: map[[2]string]MissingChange{}, settled: map[string]bool{}}
	wanted, places := map[[2]string]bool{}, map[string]bool{}
	for _, e := range p.entry {
		wanted[e.id()], places[e.place()] = true, true
	}
	for _, of := range all {
		for c, err := range of.Changes {
			if err != nil {
				return out, err
			}
			out.take(c, wanted, places)
		}
	}
	return out, nil
}

func (f *found) take(c MissingChange, wanted map[[2]string]bool, places map[string]bool) {
	switch {
	case c.Class.Conflict() && c.Class != missing.Held:
		if f.conflicts++; wanted[[2]string{c.Of, c.ID}] {
			f.byID[[2]string{c.Of, c.ID}] = c
		}
	case c.Class.There() && c.Key != nil && len(c.Key.Columns) > 0:
		if place := placeOf(c.Of, c.Schema+"."+c.Table, c.Key); places[place] {
			f.settled[place] = true
		}
	}
}
