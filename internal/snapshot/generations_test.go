package snapshot_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/snapshot"
)

const page = 8192

var ctx = context.Background() // rapid's examples have none of their own

// generation is one snapshot of files.
type generation struct {
	content map[string][]byte
	files   []snapshot.File
	stats   snapshot.Stats
	format  int
}

// next stores files as a snapshot that comes after another one, and publishes it.
func next(t rapid.TB, id string, before generation, content map[string][]byte, stores ...objectstore.Store) generation {
	t.Helper()
	o := snapshot.WriterOptions{Group: "g", Workspace: "w", PackSize: 4 << 20}
	for i, s := range stores {
		o.Targets = append(o.Targets, snapshot.Target{Region: fmt.Sprint(i), Store: s})
	}

	w, err := snapshot.NewWriter(ctx, o)
	check(t, err)
	defer w.Close()
	old := (&snapshot.Manifest{Files: before.files}).ByPath()
	c := snapshot.Cutter{Writer: w, Before: func(path string) snapshot.Chunks { return old[path] }}
	check(t, c.Archive(archive(t, content), ""))
	check(t, w.Flush())
	g := generation{content, c.Files(), w.Stats(), w.FormatOf(c.Files())}
	m := &snapshot.Manifest{Format: g.format, ID: id, Group: "g", Workspace: "w", Files: g.files}
	for i := range stores {
		check(t, w.Publish(ctx, fmt.Sprint(i), m))
	}
	return g
}

func check(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reads fails unless a store gives back every byte of a generation, each chunk by one or two ranged requests. It returns how many chunks
// took two.
func (g generation) reads(t rapid.TB, store objectstore.Store) (two int) {
	t.Helper()
	m := snapshot.Manifest{Files: g.files}
	parts, err := snapshot.Locate(ctx, store, "g", "w", m.Wanted())
	check(t, err)
	places := snapshot.Places(parts)
	d := snapshot.NewDecoder(1)
	defer d.Close()
	for _, f := range g.files {
		var got []byte
		for i, h := range f.Chunks {
			if h.IsZero() {
				got = append(got, make([]byte, snapshot.ChunkLen(f.Size, i))...)
				continue
			}
			var asked objectstore.Counters
			b, err := d.ReadChunk(ctx, objectstore.WithCounters(store, &asked), "g", "w", places[h])
			check(t, err)
			want := int64(places[h].Entry.Size)
			if base := places[h].Base; base != nil {
				two++
				want += int64(base.Entry.Size)
			}
			if asked.Requests() > 2 || asked.Requests() != asked.Gets.Load() || asked.BytesIn.Load() != want {
				t.Fatalf("chunk %d of %s took %d requests and %d bytes instead of %d", i, f.Path, asked.Requests(), asked.BytesIn.Load(), want)
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, g.content[f.Path]) {
			t.Fatalf("%s is not what it was", f.Path)
		}
	}
	return two
}

// updated returns files with some pages of one of them changed.
func updated(content map[string][]byte, path string, seed uint64, pages ...int) map[string][]byte {
	now := maps.Clone(content)
	b := bytes.Clone(now[path])
	for _, n := range pages {
		copy(b[n*page:], noise(seed+uint64(n), page))
	}
	now[path] = b
	return now
}

func TestOnlyChangedPagesAreSent(t *testing.T) {
	a, b := objectstoretest.NewMemory(), objectstoretest.NewMemory()
	first := next(t, "20261122T221000Z-0001", generation{}, map[string][]byte{"base/1/1": noise(1, 5<<20+3*page), "PG_VERSION": []byte("18\n")}, a, b)
	if first.format != snapshot.Format {
		t.Error("a snapshot without deltas has format", first.format)
	}
	second := next(t, "20261122T221000Z-0002", first, updated(first.content, "base/1/1", 7, 0, 1, 200, 640), a, b)
	if pages, sent := int64(4*page), second.stats.SentBytes/2; sent < pages || sent > pages+1024 {
		t.Errorf("%d bytes were sent for %d bytes of changed pages", sent, pages)
	}
	if second.format != snapshot.DeltaFormat {
		t.Error("a snapshot with deltas has format", second.format)
	}
	for _, store := range []objectstore.Store{a, b} {
		first.reads(t, store)
		if two := second.reads(t, store); two != 3 {
			t.Errorf("%d chunks are deltas", two)
		}
	}
	third := next(t, "20261122T221000Z-0003", second, second.content, a, b)
	if third.stats.SentBytes != 0 || third.format != snapshot.DeltaFormat {
		t.Errorf("what had not changed was sent: %+v", third.stats)
	}
	// what is a delta now is so on the same base, and never on a delta
	fourth := next(t, "20261122T221000Z-0004", third, updated(third.content, "base/1/1", 8, 2), a, b)
	if sent := fourth.stats.SentBytes / 2; sent > 3*page+1024 {
		t.Errorf("%d bytes were sent", sent)
	}
	fourth.reads(t, a)
}

// Deltas on one base grow from snapshot to snapshot. When they have cost as much as the chunk, it is stored whole again.
func TestABaseIsGivenUpWhenItsDeltasCostAsMuch(t *testing.T) {
	store := objectstoretest.NewMemory()
	g := next(t, "20261122T221000Z-0000", generation{}, map[string][]byte{"base/1/1": noise(1, 1<<20)}, store)
	var sent int64
	wholes := 0
	for i := range 60 {
		g = next(t, fmt.Sprintf("20261122T221000Z-%04x", i+1), g, updated(g.content, "base/1/1", uint64(i+2), 2*i%128), store)
		if g.reads(t, store) == 0 {
			wholes++
		}
		sent += g.stats.SentBytes
	}
	if wholes < 2 || wholes > 8 {
		t.Errorf("of 60 snapshots %d stored the chunk whole", wholes)
	}
	if each := sent / 60; each > 24*page {
		t.Errorf("a snapshot after one changed page stores %d bytes on average", each)
	}
}

func TestOldPacksAreBuiltOnWithoutFingerprints(t *testing.T) {
	store := objectstoretest.NewMemory()
	first := next(t, "20261122T221000Z-0001", generation{}, map[string][]byte{"base/1/1": noise(1, 2<<20)}, store)
	for _, key := range keys(t, store, ".pages") {
		check(t, store.Delete(ctx, key))
	}
	second := next(t, "20261122T221000Z-0002", first, updated(first.content, "base/1/1", 7, 0), store)
	if two := second.reads(t, store); two != 0 || second.format != snapshot.Format {
		t.Errorf("%d deltas on what nothing is known of, format %d", two, second.format)
	}
	third := next(t, "20261122T221000Z-0003", second, updated(second.content, "base/1/1", 8, 1, 200), store)
	if two := third.reads(t, store); two != 1 { // the first chunk has fingerprints since the second snapshot
		t.Errorf("%d deltas", two)
	}
	for _, key := range keys(t, store, ".pages") {
		_, err := store.Put(ctx, key, []byte("rubbish"), objectstore.PutOptions{})
		check(t, err)
	}
	next(t, "20261122T221000Z-0004", third, updated(third.content, "base/1/1", 9, 3), store).reads(t, store)
}

func keys(t rapid.TB, store objectstore.Store, suffix string) (all []string) {
	for info, err := range store.List(ctx, "", "") {
		check(t, err)
		if strings.HasSuffix(info.Key, suffix) {
			all = append(all, info.Key)
		}
	}
	return all
}

// deltaAndBase returns a snapshot with one delta, and the packs that the delta and its base are in.
func deltaAndBase(t *testing.T, stores ...objectstore.Store) (g generation, delta, base snapshot.Index) {
	first := next(t, "20261122T221000Z-0001", generation{}, map[string][]byte{"base/1/1": noise(1, 1<<20)}, stores...)
	g = next(t, "20261122T221000Z-0002", first, updated(first.content, "base/1/1", 7, 3), stores...)
	check(t, snapshot.EachIndex(ctx, stores[0], "g", "w", func(p snapshot.Index) {
		if len(p.Bases()) > 0 {
			delta = p
		} else {
			base = p
		}
	}))
	if len(delta.Bases()) != 1 || delta.Bases()[0] != base.Entries[0].Hash {
		t.Fatal(delta, base)
	}
	return g, delta, base
}

func TestADeltaWithoutItsBaseIsNotThere(t *testing.T) {
	a, b := objectstoretest.NewMemory(), objectstoretest.NewMemory()
	g, _, base := deltaAndBase(t, a, b)
	for _, key := range snapshot.PackKeys("g", "w", base.ID) {
		check(t, a.Delete(ctx, key))
	}
	m := snapshot.Manifest{Files: g.files}
	if _, err := snapshot.Locate(ctx, a, "g", "w", m.Wanted()); !fault.Is(err, fault.Missing) {
		t.Error(err)
	}
	// the next snapshot stores it whole where the base is missing, and nothing where it is not
	again := next(t, "20261122T221000Z-0003", g, g.content, a, b)
	if two := again.reads(t, a); two != 0 {
		t.Error("still a delta where its base is gone")
	}
	if two := again.reads(t, b); two != 1 {
		t.Error("no delta any more where its base is")
	}
	if again.stats.SentBytes < 1<<20 || again.stats.SentBytes > 5<<18 {
		t.Errorf("%d bytes were sent", again.stats.SentBytes)
	}
}

func TestAlteredDeltasAndBasesAreFound(t *testing.T) {
	store := objectstoretest.NewMemory()
	g, delta, base := deltaAndBase(t, store)
	m := snapshot.Manifest{Files: g.files}
	parts, err := snapshot.Locate(ctx, store, "g", "w", m.Wanted())
	check(t, err)
	at := snapshot.Places(parts)[g.files[0].Chunks[0]]
	d := snapshot.NewDecoder(1)
	defer d.Close()
	for _, p := range []snapshot.Index{delta, base} {
		key := snapshot.PackKey("g", "w", p.ID)
		whole, _, err := store.Get(ctx, key)
		check(t, err)
		for _, i := range []int{8, 9, 20, len(whole) / 2, len(whole) - 1} {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 0x10
			_, err := store.Put(ctx, key, damaged, objectstore.PutOptions{})
			check(t, err)
			if _, err := d.ReadChunk(ctx, store, "g", "w", at); !fault.Is(err, fault.Corrupt) || !strings.Contains(fmt.Sprint(err), key) {
				t.Errorf("byte %d of %s: %v", i, key, err)
			}
			if _, err := snapshot.CopyPack(ctx, store, objectstoretest.NewMemory(), "g", "w", p.ID); !fault.Is(err, fault.Corrupt) {
				t.Errorf("byte %d of %s was copied: %v", i, key, err)
			}
		}
		_, err = store.Put(ctx, key, whole[:len(whole)-1], objectstore.PutOptions{})
		check(t, err)
		if _, err := d.ReadChunk(ctx, store, "g", "w", at); !fault.Is(err, fault.Corrupt) {
			t.Errorf("%s cut: %v", key, err)
		}
		_, err = store.Put(ctx, key, whole, objectstore.PutOptions{})
		check(t, err)
	}
	g.reads(t, store)
	at.Base = nil
	if _, err := d.ReadChunk(ctx, store, "g", "w", at); !fault.Is(err, fault.Missing) {
		t.Error(err)
	}
}

func TestCopiesBringPagesAndBases(t *testing.T) {
	from, to := objectstoretest.NewMemory(), objectstoretest.NewMemory()
	g, delta, base := deltaAndBase(t, from)
	var all, none []snapshot.Index
	check(t, snapshot.EachIndex(ctx, from, "g", "w", func(p snapshot.Index) { all = append(all, p) }))
	wanted := g.files[0].Chunks
	packs, err := snapshot.Lacking(wanted, all, none)
	if err != nil || !slices.Equal(packs, sorted(delta.ID, base.ID)) {
		t.Fatal(packs, err)
	}
	if packs, err := snapshot.Lacking(wanted, all, []snapshot.Index{base}); err != nil || !slices.Equal(packs, []string{delta.ID}) {
		t.Error("a base that is there is copied:", packs, err)
	}
	if _, err := snapshot.Lacking(wanted, []snapshot.Index{delta}, none); !fault.Is(err, fault.Missing) {
		t.Error(err)
	}
	for _, id := range packs {
		_, err := snapshot.CopyPack(ctx, from, to, "g", "w", id)
		check(t, err)
	}
	g.reads(t, to)
	if was, is := keys(t, from, ".pages"), keys(t, to, ".pages"); len(was) != 1 || !slices.Equal(was, is) {
		t.Error(was, is)
	}
}

func sorted(s ...string) []string { slices.Sort(s); return s }
