package missing_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

const scripted = `select lo_from_bytea(60001, repeat('a', 3000)::bytea), lo_from_bytea(60002, 'two'); create table up (id int primary key, v text); create table down () inherits (up); insert into up values (1, 'a'); insert into down values (1, 'a');
	create table swap (id int primary key, u int unique, twice int generated always as (u * 2) stored); insert into swap values (1, 5), (2, 6), (3, 7);
	create table items (id int primary key, "a ""name""" text, n int, j json, d date, b boolean);
	insert into items values (1, 'a', 1, '{"x": 1}', '2026-02-03', true), (2, E'it''s\\ b' || chr(10) || '--', 2, null, null, null), (3, 'c', 3, '[]', null, false), (9, 'z', 9, null, null, null);
	create table log (v text); insert into log values ('x'), ('x')`

func yieldAll(all []missing.Change) iter.Seq2[missing.Change, error] {
	return func(yield func(missing.Change, error) bool) {
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func TestScripts(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, scripted, `select lo_unlink(60001), lo_put(60002, 0, 'TWO'), lo_from_bytea(60003, repeat('c', 3000)::bytea); delete from only up;
			update swap set u = -u; update swap set u = case id when 1 then 6 when 2 then 7 else 5 end; insert into items values (4, E'4''\\', 4, '{}', '2026-01-01', true); update items set n = null, j = '{"y":"''"}' where id = 1;
			update items set n = 20 where id = 2; delete from items where id = 3; delete from items where id = 9; delete from log where ctid = '(0,1)'; insert into log values ('y')`,
			`update items set n = 90 where id = 9`)
		all := func() string {
			return h.rows("items") + h.rows("log") + h.rows("swap") + h.rows("only up") + h.rows("down") + h.rows("(select oid, pg_get_userbyid(lomowner), lo_get(oid) from pg_largeobject_metadata)")
		}
		before := all()
		h.merge()
		var script strings.Builder
		postgrestest.Check(t, missing.SQL(&script, h.header, yieldAll(h.changes)))
		if !strings.Contains(script.String(), "-- not applied: deleted-updated, delete of public.items '9'") {
			t.Errorf("the conflict is not told:\n%s", script.String())
		}
		h.merge(withApply)
		merged := all()
		h.on(script.String()) // rows without a key apart, it does nothing a second time
		h.on(`delete from log where ctid in (select ctid from log where v = 'y' limit 1); insert into log values ('x')`)
		if diff := cmp.Diff(merged, all()); diff != "" {
			t.Errorf("the script changed what was merged (-merged +now):\n%s", diff)
		}
		var undo strings.Builder
		postgrestest.Check(t, missing.UndoSQL(&undo, h.lastUndo.record()))
		h.on(undo.String())
		if diff := cmp.Diff(before, all()); diff != "" {
			t.Errorf("undone (-want +got):\n%s\n%s", diff, undo.String())
		}
		h.on(script.String())
		if diff := cmp.Diff(merged, all()); diff != "" {
			t.Errorf("the script does something else than a merge (-merge +script):\n%s\n%s", diff, script.String())
		}
	})
}

func TestUndoOfAMergeThatDidNotCommitIsRefused(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems+`create table log (v text)`, `delete from items where id = 3; insert into log values ('a')`, "")
		conn := postgrestest.Open(t, s, h.active)
		defer conn.Close(t.Context())
		_, err := missing.Merge(t.Context(), h.input(conn, withApply, func(in *missing.MergeInput) {
			keep := in.Undo
			in.Undo = func(ctx context.Context, u missing.Undo) error {
				return errors.Join(keep(ctx, u), errors.New("the bucket is away"))
			}
		}))
		if err == nil || len(h.undone) != 1 || h.rows("items") != "(1,a,1) (2,b,2) (3,c,3)" {
			t.Fatalf("want a merge that rolls back: %v, %s", err, h.rows("items"))
		}
		var undo strings.Builder
		postgrestest.Check(t, missing.UndoSQL(&undo, h.lastUndo.record()))
		if _, err := conn.Exec(t.Context(), undo.String(), pgx.QueryExecModeSimpleProtocol); err == nil || !strings.Contains(err.Error(), "did not commit here") {
			t.Errorf("the undo script: %v", err)
		}
		if sum := h.merge(withApply); sum.Applied != 2 {
			t.Errorf("a record of a merge that did not commit counts: %+v", sum)
		}
	})
}
