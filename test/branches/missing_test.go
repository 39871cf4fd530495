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
	w.Env.Cuts.Isolate(devenv.Refusing)
	w.WriteMore()
	behind := w.takeOver()
	w.stuck.Stop()
	w.WaitOwnBucket(w.space)
	w.Check(w.old.Kill(t.Context()))
	w.Check(w.Env.Regions[devenv.Primary].Worker.Kill())
	w.Env.Cuts.Heal()
	w.recoverMissing(behind)
}

// TestMissingRowsComeBackWithTheDisk is the same for a server of which nothing but the disk comes back, and no bucket had what it wrote.
func TestMissingRowsComeBackWithTheDisk(t *testing.T) {
	w := newWorld(t, estate.Adopted)
	w.ingest()
	w.Env.Cuts.Isolate(devenv.Swallowing)
	w.Env.Cuts.Own.Set(devenv.Refusing)
	w.WriteMore()
	behind := w.takeOver()
	w.Check(w.Env.Regions[devenv.Primary].Worker.Kill())
	w.Check(w.old.Kill(t.Context()))
	w.stuck.Wait()
	w.Env.Cuts.Heal()
	w.SmartDR("salvage", "--group", estate.Group, "--workspace", w.space, "--pg-wal", w.old.DataDir)
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
	w.Helper()
	commits := w.stuck.Commits()
	w.waitPoint(behind, ledger.End(commits))
	w.checkAttachRefused(behind.Name)
	branch := w.branchOf(behind.Name)
	w.checkBranch(branch, commits)
	w.SmartDR("branch", "link", "--group", estate.Group, branch.Name, "--into", estate.Database, "--schema", "missing")
	w.bringOver(commits)
	w.checkView(behind.Name)
	w.checkUndisturbed()
	w.SmartDR("branch", "detach", "--group", estate.Group, branch.Name)
	if left := w.Ask(w.new, estate.Database, "select count(*)::text from pg_foreign_table"); left != "0" {
		w.Errorf("the branch is detached, and %s foreign tables are left", left)
	}
}

// waitPoint waits until the recovery point of a system-managed database has moved to an end.
func (w *world) waitPoint(behind api.Database, end wal.LSN) {
	w.Helper()
	devtest.Until(w, "the recovery point of "+behind.Name+" to move to "+end.String(), func() bool {
		now, found := w.Behind()
		return found && now.Name == behind.Name && now.Detached.At.LSN >= end && now.Detached.Transactions > 0
	})
	st := w.SmartDR("status", "--group", estate.Group)
	if !strings.Contains(st, behind.Name+" is system-managed, detached: ") {
		w.Errorf("the status does not tell of %s:\n%s", behind.Name, st)
	}
}

func (w *world) checkAttachRefused(name string) {
	w.Helper()
	w.Refused("smartdr branch create", "branch", "attach", "--group", estate.Group, name)
}

// checkView looks for a system-managed database as somebody does who is in psql.
func (w *world) checkView(name string) {
	w.Helper()
	conn := w.Connect(w.new, "postgres")
	devtest.Until(w, "the view smartdr.databases to show "+name, func() bool {
		var kind string
		err := conn.QueryRow(w.Context(), "select kind from smartdr.databases where name = $1 and transactions_waiting > 0", name).Scan(&kind)
		return err == nil && kind == string(topology.SystemManagedKind)
	})
}

// branchOf attaches a branch of a system-managed database, beside the server that serves.
func (w *world) branchOf(name string) topology.Branch {
	w.Helper()
	var made workflows.BranchResult
	w.JSON(&made, "branch", "create", "--group", estate.Group, "--of", name, "--attach")
	if a := made.Branch.Attached; a == nil || a.State != topology.AttachmentServes || len(a.Endpoint.Hosts) == 0 {
		w.Fatalf("made %+v", made)
	}
	return made.Branch
}

// checkBranch compares a branch with what the clients were told that were cut off: all of it is there.
func (w *world) checkBranch(b topology.Branch, commits []ledger.Commit) {
	w.Helper()
	conn, err := w.Space(w.space).ConnectTo(w.Context(), b.Attached.Endpoint.Hosts[0])
	w.Check(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // only read from
	w.verify(conn, commits, "the branch")
}

// verify compares a database with commits, all of which must be there.
func (w *world) verify(conn *pgx.Conn, commits []ledger.Commit, what string) {
	w.Helper()
	r, err := ledger.Verify(w.Context(), conn, commits, ^wal.LSN(0), time.Now())
	w.Check(err)
	for _, b := range r.Broken {
		w.Errorf("%s: %s", what, b)
	}
	if r.Kept != len(commits) || len(commits) < 60 {
		w.Errorf("%s holds %d of %d acknowledged commits", what, r.Kept, len(commits))
	}
}

// bringOver runs the one statement, and finds all that both sides' clients were ever told. Before it, something is missing.
func (w *world) bringOver(stuck []ledger.Commit) {
	w.Helper()
	conn, err := w.Space(w.space).Serving(w.Context())
	w.Check(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // all was said
	before, err := ledger.Verify(w.Context(), conn, stuck, 0, time.Now())
	w.Check(err)
	if before.Kept == 0 || before.Kept == len(stuck) {
		w.Fatalf("%d of %d commits are missing: the primary was not cut off in the middle", len(stuck)-before.Kept, len(stuck))
	}
	began := time.Now()
	done, err := conn.Exec(w.Context(), missing)
	w.Check(err)
	w.Logf("%d of %d commits were missing; brought over in %s (%s)", len(stuck)-before.Kept, len(stuck), time.Since(began).Round(time.Millisecond), done)
	w.fresh.Stop()
	w.verify(conn, append(stuck, w.fresh.Commits()...), "the database that serves")
}
