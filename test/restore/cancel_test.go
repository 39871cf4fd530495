package restore_test

import (
	"context"
	"sync"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestInPlaceCanceledWhileNobodyCanWrite stops a restore in place after its fence: the server takes writes again, none is lost, and nothing is left
// of what was made. The same command then does it.
func TestInPlaceCanceledWhileNobodyCanWrite(t *testing.T) {
	w := newWorld(t, false)
	load := w.write()
	w.record(6)
	w.shipped()
	before := w.status().Group
	ship := w.holdShipping() // what the restore waits for does not arrive before it is canceled
	defer ship()
	var op topology.Operation
	canceled := false
	devtest.During(t, w.env.Temporal, workflows.RestoreID(estate.Group), func(ctx context.Context, activity string, k int) {
		if activity == "AwaitShipped" && k == 1 {
			_, err := w.env.SmartDR(ctx, "cancel", estate.Group)
			canceled = err == nil
			ship()
			if err != nil {
				t.Error(err)
			}
		}
	}, func() {
		w.ok("restore", "--group", estate.Group, "--to-lsn", w.marks[2].end.String(), "--in-place", "--yes", "--wait=false", "--max-gap", "4m")
		op = w.awaitRestore(t.Context())
	})
	if !canceled || op.State != topology.OperationCanceled {
		t.Fatalf("the restore is %s: %s", op.State, op.Error)
	}
	after := w.status().Group
	if after.Workspaces[0].Lineage != before.Workspaces[0].Lineage || len(after.Branches) != 0 || !noStandby(after) {
		t.Errorf("a canceled restore has changed the group: %+v", after)
	}
	w.more(load, 40)
	conn, err := w.space.Serving(t.Context())
	check(t, err)
	defer conn.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // only read from
	w.allThere(conn, load.Commits(), "the server that went on")
	op = w.restoreInPlace(w.marks[2])
	w.checkServes(w.marks[2])
	w.checkBefore(load, op)
}

// holdShipping stops the process that sends the server's WAL to the shipper, until ship is called.
func (w *world) holdShipping() (ship func()) {
	w.Helper()
	conn, err := w.server().Open(w.Context(), estate.Database)
	check(w, err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // only read from
	var pid int
	devtest.Until(w, "the server to be shipped from", func() bool {
		return conn.QueryRow(w.Context(), "select active_pid from pg_replication_slots where active and slot_type = 'physical'").Scan(&pid) == nil
	})
	check(w, syscall.Kill(pid, syscall.SIGSTOP))
	return sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			w.Error(err)
		}
	})
}
