package missing_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/missing"
)

// expected is one change that has to be found.
type expected struct {
	table  string
	op     missing.Op
	key    string // or of a row without a key its content
	base   []*string
	theirs []*string
	active []*string
	row    []*string // without a key
	// classes are those that are right: a row can conflict for several reasons.
	classes []missing.Class
	applied bool
}

// model is what is to be found and merged in one database.
type model struct {
	base, theirs, active state
	policy               missing.Policy
	earlier              *merges                   // what earlier merges brought
	decisions            map[string]missing.Policy // by table and key
	// twoPhase are the rows that prepared transactions wrote which were open at the fork and ended later, by table and key.
	twoPhase map[string]bool
	// writers are the transactions that wrote rows last, by table and key, where the histories know them.
	writers map[string]string

	changes []*expected
	merging map[string]map[string]*expected // of tables with keys, by key: what is merged
}

// compare finds the changes, and which of them can be merged.
func (m *model) compare() {
	if m.earlier == nil {
		m.earlier = &merges{}
	}
	m.merging = map[string]map[string]*expected{}
	names := map[string]bool{}
	for n := range m.base {
		names[n] = true
	}
	for n := range m.theirs {
		names[n] = true
	}
	for _, n := range sortedKeys(names) {
		base, theirs := m.base[n], m.theirs[n]
		switch {
		case theirs == nil: // dropped: nothing is known of its rows
		case len(theirs.key) > 0:
			m.compareKeyed(n, base, theirs)
		default:
			m.compareBag(n, base, theirs)
		}
	}
	for m.refuse() {
	}
}

// common are the columns that both sides have. What is only there at the tip has its own.
func common(base, theirs *tableState) []string {
	if base == nil {
		return theirs.columns
	}
	return slices.DeleteFunc(slices.Clone(base.columns), func(c string) bool { return !slices.Contains(theirs.columns, c) })
}

func (m *model) compareKeyed(name string, base, theirs *tableState) {
	columns := common(base, theirs)
	active := m.active[name]
	lost := active == nil || slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(active.columns, c) })
	var ours map[string][]*string
	if !lost {
		ours = active.byKey(theirs.key, columns)
	}
	before, after := base.byKey(theirs.key, columns), theirs.byKey(theirs.key, columns)
	brought := m.earlier.rows[name]
	for _, key := range union2(union3(before, after), brought) {
		e := &expected{table: name, key: key, base: before[key], theirs: after[key], active: ours[key], op: opOf(before[key], after[key])}
		was := e.base
		if row, ok := brought[key]; ok {
			was = row
		}
		if whole(e.base) == whole(e.theirs) && whole(was) == whole(e.theirs) {
			continue
		}
		class := e.compare(was)
		if lost {
			class = missing.SchemaDrift
		} else if m.twoPhase[name+" "+key] && !class.There() {
			class = missing.TwoPhase
		}
		e.classes = []missing.Class{class}
		m.changes = append(m.changes, e)
		decided := m.policy
		if p, ok := m.decisions[name+" "+key]; ok && e.divergent() {
			decided = p
		}
		switch {
		case class == missing.Missing, decided == missing.Theirs && e.divergent():
			m.merge(e)
		case len(m.decisions) > 0 && m.decisions[name+" "+key] == missing.Keep && e.divergent():
			e.classes = []missing.Class{missing.Kept}
		}
	}
}

func (m *model) merge(e *expected) {
	e.applied = true
	if m.merging[e.table] == nil {
		m.merging[e.table] = map[string]*expected{}
	}
	m.merging[e.table][e.key] = e
}

func opOf(base, theirs []*string) missing.Op {
	switch {
	case base == nil:
		return missing.Insert
	case theirs == nil:
		return missing.Delete
	}
	return missing.Update
}

// compare compares a change with what is active. A row that an earlier merge brought was what that made of it.
func (e *expected) compare(was []*string) missing.Class {
	switch {
	case whole(e.active) == whole(e.theirs) && e.op == missing.Update && whole(e.base) != whole(e.theirs) && whole(e.active) != whole(was):
		return missing.Alike
	case whole(e.active) == whole(e.theirs):
		return missing.Same
	case whole(e.active) == whole(e.base), whole(e.active) == whole(was):
		return missing.Missing
	case e.base == nil:
		return missing.BothInserted
	case e.theirs == nil:
		return missing.DeletedUpdated
	case e.active == nil:
		return missing.UpdatedDeleted
	}
	return missing.BothUpdated
}

func (e *expected) divergent() bool {
	return slices.Contains([]missing.Class{missing.BothInserted, missing.BothUpdated, missing.UpdatedDeleted, missing.DeletedUpdated}, e.classes[0])
}

// compareBag compares rows by what they hold, and by how many of each there are.
func (m *model) compareBag(name string, base, theirs *tableState) {
	columns := common(base, theirs)
	before, after, ours := base.counts(columns), theirs.counts(columns), m.active[name].counts(columns)
	rows := contents(columns, base, theirs, m.active[name])
	for content, n := range m.earlier.counts[name] {
		before[content] += n
	}
	for _, content := range union(before, after) {
		gone := ours[content]
		for range after[content] - before[content] {
			m.changes = append(m.changes, &expected{table: name, key: content, row: rows[content], op: missing.Insert, classes: []missing.Class{missing.Missing}, applied: true})
		}
		for range before[content] - after[content] {
			e := &expected{table: name, key: content, row: rows[content], op: missing.Delete, classes: []missing.Class{missing.Missing}, applied: true}
			if gone--; gone < 0 {
				e.classes, e.applied = []missing.Class{missing.NoKey}, false
			}
			m.changes = append(m.changes, e)
		}
	}
}

// contents returns rows by what they hold.
func contents(columns []string, tables ...*tableState) map[string][]*string {
	out := map[string][]*string{}
	for _, ts := range tables {
		if ts == nil {
			continue
		}
		for _, row := range ts.rows {
			row = pick(row, ts.places(columns))
			out[whole(row)] = row
		}
	}
	return out
}

// union3 is a map of both maps' keys.
func union3[V any](a, b map[string]V) map[string]bool {
	out := map[string]bool{}
	for _, k := range union(a, b) {
		out[k] = true
	}
	return out
}

func union[V any](a, b map[string]V) []string {
	keys := append(sortedKeys(a), sortedKeys(b)...)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// refuse takes out of what is merged what would break a constraint, and reports whether something was.
func (m *model) refuse() bool {
	out := map[*expected][]missing.Class{}
	for _, name := range sortedKeys(m.active) {
		ts := m.active[name]
		if len(ts.key) == 0 {
			continue
		}
		rows := m.merged(name)
		m.refuseUnique(name, ts, rows, out)
		for _, f := range ts.foreigns {
			m.refuseForeign(name, ts, f, rows, out)
		}
	}
	for e, classes := range out {
		e.applied = false
		e.classes = append(classes, e.also()...)
		delete(m.merging[e.table], e.key)
	}
	return len(out) > 0
}

// also are the classes that a change may go on to have, beside why it can't be merged.
func (e *expected) also() []missing.Class {
	if e.divergent() {
		return e.classes
	}
	return slices.DeleteFunc(slices.Clone(e.classes), func(c missing.Class) bool { return c == missing.Missing })
}

// merged are a table's rows as they would be, by key.
func (m *model) merged(name string) map[string][]*string {
	ts := m.active[name]
	rows := ts.byKey(ts.key, ts.columns)
	for key, e := range m.merging[name] {
		if e.theirs == nil {
			delete(rows, key)
			continue
		}
		rows[key] = m.onto(name, e, rows[key])
	}
	return rows
}

// onto is a row as it would be: columns that the old line does not know keep what they have, or get their defaults.
func (m *model) onto(name string, e *expected, was []*string) []*string {
	ts := m.active[name]
	row := slices.Clone(was)
	if row == nil {
		row = make([]*string, len(ts.columns))
		for i, c := range ts.columns {
			row[i] = ts.whenNone[c]
		}
	}
	for i, p := range ts.places(common(m.base[name], m.theirs[name])) {
		row[p] = e.theirs[i]
	}
	return row
}

func (m *model) refuseUnique(name string, ts *tableState, rows map[string][]*string, out map[*expected][]missing.Class) {
	for _, unique := range ts.uniques {
		places := ts.places(unique)
		held := map[string]int{}
		for _, row := range rows {
			if s, null := join(row, places); !null {
				held[s]++
			}
		}
		for key, e := range m.merging[name] {
			if e.theirs == nil {
				continue
			}
			if s, null := join(rows[key], places); !null && held[s] > 1 {
				out[e] = append(out[e], missing.Unique)
			}
		}
	}
	if ts.excludes != "" {
		m.refuseMeeting(name, ts.places([]string{ts.excludes})[0], rows, out)
	}
}

// refuseMeeting refuses rows whose range meets that of another row.
func (m *model) refuseMeeting(name string, place int, rows map[string][]*string, out map[*expected][]missing.Class) {
	for key, e := range m.merging[name] {
		for other, row := range rows {
			if e.theirs != nil && other != key && meet(rows[key][place], row[place]) {
				out[e] = append(out[e], missing.Unique)
				break
			}
		}
	}
}

func meet(a, b *string) bool {
	if a == nil || b == nil {
		return false
	}
	a0, a1 := bounds(*a)
	b0, b1 := bounds(*b)
	return a0 < b1 && b0 < a1
}

// bounds reads a range of whole numbers, "[1,4)".
func bounds(s string) (from, to int) {
	low, high, _ := strings.Cut(strings.Trim(s, "[)"), ",")
	from, _ = strconv.Atoi(low)
	to, _ = strconv.Atoi(high)
	return from, to
}

// refuseForeign refuses rows without what they refer to, and takes nothing away that an active row refers to.
func (m *model) refuseForeign(name string, ts *tableState, f foreign, rows map[string][]*string, out map[*expected][]missing.Class) {
	parent := m.active[f.table]
	there := map[string]bool{}
	for _, row := range m.merged(f.table) {
		s, _ := join(row, parent.places(f.there))
		there[s] = true
	}
	for key, row := range rows {
		s, null := join(row, ts.places(f.columns))
		if null || there[s] {
			continue
		}
		if e := m.merging[name][key]; e != nil {
			out[e] = append(out[e], missing.ForeignParent)
			continue
		}
		was := parent.byKey(parent.key, parent.columns)
		for k, e := range m.merging[f.table] {
			if held, _ := join(orNulls(was[k], parent), parent.places(f.there)); held == s {
				out[e] = append(out[e], missing.ForeignChild)
			}
		}
	}
}

func orNulls(row []*string, ts *tableState) []*string {
	if row == nil {
		return make([]*string, len(ts.columns))
	}
	return row
}
