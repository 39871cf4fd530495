package missing_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

const kindsBefore = `
create domain positive as int check (value > 0); create type mood as enum ('good', 'bad'); create type pair as (a int, b json);
create table types (id int generated always as identity primary key, j json, p point, b box, x xml, m mood, d positive, c pair, a int[], ja json[], r int4range,
	f bool, ch char(5), twice int generated always as (d * 2) stored, dropped text, v varchar(9), bt bytea, f8 float8, ts timestamptz, ip inet);
alter table types drop column dropped;
insert into types (j, d) values ('{"a": 1}', 1), ('{"a":2}', 2);
create table keys (a int, b int not null, c int not null, d int not null, unique (a));
create unique index on keys (b) where b > 0; create unique index on keys ((c + 1)); create unique index on keys (c, d);
alter table keys add constraint later unique (d) deferrable;
insert into keys values (1, 1, 1, 1);
create table parts (id int, at int, note text, primary key (at, id)) partition by range (at);
create table parts_1 partition of parts for values from (0) to (10);
create table parts_2 (note text, junk int, at int not null, id int not null); alter table parts_2 drop column junk; alter table parts attach partition parts_2 for values from (10) to (20);
create table parts_3 partition of parts for values from (20) to (30) partition by range (at);
create table parts_3a partition of parts_3 for values from (20) to (25);
create table parts_d partition of parts default;
insert into parts values (1, 1, 'one'), (2, 11, 'two'), (3, 21, 'three'), (4, 35, 'four'), (5, 36, 'five');
create table emptied (id int primary key, v text); insert into emptied values (1, 'a'), (2, 'b');
create table altered (id int primary key, n int, old text, kept text); insert into altered values (1, 1, 'x', 'k'), (2, 2, 'y', 'k');
create table widened (id int primary key, v text); insert into widened values (1, 'a'), (2, 'b');
create table vacuumed (id int primary key, v text); insert into vacuumed values (1, 'a'), (2, 'b'), (3, 'c');
create table remade (id int primary key, v text); insert into remade values (1, 'a'), (2, 'b');
create table removed (id int primary key); insert into removed values (1);
create table parent (id int); create table child (more text) inherits (parent); insert into parent values (1); insert into child values (2, 'c');
create unlogged table unlogged (id int); create materialized view view_m as select count(*) from parent;
create sequence moved; create sequence still; create table nothing (); create schema "Odd ""s"; create table "Odd ""s"."T '1" ("c "" 1" int primary key);
insert into "Odd ""s"."T '1" values (1);
create view looks as select id from parent; create function double(i int) returns int language sql as 'select i * 2'`

var kindsBehind = []string{
	`insert into types (j, p, b, x, m, d, c, a, ja, r, f, ch, v, bt, f8, ts, ip) values ('{"b":  3}', '(1,2)', '(1,1),(0,0)', '<a/>', 'good', 3, row(1, '[]'), '{1,null}', '{"{}"}', '[1,5)',
		true, 'ab', 'v', '\x00ff', 0.1, '2020-01-01 12:00+02', '10.0.0.1')`,
	`update types set f = false where id = 1`,
	`update keys set a = 2`,
	`update parts set at = 12 where id = 1`, `update parts set note = 'drei' where id = 3`,
	`begin; create table parts_4 (like parts); insert into parts_4 select * from parts_d where at = 35; delete from parts_d where at = 35; alter table parts attach partition parts_4 for values from (30) to (36); commit`,
	`insert into parts values (6, 35, 'six')`,
	`insert into parts values (7, 2, 'seven')`,
	`truncate emptied; insert into emptied values (2, 'b'), (3, 'c')`,
	`alter table altered alter n type bigint, drop column old, add column fresh int default 7, add check (n > 0)`, `alter table altered rename kept to stayed`,
	`update altered set n = 5 where id = 2`,
	`alter table widened add column w int default 1; alter table widened rename to wider`, `insert into wider values (3, 'c', 2)`,
	`vacuum full vacuumed`, `update vacuumed set v = 'z' where id = 2; delete from vacuumed where id = 3`, `cluster vacuumed using vacuumed_pkey`,
	`drop table remade; create table remade (v text, id int primary key, extra int); insert into remade values ('a', 1, 1), ('n', 3, 1)`,
	`drop table removed`,
	`create table made (id int primary key, v text, j json); insert into made values (1, 'a', '{}'); delete from made; insert into made values (2, 'b', '{}')`,
	`update parent set id = id + 10`,
	`insert into unlogged values (1)`, `refresh materialized view view_m`,
	`select nextval('moved'); select nextval('moved'); create sequence made_s increment -2; create table nothing_2 (); insert into nothing default values`,
	`insert into "Odd ""s"."T '1" values (2)`,
	`alter type mood add value 'so'; create or replace view looks as select id, 1 as one from parent; create or replace function double(i int) returns int language sql as 'select i + i'`,
	`create index on keys (d); create function late() returns int language sql as 'select 1'`,
}

func TestASetOfEveryKindOfTable(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, kindsBefore)
		l.between(`select 1`, kindsBehind...)
		in := l.input(l.scan())
		all, _ := l.sets(in)
		s := all["postgres"]
		checkTypes(t, s)
		checkPartitions(t, s)
		checkReplaced(t, s)
		checkSchema(t, s)
		in.Changes.Expired = true
		missing.HoldFewRows(t, 1)
		l.whole(in, s)
	})
}

func checkTypes(t *testing.T, s *changeSet) {
	t.Helper()
	s.describe(t, "types", "public.types wal key [0] (id integer identity a, j json text, p point text, b box text, x xml text, m public.mood, d public.positive, "+
		"c public.pair text, a integer[], ja json[] text, r int4range, f boolean, ch character(5), twice integer generated, v character varying(9), bt bytea, "+
		"f8 double precision, ts timestamp with time zone, ip inet)")
	null := strings.Repeat("|NULL", 4)
	s.expect(t, "types", `n 3|{"b":  3}|(1,2)|(1,1),(0,0)|<a/>|good|3|(1,[])|{1,NULL}|{"{}"}|[1,5)|t|ab   |6|v|\x00ff|0.1|2020-01-01 10:00:00+00|10.0.0.1`,
		`o 1|{"a": 1}`+null+`|1`+null+`|NULL|NULL|2`+null+`|NULL`, `n 1|{"a": 1}`+null+`|1`+null+`|f|NULL|2`+null+`|NULL`)
	s.describe(t, "keys", "public.keys wal key [2 3] (a integer, b integer, c integer, d integer)")
	s.expect(t, "keys", "o 1|1|1|1", "n 2|1|1|1")
	s.describe(t, `T '1`, `Odd "s.T '1 wal key [0] (c " 1 integer)`)
	s.expect(t, `T '1`, "n 2")
	s.expect(t, "parent", "o 1", "n 11")
	s.expect(t, "child", "o 2|c", "n 12|c")
	s.expect(t, "nothing", "n ")
}

func checkPartitions(t *testing.T, s *changeSet) {
	t.Helper()
	s.describe(t, "parts", "public.parts wal key [1 0] (id integer, at integer, note text)")
	s.expect(t, "parts", "o 1|1|one", "n 1|12|one", "o 3|21|three", "n 3|21|drei", "n 6|35|six", "n 7|2|seven")
	for _, x := range s.Tables {
		if strings.HasPrefix(x.Name, "parts_") {
			t.Errorf("partition %s is listed by itself", x.Name)
		}
	}
}

func checkReplaced(t *testing.T, s *changeSet) {
	t.Helper()
	s.describe(t, "emptied", "public.emptied whole key [0] (id integer, v text)")
	s.expect(t, "emptied", "o 1|a", "n 3|c")
	s.describe(t, "altered", "public.altered whole key [0] (id integer, n integer, kept text)")
	s.expect(t, "altered", "o 2|2|k", "n 2|5|k")
	s.describe(t, "widened", "public.widened wal key [0] (id integer, v text)")
	s.expect(t, "widened", "n 3|c")
	s.expect(t, "vacuumed", "o 2|b", "n 2|z", "o 3|c")
	s.describe(t, "remade", "public.remade whole key [0] (id integer, v text)")
	s.expect(t, "remade", "o 2|b", "n 3|n")
	s.describe(t, "removed", "public.removed dropped key [] (id integer)")
	s.expect(t, "removed")
	s.describe(t, "made", "public.made made key [0] (id integer, v text, j json text)")
	s.expect(t, "made", "n 2|b|{}")
}

func checkSchema(t *testing.T, s *changeSet) {
	t.Helper()
	if d := cmp.Diff([]missing.Sequence{{Schema: "public", Name: "made_s", Last: -1, Increment: -2}, {Schema: "public", Name: "moved", Last: 33, Called: true, Increment: 1},
		{Schema: "public", Name: "types_id_seq", Last: 35, Called: true, Increment: 1}},
		zeroOIDs(s.Sequences)); d != "" {
		t.Errorf("sequences: want -, got +\n%s", d)
	}
	if d := cmp.Diff([]missing.Blind{{Object: "materialized view public.view_m", Reason: "what it holds is computed, and changed after the fork: refresh it"},
		{Object: "table public.unlogged", Reason: "unlogged: its changes are not in WAL"}}, s.Blind); d != "" {
		t.Errorf("blind: want -, got +\n%s", d)
	}
	var got []string
	for _, d := range s.Drift {
		got = append(got, d.Object+" "+d.Text)
	}
	for _, want := range []string{
		"table public.altered column fresh was added", "table public.altered column old was dropped", "table public.altered column n was integer, and is bigint",
		"table public.altered column kept was renamed to column stayed", "table public.altered constraint altered_n_check was added",
		"table public.widened was renamed to table public.wider", "table public.widened column w was added", "table public.removed was dropped", "table public.made was added",
		"type public.mood was enum of 'good', 'bad', and is enum of 'good', 'bad', 'so'", "view public.looks was changed", "function public.double(i integer) was changed",
		"function public.late() was added", "table public.keys index keys_d_idx was added", "table public.parts_4 was added", "sequence public.made_s was added",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("drift does not say %q", want)
		}
	}
	for _, d := range got {
		if strings.Contains(d, "vacuumed") || strings.Contains(d, "emptied") || strings.Contains(d, "public.types") {
			t.Errorf("drift says %q, and nothing of the schema changed there", d)
		}
	}
}

func zeroOIDs(s []missing.Sequence) []missing.Sequence {
	for i := range s {
		s[i].OID = 0
	}
	return s
}

// whole compares everything again, as it is done when WAL has expired, and expects the same.
func (l *oldLine) whole(in missing.ReadInput, byWAL *changeSet) {
	l.t.Helper()
	in.Dir, l.dir = l.t.TempDir(), l.t.TempDir()
	in.Changes.Tables = nil
	postgrestest.Check(l.t, l.copy.Stop(l.t.Context(), postgres.Fast))
	l.copy = l.spare
	all, _ := l.sets(in)
	s := all["postgres"]
	if left, _ := filepath.Glob(filepath.Join(in.Dir, "*.zst.*")); len(left) > 0 {
		l.t.Errorf("files are left behind: %v", left)
	}
	if !s.Whole {
		l.t.Error("the header does not say that all was compared as a whole")
	}
	for _, x := range byWAL.Tables {
		if d := cmp.Diff(byWAL.rows(l.t, x.Name), s.rows(l.t, x.Name)); d != "" {
			l.t.Errorf("%s: by WAL -, as a whole +\n%s", x.Name, d)
		}
	}
	for i, x := range s.Tables {
		if n := len(s.rows(l.t, x.Name)); n > 0 && !slices.ContainsFunc(byWAL.Tables, func(y missing.Table) bool { return y.Name == x.Name }) {
			l.t.Errorf("table %d, %s, has %d rows by a full comparison only", i, x.Name, n)
		}
	}
	if d := cmp.Diff(fmt.Sprint(zeroOIDs(byWAL.Sequences)), fmt.Sprint(zeroOIDs(s.Sequences))); d != "" {
		l.t.Errorf("sequences: by WAL -, as a whole +\n%s", d)
	}
}
