package snapshot_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// noise is n bytes that do not compress and are the same for the same seed.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

// archive is a tar of files, each with its name's content.
func archive(t rapid.TB, files map[string][]byte) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return &b
}

// cut stores files and returns what was written.
func cut(t *testing.T, files map[string][]byte, stores ...objectstore.Store) ([]snapshot.File, snapshot.Stats) {
	t.Helper()
	o := snapshot.WriterOptions{Group: "g", Workspace: "w", PackSize: 4 << 20}
	for i, s := range stores {
		o.Targets = append(o.Targets, snapshot.Target{Region: fmt.Sprint(i), Store: s})
	}
	w, err := snapshot.NewWriter(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c := snapshot.Cutter{Writer: w}
	if err := c.Archive(archive(t, files), ""); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return c.Files(), w.Stats()
}

// holds fails unless a store holds all chunks of files.
func holds(t *testing.T, store objectstore.Store, files []snapshot.File) {
	t.Helper()
	m := snapshot.Manifest{Files: files}
	wanted := m.Wanted()
	parts, err := snapshot.Locate(t.Context(), store, "g", "w", wanted)
	if err != nil {
		t.Fatal(err)
	}
	d := snapshot.NewDecoder(1)
	defer d.Close()
	for _, p := range parts {
		pack, _, err := store.Get(t.Context(), snapshot.PackKey("g", "w", p.ID))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Entries {
			if _, err := d.Decode(pack[e.Offset:e.Offset+e.Size], e.Hash, int(e.Raw), nil); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestChunksAreStoredOnceAndOnlyWhereTheyLack(t *testing.T) {
	a, b := devtest.Store(t), devtest.Store(t)
	one := map[string][]byte{"base/16384/1": noise(1, 5<<20+17), "base/16384/2": noise(2, 8192), "PG_VERSION": []byte("15\n")}
	files, stats := cut(t, one, a)
	holds(t, a, files)
	if first := stats.SentBytes; first < 5<<20 || first > 6<<20 {
		t.Errorf("sent %d bytes", first)
	}
	if _, again := cut(t, one, a); again.SentBytes != 0 {
		t.Errorf("sent %d bytes a second time", again.SentBytes)
	}
	two := map[string][]byte{"base/16384/1": one["base/16384/1"], "base/16384/3": noise(3, 2<<20), "zeros": make([]byte, 3<<20)}
	files, stats = cut(t, two, a, b)
	holds(t, a, files)
	holds(t, b, files)
	// the new file goes to both, the old one to the bucket that lacks it
	if want := int64(2*2<<20 + 5<<20); stats.SentBytes < want || stats.SentBytes > want+1<<18 {
		t.Errorf("sent %d bytes, want about %d", stats.SentBytes, want)
	}
	if stats.ZeroBytes != 3<<20 {
		t.Errorf("%d bytes of zeros", stats.ZeroBytes)
	}
}

func TestALostIndexIsHealedByTheNextSnapshot(t *testing.T) {
	store := devtest.Store(t)
	content := map[string][]byte{"base/16384/1": noise(4, 1<<20)}
	files, _ := cut(t, content, store)
	damaged := 0
	for info, err := range store.List(t.Context(), snapshot.Prefix("g", "w")+"packs/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(info.Key, ".idx") {
			_, err := store.Put(t.Context(), info.Key, []byte("rubbish"), objectstore.PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			damaged++
		}
	}
	wanted := (&snapshot.Manifest{Files: files}).Wanted()
	if _, err := snapshot.Locate(t.Context(), store, "g", "w", wanted); damaged == 0 || !fault.Is(err, fault.Corrupt) {
		t.Fatal(damaged, err)
	}
	files, _ = cut(t, content, store)
	holds(t, store, files)
}

func TestLinksAreRefused(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "pg_tblspc/1", Typeflag: tar.TypeSymlink, Linkname: "/etc"})
	_ = w.Close()
	if err := new(snapshot.Cutter).Archive(&b, ""); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
	up := archive(t, map[string][]byte{"../x": nil})
	if err := new(snapshot.Cutter).Archive(up, ""); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
