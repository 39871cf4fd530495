package workspaces_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/workflows"
)

// TestWorkerKilledInEachStep kills the worker that does the work with each activity of everything that can be asked, and
// starts it again: all of it comes to the end that it would have come to anyway.
func TestWorkerKilledInEachStep(t *testing.T) {
	w := newWorld(t, devenv.EnvOptions{})
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

// struck runs the CLI while the worker of the primary region is killed with each activity that it begins, and started again.
// These must have been among them.
func (w *world) struck(t *testing.T, want []string, args ...string) {
	t.Helper()
	workspace := args[2]
	if args[1] == "create" {
		workspace = args[5]
	}
	ctx, cancel := context.WithCancel(t.Context())
	var struck []string
	var striker sync.WaitGroup
	host := w.env.Regions[devenv.Primary].Hosts[0]
	begun := time.Now()
	striker.Go(func() {
		w.eachActivity(ctx, workflows.ManageWorkspaceID(group, workspace), begun, func(activity string) {
			struck = append(struck, activity)
			if err := host.Worker.Kill(); err != nil {
				t.Error(err)
			}
			if err := host.Start(t.Context(), w.env.Temporal); err != nil {
				t.Error(err)
			}
		})
	})
	w.smartdr(args...)
	cancel()
	striker.Wait()
	for _, activity := range want {
		if !slices.Contains(struck, activity) {
			t.Errorf("smartdr %v: never killed in %s, only in %v", args, activity, struck)
		}
	}
}

// eachActivity calls strike for each activity type of the workflow's runs since begun, when the activity has just been
// scheduled, until ctx is done.
func (w *world) eachActivity(ctx context.Context, workflowID string, begun time.Time, strike func(activity string)) {
	c, err := w.env.Temporal.Dial(ctx)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer c.Close()
	seen := map[string]bool{}
	for ctx.Err() == nil {
		events := c.GetWorkflowHistory(ctx, workflowID, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				break // not there yet, or ctx is done
			}
			a := e.GetActivityTaskScheduledEventAttributes()
			if name := a.GetActivityType().GetName(); a != nil && e.GetEventTime().AsTime().After(begun) && !seen[name] {
				seen[name] = true
				strike(name)
			}
		}
		select { // the run of an earlier request has ended
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}
