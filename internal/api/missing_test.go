package api

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const leftApp = "app_20261122T221000Z"

func textOf(s string) *string { return &s }

// header is that of a report with one table: id, balance and a note that may be NULL.
func header() missing.Header {
	return missing.Header{Database: "app", Tables: []missing.Table{{
		Schema: "public", Name: "accounts", Key: []int{0}, Columns: []missing.Column{{Name: "id"}, {Name: "balance"}, {Name: "note"}},
	}}}
}

func account(id, balance string, note *string) []*string { return []*string{&id, &balance, note} }

// conflicting are changes of all kinds: two that conflict, one that was merged before, one that does not conflict.
func conflicting() []missing.Change {
	return []missing.Change{
		{ID: "c1", Schema: "public", Table: "accounts", Op: missing.Update, Class: missing.BothUpdated, Key: []*string{textOf("7")},
			Base: account("7", "1000", nil), Theirs: account("7", "950", nil), Active: account("7", "980", textOf("by hand")), Why: `"both"`},
		{ID: "c2", Schema: "public", Table: "accounts", Op: missing.Delete, Class: missing.DeletedUpdated, Key: []*string{textOf("8")},
			Base: account("8", "1", nil), Active: account("8", "2", nil)},
		{ID: "c3", Schema: "public", Table: "accounts", Op: missing.Update, Class: missing.Same, Key: []*string{textOf("9")}, Theirs: account("9", "5", nil), Active: account("9", "5", nil)},
		{ID: "c4", Schema: "public", Table: "accounts", Op: missing.Insert, Class: missing.Missing, Key: []*string{textOf("10")}, Theirs: account("10", "5", nil)},
		{ID: "c5", Schema: "public", Table: "accounts", Op: missing.Insert, Class: missing.Held, Key: []*string{textOf("11")}, Theirs: account("11", "5", nil)},
	}
}

func changesOf(all []missing.Change) []MissingChanges {
	d := MissingDatabase{Database: "app"}
	d.Name = leftApp
	return []MissingChanges{{Of: d, Changes: func(yield func(MissingChange, error) bool) {
		for _, c := range all {
			if !yield(withNames(d, header(), c), nil) {
				return
			}
		}
	}}}
}

func planOf(t interface{ Fatal(...any) }, all []missing.Change) string {
	var b strings.Builder
	if _, err := WritePlan(&b, "prod", " app", changesOf(all)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestPlanIsReadAsItWasWritten(t *testing.T) {
	written := planOf(t, conflicting())
	p, err := ParseMissingPlan("p.yaml", "prod", []byte(written))
	if err != nil {
		t.Fatalf("%v\n%s", err, written)
	}
	got, said, err := p.Check(changesOf(conflicting()))
	want := Decisions{leftApp: {{ID: "c1", Decide: missing.Keep}, {ID: "c2", Decide: missing.Keep}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s\n%s", err, diff, written)
	}
	if diff := cmp.Diff(Decided{Kept: 2}, said); diff != "" {
		t.Error(diff)
	}
}

func TestEditedPlan(t *testing.T) {
	edited := strings.Replace(planOf(t, conflicting()), "decide: keep\n", "decide: theirs\n    values: {balance: 965, note: null}\n", 1)
	first, _, _ := strings.Cut(edited, `  - id: "c2"`)
	again := first + "  - id: c3\n    of: " + leftApp + "\n    table: public.accounts\n    key: {id: \"9\"}\n    decide: theirs\n"
	p, err := ParseMissingPlan("p.yaml", "prod", []byte(strings.ReplaceAll(again, "c3", "c3-as-it-was")))
	if err != nil {
		t.Fatal(err)
	}
	got, said, err := p.Check(changesOf(conflicting()))
	want := Decisions{leftApp: {{ID: "c1", Decide: missing.Theirs, Values: map[string]*string{"balance": textOf("965"), "note": nil}}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(Decided{Theirs: 1, Done: 1, Undecided: 1}, said); diff != "" {
		t.Error(diff)
	}
}

// TestValuesStayAsTheyWereWritten: 007 is no 7 in a column of text.
func TestValuesStayAsTheyWereWritten(t *testing.T) {
	written := `{balance: 1.10, note: 007}`
	for _, values := range []string{written, "\n      balance: 1.10\n      note: |-\n        007", `{balance: "1.10", note: '007'}`} {
		edited := strings.Replace(planOf(t, conflicting()), "decide: keep\n", "decide: theirs\n    values: "+values+"\n", 1)
		p, err := ParseMissingPlan("p.yaml", "prod", []byte(edited))
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := p.Check(changesOf(conflicting()))
		want := map[string]*string{"balance": textOf("1.10"), "note": textOf("007")}
		if diff := cmp.Diff(want, got[leftApp][0].Values); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", values, err, diff)
		}
	}
}

// TestBadPlans: each is refused by a sentence that names its line.
func TestBadPlans(t *testing.T) {
	good := planOf(t, conflicting())
	line := func(of string) int { return 1 + strings.Count(good[:strings.Index(good, of)], "\n") }
	for name, c := range map[string]struct {
		old, new string
		line     int
		want     string
	}{
		"no YAML":        {"conflicts:\n", "conflicts: [\n", 0, "p.yaml:"},
		"empty":          {good, "", 0, "it is empty"},
		"other group":    {`group: "prod"`, `group: "spare"`, line("group:"), `group "spare"`},
		"other format":   {"format: 1", "format: 2", line("format:"), "format 2"},
		"unknown field":  {"why:", "wy:", line("why:"), "wy"},
		"no decision":    {"decide: keep\n", "decide: their\n", line("decide: keep\n"), `"their" is no decision`},
		"left empty":     {"decide: keep\n", "decide:\n", line("decide: keep\n"), "is no decision"},
		"values of keep": {"decide: keep\n", "decide: keep\n    values: {balance: 1}\n", line("decide: keep\n") + 1, "they need decide: theirs"},
		"no such column": {"decide: keep\n", "decide: theirs\n    values: {balanc: 1}\n", line("decide: keep\n") + 1, `no column "balanc"`},
		"no one value":   {"decide: keep\n", "decide: theirs\n    values: {balance: [1]}\n", line("decide: keep\n") + 1, "one value"},
		"twice":          {`id: "c2"`, `id: "c1"`, line(`id: "c2"`), "decided twice"},
		"no id":          {`id: "c2"`, `id: ""`, 0, "needs the id"},
		"stale":          {`id: "c2"`, `id: "c9"`, line(`id: "c2"`), "it is stale"},
		"other database": {`of: "` + leftApp + `"`, `of: "billing_20261122T221000Z"`, line("of: "), "not what was compared now"},
		"two documents":  {"conflicts:\n", "---\nconflicts:\n", 0, "p.yaml:"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := ParseMissingPlan("p.yaml", "prod", []byte(strings.Replace(good, c.old, c.new, 1)))
			if err == nil {
				_, _, err = p.Check(changesOf(conflicting()))
			}
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.want) || fault.HintOf(err) == "" {
				t.Fatalf("%v; want %q", err, c.want)
			}
			if at := fmt.Sprintf("p.yaml:%d:", c.line); c.line > 0 && !strings.Contains(err.Error(), at) {
				t.Errorf("%v; want it at %s", err, at)
			}
		})
	}
	deleted := strings.Replace(good[strings.Index(good, `  - id: "c2"`):], "decide: keep", "decide: theirs\n    values: {balance: 1}", 1)
	p, err := ParseMissingPlan("p.yaml", "prod", []byte(good[:strings.Index(good, "  - id:")]+deleted))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Check(changesOf(conflicting())); err == nil || !strings.Contains(err.Error(), "deleted the row") {
		t.Errorf("values for a deleted row: %v", err)
	}
}

// TestPlanOfAnyText: whatever stands in a database, the plan can be read, and its entries are found again.
func TestPlanOfAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.String()
		c := conflicting()[0]
		c.Why, c.Key, c.Base = any.Draw(t, "why"), []*string{textOf(any.Draw(t, "key"))}, account(any.Draw(t, "id"), any.Draw(t, "balance"), textOf(strings.Repeat(any.Draw(t, "note"), 40)))
		written := planOf(t, []missing.Change{c})
		p, err := ParseMissingPlan("p.yaml", "prod", []byte(written))
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if _, said, err := p.Check(changesOf([]missing.Change{c})); err != nil || said.Kept != 1 {
			t.Fatalf("%+v, %v\n%s", said, err, written)
		}
		c.Class = missing.Same
		if _, said, err := p.Check(changesOf([]missing.Change{c})); err != nil || said.Done != 1 {
			t.Fatalf("merged: %+v, %v\n%s", said, err, written)
		}
	})
}

func TestNamedColumns(t *testing.T) {
	d := MissingDatabase{}
	d.Name = leftApp
	c := withNames(d, header(), conflicting()[0])
	if diff := cmp.Diff([]string{"balance", "note"}, c.Differs); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(c.Active)
	if want := `{"id":"7","balance":"980","note":"by hand"}`; err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
	c = withNames(d, missing.Header{}, conflicting()[0])
	if c.Base != nil || c.Key != nil {
		t.Errorf("a table that no header names has rows: %+v", c)
	}
}

func TestFilter(t *testing.T) {
	all := func(yield func(missing.Change, error) bool) {
		for _, c := range append(conflicting(), missing.Change{Schema: "audit", Table: "log", Class: missing.Missing}) {
			if !yield(c, nil) {
				return
			}
		}
		yield(missing.Change{}, io.ErrUnexpectedEOF)
	}
	count := func(f MissingFilter) (n int, err error) {
		for _, e := range f.Only(iter.Seq2[missing.Change, error](all)) {
			if err = e; err == nil {
				n++
			}
		}
		return n, err
	}
	for _, c := range []struct {
		filter MissingFilter
		want   int
	}{
		{MissingFilter{}, 6}, {MissingFilter{Tables: []string{"accounts"}}, 5}, {MissingFilter{Tables: []string{"public.accounts", "audit.log"}}, 6},
		{MissingFilter{Tables: []string{"audit.accounts"}}, 0}, {MissingFilter{Classes: []missing.Class{missing.Missing}}, 2},
		{MissingFilter{Tables: []string{"log"}, Classes: []missing.Class{missing.Missing}}, 1},
	} {
		if n, err := count(c.filter); n != c.want || err == nil {
			t.Errorf("%+v chooses %d, %v; want %d and the error", c.filter, n, err, c.want)
		}
	}
}

// TestWhichDatabasesAreMeant by the names that a person may give.
func TestWhichDatabasesAreMeant(t *testing.T) {
	first, second := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 22, 10, 0, 0, time.UTC)
	wait := func(workspace, database, operation string, since time.Time) topology.Waits {
		return topology.Waits{SystemManaged: topology.SystemManaged{Name: topology.SystemManagedName(database, since), Workspace: workspace, Database: database, Operation: operation, Since: since}}
	}
	all := []topology.Waits{wait("main", "app", "f1", first), wait("main", "app", "f2", second), wait("main", "billing", "f2", second), wait("side", "billing", "f2", second)}
	g := topology.Group{Name: "prod", Workspaces: []topology.Workspace{{Name: "main"}, {Name: "side"}}}
	for _, c := range []struct {
		req  MissingRequest
		want string
	}{
		{MissingRequest{}, "main/app_20261122T221000Z main/billing_20261122T221000Z side/billing_20261122T221000Z"},
		{MissingRequest{Database: "app"}, "main/app_20261122T221000Z"},
		{MissingRequest{Database: "app_20261120T000000Z"}, "main/app_20261120T000000Z"},
		{MissingRequest{Database: "main/app"}, "main/app_20261122T221000Z"},
		{MissingRequest{Database: "side/billing_20261122T221000Z"}, "side/billing_20261122T221000Z"},
		{MissingRequest{Database: "billing", Workspace: "side"}, "side/billing_20261122T221000Z"},
		{MissingRequest{Workspace: "side"}, "side/billing_20261122T221000Z"},
		{MissingRequest{Database: "billing"}, "error: 2 workspaces"},
		{MissingRequest{Database: "nope"}, "error: no system-managed database"},
		{MissingRequest{Workspace: "nope"}, "error: no workspace"},
	} {
		got, err := c.req.choose(g, all)
		var names []string
		for _, w := range got {
			names = append(names, w.Workspace+"/"+w.Name)
		}
		want, wrong := strings.CutPrefix(c.want, "error: ")
		if wrong && (err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "") || !wrong && (err != nil || strings.Join(names, " ") != want) {
			t.Errorf("%+v means %v, %v; want %s", c.req, names, err, c.want)
		}
	}
	if got, err := (MissingRequest{}).choose(g, nil); err != nil || len(got) != 0 {
		t.Errorf("without a failover: %v, %v", got, err)
	}
}

func TestNothingHasArrived(t *testing.T) {
	w := topology.Waits{SystemManaged: topology.SystemManaged{Fork: wal.Position{Timeline: 1, LSN: 100}}, At: wal.Position{Timeline: 1, LSN: 100}}
	if arrived(w) {
		t.Error("nothing lies behind the fork, and a comparison is made")
	}
	if w.At.LSN = 200; !arrived(w) {
		t.Error("WAL lies behind the fork, and no comparison is made")
	}
	if w.Complete = true; arrived(w) {
		t.Error("its server wrote no commit, and a comparison is made")
	}
	w.Merged = &topology.Merged{}
	if !arrived(w) {
		t.Error("it was merged, perhaps taken back since, and no comparison is made")
	}
}
