package restore_test

import (
	"context"
	"testing"
	"time"

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
	ctx, cease := context.WithCancel(t.Context())
	defer cease()
	canceled := make(chan error, 1)
	go devtest.EachStart(ctx, w.env.Temporal, workflows.RestoreID(estate.Group), time.Now(), func(activity string, k int) {
		if activity == "AwaitShipped" && k == 1 {
			_, err := w.env.SmartDR(ctx, "cancel", estate.Group)
			canceled <- err
		}
	})
	w.ok("restore", "--group", estate.Group, "--to-lsn", w.marks[2].end.String(), "--in-place", "--yes", "--wait=false")
	op := w.awaitRestore(t.Context())
	check(t, <-canceled)
	if op.State != topology.OperationCanceled {
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
