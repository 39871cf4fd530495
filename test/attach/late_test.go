package attach_test

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// late is what was written to a branch and has not reached its bucket.
type late struct {
	of       topology.Branch
	lineage  topology.Lineage
	timeline wal.Timeline
	from, to wal.LSN // of raw
	raw      []byte
}

// onItsWay keeps what an attached branch's server has flushed, for it to arrive whenever the test wants.
func (w *world) onItsWay(b topology.Branch) late {
	w.t.Helper()
	s := w.server(b)
	to, err := wal.ParseLSN(w.ask(s, app, "select pg_current_wal_flush_lsn()::text"))
	check(w.t, err)
	p, err := w.catalog.BranchProgress(w.t.Context(), group, b.Name, b.Attached.ID)
	check(w.t, err)
	shipped := p.Cursor(b.Region).Point.At
	at := slices.IndexFunc(b.Line, func(l topology.Lineage) bool { return l.ID == b.Attached.Lineage })
	l := late{of: b, lineage: b.Line[at], timeline: shipped.Timeline, to: to}
	l.from = l.lineage.SegmentSize.Start(shipped.LSN)
	for file := l.from; file < to; file = l.lineage.SegmentSize.Next(file) {
		raw, err := os.ReadFile(filepath.Join(s.DataDir, "pg_wal", l.lineage.SegmentSize.FileName(l.timeline, file)))
		check(w.t, err)
		l.raw = append(l.raw, raw...)
	}
	return l
}

// arrives brings it to the bucket as what ships the branch would, if that was not faster: it joins what is there.
func (w *world) arrives(l late) {
	w.t.Helper()
	a := archive.Open(w.stores[l.of.Region], group, workspace, l.lineage.ID)
	tip, err := a.Tip(w.t.Context(), l.lineage)
	check(w.t, err)
	if tip.Position.LSN < l.to {
		raw := l.raw[tip.Position.LSN-l.from : l.to-l.from]
		h := archive.Header{Group: group, Workspace: workspace, Lineage: l.lineage.ID, Epoch: l.lineage.Epoch, SystemID: l.lineage.SystemID, Timeline: l.timeline,
			Start: tip.Position.LSN, End: l.to, State: tip.State, RecordEnd: l.to, LastCommit: archive.Commit{LSN: l.to, Time: time.Now()}, AsOf: time.Now(), CreatedAt: time.Now()}
		digest, err := archive.ResumeDigest(tip.State)
		check(w.t, err)
		digest.Write(raw)
		h.Digest = digest.Sum()
		sealed, err := archive.Seal(h, raw)
		check(w.t, err)
		_, err = a.Put(w.t.Context(), sealed)
		check(w.t, err)
	}
	if tip, err = a.Tip(w.t.Context(), l.lineage); err != nil || tip.RecordEnd < l.to {
		w.t.Fatalf("the bucket has the lineage up to %s, want %s: %v", tip.RecordEnd, l.to, err)
	}
}
