package archive_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const cell = 1 << 20

func lineage() topology.Lineage {
	return topology.Lineage{ID: "0001-00000001", Epoch: 1, SystemID: "1", SegmentSize: cell, Start: wal.Position{Timeline: 1, LSN: cell}}
}

// header returns the header of [start, end) of a path whose bytes are raw.
func header(raw []byte, start, end int) archive.Header {
	d := archive.NewDigest()
	d.Write(raw[:start])
	h := archive.Header{Group: "prod", Workspace: "orders", Lineage: lineage().ID, Timeline: 1,
		Start: cell + wal.LSN(start), End: cell + wal.LSN(end), RecordEnd: cell + wal.LSN(end), State: d.State()}
	d.Write(raw[start:end])
	h.Digest = d.Sum()
	return h
}

func sealed(t testing.TB, raw []byte, start, end int) archive.Sealed {
	t.Helper()
	s, err := archive.Seal(header(raw, start, end), raw[start:end])
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "record %d ", i*i)
	}
	return b.Bytes()[:n]
}

func TestDigestsDoNotDependOnCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 1, 2000).Draw(t, "raw")
		d := archive.NewDigest()
		for rest := raw; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			d, _ = archive.ResumeDigest(d.State())
			d.Write(rest[:n])
			rest = rest[n:]
		}
		if d.Sum() != archive.Sum(sha256.Sum256(raw)) {
			t.Error("the digest of the pieces is not the digest of the whole")
		}
	})
}

// An object that is changed or cut anywhere is never read as anything but what was written. A few bits of a zstd frame
// mean nothing (a window size, padding): without them the WAL is the same, and proven to be.
func TestEveryDamageIsFound(t *testing.T) {
	s := sealed(t, text(3000), 0, 3000)
	first, err := archive.Decode(s.Bytes)
	check(t, err)
	same := 0
	for i := range s.Bytes {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(s.Bytes)
			b[i] ^= bit
			got, err := archive.Decode(b)
			if err == nil && cmp.Equal(got, first) {
				same++
			} else if !fault.Is(err, fault.Corrupt) {
				t.Errorf("byte %d of %d changed: %v", i, len(b), err)
			}
		}
		if _, err := archive.Decode(s.Bytes[:i]); !fault.Is(err, fault.Corrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if same > 8 {
		t.Errorf("%d changes of %d mean nothing", same, 2*len(s.Bytes))
	}
	if _, err := archive.Decode(append(bytes.Clone(s.Bytes), 0)); !fault.Is(err, fault.Corrupt) {
		t.Errorf("a byte more: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	s := sealed(f, text(300), 100, 300)
	f.Add(s.Bytes)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := archive.Decode(b); err == nil && int64(len(s.Raw)) != s.Header.Range().Len() {
			t.Errorf("%d bytes for %s", len(s.Raw), s.Header.Range())
		}
	})
}

// Whatever set of ranges there is, the path is unbroken and reaches as far as any path can.
func TestPathReachesAsFarAsCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		covered := map[wal.LSN]bool{}
		var entries []archive.Entry
		for range rapid.IntRange(0, 12).Draw(t, "objects") {
			start := wal.LSN(rapid.IntRange(0, 40).Draw(t, "start"))
			end := start + wal.LSN(rapid.IntRange(1, 12).Draw(t, "length"))
			entries = append(entries, archive.Entry{Timeline: 1, Range: wal.Range{Start: start, End: end}})
			for l := start; l < end; l++ {
				covered[l] = true
			}
		}
		from := wal.LSN(rapid.IntRange(0, 20).Draw(t, "from"))
		want := from
		for covered[want] {
			want++
		}
		c := archive.Path(slices.Clone(entries), archive.Line{Timeline: 1}, from)
		if c.End != (wal.Position{Timeline: 1, LSN: want}) {
			t.Fatalf("the path ends at %s, it can reach %s", c.End, want)
		}
		at := from
		for _, s := range c.Steps {
			if s.Use.Start != at || s.Use.Start < s.Entry.Range.Start || s.Use.End > s.Entry.Range.End || s.Use.Len() <= 0 {
				t.Fatalf("step %+v at %s", s, at)
			}
			at = s.Use.End
		}
		var beyond wal.LSN
		for _, e := range entries {
			if e.Range.Start > want && (beyond == 0 || e.Range.Start < beyond) {
				beyond = e.Range.Start
			}
		}
		if c.Beyond != beyond {
			t.Errorf("beyond %s is %s, want %s", want, c.Beyond, beyond)
		}
	})
}

func TestPathFollowsTimelines(t *testing.T) {
	e := func(tl wal.Timeline, start, end wal.LSN) archive.Entry {
		return archive.Entry{Timeline: tl, Range: wal.Range{Start: start, End: end}}
	}
	line := archive.NewestLine(1, map[wal.Timeline]wal.History{
		2:  {{Timeline: 1, LSN: 150}},
		10: {{Timeline: 1, LSN: 150}, {Timeline: 2, LSN: 220}},
	})
	for name, c := range map[string]struct {
		entries []archive.Entry
		want    wal.Position
		steps   int
	}{
		"beyond the switch is on no path": {[]archive.Entry{e(1, 100, 200), e(1, 200, 400)}, wal.Position{Timeline: 2, LSN: 150}, 1},
		"all three":                       {[]archive.Entry{e(1, 100, 200), e(2, 150, 230), e(10, 220, 300)}, wal.Position{Timeline: 10, LSN: 300}, 3},
		"the old one ends early":          {[]archive.Entry{e(1, 100, 140), e(2, 150, 230)}, wal.Position{Timeline: 1, LSN: 140}, 1},
		"the wrong timeline's bytes":      {[]archive.Entry{e(1, 100, 150), e(10, 150, 300)}, wal.Position{Timeline: 2, LSN: 150}, 1},
	} {
		got := archive.Path(c.entries, line, 100)
		if got.End != c.want || len(got.Steps) != c.steps {
			t.Errorf("%s: ends at %s after %d steps, want %s after %d", name, got.End, len(got.Steps), c.want, c.steps)
		}
	}
	// A lineage that began on timeline 2 has the bytes before the switch under that timeline.
	if own := archive.NewestLine(2, map[wal.Timeline]wal.History{2: {{Timeline: 1, LSN: 150}}}); own.At(100) != 2 {
		t.Errorf("byte 100 is on timeline %d", own.At(100))
	}
}

func TestPutTwiceAndOtherwise(t *testing.T) {
	store := devtest.Store(t)
	a := archive.Open(store, "prod", "orders", lineage().ID)
	raw := text(5000)
	e, err := a.Put(t.Context(), sealed(t, raw, 0, 5000))
	check(t, err)
	_, err = a.Put(t.Context(), sealed(t, raw, 0, 5000))
	check(t, err)
	other := bytes.Clone(raw)
	other[77]++
	if _, err := a.Put(t.Context(), sealed(t, other, 0, 5000)); !fault.Is(err, fault.Diverged) || fault.HintOf(err) == "" {
		t.Errorf("other bytes in the same place: %v", err)
	}
	// What is damaged is replaced by what should be there.
	info, err := store.Head(t.Context(), e.Key)
	check(t, err)
	_, err = store.Put(t.Context(), e.Key, []byte("rotten"), objectstore.PutOptions{IfMatch: info.ETag})
	check(t, err)
	if _, err := a.Get(t.Context(), e); !fault.Is(err, fault.Corrupt) {
		t.Errorf("read what is damaged: %v", err)
	}
	_, err = a.Put(t.Context(), sealed(t, raw, 0, 5000))
	check(t, err)
	s, err := a.Get(t.Context(), e)
	check(t, err)
	if !bytes.Equal(s.Raw, raw) {
		t.Error("read back otherwise")
	}
}

func TestHistoriesAreWrittenOnce(t *testing.T) {
	a := archive.Open(devtest.Store(t), "prod", "orders", lineage().ID)
	h := wal.History{{Timeline: 1, LSN: 0x2000000, Reason: "test"}}.Format()
	check(t, a.PutHistory(t.Context(), 0x0A, h))
	check(t, a.PutHistory(t.Context(), 0x0A, h))
	if err := a.PutHistory(t.Context(), 0x0A, wal.History{{Timeline: 1, LSN: 0x2000008}}.Format()); !fault.Is(err, fault.Diverged) {
		t.Errorf("another history: %v", err)
	}
	got, err := a.Histories(t.Context())
	check(t, err)
	if d := cmp.Diff(map[wal.Timeline][]byte{0x0A: h}, got); d != "" {
		t.Error(d)
	}
}

func TestMergeKeepsEveryDigestThatRemains(t *testing.T) {
	store := devtest.Store(t)
	a := archive.Open(store, "prod", "orders", lineage().ID)
	raw := text(cell + cell/2)
	for i := 0; i < len(raw); i += cell / 8 {
		_, err := a.Put(t.Context(), sealed(t, raw, i, i+cell/8))
		check(t, err)
	}
	_, err := a.Put(t.Context(), sealed(t, raw, 1000, cell/4+5)) // of another shipper, with other cuts
	check(t, err)
	before, err := a.Tip(t.Context(), lineage())
	check(t, err)
	inv, err := a.List(t.Context())
	check(t, err)
	plan := archive.PlanMerge(inv.Entries, cell)
	if len(plan) != 1 || len(plan[0]) != 9 {
		t.Fatalf("planned %d runs", len(plan))
	}
	for range 2 { // the second time most of them are gone
		_, err := a.Merge(t.Context(), plan[0])
		if err != nil && !fault.Is(err, fault.Missing) {
			t.Fatal(err)
		}
	}
	inv, err = a.List(t.Context())
	check(t, err)
	if len(inv.Entries) != 5 || inv.Entries[0].Range != (wal.Range{Start: cell, End: 2 * cell}) {
		t.Errorf("left are %v", inv.Entries)
	}
	after, err := a.Tip(t.Context(), lineage())
	check(t, err)
	if after.Digest != before.Digest || after.Position != before.Position || after.Digest != archive.Sum(sha256.Sum256(raw)) {
		t.Errorf("tip %s with %s, before %s with %s", after.Position, after.Digest, before.Position, before.Digest)
	}
	var got []byte
	check(t, a.Read(t.Context(), after.Chain, 0, func(_ wal.LSN, b []byte) { got = append(got, b...) }))
	if !bytes.Equal(got, raw) {
		t.Error("read back otherwise")
	}
}

func TestPlanMerge(t *testing.T) {
	run := func(start, n, size int) (es []archive.Entry) {
		for i := range n {
			es = append(es, archive.Entry{Timeline: 1, Range: wal.Range{Start: wal.LSN(start + i*size), End: wal.LSN(start + (i+1)*size)}})
		}
		return es
	}
	for name, c := range map[string]struct {
		entries []archive.Entry
		want    []int
	}{
		"a finished cell":          {run(0, 8, cell/8), []int{8}},
		"too few to be worth it":   {run(0, 2, cell/2), nil},
		"an unfinished cell":       {run(0, 7, cell/8), nil},
		"many small ones":          {run(0, 100, 100), []int{100}},
		"a gap":                    {slices.Concat(run(0, 4, cell/8), run(cell*5/8, 3, cell/8)), nil},
		"one that straddles cells": {run(cell/2, 1, cell), nil},
	} {
		var got []int
		for _, r := range archive.PlanMerge(c.entries, cell) {
			got = append(got, len(r))
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What an ended lineage has left in its last cells is merged however little it is.
func TestPlanMergeEnded(t *testing.T) {
	var es []archive.Entry
	for i := range 7 {
		es = append(es, archive.Entry{Timeline: 1, Range: wal.Range{Start: wal.LSN(i * cell / 8), End: wal.LSN((i + 1) * cell / 8)}})
	}
	if plan := archive.PlanMergeEnded(es, cell); len(plan) != 1 || len(plan[0]) != 7 {
		t.Errorf("planned %v", plan)
	}
	if plan := archive.PlanMergeEnded(slices.Delete(es, 3, 4), cell); len(plan) != 0 {
		t.Errorf("planned %v over a gap", plan)
	}
}

func TestTipOfNothing(t *testing.T) {
	a := archive.Open(devtest.Store(t), "prod", "orders", lineage().ID)
	tip, err := a.Tip(t.Context(), lineage())
	check(t, err)
	if tip.Position != lineage().Start || tip.Digest != archive.NewDigest().Sum() || tip.RecordEnd != 0 {
		t.Errorf("%+v", tip)
	}
}
