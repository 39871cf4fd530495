package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func lsn(t *testing.T, s string) wal.LSN {
	t.Helper()
	l, err := wal.ParseLSN(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lastOperation returns the newest operation of the group.
func (w *world) lastOperation() topology.Operation {
	w.t.Helper()
	var ops []topology.Operation
	if err := json.Unmarshal([]byte(w.smartdr("operations", "--group", group, "-o", "json")), &ops); err != nil {
		w.t.Fatal(err)
	}
	if len(ops) == 0 {
		w.t.Fatal("the group has no operation")
	}
	last := ops[0]
	for _, op := range ops {
		if op.StartedAt.After(last.StartedAt) {
			last = op
		}
	}
	return last
}

// checkPromises checks what must hold after a failover that completed: the recovery point and every commit before it, one
// promotion and no more, nothing half there, and replication that goes on from the new side.
func (w *world) checkPromises(announced wal.LSN) {
	w.t.Helper()
	op := w.lastOperation()
	if op.State != topology.OperationCompleted || len(op.Workspaces) != 1 {
		w.t.Fatalf("the failover is %s (%s) with %d workspaces, want Completed with 1", op.State, op.Error, len(op.Workspaces))
	}
	recovered := op.Workspaces[0].Point
	if recovered.At.LSN < announced {
		w.t.Errorf("recovered to %s, but %s had been announced", recovered.At, announced)
	}
	conn := w.connectAfter()
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	w.checkLedger(conn, recovered.RecordEnd)
	w.checkPromotedOnce(conn, recovered)
	w.checkGoesOn(conn, op)
}

// connectAfter connects through the new server's own socket: what the ordinary roles may do is the demo's to show. The server
// may have been killed as the failover ended; the worker starts it again.
func (w *world) connectAfter() *pgx.Conn {
	w.t.Helper()
	servers, err := w.env.Regions[devenv.Secondary].Servers()
	if err != nil || len(servers) != 1 {
		w.t.Fatalf("%d servers in %s, %v; want 1", len(servers), devenv.Secondary, err)
	}
	var conn *pgx.Conn
	devtest.Until(w.t, "the new server to take connections", func() bool {
		conn, err = servers[0].Open(w.t.Context(), appDB)
		return err == nil
	})
	return conn
}

func (w *world) checkLedger(conn *pgx.Conn, recovered wal.LSN) {
	w.t.Helper()
	if w.load == nil {
		return
	}
	r, err := ledger.Verify(w.t.Context(), conn, w.commits(), recovered, w.cut)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range r.Broken {
		w.t.Error(b)
	}
	if r.Due == 0 {
		w.t.Error("no acknowledged commit was due: the test shows nothing")
	}
	w.t.Logf("%d commits acknowledged, %d due, %d kept, %.2f s lost", r.Acknowledged, r.Due, r.Kept, r.Loss.Seconds())
}

// checkPromotedOnce looks for a timeline that a second promotion would have made.
func (w *world) checkPromotedOnce(conn *pgx.Conn, recovered topology.RecoveryPoint) {
	w.t.Helper()
	var file string
	if err := conn.QueryRow(w.t.Context(), `select pg_walfile_name(pg_current_wal_insert_lsn())`).Scan(&file); err != nil {
		w.t.Fatal(err)
	}
	if got, want := file[:8], (recovered.At.Timeline + 1).Key(); got != want {
		w.t.Errorf("the server is on timeline %s, want %s", got, want)
	}
}

// checkGoesOn writes to the new server and waits until that is in the bucket beside it.
func (w *world) checkGoesOn(conn *pgx.Conn, op topology.Operation) {
	w.t.Helper()
	var text string
	_, err := conn.Exec(w.t.Context(), `create table after_the_failover as select 1 as one`)
	if err == nil {
		err = conn.QueryRow(w.t.Context(), `select pg_current_wal_flush_lsn()::text`).Scan(&text)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	target := lsn(w.t, text)
	devtest.Until(w.t, fmt.Sprintf("lineage %s to be shipped up to %s", op.Workspaces[0].Lineage, target), func() bool {
		c, known := w.cursor(op.To)
		return known && c.Point.Lineage == op.Workspaces[0].Lineage && c.Point.At.LSN >= target
	})
}

// announced returns what the secondary's bucket was last said to hold.
func (w *world) announced() wal.LSN {
	w.t.Helper()
	c, known := w.cursor(devenv.Secondary)
	if !known {
		w.t.Fatal("nothing is announced for " + devenv.Secondary)
	}
	return c.Point.At.LSN
}

// checkComesHome brings the lost region's bucket back, and waits until the group is protected again in that direction: the new
// lineage's WAL and a snapshot of it are there, without anybody asking.
func (w *world) checkComesHome() {
	w.t.Helper()
	lineage := w.lastOperation().Workspaces[0].Lineage
	if err := w.env.Regions[devenv.Primary].Gateway.Restart(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	devtest.Until(w.t, "the lost region's bucket to hold the new lineage", func() bool {
		s, err := w.status()
		if err != nil || len(s.Workspaces) != 1 || s.Workspaces[0].Snapshot == nil || s.Workspaces[0].WAL == nil {
			return false
		}
		c, known := w.cursor(devenv.Primary)
		snapshot := s.Workspaces[0].Snapshot
		return known && c.Point.Lineage == lineage && c.LagBytes == 0 && snapshot.Lineage == lineage && slices.Contains(snapshot.Complete, devenv.Primary)
	})
}
