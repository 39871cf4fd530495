package retention

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const replacedLineage = "0001-0000000a"

// replaced is a lineage whose server was replaced by its standby: timeline 1 was shipped up to 100 MB, timeline 2 left it at 90 MB. Each has a
// snapshot of its own behind that, and they share one before.
func replaced() (*topology.Group, *Bucket) {
	l := topology.Lineage{ID: replacedLineage, Epoch: 1, SegmentSize: fileSize, Start: wal.Position{Timeline: 1}, CreatedAt: dawn}
	g := &topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "east", Authority: "west", Epoch: 1,
		Workspaces: []topology.Workspace{{Name: "orders", Lineage: l.ID, Lineages: []topology.Lineage{l}}}}
	history := wal.History{{Timeline: 1, LSN: 90 * mb}}
	b := &Bucket{Lineages: map[string]*Lineage{l.ID: {
		Histories: map[wal.Timeline]History{2: {Object: Object{Key: "2.history", Modified: momentOf(100 * mb)}, Parsed: history}},
		Segments: []Segment{
			segmentOn(1, 0, 50), segmentOn(1, 50, 90), segmentOn(1, 90, 100), segmentOn(2, 80, 200), segmentOn(2, 200, 300),
		},
	}}}
	for _, s := range []struct {
		timeline wal.Timeline
		end      wal.LSN
	}{{1, 40}, {1, 98}, {2, 250}} {
		b.Snapshots = append(b.Snapshots, snapshotOn(s.timeline, s.end))
	}
	return g, b
}

func segmentOn(t wal.Timeline, from, to wal.LSN) Segment {
	key := fmt.Sprintf("%d/%s", t, from*mb)
	return Segment{Object: Object{Key: key, Modified: momentOf(to * mb)}, Timeline: t, Range: wal.Range{Start: from * mb, End: to * mb}}
}

func snapshotOn(t wal.Timeline, end wal.LSN) Snapshot {
	at := momentOf(end * mb)
	id := snapshot.NewID(at)
	return Snapshot{Object: Object{Key: "snapshots/" + id, Modified: at}, ID: id, Manifest: &snapshot.Manifest{
		Lineage: replacedLineage, SegmentSize: fileSize, CompletedAt: at,
		Start: wal.Position{Timeline: t, LSN: (end - 1) * mb}, End: wal.Position{Timeline: t, LSN: end * mb},
	}}
}

// What lies behind a hole at a branch's end is kept, as the hole may be filled; of a branch that was detached with discard nothing behind the end
// that is fixed, whether it lay there then or came later. What was merged across the end stays for what it has before.
func TestWhatLiesBehindTheEndOfADiscardedLineageGoes(t *testing.T) {
	g, b := replaced()
	l := topology.Lineage{ID: "0001-0000000b", Epoch: 1, SegmentSize: fileSize, Start: wal.Position{Timeline: 3, LSN: 32 * mb},
		Parent: &topology.Fork{Lineage: replacedLineage, At: wal.Position{Timeline: 1, LSN: 45 * mb}}, CreatedAt: dawn}
	g.Branches = []topology.Branch{{Name: "dev", Workspace: "orders", Region: "west", Base: *l.Parent, Line: []topology.Lineage{l}, Own: 1}}
	arrived, merged, filled, behind := segmentOn(3, 32, 50), segmentOn(3, 50, 55), segmentOn(3, 55, 60), segmentOn(3, 60, 70)
	keeps := func(want ...Segment) {
		t.Helper()
		m := Mark(g, "orders", "west", b, nil)
		for _, s := range b.Lineages[l.ID].Segments {
			if stays := slices.ContainsFunc(want, func(w Segment) bool { return w.Key == s.Key }); m.Keys[s.Key] != stays {
				t.Errorf("%s stays: %v, want %v", s.Key, !stays, stays)
			}
		}
	}
	b.Lineages[l.ID] = &Lineage{Segments: []Segment{arrived, behind}}
	keeps(arrived, behind)
	g.Branches[0].Line[0].End = &topology.LineageEnd{At: wal.Position{Timeline: 3, LSN: 50 * mb}}
	keeps(arrived)
	b.Lineages[l.ID].Segments = []Segment{arrived, merged, filled, behind}
	keeps(arrived)
	g.Branches[0].Line[0].End.At.LSN = 52 * mb
	keeps(arrived, merged)
	b.Lineages[l.ID].Segments = []Segment{arrived, segmentOn(3, 51, 55), behind} // what is missed before the end may still be found
	keeps(arrived, b.Lineages[l.ID].Segments[1])
}

func TestSnapshotOfATimelineThatWasLeftBeginsNoWindow(t *testing.T) {
	g, b := replaced()
	h := Horizon{Now: momentOf(260 * mb), Window: 120 * time.Minute} // the window begins at 140 MB of timeline 2
	if f := Floors(g, "orders", "east", b, h); f[replacedLineage] != 40*mb {
		t.Fatalf("the window begins at %s: no snapshot but that of 40 MB leads to timeline 2 before 250 MB", f[replacedLineage])
	}
	g.Workspaces[0].Floors = map[string]topology.Floors{"east": Floors(g, "orders", "east", b, h)}
	if m := Mark(g, "orders", "east", b, nil); !m.Keys[b.Snapshots[0].Key] {
		t.Error("the snapshot that leads to all of the window goes")
	}
}

func TestSnapshotOfANewerTimelineLeadsToNoBranchOfAnOlderOne(t *testing.T) {
	g, b := replaced()
	b.Snapshots = append(b.Snapshots[:1:1], snapshotOn(2, 95), b.Snapshots[2])
	g.Workspaces[0].Floors = map[string]topology.Floors{"east": {replacedLineage: 250 * mb}}
	g.Branches = []topology.Branch{{Name: "before", Workspace: "orders", Region: "east",
		Base: topology.Fork{Lineage: replacedLineage, At: wal.Position{Timeline: 1, LSN: 97 * mb}}}}
	m := Mark(g, "orders", "east", b, nil)
	for _, key := range []string{b.Snapshots[0].Key, segmentOn(1, 50, 90).Key, segmentOn(1, 90, 100).Key} {
		if !m.Keys[key] {
			t.Errorf("%s goes, which a branch needs", key)
		}
	}
}

func TestWALOfATimelineThatWasLeftStaysWithTheWindow(t *testing.T) {
	g, b := replaced()
	left := segmentOn(1, 90, 100).Key
	if m := Mark(g, "orders", "east", b, nil); !m.Keys[left] || !m.Keys[b.Snapshots[1].Key] {
		t.Error("what was acknowledged on the timeline that was left goes, within the window")
	}
	g.Workspaces[0].Floors = map[string]topology.Floors{"east": {replacedLineage: 250 * mb}}
	if m := Mark(g, "orders", "east", b, nil); m.Keys[left] {
		t.Error("it stays behind the window")
	}
}
