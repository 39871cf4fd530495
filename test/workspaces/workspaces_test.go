package workspaces_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestLifeOfAManagedWorkspace makes one, writes to it, kills what runs it, changes it, suspends it while it is written to,
// resumes it and terminates it.
func TestLifeOfAManagedWorkspace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, devenv.EnvOptions{NoPrimary: true})
	w.createGroup(" []")
	w.smartdr("workspace", "create", "--group", group, "--name", "reports", "--size", "256MiB/0.1")
	w.smartdr("workspace", "create", "--group", group, "--name", "orders", "--size", "256MiB/0.2", "--set", "work_mem=6MB")
	w.createBank("orders")
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary)
	w.waitSynced("orders", "reports")
	t.Run("refused", w.refuses)
	t.Run("killed", w.killed)
	t.Run("changed", w.changed)
	t.Run("added", w.added)
	t.Run("suspended", w.suspended)
	t.Run("terminated", w.terminated)
}

func (w *world) refuses(t *testing.T) {
	w.refused("has a workspace", "workspace", "create", "--group", group, "--name", "orders")
	w.refused("larger than any host", "workspace", "create", "--group", group, "--name", "huge", "--size", "4096GiB/512")
	w.refused("has no such host", "workspace", "create", "--group", group, "--name", "elsewhere", "--host", "moon-1")
	w.refused("port cannot be chosen", "workspace", "create", "--group", group, "--name", "other", "--set", "port=5432")
	w.refused(`"work_mem": "much"`, "workspace", "create", "--group", group, "--name", "other", "--set", "work_mem=much")
	w.refused(`"work_mem": "much"`, "workspace", "change", "orders", "--group", group, "--set", "work_mem=much")
	w.refused("larger than any host", "workspace", "change", "orders", "--group", group, "--size", "4096GiB/512")
	w.refused("SmartDR", "group", "change", group, "--smartdr=false")
	s, err := w.status()
	if err != nil || len(s.Group.Workspaces) != 2 || !s.Group.SmartDR {
		t.Errorf("something was changed: %+v %v", s.Group, err)
	}
	if got := w.show("orders", "work_mem"); got != "6MB" {
		t.Errorf("work_mem is %s", got)
	}
}

// killed ends the server, then its worker, then both at once, each with SIGKILL: it serves again each time, on one
// timeline, with all that was acknowledged.
func (w *world) killed(t *testing.T) {
	server := w.server("orders")
	var commits []ledger.Commit
	for _, what := range []string{"server", "worker", "both"} {
		l := w.write("orders")
		await(t, l, 20)
		if what != "server" {
			check(t, w.env.Regions[devenv.Primary].Hosts[0].Worker.Kill())
		}
		if what != "worker" {
			check(t, syscall.Kill(postgrestest.PID(t, server), syscall.SIGKILL))
			l.Wait()
		}
		if what != "server" {
			check(t, w.env.Regions[devenv.Primary].StartWorker(t.Context(), w.env.Temporal))
		}
		w.serves("orders")
		l.Stop()
		commits = append(commits, l.Commits()...)
	}
	w.holds(t, "orders", commits)
	w.waitSynced("orders")
}

// holds checks that a workspace has every commit that was acknowledged.
func (w *world) holds(t *testing.T, name string, commits []ledger.Commit) {
	t.Helper()
	conn, err := w.admin(t.Context(), name, bank)
	check(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // only read from
	report, err := ledger.Verify(t.Context(), conn, commits, ^wal.LSN(0), time.Now())
	check(t, err)
	if report.Kept != len(commits) || len(report.Broken) > 0 || len(commits) == 0 {
		t.Errorf("%d of %d commits are there: %v", report.Kept, len(commits), report.Broken)
	}
}

func (w *world) changed(t *testing.T) {
	w.exec("orders", "postgres", "create table notes (n int)") // where `smartdr connect` leads
	out := w.smartdr("workspace", "change", "orders", "--group", group, "--set", "work_mem=9MB", "--set", "max_connections=44")
	if !strings.Contains(out, "max_connections") || w.show("orders", "work_mem") != "9MB" || w.show("orders", "max_connections") != "25" {
		t.Errorf("work_mem %s, max_connections %s, said:\n%s", w.show("orders", "work_mem"), w.show("orders", "max_connections"), out)
	}
	w.smartdr("workspace", "change", "orders", "--group", group, "--size", "512MiB/0.3", "--restart")
	if got := w.show("orders", "max_connections") + " " + w.show("orders", "shared_buffers"); got != "44 128MB" {
		t.Errorf("max_connections and shared_buffers are %s", got)
	}
	w.smartdr("group", "change", group, "--firewall", "10.0.0.0/8")
	if conn, err := w.admin(t.Context(), "orders", "postgres"); err == nil {
		_ = conn.Close(t.Context())
		t.Error("127.0.0.1 gets through a firewall of 10.0.0.0/8")
	}
	w.smartdr("group", "change", group, "--firewall", "127.0.0.0/8")
	w.serves("orders")
}

// added adds a workspace to a group that is replicated.
func (w *world) added(t *testing.T) {
	w.smartdr("workspace", "create", "--group", group, "--name", "late", "--size", "256MiB/0.1")
	w.createBank("late")
	w.waitSynced("orders", "reports", "late")
}

// suspended suspends a workspace that is written to: the buckets have every commit that was acknowledged.
func (w *world) suspended(t *testing.T) {
	server, l := w.server("orders"), w.write("orders")
	await(t, l, 50)
	w.smartdr("workspace", "suspend", "orders", "--group", group)
	l.Wait()
	if _, running := server.Running(t.Context()); running {
		t.Error("the server runs")
	}
	w.smartdr("workspace", "suspend", "orders", "--group", group) // again
	s, err := w.status()
	check(t, err)
	for _, ws := range s.Workspaces {
		for _, region := range []string{devenv.Primary, devenv.Secondary} {
			if ws.Workspace == "orders" && (ws.WAL.Cursor(region) == nil || ws.WAL.Cursor(region).Point.RecordEnd < last(l.Commits())) {
				t.Errorf("the bucket of %s ends at %+v, and %s was acknowledged", region, ws.WAL.Cursor(region), last(l.Commits()))
			}
		}
	}
	// The worker comes back and does not start it.
	check(t, w.env.Regions[devenv.Primary].Hosts[0].Worker.Kill())
	check(t, w.env.Regions[devenv.Primary].StartWorker(t.Context(), w.env.Temporal))
	w.waitSynced("reports")
	if _, running := server.Running(t.Context()); running {
		t.Error("the server was started again")
	}
	w.smartdr("workspace", "change", "orders", "--group", group, "--set", "max_connections=45")
	w.smartdr("workspace", "resume", "orders", "--group", group)
	w.smartdr("workspace", "resume", "orders", "--group", group) // again
	w.holds(t, "orders", l.Commits())
	if got := w.show("orders", "max_connections"); got != "45" {
		t.Errorf("max_connections is %s", got)
	}
	w.waitSynced("orders", "reports")
}

func (w *world) terminated(t *testing.T) {
	server := w.server("orders")
	w.smartdr("workspace", "terminate", "orders", "--group", group, "--yes")
	w.smartdr("workspace", "terminate", "orders", "--group", group, "--yes") // again
	if _, running := server.Running(t.Context()); running || !gone(server.InstanceDir()) {
		t.Errorf("the server runs (%v), or %s is still there", running, server.InstanceDir())
	}
	w.refused("had a workspace orders", "workspace", "create", "--group", group, "--name", "orders")
	w.refused("terminated", "workspace", "resume", "orders", "--group", group)
	w.waitSynced("reports")
	server = w.server("reports")
	w.smartdr("group", "terminate", group, "--yes")
	if _, running := server.Running(t.Context()); running || !gone(filepath.Dir(filepath.Dir(server.InstanceDir()))) {
		t.Errorf("the server runs (%v), or the group's folder is still there", running)
	}
	w.refused("terminated", "workspace", "create", "--group", group, "--name", "more")
}

// TestMixedGroupFailsOver loses a region with a managed workspace, a suspended one and an adopted one.
func TestMixedGroupFailsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, devenv.EnvOptions{AfterServer: func(ctx context.Context, p *devenv.Postgres) error {
		if err := p.Exec(ctx, "postgres", "create database "+bank); err != nil {
			return err
		}
		conn, err := p.Open(ctx, bank)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
		return ledger.Setup(ctx, conn)
	}})
	w.createGroup(fmt.Sprintf(`
  - name: main
    connection: %s
    passwordFile: %s
  - name: orders
    size: 256MiB/0.2
    settings: {work_mem: 6MB, max_connections: "44"}
    hba: ["host all all 127.0.0.9/32 reject"]
  - name: asleep
    size: 256MiB/0.2
`, w.env.Server.URL(devenv.ReplicationRole, "postgres"), filepath.Join(w.env.Dir, "regions", devenv.Primary, "replication.password")))
	w.createBank("orders")
	w.createBank("asleep")
	w.refused("adopted", "workspace", "suspend", "main", "--group", group)
	w.refused("adopted", "workspace", "change", "main", "--group", group, "--set", "work_mem=6MB")
	w.commandsAtHome(t)
	w.waitSynced("main", "orders", "asleep")
	resting := w.write("asleep")
	await(t, resting, 20)
	w.smartdr("workspace", "suspend", "asleep", "--group", group)
	resting.Wait()
	w.commandsWhileAsleep(t)

	home := w.server("orders")
	l := w.write("orders")
	await(t, l, 500)
	w.shippedSome(t, "orders", l.Commits()[0].After)
	check(t, w.env.KillRegion(t.Context(), devenv.Primary))
	cut := time.Now()
	l.Wait()
	w.smartdr("failover", "--group", group, "--yes")
	op := w.lastOperation()
	conn, err := w.server("orders").Open(t.Context(), bank)
	check(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // only read from
	report, err := ledger.Verify(t.Context(), conn, l.Commits(), recovered(op, "orders").RecordEnd, cut)
	check(t, err)
	if len(report.Broken) > 0 || report.Kept == 0 {
		t.Errorf("%d commits kept of %d: %v", report.Kept, report.Acknowledged, report.Broken)
	}
	if got := w.show("orders", "work_mem") + " " + w.show("orders", "max_connections"); got != "6MB 44" {
		t.Errorf("work_mem and max_connections are %s", got)
	}
	w.commandsAway(t)
	w.stayedAsleep(t, resting.Commits())
	w.homeStaysDown(t, home)
	w.manageAway(t)
	w.commandsAtTheEnd(t)
}

// shippedSome waits until the secondary's bucket holds a workspace up to a position.
func (w *world) shippedSome(t *testing.T, name string, up wal.LSN) {
	t.Helper()
	devtest.Until(t, "the first commits of "+name+" to be shipped", func() bool {
		s, err := w.status()
		return err == nil && slices.ContainsFunc(s.Workspaces, func(ws topology.WorkspaceStatus) bool {
			return ws.Workspace == name && ws.WAL != nil && ws.WAL.Cursor(devenv.Secondary) != nil && ws.WAL.Cursor(devenv.Secondary).Point.RecordEnd >= up
		})
	})
}

func (w *world) lastOperation() (last topology.Operation) {
	w.t.Helper()
	var ops []topology.Operation
	check(w.t, json.Unmarshal([]byte(w.smartdr("operations", "--group", group, "-o", "json")), &ops))
	for _, op := range ops {
		if op.StartedAt.After(last.StartedAt) {
			last = op
		}
	}
	return last
}

func recovered(op topology.Operation, workspace string) topology.RecoveryPoint {
	for _, r := range op.Workspaces {
		if r.Workspace == workspace {
			return r.Point
		}
	}
	return topology.RecoveryPoint{}
}

// stayedAsleep: a suspended workspace comes along, stays down, and has lost nothing once it is resumed.
func (w *world) stayedAsleep(t *testing.T, commits []ledger.Commit) {
	if got := w.workspace("asleep").State; got != topology.WorkspaceSuspended {
		t.Errorf("the suspended workspace is %q", got)
	}
	server := w.server("asleep")
	devtest.Until(t, "the server of the suspended workspace to end", func() bool {
		_, running := server.Running(t.Context())
		return !running
	})
	w.smartdr("workspace", "resume", "asleep", "--group", group)
	w.holds(t, "asleep", commits)
}

// homeStaysDown: the lost region comes back, and does not start the servers that serve elsewhere now.
func (w *world) homeStaysDown(t *testing.T, home *postgres.Server) {
	check(t, w.env.Regions[devenv.Primary].Gateway.Restart(t.Context()))
	check(t, w.env.Regions[devenv.Primary].StartWorker(t.Context(), w.env.Temporal))
	w.waitSynced("main", "orders", "asleep") // replicated back: the worker works, and has looked at its servers
	if _, running := home.Running(t.Context()); running {
		t.Error("the former home runs")
	}
}

// manageAway manages what a failover brought up: the workspaces are SmartDR's to change there, the adopted one too.
func (w *world) manageAway(t *testing.T) {
	w.smartdr("workspace", "change", "orders", "--group", group, "--set", "work_mem=11MB", "--size", "512MiB/0.3", "--restart")
	if got := w.show("orders", "work_mem") + " " + w.show("orders", "shared_buffers"); got != "11MB 128MB" {
		t.Errorf("work_mem and shared_buffers are %s", got)
	}
	w.smartdr("group", "change", group, "--firewall", "10.0.0.0/8")
	if conn, err := w.admin(t.Context(), "orders", "postgres"); err == nil {
		_ = conn.Close(t.Context())
		t.Error("127.0.0.1 gets through a firewall of 10.0.0.0/8")
	}
	w.smartdr("workspace", "suspend", "main", "--group", group)
	w.smartdr("workspace", "resume", "main", "--group", group)
	w.refused("With force", "workspace", "terminate", "main", "--group", group, "--yes")
	out := w.smartdr("workspace", "terminate", "main", "--group", group, "--yes", "--force", "-o", "json")
	if !strings.Contains(out, "pg_drop_replication_slot('smartdr_demo_main')") {
		t.Errorf("it is not said which slot to drop:\n%s", out)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
