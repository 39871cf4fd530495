package attach_test

import (
	"os"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

func TestBranchesAreAttachedBesideWhatServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writtenTo("written", devenv.Secondary)
	w.readOnly("look", devenv.Secondary)
	w.unwritten("untouched", devenv.Primary)
	w.named("named", devenv.Secondary)
}

// writtenTo attaches a branch, writes to it and looks for that when it is attached again.
func (w *world) writtenTo(name, region string) {
	t := w.t
	w.branch(name, region)
	r, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	b := w.of(name)
	if b.Own != 1 || len(b.Line) != 1 || b.Attached.Lineage != b.Line[0].ID || r.Branch.Attached.ID != b.Attached.ID {
		t.Fatalf("attached %+v", b)
	}
	if got := w.rows(b); got != "1 main" {
		t.Errorf("the branch has %q", got)
	}
	w.quiet(b)
	check(t, w.exec(b, "insert into t values (2, 'branch')"))
	check(t, w.env.Server.Exec(t.Context(), app, "insert into t values (3, 'main')"))
	_, err = w.attach(workflows.AttachBranchInput{Branch: name, ReadOnly: true})
	wantError(t, err, "is attached read-write")
	again, err := w.attach(workflows.AttachBranchInput{Branch: name})
	if err != nil || again.Branch.Attached.ID != b.Attached.ID {
		t.Errorf("attached again: %+v, %v", again.Branch.Attached, err)
	}
	w.detached(name)
	if n, other := w.segments(region, b.Attached.Lineage), w.segments(devenv.Primary, b.Attached.Lineage); n == 0 || other > 0 {
		t.Errorf("%d segments in %s, %d in the other bucket", n, region, other)
	}
	_, err = w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	b = w.of(name)
	if got := w.rows(b); got != "1 main, 2 branch" {
		t.Errorf("attached again it has %q", got)
	}
	w.diesAndComesBack(name)
	check(t, w.exec(w.of(name), "insert into t values (4, 'branch')"))
	w.detached(name)
}

// detached detaches a branch and looks for what is left.
func (w *world) detached(name string) {
	t := w.t
	t.Helper()
	b := w.of(name)
	r, err := w.detach(workflows.DetachBranchInput{Branch: name})
	check(t, err)
	if r.Branch.Attached != nil || w.of(name).Attached != nil {
		t.Errorf("it is attached: %+v", r.Branch.Attached)
	}
	if _, err := os.Stat(b.Attached.Instance); err == nil {
		t.Errorf("%s is left behind", b.Attached.Instance)
	}
	if _, err := w.as(b, teller, app); err == nil {
		t.Error("somebody listens at the endpoint still")
	}
}

// quiet checks that a branch's server feeds nobody and is fed by nobody.
func (w *world) quiet(b topology.Branch) {
	t := w.t
	t.Helper()
	s := w.server(b)
	for query, want := range map[string]string{
		"show archive_mode":                    "off",
		"show max_logical_replication_workers": "0",
		"select count(*)::text from pg_subscription where subenabled or subslotname is not null": "0",
		"select count(*)::text from pg_database where datname = '" + left + "'":                  "0",
	} {
		if got := w.ask(s, app, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	w.until("the group's server to hold its publisher's slot still", func() (bool, error) {
		return w.ask(w.feed, "postgres", "select count(*)::text from pg_replication_slots where slot_name = 'news' and active") == "1", nil
	})
	for _, wal := range []string{"select pg_switch_wal()::text", "select pg_switch_wal()::text"} {
		w.ask(s, "postgres", wal)
	}
	files, err := os.ReadDir(w.archived)
	check(t, err)
	for _, f := range files {
		if len(f.Name()) == 24 && f.Name()[:8] != "00000001" {
			t.Errorf("the branch archived %s where its source does", f.Name())
		}
	}
}

// readOnly attaches a branch that nobody can write to.
func (w *world) readOnly(name, region string) {
	t := w.t
	w.branch(name, region)
	_, err := w.attach(workflows.AttachBranchInput{Branch: name, ReadOnly: true})
	check(t, err)
	b := w.of(name)
	if b.Own != 0 || len(b.Line) != 0 {
		t.Errorf("a branch that nobody can write to has %d lineages", len(b.Line))
	}
	want := w.rows(b)
	if want != "1 main, 3 main" {
		t.Errorf("it has %q", want)
	}
	wantError(t, w.exec(b, "insert into t values (9, 'no')"), "read-only transaction")
	if _, err := w.as(b, teller, left); err == nil {
		t.Error("the database that is left out lets somebody in")
	}
	w.diesAndComesBack(name)
	if got := w.rows(w.of(name)); got != want {
		t.Errorf("started again it has %q, and had %q", got, want)
	}
	wantError(t, w.exec(w.of(name), "insert into t values (9, 'no')"), "read-only transaction")
	w.detached(name)
}

// unwritten attaches a branch that nobody writes to: it stays as it was.
func (w *world) unwritten(name, region string) {
	t := w.t
	w.branch(name, region)
	before := w.of(name)
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	if got := w.rows(w.of(name)); got != "1 main, 3 main" {
		t.Errorf("it has %q", got)
	}
	w.idles(w.of(name))
	w.detached(name)
	if after := w.of(name); after.Own != 0 || len(after.Line) != len(before.Line) {
		t.Errorf("it has %d lineages of its own although nobody wrote to it", after.Own)
	}
}

// diesAndComesBack kills a branch's server, which its host starts again.
func (w *world) diesAndComesBack(name string) {
	t := w.t
	t.Helper()
	b := w.of(name)
	s := w.server(b)
	before := w.ask(s, app, "select pg_postmaster_start_time()::text")
	check(t, s.Kill(t.Context()))
	w.until("the branch's server to be started again", func() (bool, error) {
		conn, err := w.as(b, teller, app)
		if err != nil {
			return false, err
		}
		return true, conn.Close(t.Context())
	})
	if w.ask(s, app, "select pg_postmaster_start_time()::text") == before {
		t.Error("it was never started again")
	}
}
