package activities

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// Only the folder of a failover that failed and never served goes, with the server that runs in it.
func TestProvisionRemovesWhatAFailoverLeftThatFailed(t *testing.T) {
	w := newWorld(t)
	target := &Target{Site: w.Site, Hosting: Hosting{DataDir: postgrestest.TempDir(t), Listen: "127.0.0.1", AdvertiseHost: "127.0.0.1", FirstPort: 1, LastPort: 65535}}
	s := startServer(t)
	target.BinDirs = []string{s.Bin.BinDir, filepath.Dir(s.Bin.BinDir)}
	operations := map[string]topology.OperationState{"failed": topology.OperationFailed, "active": topology.OperationActive, "moved": topology.OperationCompleted, "now": topology.OperationActive}
	for id, state := range operations {
		check(t, w.Catalog.PutOperation(t.Context(), topology.Operation{ID: id, Kind: "Failover", Group: "prod", State: state, StartedAt: time.Now()}))
	}
	place := func(epoch topology.Epoch, operation, lineage string, change func(*owner)) string {
		o := owner{Group: "prod", Workspace: "main", Epoch: epoch, Operation: operation, Plan: WorkspacePlan{Workspace: "main", Lineage: lineage}}
		if change != nil {
			change(&o)
		}
		dir := instanceDir(target.DataDir, "prod", "main", epoch)
		check(t, os.MkdirAll(filepath.Join(dir, "data"), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, "data", "file"), make([]byte, 1<<20), 0o600))
		check(t, writeState(dir, ownerFile, o))
		return dir
	}
	gone := place(2, "failed", "0002-00000000", nil)
	running := place(3, "failed", "0003-00000000", nil)
	moved := place(10, "moved", "0010-00000000", nil)
	serverIn(t, s, running)
	stay := map[string]string{
		"marked as published": place(4, "failed", "0004-00000000", func(o *owner) { o.Published = true }),
		"known to the group":  place(5, "failed", "0005-00000000", nil),
		"not over":            place(6, "active", "0006-00000000", nil),
		"without an account":  place(7, "unheard-of", "0007-00000000", nil),
		"of another group":    place(8, "failed", "0008-00000000", func(o *owner) { o.Group = "other" }),
		"the one to fill":     place(9, "now", "0009-00000000", nil),
	}
	w.update(t, func(g *topology.Group) {
		ws := &g.Workspaces[0]
		ws.Lineages = append(ws.Lineages, topology.Lineage{ID: "0005-00000000", Epoch: 1, Region: "west", SystemID: "1", SegmentSize: 16 << 20})
	})
	if got := target.reclaimable(t.Context(), "prod", "main"); got < 3<<20 || got > 4<<20 {
		t.Errorf("%d bytes would be set free, want about 3 MiB", got)
	}
	in := RestoreInput{Group: "prod", To: "west", Operation: "now", Epoch: 9, Plan: WorkspacePlan{Workspace: "main", ServerVersion: s.Bin.Version}}
	_, err := as(t, target.ProvisionTopology, in)
	check(t, err)
	for _, dir := range []string{gone, running, moved} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", dir, err)
		}
	}
	for what, dir := range stay {
		if _, err := os.Stat(filepath.Join(dir, "data", "file")); err != nil {
			t.Errorf("the folder that is %s is gone: %v", what, err)
		}
	}
	if _, runs := s.Running(t.Context()); runs {
		t.Error("the server of a failover that failed still runs")
	}
}

// serverIn describes a server that runs elsewhere as the one of a folder.
func serverIn(t *testing.T, s *postgres.Server, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.InstanceDir(), "instance.json"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "instance.json"), b, 0o600))
}
