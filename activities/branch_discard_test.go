package activities

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// While its bucket does not answer, a discarded branch ends where that was announced to be: behind the last whole record, and never before what
// another branch begins at. Without a word of it all is given up.
func TestABranchEndsWhereWasAnnouncedWhileItsBucketIsAway(t *testing.T) {
	for name, c := range map[string]struct {
		lineage string // that was announced; empty: nothing was
		stoodOn wal.LSN
		killed  bool // after the word for the host, before the record
		hangs   bool // the bucket, instead of failing
		want    wal.LSN
	}{
		"announced":                  {lineage: "0001-11111111", want: 0x3000400},
		"announced, killed between":  {lineage: "0001-11111111", killed: true, want: 0x3000400},
		"announced, without answers": {lineage: "0001-11111111", hangs: true, want: 0x3000400},
		"nothing announced":          {},
		"of another lineage":         {lineage: "0001-22222222"},
		"branched before it":         {lineage: "0001-11111111", stoodOn: 0x3000200, want: 0x3000400},
		"branched behind it":         {lineage: "0001-11111111", stoodOn: 0x3000600, want: 0x3000600},
		"branched, and no word":      {stoodOn: 0x3000200, want: 0x3000200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, control, _ := branched(t)
			w.update(t, func(g *topology.Group) { g.Branch("test").Region = "east" }) // the bucket of west decides
			l := attachedTo(t, w, control, "11111111")
			if c.stoodOn != 0 {
				w.update(t, func(g *topology.Group) {
					of := topology.Branch{Name: "of-it", Workspace: "main", From: "test", Region: "east", Line: []topology.Lineage{l}, CreatedAt: time.Unix(6, 0).UTC()}
					of.Base = topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: 2, LSN: c.stoodOn}}
					g.Branches = append(g.Branches, of)
				})
			}
			if c.lineage != "" {
				point := topology.RecoveryPoint{Lineage: c.lineage, At: wal.Position{Timeline: 2, LSN: 0x3000480}, RecordEnd: 0x3000400, LastCommit: time.Unix(7, 0).UTC()}
				check(t, w.Catalog.PutBranchProgress(t.Context(), "prod", "test", "11111111", topology.BranchProgress{WALProgress: topology.WALProgress{
					Lineage: c.lineage, MeasuredAt: now(), Cursors: []topology.Cursor{{Region: "east", Point: point}}}}))
			}
			w.faults["east"].Add(objectstore.Rule{Dead: c.hangs, Fail: fault.Newf(fault.Transient, "ask", "the bucket is away")})
			in := BranchInput{Group: "prod", Branch: "test", Attachment: "11111111", Discard: true}
			if c.killed {
				_, err := control.giveUp(t.Context(), in)
				check(t, err)
			}
			b, err := as(t, control.RecordDetached, RecordDetachedInput{BranchInput: in})
			check(t, err)
			if c.want == 0 && (b.Own != 0 || len(b.Line) != 0 || b.Attached != nil) {
				t.Errorf("without a word of it it is %+v", b)
			}
			if c.want != 0 && (b.Attached != nil || b.Own != 1 || b.Line[0].Ends() != wal.Position{Timeline: 2, LSN: c.want} || !b.Line[0].End.Announced) {
				t.Errorf("it is %+v, want it to end at %s", b, c.want)
			}
			p, err := w.Catalog.BranchProgress(t.Context(), "prod", "test", "11111111")
			if err != nil || !p.Discarded {
				t.Errorf("its host is not told: %+v, %v", p, err)
			}
		})
	}
}

// An attachment that was published between the look for its end and the record is looked at again.
func TestABranchIsNotEndedUnseen(t *testing.T) {
	w, control, _ := branched(t)
	l := attachedTo(t, w, control, "11111111")
	w.update(t, func(g *topology.Group) {
		b := g.Branch("test")
		if nothing, err := discard(g, b, nil); err == nil || nothing {
			t.Errorf("without having looked: %v, %v", nothing, err)
		}
		if b.Line[0].End != nil || b.Line[0].ID != l.ID {
			t.Errorf("it was ended: %+v", b.Line)
		}
	})
}
