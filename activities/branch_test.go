package activities

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// branched is a world with a lineage of main and a branch of it, and a host that is called a.
func branched(t *testing.T) (*world, *Control, *Target) {
	t.Helper()
	w := newWorld(t)
	w.update(t, func(g *topology.Group) {
		m := g.Workspace("main")
		m.Lineage, m.Lineages = "0001-aaaaaaaa", []topology.Lineage{{ID: "0001-aaaaaaaa", Epoch: 1, Region: "east", SystemID: "1", SegmentSize: 16 << 20, Start: wal.Position{Timeline: 1, LSN: 16 << 20}}}
		base := topology.Fork{Lineage: m.Lineage, At: wal.Position{Timeline: 1, LSN: 0x3000000}}
		g.Branches = []topology.Branch{{Name: "test", Workspace: "main", Region: "west", Base: base, CreatedAt: time.Unix(5, 0).UTC()}}
	})
	return w, &Control{Site: w.Site}, &Target{Site: w.Site, Hosting: Hosting{DataDir: t.TempDir()}}
}

func (w *world) read(t *testing.T) topology.Branch {
	t.Helper()
	l, err := w.Catalog.Load(t.Context(), "prod")
	check(t, err)
	return *l.Group.Branch("test")
}

func attachAs(id string) RecordAttachmentInput {
	return RecordAttachmentInput{Group: "prod", Branch: "test", Attachment: topology.Attachment{ID: id, Host: "a", Lineage: "0001-" + id}}
}

func TestOfTwoAttachmentsOneIsMade(t *testing.T) {
	w, c, _ := branched(t)
	for range 2 { // another attempt changes nothing
		_, err := as(t, c.RecordAttachment, attachAs("11111111"))
		check(t, err)
	}
	if _, err := as(t, c.RecordAttachment, attachAs("22222222")); err == nil || !strings.Contains(err.Error(), "somebody else attaches it") {
		t.Errorf("a second one: %v", err)
	}
	if a := w.read(t).Attached; a == nil || a.ID != "11111111" || a.State != topology.Attaching {
		t.Errorf("attached %+v", a)
	}
}

// attachedTo makes the branch attached, with a lineage of its own.
func attachedTo(t *testing.T, w *world, c *Control, id string) topology.Lineage {
	t.Helper()
	_, err := as(t, c.RecordAttachment, attachAs(id))
	check(t, err)
	l := topology.Lineage{ID: "0001-" + id, Epoch: 1, Region: "west", SystemID: "1", SegmentSize: 16 << 20, Start: wal.Position{Timeline: 2, LSN: 0x3000000}}
	w.update(t, func(g *topology.Group) {
		b := g.Branch("test")
		l.Parent = &b.Base
		check(t, publishAttachment(b, PublishBranchInput{RestoreInput: RestoreInput{Attachment: id}, Attached: AttachBranchResult{Lineage: l}}))
	})
	return l
}

func TestABranchThatNobodyWroteToStaysUnwritten(t *testing.T) {
	for name, c := range map[string]struct {
		unwritten, stoodOn bool
		own                int
	}{
		"written":                        {false, false, 1},
		"unwritten":                      {true, false, 0},
		"unwritten, with a branch of it": {true, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, control, _ := branched(t)
			l := attachedTo(t, w, control, "11111111")
			if c.stoodOn {
				w.update(t, func(g *topology.Group) {
					of := topology.Branch{Name: "of-it", Workspace: "main", From: "test", Region: "west", Line: []topology.Lineage{l}, CreatedAt: time.Unix(6, 0).UTC()}
					of.Base = topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: 2, LSN: 0x3000100}}
					g.Branches = append(g.Branches, of)
				})
			}
			in := RecordDetachedInput{BranchInput: BranchInput{Group: "prod", Branch: "test", Attachment: "11111111"}, Unwritten: c.unwritten}
			for range 2 {
				_, err := as(t, control.RecordDetached, in)
				check(t, err)
			}
			if b := w.read(t); b.Attached != nil || b.Own != c.own || len(b.Line) != c.own {
				t.Errorf("detached it is %+v", b)
			}
		})
	}
}

// What a host has of a branch that the document does not name there is removed when nothing can be lost with it, and stopped in any case.
func TestAHostRemovesOfBranchesWhatNothingNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, w *world, o *owner)
		gone   bool
	}{
		"published, of which nobody knows": {func(*testing.T, *world, *owner) {}, false},
		"never published":                  {func(_ *testing.T, _ *world, o *owner) { o.Published = false }, true},
		"shipped":                          {func(_ *testing.T, _ *world, o *owner) { o.Shipped = true }, true},
		"read-only":                        {func(_ *testing.T, _ *world, o *owner) { o.ReadOnly = true }, true},
		"discarded": {func(t *testing.T, w *world, _ *owner) {
			check(t, w.Catalog.PutBranchProgress(t.Context(), "prod", "test", "11111111", topology.BranchProgress{Discarded: true}))
		}, true},
		"attached here": {func(t *testing.T, w *world, o *owner) {
			w.update(t, func(g *topology.Group) {
				g.Branch("test").Attached = &topology.Attachment{ID: "11111111", State: topology.Detaching, Host: "a"}
			})
		}, false},
		"the bucket that decides is away": {func(_ *testing.T, w *world, o *owner) {
			o.Shipped = true
			w.faults["west"].Add(objectstore.Rule{Dead: true})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, target := branched(t)
			target.Host = "a"
			dir := branchDir(target.DataDir, "prod", "main", "11111111")
			check(t, os.MkdirAll(dir, 0o755))
			o := owner{Group: "prod", Workspace: "main", Branch: "test", Attachment: "11111111", Published: true}
			c.change(t, w, &o)
			check(t, writeState(dir, ownerFile, o))
			k := &keeper{Target: target, starts: map[string]starts{}, groups: map[string]read{}}
			err := k.lookAtBranches(t.Context(), true)
			if _, statErr := os.Stat(filepath.Join(dir, ownerFile)); (statErr != nil) != c.gone {
				t.Errorf("its folder is gone: %v, want %v (%v)", statErr != nil, c.gone, err)
			}
		})
	}
}

func TestBranchesCountOnTheirHost(t *testing.T) {
	_, _, target := branched(t)
	target.FirstPort, target.LastPort = 7001, 7002
	dir := branchDir(target.DataDir, "prod", "main", "11111111")
	check(t, os.MkdirAll(dir, 0o755))
	size := topology.Size{MemoryBytes: 1 << 30, CPUs: 2}
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "main", Branch: "test", Attachment: "11111111", Size: size, Port: 7001}))
	placed, err := target.placed()
	check(t, err)
	if len(placed) != 1 || placed[0].Branch != "test" || placed[0].Size != size {
		t.Errorf("placed: %+v", placed)
	}
	if files, err := ownerFiles(target.DataDir, "prod", "main"); err != nil || len(files) != 0 {
		t.Errorf("it is taken for a workspace's server: %v, %v", files, err)
	}
	port, err := target.freePort(owner{}, 7001, nil)
	if err != nil || port != 7002 {
		t.Errorf("port %d was chosen, %v", port, err)
	}
	host := topology.Host{Name: "a", AnnouncedAt: now(), MemoryBytes: 2 << 30, CPUs: 3, DiskBytes: 1 << 40, Placed: placed}
	need := topology.Need{Group: "prod", Workspace: "main", Size: topology.Size{MemoryBytes: 2 << 30, CPUs: 1}}
	if _, err := topology.Place([]topology.Need{need}, []topology.Host{host}, now()); !fault.Is(err, fault.Invalid) {
		t.Errorf("a failover of the workspace takes the branch's place: %v", err)
	}
}

// Whoever commits after the users were let in has a number for that; who only reads has none.
func TestWhetherAServerWasWrittenTo(t *testing.T) {
	s := startServer(t)
	check(t, markFresh(t.Context(), s))
	postgrestest.Query(t, s, "postgres", "select count(*)::text from pg_class")
	fresh := func(want bool, what string) {
		t.Helper()
		check(t, markFresh(t.Context(), s)) // by an attempt that comes later
		if is, err := stillFresh(t.Context(), s); err != nil || is != want {
			t.Errorf("%s: fresh %v, %v", what, is, err)
		}
	}
	fresh(true, "read")
	postgrestest.Exec(t, s, "postgres", "create table t ()")
	fresh(false, "written")
}
