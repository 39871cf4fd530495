package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const oneLineage = "0001-89abcdef"

func whole(at time.Time, regions ...string) topology.SnapshotProgress {
	return topology.SnapshotProgress{ID: "20261122T221000Z-0a1b", Lineage: oneLineage, MeasuredAt: at.UTC(), Complete: regions}
}

func cursorAt(at time.Time, lsn wal.LSN) topology.WALProgress {
	return topology.WALProgress{Lineage: oneLineage, Epoch: 1, MeasuredAt: at.UTC(), Cursors: []topology.Cursor{
		{Region: "west", Point: topology.RecoveryPoint{Lineage: oneLineage, At: wal.Position{Timeline: 1, LSN: lsn}}},
	}}
}

// object returns what a bucket has at a key; nil for nothing.
func (w *world) object(t *testing.T, region, key string) []byte {
	t.Helper()
	b, _, err := w.stores[region].Get(t.Context(), key)
	if fault.Is(err, fault.Missing) {
		return nil
	}
	return must(b, err)(t)
}

// repeat copies what c knows to be missed, and checks that nothing is left of it.
func (w *world) repeat(t *testing.T, c *Catalog) {
	t.Helper()
	if err := c.Repeat(t.Context(), c.Stores); err != nil {
		t.Fatal(err)
	}
	if c.Behind() {
		t.Error("something is still missed")
	}
}

func TestABucketGetsLaterWhatItMissed(t *testing.T) {
	now := time.Now()
	for key, put := range map[string]func(context.Context, *Catalog) error{
		"workspaces/main/progress/wal.json": func(ctx context.Context, c *Catalog) error {
			return c.PutWALProgress(ctx, "prod", "main", cursorAt(now, 0x2000000))
		},
		"workspaces/main/progress/snapshot.json": func(ctx context.Context, c *Catalog) error {
			return c.PutSnapshotProgress(ctx, "prod", "main", whole(now, "east", "west"))
		},
		"workspaces/main/progress/standby.json": func(ctx context.Context, c *Catalog) error {
			return c.PutStandbyProgress(ctx, "prod", "main", topology.StandbyProgress{Lineage: oneLineage, MeasuredAt: now})
		},
		"workspaces/main/metadata.json": func(ctx context.Context, c *Catalog) error {
			return c.PutMetadata(ctx, "prod", "main", Metadata{Epoch: 1, CapturedAt: now})
		},
		"workspaces/main/tails/" + oneLineage + ".json": func(ctx context.Context, c *Catalog) error {
			return c.PutTail(ctx, "prod", topology.Tail{Workspace: "main", Lineage: oneLineage, Commits: 2})
		},
		"branches/try/a1.json": func(ctx context.Context, c *Catalog) error {
			return c.PutBranchProgress(ctx, "prod", "try", "a1", topology.BranchProgress{WALProgress: cursorAt(now, 0x2000000), Discarded: true})
		},
		"operations/a.json": func(ctx context.Context, c *Catalog) error {
			return c.PutOperation(ctx, topology.Operation{ID: "a", Kind: "Failover", Group: "prod", State: topology.OperationCompleted})
		},
		"protection.json": func(ctx context.Context, c *Catalog) error {
			return c.PutProtection(ctx, "prod", topology.Protection{Epoch: 1, Region: "west", Protected: true, Since: now})
		},
		"readiness.json": func(ctx context.Context, c *Catalog) error {
			return c.PutReadiness(ctx, topology.Readiness{Group: "prod", Epoch: 1, CheckedAt: now})
		},
		"stored.json": func(ctx context.Context, c *Catalog) error {
			return c.PutStored(ctx, "prod", 1, []topology.Stored{{Region: "east", ListedAt: now}})
		},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			w := configured(t)
			revive := w.kill("west")
			if err := put(t.Context(), w.Catalog); err != nil {
				t.Fatal(err)
			}
			key := groupsPrefix + "prod/" + key
			soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := w.Repeat(soon, w.Stores); err == nil || !w.Behind() {
				t.Errorf("a bucket that does not answer is said to have everything: %v", err)
			}
			revive()
			if w.object(t, "west", key) != nil {
				t.Fatal("it is there already")
			}
			w.repeat(t, w.Catalog)
			if w.object(t, "west", key) == nil {
				t.Error("the bucket that was away has nothing")
			}
		})
	}
}

// What a bucket has that is newer stays, whoever copies to it.
func TestACopyDoesNotUndoANewerAnnouncement(t *testing.T) {
	w := configured(t)
	now, second := time.Now(), w.process()
	older, newer := whole(now, "east"), whole(now.Add(time.Second), "east", "west")
	for _, step := range []struct {
		c    *Catalog
		dead string
		p    topology.SnapshotProgress
	}{{w.Catalog, "west", older}, {second, "east", newer}} {
		must(step.c.Load(t.Context(), "prod"))(t)
		revive := w.kill(step.dead)
		if err := step.c.PutSnapshotProgress(t.Context(), "prod", "main", step.p); err != nil {
			t.Fatal(err)
		}
		revive()
	}
	key := workspaceKey("prod", "main", snapshotFile)
	for _, c := range []*Catalog{w.Catalog, second} {
		w.repeat(t, c)
		var there snapshotDocument
		if err := decode(key, w.object(t, "west", key), &there); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(newer, there.SnapshotProgress); diff != "" {
			t.Errorf("the newer one was written over:\n%s", diff)
		}
	}
	if diff := cmp.Diff(w.object(t, "west", key), w.object(t, "east", key)); diff != "" {
		t.Errorf("the buckets differ:\n%s", diff)
	}
}

// Whoever wrote may have died since: who reads the status finds what a bucket missed, once it is no longer on its way.
func TestAReaderFindsWhatABucketMissed(t *testing.T) {
	w := configured(t)
	now := time.Now()
	revive := w.kill("west")
	if err := w.PutSnapshotProgress(t.Context(), "prod", "main", whole(now, "east", "west")); err != nil {
		t.Fatal(err)
	}
	if err := w.PutWALProgress(t.Context(), "prod", "main", cursorAt(now, 0x2000000)); err != nil {
		t.Fatal(err)
	}
	revive()
	other := w.process()
	for _, later := range []time.Duration{atRest / 2, 2 * atRest} {
		other.Now = func() time.Time { return now.Add(later) }
		must(other.Status(t.Context(), "prod", now.Add(later)))(t)
		if rests := later > atRest; other.Behind() != rests {
			t.Errorf("%s later: behind is %t", later, other.Behind())
		}
	}
	w.repeat(t, other)
	for _, file := range []string{snapshotFile, walFile} {
		if w.object(t, "west", workspaceKey("prod", "main", file)) == nil {
			t.Errorf("%s is not there", file)
		}
	}
}

// A copy comes later than it was said, and so must not be taken for a clock that is slow; and it takes nothing back that was
// announced where it goes.
func TestACopiedWordOfAShipper(t *testing.T) {
	w := configured(t)
	now := time.Now()
	must(w.Load(t.Context(), "prod"))(t)
	reviveEast := w.kill("east")
	if err := w.PutWALProgress(t.Context(), "prod", "main", cursorAt(now, 0x3000000)); err != nil {
		t.Fatal(err)
	}
	reviveEast()
	other := w.process()
	must(other.Load(t.Context(), "prod"))(t)
	reviveWest := w.kill("west")
	if err := other.PutWALProgress(t.Context(), "prod", "main", cursorAt(now.Add(time.Second), 0x2000000)); err != nil {
		t.Fatal(err)
	}
	reviveWest()
	w.repeat(t, other)
	there := must(readAnnounced[walDocument](t.Context(), w.stores["west"], workspaceKey("prod", "main", walFile)))(t)
	if !there.MeasuredAt.After(now) || there.Cursor("west").Point.At.LSN != 0x3000000 {
		t.Errorf("the copy says %+v", there)
	}
	g := must(w.Load(t.Context(), "prod"))(t).Group
	if stamps := must(w.Stamps(t.Context(), &g, "west"))(t); len(stamps) != 0 {
		t.Errorf("clocks are judged by %+v", stamps)
	}
}

// What was removed meanwhile is not brought back.
func TestNothingIsCopiedThatIsGone(t *testing.T) {
	w := configured(t)
	revive := w.kill("west")
	if err := w.PutBranchProgress(t.Context(), "prod", "try", "a1", topology.BranchProgress{WALProgress: cursorAt(time.Now(), 1)}); err != nil {
		t.Fatal(err)
	}
	revive()
	if err := w.ForgetBranchProgress(t.Context(), "prod", "try", "a1"); err != nil {
		t.Fatal(err)
	}
	w.repeat(t, w.Catalog)
	for info, err := range w.stores["west"].List(t.Context(), groupsPrefix+"prod/branches/", "") {
		t.Errorf("found %v, %v", info.Key, err)
	}
}
