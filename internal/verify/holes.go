package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// announced is how far the WAL of a lineage was said to be in this bucket.
type announced struct {
	at wal.LSN
	by string // key of what says so
}

// readAnnounced reads how far every lineage was said to be. It comes before the bucket is listed, so that the list has all of it.
func (w *walk) readAnnounced(ctx context.Context) (map[string]announced, error) {
	all := map[string]announced{}
	note := func(workspace, lineage string, at wal.LSN, by string) {
		if key := workspace + "/" + lineage; at > all[key].at {
			all[key] = announced{at, by}
		}
	}
	for _, ws := range w.Group.Workspaces {
		var p topology.WALProgress
		if key := w.prefix() + "workspaces/" + ws.Name + "/progress/wal.json"; w.peek(ctx, key, &p) {
			note(ws.Name, p.Lineage, p.Cursor(w.Region).Point.At.LSN, key)
		}
		for _, l := range ws.Lineages {
			var t topology.Tail
			key := w.prefix() + "workspaces/" + ws.Name + "/tails/" + l.ID + ".json"
			if w.left(ws.Name, l.ID) && w.peek(ctx, key, &t) && t.Region == w.Region {
				note(ws.Name, l.ID, t.At.LSN, key)
			}
		}
	}
	for _, b := range w.Group.Branches {
		var p topology.BranchProgress
		if b.Attached == nil || b.Region != w.Region {
			continue
		}
		if key := w.prefix() + "branches/" + b.Name + "/" + b.Attached.ID + ".json"; w.peek(ctx, key, &p) {
			note(b.Workspace, p.Lineage, p.Cursor(w.Region).Point.At.LSN, key)
		}
	}
	return all, ctx.Err()
}

// left reports whether a lineage was left for a newer one.
func (w *walk) left(workspace, lineage string) bool {
	_, ok := w.Group.FindLeft(workspace, lineage)
	return ok
}

// peek reads a document if it is there and can be read; what is wrong with it is found elsewhere.
func (w *walk) peek(ctx context.Context, key string, into any) bool {
	b, _, err := w.Stores[w.Region].Get(ctx, key)
	return err == nil && json.Unmarshal(b, into) == nil
}

// holes finds the WAL that ought to be there and is not.
func (ws *workspace) holes() {
	for _, known := range ws.knownLineages() {
		l, floor := ws.known(known), ws.Floor(ws.Region, known.ID)
		if floor == topology.Gone {
			ws.lacksBackward(l, floor)
			continue
		}
		ws.lacksHistory(l)
		from, ok := ws.needed(l, floor)
		if !ok {
			continue
		}
		ws.lacksBackward(l, from)
		ws.lacksWAL(l, from)
	}
}

// knownLineages are those of the workspace and of its branches in this region.
func (ws *workspace) knownLineages() []topology.Lineage {
	all := slices.Clone(ws.Lineages)
	for _, b := range ws.Group.Branches {
		if b.Workspace == ws.Name && b.Region == ws.Region {
			all = append(all, b.OwnLine()...)
		}
	}
	return all
}

// lacksHistory finds timelines of which there is WAL and no history file, without which nothing of the lineage can be used.
func (ws *workspace) lacksHistory(l *lineage) {
	first := map[wal.Timeline]wal.LSN{}
	for _, s := range l.listed.Segments {
		if at, ok := first[s.Timeline]; !ok || s.Range.Start < at {
			first[s.Timeline] = s.Range.Start
		}
	}
	for _, t := range slices.Sorted(maps.Keys(first)) {
		if _, ok := l.listed.Histories[t]; ok || t <= 1 || l.End != nil && t > l.End.At.Timeline {
			continue
		}
		key := ws.prefix() + "wal/" + l.ID + "/" + wal.HistoryFileName(t)
		ws.put(key, l.historyOf(t, first))
		if !ws.unread[key] {
			ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Workspace: ws.Name, Key: key,
				What: fmt.Sprintf("There is WAL of timeline %d, and its history file is not there.", t)}, hides: []string{key}})
		}
	}
}

// historyOf is what a timeline's history file must have said about the lineage, by where its timelines begin.
func (l *lineage) historyOf(t wal.Timeline, first map[wal.Timeline]wal.LSN) []byte {
	var h wal.History
	if p := l.Parent; p != nil {
		h = append(h, wal.Switch{Timeline: p.At.Timeline, LSN: p.At.LSN})
	}
	before := l.Start.Timeline
	for _, n := range slices.Sorted(maps.Keys(first)) {
		if n > l.Start.Timeline && n <= t {
			h = append(h, wal.Switch{Timeline: before, LSN: first[n]})
			before = n
		}
	}
	return h.Format()
}

// put notes what a missing object would be. nil: nobody knows its content.
func (ws *workspace) put(key string, body []byte) {
	ws.beside[key] = object{objectstore.Info{Key: key, Size: int64(max(len(body), 1))}, body}
}

// needed returns from where on a lineage's WAL has to be there: all of it, or from the last snapshot before its floor.
func (ws *workspace) needed(l *lineage, floor wal.LSN) (wal.LSN, bool) {
	if floor == 0 {
		return l.Start.LSN, true
	}
	var base *retention.Snapshot
	unknown := false
	for i := range ws.bucket.Snapshots {
		s := &ws.bucket.Snapshots[i]
		unknown = unknown || s.Manifest == nil
		if s.Manifest != nil && s.Manifest.Lineage == l.ID && s.Manifest.End.LSN <= floor && (base == nil || s.Manifest.End.LSN > base.Manifest.End.LSN) {
			base = s
		}
	}
	if base != nil {
		return base.Manifest.SegmentSize.Start(base.Manifest.Start.LSN), true
	}
	if !unknown && !ws.lacksBase(l, floor) {
		key := ws.prefix() + "snapshots/"
		ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Severity: topology.SeverityLost, Workspace: ws.Name, Key: key,
			What:        fmt.Sprintf("The snapshot is not there that ended at %s of lineage %s, with which what this region keeps begins.", floor, l.ID),
			Consequence: []string{fmt.Sprintf("Of lineage %s nothing can be restored before its next snapshot.", l.ID)}}})
	}
	return 0, false
}

// lacksBase reports whether the other bucket has the snapshot that a lineage's floor stands on: then it is found missing by name.
func (ws *workspace) lacksBase(*lineage, wal.LSN) bool { return ws.other != nil }

// lacksWAL finds the holes of a lineage from a position on, and what lacks at its end. Behind an end that is fixed nobody lacks anything.
func (ws *workspace) lacksWAL(l *lineage, from wal.LSN) {
	all := slices.Clone(l.entries)
	for _, s := range l.listed.Segments { // what is damaged is no hole
		if ws.unread[s.Key] {
			all = append(all, archive.Entry{Timeline: s.Timeline, Range: s.Range, Size: s.Size, Key: s.Key})
		}
	}
	line := l.line()
	to, why := ws.reaches(l)
	for {
		c := archive.Path(all, line, from)
		switch {
		case c.Beyond != 0 && (l.End == nil || c.Beyond < to):
			ws.hole(l, c.End, c.Beyond, fmt.Sprintf("what follows begins at %s", c.Beyond))
			from = c.Beyond
			continue
		case c.End.LSN < to:
			ws.hole(l, c.End, to, why)
		}
		return
	}
}

func (l *lineage) line() archive.Line {
	parsed := map[wal.Timeline]wal.History{}
	for t, h := range l.listed.Histories {
		if l.End == nil || t <= l.End.At.Timeline {
			parsed[t] = h.Parsed
		}
	}
	return archive.NewestLine(l.Start.Timeline, parsed)
}

// reaches is how far a lineage's WAL must go, and who says so.
func (ws *workspace) reaches(l *lineage) (to wal.LSN, why string) {
	if l.End != nil {
		return l.End.At.LSN, "it was there when what was written behind it was given up"
	}
	if a := ws.announced[ws.Name+"/"+l.ID]; a.at > to {
		to, why = a.at, fmt.Sprintf("%s says that the bucket holds all up to %s", a.by, a.at)
	}
	for _, child := range ws.knownLineages() {
		if p := child.Parent; p != nil && p.Lineage == l.ID && p.At.LSN > to {
			to, why = p.At.LSN, fmt.Sprintf("lineage %s goes on from there at %s", child.ID, p.At.LSN)
		}
	}
	line := l.line()
	for _, s := range ws.bucket.Snapshots {
		if m := s.Manifest; m != nil && m.Lineage == l.ID && m.End.LSN > to && line.At(m.End.LSN-1) == m.End.Timeline {
			to, why = m.End.LSN, fmt.Sprintf("snapshot %s needs it up to %s", s.ID, m.End.LSN)
		}
	}
	return to, why
}

// hole notes WAL that is missing.
func (ws *workspace) hole(l *lineage, from wal.Position, to wal.LSN, why string) {
	key := l.archive.Key(from.Timeline, wal.Range{Start: from.LSN, End: to})
	ws.put(key, nil)
	ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Workspace: ws.Name, Key: key, Repair: ws.repairHole(l, from, to),
		What: fmt.Sprintf("The WAL from %s to %s of lineage %s is in no object of the bucket; %s.", from.LSN, to, l.ID, why)}, hides: []string{key}})
}

// repairHole says where the missing WAL is.
func (ws *workspace) repairHole(l *lineage, from wal.Position, to wal.LSN) string {
	if ws.other == nil {
		return ""
	}
	var there []archive.Entry
	for _, info := range ws.other.prefixed(ws.prefix() + "wal/" + l.ID + "/") {
		if e, ok := l.archive.Parse(info); ok && e.Timeline == from.Timeline {
			there = append(there, e)
		}
	}
	c := archive.Path(there, archive.Line{Timeline: from.Timeline}, from.LSN)
	if c.End.LSN < to {
		return ""
	}
	var keys []string
	for _, s := range c.Steps {
		if s.Use.Start < to {
			keys = append(keys, s.Entry.Key)
		}
	}
	return fmt.Sprintf("Copy it from the bucket of %s: %s.", ws.elsewhere, few(keys))
}

// contents checks the inventory's content against its document.
func (ws *workspace) contents(ctx context.Context) error {
	key, err := catalog.CheckInventory(ctx, ws.here, ws.Group.Name, ws.Name)
	if !fault.Is(err, fault.Corrupt) {
		return err
	}
	kind := topology.FindingAltered
	if _, there := ws.here.find(key); !there {
		kind = topology.FindingMissing
	}
	ws.add(finding{Finding: topology.Finding{Kind: kind, Severity: topology.SeverityDamaged, Workspace: ws.Name, Key: key, What: sentence(err.Error()),
		Consequence: []string{"Nothing is lost for a restore; a failover cannot tell whether roles and grants are as they were."}, Repair: writtenAnew}})
	return nil
}
