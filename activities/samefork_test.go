package activities

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Both sides were promoted at the same place to the same timeline: the old server's own standby, and what was failed over to. The
// first is fenced and its tail is brought home; the other is left alone, also where the old one's address leads to it.
func TestBothSidesWentToTheSameTimelineAtTheSamePlace(t *testing.T) {
	f := newFenced(t)
	local, remote := promotedTwice(t, f.server)
	l2 := f.shipAs(t, remote, topology.NewLineageID(2))
	f.server = remote
	f.claim(t, 2, "op-2")
	at := func(east *postgres.Server) {
		f.update(t, func(g *topology.Group) {
			w := &g.Workspaces[0]
			g.Active, g.Epoch = "west", 2
			w.Sites["east"] = topology.Site{Kind: topology.Adopted, Source: postgrestest.Source(east, "postgres", "postgres")}
			w.Sites["west"] = topology.Site{Kind: topology.Adopted, Source: postgrestest.Source(remote, "postgres", "postgres")}
			f.l1.Start = wal.Position{Timeline: 1, LSN: l2.Start.LSN}
			w.Lineage, w.Lineages = l2.ID, []topology.Lineage{f.l1, l2}
		})
	}
	at(remote)
	s, target := f.worker(true)
	if _, err := as(t, s.Fence, f.input("op-2", false)); typeOf(err) != string(fault.Diverged) {
		t.Errorf("the server that serves: %v", err)
	}
	f.awaitClient(true)
	at(local)
	f.server = local
	f.awaitClient(true)
	stop := f.keep(s, target)
	f.awaitClient(false)
	if got := f.awaitState(topology.FenceCommitted); got.Worth != topology.FenceProven || got.End.Timeline != 2 {
		t.Errorf("%+v", got)
	}
	stop()
	tail, err := as(t, s.ShipTail, TailInput{Group: "prod", Workspace: "main", Lineage: f.l1.ID, TurnSeconds: 60})
	if err != nil || !tail.Complete || tail.Commits == 0 {
		t.Errorf("the tail is %+v, %v", tail, err)
	}
	f.server = remote
	f.awaitClient(true)
}

// promotedTwice stops a server and promotes two of its standbys, where it ended.
func promotedTwice(t *testing.T, s *postgres.Server) (local, remote *postgres.Server) {
	t.Helper()
	postgrestest.Exec(t, s, "postgres", "SELECT pg_switch_wal()")
	postgrestest.Exec(t, s, "postgres", "CHECKPOINT")
	local, remote = postgrestest.StartStandby(t, s), postgrestest.StartStandby(t, s)
	postgrestest.Exec(t, s, "postgres", "CREATE TABLE before (n int)") // the first one is connected again when it has that
	postgrestest.WaitReplayed(t, s, local)
	postgrestest.WaitReplayed(t, s, remote)
	check(t, s.Stop(t.Context(), postgres.Fast)) // both get the same last record
	for _, standby := range []*postgres.Server{local, remote} {
		check(t, standby.Promote(t.Context()))
		devtest.Until(t, "it is promoted", func() bool {
			return postgrestest.Query(t, standby, "postgres", "SELECT pg_is_in_recovery()") == "false"
		})
	}
	if a, b := forkOf(t, local), forkOf(t, remote); a != b {
		t.Fatalf("one left at %s, the other at %s", a, b)
	}
	return local, remote
}

// forkOf returns where a promoted server left timeline 1.
func forkOf(t *testing.T, s *postgres.Server) wal.Position {
	t.Helper()
	conn, err := replication.Connect(t.Context(), postgrestest.Source(s, "postgres", "postgres"), "test")
	check(t, err)
	b, err := conn.TimelineHistory(t.Context(), 2)
	check(t, err)
	check(t, conn.Close(t.Context()))
	history, err := wal.ParseHistory(b)
	check(t, err)
	return wal.Position{Timeline: 1, LSN: history[0].LSN}
}

// shipAs ships what a promoted server wrote as a lineage of west that left l1, to both buckets.
func (f *fenced) shipAs(t *testing.T, s *postgres.Server, id string) topology.Lineage {
	t.Helper()
	source := postgrestest.Source(s, "postgres", "postgres")
	conn, err := replication.Connect(t.Context(), source, "test")
	check(t, err)
	check(t, conn.CreateSlot(t.Context(), "as_newer"))
	check(t, conn.Close(t.Context()))
	l, fork := f.l1, forkOf(t, s)
	l.ID, l.Epoch, l.Region = id, 2, "west"
	l.Start = wal.Position{Timeline: 2, LSN: l.SegmentSize.Start(fork.LSN)}
	l.Parent = &topology.Fork{Lineage: f.l1.ID, At: fork}
	postgrestest.Exec(t, s, "postgres", "CREATE TABLE remote (n int)")
	f.shipOn(t, s, l)
	return l
}

// shipOn ships what a server has written to a lineage that shipAs made.
func (f *fenced) shipOn(t *testing.T, s *postgres.Server, l topology.Lineage) {
	t.Helper()
	end, err := wal.ParseLSN(postgrestest.Query(t, s, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	check(t, err)
	ctx, stop := context.WithTimeout(t.Context(), devtest.Patience)
	defer stop()
	w := ship.WAL{Source: postgrestest.Source(s, "postgres", "postgres"), Slot: "as_newer", Group: "prod", Workspace: "main", Lineage: l, Epoch: 2, CutAfter: 100 * time.Millisecond, AnnounceEvery: 100 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Destinations: []ship.Destination{{Region: "west", Store: f.stores["west"]}, {Region: "east", Store: f.stores["east"]}}}
	w.Announce = func(_ context.Context, p topology.WALProgress) error {
		if c := p.Cursor("west"); c.Point.At.LSN >= end {
			stop()
		}
		return nil
	}
	check(t, w.Run(ctx))
	tip, err := archive.Open(f.stores["west"], "prod", "main", l.ID).Tip(t.Context(), l)
	if err != nil || tip.RecordEnd < end {
		t.Fatalf("west ends at %s, the server at %s: %v", tip.RecordEnd, end, err)
	}
}
