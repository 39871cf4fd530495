package verify_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
	"github.com/smartdr/smartdr/internal/wal"
)

// meddling is a bucket in which something happens while it is walked.
type meddling struct {
	objectstore.Store
	listed atomic.Int32
	after  func(n int32) // a list has ended; n counts from 1
	hides  func(n int32, key string) bool
	reads  atomic.Int32
	breaks int32 // at that many reads of packs and segments whole the bucket goes away; 0: never
}

func (m *meddling) List(ctx context.Context, prefix, after string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		n := m.listed.Add(1)
		for info, err := range m.Store.List(ctx, prefix, after) {
			if err == nil && m.hides != nil && m.hides(n, info.Key) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
		if m.after != nil {
			m.after(n)
		}
	}
}

var errAway = fault.New(fault.Transient, "read object", errors.New("the bucket went away"))

func (m *meddling) away(key string) bool {
	return m.breaks > 0 && (strings.HasSuffix(key, ".seg") || strings.HasSuffix(key, ".pack")) && m.reads.Add(1) > m.breaks
}

func (m *meddling) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	if m.away(key) {
		return nil, objectstore.Info{}, errAway
	}
	return m.Store.Get(ctx, key)
}

// fine checks a bucket, everything in it, and fails for any finding.
func fine(t *testing.T, w *world, s objectstore.Store) {
	t.Helper()
	for _, f := range at(t, w, map[string]objectstore.Store{"east": w.east, "west": s}, topology.VerifyAll).Findings {
		t.Errorf("%+v", f)
	}
}

// alive are the ways in which a bucket that is in use differs from one that stands still. None of it is a finding.
func alive(t *testing.T, w *world) {
	copied := func(t *testing.T) *bucket { return &bucket{copyOf(t, w.west), t, w} }
	t.Run("objects that have just arrived", func(t *testing.T) { arriving(t, w, copied(t)) })
	t.Run("a snapshot is being taken", func(t *testing.T) { taking(t, w, copied(t)) })
	t.Run("condemned packs", func(t *testing.T) {
		b := copied(t)
		id := strings.TrimSuffix(strings.TrimPrefix(plantOrphan(b), prefix+"packs/"), ".pack")
		_, err := snapshot.ReplaceCondemned(t.Context(), b, "prod", "orders",
			snapshot.Condemned{Packs: map[string]snapshot.Condemnation{id: {At: time.Now()}}}, "")
		check(t, err)
		fine(t, w, b)
	})
	t.Run("merged segments", func(t *testing.T) {
		b := copied(t)
		merge(b)
		fine(t, w, b)
	})
	t.Run("segments beside what they were merged into", func(t *testing.T) {
		b := copied(t)
		merge(b)
		for _, k := range (&bucket{w.west, t, w}).keys(".seg") {
			b.put(k, (&bucket{w.west, t, w}).get(k))
		}
		fine(t, w, b)
	})
	t.Run("segments are merged while it is walked", func(t *testing.T) {
		b := copied(t)
		m := &meddling{Store: b, after: func(n int32) {
			if n == 1 {
				merge(b)
			}
		}}
		fine(t, w, m)
		if m.listed.Load() < 2 {
			t.Error("it was not walked anew")
		}
	})
	t.Run("a segment arrives before the one in front of it", func(t *testing.T) {
		b := copied(t)
		key := b.segment().Key
		m := &meddling{Store: b, hides: func(n int32, k string) bool { return n == 1 && k == key }}
		fine(t, w, m)
		if m.listed.Load() != 2 {
			t.Errorf("it was listed %d times", m.listed.Load())
		}
	})
}

// merge merges whatever lies side by side.
func merge(b *bucket) {
	b.t.Helper()
	merged := 0
	for _, l := range []string{first, second} {
		inv, err := b.archive(l).List(b.t.Context())
		check(b.t, err)
		var run []archive.Entry
		for i, e := range inv.Entries {
			if i == 0 || e.Timeline == inv.Entries[i-1].Timeline && e.Range.Start == inv.Entries[i-1].Range.End {
				run = append(run, e)
			}
		}
		_, err = b.archive(l).Merge(b.t.Context(), run[:4])
		check(b.t, err)
		merged++
	}
	if merged != 2 {
		b.t.Fatal("nothing was merged")
	}
}

// arriving has what would be findings if it were old.
func arriving(t *testing.T, w *world, b *bucket) {
	plantOrphan(b)
	b.put(prefix+"wal/0009-00000099/00000001/0000000001000000-0000000001000100.seg", []byte("?"))
	b.put(prefix+"notes.txt", []byte("x"))
	b.put("groups/prod/workspaces/new/metadata.json", []byte(`{"format":1}`))
	v, err := verify.Check{Stores: map[string]objectstore.Store{"west": b}, Group: w.group, Region: "west", Read: topology.VerifyAll, Again: time.Millisecond}.Run(t.Context())
	check(t, err)
	for _, f := range v.Findings {
		t.Errorf("%+v", f)
	}
	if old := at(t, w, map[string]objectstore.Store{"west": b}, topology.VerifyNone); len(old.Findings) != 4 {
		t.Errorf("an hour later there are %d findings: %+v", len(old.Findings), old.Findings)
	}
}

// taking has packs of a snapshot that is not published yet.
func taking(t *testing.T, w *world, b *bucket) {
	plantOrphan(b)
	p := topology.SnapshotProgress{ID: "20261123T120000Z-0000", Lineage: second, MeasuredAt: time.Now().Add(24 * time.Hour), DoneBytes: 1, TotalBytes: 2}
	check(t, w.catalogOf(b).PutSnapshotProgress(t.Context(), "prod", "orders", p))
	fine(t, w, b)
}

// branches are as a workspace that goes on in a branch alone.
func branches(t *testing.T, w *world) {
	o := &world{t: t, east: w.east, west: w.west, group: w.group}
	o.group.Workspaces = slices.Clone(w.group.Workspaces)
	ws := &o.group.Workspaces[0]
	line := ws.Lineages[1:]
	ws.Lineages, ws.Lineage = ws.Lineages[:1:1], first
	o.group.Branches = []topology.Branch{{Name: "dev", Workspace: "orders", Region: "west", Base: *line[0].Parent, Line: line, Own: 1}}
	o.group.SystemManaged = nil
	check(t, o.group.Validate())
	b := &bucket{copyOf(t, w.west), t, w}
	for _, f := range at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyAll).Findings {
		t.Errorf("%+v", f)
	}
	last := b.holding(second, w.secondEnd-1).Range
	behind := b.archive(second).Key(line[0].Start.Timeline, wal.Range{Start: last.End + 0x10000, End: last.End + 0x20000})
	b.put(behind, []byte("what arrived before the one before it"))
	if v := at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone); !lacks(v) {
		t.Errorf("of a hole it says %+v", v.Findings)
	}
	line[0].End = &topology.LineageEnd{At: wal.Position{Timeline: line[0].Start.Timeline, LSN: last.End}}
	if v := at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone); lacks(v) {
		t.Errorf("of what was given up it says %+v", v.Findings)
	}
	less := &bucket{copyOf(t, b), t, w}
	less.lose(less.holding(second, last.Start).Key)
	if v := at(t, o, map[string]objectstore.Store{"west": less}, topology.VerifyNone); !lacks(v) || !slices.Contains(lostOf(v), "branch dev") {
		t.Errorf("of a hole before the end it says %+v", v.Findings)
	}
	line[0].End.At.LSN = last.Start
	if v := at(t, o, map[string]objectstore.Store{"west": less}, topology.VerifyNone); lacks(v) {
		t.Errorf("of a hole behind the end it says %+v", v.Findings)
	}
	line[0].End = nil
	b.lose(behind)
	b.lose(b.holding(second, w.secondEnd-0x2000).Key)
	v := at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone)
	if len(v.Findings) != 1 || !slices.Contains(lostOf(v), "branch dev") {
		t.Errorf("lost %v by %+v", lostOf(v), v.Findings)
	}
}

// lacks reports whether something was found missing.
func lacks(v topology.Verified) bool {
	return slices.ContainsFunc(v.Findings, func(f topology.Finding) bool { return f.Kind == topology.FindingMissing })
}

// resumed is a check whose worker dies, and that goes on from what it said last.
func resumed(t *testing.T, w *world) {
	b := &bucket{copyOf(t, w.west), t, w}
	keys := b.keys(".pack")
	bad := b.flip(keys[0], 50)
	c := verify.Check{Group: w.group, Region: "west", Read: topology.VerifyAll, Again: time.Millisecond, Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}
	want, err := with(c, b).Run(t.Context())
	check(t, err)
	var last verify.Position
	c.Say = func(p verify.Progress) { last = p.At }
	m := &meddling{Store: b, breaks: 4}
	c.Batch = 3
	if _, err := with(c, m).Run(t.Context()); !fault.Is(err, fault.Transient) {
		t.Fatalf("the bucket went away: %v", err)
	}
	if last.After == "" || last.Objects == 0 || len(last.Bad) != 1 {
		t.Fatalf("it stands at %+v", last)
	}
	before := last
	c.From = last
	again := &meddling{Store: b, breaks: 1 << 20}
	got, err := with(c, again).Run(t.Context())
	check(t, err)
	if got.ReadObjects != want.ReadObjects || got.ReadBytes != want.ReadBytes || len(got.Findings) != 1 || got.Findings[0].Key != bad {
		t.Errorf("read %d objects with %+v, want %d", got.ReadObjects, got.Findings, want.ReadObjects)
	}
	if whole := int(again.reads.Load()); whole > want.ReadObjects-before.Objects+2 {
		t.Errorf("%d objects were read after %d of %d had been", whole, before.Objects, want.ReadObjects)
	}
}

func with(c verify.Check, s objectstore.Store) verify.Check {
	c.Stores = map[string]objectstore.Store{"west": s}
	return c
}

// restores tries what a check says is lost, and something beside it.
func restores(t *testing.T, w *world) {
	both := w.group.Workspaces[0].Lineages
	one := both[:1]
	for _, c := range []struct {
		name  string
		plant func(b *bucket) string
		fails func(b *bucket) error
		works func(b *bucket) error
	}{
		{"a segment", func(b *bucket) string { return b.lose(b.segment().Key) },
			func(b *bucket) error { return w.tries(b, one, 0, w.middle) }, func(b *bucket) error { return w.tries(b, both[1:], 2, w.secondEnd) }},
		{"a history file", func(b *bucket) string { return b.lose(prefix + "wal/" + second + "/00000002.history") },
			func(b *bucket) error { return w.tries(b, both[1:], 2, w.secondEnd) }, func(b *bucket) error { return w.tries(b, one, 0, w.middle) }},
		{"a pack of the second snapshot", func(b *bucket) string { return b.lose(b.pack(b.onlyOf(1), "pack")) },
			func(b *bucket) error { return w.tries(b, one, 1, w.fork) }, func(b *bucket) error { return w.tries(b, one, 0, w.fork) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bucket{copyOf(t, w.west), t, w}
			check(t, c.fails(b))
			key := c.plant(b)
			if v := at(t, w, map[string]objectstore.Store{"west": b}, topology.VerifyNone); len(v.Findings) != 1 || v.Findings[0].Key != key {
				t.Errorf("%s is lost, and found %+v", key, v.Findings)
			}
			err := c.fails(b)
			t.Log(err)
			if !fault.Is(err, fault.Missing) {
				t.Errorf("what is lost was restored: %v", err)
			}
			check(t, c.works(b))
		})
	}
}

// swept is a bucket of which retention has removed what came before its window, but for what a branch needs.
// forkAlone says that nothing was open at a fork.
func forkAlone(_ context.Context, _ *topology.Group, sm topology.SystemManaged) (wal.LSN, error) {
	return sm.Fork.LSN, nil
}

func swept(t *testing.T, w *world) {
	b := &bucket{copyOf(t, w.west), t, w}
	east := copyOf(t, w.east)
	later := func() time.Time { return time.Now().Add(time.Hour) }
	c := &catalog.Catalog{Stores: map[string]objectstore.Store{"east": east, "west": b}}
	before := len(b.keys(".seg"))
	for range 2 {
		_, err := retention.Sweep{Store: b, Catalog: c, Group: "prod", Region: "west", Grace: time.Nanosecond, Window: time.Nanosecond, Clock: later, Needed: forkAlone}.Run(t.Context())
		check(t, err)
	}
	loaded, err := c.Load(t.Context(), "prod")
	check(t, err)
	o := &world{t: t, group: loaded.Group}
	if after := len(b.keys(".seg")); after >= before || len(o.group.Workspaces[0].Floors["west"]) == 0 {
		t.Fatalf("%d of %d segments are left, floors %v", after, before, o.group.Workspaces[0].Floors)
	}
	for _, stores := range []map[string]objectstore.Store{{"west": b}, {"west": b, "east": east}} {
		for _, f := range at(t, o, stores, topology.VerifyAll).Findings {
			t.Errorf("%+v", f)
		}
	}
	b.lose(b.manifest(2))
	v := at(t, o, map[string]objectstore.Store{"west": b}, topology.VerifyNone)
	t.Logf("%+v", v)
	if !slices.Contains(lostOf(v), windowTwo) {
		t.Errorf("without the snapshot that its window begins with it has lost %v", lostOf(v))
	}
}
