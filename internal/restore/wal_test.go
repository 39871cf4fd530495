package restore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const walSize = wal.SegmentSize(1 << 20)

// stored is real WAL in a bucket, cut into pieces of many sizes.
type stored struct {
	store   objectstore.Store
	lineage topology.Lineage
	raw     []byte // from the lineage's start on
	end     wal.LSN
	seed    uint64
}

func (s *stored) archive() *archive.Archive {
	return archive.Open(s.store, "prod", "orders", s.lineage.ID)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// storeRealWAL lets a server write and puts its WAL files into a bucket.
func storeRealWAL(t *testing.T) *stored {
	t.Helper()
	opts := devenv.PostgresOptions{Settings: map[string]string{"wal_keep_size": "200MB", "max_connections": "37"}}
	opts.Init.SegmentSize = walSize
	p := devtest.Postgres(t, opts)
	check(t, p.Exec(t.Context(), "postgres", "select pg_switch_wal()", "checkpoint"))
	c, err := p.Open(t.Context(), "postgres")
	check(t, err)
	defer c.Close(t.Context())
	lsn := func() wal.LSN {
		var s string
		check(t, c.QueryRow(t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&s))
		l, err := wal.ParseLSN(s)
		check(t, err)
		return l
	}
	start := walSize.Start(lsn())
	for range 5 {
		check(t, p.Exec(t.Context(), "postgres", "create table if not exists a (s text)", "insert into a select md5(i::text) || repeat('x', i % 900) from generate_series(1, 6000) i"))
	}
	s := &stored{store: devtest.Store(t), end: lsn()}
	s.lineage = topology.Lineage{ID: "0001-00000001", Epoch: 1, SystemID: "1", SegmentSize: walSize, Start: wal.Position{Timeline: 1, LSN: start}}
	for l := start; l < s.end; l = walSize.Next(l) {
		b, err := os.ReadFile(filepath.Join(p.DataDir, "pg_wal", walSize.FileName(1, l)))
		check(t, err)
		s.raw = append(s.raw, b...)
	}
	s.raw = s.raw[:s.end-start]
	s.put(t, s.archive(), 1, s.lineage.Start.LSN, s.raw)
	return s
}

// put stores raw, which begins a path, in pieces of random sizes.
func (s *stored) put(t *testing.T, a *archive.Archive, tl wal.Timeline, at wal.LSN, raw []byte) {
	t.Helper()
	s.putAfter(t, a, tl, at, raw, archive.NewDigest())
}

func (s *stored) putAfter(t *testing.T, a *archive.Archive, tl wal.Timeline, at wal.LSN, raw []byte, d *archive.Digest) {
	t.Helper()
	s.seed++
	rnd := rand.New(rand.NewPCG(s.seed, 0))
	for len(raw) > 0 {
		n := min(len(raw), 1+rnd.IntN(700000))
		h := archive.Header{Group: "prod", Workspace: "orders", Lineage: a.Lineage(), Epoch: 1, SystemID: "1", Timeline: tl,
			Start: at, End: at + wal.LSN(n), State: d.State(), CreatedAt: time.Now()}
		d.Write(raw[:n])
		h.Digest = d.Sum()
		sealed, err := archive.Seal(h, raw[:n])
		check(t, err)
		_, err = a.Put(t.Context(), sealed)
		check(t, err)
		at, raw = h.End, raw[n:]
	}
}

func (s *stored) fetch(dir string) restore.FetchWAL {
	return restore.FetchWAL{Legs: []restore.Leg{{Archive: s.archive(), Lineage: s.lineage, From: s.lineage.Start}}, Dir: dir, SegmentSize: walSize}
}

// walFiles reads the segment files in dir, in the order of their names, without the zeros beyond end.
func walFiles(t *testing.T, dir string, start, end wal.LSN, tl func(wal.LSN) wal.Timeline) []byte {
	t.Helper()
	var all []byte
	for l := start; l < end; l = walSize.Next(l) {
		b, err := os.ReadFile(filepath.Join(dir, walSize.FileName(tl(l), l)))
		check(t, err)
		if len(b) != int(walSize) {
			t.Fatalf("a file of %d bytes", len(b))
		}
		all = append(all, b...)
	}
	n := int(end - start)
	if len(bytes.Trim(all[n:], "\x00")) > 0 {
		t.Error("what is beyond the end is not zero")
	}
	return all[:n]
}

func one(wal.LSN) wal.Timeline { return 1 }

func TestFetchedFilesAreTheServersOwn(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	dir := t.TempDir()
	out, err := s.fetch(dir).Run(t.Context())
	check(t, err)
	if out.End != (wal.Position{Timeline: 1, LSN: s.end}) || out.RecordEnd != s.end || out.LastCommit.IsZero() || out.Start != s.lineage.Start.LSN {
		t.Errorf("%+v, the server flushed up to %s", out, s.end)
	}
	if !bytes.Equal(walFiles(t, dir, out.Start, s.end, one), s.raw) {
		t.Error("the files differ from the server's")
	}
	// Up to a point in the middle, over what is there.
	mid := s.lineage.Start.LSN + wal.LSN(len(s.raw)/2)
	f := s.fetch(t.TempDir())
	f.Legs[0].To = mid
	out, err = f.Run(t.Context())
	check(t, err)
	if out.End.LSN != mid || out.RecordEnd > mid || out.RecordEnd+1<<20 < mid {
		t.Errorf("up to %s: %+v", mid, out)
	}
	if !bytes.Equal(walFiles(t, f.Dir, out.Start, mid, one), s.raw[:len(s.raw)/2]) {
		t.Error("the files differ from the server's")
	}
}

func TestFetchGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	dir := t.TempDir()
	counters := new(objectstore.Counters)
	s.store = objectstore.WithCounters(s.store, counters)
	f := s.fetch(dir)
	ctx, cancel := context.WithCancel(t.Context())
	f.Progress = func(done, total int64) {
		if done > total*2/3 {
			cancel()
		}
	}
	if _, err := f.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
	before := counters.BytesIn.Load()
	out, err := s.fetch(dir).Run(t.Context())
	check(t, err)
	again := counters.BytesIn.Load() - before
	if again > before*3/4 {
		t.Errorf("%d bytes were fetched before, %d again", before, again)
	}
	if out.RecordEnd != s.end || out.LastCommit.IsZero() {
		t.Errorf("%+v", out)
	}
	if !bytes.Equal(walFiles(t, dir, out.Start, s.end, one), s.raw) {
		t.Error("the files differ from the server's")
	}
}

func TestFetchNamesAGap(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	inv, err := s.archive().List(t.Context())
	check(t, err)
	lost := inv.Entries[len(inv.Entries)/2]
	check(t, s.store.Delete(t.Context(), lost.Key))
	f := s.fetch(t.TempDir())
	f.Legs[0].To = s.end
	_, err = f.Run(t.Context())
	if !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), lost.Range.Start.String()) || !strings.Contains(err.Error(), lost.Range.End.String()) {
		t.Errorf("%v does not name the gap %s", err, lost.Range)
	}
	// Without a wanted end it stops at the gap and says that there is more.
	out, err := s.fetch(t.TempDir()).Run(t.Context())
	check(t, err)
	if out.End.LSN != lost.Range.Start || out.Beyond != lost.Range.End {
		t.Errorf("ended at %s, beyond is %s; the gap is %s", out.End, out.Beyond, lost.Range)
	}
}

func TestFetchFindsDamage(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	inv, err := s.archive().List(t.Context())
	check(t, err)
	a, b := inv.Entries[1], inv.Entries[2]
	first, _, err := s.store.Get(t.Context(), a.Key)
	check(t, err)
	second, _, err := s.store.Get(t.Context(), b.Key)
	check(t, err)
	flip := func(i int) []byte {
		c := bytes.Clone(first)
		c[(i+len(c))%len(c)] ^= 1
		return c
	}
	for name, bad := range map[string][]byte{
		"magic": flip(3), "header length": flip(11), "header": flip(40), "header checksum": flip(bytes.Index(first, []byte("}"))),
		"body": flip(len(first) / 2), "last byte": flip(-1), "truncated": first[:len(first)-1], "half": first[:len(first)/2],
		"empty": {}, "swapped": second, "longer": append(bytes.Clone(first), 0),
	} {
		info, err := s.store.Head(t.Context(), a.Key)
		check(t, err)
		_, err = s.store.Put(t.Context(), a.Key, bad, objectstore.PutOptions{IfMatch: info.ETag})
		check(t, err)
		_, err = s.fetch(t.TempDir()).Run(t.Context())
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), a.Key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A segment that is whole in itself, of sound records, but whose chain is not this path's.
func TestFetchFindsASegmentOfAnotherHistory(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	inv, err := s.archive().List(t.Context())
	check(t, err)
	e := inv.Entries[1]
	foreign := s.raw[e.Range.Start-s.lineage.Start.LSN : e.Range.End-s.lineage.Start.LSN]
	d := archive.NewDigest()
	h := archive.Header{Group: "prod", Workspace: "orders", Lineage: s.lineage.ID, Timeline: 1, Start: e.Range.Start, End: e.Range.End, State: d.State()}
	d.Write(foreign)
	h.Digest = d.Sum()
	sealed, err := archive.Seal(h, foreign)
	check(t, err)
	check(t, s.store.Delete(t.Context(), e.Key))
	_, err = s.archive().Put(t.Context(), sealed)
	check(t, err)
	if _, err := s.fetch(t.TempDir()).Run(t.Context()); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), e.Key) {
		t.Errorf("%v", err)
	}
}

// A lineage that forked off another: its first segment file repeats the bytes before the fork, on a new timeline.
func TestFetchJoinsLineages(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	fork := s.lineage.Start.LSN + wal.LSN(len(s.raw)/2)
	begin := walSize.Start(fork)
	child := topology.Lineage{ID: "0002-00000002", Epoch: 2, SystemID: "1", SegmentSize: walSize, Start: wal.Position{Timeline: 2, LSN: begin}}
	a := archive.Open(s.store, "prod", "orders", child.ID)
	history := wal.History{{Timeline: 1, LSN: fork, Reason: "test"}}
	check(t, a.PutHistory(t.Context(), 2, history.Format()))
	s.put(t, a, 2, begin, s.raw[begin-s.lineage.Start.LSN:])
	f := s.fetch(t.TempDir())
	f.Legs[0].To = fork
	f.Legs = append(f.Legs, restore.Leg{Archive: a, Lineage: child, From: child.Start})
	out, err := f.Run(t.Context())
	check(t, err)
	if out.End != (wal.Position{Timeline: 2, LSN: s.end}) || out.RecordEnd != s.end {
		t.Errorf("%+v", out)
	}
	two := func(l wal.LSN) wal.Timeline {
		if l >= begin {
			return 2
		}
		return 1
	}
	if got, want := sha256.Sum256(walFiles(t, f.Dir, out.Start, s.end, two)), sha256.Sum256(s.raw); got != want {
		t.Error("the files differ from the server's")
	}
	if b, err := os.ReadFile(filepath.Join(f.Dir, "00000002.history")); err != nil || !bytes.Equal(b, history.Format()) {
		t.Errorf("history: %q, %v", b, err)
	}
	// A child that has other bytes before the fork does not continue its parent.
	for _, e := range must(a.List(t.Context())).Entries {
		check(t, s.store.Delete(t.Context(), e.Key))
	}
	wrong := bytes.Clone(s.raw[begin-s.lineage.Start.LSN:])
	wrong[(fork-begin)/2] ^= 1
	s.put(t, a, 2, begin, wrong)
	f.Dir = t.TempDir()
	if _, err := f.Run(t.Context()); !fault.Is(err, fault.Diverged) {
		t.Errorf("a child with other bytes: %v", err)
	}
}

// A timeline switch within a lineage: bytes of the old timeline beyond the switch are on no path.
func TestFetchFollowsATimelineSwitch(t *testing.T) {
	t.Parallel()
	s := storeRealWAL(t)
	at := s.lineage.Start.LSN + wal.LSN(len(s.raw)/2)
	d := archive.NewDigest()
	d.Write(s.raw[:at-s.lineage.Start.LSN])
	check(t, s.archive().PutHistory(t.Context(), 10, wal.History{{Timeline: 1, LSN: at}}.Format()))
	// What follows on the new timeline is other WAL; for this test the same bytes shortened by a record will do.
	s.putAfter(t, s.archive(), 10, at, s.raw[at-s.lineage.Start.LSN:], d)
	out, err := s.fetch(t.TempDir()).Run(t.Context())
	check(t, err)
	if out.End != (wal.Position{Timeline: 10, LSN: s.end}) || len(out.Histories) != 1 {
		t.Errorf("%+v", out)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
