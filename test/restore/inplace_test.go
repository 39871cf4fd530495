package restore_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/cli"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// TestInPlace puts the state of a moment in the place of a server that clients write to. The state is that of the moment, the branch of the state
// before has all that clients were told, and a failover right afterwards loses nothing of what they were told since.
func TestInPlace(t *testing.T) {
	w := newWorld(t, false)
	load := w.write()
	w.record(12)
	w.shipped()
	wanted := w.marks[6]
	old := w.server()
	op := w.restoreInPlace(wanted)
	if op.Gap == nil || op.Gap.Length() <= 0 {
		t.Errorf("the time without a writer is %+v", op.Gap)
	} else {
		t.Logf("without a writer for %s", op.Gap.Length())
	}
	w.checkServes(wanted)
	w.checkBefore(load, op)
	w.checkOldIsDown(old.DataDir)
	w.more(load, 40)
	w.marks = w.marks[:wanted.n]
	w.record(3)
	w.failOver(load, op)
}

// restoreInPlace restores to the moment of a mark by command.
func (w *world) restoreInPlace(m mark) topology.Operation {
	w.Helper()
	var report cli.RestoreReport
	check(w, w.env.SmartDRJSON(w.Context(), &report, "restore", "--group", estate.Group, "--workspace", w.space.Name, "--to-time", m.at.UTC().Format(time.RFC3339Nano), "--in-place", "--yes"))
	if report.Operation == nil || report.Operation.State != topology.OperationCompleted {
		w.Fatalf("the restore is %+v", report.Operation)
	}
	return *report.Operation
}

// checkServes looks at what the group's connection string leads to.
func (w *world) checkServes(m mark) {
	w.Helper()
	conn, err := w.space.Serving(w.Context())
	check(w, err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // only read from
	w.holds(conn, m.n, "the server that serves")
}

// checkBefore attaches the branch of the state before: it has every mark, and all that was acknowledged before the server was fenced.
func (w *world) checkBefore(load *ledger.Load, op topology.Operation) {
	w.Helper()
	branches := w.status().Group.Branches
	at := slices.IndexFunc(branches, func(b topology.Branch) bool { return strings.HasPrefix(b.Name, "before-restore-") })
	if at < 0 {
		w.Fatalf("no branch has the state before: %+v", branches)
	}
	var made workflows.BranchResult
	check(w, w.env.SmartDRJSON(w.Context(), &made, "branch", "attach", "--group", estate.Group, branches[at].Name))
	conn := w.connectTo(made.Branch)
	w.holds(conn, len(w.marks), "the state before")
	var told []ledger.Commit
	for _, c := range load.Commits() {
		if c.At.Before(op.Gap.From) {
			told = append(told, c)
		}
	}
	w.allThere(conn, told, "the state before")
}

func (w *world) checkOldIsDown(dir string) {
	w.Helper()
	devtest.Until(w, "the server that was replaced to be stopped", func() bool {
		servers, err := w.env.Regions[devenv.Primary].Servers()
		check(w, err)
		for _, s := range servers {
			if _, running := s.Running(w.Context()); running && s.DataDir == dir {
				return false
			}
		}
		return true
	})
}

// failOver loses the region that serves once all is shipped, and finds all that clients were told since the restore.
func (w *world) failOver(load *ledger.Load, op topology.Operation) {
	w.Helper()
	w.Stop()
	w.shipped()
	check(w, w.WaitProtected(w.Context()))
	check(w, w.Lose(w.Context(), devenv.Primary))
	var report cli.FailoverReport
	check(w, w.env.SmartDRJSON(w.Context(), &report, "failover", "--group", estate.Group, "--yes"))
	conn, err := w.space.Serving(w.Context())
	check(w, err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // only read from
	w.holds(conn, len(w.marks), "the other region")
	var told []ledger.Commit
	for _, c := range load.Commits() {
		if c.At.After(op.Gap.To) {
			told = append(told, c)
		}
	}
	w.allThere(conn, told, "the other region")
}

// allThere checks that a server has all of these commits.
func (w *world) allThere(conn *pgx.Conn, told []ledger.Commit, what string) {
	w.Helper()
	r, err := ledger.Verify(w.Context(), conn, told, ^wal.LSN(0), time.Now())
	check(w, err)
	for _, b := range r.Broken {
		w.Errorf("%s: %s", what, b)
	}
	if r.Kept != len(told) || len(told) < 20 {
		w.Errorf("%s holds %d of %d acknowledged commits", what, r.Kept, len(told))
	}
}
