package missing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// Random histories: what is found is exactly how tip and fork differ, each change has the class that it has to have, and a merge leads to
// exactly the state that the model says. Once more, there is nothing left to do; undone, all is as before.
func TestHistories(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		for i, v := range variants() {
			t.Run(v.name, func(t *testing.T) {
				testHistories(t, open(t, bin, schemasPerDatabase, 1, (i+bin.Major())%2 == 1, v))
			})
		}
	})
}

func testHistories(t *testing.T, o *opening) {
	o.goOn(30)
	tip := o.tips[0]
	exact := o.scan(tip.at, o.walk)
	expired := *exact
	expired.Expired = true
	all := o.read(tip, exact, o.scan(tip.at, o.blind), &expired)
	found := all[0]
	for _, d := range databases {
		m := o.model(tip, d, stateOf(t, o.active, d), missing.Keep)
		report(t, d+", by a full comparison", m.judgeSet(t, all[2][d]))
	}
	for i, d := range databases {
		policy := []missing.Policy{missing.Keep, missing.Theirs}[i%2]
		o.mergeAndBack(d, found[d], policy)
	}
	o.testBlind(all[1])
}

// mergeAndBack previews and merges one database, again, and undoes it.
func (o *opening) mergeAndBack(database string, set []byte, policy missing.Policy) {
	t := o.t
	before := stateOf(t, o.active, database)
	m := o.model(o.tips[0], database, before, policy)
	o.previews(database, set, before)
	if diff := diffStates(before, stateOf(t, o.active, database)); diff != "" {
		t.Fatalf("a preview changed something:\n%s", diff)
	}
	done := o.merge(set, database, missing.MergeInput{Apply: true, Policy: policy})
	report(t, database+", merged with "+string(policy), m.judge(done))
	after := stateOf(t, o.active, database)
	if diff := diffStates(m.after(), after); diff != "" {
		t.Errorf("%s after the merge:\n%s", database, diff)
	}
	o.sound(database)
	o.nothingLeft(database, set, m, done)
	o.undo(database, done, before)
}

// previews are merges that change nothing: of all kinds, or of one that falls to this database.
func (o *opening) previews(database string, set []byte, before state) {
	kinds := []func(){
		func() {
			m := o.model(o.tips[0], database, before, missing.Theirs)
			report(o.t, database+", preview with theirs", m.judge(o.merge(set, database, missing.MergeInput{Policy: missing.Theirs})))
		},
		func() { o.decided(database, set) },
		func() { o.whole(database, set) },
		func() {
			m := o.model(o.tips[0], database, before, missing.Keep)
			report(o.t, database+", preview with keep", m.judge(o.merge(set, database, missing.MergeInput{})))
		},
	}
	for i, preview := range kinds {
		if full() || i == slices.Index(databases, database)%len(kinds) {
			preview()
		}
	}
}

func (o *opening) model(tip tip, database string, active state, policy missing.Policy) *model {
	return o.modelAfter(tip, database, active, policy, &merges{})
}

// modelAfter is the model of a merge that follows on earlier ones.
func (o *opening) modelAfter(tip tip, database string, active state, policy missing.Policy, earlier *merges) *model {
	m := &model{writers: tip.writers[database], earlier: earlier, base: o.base[database], theirs: tip.states[database], active: active, policy: policy, twoPhase: map[string]bool{}}
	for _, h := range o.histories {
		for _, p := range h.ended {
			for _, key := range p.keys {
				m.twoPhase[h.schema+".twop "+key] = h.database == database && p.committed || m.twoPhase[h.schema+".twop "+key]
			}
		}
	}
	m.compare()
	return m
}

func report(t testing.TB, what string, wrong []string) {
	t.Helper()
	if len(wrong) > 0 {
		t.Errorf("%s: %d changes are wrong:\n%s", what, len(wrong), strings.Join(wrong[:min(len(wrong), 25)], "\n"))
	}
}

// after is the state that the merge leads to.
func (m *model) after() state {
	out := state{}
	for name, ts := range m.active {
		after := *ts
		if len(ts.key) > 0 {
			after.rows = nil
			for _, row := range m.merged(name) {
				after.rows = append(after.rows, row)
			}
		}
		out[name] = &after
	}
	for _, e := range m.changes {
		if ts := out[e.table]; e.applied && ts != nil && len(ts.key) == 0 {
			ts.rows = m.bagAfter(e, ts.rows)
		}
	}
	return out
}

// bagAfter adds a row without a key to others, or takes one away.
func (m *model) bagAfter(e *expected, rows [][]*string) [][]*string {
	row := e.row
	if e.op == missing.Insert {
		return append(append([][]*string{}, rows...), row)
	}
	for i := range rows {
		if whole(rows[i]) == whole(row) {
			return append(append([][]*string{}, rows[:i]...), rows[i+1:]...)
		}
	}
	return rows
}

// sound checks that constraints hold: a merge may have gone past them.
func (o *opening) sound(database string) {
	o.t.Helper()
	conn := postgrestest.Open(o.t, o.active, database)
	defer conn.Close(context.Background())
	st := describe(o.t, conn)
	var what []string
	var sql strings.Builder
	ask := func(name, query string) {
		what = append(what, name)
		sql.WriteString(query + ";\n")
	}
	for _, n := range sortedKeys(st) {
		for _, u := range st[n].uniques {
			columns := strings.Join(u, ", ")
			ask(n+": one row for each "+columns, fmt.Sprintf("select from %s where (%s) is not null group by %s having count(*) > 1", from(n), columns, columns))
		}
		for _, f := range st[n].foreigns {
			ask(n+": "+f.name, fmt.Sprintf("select from %s where %s is not null and %s not in (select %s from %s where %s is not null)", n, f.columns[0], f.columns[0], f.there[0], f.table, f.there[0]))
		}
		if st[n].excludes != "" {
			ask(n+": no two meet", fmt.Sprintf("select from %s a join %s b on a.id < b.id and a.during && b.during", n, n))
		}
		if strings.HasSuffix(n, ".items") {
			ask(n+": what is computed", "select from "+n+" where g <> 2 * n")
		}
	}
	sql.WriteString("select")
	for i, r := range query(o.t, conn, "set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off;"+sql.String())[3:] {
		if i < len(what) && len(r.Rows) > 0 {
			o.t.Errorf("%s does not hold %s", database, what[i])
		}
	}
}

// nothingLeft merges once more: all that was merged is there, and nothing changes.
func (o *opening) nothingLeft(database string, set []byte, m *model, done outcome) {
	before := stateOf(o.t, o.active, database)
	again := o.merge(set, database, missing.MergeInput{Apply: true, Policy: m.policy, Merged: merged(done.undo)})
	for _, c := range again.changes {
		if c.Applied || c.Class == missing.Missing {
			o.t.Errorf("%s: the second merge finds %s %s of %s.%s %s", database, c.Class, c.Op, c.Schema, c.Table, whole(c.Key))
		}
	}
	if diff := diffStates(before, stateOf(o.t, o.active, database)); diff != "" {
		o.t.Errorf("%s: the second merge changed something:\n%s", database, diff)
	}
}

// undo leads back to the state before a merge.
func (o *opening) undo(database string, done outcome, before state) {
	var sql strings.Builder
	if done.undo == nil {
		o.t.Errorf("%s: the merge gave no undo record", database)
		return
	}
	if err := missing.UndoSQL(&sql, *done.undo); err != nil {
		o.t.Errorf("%s: undo: %v", database, err)
		return
	}
	conn := postgrestest.Open(o.t, o.active, database)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(o.t.Context(), sql.String(), pgx.QueryExecModeSimpleProtocol); err != nil {
		o.t.Errorf("%s: undo: %v", database, err)
		return
	}
	if diff := diffStates(before, stateOf(o.t, o.active, database)); diff != "" {
		o.t.Errorf("%s, undone:\n%s", database, diff)
	}
}

// blind is a walk for the control: it says of what was written before the fork that nobody who committed wrote it, and so loses rows of
// transactions that were open there.
func (o *opening) blind(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
	return o.walk(ctx, from, to, func(r wal.Record) error {
		if r.Start < o.fork && r.XID != 0 {
			r.XID = bootstrap
		}
		return visit(r)
	})
}

// bootstrap is a transaction that never ends (BootstrapTransactionId).
const bootstrap = 1

func (o *opening) testBlind(blind sets) {
	wrong := 0
	for _, d := range databases {
		m := o.model(o.tips[0], d, stateOf(o.t, o.active, d), missing.Keep)
		if wrong += len(m.judge(o.merge(blind[d], d, missing.MergeInput{}))); wrong > 0 {
			break
		}
	}
	if wrong == 0 {
		o.t.Error("a scan that begins at the fork finds everything: no transaction was open there, or this test sees nothing")
	}
	o.t.Logf("control: a scan from the fork on is wrong about %d changes", wrong)
}
