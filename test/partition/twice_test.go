package partition_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// sides is a workspace without anything around it: one bucket for each of two regions, and servers that take turns.
type sides struct {
	*testing.T
	stores  []objectstore.Store
	first   *devenv.Postgres
	snap    string
	forSnap topology.Lineage
}

// side is a server and the lineage that it writes.
type side struct {
	server  *postgres.Server
	lineage topology.Lineage
	way     []topology.Lineage // from the one with the snapshot to its own
}

// TestBothSidesWentToTheSameTimelineTwice switches there and back, and each time the side that was left is promoted by itself: to the
// timeline that the new side is on, and from an earlier point than the one where it was left, since its own standby was
// behind. No key is written twice, and every history can be restored to its end.
func TestBothSidesWentToTheSameTimelineTwice(t *testing.T) {
	t.Parallel()
	s := newSides(t)
	one := s.begin()
	behind := s.copyOf(one.server)
	s.write(one.server, "lost by its own standby")
	s.ship(one)
	two := s.promoteElsewhere(one)
	s.write(two.server, "second")
	s.ship(two)
	s.write(one.server, "after the cut") // what only the server itself has, and its standby has not
	devtest.Check(t, one.server.Kill(t.Context()))
	local := s.promoteItself(behind, one)
	s.write(local.server, "local second")
	s.shipTail(local, two.lineage)

	behind = s.copyOf(two.server)
	s.write(two.server, "lost by its own standby")
	s.ship(two)
	three := s.promoteElsewhere(two)
	s.write(three.server, "third")
	s.ship(three)
	devtest.Check(t, two.server.Kill(t.Context()))
	localTwo := s.promoteItself(behind, two)
	s.write(localTwo.server, "local third")
	s.shipTail(localTwo, three.lineage)

	s.checkRestored(local, 2, "base", "local second")
	s.checkRestored(localTwo, 3, "base", "lost by its own standby", "second", "local third")
	s.checkRestored(three, 3, "base", "lost by its own standby", "second", "lost by its own standby", "third")
}

func newSides(t *testing.T) *sides {
	t.Helper()
	s := &sides{T: t, first: devtest.Postgres(t, devenv.PostgresOptions{Major: devtest.OldestMajor(t), Settings: map[string]string{"wal_keep_size": "512MB"}})}
	g := devtest.Gateway(t)
	for i := range 2 {
		s.stores = append(s.stores, objectstore.Sub(devtest.Open(t, g), fmt.Sprintf("region%d/", i)))
	}
	return s
}

const slot = "smartdr_g_w"

// begin prepares the first lineage, with a snapshot of it.
func (s *sides) begin() side {
	s.Helper()
	ctx := s.Context()
	devtest.Check(s, s.first.Exec(ctx, "postgres", "create table said (n serial, what text)"))
	conn, err := replication.Connect(ctx, s.first.Source("postgres"), "test")
	devtest.Check(s, err)
	devtest.Check(s, conn.CreateSlot(ctx, slot))
	at, err := conn.ReadSlot(ctx, slot)
	devtest.Check(s, err)
	system, err := conn.IdentifySystem(ctx)
	devtest.Check(s, err)
	size, err := conn.SegmentSize(ctx)
	devtest.Check(s, err)
	devtest.Check(s, conn.Close(ctx))
	l := topology.Lineage{ID: topology.NewLineageID(1), Epoch: 1, SystemID: system.ID, SegmentSize: size, Start: wal.Position{Timeline: 1, LSN: size.Start(at.RestartLSN)}}
	one := side{s.first.Server, l, []topology.Lineage{l}}
	s.write(one.server, "base")
	taken, err := ship.TakeSnapshot(ctx, ship.Snapshot{Source: one.server.Source("postgres"), Group: "g", Workspace: "w", Lineage: l, Destinations: s.destinations()})
	devtest.Check(s, err)
	s.snap, s.forSnap = taken.ID, l
	s.ship(one)
	return one
}

func (s *sides) destinations() []ship.Destination {
	return []ship.Destination{{Region: "east", Store: s.stores[0]}, {Region: "west", Store: s.stores[1]}}
}

func (s *sides) write(server *postgres.Server, what string) {
	s.Helper()
	p := devenv.Postgres{Server: server}
	devtest.Check(s, p.Exec(s.Context(), "postgres", "insert into said (what) values ('"+what+"')"))
}

// said returns what was written, in order.
func (s *sides) said(server *postgres.Server) (all []string) {
	s.Helper()
	conn, err := server.Open(s.Context(), "postgres")
	devtest.Check(s, err)
	defer conn.Close(context.WithoutCancel(s.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	rows, err := conn.Query(s.Context(), "select what from said order by n")
	devtest.Check(s, err)
	for rows.Next() {
		var what string
		devtest.Check(s, rows.Scan(&what))
		all = append(all, what)
	}
	devtest.Check(s, rows.Err())
	return all
}

// end is where a server stands.
func (s *sides) end(server *postgres.Server) wal.Position {
	s.Helper()
	conn, err := replication.Connect(s.Context(), server.Source("postgres"), "test")
	devtest.Check(s, err)
	system, err := conn.IdentifySystem(s.Context())
	devtest.Check(s, err)
	devtest.Check(s, conn.Close(s.Context()))
	return system.Position
}

func (s *sides) wal(of side) *ship.WAL {
	return &ship.WAL{Source: of.server.Source("postgres"), Slot: slot, Group: "g", Workspace: "w", Lineage: of.lineage, Epoch: of.lineage.Epoch,
		Destinations: s.destinations(), CutAfter: 50 * time.Millisecond}
}

// ship stores what a server has by now.
func (s *sides) ship(of side) { s.shipTail(of) }

// shipTail is ship for a lineage that newer ones have left. It ships again, as the product does, where a bucket did not move for too long.
func (s *sides) shipTail(of side, newer ...topology.Lineage) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), devtest.Patience)
	defer cancel()
	w, end := s.wal(of), s.end(of.server)
	w.Newer = newer
	for {
		b, err := w.ShipTail(ctx, func(context.Context) (wal.Position, error) { return end, nil })
		devtest.Check(s, err)
		if b.Whole() {
			return
		}
		if ctx.Err() != nil {
			s.Fatalf("of lineage %s was brought %+v, wanted %s", of.lineage.ID, b, end)
		}
	}
}

// copyOf copies a server's data directory as it is now, as a standby has it that falls behind from here on.
func (s *sides) copyOf(server *postgres.Server) *postgres.Server {
	s.Helper()
	ctx := s.Context()
	devtest.Check(s, server.Kill(ctx))
	c := s.describe(server)
	out, err := exec.Command("cp", "-a", server.InstanceDir()+"/.", c.InstanceDir()).CombinedOutput()
	if err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	devtest.Check(s, server.Start(ctx))
	return c
}

// describe returns a description of a server like another one, in a folder and on a port of its own.
func (s *sides) describe(server *postgres.Server) *postgres.Server {
	s.Helper()
	c := *server
	dir := devtest.Dir(s)
	port, err := devenv.FreePort()
	devtest.Check(s, err)
	c.DataDir, c.SocketDir, c.LogFile = filepath.Join(dir, "data"), filepath.Join(dir, "s"), filepath.Join(dir, "log")
	c.Port, c.Listen, c.DieWithParent, c.Settings = port, "", true, map[string]string{"wal_keep_size": "512MB"}
	devtest.Check(s, c.Own(dir))
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		devtest.Check(s, c.Kill(ctx))
	})
	return &c
}

// promoteItself promotes a copy by PostgreSQL's own means: it goes on in the lineage of the server that it is a copy of.
func (s *sides) promoteItself(c *postgres.Server, of side) side {
	s.Helper()
	ctx := s.Context()
	devtest.Check(s, c.WriteHBA(""))
	devtest.Check(s, c.WriteStandbySignal())
	devtest.Check(s, c.Start(ctx))
	devtest.Check(s, c.Promote(ctx))
	devtest.Check(s, c.WaitPromoted(ctx))
	return side{c, of.lineage, of.way}
}

// promoteElsewhere restores a lineage to its end in the other region: a new lineage begins there.
func (s *sides) promoteElsewhere(of side) side {
	s.Helper()
	server, attached := s.restored(of)
	l := topology.Lineage{ID: topology.NewLineageID(of.lineage.Epoch + 1), Epoch: of.lineage.Epoch + 1, SystemID: of.lineage.SystemID, SegmentSize: of.lineage.SegmentSize,
		Start: attached.Start, Parent: &topology.Fork{Lineage: of.lineage.ID, At: attached.Fork}}
	return side{server, l, append(append([]topology.Lineage(nil), of.way...), l)}
}

// restored brings up a lineage at its end.
func (s *sides) restored(of side) (*postgres.Server, restore.Attached) {
	s.Helper()
	ctx, store := s.Context(), s.stores[1]
	m, err := snapshot.Load(ctx, store, "g", "w", s.snap)
	devtest.Check(s, err)
	server := s.describe(of.server)
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: server.DataDir}
	if a := server.Account; a != nil {
		files.UID, files.GID = int(a.UID), int(a.GID)
	}
	_, err = restore.Files(ctx, files)
	devtest.Check(s, err)
	fetch := restore.FetchWAL{Dir: filepath.Join(server.DataDir, "pg_wal"), SegmentSize: m.SegmentSize}
	for i, l := range of.way {
		leg := restore.Leg{Archive: archive.Open(store, "g", "w", l.ID), Lineage: l, From: l.Start}
		if i == 0 {
			leg.From = m.Start
		}
		if i+1 < len(of.way) {
			fork := of.way[i+1].Parent.At
			leg.Archive, leg.To = leg.Archive.UpTo(fork.Timeline), fork.LSN
		}
		fetch.Legs = append(fetch.Legs, leg)
	}
	fetched, err := fetch.Run(ctx)
	devtest.Check(s, err)
	devtest.Check(s, server.OwnTree(server.InstanceDir()))
	devtest.Check(s, server.WriteHBA(""))
	attached, err := restore.Attach(ctx, restore.AttachInput{Server: server, Superuser: server.Superuser, ReplayFrom: m.Start.LSN, SlotName: slot, Minimums: fetched.MaxParameters,
		Plan: restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd}, Overrides: map[string]string{"hba_file": server.HBAFile(), "ident_file": server.IdentFile()}})
	devtest.Check(s, err)
	return server, attached
}

// checkRestored restores a lineage to its end, which is on that timeline, and compares what was written.
func (s *sides) checkRestored(of side, timeline wal.Timeline, want ...string) {
	s.Helper()
	tip, err := archive.Open(s.stores[1], "g", "w", of.lineage.ID).Tip(s.Context(), of.lineage)
	devtest.Check(s, err)
	if tip.Position.Timeline != timeline {
		s.Errorf("lineage %s ends at %s", of.lineage.ID, tip.Position)
	}
	server, _ := s.restored(of)
	if got := s.said(server); strings.Join(got, ", ") != strings.Join(want, ", ") {
		s.Errorf("lineage %s holds %q, want %q", of.lineage.ID, got, want)
	}
}
