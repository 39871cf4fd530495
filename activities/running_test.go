package activities

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
)

// attachedServer is a server that AttachBranch has left, in the folder that stands for epoch 2 in west.
func attachedServer(t *testing.T, w *world) (*Target, *postgres.Server, owner) {
	t.Helper()
	s := startServer(t)
	o := owner{Group: "prod", Workspace: "main", Epoch: 2, Operation: "op", Plan: WorkspacePlan{Lineage: "0002-00000000"}}
	check(t, writeState(s.InstanceDir(), ownerFile, o))
	check(t, writeState(s.InstanceDir(), attachedFile, restore.Attached{Timeline: 1}))
	w.claim(t, 2, "op")
	return &Target{Site: w.Site, Hosting: Hosting{DataDir: s.InstanceDir()}}, s, o
}

// diesAndComesBack kills a server, does what should start it, and compares the timelines: a second promotion would make
// a new one.
func diesAndComesBack(t *testing.T, s *postgres.Server, act func()) {
	t.Helper()
	before, err := s.ControlData(t.Context())
	check(t, err)
	check(t, s.Kill(t.Context()))
	act()
	if got := postgrestest.Query(t, s, "postgres", "SELECT pg_is_in_recovery()::text"); got != "false" {
		t.Errorf("in recovery: %s", got)
	}
	after, err := s.ControlData(t.Context())
	check(t, err)
	if after.Timeline() != before.Timeline() {
		t.Errorf("timeline %d became %d", before.Timeline(), after.Timeline())
	}
}

func TestRestoreMetadataAndPublishStartAServerThatDied(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	place := Place{Instance: s.InstanceDir(), DataDir: s.DataDir, Port: s.Port}
	diesAndComesBack(t, s, func() {
		in := RestoreInput{Group: o.Group, To: "west", Operation: o.Operation, Epoch: o.Epoch, Plan: WorkspacePlan{Workspace: "main"}, Place: place}
		_, err := as(t, target.RestoreMetadata, in)
		check(t, err)
	})
	diesAndComesBack(t, s, func() {
		lineage := topology.Lineage{ID: o.Plan.Lineage, Epoch: 2, Region: "west", SystemID: "1", SegmentSize: 16 << 20}
		in := PublishEndpointInput{Group: o.Group, To: "west", Operation: o.Operation, Epoch: o.Epoch,
			Workspaces: []Attached{{Workspace: "main", Place: place, Lineage: lineage, Source: s.Source("postgres")}}}
		_, err := as(t, target.PublishEndpoint, in)
		check(t, err)
	})
}

func TestServerOfAnEpochThatIsOverStaysDown(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	w.claim(t, 3, "later")
	check(t, s.Kill(t.Context()))
	if _, err := target.running(t.Context(), o.Group, s.InstanceDir(), o.Epoch); !fault.Is(err, fault.Fenced) {
		t.Errorf("started: %v", err)
	}
	if _, running := s.Running(t.Context()); running {
		t.Error("it runs")
	}
}

func TestServerThatWasNotPromotedIsNotStarted(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	check(t, os.Remove(filepath.Join(s.InstanceDir(), attachedFile)))
	check(t, s.Kill(t.Context()))
	if _, err := target.running(t.Context(), o.Group, s.InstanceDir(), o.Epoch); !fault.Is(err, fault.Missing) {
		t.Errorf("started: %v", err)
	}
}

func TestKeepServing(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	dir := instanceDir(postgrestest.TempDir(t), o.Group, o.Workspace, o.Epoch)
	target.DataDir = serveFrom(t, s, dir)
	o.Published = true
	check(t, writeState(dir, ownerFile, o))
	w.update(t, func(g *topology.Group) {
		g.Active, g.Epoch = "west", 2
		g.Workspaces[0].Sites["west"] = topology.Site{Kind: topology.Managed, Instance: dir, Source: topology.Source{ConnString: "host=localhost"}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var supervisor sync.WaitGroup
	supervisor.Go(func() { KeepServing(ctx, target) })
	defer supervisor.Wait()
	defer cancel()
	for range 2 {
		pid := postgrestest.PID(t, s)
		check(t, syscall.Kill(pid, syscall.SIGKILL))
		awaitAnother(t, s, pid)
	}
}

// serveFrom makes dir another name of the server's folder, and returns the region's data folder above it.
func serveFrom(t *testing.T, s *postgres.Server, dir string) (root string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	check(t, os.Symlink(s.InstanceDir(), dir))
	return filepath.Dir(filepath.Dir(filepath.Dir(dir)))
}

// awaitAnother waits until the server takes connections in another process than pid.
func awaitAnother(t *testing.T, s *postgres.Server, pid int) {
	t.Helper()
	devtest.Until(t, "somebody to start it again", func() bool {
		if now, running := s.Running(t.Context()); !running || now == pid {
			return false
		}
		conn, err := postgres.Open(t.Context(), s.Source("postgres"))
		return err == nil && conn.Close(t.Context()) == nil
	})
}
