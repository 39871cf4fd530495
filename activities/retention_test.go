package activities

import (
	"context"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// littered is a bucket with many objects that nothing needs.
func littered(t *testing.T, objects int) (*world, *Control) {
	t.Helper()
	w := newWorld(t)
	for n := range objects {
		_, err := w.stores["east"].Put(t.Context(), "groups/prod/workspaces/main/wal/0001-0a0b0c0d/00000001/"+segmentName(n), []byte("x"), objectstore.PutOptions{})
		check(t, err)
	}
	return w, &Control{Site: w.Site}
}

// segmentName is of WAL of a lineage that the group does not know.
func segmentName(n int) string {
	const digits = "0123456789ABCDEF"
	at := func(n int) string { return strings.Repeat("0", 14) + string(digits[n/16%16]) + string(digits[n%16]) }
	return at(n) + "-" + at(n+1) + ".seg"
}

func (w *world) left(t *testing.T) (n int) {
	t.Helper()
	for _, err := range w.stores["east"].List(t.Context(), "groups/prod/workspaces/main/wal/", "") {
		check(t, err)
		n++
	}
	return n
}

var atOnce = SweepBucketInput{Group: "prod", Region: "east"}

// TestSweepRecordsWhatItDid also when nothing is left, and not when it only looked.
func TestSweepRecordsWhatItDid(t *testing.T) {
	w, c := littered(t, 20)
	dry := atOnce
	dry.DryRun = true
	swept, err := as(t, c.SweepBucket, dry)
	check(t, err)
	if gone := swept.Gone[topology.SweptWAL].Objects; gone != 20 || w.left(t) != 20 {
		t.Fatalf("a dry run tells of %d of 20 objects, and %d are left", gone, w.left(t))
	}
	if _, err := w.Catalog.Swept(t.Context(), "prod", "east"); !fault.Is(err, fault.Missing) {
		t.Fatalf("a dry run is on record: %v", err)
	}
	young := atOnce
	young.GraceMinutes = 60
	if _, err = as(t, c.SweepBucket, young); err != nil || w.left(t) != 20 {
		t.Fatalf("what is younger than the grace is gone: %d of 20 are left, %v", w.left(t), err)
	}
	swept, err = as(t, c.SweepBucket, atOnce)
	check(t, err)
	kept, err := w.Catalog.Swept(t.Context(), "prod", "east")
	check(t, err)
	if w.left(t) != 0 || swept.Gone[topology.SweptWAL].Objects != 20 || kept.Gone[topology.SweptWAL] != swept.Gone[topology.SweptWAL] || kept.Epoch != 1 {
		t.Errorf("%d are left; it says %+v, and on record is %+v", w.left(t), swept, kept)
	}
}

// listed is a store in which something happens as soon as a workspace was listed.
type listed struct {
	objectstore.Store
	then func()
	once sync.Once
}

func (l *listed) List(ctx context.Context, prefix, after string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		for info, err := range l.Store.List(ctx, prefix, after) {
			if !yield(info, err) {
				return
			}
		}
		if strings.Contains(prefix, "/workspaces/") {
			l.once.Do(l.then)
		}
	}
}

// TestSweepOfAnotherTimeDeletesNothing lets another epoch, an operation or another control plane begin between the first look at a group and the
// first delete, and before both.
func TestSweepOfAnotherTimeDeletesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*topology.Group)
		kind   fault.Kind
		before bool // it is so from the beginning
	}{
		"a newer epoch was claimed": {func(g *topology.Group) {
			g.Claimed = &topology.Claimed{Epoch: 2, Region: "west", Operation: "failover-1"}
		}, fault.Fenced, false},
		"an operation holds it":        {func(g *topology.Group) { g.Operation = &topology.OperationRef{ID: "failover-1", Kind: "Failover"} }, fault.Taken, true},
		"an operation takes it":        {func(g *topology.Group) { g.Operation = &topology.OperationRef{ID: "failover-1", Kind: "Failover"} }, fault.Taken, false},
		"another control plane has it": {func(g *topology.Group) { g.Controller = &topology.Controller{ID: "other"} }, fault.Fenced, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, sweeper := littered(t, 5)
			if sweeper.Controller = "ours"; c.before {
				w.update(t, c.change)
			} else {
				sweeper.Stores = map[string]objectstore.Store{"east": &listed{Store: w.Stores["east"], then: func() { w.update(t, c.change) }}}
			}
			_, err := as(t, sweeper.SweepBucket, atOnce)
			if err == nil || !strings.Contains(err.Error(), string(c.kind)) || w.left(t) != 5 {
				t.Errorf("%d of 5 are left, want a refusal as %s: %v", w.left(t), c.kind, err)
			}
		})
	}
}

// A sweep asks the bucket how far back WAL is needed before a fork, once, and is not held up by one that has none of it.
func TestSweepLooksHowFarBackWALIsNeeded(t *testing.T) {
	w, c := littered(t, 0)
	l := topology.Lineage{ID: "0001-00000001", Epoch: 1, Region: "east", SystemID: "1", SegmentSize: 16 << 20, Start: wal.Position{Timeline: 1, LSN: 16 << 20}}
	fork := wal.Position{Timeline: 1, LSN: 20 << 20}
	w.update(t, func(g *topology.Group) {
		ws := g.Workspace("main")
		ws.Lineage, ws.Lineages = l.ID, []topology.Lineage{l}
		g.SystemManaged = []topology.SystemManaged{{Name: "app_20261123T100000Z", Workspace: "main", Database: "app", Lineage: l.ID, Fork: fork, Region: "east"}}
	})
	for _, known := range []wal.LSN{0, 17 << 20} {
		w.update(t, func(g *topology.Group) { g.SystemManaged[0].Needs, g.SystemManaged[0].Back = known, nil })
		dry := atOnce
		dry.DryRun = true
		for _, in := range []SweepBucketInput{dry, atOnce} {
			swept, err := as(t, c.SweepBucket, in)
			check(t, err)
			loaded, err := w.Catalog.Load(t.Context(), "prod")
			check(t, err)
			here, looked := loaded.Group.SystemManaged[0].Back["east"]
			if here || looked == in.DryRun || looked != (len(swept.Workspaces[0].Notes) > 0) || loaded.Group.SystemManaged[0].Needs != known {
				t.Errorf("dry run %v, needs %s: it is on record as %+v, and told: %q", in.DryRun, known, loaded.Group.SystemManaged[0], swept.Workspaces[0].Notes)
			}
		}
	}
}
