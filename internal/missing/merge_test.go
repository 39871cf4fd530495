package missing_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// mergeCase is a history, what a merge says of it, and what a table holds afterwards.
type mergeCase struct {
	name, schema, old, active string
	change                    []func(*missing.MergeInput)
	said                      string
	table, rows               string
}

func TestMergeCases(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"max_prepared_transactions": "10"})
		for _, c := range mergeCases {
			t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.run(t, s) })
		}
	})
}

func (c mergeCase) run(t *testing.T, s *postgres.Server) {
	h := partHistory(t, s, c.schema, c.old, c.active)
	before := h.rows(c.table)
	h.merge(c.change...)
	if diff := cmp.Diff(c.said, h.said()); diff != "" {
		t.Fatalf("a comparison says (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, h.rows(c.table)); diff != "" {
		t.Fatalf("a comparison changed rows (-want +got):\n%s", diff)
	}
	h.merge(append(c.change, withApply)...)
	if diff := cmp.Diff(c.said, h.said()); diff != "" {
		t.Fatalf("a merge says (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(c.rows, h.rows(c.table)); diff != "" {
		t.Fatalf("after the merge (-want +got):\n%s", diff)
	}
	again := h.merge(append(c.change, withApply)...)
	if again.Applied != 0 {
		t.Fatalf("a second merge applies %d changes:\n%s", again.Applied, h.said())
	}
}

func TestLaterWALIsASecondRun(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems+`create table log (v text); insert into log values ('x'), ('x'), ('y')`,
			`update items set n = 10 where id = 1; insert into items values (4, 'd', 4), (5, 'e', 5); delete from items where id = 2; delete from items where id = 3;
			insert into log values ('z'), ('z'); delete from log where v = 'y'`, "")
		h.merge(withApply)
		h.goOn(`update items set n = 11 where id = 1; delete from items where id = 4; update items set n = 6 where id = 5; insert into items values (2, 'back', 2), (3, 'c', 3);
			insert into log values ('z'), ('y'); delete from log where v = 'x'`)
		h.merge(withApply)
		if diff := cmp.Diff("(1,a,11) (2,back,2) (3,c,3) (5,e,6)", h.rows("items")); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, h.said())
		}
		if diff := cmp.Diff("(y) (z) (z) (z)", h.rows("log")); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, h.said())
		}
		if again := h.merge(withApply); again.Applied != 0 || again.Conflicts != 0 {
			t.Errorf("a third run: %+v\n%s", again, h.said())
		}
		h.on(`delete from log where v = 'z'; insert into log values ('z')`)
		if sum := h.merge(withApply); sum.Conflicts != 2 || sum.Applied != 0 || h.rows("log") != "(y) (z)" {
			t.Errorf("rows that somebody deleted since: %+v\n%s", sum, h.said())
		}
		if sum := h.merge(withApply, withTheirs); sum.Applied != 2 || h.rows("log") != "(y) (z) (z) (z)" {
			t.Errorf("and that are taken: %+v\n%s", sum, h.said())
		}
		h.on(`update items set n = 99 where id = 1`)
		h.goOn(`update items set n = 12 where id = 1`)
		if sum := h.merge(withApply); sum.Conflicts != 1 {
			t.Errorf("a row that somebody changed since: %+v\n%s", sum, h.said())
		}
		h.on(`update items set n = 12 where id = 1`)
		if sum := h.merge(withApply); sum.Conflicts != 0 || sum.Applied != 0 || sum.Classes[missing.Alike] != 1 {
			t.Errorf("a row that both sides changed alike since: %+v\n%s", sum, h.said())
		}
	})
}
