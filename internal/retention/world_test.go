package retention

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// A model of a workspace's life. A megabyte of WAL takes a minute, so that a position is a moment.
const (
	mb       = wal.LSN(1 << 20)
	fileSize = wal.SegmentSize(16 << 20)
)

var dawn = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func momentOf(l wal.LSN) time.Time { return dawn.Add(time.Duration(l/mb) * time.Minute) }

// model is a random world.
type model struct {
	t     *rapid.T
	g     topology.Group
	b     *Bucket
	end   wal.LSN // now
	chunk Chunk
	live  []Chunk // content of the next snapshot
	ends  map[string]wal.LSN
}

func (m *model) ws() *topology.Workspace { return &m.g.Workspaces[0] }

func drawModel(t *rapid.T) *model {
	m := &model{t: t, b: &Bucket{Lineages: map[string]*Lineage{}}, ends: map[string]wal.LSN{}}
	m.g = topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "east", Authority: "west", Epoch: 1,
		Workspaces: []topology.Workspace{{Name: "orders"}}}
	m.lineage(nil, 16*mb)
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		rapid.SampledFrom([]func(){m.write, m.write, m.write, m.failover, m.hole, m.branch, m.branch, m.damage}).Draw(t, "step")()
	}
	return m
}

// lineage begins one at a position, which is a file's.
func (m *model) lineage(parent *topology.Fork, at wal.LSN) {
	m.g.Epoch++
	l := topology.Lineage{ID: fmt.Sprintf("%04d-%08x", m.g.Epoch, len(m.ws().Lineages)), Epoch: m.g.Epoch, SegmentSize: fileSize,
		Start: wal.Position{Timeline: wal.Timeline(m.g.Epoch), LSN: fileSize.Start(at)}, Parent: parent, CreatedAt: momentOf(at)}
	m.ws().Lineages, m.ws().Lineage = append(m.ws().Lineages, l), l.ID
	m.b.Lineages[l.ID] = &Lineage{Histories: map[wal.Timeline]History{}}
	m.ends[l.ID] = l.Start.LSN
	m.end = max(m.end, at)
	m.ship(l, m.end)
	if rapid.Bool().Draw(m.t, "snapshot at once") {
		m.snapshot()
	}
}

// ship stores the lineage's WAL up to a position, cut anywhere, some of it twice.
func (m *model) ship(l topology.Lineage, to wal.LSN) {
	in := m.b.Lineages[l.ID]
	for at := m.ends[l.ID]; at < to; {
		next := min(to, at+wal.LSN(rapid.IntRange(1, 24).Draw(m.t, "segment"))*mb)
		in.Segments = append(in.Segments, segmentOf(l, at, next, to))
		if next-at > mb && rapid.IntRange(0, 4).Draw(m.t, "twice") == 0 {
			in.Segments = append(in.Segments, segmentOf(l, at, at+mb, to))
		}
		at = next
	}
	m.ends[l.ID] = max(m.ends[l.ID], to)
}

func segmentOf(l topology.Lineage, from, to, stored wal.LSN) Segment {
	return Segment{Object: Object{Key: fmt.Sprintf("wal/%s/%s-%s", l.ID, from, to), Size: int64(to - from), Modified: momentOf(stored)},
		Timeline: l.Start.Timeline, Range: wal.Range{Start: from, End: to}}
}

func (m *model) current() topology.Lineage { return *m.ws().CurrentLineage() }

func (m *model) write() {
	m.end += wal.LSN(rapid.IntRange(1, 300).Draw(m.t, "written")) * mb
	m.ship(m.current(), m.end)
	if rapid.IntRange(0, 2).Draw(m.t, "take") > 0 {
		m.snapshot()
	}
}

// snapshot shares most chunks with the one before, and stores some of the others as deltas.
func (m *model) snapshot() {
	l := m.current()
	start := max(l.Start.LSN, m.end-2*mb)
	m.end += mb
	m.ship(l, m.end)
	at := momentOf(m.end)
	s := Snapshot{ID: snapshot.NewID(at), Manifest: &snapshot.Manifest{Lineage: l.ID, SegmentSize: fileSize,
		Start: wal.Position{Timeline: l.Start.Timeline, LSN: start}, End: wal.Position{Timeline: l.Start.Timeline, LSN: m.end}, CompletedAt: at}}
	s.Object = Object{Key: "snapshots/" + s.ID, Size: 100, Modified: at}
	p := Pack{ID: fmt.Sprintf("%032x", len(m.b.Packs)+1), Index: Object{Modified: at}, Body: Object{Modified: at}}
	p.Index.Key, p.Body.Key = "packs/"+p.ID+".idx", "packs/"+p.ID+".pack"
	for n := range 8 {
		if n < len(m.live) && rapid.IntRange(0, 3).Draw(m.t, "changed") > 0 {
			continue
		}
		e := Entry{Chunk: m.chunk, Base: NoChunk, Size: smallPack}
		m.chunk++
		switch {
		case n >= len(m.live):
			m.live = append(m.live, e.Chunk)
		case m.isWhole(m.live[n]) && rapid.Bool().Draw(m.t, "delta"):
			e.Base, m.live[n] = m.live[n], e.Chunk
		default:
			m.live[n] = e.Chunk
		}
		p.Entries, p.Body.Size = append(p.Entries, e), p.Body.Size+e.Size
	}
	for _, c := range m.live {
		s.Chunks.Add(c)
	}
	if len(p.Entries) > 0 {
		m.b.Packs = append(m.b.Packs, p)
	}
	m.b.Snapshots = append(m.b.Snapshots, s)
}

func (m *model) isWhole(c Chunk) bool {
	for _, p := range m.b.Packs {
		for _, e := range p.Entries {
			if e.Chunk == c {
				return e.Base == NoChunk
			}
		}
	}
	return false
}

// failover leaves the lineage somewhere; what lies behind is its tail.
func (m *model) failover() {
	l := m.current()
	if m.end <= l.Start.LSN+mb {
		m.write()
	}
	fork := m.end - min(wal.LSN(rapid.IntRange(0, 20).Draw(m.t, "lost"))*mb, m.end-l.Start.LSN-mb)
	if rapid.Bool().Draw(m.t, "managed") {
		name := topology.SystemManagedName("app", momentOf(m.end))
		sm := topology.SystemManaged{Name: name, Workspace: "orders", Database: "app", Lineage: l.ID,
			Fork: wal.Position{Timeline: l.Start.Timeline, LSN: fork}, Since: momentOf(m.end)}
		m.lookBack(&sm)
		m.g.SystemManaged = append(m.g.SystemManaged, sm)
	}
	m.lineage(&topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: l.Start.Timeline, LSN: fork}}, fork)
}

// lookBack lets somebody have found out, or not, how far back WAL is needed before a fork.
func (m *model) lookBack(sm *topology.SystemManaged) {
	if rapid.Bool().Draw(m.t, "looked") {
		sm.Needs = wal.LSN(rapid.IntRange(16, int(sm.Fork.LSN/mb)).Draw(m.t, "needs")) * mb
		sm.Back = map[string]bool{rapid.SampledFrom([]string{"east", "west"}).Draw(m.t, "in"): rapid.IntRange(0, 4).Draw(m.t, "there") > 0}
	}
}

// hole begins anew without a parent.
func (m *model) hole() { m.lineage(nil, m.end+20*mb) }

// branch makes one at a random point, or of another branch, written or not.
func (m *model) branch() {
	b := topology.Branch{Name: fmt.Sprintf("b%d", len(m.g.Branches)), Workspace: "orders", Region: "east"}
	if n := len(m.g.Branches); n > 0 && rapid.Bool().Draw(m.t, "of a branch") {
		of := m.g.Branches[rapid.IntRange(0, n-1).Draw(m.t, "which")]
		b.Line = slices.Clone(of.Line)
		b.Base = of.Base
		if lineage, _ := of.Tip(); of.Written() {
			b.Base = topology.Fork{Lineage: lineage, At: wal.Position{Timeline: of.Line[len(of.Line)-1].Start.Timeline, LSN: m.ends[lineage]}}
		}
	} else {
		l := rapid.SampledFrom(m.ws().Lineages).Draw(m.t, "lineage")
		from, to := m.restorable(l.ID)
		if from >= to {
			return
		}
		at := from + wal.LSN(rapid.IntRange(0, int((to-from)/mb)).Draw(m.t, "at"))*mb
		b.Base = topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: l.Start.Timeline, LSN: at}}
	}
	if rapid.Bool().Draw(m.t, "written") {
		m.attach(&b)
	}
	m.g.Branches = append(m.g.Branches, b)
}

func (m *model) attach(b *topology.Branch) {
	l := topology.Lineage{ID: fmt.Sprintf("%04d-%08x", 1, 0xb0000000+len(m.ends)), SegmentSize: fileSize, Parent: &b.Base, CreatedAt: momentOf(m.end),
		Start: wal.Position{Timeline: b.Base.At.Timeline + 100, LSN: fileSize.Start(b.Base.At.LSN)}}
	fork := b.Base
	l.Parent = &fork
	m.b.Lineages[l.ID] = &Lineage{Histories: map[wal.Timeline]History{}}
	m.ends[l.ID] = l.Start.LSN
	m.ship(l, b.Base.At.LSN+4*mb)
	b.Line, b.Own = append(b.Line, l), 1
}

// restorable is where the points of a lineage begin and end, from its first snapshot on.
func (m *model) restorable(lineage string) (from, to wal.LSN) {
	for _, s := range m.b.Snapshots {
		if s.Manifest != nil && s.Manifest.Lineage == lineage {
			return max(s.Manifest.End.LSN, m.ws().Floor("east", lineage)), m.ends[lineage]
		}
	}
	return 0, 0
}

// damage spoils a manifest, or an index.
func (m *model) damage() {
	if len(m.b.Snapshots) > 2 && rapid.Bool().Draw(m.t, "manifest") {
		s := &m.b.Snapshots[rapid.IntRange(0, len(m.b.Snapshots)-1).Draw(m.t, "damaged")]
		s.Manifest, s.Err, s.Chunks = nil, errDamaged, nil
	}
}

// apply is what a round leaves, with its packs as if it went on until nothing is left to do.
func (m *model) apply(window, grace time.Duration) (after *Bucket, marks Marks) {
	h := Horizon{Now: momentOf(m.end), Window: window}
	m.ws().Floors = map[string]topology.Floors{"east": Floors(&m.g, "orders", "east", m.b, h)}
	marks = Mark(&m.g, "orders", "east", m.b, nil)
	after = &Bucket{Lineages: map[string]*Lineage{}}
	gone := func(o Object) bool { return !marks.Keys[o.Key] && !o.Modified.After(h.Now.Add(-grace)) }
	for _, s := range m.b.Snapshots {
		if !gone(s.Object) {
			after.Snapshots = append(after.Snapshots, s)
		}
	}
	for id, l := range m.b.Lineages {
		left := &Lineage{Histories: maps.Clone(l.Histories)}
		for _, s := range l.Segments {
			if !gone(s.Object) {
				left.Segments = append(left.Segments, s)
			}
		}
		after.Lineages[id] = left
	}
	after.Packs = m.b.Packs
	m.condemn(after, marks, h.Now, grace)
	return after, marks
}

// condemn plays rounds until the list is empty.
func (m *model) condemn(b *Bucket, marks Marks, now time.Time, grace time.Duration) {
	list := snapshot.Condemned{Packs: map[string]snapshot.Condemnation{}}
	for n := 0; ; n++ {
		v := Condemn(b, marks, list, Rest{Now: now, Grace: grace})
		b.Packs = slices.DeleteFunc(slices.Clone(b.Packs), func(p Pack) bool {
			return slices.ContainsFunc(v.Going, func(g Pack) bool { return g.ID == p.ID })
		})
		for _, r := range v.Repack {
			b.Packs = append(b.Packs, anew(b, r, n))
		}
		if list = v.List; len(list.Packs) == 0 && len(v.Repack) == 0 {
			return
		}
		if n > 20 {
			m.t.Fatal("packs are condemned and written anew without end")
		}
		now = now.Add(grace + time.Minute)
	}
}

func anew(b *Bucket, r Repack, n int) Pack {
	i := slices.IndexFunc(b.Packs, func(p Pack) bool { return p.ID == r.ID })
	old := b.Packs[i]
	p := Pack{ID: fmt.Sprintf("%s%02x", old.ID[:30], 128+n), Index: old.Index, Body: old.Body}
	p.Body.Size = 0
	for k, e := range old.Entries {
		if r.Keep[k] {
			p.Entries, p.Body.Size = append(p.Entries, e), p.Body.Size+e.Size
		}
	}
	return p
}
