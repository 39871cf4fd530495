package missing_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// rows are the lines of a table, as "n 1|a", in order.
func (s *changeSet) rows(t *testing.T, name string) []string {
	t.Helper()
	i, all := s.table(t, name), []string{}
	for _, l := range s.lines {
		if l.Table != i || l.Commit != nil {
			continue
		}
		text := make([]string, len(l.Values))
		for j, v := range l.Values {
			if text[j] = "NULL"; v != nil {
				text[j] = *v
			}
		}
		all = append(all, string(l.Side)+" "+strings.Join(text, "|"))
	}
	slices.Sort(all)
	return all
}

func (s *changeSet) expect(t *testing.T, table string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if d := cmp.Diff(append([]string{}, want...), s.rows(t, table)); d != "" {
		t.Errorf("%s: want -, got +\n%s", table, d)
	}
}

func (s *changeSet) describe(t *testing.T, table, want string) {
	t.Helper()
	x := s.Tables[s.table(t, table)]
	var names []string
	for _, c := range x.Columns {
		name := c.Name + " " + c.Type
		for flag, on := range map[string]bool{" generated": c.Generated, " text": c.Text, " identity " + c.Identity: c.Identity != ""} {
			if on {
				name += flag
			}
		}
		names = append(names, name)
	}
	if got := fmt.Sprintf("%s.%s %s key %v (%s)", x.Schema, x.Name, x.How, x.Key, strings.Join(names, ", ")); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

const simpleBefore = `create table t (id int primary key, v text, n numeric);
	insert into t select i, 'v' || i, i from generate_series(1, 10) i;
	create table quiet (id int primary key); insert into quiet values (1);
	create table bag (a int, b text); insert into bag values (1, 'x'), (1, 'x'), (1, 'x'), (2, null)`

func TestASetHasWhatWasCommittedAfterTheFork(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore)
		l.between(`update t set v = 'before' where id = 4`, `insert into t values (11, e'new\ttab\\ "quoted"', null);
			update t set v = 'changed', n = 1.50 where id = 2; update t set v = v where id = 3; delete from t where id = 4`,
			`begin; delete from t where id = 5; rollback`, `insert into t values (12, 'gone', 1); delete from t where id = 12;
			delete from bag where ctid = (select min(ctid) from bag where a = 1); insert into bag values (2, null), (3, '')`)
		c := l.scan()
		all, notes := l.sets(l.input(c))
		s := all["postgres"]
		if len(notes) > 0 || s.Fork != l.fork || s.Tip != l.tip || s.Workspace != "ws" || s.Lineage != "li" || s.Whole {
			t.Errorf("notes %q, header %+v", notes, s.Header)
		}
		s.describe(t, "t", "public.t wal key [0] (id integer, v text, n numeric)")
		s.expect(t, "t", "n 11|new\ttab\\ \"quoted\"|NULL", "o 2|v2|2", "n 2|changed|1.50", "o 4|before|4")
		s.describe(t, "bag", "public.bag wal key [] (a integer, b text)")
		s.expect(t, "bag", "o 1|x", "n 2|NULL", "n 3|")
		if slices.ContainsFunc(s.Tables, func(x missing.Table) bool { return x.Name == "quiet" }) {
			t.Error("a table is listed that nobody touched")
		}
		s.checkCommits(t, c)
	})
}

// checkCommits checks that each new row names a transaction, whose line precedes it, and where it is on the tip.
func (s *changeSet) checkCommits(t *testing.T, c *missing.Changes) {
	t.Helper()
	seen := map[uint32]bool{}
	for _, l := range s.lines {
		if l.Commit != nil {
			if *l.Commit != c.Commits[l.Commit.XID] || seen[l.Commit.XID] {
				t.Errorf("line of transaction %+v, WAL says %+v", *l.Commit, c.Commits[l.Commit.XID])
			}
			seen[l.Commit.XID] = true
			continue
		}
		if !seen[l.XID] || l.TID == "" {
			t.Errorf("line %+v has no transaction before it, or no place", l)
		}
	}
	if len(seen) == 0 {
		t.Error("no transaction is named")
	}
}
