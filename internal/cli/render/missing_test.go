package render

import (
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/workflows"
)

// rowOf makes a row of names and values that follow each other; "-" is NULL.
func rowOf(pairs ...string) *api.Row {
	r := &api.Row{}
	for i := 0; i < len(pairs); i += 2 {
		r.Columns = append(r.Columns, pairs[i])
		if pairs[i+1] == "-" {
			r.Values = append(r.Values, nil)
		} else {
			r.Values = append(r.Values, &pairs[i+1])
		}
	}
	return r
}

func commit(xid uint32, ago time.Duration) *missing.Commit {
	return &missing.Commit{XID: xid, Time: before(ago), LSN: 0x5a3f000}
}

// rows are changes of several tables and classes, as a report has them.
func rows() []api.MissingChange {
	change := func(table string, op missing.Op, class missing.Class, key *api.Row) api.MissingChange {
		return api.MissingChange{ID: "a1", Of: "app_20261122T221000Z", Database: "app", Schema: "public", Table: table, Op: op, Class: class, Key: key, Commit: commit(7312, time.Minute)}
	}
	updated := change("accounts", missing.Update, missing.Missing, rowOf("id", "3"))
	updated.Base, updated.Theirs = rowOf("id", "3", "balance", "1000", "note", "-"), rowOf("id", "3", "balance", "950", "note", "")
	updated.Active = updated.Base
	both := change("accounts", missing.Update, missing.BothUpdated, rowOf("id", "7"))
	both.Base, both.Theirs, both.Active = rowOf("id", "7", "balance", "1000"), rowOf("id", "7", "balance", "950"), rowOf("id", "7", "balance", "980")
	both.Differs, both.Why = []string{"balance"}, "public.accounts id=7 was changed on both sides."
	gone := change("accounts", missing.Update, missing.UpdatedDeleted, rowOf("id", "9"))
	gone.Base, gone.Theirs, gone.Differs = rowOf("id", "9", "balance", "10"), rowOf("id", "9", "balance", "20"), []string{"balance"}
	gone.Commit.Top = 7311
	inserted := change("transfers", missing.Insert, missing.Missing, rowOf("id", "before-0-812"))
	inserted.Theirs = rowOf("id", "before-0-812", "made_at", "2026-11-22 22:09:30+00", "note", "ring\x1b[2J the\nbell "+strings.Repeat("ab", 30))
	deleted := change("log", missing.Delete, missing.NoKey, nil)
	deleted.Base, deleted.Commit = rowOf("line", "hello"), nil
	return []api.MissingChange{both, updated, gone, inserted, deleted}
}

func foundMissing() api.MissingRows {
	d := api.MissingDatabase{
		MissingDatabase: workflows.MissingDatabase{Name: "app_20261122T221000Z", Region: "west", Report: "r", Summary: missing.Summary{
			Database: "app", Transactions: 121, Applied: 245, Conflicts: 3,
			Classes: map[missing.Class]int64{missing.Missing: 245, missing.BothUpdated: 1, missing.UpdatedDeleted: 1, missing.NoKey: 1, missing.Same: 12},
			Tables: []missing.TableSummary{
				{Schema: "public", Table: "accounts", How: missing.ByWAL, Updates: 5, Classes: map[missing.Class]int64{missing.Missing: 3, missing.BothUpdated: 1, missing.UpdatedDeleted: 1, missing.Same: 12}},
				{Schema: "public", Table: "transfers", How: missing.ByWhole, Inserts: 242, Classes: map[missing.Class]int64{missing.Missing: 242}},
				{Schema: "public", Table: "log", How: missing.Made, Deletes: 1, Classes: map[missing.Class]int64{missing.NoKey: 1}},
			},
			Sequences: []missing.MovedValue{{Schema: "public", Name: "orders_id_seq", From: 10, To: 210}},
			Prepared: []missing.PreparedSummary{
				{Prepared: missing.Prepared{XID: 99, GID: "pay-7", Fate: missing.Committed, AtFork: true}, Command: "COMMIT PREPARED 'pay-7';"},
				{Prepared: missing.Prepared{XID: 101, Fate: missing.InDoubt}},
			},
			Drift: []missing.Drift{{Object: "table public.orders", Text: "column note was added"}},
			Blind: []missing.Blind{{Object: "table public.cache", Reason: "unlogged: its changes are not in WAL"}},
			Notes: []string{"Database scratch was made after the fork."},
		}},
		Workspace: "main", Database: "app", Lost: "east", Serves: "west", Fork: 0x5000000, Tip: 0x5a3f210, Last: before(31 * time.Second), MadeAt: now,
		Arrives: "region east does not answer", Compared: true,
	}
	return api.MissingRows{Group: "prod", Databases: []api.MissingDatabase{d}}
}

func view(m api.MissingRows) MissingView {
	examples, _ := Examples(api.MissingChanges{Of: m.Databases[0], Changes: each(rows())}, api.MissingFilter{}, 1, m.Merged)
	return MissingView{MissingRows: m, Examples: map[string][]api.MissingChange{"app_20261122T221000Z": examples}}
}

func each(all []api.MissingChange) iter.Seq2[api.MissingChange, error] {
	return func(yield func(api.MissingChange, error) bool) {
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func progress(doing string) api.MissingProgress {
	return api.MissingProgress{Doing: doing, MissingProgress: activities.MissingProgress{Phase: "read rows", Database: "app", Table: "public.orders", Done: 1 << 20, Total: 4 << 20}}
}

func TestMissingGolden(t *testing.T) {
	merged := foundMissing()
	merged.Merged = true
	merged.Databases[0].Undo, merged.Databases[0].Summary.XID = "u", 4711
	whole := foundMissing()
	whole.Databases[0].Summary = missing.Summary{Database: "app", Whole: true, Classes: map[missing.Class]int64{missing.Same: 4, missing.Alike: 2}}
	whole.Databases[0].Complete = true
	settled := foundMissing()
	settled.Merged = true
	settled.Databases[0].Complete, settled.Databases[0].Undo = true, "u"
	settled.Databases[0].Summary = missing.Summary{Database: "app", Applied: 1, Classes: map[missing.Class]int64{missing.Missing: 1}}
	waiting := foundMissing()
	waiting.Databases[0].MissingDatabase = workflows.MissingDatabase{Name: "app_20261122T221000Z"}
	waiting.Databases[0].Compared, waiting.Databases[0].Last = false, time.Time{}
	failed := foundMissing()
	failed.Databases[0].Summary = missing.Summary{}
	failed.Databases[0].Error, failed.Databases[0].Hint = "no worker polls the queue of region west", "Start one."
	only := view(foundMissing())
	only.Filter = api.MissingFilter{Tables: []string{"transfers"}, Classes: []missing.Class{missing.Missing}}
	only.Examples = nil
	planned := view(foundMissing())
	planned.Plan, planned.Args = "my decisions.yaml", " app"
	for name, got := range map[string]string{
		"missing":          Missing(view(foundMissing()), Style{}),
		"missing_tty":      Missing(view(foundMissing()), Style{Colour: true}),
		"missing_merged":   Missing(view(merged), Style{}),
		"missing_whole":    Missing(MissingView{MissingRows: whole}, Style{}),
		"missing_settled":  Missing(MissingView{MissingRows: settled}, Style{}),
		"missing_waiting":  Missing(MissingView{MissingRows: waiting}, Style{}),
		"missing_failed":   Missing(MissingView{MissingRows: failed}, Style{}),
		"missing_only":     Missing(only, Style{}),
		"missing_planned":  Missing(planned, Style{}),
		"missing_none":     Missing(MissingView{MissingRows: api.MissingRows{Group: "prod"}}, Style{}),
		"missing_consent":  MissingConsent(view(foundMissing()), Style{}),
		"missing_progress": MissingProgress(api.MissingProgress{Doing: "Reading"}, true) + "\n" + MissingProgress(progress("Reading"), true) + "\n" + MissingProgress(progress("Reading"), false) + "\n",
		"missing_decided":  Decided(api.Decided{Theirs: 2, Kept: 1, Done: 1, Undecided: 3}, "d.yaml", missing.Theirs) + "\n" + Decided(api.Decided{Kept: 1}, "d.yaml", "") + "\n",
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, got) })
	}
}

// TestValuesAreNoCommands: what lies in a database must not steer the terminal that shows it, nor look like something else.
func TestValuesAreNoCommands(t *testing.T) {
	for text, want := range map[string]string{"\x1b[2J": `"\x1b[2J"`, "": `""`, "NULL": `"NULL"`, " a": `" a"`, "a\nb": `"a\nb"`, "büro": "büro", "7": "7"} {
		if got := value(&text); got != want {
			t.Errorf("%q is shown as %s, want %s", text, got, want)
		}
	}
	if got := value(nil); got != "NULL" {
		t.Errorf("NULL is shown as %s", got)
	}
	for _, c := range view(foundMissing()).Examples["app_20261122T221000Z"] {
		if text := (Style{}).missingChange(c); strings.ContainsAny(text, "\x1b\x07") {
			t.Errorf("a change steers the terminal: %q", text)
		}
	}
}

// TestExamplesEndEarly: no more of a report is read than the examples take.
func TestExamplesEndEarly(t *testing.T) {
	read := 0
	changes := func(yield func(api.MissingChange, error) bool) {
		for _, c := range rows() {
			if read++; !yield(c, nil) {
				return
			}
		}
	}
	got, err := Examples(api.MissingChanges{Of: foundMissing().Databases[0], Changes: changes}, api.MissingFilter{Classes: []missing.Class{missing.BothUpdated}}, 3, false)
	if err != nil || len(got) != 1 || read != 1 {
		t.Errorf("%d examples after %d changes, %v; want 1 after 1", len(got), read, err)
	}
}

func TestShellWord(t *testing.T) {
	for word, want := range map[string]string{"a.yaml": "a.yaml", "my file": "'my file'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'", "-f": "./-f"} {
		if got := ShellWord(word); got != want {
			t.Errorf("%q becomes %s, want %s", word, got, want)
		}
	}
}
