package activities

import (
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// While others may still write to a server that is fenced as far as that goes, its tail goes on and is not complete: what waits for that
// waits. It is when the server is down.
func TestATailBehindABestEffortFenceGoesOn(t *testing.T) {
	f := newFenced(t)
	f.managed(t)
	s, target := f.worker(true)
	_, err := as(t, s.Fence, f.input("op-2", false))
	check(t, err)
	record := f.record()
	record.Worth, record.Reason = topology.FenceBestEffort, "pg_hba.conf cannot be changed"
	_, err = f.Catalog.PutFence(t.Context(), record)
	check(t, err)
	turn := func(seconds int) topology.Tail {
		t.Helper()
		tail, err := as(t, s.ShipTail, TailInput{Group: "prod", Workspace: "main", Lineage: f.l1.ID, TurnSeconds: seconds})
		check(t, err)
		return tail
	}
	first := turn(4)
	if first.Complete || first.At.LSN < record.End.LSN || !strings.Contains(first.Error, "best effort") || !strings.Contains(first.Error, record.Reason) {
		t.Errorf("the fence ends at %s, and the tail is %+v", record.End, first)
	}
	postgrestest.Exec(t, f.server, "postgres", "BEGIN READ WRITE; SET LOCAL synchronous_commit = on; CREATE TABLE late (n int); COMMIT")
	if second := turn(4); second.Complete || second.At.LSN <= first.At.LSN || second.Commits <= first.Commits {
		t.Errorf("%+v after %+v", second, first)
	}
	if copied, err := as(t, (&Control{Site: f.Site}).CopyTail, TailInput{Group: "prod", Workspace: "main", Lineage: f.l1.ID}); err != nil || copied.Complete || !strings.Contains(copied.Error, "best effort") {
		t.Errorf("copied: %+v, %v", copied, err)
	}
	loaded, err := f.Catalog.Load(t.Context(), "prod")
	check(t, err)
	if err := target.tailsAreHome(t.Context(), loaded.Group, "east"); !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "--force") {
		t.Errorf("the way back: %v", err)
	}
	check(t, f.server.Stop(t.Context(), postgres.Fast))
	if tail := turn(60); !tail.Complete {
		t.Errorf("of a server that is down: %+v", tail)
	}
	check(t, target.tailsAreHome(t.Context(), loaded.Group, "east"))
}

// managed lets SmartDR run the server of epoch 1, and another one serve in west under epoch 2.
func (f *fenced) managed(t *testing.T) {
	t.Helper()
	dir := f.server.InstanceDir()
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "main", Epoch: 1, Published: true}))
	f.claim(t, 2, "op-2")
	fork, err := wal.ParseLSN(postgrestest.Query(t, f.server, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	check(t, err)
	l2 := f.lineage(2, "west")
	l2.Start.Timeline, l2.Start.LSN = 2, l2.SegmentSize.Start(fork)
	l2.Parent = &topology.Fork{Lineage: f.l1.ID, At: wal.Position{Timeline: 1, LSN: fork}}
	f.update(t, func(g *topology.Group) {
		w := &g.Workspaces[0]
		g.Active, g.Epoch = "west", 2
		w.Sites["east"] = topology.Site{Kind: topology.Managed, Host: "e1", Instance: dir, Source: f.server.Source("postgres")}
		w.Lineage, w.Lineages = l2.ID, []topology.Lineage{f.l1, l2}
	})
	postgrestest.Exec(t, f.server, "postgres", "CREATE TABLE tail (n int)")
}
