package missing_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

const treesBefore = `create table tree (id int, k int, note text, unique (id, k)) partition by list (k);
	alter table tree alter id set not null, alter k set not null;
	create table tree_1 partition of tree for values in (1); create table tree_2 partition of tree for values in (2);
	create table tree_3 partition of tree for values in (3); create table tree_4 partition of tree for values in (4);
	insert into tree select i, 1 + i % 4, 'n' || i from generate_series(1, 12) i;
	create table loose (note text, k int not null, id int not null); insert into loose values ('n50', 5, 50), ('n51', 5, 51);
	create table there (id int primary key) tablespace ts; insert into there values (1), (2);
	create table goes (id int primary key); insert into goes values (1), (2);
	create table rolled (id int primary key); insert into rolled values (1);
	create table gone_tree (id int) partition by list (id); create table gone_tree_1 partition of gone_tree for values in (1); insert into gone_tree values (1)`

func TestASetOfPartitionsAndTablespaces(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, "create tablespace ts location ''", treesBefore)
		l.between("select 1",
			`update tree_1 set note = 'w' where id = 4`,
			`truncate tree_2; insert into tree_2 values (1, 2, 'n1'), (13, 2, 'n13')`, `vacuum full tree_3`, `update tree set k = 3 where id = 8`,
			`insert into tree values (15, 4, 'n15')`, `drop table tree_4`,
			`alter table tree detach partition tree_3`, `insert into tree_3 values (16, 3, 'n16')`,
			`alter table tree attach partition loose for values in (5)`, `update tree set note = 'l' where id = 51`,
			`insert into there values (3)`, `alter table goes set tablespace ts`, `delete from goes where id = 1`,
			`begin; truncate rolled; rollback`, `drop table gone_tree`)
		all, _ := l.sets(l.input(l.scan()))
		s := all["postgres"]
		s.describe(t, "tree", "public.tree whole key [0 1] (id integer, k integer, note text)")
		s.expect(t, "tree", "o 4|1|n4", "n 4|1|w", "o 5|2|n5", "o 9|2|n9", "n 13|2|n13", "o 8|1|n8", "n 8|3|n8", "n 16|3|n16")
		s.describe(t, "loose", "public.loose wal key [] (note text, k integer, id integer)")
		s.expect(t, "loose", "o n51|5|51", "n l|5|51")
		s.expect(t, "there", "n 3")
		s.describe(t, "goes", "public.goes whole key [0] (id integer)")
		s.expect(t, "goes", "o 1")
		s.describe(t, "gone_tree", "public.gone_tree dropped key [] (id integer)")
		s.expect(t, "gone_tree")
		if slices.ContainsFunc(s.Tables, func(x missing.Table) bool { return x.Name == "rolled" }) {
			t.Error("a table is listed that only a rollback touched")
		}
		tree := s.table(t, "tree")
		for _, line := range s.lines {
			if line.Table == tree && line.TID != "" {
				t.Errorf("a row version of a partition has the place %s", line.TID)
			}
		}
	})
}

func TestASetOfGeneratedColumns(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		if bin.Major() < 18 {
			t.Skip("there are none before 18")
		}
		l := newOldLine(t, bin, `create table v (id int primary key, n int, inverse int generated always as (1 / n) virtual);
			create table during (id int4range, at int4range, primary key (id, at without overlaps));
			create table s (id int primary key, n int, g int generated always as (n * 2) stored);
			insert into v values (1, 1); insert into s values (1, 1); insert into during values ('[1,1]', '[1,2)')`)
		l.between("select 1", "update v set n = 0", "update during set at = '[1,3)'", "alter table s alter g set expression as (n * 3)")
		all, _ := l.sets(l.input(l.scan()))
		s := all["postgres"]
		s.describe(t, "v", "public.v wal key [0] (id integer, n integer)")
		s.expect(t, "v", "o 1|1", "n 1|0")
		s.describe(t, "s", "public.s whole key [0] (id integer, n integer, g integer generated)")
		s.expect(t, "s")
		s.expect(t, "during", "o [1,2)|[1,2)", "n [1,2)|[1,3)")
	})
}

func TestASetHasPreparedTransactionsOfItsDatabase(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore, "create database other")
		l.in("postgres", `begin; insert into t values (20, 'p'); prepare transaction 'p'`)
		l.fork = l.here()
		l.in("postgres", `commit prepared 'p'`)
		l.in("postgres", `begin; insert into t values (21, 'q'); prepare transaction 'q'`)
		l.tip = l.here()
		in := l.input(l.scan())
		in.Databases = []string{"postgres", "other"}
		all, _ := l.sets(in)
		all["postgres"].expect(t, "t", "n 20|p|NULL")
		fates := map[string]string{}
		for _, p := range all["postgres"].Prepared {
			fates[p.GID] = p.Fate
		}
		if d := cmp.Diff(map[string]string{"p": missing.Committed, "q": missing.InDoubt}, fates); d != "" {
			t.Errorf("want -, got +\n%s", d)
		}
		if n := len(all["other"].Prepared); n > 0 {
			t.Errorf("%d are told of another database", n)
		}
	})
}

func TestARowOfAnotherTransactionThanWALSaysIsAnError(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore)
		l.between("select 1", "insert into t values (11)", "insert into t values (12)")
		c := l.scan()
		in := l.input(c)
		l.play(l.fork)
		postgrestest.Check(t, missing.ReadFork(t.Context(), in))
		l.play(l.tip)
		for _, xid := range slices.Sorted(maps.Keys(c.Commits)) {
			changed := *c
			changed.Commits = maps.Clone(c.Commits)
			delete(changed.Commits, xid)
			in.Changes = &changed
			out := &failing{}
			_, err := missing.ReadTip(t.Context(), in, out.open)
			if inserted := c.Commits[xid]; fault.Is(err, fault.Corrupt) != l.wrote(inserted) {
				t.Errorf("without transaction %d: %v", xid, err)
			}
			if err != nil && !strings.Contains(err.Error(), "table public.t") {
				t.Errorf("the error does not name the table: %v", err)
			}
		}
	})
}

// wrote reports whether a transaction made one of the rows of t that are new.
func (l *oldLine) wrote(c missing.Commit) bool {
	return postgrestest.Query(l.t, l.old, "postgres", "exists (select from t where id > 10 and xmin::text = '"+strconv.Itoa(int(c.XID))+"')") == "true"
}
