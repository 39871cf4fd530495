package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// snapshots finds manifests that cannot be read, and those that ought to be there.
func (ws *workspace) snapshots(ctx context.Context) error {
	var p topology.SnapshotProgress
	ws.taking = ws.peek(ctx, ws.prefix()+"progress/snapshot.json", &p) && p.DoneBytes < p.TotalBytes && ws.Now().Sub(p.MeasuredAt) < takingSilence
	for i := range ws.bucket.Snapshots {
		s := &ws.bucket.Snapshots[i]
		if s.Err == nil {
			continue
		}
		ws.unread[s.Key] = true
		if err := ws.borrow(ctx, s.ID, ""); err != nil {
			return err
		}
		ws.add(finding{Finding: topology.Finding{Kind: topology.FindingAltered, Workspace: ws.Name, Key: s.Key,
			What: fmt.Sprintf("The manifest of snapshot %s cannot be read: %v.", s.ID, s.Err)}, hides: []string{s.Key}})
	}
	return ws.lacksSnapshots(ctx, p)
}

// lacksSnapshots finds snapshots that the other bucket has, or that were announced.
func (ws *workspace) lacksSnapshots(ctx context.Context, p topology.SnapshotProgress) error {
	if ws.other == nil {
		return ws.lacksAnnounced(ctx, p)
	}
	for _, info := range ws.other.prefixed(ws.prefix() + "snapshots/") {
		id, _, _ := strings.Cut(strings.TrimPrefix(info.Key, ws.prefix()+"snapshots/"), "/")
		if _, here := ws.here.find(info.Key); here || info.Key != snapshot.ManifestKey(ws.Group.Name, ws.Name, id) {
			continue
		}
		m, err := snapshot.Load(ctx, ws.other, ws.Group.Name, ws.Name, id)
		if err != nil || !ws.ought(m, info, p) {
			continue
		}
		if err := ws.borrow(ctx, id, m.Lineage); err != nil {
			return err
		}
		ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Workspace: ws.Name, Key: info.Key,
			What: fmt.Sprintf("The manifest of snapshot %s is not there, and the bucket of %s has it.", id, ws.elsewhere)}, hides: []string{info.Key}})
	}
	return ws.lacksAnnounced(ctx, p)
}

// lacksAnnounced finds out that a lineage has no snapshot in this bucket although it was announced to have one, and that the other bucket does not tell more.
func (ws *workspace) lacksAnnounced(ctx context.Context, p topology.SnapshotProgress) error {
	key := snapshot.ManifestKey(ws.Group.Name, ws.Name, p.ID)
	_, known := ws.beside[key]
	if known || p.DoneBytes < p.TotalBytes || !slices.Contains(p.Complete, ws.Region) || ws.Floor(ws.Region, p.Lineage) == topology.Gone ||
		!p.MeasuredAt.Before(ws.Now().Add(-ws.Grace)) {
		return nil
	}
	for _, s := range ws.bucket.Snapshots {
		if s.Manifest == nil || s.Manifest.Lineage == p.Lineage {
			return nil
		}
	}
	ws.add(finding{Finding: topology.Finding{Kind: topology.FindingMissing, Workspace: ws.Name, Key: key,
		What: fmt.Sprintf("Snapshot %s of lineage %s was announced to be complete, and no manifest of that lineage is there.", p.ID, p.Lineage)}, hides: []string{key}})
	return ws.borrow(ctx, p.ID, p.Lineage)
}

// ought reports whether a snapshot of the other bucket ought to be in this one: what this region keeps reaches back to it, and there was time to store it.
func (ws *workspace) ought(m *snapshot.Manifest, info objectstore.Info, p topology.SnapshotProgress) bool {
	floor := ws.Floor(ws.Region, m.Lineage)
	if floor == topology.Gone || m.End.LSN < floor || !ws.old(info) && p.ID != m.ID {
		return false
	}
	return ws.old(info) || p.DoneBytes >= p.TotalBytes && slices.Contains(p.Complete, ws.Region)
}

// borrow takes what the other bucket says of a snapshot that is missing or damaged here. When that does not know it either, its id tells when it was taken,
// and so about where it led to.
func (ws *workspace) borrow(ctx context.Context, id, lineage string) error {
	key := snapshot.ManifestKey(ws.Group.Name, ws.Name, id)
	if ws.other != nil {
		if m, err := snapshot.Load(ctx, ws.other, ws.Group.Name, ws.Name, id); err == nil && m.ID == id {
			b, _, err := ws.other.Get(ctx, key)
			if err == nil {
				ws.put(key, b)
				return nil
			}
		}
	}
	m := ws.guess(id, lineage)
	if m == nil {
		return nil
	}
	var made view
	err := snapshot.Publish(ctx, &made, m)
	ws.put(key, made.beside[key].body)
	return err
}

// guess says what a snapshot must about have been: one that ended with the first commit after its time.
func (ws *workspace) guess(id, lineage string) *snapshot.Manifest {
	taken, ok := snapshot.TakenAt(id)
	if !ok {
		return nil
	}
	var best *lineageCommit
	for _, l := range ws.lineages {
		for _, h := range l.heads {
			if h.commit.LSN <= l.Start.LSN || h.commit.Time.Before(taken) || lineage != "" && l.ID != lineage || best != nil && !h.commit.Time.Before(best.at) {
				continue
			}
			best = &lineageCommit{l, wal.Position{Timeline: h.timeline, LSN: h.commit.LSN}, h.commit.Time}
		}
	}
	if best == nil {
		return nil
	}
	return &snapshot.Manifest{Format: snapshot.Format, ID: id, Group: ws.Group.Name, Workspace: ws.Name, Lineage: best.in.ID, Start: best.end, End: best.end,
		SystemID: best.in.SystemID, SegmentSize: best.in.SegmentSize, StartedAt: taken, CompletedAt: best.at}
}

// lineageCommit is a commit of a lineage.
type lineageCommit struct {
	in  *lineage
	end wal.Position
	at  time.Time
}
