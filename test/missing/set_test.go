package missing_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/smartdr/smartdr/internal/missing"
)

// judgeSet compares the row versions of a set with how the two states differ, and lists what differs.
func (m *model) judgeSet(t testing.TB, set []byte) (wrong []string) {
	t.Helper()
	r, err := missing.NewReader(bytes.NewReader(set))
	check(t, err)
	defer r.Close()
	found := map[string]int{}
	for {
		l, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		if l.Commit != nil {
			continue
		}
		table := r.Header.Tables[l.Table]
		name := table.Schema + "." + table.Name
		found[version(name, l.Side, choose(l.Values, table, m.columns(name)))]++
	}
	wanted := m.versions()
	for _, k := range union(wanted, found) {
		if wanted[k] != found[k] {
			wrong = append(wrong, fmt.Sprintf("%.200q: want %d of it, found %d", k, wanted[k], found[k]))
		}
	}
	return wrong
}

func (m *model) columns(name string) []string {
	if m.theirs[name] == nil {
		return m.base[name].columns
	}
	return common(m.base[name], m.theirs[name])
}

// versions are the row versions that a set has to have, and how many of each.
func (m *model) versions() map[string]int {
	out := map[string]int{}
	for _, e := range m.changes {
		switch {
		case e.row != nil && e.op == missing.Insert:
			out[version(e.table, missing.New, e.row)]++
		case e.row != nil:
			out[version(e.table, missing.Old, e.row)]++
		default:
			if e.theirs != nil {
				out[version(e.table, missing.New, e.theirs)]++
			}
			if e.base != nil {
				out[version(e.table, missing.Old, e.base)]++
			}
		}
	}
	return out
}

func version(table string, side missing.Side, row []*string) string {
	return table + " " + string(side) + " " + whole(row)
}
