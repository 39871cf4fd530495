package api

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"

	"github.com/smartdr/smartdr/internal/missing"
)

// Row holds a row's values by column, in the table's order. In JSON it is an object; null is NULL.
type Row struct {
	Columns []string
	Values  []*string
}

// MarshalJSON keeps the order of the columns.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i, column := range r.Columns {
		b.WriteByte("{,"[min(i, 1)])
		if err := e.Encode(column); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(r.Values[i]); err != nil {
			return nil, err
		}
	}
	if len(r.Columns) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// MissingChange is one row that the old line changed, with its columns named.
type MissingChange struct {
	ID       string          `json:"id"`
	Of       string          `json:"of"`       // system-managed database
	Database string          `json:"database"` // that serves
	Schema   string          `json:"schema"`
	Table    string          `json:"table"`
	Op       missing.Op      `json:"op"`
	Class    missing.Class   `json:"class"`
	Key      *Row            `json:"key,omitempty"`
	Base     *Row            `json:"base,omitempty"` // at the fork; nil: it was not there
	Theirs   *Row            `json:"theirs,omitempty"`
	Active   *Row            `json:"active,omitempty"`
	Written  *Row            `json:"written,omitempty"` // where a person chose other values than theirs
	Differs  []string        `json:"differs,omitempty"` // columns in which base, theirs and active, as far as they are there, are not all the same
	Commit   *missing.Commit `json:"commit,omitempty"`
	Why      string          `json:"why,omitempty"`
	Applied  bool            `json:"applied,omitempty"`
}

// Transaction is the number of the whole transaction that made the change; 0: not known.
func (c MissingChange) Transaction() uint32 {
	switch {
	case c.Commit == nil:
		return 0
	case c.Commit.Top != 0:
		return c.Commit.Top
	}
	return c.Commit.XID
}

// withNames gives a change's values the names of their columns.
func withNames(d MissingDatabase, h missing.Header, c missing.Change) MissingChange {
	out := MissingChange{
		ID: c.ID, Of: d.Name, Database: h.Database, Schema: c.Schema, Table: c.Table, Op: c.Op, Class: c.Class, Commit: c.Commit, Why: c.Why, Applied: c.Applied,
	}
	var columns, keys []string
	if i := slices.IndexFunc(h.Tables, func(t missing.Table) bool { return t.Schema == c.Schema && t.Name == c.Table }); i >= 0 {
		for _, column := range h.Tables[i].Columns {
			columns = append(columns, column.Name)
		}
		for _, place := range h.Tables[i].Key {
			keys = append(keys, columns[place])
		}
	}
	out.Key, out.Base, out.Theirs, out.Active = rowOf(keys, c.Key), rowOf(columns, c.Base), rowOf(columns, c.Theirs), rowOf(columns, c.Active)
	out.Written = rowOf(columns, c.Written)
	out.Differs = differing(columns, out.Base, out.Theirs, out.Active)
	return out
}

// rowOf is nil for a row that is not there, or whose columns are not known.
func rowOf(columns []string, values []*string) *Row {
	if values == nil || len(values) != len(columns) {
		return nil
	}
	return &Row{columns, values}
}

// differing returns the columns in which rows that are there are not all the same.
func differing(columns []string, rows ...*Row) (out []string) {
	rows = slices.DeleteFunc(rows, func(r *Row) bool { return r == nil })
	for i, name := range columns {
		if slices.ContainsFunc(rows, func(r *Row) bool { return !sameValue(r.Values[i], rows[0].Values[i]) }) {
			out = append(out, name)
		}
	}
	return out
}

func sameValue(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// MissingFilter chooses changes; what is empty chooses all.
type MissingFilter struct {
	Tables  []string // "table" or "schema.table"
	Classes []missing.Class
}

// Table reports whether a table is meant.
func (f MissingFilter) Table(schema, table string) bool {
	return len(f.Tables) == 0 || slices.Contains(f.Tables, table) || slices.Contains(f.Tables, schema+"."+table)
}

// Class reports whether a class is meant.
func (f MissingFilter) Class(c missing.Class) bool {
	return len(f.Classes) == 0 || slices.Contains(f.Classes, c)
}

// Only yields the changes that a filter chooses.
func (f MissingFilter) Only(all iter.Seq2[missing.Change, error]) iter.Seq2[missing.Change, error] {
	return func(yield func(missing.Change, error) bool) {
		for c, err := range all {
			if (err != nil || f.Table(c.Schema, c.Table) && f.Class(c.Class)) && !yield(c, err) {
				return
			}
		}
	}
}
