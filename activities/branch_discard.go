package activities

import (
	"context"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// giveUp says, for the host when it is back, that what has not arrived of an attachment is given up, and finds out where its lineage ends: what
// ships it may not hear of that for long, so only what the group's document says ends it. Nil for an attachment that is none any more, or
// that has written nothing.
func (c *Control) giveUp(ctx context.Context, in BranchInput) (*topology.LineageEnd, error) {
	loaded, err := c.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	a, b, err := attachedIn(&loaded.Group, in)
	if err != nil || a.ReadOnly || a.Lineage == "" {
		return nil, nil
	}
	said, err := c.Catalog.BranchProgress(ctx, in.Group, b.Name, a.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	gone := topology.BranchProgress{WALProgress: said.WALProgress, Discarded: true}
	gone.Lineage, gone.MeasuredAt = a.Lineage, now()
	if err := c.Catalog.PutBranchProgress(ctx, in.Group, b.Name, a.ID, gone); err != nil {
		return nil, err
	}
	return c.endOf(ctx, in.Group, b, said.WALProgress)
}

// tipWithin is how long a discard waits for a bucket to say how far a branch is. RecordDetached has a minute, and one that is lost may never answer.
const tipWithin = 15 * time.Second

// endOf is where a branch's newest lineage ends in its bucket: behind the last record that is whole there. Of a bucket that does not say it is what
// was announced last.
func (c *Control) endOf(ctx context.Context, group string, b topology.Branch, said topology.WALProgress) (*topology.LineageEnd, error) {
	at := lineageAt(b, b.Attached.Lineage)
	store, err := c.store(b.Region)
	if at < 0 || err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, tipWithin)
	defer cancel()
	tip, err := archive.Open(store, group, b.Workspace, b.Attached.Lineage).Tip(within, b.Line[at])
	if err == nil {
		return lastRecord(tip.Point(b.Attached.Lineage)), nil
	}
	if ctx.Err() != nil {
		return nil, fault.New(fault.Transient, opDetach, ctx.Err())
	}
	c.Log.WarnContext(ctx, "a branch ends at what was announced of it: its bucket does not say how far it is", "group", group, "branch", b.Name, "error", err)
	end := &topology.LineageEnd{}
	if cursor := said.Cursor(b.Region); cursor != nil && said.Lineage == b.Attached.Lineage {
		end = lastRecord(cursor.Point)
	}
	end.Announced = true
	return end, nil
}

// lastRecord ends a lineage behind the last record that is whole, or in the middle of what fills up a file behind the last one.
func lastRecord(p topology.RecoveryPoint) *topology.LineageEnd {
	return &topology.LineageEnd{At: wal.Position{Timeline: p.At.Timeline, LSN: min(p.RecordEnd, p.At.LSN)}, LastCommit: p.LastCommit}
}

// discard ends the lineage that an attached branch writes, and reports whether nothing is left of it.
func discard(g *topology.Group, b *topology.Branch, end *topology.LineageEnd) (nothing bool, err error) {
	at := lineageAt(*b, b.Attached.Lineage)
	if at < 0 {
		return false, nil // nobody has ever reached it
	}
	if end == nil {
		return false, fault.Newf(fault.Transient, opDetach, "it was published since its end was looked for")
	}
	g.Discard(b.Line[at].ID, *end)
	l := b.Line[at]
	return l.Parent != nil && l.End.At.LSN <= l.Parent.At.LSN, nil
}

// lineageAt returns the place of a lineage in a branch's line, or -1.
func lineageAt(b topology.Branch, lineage string) int {
	return slices.IndexFunc(b.Line, func(l topology.Lineage) bool { return l.ID == lineage })
}
