package branches_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// TestMissingRowsComeBackWithTheBucket cuts a primary off in the middle of ingest, fails over, and lets only its region's bucket come back.
func TestMissingRowsComeBackWithTheBucket(t *testing.T) {
	w := newWorld(t, estate.Managed)
	w.ingest()
	w.env.Cuts.Isolate(devenv.Refusing)
	w.more(w.stuck)
	behind := w.takeOver()
	w.stuck.Stop()
	w.waitOwnBucket()
	check(t, w.old.Kill(t.Context()))
	check(t, w.env.Regions[devenv.Primary].Worker.Kill())
	w.env.Cuts.Heal()
	w.recoverMissing(behind)
}

// TestMissingRowsComeBackWithTheDisk is the same for a server of which nothing but the disk comes back, and no bucket had what it wrote.
func TestMissingRowsComeBackWithTheDisk(t *testing.T) {
	w := newWorld(t, estate.Adopted)
	w.ingest()
	w.env.Cuts.Isolate(devenv.Swallowing)
	w.env.Cuts.Own.Set(devenv.Refusing)
	w.more(w.stuck)
	behind := w.takeOver()
	check(t, w.env.Regions[devenv.Primary].Worker.Kill())
	check(t, w.old.Kill(t.Context()))
	w.stuck.Wait()
	w.env.Cuts.Heal()
	_, err := w.env.SmartDR(t.Context(), "salvage", "--group", estate.Group, "--workspace", w.space.Name, "--pg-wal", w.old.DataDir)
	check(t, err)
	w.recoverMissing(behind)
}

// missing is the one statement that brings over what the database that serves lacks: the transfers, their postings, and what these do to
// the accounts, which it locks in the order in which clients do.
const missing = `with missing as (
	insert into transfers select l.* from missing.transfers l where not exists (select from transfers t where t.id = l.id) returning id
), posted as (
	insert into postings select l.* from missing.postings l where l.transfer in (select id from missing) returning account, amount
)
update accounts a set balance = a.balance + p.sum from (select account, sum(amount) as sum from posted group by account) p
	join (select id from accounts order by id for update) locked on locked.id = p.account where a.id = p.account`

// recoverMissing makes a branch of what was left behind, as soon as all of it is there, and brings the missing rows over, while clients
// go on writing.
func (w *world) recoverMissing(behind api.Database) {
	w.t.Helper()
	commits := w.stuck.Commits()
	w.waitPoint(behind, lastEnd(commits))
	w.checkAttachRefused(behind.Name)
	branch := w.branchOf(behind.Name)
	w.checkBranch(branch, commits)
	_, err := w.env.SmartDR(w.t.Context(), "branch", "link", "--group", estate.Group, branch.Name, "--into", estate.Database, "--schema", "missing")
	check(w.t, err)
	w.bringOver(commits)
	w.checkView(behind.Name)
	w.checkUndisturbed()
	_, err = w.env.SmartDR(w.t.Context(), "branch", "detach", "--group", estate.Group, branch.Name)
	check(w.t, err)
	if left := w.query("select count(*)::text from pg_foreign_table"); left != "0" {
		w.t.Errorf("the branch is detached, and %s foreign tables are left", left)
	}
}

// lastEnd is the end of the newest commit whose end its client was told.
func lastEnd(commits []ledger.Commit) (end wal.LSN) {
	for _, c := range commits {
		if c.After != ^wal.LSN(0) {
			end = max(end, c.After)
		}
	}
	return end
}

// waitPoint waits until the recovery point of a system-managed database has moved to an end.
func (w *world) waitPoint(behind api.Database, end wal.LSN) {
	w.t.Helper()
	devtest.Within(w.t, 5*time.Minute, "the recovery point of "+behind.Name+" to move to "+end.String(), func() bool {
		now, found := w.behind()
		return found && now.Name == behind.Name && now.Detached.At.LSN >= end && now.Detached.Transactions > 0
	})
	st, err := w.env.SmartDR(w.t.Context(), "status", "--group", estate.Group)
	check(w.t, err)
	if !strings.Contains(st, behind.Name+" is system-managed, detached: ") {
		w.t.Errorf("the status does not tell of %s:\n%s", behind.Name, st)
	}
}

func (w *world) checkAttachRefused(name string) {
	w.t.Helper()
	_, err := w.env.SmartDR(w.t.Context(), "branch", "attach", "--group", estate.Group, name)
	if err == nil || !strings.Contains(err.Error(), "smartdr branch create") {
		w.t.Errorf("attached %s directly: %v", name, err)
	}
}

// checkView looks for a system-managed database as somebody does who is in psql.
func (w *world) checkView(name string) {
	w.t.Helper()
	conn, err := w.new.Open(w.t.Context(), "postgres")
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	devtest.Within(w.t, 3*time.Minute, "the view smartdr.databases to show "+name, func() bool {
		var kind string
		err := conn.QueryRow(w.t.Context(), "select kind from smartdr.databases where name = $1 and transactions_waiting > 0", name).Scan(&kind)
		return err == nil && kind == string(topology.SystemManagedKind)
	})
}

// branchOf attaches a branch of a system-managed database, beside the server that serves.
func (w *world) branchOf(name string) topology.Branch {
	w.t.Helper()
	var made workflows.BranchResult
	check(w.t, w.env.SmartDRJSON(w.t.Context(), &made, "branch", "create", "--group", estate.Group, "--of", name, "--attach"))
	if a := made.Branch.Attached; a == nil || a.State != topology.AttachmentServes || len(a.Endpoint.Hosts) == 0 {
		w.t.Fatalf("made %+v", made)
	}
	return made.Branch
}

// checkBranch compares a branch with what the clients were told that were cut off: all of it is there.
func (w *world) checkBranch(b topology.Branch, commits []ledger.Commit) {
	w.t.Helper()
	conn, err := w.space.ConnectTo(w.t.Context(), b.Attached.Endpoint.Hosts[0])
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	w.verify(conn, commits, "the branch")
}

// verify compares a database with commits, all of which must be there.
func (w *world) verify(conn *pgx.Conn, commits []ledger.Commit, what string) {
	w.t.Helper()
	r, err := ledger.Verify(w.t.Context(), conn, commits, ^wal.LSN(0), time.Now())
	check(w.t, err)
	for _, b := range r.Broken {
		w.t.Errorf("%s: %s", what, b)
	}
	if r.Kept != len(commits) || len(commits) < 60 {
		w.t.Errorf("%s holds %d of %d acknowledged commits", what, r.Kept, len(commits))
	}
}

// bringOver runs the one statement, and finds all that both sides' clients were ever told. Before it, something is missing.
func (w *world) bringOver(stuck []ledger.Commit) {
	w.t.Helper()
	conn, err := w.space.Serving(w.t.Context())
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // all was said
	before, err := ledger.Verify(w.t.Context(), conn, stuck, 0, time.Now())
	check(w.t, err)
	if before.Kept == 0 || before.Kept == len(stuck) {
		w.t.Fatalf("%d of %d commits are missing: the primary was not cut off in the middle", len(stuck)-before.Kept, len(stuck))
	}
	began := time.Now()
	done, err := conn.Exec(w.t.Context(), missing)
	check(w.t, err)
	w.t.Logf("%d of %d commits were missing; brought over in %s (%s)", len(stuck)-before.Kept, len(stuck), time.Since(began).Round(time.Millisecond), done)
	w.fresh.Stop()
	w.verify(conn, append(stuck, w.fresh.Commits()...), "the database that serves")
}
