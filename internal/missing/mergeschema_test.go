package missing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

var schemaCases = []mergeCase{
	{
		name: "types of all kinds",
		schema: `create schema s; create type s.mood as enum ('sad', 'ok'); create domain s.positive as int check (value > 0); create type s.pair as (a int, b s.mood);
			create table s.t (k s.mood primary key, d s.positive, p s.pair, ps s.pair[], r int4range, ms s.mood[], j json, jb jsonb, x xml, c char(5), v varchar(3), b bool, f float8, n numeric(8,2),
				ts timestamptz, i interval, by bytea, pt point, bits bit(3), inet inet, u uuid, tv tsvector, "char" "char", reg regclass, arr int[][]);`,
		old: `insert into s.t values ('sad', 3, row(1, 'ok'), array[row(2, null)::s.pair, null, row(null, null)::s.pair], '[1,5)', '{ok,null}', '{"a" : 1}', '{"a": 1}', '<a/>', 'ab', 'abc', true, 0.1, 1.5,
				'2026-01-02 03:04:05+06', '1 year 2 days', '\x00ff', '(1,2)', '101', '10.0.0.1', '00000000-0000-0000-0000-000000000001', 'a b', 'x', 'pg_class', '{{1,2},{3,null}}');
			insert into s.t (k, p) values ('ok', row(null, null))`,
		said:  "missing insert t sad +\nmissing insert t ok +",
		table: "s.t",
		rows: `(ok,,"(,)",,,,,,,,,,,,,,,,,,,,,,) (sad,3,"(1,ok)","{""(2,)"",NULL,""(,)""}","[1,5)","{ok,NULL}","{""a"" : 1}","{""a"": 1}",<a/>,"ab   ",abc,t,0.1,1.50,"2026-01-01 21:04:05+00","1 year 2 days",` +
			`"\\x00ff","(1,2)",101,10.0.0.1,00000000-0000-0000-0000-000000000001,"'a' 'b'",x,pg_class,"{{1,2},{3,NULL}}")`,
	},
	{
		name:   "a label that has another name now",
		schema: `create type mood as enum ('sad', 'ok'); create table t (id int primary key, m mood); insert into t values (1, 'ok'), (2, 'ok')`,
		old:    `insert into t values (3, 'sad'), (4, 'ok'); update t set m = 'sad' where id = 1`,
		active: `alter type mood rename value 'sad' to 'blue'`,
		said:   "schema-drift update t 1\nschema-drift insert t 3\nmissing insert t 4 +",
		table:  "t", rows: "(1,ok) (2,ok) (4,ok)",
	},
	{
		name:   "columns of other types",
		schema: `create table t (id int primary key, a varchar(10), b bigint, c numeric); insert into t values (1, 'a', 1, 1)`,
		old:    `insert into t values (2, 'abcdef', 1, 1), (3, 'abc', 3000000000, 1), (4, 'abc', 1, 1.5), (5, 'abc', 5, 5); update t set a = 'b' where id = 1`,
		active: `alter table t alter a type varchar(3), alter b type int, alter c type numeric(5,0)`,
		said:   "missing update t 1 +\nschema-drift insert t 2\nschema-drift insert t 3\nschema-drift insert t 4\nmissing insert t 5 +",
		table:  "t", rows: "(1,b,1,1) (5,abc,5,5)",
	},
	{
		name:   "a table that is gone",
		schema: mergeItems, old: `insert into items values (4, 'd', 4)`, active: `drop table items; create table items2 ()`,
		said: "schema-drift insert items 4", table: "items2", rows: "",
	},
	{
		name:   "a table that was made later, and is there by its name",
		schema: `select 1`, old: `create table made (id int primary key, v text); insert into made values (1, 'a'), (2, 'b')`, active: `create table made (id int primary key, v text, w int default 7); insert into made values (1, 'x')`,
		said: "both-inserted insert made 1\nmissing insert made 2 +", table: "made", rows: "(1,x,7) (2,b,7)",
	},
	{
		name:   "a column that has to hold something",
		schema: mergeItems, old: `insert into items values (4, 'd', 4); update items set n = 5 where id = 1`, active: `alter table items add must int; update items set must = id; alter table items alter must set not null`,
		said: "missing update items 1 +\nschema-drift insert items 4", table: "items", rows: "(1,a,5,1) (2,b,2,2) (3,c,3,3)",
	},
	{
		name: "partitions, and rows that move between them",
		schema: `create table p (id int, at int, v text, primary key (id, at)) partition by range (at); create table p1 partition of p for values from (0) to (10);
			create table p2 partition of p for values from (10) to (20) partition by range (at); create table p2a partition of p2 default; insert into p values (1, 1, 'a'), (2, 2, 'b'), (3, 13, 'c')`,
		old:    `update p set at = 12 where id = 1; update p set v = 'B' where id = 2; delete from p where id = 3; insert into p values (4, 4, 'd'), (5, 15, 'e')`,
		active: `alter table p detach partition p1; drop table p1; create table p1 partition of p for values from (0) to (3); insert into p values (1, 1, 'a'), (2, 2, 'b')`,
		said:   "missing delete p 1 1 +\nmissing insert p 1 12 +\nmissing update p 2 2 +\nmissing delete p 3 13 +\nschema-drift insert p 4 4\nmissing insert p 5 15 +",
		table:  "p", rows: "(1,12,a) (2,2,B) (5,15,e)",
	},
	{
		name: "exclusion, partial and expression indexes",
		schema: `create table e (id int primary key, r int4range, name text, live bool, exclude using gist (r with &&)); create unique index on e (lower(name)) where live;
			insert into e values (1, '[1,5)', 'A', true), (2, '[10,15)', 'b', false)`,
		old:    `insert into e values (3, '[20,25)', 'c', true), (4, '[30,35)', 'd', true), (5, '[40,45)', 'dead', false); update e set r = '[3,7)' where id = 1`,
		active: `insert into e values (9, '[22,23)', 'D', true), (8, '[50,55)', 'DEAD', true)`,
		said:   "missing update e 1 +\nunique insert e 3\nunique insert e 4\nmissing insert e 5 +",
		table:  "e", rows: "(1,\"[3,7)\",A,t) (2,\"[10,15)\",b,f) (5,\"[40,45)\",dead,f) (8,\"[50,55)\",DEAD,t) (9,\"[22,23)\",D,t)",
	},
	{
		name: "references in a circle, of several columns, and to oneself",
		schema: `create table a (x int, y int, b int, primary key (x, y)); create table b (id int primary key, x int, y int, foreign key (x, y) references a match full deferrable initially deferred, up int references b);
			alter table a add foreign key (b) references b deferrable initially deferred; insert into b values (1, null, null, 1), (2, null, null, 1)`,
		old: `begin; insert into a values (1, 1, 10), (2, 2, 11), (3, 3, null); insert into b values (10, 1, 1, 10), (11, 2, 2, 10), (12, null, null, 2), (13, 3, 3, 13); commit;
			delete from b where id = 1 and false`,
		active: `delete from b where id = 2; insert into b values (11, null, null, null)`,
		said:   "missing insert a 1 1 +\nmissing insert a 2 2 +\nmissing insert a 3 3 +\nmissing insert b 10 +\nboth-inserted insert b 11\nfk-parent insert b 12\nmissing insert b 13 +",
		table:  "b", rows: "(1,,,1) (10,1,1,10) (11,,,) (13,3,3,13)",
	},
	{
		name: "triggers, rules and row security stay out of it",
		schema: mergeItems + `create table heard (what text); create function hear() returns trigger language plpgsql as $$ begin insert into heard values (tg_op); return null; end $$;
			create trigger t after insert or update or delete on items for each row execute function hear(); create rule r as on insert to items do also insert into heard values ('rule');
			alter table items enable row level security; alter table items force row level security; create function refuse() returns event_trigger language plpgsql as $$ begin raise exception 'no'; end $$`,
		old:    `set session_replication_role = replica; insert into items values (4, 'd', 4); update items set n = 20 where id = 2; delete from items where id = 3`,
		active: `create event trigger no on ddl_command_end execute function refuse()`,
		said:   "missing update items 2 +\nmissing delete items 3 +\nmissing insert items 4 +",
		table:  "(select count(*) from heard)", rows: "(0)",
	},
	{
		name: "quoted names",
		schema: `create schema "a ""b"; create table "a ""b"."T'x" ("I d" int primary key, "select" text unique, "%s" text references "a ""b"."T'x" ("select"), check ("select" <> 'no'));
			insert into "a ""b"."T'x" values (1, 'a', null)`,
		old:   `insert into "a ""b"."T'x" values (2, 'b', 'a'), (3, 'c', 'c'); update "a ""b"."T'x" set "select" = 'A%' where "I d" = 1 and false; update "a ""b"."T'x" set "%s" = 'b' where "I d" = 1`,
		said:  "missing update T'x 1 +\nmissing insert T'x 2 +\nmissing insert T'x 3 +",
		table: `"a ""b"."T'x"`, rows: "(1,a,b) (2,b,a) (3,c,c)",
	},
}

func TestMergeOverSchemas(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"timezone": "UTC"})
		for _, c := range schemaCases {
			t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.run(t, s) })
		}
	})
}

func TestPreparedTransactionsWait(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"max_prepared_transactions": "5"})
		h := partHistory(t, s, mergeItems, `update items set n = 20 where id = 2; insert into items values (4, 'd', 4)`, "")
		h.on(`begin; update items set n = 20 where id = 2; prepare transaction 'g''1'`)
		xid := h.ask(`select transaction from pg_prepared_xacts where gid = 'g''1'`)
		postgrestest.Exec(t, s, h.tip, "vacuum freeze") // its rows are of the prepared transaction, by their number
		h.rowXIDs = map[string]string{"2": xid}
		h.prepared = []missing.Prepared{{XID: number(t, xid), Fate: missing.Committed, AtFork: true}, {XID: 5, Fate: missing.Committed, AtFork: true}, {XID: 6, GID: "x", Fate: missing.InDoubt}}
		h.read()
		sum := h.merge(withApply)
		if diff := cmp.Diff("two-phase update items 2\nmissing insert items 4 +", h.said()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		want := []missing.PreparedSummary{{Prepared: missing.Prepared{XID: number(t, xid), GID: "g'1", Fate: missing.Committed, AtFork: true}, Command: "COMMIT PREPARED 'g''1'"},
			{Prepared: missing.Prepared{XID: 6, GID: "x", Fate: missing.InDoubt}}}
		if diff := cmp.Diff(want, sum.Prepared); diff != "" {
			t.Errorf("prepared (-want +got):\n%s", diff)
		}
		h.on(sum.Prepared[0].Command)
		h.merge(withApply)
		if diff := cmp.Diff("alike update items 2\nsame insert items 4", h.said()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", sum.Prepared[0].Command, diff)
		}
	})
}

func TestTransactionsAreHeldThroughRowsThatTheyShare(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, `begin; update items set n = 10 where id = 1; update items set n = 20 where id = 2; commit; begin; update items set n = 21 where id = 2; insert into items values (5, 'e', 5); commit;
			insert into items values (6, 'f', 6)`, `update items set n = 11 where id = 1`)
		h.rowXIDs = map[string]string{"old 2": postgrestest.Query(t, s, h.tip, "select xmin from items where id = 1")}
		h.read()
		h.merge(withWhole, withApply)
		if diff := cmp.Diff("both-updated update items 1\nheld update items 2\nheld insert items 5\nmissing insert items 6 +", h.said()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestSequencesMoveOn(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, `create sequence near; create sequence far; create sequence down increment -2; create sequence ahead; create sequence fresh; create sequence "r'n" increment 5`,
			`select nextval('near') from generate_series(1, 30); select setval('far', 1000000); select nextval('down') from generate_series(1, 10); select nextval('ahead'); select setval('r''n', 21)`,
			`select nextval('near') from generate_series(1, 5); select nextval('ahead') from generate_series(1, 5); select nextval('r''n')`)
		for range 2 {
			h.merge(withApply)
			got := h.ask(`select string_agg(sequencename || ' ' || coalesce(last_value::text, '-'), ', ' order by sequencename collate "C") from pg_sequences`)
			if want := "ahead 5, down -19, far 1000000, fresh -, near 30, r'n 21"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if sum := h.merge(withApply); len(sum.Sequences) != 0 {
			t.Errorf("the last time: %+v", sum.Sequences)
		}
	})
}

func TestAMergeNeedsRights(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, `update items set n = 20 where id = 2`, `create role "o'x" login; alter table items owner to "o'x"`)
		h.user = "o'x"
		if sum := h.merge(); sum.Classes[missing.Missing] != 1 || !strings.Contains(strings.Join(sum.Notes, " "), "but not merge") {
			t.Errorf("a comparison: %+v", sum)
		}
		_, err := h.try(withApply)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), `grant set on parameter session_replication_role to "o'x"`) {
			t.Errorf("a merge: %v, %s", err, fault.HintOf(err))
		}
		h.on(`grant set on parameter session_replication_role to "o'x"`)
		h.merge(withApply)
		if got := h.rows("items"); got != "(1,a,1) (2,b,20) (3,c,3)" {
			t.Errorf("after the merge: %s", got)
		}
	})
}

func TestTriggersThatAlwaysFireAreNamed(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, `update items set n = 20 where id = 2`, `create function f() returns trigger language plpgsql as $$ begin return new; end $$;
			create trigger tg before update on items for each row execute function f(); alter table items enable always trigger tg`)
		if sum := h.merge(); !strings.Contains(strings.Join(sum.Notes, " "), "public.items.tg") {
			t.Errorf("notes: %v", sum.Notes)
		}
	})
}

// A key that the active side cannot read is drift, which is said without the key: summaries are read by many.
func TestAKeyThatCannotBeRead(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		h := partHistory(t, postgrestest.Start(t, bin, nil), "create table k (id text primary key, v int)", "insert into k values ('secret', 1)",
			"alter table k alter id type int using 1")
		sum := h.merge(withApply)
		said := fmt.Sprint(sum.Drift)
		if sum.Classes[missing.SchemaDrift] != 1 || !strings.Contains(said, "cannot read the values of its key: SQLSTATE 22P02") || strings.Contains(said, "secret") {
			t.Errorf("%+v", sum)
		}
	})
}
