package verify_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
	"github.com/smartdr/smartdr/internal/wal"
)

// bucket is a copy of the world's west bucket that a case may damage.
type bucket struct {
	*objectstoretest.Memory
	t testing.TB
	w *world
}

func copyOf(t testing.TB, from objectstore.Store) *objectstoretest.Memory {
	t.Helper()
	to := objectstoretest.NewMemory()
	for info, err := range from.List(t.Context(), "", "") {
		check(t, err)
		b, _, err := from.Get(t.Context(), info.Key)
		check(t, err)
		_, err = to.Put(t.Context(), info.Key, b, objectstore.PutOptions{})
		check(t, err)
	}
	return to
}

const prefix = "groups/prod/workspaces/orders/"

// keys are those that hold all of some texts.
func (b *bucket) keys(texts ...string) (keys []string) {
	b.t.Helper()
	for info, err := range b.List(b.t.Context(), "", "") {
		check(b.t, err)
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(info.Key, s) }) {
			keys = append(keys, info.Key)
		}
	}
	if len(keys) == 0 {
		b.t.Fatalf("no key with %q", texts)
	}
	return keys
}

func (b *bucket) get(key string) []byte {
	b.t.Helper()
	body, _, err := b.Get(b.t.Context(), key)
	check(b.t, err)
	return body
}

func (b *bucket) put(key string, body []byte) string {
	b.t.Helper()
	_, err := b.Put(b.t.Context(), key, body, objectstore.PutOptions{})
	check(b.t, err)
	return key
}

// lose deletes an object and returns its key.
func (b *bucket) lose(key string) string {
	b.t.Helper()
	b.get(key)
	check(b.t, b.Delete(b.t.Context(), key))
	return key
}

// flip changes one byte, counted from the end where at is negative.
func (b *bucket) flip(key string, at int) string {
	b.t.Helper()
	body := bytes.Clone(b.get(key))
	if at < 0 {
		at += len(body)
	}
	body[at] ^= 0x40
	return b.put(key, body)
}

func (b *bucket) archive(lineage string) *archive.Archive {
	return archive.Open(b, "prod", "orders", lineage)
}

// holding returns the segment of a lineage that holds a byte.
func (b *bucket) holding(lineage string, at wal.LSN) archive.Entry {
	b.t.Helper()
	inv, err := b.archive(lineage).List(b.t.Context())
	check(b.t, err)
	for _, e := range inv.Entries {
		if e.Range.Contains(at) {
			return e
		}
	}
	b.t.Fatalf("nothing holds %s", at)
	return archive.Entry{}
}

// segment is the one in which the middle's commit ends.
func (b *bucket) segment() archive.Entry { return b.holding(first, b.w.middle-1) }

// forge stores a segment that is whole and holds other bytes, over two that are there.
func (b *bucket) forge() string {
	b.t.Helper()
	a := b.archive(first)
	e := b.segment()
	next := b.holding(first, e.Range.End)
	one, err := a.Get(b.t.Context(), e)
	check(b.t, err)
	two, err := a.Get(b.t.Context(), next)
	check(b.t, err)
	raw := append(bytes.Clone(one.Raw), two.Raw...)
	raw[len(raw)/2] ^= 1
	h := two.Header
	h.Start, h.State = one.Header.Start, one.Header.State
	d, err := archive.ResumeDigest(h.State)
	check(b.t, err)
	_, err = d.Write(raw)
	check(b.t, err)
	h.Digest = d.Sum()
	s, err := archive.Seal(h, raw)
	check(b.t, err)
	put, err := a.Put(b.t.Context(), s)
	check(b.t, err)
	return put.Key
}

func (b *bucket) manifest(n int) string {
	return snapshot.ManifestKey("prod", "orders", b.w.snapshots[n])
}

// packs returns the packs of which a snapshot needs something.
func (b *bucket) packs(n int) (ids []string) {
	b.t.Helper()
	parts, _ := b.parts(n)
	for _, p := range parts {
		ids = append(ids, p.ID)
	}
	return ids
}

// base returns where a chunk lies that deltas of a snapshot stand on.
func (b *bucket) base(n int) (pack string, offset int) {
	b.t.Helper()
	parts, of := b.parts(n)
	for _, p := range parts {
		for _, e := range p.Entries {
			if of[e.Hash] {
				return p.ID, int(e.Offset + e.Size/2)
			}
		}
	}
	b.t.Fatal("nothing stands on a chunk")
	return "", 0
}

// parts are what a snapshot needs of packs, and the chunks that deltas among that stand on.
func (b *bucket) parts(n int) (parts []snapshot.PackPart, of map[snapshot.Hash]bool) {
	b.t.Helper()
	m, err := snapshot.Load(b.t.Context(), b, "prod", "orders", b.w.snapshots[n])
	check(b.t, err)
	parts, err = snapshot.Locate(b.t.Context(), b, "prod", "orders", m.Wanted())
	check(b.t, err)
	of = map[snapshot.Hash]bool{}
	for _, p := range parts {
		for _, e := range p.Entries {
			if e.IsDelta() {
				of[e.Base] = true
			}
		}
	}
	return parts, of
}

// onlyOf returns a pack that a snapshot needs and an earlier one does not.
func (b *bucket) onlyOf(n int) string {
	b.t.Helper()
	later := b.packs(n)
	earlier := b.packs(n - 1)
	for _, p := range later {
		if !slices.Contains(earlier, p) {
			return p
		}
	}
	b.t.Fatal("no pack is only of one snapshot")
	return ""
}

func (b *bucket) pack(id, kind string) string { return prefix + "packs/" + id + "." + kind }

// plantOrphan stores a pack that belongs to another workspace.
func plantOrphan(b *bucket) string {
	b.t.Helper()
	w, err := snapshot.NewWriter(b.t.Context(), snapshot.WriterOptions{Group: "prod", Workspace: "orders", Targets: []snapshot.Target{{Region: "west", Store: b}}})
	check(b.t, err)
	defer w.Close()
	before := b.keys("packs/", ".pack")
	buf, err := w.Buffer()
	check(b.t, err)
	*buf = append((*buf)[:0], bytes.Repeat([]byte("nobody's "), 5000)...)
	var h snapshot.Hash
	check(b.t, w.Add(buf, snapshot.Bulk, snapshot.Hash{}, &h))
	check(b.t, w.Flush())
	for _, k := range b.keys("packs/", ".pack") {
		if !slices.Contains(before, k) {
			return k
		}
	}
	b.t.Fatal("nothing was stored")
	return ""
}

// at checks the west bucket at a time when nothing in it is new any more.
func at(t testing.TB, w *world, stores map[string]objectstore.Store, read string) topology.Verified {
	t.Helper()
	v, err := verify.Check{Stores: stores, Group: w.group, Region: "west", Read: read, Again: time.Millisecond,
		Now: func() time.Time { return time.Now().Add(24 * time.Hour) }}.Run(t.Context())
	check(t, err)
	return v
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	t.Run("undamaged", func(t *testing.T) { undamaged(t, w) })
	t.Run("alive", func(t *testing.T) { alive(t, w) })
	t.Run("branches", func(t *testing.T) { branches(t, w) })
	t.Run("looking back", func(t *testing.T) { lookingBack(t, w) })
	t.Run("swept", func(t *testing.T) { swept(t, w) })
	t.Run("resumed", func(t *testing.T) { resumed(t, w) })
	t.Run("restores", func(t *testing.T) { restores(t, w) })
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) { d.check(t, w) })
	}
}

func undamaged(t *testing.T, w *world) {
	for _, read := range []string{topology.VerifyNone, topology.VerifySample, topology.VerifyAll} {
		for _, stores := range []map[string]objectstore.Store{{"east": w.east, "west": w.west}, {"west": w.west}} {
			v := at(t, w, stores, read)
			for _, f := range v.Findings {
				t.Errorf("%s: %+v", read, f)
			}
			t.Logf("%s: %d objects, %d bytes, read %d, %d bytes", read, v.Objects, v.Bytes, v.ReadObjects, v.ReadBytes)
		}
	}
}

func (d damage) check(t *testing.T, w *world) {
	b := &bucket{copyOf(t, w.west), t, w}
	key := d.plant(b)
	stores := map[string]objectstore.Store{"west": b}
	if d.both {
		stores["east"] = w.east
	}
	read := d.read
	if read == "" {
		read = topology.VerifyNone
	}
	v := at(t, w, stores, read)
	i := slices.IndexFunc(v.Findings, func(f topology.Finding) bool { return f.Key == key })
	if i < 0 || d.more >= 0 && len(v.Findings) != 1+d.more {
		t.Fatalf("want %s, found %d: %+v", key, len(v.Findings), v.Findings)
	}
	f := v.Findings[i]
	t.Logf("%s %s: %s\n%s\n%s", f.Kind, f.Severity, f.What, strings.Join(f.Consequence, "\n"), f.Repair)
	if f.Kind != d.kind || f.Severity != d.severity {
		t.Errorf("it is %s, %s; want %s, %s", f.Kind, f.Severity, d.kind, d.severity)
	}
	want := slices.Sorted(slices.Values(d.lost))
	if diff := cmp.Diff(want, lostOf(v), cmp.Transformer("nil", func(s []string) string { return fmt.Sprint(s) })); diff != "" {
		t.Errorf("lost (-want +got):\n%s", diff)
	}
	all := f.What + " " + strings.Join(f.Consequence, " ") + " " + f.Repair
	for _, s := range d.says {
		if !strings.Contains(all, s) {
			t.Errorf("it does not say %q", s)
		}
	}
	if len(f.Consequence) == 0 {
		t.Error("it says nothing of what follows")
	}
}

func lostOf(v topology.Verified) (all []string) {
	for _, l := range v.Lost {
		name := l.Name
		if l.Of == topology.LossWindow {
			name = l.Lineage
		}
		all = append(all, l.Of+" "+name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
