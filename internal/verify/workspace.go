package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// workspace is what a walk finds of one workspace.
type workspace struct {
	*walk
	topology.Workspace
	lineages map[string]*lineage
	bucket   *retention.Bucket
	unread   map[string]bool   // keys that cannot be used
	beside   map[string]object // what is missing, as it would be
	taking   bool              // a snapshot is being taken
}

// lineage is the WAL of one lineage.
type lineage struct {
	topology.Lineage
	archive *archive.Archive
	entries []archive.Entry // that can be used
	heads   map[string]head // by key
	listed  *retention.Lineage
}

// head is what a segment's header says.
type head struct {
	start, end wal.LSN
	before     archive.Sum // of the path before start
	digest     archive.Sum
	recordEnd  wal.LSN
	commit     archive.Commit
	timeline   wal.Timeline
}

func newWorkspace(w *walk, ws topology.Workspace) *workspace {
	return &workspace{walk: w, Workspace: ws, lineages: map[string]*lineage{}, unread: map[string]bool{}, beside: map[string]object{}}
}

func (ws *workspace) prefix() string { return snapshot.Prefix(ws.Group.Name, ws.Name) }

func (ws *workspace) run(ctx context.Context) (err error) {
	if err := ws.contents(ctx); err != nil {
		return err
	}
	if err := ws.histories(ctx); err != nil {
		return err
	}
	if ws.bucket, err = retention.Read(ctx, ws.here.without(ws.unread), ws.Group.Name, ws.Name); err != nil {
		return err
	}
	ws.sort()
	if err := ws.headers(ctx); err != nil {
		return err
	}
	ws.chains()
	ws.holes()
	if err := ws.snapshots(ctx); err != nil {
		return err
	}
	if err := ws.packs(ctx); err != nil {
		return err
	}
	ws.leftovers()
	return ws.missing(ctx)
}

// sort puts the WAL of known lineages in order, and names that of unknown ones.
func (ws *workspace) sort() {
	for id, l := range ws.bucket.Lineages {
		known := ws.Group.FindLineage(ws.Name, id)
		if known == nil {
			ws.stray(id, l)
			continue
		}
		a := archive.Open(ws.here, ws.Group.Name, ws.Name, id)
		own := &lineage{Lineage: *known, archive: a, heads: map[string]head{}, listed: l}
		for _, s := range l.Segments {
			own.entries = append(own.entries, archive.Entry{Timeline: s.Timeline, Range: s.Range, Size: s.Size, Key: s.Key})
		}
		ws.lineages[id] = own
	}
}

// stray names WAL that no document of the group knows of.
func (ws *workspace) stray(id string, l *retention.Lineage) {
	if ws.attaching(id) {
		return
	}
	bytes, newest := int64(0), time.Time{}
	for _, s := range l.Segments {
		bytes += s.Size
		if s.Modified.After(newest) {
			newest = s.Modified
		}
	}
	for _, h := range l.Histories {
		if h.Modified.After(newest) {
			newest = h.Modified
		}
	}
	if !ws.old(objectstore.Info{Modified: newest}) {
		return
	}
	ws.add(finding{Finding: topology.Finding{Kind: topology.FindingOrphaned, Severity: topology.SeverityNote, Workspace: ws.Name, Key: ws.prefix() + "wal/" + id + "/",
		What:        fmt.Sprintf("There are %d segments, %d bytes, of a lineage that the group does not know.", len(l.Segments), bytes),
		Consequence: []string{nothingLost}, Repair: "The next round of retention removes it."}})
}

// attaching reports whether a branch is being attached that is about to write a lineage.
func (ws *workspace) attaching(id string) bool {
	return slices.ContainsFunc(ws.Group.Branches, func(b topology.Branch) bool { return b.Attached != nil && b.Attached.Lineage == id })
}

// headers reads the header of every segment.
func (ws *workspace) headers(ctx context.Context) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * atOnce)
	for _, id := range slices.Sorted(maps.Keys(ws.lineages)) {
		l := ws.lineages[id]
		for _, e := range l.entries {
			g.Go(func() error {
				h, wrong, err := ws.header(ctx, l, e)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if wrong != nil {
					ws.unread[e.Key] = true
					ws.add(*wrong)
					return nil
				}
				l.heads[e.Key] = h
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, l := range ws.lineages {
		l.entries = slices.DeleteFunc(l.entries, func(e archive.Entry) bool { return ws.unread[e.Key] })
	}
	return nil
}

// headBytes is how much of a segment is read for its header.
const headBytes = 4 << 10

// header reads one; wrong is what is the matter with the object.
func (ws *workspace) header(ctx context.Context, l *lineage, e archive.Entry) (head, *finding, error) {
	b, err := ws.here.GetRange(ctx, e.Key, 0, min(e.Size, headBytes))
	if fault.Is(err, fault.Corrupt) {
		return head{}, ws.segment(e, topology.FindingAltered, err.Error()), nil
	}
	if err != nil {
		return head{}, nil, err
	}
	h, rest, err := archive.DecodeHeader(b)
	if err != nil {
		return head{}, ws.segment(e, topology.FindingAltered, "its header is damaged: "+err.Error()), nil
	}
	if h.Group != ws.Group.Name || h.Workspace != ws.Name || h.Lineage != l.ID || h.Timeline != e.Timeline || h.Range() != e.Range {
		return head{}, ws.segment(e, topology.FindingInconsistent, fmt.Sprintf("it lies under a wrong key: it holds the WAL %s of timeline %d of lineage %s of %s/%s",
			h.Range(), h.Timeline, h.Lineage, h.Group, h.Workspace)), nil
	}
	if want := int64(len(b)-len(rest)) + h.BodySize; want != e.Size {
		return head{}, ws.segment(e, topology.FindingAltered, fmt.Sprintf("it has %d bytes instead of %d", e.Size, want)), nil
	}
	d, err := archive.ResumeDigest(h.State)
	if err != nil {
		return head{}, ws.segment(e, topology.FindingAltered, "its header is damaged: "+err.Error()), nil
	}
	return head{h.Start, h.End, d.Sum(), h.Digest, h.RecordEnd, h.LastCommit, h.Timeline}, nil, nil
}

// segment is a finding about one; what follows from it is found out at the end.
func (ws *workspace) segment(e archive.Entry, kind topology.FindingKind, what string) *finding {
	return &finding{Finding: topology.Finding{Kind: kind, Workspace: ws.Name, Key: e.Key, What: sentence(what)}, hides: []string{e.Key}}
}

// leftovers names what is of no use.
func (ws *workspace) leftovers() {
	for _, o := range ws.bucket.Unknown {
		ws.unknown(objectstore.Info{Key: o.Key, Size: o.Size, Modified: o.Modified})
	}
	for _, o := range ws.bucket.Leftovers {
		ws.orphan(o, "it is the content of an inventory that was replaced")
	}
}

func (ws *workspace) orphan(o retention.Object, why string) {
	if !ws.old(objectstore.Info{Modified: o.Modified}) {
		return
	}
	ws.add(finding{Finding: topology.Finding{Kind: topology.FindingOrphaned, Severity: topology.SeverityNote, Workspace: ws.Name, Key: o.Key,
		What: sentence(why), Consequence: []string{nothingLost}, Repair: "A round of retention removes it."}})
}
