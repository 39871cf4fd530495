package retention

import (
	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Claim is what somebody else than the group's document needs: an operation that can be resumed, a standby that is behind.
type Claim struct {
	Snapshot string // id; may be empty
	Legs     []Leg
}

// Leg is a stretch of a lineage that a Claim needs.
type Leg struct {
	Lineage topology.Lineage
	From    wal.LSN
	To      wal.LSN // 0: to the end
}

// Marks are what is needed of a Bucket.
type Marks struct {
	Keys    map[string]bool // of manifests, segments and history files, and of what tells of missing rows
	Chunks  Set             // of the snapshots that stay
	Unknown []string        // snapshots that stay and whose chunks are not known: no pack can be told to be needless
	Lacking bool            // chunks of a snapshot that stays are in no pack that can be read: one that cannot be may have them
	First   *Snapshot       // that the window of what serves begins with; nil when none does
}

// marker marks what one workspace needs.
type marker struct {
	g         *topology.Group
	workspace string
	region    string
	b         *Bucket
	m         Marks
	oldest    string // id of the oldest snapshot that was asked for
}

// Mark says what is needed of a bucket by the group's document, as it is after the floors were raised, and by claims.
func Mark(g *topology.Group, workspace, region string, b *Bucket, claims []Claim) Marks {
	k := &marker{g: g, workspace: workspace, region: region, b: b, m: Marks{Keys: map[string]bool{}}}
	w := g.Workspace(workspace)
	for _, l := range w.Lineages {
		if f := w.Floor(region, l.ID); f != topology.Gone {
			k.own(l, f)
		}
	}
	for i := range g.Branches {
		if br := &g.Branches[i]; br.Workspace == workspace && br.Region == region {
			k.branch(br)
		}
	}
	for _, sm := range g.SystemManaged {
		if sm.Workspace == workspace {
			k.continuation(sm)
			k.back(sm)
		}
	}
	for _, c := range claims {
		k.claim(c)
	}
	k.missing()
	k.damaged()
	k.chunks()
	k.m.First = k.first(w, region)
	return k.m
}

// own keeps every point of a lineage from its floor on.
func (k *marker) own(l topology.Lineage, floor wal.LSN) {
	on := wayTo(k.g, k.workspace, l.ID, wal.Position{})
	to := on
	switch {
	case floor != 0:
		to = wayTo(k.g, k.workspace, l.ID, wal.Position{LSN: floor})
	case len(on) > 1:
		to = on[:len(on)-1]
	default: // all of it
		k.snapshotsOf(l.ID, 0)
		k.wal(on[0], 0)
		k.left(on[0], 0)
		return
	}
	i, s := k.b.base(to, nil)
	k.along(on, i, s)
	from := wal.LSN(0)
	if s != nil && s.Manifest.Lineage == l.ID {
		from = s.Manifest.End.LSN
	}
	k.snapshotsOf(l.ID, from)
	k.left(on[len(on)-1], from)
}

// left keeps, from a position on, the WAL of timelines that a lineage's server has left for newer ones: what was acknowledged there is history
// like the rest.
func (k *marker) left(on stretch, from wal.LSN) {
	l := k.b.Lineages[on.lineage.ID]
	if l == nil {
		return
	}
	for _, h := range l.Histories {
		for _, s := range h.Parsed {
			if on.upTo = s.Timeline; on.upTo >= on.lineage.Start.Timeline && s.LSN > from {
				k.wal(on, from)
			}
		}
	}
}

// branch keeps what a branch comes from and what was written to it.
func (k *marker) branch(br *topology.Branch) {
	k.point(br.Base.Lineage, br.Base.At)
	if br.Written() {
		k.point(br.Tip())
	}
	if a := br.Attached; a != nil && a.Lineage != "" { // its first segments may come before anything else is known of it
		k.wal(stretch{lineage: topology.Lineage{ID: a.Lineage}}, 0)
	}
}

// continuation keeps what the detached continuation of a database comes from, to its very end.
func (k *marker) continuation(sm topology.SystemManaged) {
	k.point(sm.Lineage, sm.Fork)
	on := wayTo(k.g, k.workspace, sm.Lineage, wal.Position{})
	i, s := k.b.base(wayTo(k.g, k.workspace, sm.Lineage, wal.Position{LSN: sm.Fork.LSN}), nil)
	k.along(on, i, s)
}

// point keeps what leads to a point, the newest snapshot before it and the WAL from there.
func (k *marker) point(lineage string, at wal.Position) {
	on := wayTo(k.g, k.workspace, lineage, at)
	i, s := k.b.base(on, nil)
	k.along(on, i, s)
}

// along keeps a snapshot and the WAL behind it. Without one everything along the way stays: somebody may still find out how to use it.
func (k *marker) along(on way, i int, s *Snapshot) {
	if s == nil {
		for _, part := range on {
			k.snapshotsOf(part.lineage.ID, 0)
			k.wal(part, 0)
		}
		return
	}
	k.keepSnapshot(s)
	for n := i; n < len(on); n++ {
		from := on[n].lineage.Start.LSN
		if n == i {
			from = start(s)
		}
		k.wal(on[n], from)
	}
}

// wal keeps the WAL of a stretch from a position on: the objects that a reader would take, and what comes behind a hole, which may be filled.
func (k *marker) wal(on stretch, from wal.LSN) {
	l := k.b.Lineages[on.lineage.ID]
	if l == nil {
		return
	}
	for t, h := range l.Histories {
		if on.upTo == 0 || t <= on.upTo {
			k.m.Keys[h.Key] = true
		}
	}
	entries, chain := k.b.path(on, max(from, on.lineage.Start.LSN))
	for _, step := range chain.Steps {
		if on.to == 0 || step.Use.Start < on.to {
			k.m.Keys[step.Entry.Key] = true
		}
	}
	if on.to == 0 || chain.End.LSN < on.to {
		k.behind(entries, chain, on.to)
	}
}

// behind keeps what lies behind the end of a chain and before to.
func (k *marker) behind(entries []archive.Entry, chain archive.Chain, to wal.LSN) {
	for _, e := range entries {
		if e.Range.End > chain.End.LSN && (to == 0 || e.Range.Start < to) {
			k.m.Keys[e.Key] = true
		}
	}
}

// snapshotsOf keeps the snapshots of a lineage from a position on, whole or not.
func (k *marker) snapshotsOf(lineage string, from wal.LSN) {
	for i := range k.b.Snapshots {
		if s := &k.b.Snapshots[i]; s.Manifest != nil && s.Manifest.Lineage == lineage && s.Manifest.End.LSN >= from {
			k.keepSnapshot(s)
		}
	}
}

func (k *marker) keepSnapshot(s *Snapshot) {
	k.m.Keys[s.Key] = true
	if k.oldest == "" || s.ID < k.oldest {
		k.oldest = s.ID
	}
}

func (k *marker) claim(c Claim) {
	for i := range k.b.Snapshots {
		if k.b.Snapshots[i].ID == c.Snapshot {
			k.keepSnapshot(&k.b.Snapshots[i])
		}
	}
	for _, leg := range c.Legs {
		k.wal(stretch{lineage: leg.Lineage, to: leg.To}, leg.From)
	}
}

// damaged keeps manifests that cannot be read while something as old is needed: nobody knows what they lead to.
func (k *marker) damaged() {
	for i := range k.b.Snapshots {
		if s := &k.b.Snapshots[i]; s.Manifest == nil && s.ID >= k.oldest {
			k.m.Keys[s.Key] = true
		}
	}
}

// chunks adds up what the snapshots that stay are made of.
func (k *marker) chunks() {
	for i := range k.b.Snapshots {
		s := &k.b.Snapshots[i]
		switch {
		case !k.m.Keys[s.Key]:
		case s.Err != nil:
			k.m.Unknown = append(k.m.Unknown, s.ID)
		default:
			k.m.Chunks.AddAll(s.Chunks)
			k.m.Lacking = k.m.Lacking || s.Lacking > 0
		}
	}
}

// first returns the snapshot that the window of what serves begins with.
func (k *marker) first(w *topology.Workspace, region string) (first *Snapshot) {
	on, at := wayTo(k.g, k.workspace, w.Lineage, wal.Position{}), 0
	for n := range k.b.Snapshots {
		s := &k.b.Snapshots[n]
		i, leads := on.holds(s)
		if !leads || !k.m.Keys[s.Key] || s.Manifest.End.LSN < w.Floor(region, s.Manifest.Lineage) {
			continue
		}
		if first == nil || i < at || i == at && s.Manifest.End.LSN < first.Manifest.End.LSN {
			at, first = i, s
		}
	}
	return first
}
