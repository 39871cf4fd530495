package activities

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const servedHere = "0002-0000000a" // by west, which east follows

// cameHome is a world whose group served from west at epoch 2 and serves from east again.
func cameHome(t *testing.T) (*world, *Target) {
	w := newWorld(t)
	w.Host = "h1"
	target := &Target{Site: w.Site, Hosting: Hosting{DataDir: t.TempDir()}}
	w.update(t, func(g *topology.Group) {
		line := func(id string, e topology.Epoch, region, parent string) topology.Lineage {
			l := topology.Lineage{ID: id, Epoch: e, Region: region, SystemID: "7", SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: wal.Timeline(e), LSN: 16 << 20}}
			if parent != "" {
				l.Parent = &topology.Fork{Lineage: parent, At: wal.Position{Timeline: wal.Timeline(e) - 1, LSN: 16 << 20}}
			}
			return l
		}
		ws := &g.Workspaces[0]
		ws.Lineages = []topology.Lineage{line("0001-0000000a", 1, "east", ""), line(servedHere, 2, "west", "0001-0000000a"), line("0003-0000000a", 3, "east", servedHere)}
		ws.Lineage, g.Epoch = "0003-0000000a", 3
		ws.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "h1", Instance: instanceDir(target.DataDir, "prod", "main", 2)}
	})
	return w, target
}

// folder makes the folder of a server.
func folder(t *testing.T, dir string, o owner) string {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(dir, "data"), 0o755))
	check(t, writeState(dir, ownerFile, o))
	return dir
}

func there(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "data"))
	return err == nil
}

func (w *world) tail(t *testing.T, complete bool) {
	t.Helper()
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: servedHere, Complete: complete, SeenAt: time.Now()}))
}

// A server that a failback has left stays until all of it is in both buckets, and is then removed by its host.
func TestAServerThatLeavesIsRemovedOnceItsTailIsHome(t *testing.T) {
	w, target := cameHome(t)
	dir := folder(t, instanceDir(target.DataDir, "prod", "main", 2), owner{Group: "prod", Workspace: "main", Epoch: 2, Published: true})
	target.sweepRetired(t.Context())
	if !there(dir) {
		t.Fatal("it is gone, and nobody has said that it leaves")
	}
	in := RetireInput{Group: "prod", Workspace: "main", Region: "west", Epoch: 2, Instance: dir}
	w.tail(t, false)
	if err := target.removeRetired(t.Context(), in, 0); !fault.Is(err, fault.Transient) || !there(dir) {
		t.Fatalf("removed without its tail: %v", err)
	}
	target.sweepRetired(t.Context())
	if !there(dir) {
		t.Fatal("its host removes it before its tail is home")
	}
	w.tail(t, true)
	w.update(t, func(g *topology.Group) {
		g.Operation = &topology.OperationRef{ID: "op", Kind: "Switchover", StartedAt: time.Now()}
	})
	target.sweepRetired(t.Context())
	if !there(dir) {
		t.Fatal("its host removes it while an operation is under way")
	}
	w.update(t, func(g *topology.Group) { g.Operation = nil })
	target.sweepRetired(t.Context())
	if there(dir) {
		t.Error("it is still there")
	}
	loaded, err := w.Catalog.Load(t.Context(), "prod")
	check(t, err)
	if _, named := loaded.Group.Workspaces[0].Sites["west"]; named {
		t.Error("the group's document still names it")
	}
}

// Nothing but what says that it leaves, and is known to be left and brought home, is ever removed.
func TestWhatIsNeverRemovedAsRetired(t *testing.T) {
	for name, c := range map[string]struct {
		owner  owner
		change func(*topology.Group)
	}{
		"it does not say so":            {owner{Group: "prod", Workspace: "main", Epoch: 2, Published: true, Retired: true}, nil},
		"of another workspace":          {owner{Group: "prod", Workspace: "side", Epoch: 2, Leaves: true}, nil},
		"of another group":              {owner{Group: "other", Workspace: "main", Epoch: 2, Leaves: true}, nil},
		"of an epoch that nobody knows": {owner{Group: "prod", Workspace: "main", Epoch: 1, Leaves: true}, nil},
		"of the epoch that serves":      {owner{Group: "prod", Workspace: "main", Epoch: 3, Leaves: true}, nil},
		"its region serves again":       {owner{Group: "prod", Workspace: "main", Epoch: 2, Leaves: true}, func(g *topology.Group) { g.Active = "west" }},
		"the lineage was not left by anybody": {owner{Group: "prod", Workspace: "main", Epoch: 2, Leaves: true}, func(g *topology.Group) {
			ws := &g.Workspaces[0]
			ws.Lineage, ws.Lineages, g.Epoch = servedHere, ws.Lineages[:2], 3
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, target := cameHome(t)
			w.tail(t, true)
			dir := folder(t, instanceDir(target.DataDir, "prod", "main", 2), c.owner)
			if c.change != nil {
				w.update(t, c.change)
			}
			target.sweepRetired(t.Context())
			if !there(dir) {
				t.Error("it is gone")
			}
		})
	}
}

// Of a standby's folders the one goes that is meant, unless it serves, served, or another operation has it.
func TestOnlyTheStandbyThatIsMeantIsRemoved(t *testing.T) {
	w, target := cameHome(t)
	check(t, w.Catalog.PutOperation(t.Context(), topology.Operation{ID: "runs", Kind: "Switchover", Group: "prod", State: topology.OperationActive, StartedAt: time.Now()}))
	check(t, w.Catalog.PutOperation(t.Context(), topology.Operation{ID: "over", Kind: "Switchover", Group: "prod", State: topology.OperationReverted, StartedAt: time.Now()}))
	make := func(id string, o owner) string {
		o.Group, o.Workspace, o.Epoch = "prod", "main", 3
		return folder(t, standbyDir(target.DataDir, "prod", "main", id), o)
	}
	dirs := map[string]string{
		"kept": make("kept", owner{Standby: "kept"}), "mine": make("mine", owner{Standby: "mine", Operation: "me"}), "over": make("over", owner{Standby: "over", Operation: "over"}),
		"serves": make("serves", owner{Standby: "serves", Operation: "me", Published: true}), "taken": make("taken", owner{Standby: "taken", Operation: "runs"}),
		"other": make("other", owner{Standby: "not this one", Operation: "me"}),
	}
	beside := folder(t, instanceDir(target.DataDir, "prod", "main", 2), owner{Group: "prod", Workspace: "main", Epoch: 2, Published: true})
	gone := []string{"kept", "mine", "over"}
	for id, dir := range dirs {
		err := target.removeStandby(t.Context(), StandbyInput{Group: "prod", Workspace: "main", Region: "west", ID: id, Operation: "me"})
		if (err != nil) != (id == "taken") {
			t.Errorf("%s: %v", id, err)
		}
		if there(dir) == slices.Contains(gone, id) {
			t.Errorf("%s is there: %v", id, there(dir))
		}
	}
	if !there(beside) {
		t.Error("a server that is no standby is gone")
	}
}

// What a restore reads of older servers is the workspace's own, and never what it is about to write.
func TestWhatIsUsedAgainIsTheWorkspacesOwn(t *testing.T) {
	_, target := cameHome(t)
	mine := folder(t, instanceDir(target.DataDir, "prod", "main", 2), owner{Group: "prod", Workspace: "main"})
	standby := folder(t, standbyDir(target.DataDir, "prod", "main", "old"), owner{Group: "prod", Workspace: "main"})
	now := folder(t, standbyDir(target.DataDir, "prod", "main", "new"), owner{Group: "prod", Workspace: "main"})
	folder(t, instanceDir(target.DataDir, "prod", "side", 2), owner{Group: "prod", Workspace: "side"})
	folder(t, instanceDir(target.DataDir, "other", "main", 2), owner{Group: "other", Workspace: "main"})
	check(t, os.MkdirAll(filepath.Join(target.DataDir, "prod", "main", "e7", "data"), 0o755)) // of nobody
	in := RestoreInput{Group: "prod", To: "west", Place: Place{Instance: now}, Plan: WorkspacePlan{Workspace: "main"}}
	got := target.reuse(t.Context(), in)
	slices.Sort(got)
	if diff := cmp.Diff([]string{filepath.Join(mine, "data"), filepath.Join(standby, "data")}, got); diff != "" {
		t.Error(diff)
	}
}

// What earlier switchovers have left on the host leaves with the server that served last.
func TestOlderServersLeaveWithTheLast(t *testing.T) {
	w, target := cameHome(t)
	const later = "0004-0000000a"
	w.update(t, func(g *topology.Group) {
		ws := &g.Workspaces[0]
		for _, l := range []topology.Lineage{{ID: later, Epoch: 4, Region: "west"}, {ID: "0005-0000000a", Epoch: 5, Region: "east"}} {
			was := ws.CurrentLineage()
			l.SystemID, l.SegmentSize, l.Start = was.SystemID, was.SegmentSize, wal.Position{Timeline: was.Start.Timeline + 1, LSN: was.Start.LSN}
			l.Parent = &topology.Fork{Lineage: was.ID, At: was.Start}
			ws.Lineages, ws.Lineage, g.Epoch = append(ws.Lineages, l), l.ID, l.Epoch
		}
	})
	of := func(e topology.Epoch, o owner) string {
		o.Group, o.Workspace, o.Epoch, o.Published = "prod", "main", e, true
		return folder(t, instanceDir(target.DataDir, "prod", "main", e), o)
	}
	last, retired, serving := of(4, owner{}), of(2, owner{Retired: true}), of(1, owner{})
	w.tail(t, true)
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: later, Complete: true, SeenAt: time.Now()}))
	check(t, target.removeRetired(t.Context(), RetireInput{Group: "prod", Workspace: "main", Region: "west", Epoch: 4, Instance: last}, 0))
	if there(last) || there(retired) || !there(serving) {
		t.Errorf("the last is there: %t, the retired one: %t, one that was never retired: %t", there(last), there(retired), there(serving))
	}
}
