package activities

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// serving is missingWorld with a server in west, and a set of its database postgres: row 2 is missing, row 1 was changed on both sides.
func serving(t *testing.T) (*world, *postgres.Server, MergeMissingInput) {
	w, s := missingWorld(t), startServer(t)
	postgrestest.Exec(t, s, "postgres", "create table t (id int primary key, text text); insert into t values (1, 'ours')")
	w.update(t, func(g *topology.Group) {
		g.Workspace("main").Sites["west"] = topology.Site{Kind: topology.Managed, Host: "w1", Instance: s.InstanceDir(), Source: s.Source("postgres")}
	})
	in := w.merging().in
	in.Of = MissingOf{"postgres_1", "postgres"}
	set := missing.CreateObject(t.Context(), w.Stores["west"], in.Job.place(in.Of).SetKey(false))
	lines, err := missing.NewWriter(set, missing.Header{Database: "postgres", Lineage: in.Job.Lineage, Tip: in.Job.Tip.LSN, Tables: []missing.Table{
		{Schema: "public", Name: "t", Key: []int{0}, How: missing.ByWAL, Columns: []missing.Column{{Name: "id", Type: "integer"}, {Name: "text", Type: "text"}}}}})
	check(t, err)
	value := func(id, text string) []*string { return []*string{&id, &text} }
	check(t, errors.Join(lines.Write(missing.Line{Side: missing.Old, Values: value("1", "base")}), lines.Write(missing.Line{Side: missing.New, Values: value("1", "theirs")}),
		lines.Write(missing.Line{Side: missing.New, Values: value("2", "theirs")}), lines.Close()))
	check(t, set.Publish(t.Context(), missing.Object{Kind: missing.SetObject, Database: "postgres", Commits: 3}))
	return w, s, in
}

func rowsOf(t *testing.T, s *postgres.Server) string {
	return postgrestest.Query(t, s, "postgres", "select string_agg(id || text, ' ' order by id) from t")
}

// A comparison changes nothing, and a merge what is missing. One whose answer was lost, asked for again, tells what it did.
func TestAMergeWhoseAnswerWasLost(t *testing.T) {
	w, s, in := serving(t)
	source := &Source{Site: w.Site}
	in.Apply, in.Run = false, "r-0"
	looked, err := as(t, source.MergeMissing, in)
	check(t, err)
	if looked.Merged != nil || looked.Undo != "" || looked.Summary.Conflicts != 1 || rowsOf(t, s) != "1ours" {
		t.Errorf("a comparison found %+v, and the rows are %s", looked, rowsOf(t, s))
	}
	in.Apply, in.Run = true, "r-1"
	first, err := as(t, source.MergeMissing, in)
	check(t, err)
	m := first.Merged
	if rowsOf(t, s) != "1ours 2theirs" || first.Summary.Applied != 1 || m == nil || m.Commits != 3 || m.Applied != 1 || m.Conflicts != 1 || m.Lineage != servesNow || m.LSN == 0 {
		t.Errorf("merged %+v (%+v), and the rows are %s", first, m, rowsOf(t, s))
	}
	again, err := as(t, source.MergeMissing, in)
	check(t, err)
	if again.Undo != first.Undo || again.Summary.Applied != 1 || again.Report != first.Report || again.Merged.Applied != 1 || cmp.Diff(first.Summary, again.Summary) != "" {
		t.Errorf("asked for again it says %+v, and first %+v", again, first)
	}
	_, changes, err := missing.ReadReport(t.Context(), w.Stores["west"], again.Report)
	check(t, err)
	applied := 0
	for c, err := range changes {
		check(t, err)
		if c.Applied {
			applied++
		}
	}
	if o, err := missing.ReadObject(t.Context(), w.Stores["west"], again.Report); err != nil || applied != 1 || o.Summary == nil || o.Summary.Applied != 1 {
		t.Errorf("the report has %d applied changes: %+v %v", applied, o, err)
	}
}

// A summary with everything of thousands of tables is too long for a payload; the report has it.
func TestABriefSummary(t *testing.T) {
	long := missing.Summary{Tables: make([]missing.TableSummary, 1000), Notes: make([]string, 300), Drift: make([]missing.Drift, 3)}
	s := brief(long)
	if len(s.Tables) != 200 || len(s.Notes) != 201 || len(s.Drift) != 3 || s.Notes[0] != "800 more tables are in the report." || len(long.Tables) != 1000 {
		t.Errorf("%d tables, %d notes, %q", len(s.Tables), len(s.Notes), s.Notes[0])
	}
}

// What a merge has written is taken back when an operation begins before it commits.
func TestAMergeThatAnOperationOvertakes(t *testing.T) {
	w, s, in := serving(t)
	conn, err := s.Open(t.Context(), "postgres")
	check(t, err)
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only held
	_, err = conn.Exec(t.Context(), "begin; insert into t values (2, 'somebody')")
	check(t, err)
	merged := make(chan error, 1)
	go func() {
		_, err := as(t, (&Source{Site: w.Site}).MergeMissing, in)
		merged <- err
	}()
	waitLocked(t, s)
	w.update(t, func(g *topology.Group) { g.Operation = &topology.OperationRef{ID: "f", Kind: "Failover"} })
	_, err = conn.Exec(t.Context(), "rollback")
	check(t, err)
	if err := <-merged; err == nil || !strings.Contains(err.Error(), "Failover f of group prod is under way") {
		t.Errorf("merged: %v", err)
	}
	if got := rowsOf(t, s); got != "1ours" {
		t.Errorf("the rows are %s", got)
	}
}

// A database whose text could not be told is refused with what there is to do, whatever serves.
func TestADatabaseThatWasNotCompared(t *testing.T) {
	w := missingWorld(t)
	in := w.merging().in
	set := missing.CreateObject(t.Context(), w.Stores["west"], in.Job.place(in.Of).SetKey(false))
	check(t, set.Publish(t.Context(), missing.Object{Kind: missing.SetObject, Refused: &missing.Refusal{Why: "it is unreadable", Hint: "Look at it by hand."}}))
	_, err := as(t, (&Source{Site: w.Site}).MergeMissing, in)
	if err == nil || !strings.Contains(err.Error(), "it is unreadable") || !strings.Contains(err.Error(), "Invalid") {
		t.Errorf("got %v", err)
	}
}

// waitLocked waits until somebody waits for a lock.
func waitLocked(t *testing.T, s *postgres.Server) {
	t.Helper()
	conn, err := s.Open(t.Context(), "postgres")
	check(t, err)
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only read from
	for n := 0; n == 0; {
		check(t, conn.QueryRow(t.Context(), "select count(*) from pg_locks where not granted").Scan(&n))
	}
}

// Decisions that a person made are found by the name of the system-managed database; those of another group are refused.
func TestDecisionsOfAMerge(t *testing.T) {
	w, s, in := serving(t)
	source := &Source{Site: w.Site}
	in.Apply = false
	looked, err := as(t, source.MergeMissing, in)
	check(t, err)
	_, changes, err := missing.ReadReport(t.Context(), w.Stores["west"], looked.Report)
	check(t, err)
	var all []missing.Decision
	for c, err := range changes {
		check(t, err)
		if c.Class.Conflict() {
			all = append(all, missing.Decision{ID: c.ID, Decide: missing.Theirs})
		}
	}
	put := func(group string) string {
		t.Helper()
		key, err := missing.PutDecisions(t.Context(), w.Stores["west"], group, "main", map[string][]missing.Decision{in.Of.Name: all})
		check(t, err)
		return key
	}
	in.Apply, in.Run = true, "r-2"
	for _, key := range []string{put("other"), "groups/prod/group.json", "groups/prod/workspaces/main/missing/decisions-x.json"} {
		in.Decisions = key
		if _, err := as(t, source.MergeMissing, in); err == nil || !strings.Contains(err.Error(), "is no key of decisions") {
			t.Errorf("%s: %v", key, err)
		}
	}
	in.Decisions = put("prod")
	_, err = as(t, source.MergeMissing, in)
	check(t, err)
	if got := rowsOf(t, s); got != "1theirs 2theirs" {
		t.Errorf("the rows are %s", got)
	}
}
