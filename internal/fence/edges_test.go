package fence_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func (w world) lift(by string) string {
	w.Helper()
	note, err := fence.Lift(context.Background(), w.source, w.options(by))
	postgrestest.Check(w, err)
	return note
}

func (w world) inForce(o fence.Options) bool {
	w.Helper()
	in, err := fence.Check(context.Background(), w.source, o)
	postgrestest.Check(w, err)
	return in
}

func alterSystem(t testing.TB, s *postgres.Server, sets ...string) {
	t.Helper()
	for _, set := range sets {
		postgrestest.Exec(t, s, "postgres", "ALTER SYSTEM "+set)
	}
	postgrestest.Exec(t, s, "postgres", "SELECT pg_reload_conf()")
}

// What the user had set before is there again, and the fence's own is gone, however often either is done, and whoever is late.
func TestALiftBringsBackTheUsersOwn(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		alterSystem(t, w.server, `SET session_preload_libraries = 'plpgsql', '$libdir/plpgsql'`, `SET default_transaction_read_only = off`, `SET wal_retrieve_retry_interval = '7s'`)
		before := w.state()
		w.apply(w.options("op-1"))
		again := w.apply(w.options("op-1"))
		if again.Worth != topology.FenceProven || again.Before["session_preload_libraries"] == nil || again.Before["max_logical_replication_workers"] != nil {
			t.Errorf("%+v", again)
		}
		o := w.options("op-2")
		o.ForGood = true
		w.apply(o)
		if w.lift("op-1"); !w.inForce(o) {
			t.Error("the first operation has lifted the second one's fence")
		}
		for range 2 {
			w.lift("op-2")
			if diff := cmp.Diff(sortedLines(before), sortedLines(w.state())); diff != "" {
				t.Error(diff)
			}
		}
		if in := w.inForce(o); in {
			t.Error("it is still in force")
		}
		if got := postgrestest.Query(t, w.server, "postgres", "SELECT reset_val FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'"); got != "7000" {
			t.Errorf("wal_retrieve_retry_interval is %s", got)
		}
	})
}

// sortedLines: ALTER SYSTEM writes a setting that it changes at the end of its file.
func sortedLines(s string) map[string]int {
	lines := map[string]int{}
	for line := range strings.Lines(s) {
		lines[strings.TrimSpace(line)]++
	}
	return lines
}

// Whoever manages pg_hba.conf may write it anew. The fence is then set again, and lifting it brings back the newer rules.
func TestAnOperatorRewritesTheRules(t *testing.T) {
	bin := newest(t)
	w := newWorld(t, bin, nil)
	w.apply(w.options("op-1"))
	operators := userRules + "\n# written by the operator\n"
	postgrestest.Check(t, os.WriteFile(w.server.HBAFile(), []byte(operators), 0o600))
	postgrestest.Check(t, w.server.Reload(t.Context()))
	if w.inForce(w.options("op-1")) {
		t.Error("a fence without its rules counts as one")
	}
	if r := w.apply(w.options("op-1")); r.Worth != topology.FenceProven {
		t.Errorf("%+v", r)
	}
	w.refused()
	w.lift("op-1")
	if b, _ := os.ReadFile(w.server.HBAFile()); string(b) != operators {
		t.Errorf("the rules are\n%s", b)
	}
}

func newest(t testing.TB) postgres.Binaries {
	all := postgrestest.Installations(t)
	return all[len(all)-1]
}

// Access rules that cannot be written leave a fence that keeps honest clients out, and says what it lacks.
func TestRulesThatCannotBeWritten(t *testing.T) {
	w := newWorld(t, newest(t), nil)
	postgrestest.Check(t, os.Chmod(w.server.HBAFile(), 0o444))
	if os.Geteuid() == 0 {
		postgrestest.Check(t, os.Chown(w.server.HBAFile(), 0, 0))
	}
	r := w.apply(w.options("op-1"))
	if r.Worth != topology.FenceBestEffort || r.End.LSN == 0 || !strings.Contains(r.Reason, "cannot be changed") {
		t.Errorf("%+v", r)
	}
	for _, role := range []string{"app", "owner", "postgres"} {
		if conn, err := w.as(role, ""); err == nil {
			_ = conn.Close(context.Background())
			t.Errorf("%s got in", role)
		}
	}
	if !w.inForce(w.options("op-1")) {
		t.Error("it is fenced anew again and again")
	}
	w.lift("op-1")
	w.mustAs("app", "")
}

// allow_alter_system=off leaves the access rules alone.
func TestWithoutALTERSYSTEM(t *testing.T) {
	bin := newest(t)
	if bin.Major() < 17 {
		t.Skip("allow_alter_system is of PostgreSQL 17")
	}
	w := newWorld(t, bin, map[string]string{"allow_alter_system": "off"})
	before := w.state()
	r := w.apply(w.options("op-1"))
	if r.Worth != topology.FenceBestEffort || r.End.LSN == 0 || !strings.Contains(r.Reason, "allow_alter_system") {
		t.Errorf("%+v", r)
	}
	for _, role := range []string{"app", "postgres"} {
		if conn, err := w.as(role, ""); err == nil {
			_ = conn.Close(context.Background())
			t.Errorf("%s got in", role)
		}
	}
	if !w.inForce(w.options("op-1")) {
		t.Error("not in force")
	}
	w.lift("op-2")
	if !w.inForce(w.options("op-1")) {
		t.Error("somebody else lifted it")
	}
	w.lift("op-1")
	if diff := cmp.Diff(before, w.state()); diff != "" {
		t.Error(diff)
	}
}

// A role that is no superuser does what it may, and says so.
func TestARoleThatIsNoSuperuser(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		postgrestest.Exec(t, w.server, "postgres", "CREATE ROLE weak LOGIN REPLICATION IN ROLE clients")
		w.source.ConnString = strings.Replace(w.source.ConnString, "user=smartdr", "user=weak", 1)
		app := w.mustAs("app", "")
		r := w.apply(w.options("op-1"))
		if r.Worth != topology.FenceBestEffort || r.End.LSN != 0 || !strings.Contains(r.Reason, "no superuser") || app.Ping(t.Context()) != nil {
			t.Errorf("%+v", r)
		}
		postgrestest.Exec(t, w.server, "shop", `GRANT pg_signal_backend TO weak; GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO weak;
			GRANT EXECUTE ON FUNCTION pg_reload_conf() TO weak`)
		if r = w.apply(w.options("op-1")); !contains(r.Means, "read-only") || app.Ping(t.Context()) == nil {
			t.Errorf("%+v", r)
		}
		devtest.Until(t, "sessions begin read-only", func() bool {
			_, err := w.mustAs("app", "").Exec(t.Context(), "INSERT INTO t VALUES (1)")
			return err != nil
		})
		if !w.inForce(w.options("op-1")) {
			t.Error("not in force")
		}
		w.lift("op-1")
		devtest.Until(t, "sessions begin as they did", func() bool {
			_, err := w.mustAs("app", "").Exec(t.Context(), "INSERT INTO t VALUES (2)")
			return err == nil
		})
	})
}

// A role whose sessions load libraries of their own is kept out by the access rules.
func TestARoleWithLibrariesOfItsOwn(t *testing.T) {
	w := newWorld(t, newest(t), nil)
	postgrestest.Exec(t, w.server, "postgres", "ALTER ROLE app SET session_preload_libraries = 'plpgsql'; ALTER ROLE app REPLICATION")
	if r := w.apply(w.options("op-1")); r.Worth != topology.FenceProven {
		t.Errorf("%+v", r)
	}
	w.refused()
}

// An address may lead to the server that serves now. Its history tells it from the one that is to be fenced.
func TestTheServerThatServesIsNotFenced(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		standby := postgrestest.StartStandby(t, w.server)
		postgrestest.WaitReplayed(t, w.server, standby)
		postgrestest.Check(t, standby.Promote(t.Context()))
		o := w.options("op-1")
		lsn := postgrestest.Query(t, standby, "postgres", "SELECT split_part(pg_read_file('pg_wal/00000002.history'), E'\\t', 2)")
		newer := topology.Lineage{ID: "0002-aaaaaaaa", Epoch: 2, Start: wal.Position{Timeline: 2}, Parent: &topology.Fork{Lineage: o.Lineage.ID, At: wal.Position{Timeline: 1, LSN: position(t, lsn)}}}
		o.Newer = []topology.Lineage{newer}
		promoted := topology.Source{ConnString: fmt.Sprintf("host=127.0.0.1 port=%d user=smartdr dbname=shop sslmode=disable", standby.Port)}
		if _, err := fence.Apply(t.Context(), promoted, o); !fault.Is(err, fault.Diverged) {
			t.Errorf("the new server: %v", err)
		}
		for _, s := range []*postgres.Server{standby, w.server} { // nobody can replicate from here on
			postgrestest.Check(t, os.WriteFile(s.HBAFile(), []byte(strings.ReplaceAll(userRules, "replication", "nobody")), 0o600))
			postgrestest.Check(t, s.Reload(t.Context()))
		}
		if _, err := fence.Apply(t.Context(), promoted, o); !fault.Is(err, fault.Diverged) {
			t.Errorf("the new server, which nobody can replicate from: %v", err)
		}
		if r := w.apply(o); r.Worth != topology.FenceProven {
			t.Errorf("the old server: %+v", r)
		}
		other := o
		other.Lineage.SystemID = "7000000000000000001"
		if _, err := fence.Apply(t.Context(), w.source, other); !fault.Is(err, fault.Diverged) {
			t.Errorf("another system: %v", err)
		}
	})
}

// WAL goes on to those that replicate: what is written last has to be sent somewhere.
func TestReplicationGoesOn(t *testing.T) {
	w := newWorld(t, newest(t), nil)
	standby := postgrestest.StartStandby(t, w.server)
	w.apply(w.options("op-1"))
	postgrestest.Exec(t, w.server, "shop", "INSERT INTO other VALUES (1)")
	postgrestest.WaitReplayed(t, w.server, standby)
	postgrestest.Check(t, standby.Stop(t.Context(), postgres.Fast))
	postgrestest.Check(t, standby.Start(t.Context()))
	postgrestest.Exec(t, w.server, "shop", "INSERT INTO other VALUES (2)")
	postgrestest.WaitReplayed(t, w.server, standby)
}

// Prepared transactions stay as they are, and are named.
func TestPreparedTransactionsStay(t *testing.T) {
	w := newWorld(t, newest(t), map[string]string{"max_prepared_transactions": "5"})
	_, err := w.mustAs("app", "").Exec(t.Context(), "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'order 7'")
	postgrestest.Check(t, err)
	r := w.apply(w.options("op-1"))
	if r.Worth != topology.FenceProven || !contains(r.Means, "order 7 in database shop") {
		t.Errorf("%+v", r)
	}
	if n := postgrestest.Query(t, w.server, "postgres", "SELECT count(*) FROM pg_prepared_xacts"); n != "1" {
		t.Errorf("%s prepared transactions", n)
	}
}

// A server that is down is fenced by its files, and its next start is a fenced one.
func TestOnDisk(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		if err := fence.OnDisk(t.Context(), s, fence.Options{By: "epoch-2"}); !fault.Is(err, fault.Conflict) {
			t.Errorf("while it runs: %v", err)
		}
		postgrestest.Check(t, s.Stop(t.Context(), postgres.Fast))
		o := fence.Options{Lineage: topology.Lineage{ID: "0001-aaaaaaaa"}, By: "epoch-2", ForGood: true}
		for range 2 {
			postgrestest.Check(t, fence.OnDisk(t.Context(), s, o))
		}
		postgrestest.Check(t, s.Start(t.Context()))
		src := postgrestest.Source(s, "postgres", "postgres")
		if conn, err := postgres.OpenPast(t.Context(), src); err == nil {
			_ = conn.Close(t.Context())
			t.Error("a superuser got in over TCP")
		}
		if in, err := fence.Check(t.Context(), s.Source("postgres"), o); !in || err != nil {
			t.Errorf("in force %t, %v", in, err)
		}
		kept, err := os.ReadFile(filepath.Join(s.InstanceDir(), "pg_hba.conf"))
		if postgrestest.Check(t, err); !strings.Contains(string(kept), "smartdr-original-begin") {
			t.Errorf("the rules are\n%s", kept)
		}
	})
}
