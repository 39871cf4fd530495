package workspaces_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/workflows"
)

// thirds is how many runs it takes to kill the worker in every step.
const thirds = 3

// killer kills the worker of the primary region in those steps of a story whose turn it is.
type killer struct {
	*world
	turn  int // kills in this one of every three steps
	full  bool
	steps int // that the story has named so far
}

// TestWorkerKilledInEachStep kills the worker that does the work with the activities of everything that can be asked, and
// starts it again: all of it comes to the end that it would have come to anyway. Each PostgreSQL major meets another third of
// the steps, the first one that in which a server is made; SMARTDR_TEST_FULL=1 lets each meet all.
func TestWorkerKilledInEachStep(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	check(t, err)
	for i, major := range majors {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			t.Parallel()
			w := killer{world: newWorld(t, devenv.EnvOptions{Major: major}), turn: (i + 2) % thirds, full: os.Getenv("SMARTDR_TEST_FULL") == "1"}
			w.lifeUnderFire(t)
		})
	}
}

func (w *killer) lifeUnderFire(t *testing.T) {
	w.createGroup(fmt.Sprintf("\n  - name: main\n    connection: %s\n    passwordFile: %s\n", w.env.Server.URL(devenv.ReplicationRole, "postgres"),
		filepath.Join(w.env.Dir, "regions", devenv.Primary, "replication.password")))
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary)
	w.struck(t, []string{"CheckServer", "AddWorkspace", "MakeServer", "RecordServer"},
		"workspace", "create", "--group", group, "--name", "orders", "--size", "256MiB/0.1", "--set", "work_mem=6MB")
	w.createBank("orders")
	w.waitSynced("main", "orders")
	w.struck(t, []string{"CheckChange", "RecordChange", "ApplyServer"},
		"workspace", "change", "orders", "--group", group, "--set", "max_connections=44", "--restart")
	if got := w.show("orders", "work_mem") + " " + w.show("orders", "max_connections"); got != "6MB 44" {
		t.Errorf("work_mem and max_connections are %s", got)
	}
	w.waitSynced("main", "orders")
	l := w.write("orders")
	await(t, l, 50)
	server := w.server("orders")
	w.struck(t, []string{"DrainServer", "RecordState", "StopServer"}, "workspace", "suspend", "orders", "--group", group)
	l.Wait()
	if _, running := server.Running(t.Context()); running {
		t.Error("the server runs")
	}
	w.struck(t, []string{"RecordState", "StartServer"}, "workspace", "resume", "orders", "--group", group)
	w.holds(t, "orders", l.Commits())
	w.waitSynced("main", "orders")
	w.struck(t, []string{"StopServer", "RemoveServer"}, "workspace", "terminate", "orders", "--group", group, "--yes")
	if _, running := server.Running(t.Context()); running || !gone(server.InstanceDir()) {
		t.Errorf("the server runs (%v), or its folder is still there", running)
	}
	w.slots(t, 1)
	w.struck(t, []string{"DrainSource", "DropSlot"}, "workspace", "terminate", "main", "--group", group, "--yes")
	w.slots(t, 0)
}

// slots counts our slots on the adopted server, which runs on.
func (w *world) slots(t *testing.T, want int) {
	t.Helper()
	conn, err := w.env.Server.Open(t.Context(), "postgres")
	check(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // only read from
	var n int
	check(t, conn.QueryRow(t.Context(), "select count(*) from pg_replication_slots where slot_name like 'smartdr%'").Scan(&n))
	if n != want {
		t.Errorf("the adopted server has %d slots of ours, want %d", n, want)
	}
}

// due are those of the next steps in which it is this run's turn to kill.
func (w *killer) due(steps []string) (due []string) {
	for _, step := range steps {
		if w.full || w.steps%thirds == w.turn {
			due = append(due, step)
		}
		w.steps++
	}
	return due
}

// struck runs the CLI, which comes through these steps among others. When one of them begins whose turn it is, the worker of
// the primary region is killed, and started again; with all of them, also in the others.
func (w *killer) struck(t *testing.T, steps []string, args ...string) {
	t.Helper()
	want := w.due(steps)
	workspace := args[2]
	if args[1] == "create" {
		workspace = args[5]
	}
	var struck []string
	host := w.env.Regions[devenv.Primary].Hosts[0]
	devtest.During(t, w.env.Temporal, workflows.ManageWorkspaceID(group, workspace), func(ctx context.Context, activity string, k int) {
		if k > 1 || !w.full && !slices.Contains(want, activity) {
			return
		}
		struck = append(struck, activity)
		if err := host.Worker.Kill(); err != nil {
			t.Error(err)
		}
		if err := host.Start(ctx, w.env.Temporal); err != nil {
			t.Error(err)
		}
	}, func() { w.smartdr(args...) })
	t.Logf("smartdr %v: killed in %v", args, struck)
	for _, activity := range want {
		if !slices.Contains(struck, activity) {
			t.Errorf("smartdr %v: never killed in %s, only in %v", args, activity, struck)
		}
	}
}
