package missing_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

func ptr(s string) *string { return &s }

// id returns the id of a change that was reported.
func (h *mergeHistory) id(key string) string {
	h.t.Helper()
	for _, c := range h.changes {
		if *c.Key[0] == key {
			return c.ID
		}
	}
	h.t.Fatalf("no change of %s:\n%s", key, h.said())
	return ""
}

func withDecisions(all ...missing.Decision) func(*missing.MergeInput) {
	return func(in *missing.MergeInput) { in.Decisions = all }
}

const conflicts = `update items set n = 10 where id = 1; update items set n = 20 where id = 2; delete from items where id = 3; insert into items values (4, 'd', 4)`

func TestDecisions(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, conflicts, `update items set n = 11 where id = 1; update items set n = 21 where id = 2; update items set n = 31 where id = 3`)
		h.merge()
		chosen := withDecisions(
			missing.Decision{ID: h.id("1"), Decide: missing.Keep},
			missing.Decision{ID: h.id("2"), Decide: missing.Theirs, Values: map[string]*string{"n": ptr("42"), "name": nil}},
			missing.Decision{ID: h.id("3"), Decide: missing.Theirs},
			missing.Decision{ID: h.id("4"), Decide: missing.Keep})
		for range 2 { // the second time as a run whose commit was not acknowledged
			h.merge(chosen, withApply)
			if diff := cmp.Diff("(1,a,11) (2,,42)", h.rows("items")); diff != "" {
				t.Fatalf("(-want +got):\n%s\n%s", diff, h.said())
			}
		}
		if diff := cmp.Diff("kept update items 1\nsame update items 2\nsame delete items 3\nkept insert items 4", h.said()); diff != "" {
			t.Errorf("the second time (-want +got):\n%s", diff)
		}
		h.goOn(`update items set n = 22 where id = 2`)
		if h.merge(); !strings.Contains(h.said(), "both-updated update items 2") {
			t.Errorf("a row that somebody wrote by hand, and that the old line changed since:\n%s", h.said())
		}
	})
}

func TestDecisionsAreRefused(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		h := partHistory(t, s, mergeItems, conflicts, `update items set n = 11 where id = 1; update items set n = 21 where id = 2; update items set n = 31 where id = 3`)
		h.merge()
		ids := map[string]string{}
		for _, key := range []string{"1", "2", "3", "4"} {
			ids[key] = h.id(key)
		}
		h.on(`update items set n = 12 where id = 1`)
		for want, d := range map[string]missing.Decision{
			"name no change of now":                 {ID: ids["1"], Decide: missing.Theirs},
			"has no column m":                       {ID: ids["2"], Decide: missing.Theirs, Values: map[string]*string{"m": nil}},
			"by which the row is named":             {ID: ids["2"], Decide: missing.Theirs, Values: map[string]*string{"id": ptr("5")}},
			"cannot be written: the active side re": {ID: ids["2"], Decide: missing.Theirs, Values: map[string]*string{"n": ptr("many")}},
			"deletes its row":                       {ID: ids["3"], Decide: missing.Theirs, Values: map[string]*string{"n": ptr("1")}},
			"is to be \"both\"":                     {ID: ids["3"], Decide: "both"},
		} {
			before := h.rows("items")
			_, err := h.try(withDecisions(d), withApply)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q, got %v", want, err)
			}
			if diff := cmp.Diff(before, h.rows("items")); diff != "" {
				t.Errorf("%s: it changed rows:\n%s", want, diff)
			}
		}
	})
}
