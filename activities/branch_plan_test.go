package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func refusedWith(t *testing.T, err error, says string) {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || !strings.Contains(app.Message(), says) || !app.NonRetryable() {
		t.Errorf("got %v, want %q", err, says)
		return
	}
	var hint string
	if _ = app.Details(&hint); hint == "" {
		t.Errorf("%v says nothing of what to do", err)
	}
}

// Branches of a database that serves, of branches, of a branch that was written, and of what a lost region has left behind.
func TestBranchesOfEverything(t *testing.T) {
	r := newRecorded(t)
	r.commit(r.server, 3)
	r.snapshot()
	r.commit(r.server, 3) // to row 5
	postgrestest.Exec(t, r.server, "app", "SELECT pg_create_restore_point('half')")
	r.commit(r.server, 2) // to row 7
	r.snapshot()
	r.commit(r.server, 2) // to row 9
	standby := postgrestest.StartStandby(t, r.server)
	postgrestest.WaitReplayed(t, r.server, standby)
	r.shipped()
	r.ofOneLineage()
	check(t, standby.Promote(t.Context()))
	devtest.Until(t, "it is promoted", func() bool {
		return postgrestest.Query(t, standby, "postgres", "SELECT pg_is_in_recovery()") == "false"
	})
	r.commit(r.server, 2) // rows 10 and 11 are on the old side alone
	r.shipped()
	postgrestest.Exec(t, standby, "app", "INSERT INTO t VALUES (100)")
	f := &fenced{world: r.world, TB: t, server: r.server, l1: r.l1}
	other := f.shipAs(t, standby, topology.NewLineageID(2))
	r.ofAWrittenBranch(other, func() {
		postgrestest.Exec(t, standby, "app", "INSERT INTO t VALUES (101)")
		f.shipOn(t, standby, other)
	})
	r.ofWhatWasLeft(other)
}

func (r *recorded) ofOneLineage() {
	r.t.Helper()
	last := len(r.rows) - 1
	app := ResolveBranchInput{Of: "app"}
	r.resolve(app, last)
	r.resolve(ResolveBranchInput{Of: "main/app", Region: "east"}, last)
	r.resolve(ResolveBranchInput{Workspace: "main"}, last)
	for n := 3; n < last; n++ {
		c := r.rows[n]
		r.make(ResolveBranchInput{Of: "app", Name: fmt.Sprintf("time-%d", n), At: topology.Target{Time: c.at}}, n)
		r.make(ResolveBranchInput{Of: "app", Name: fmt.Sprintf("lsn-%d", n), At: topology.Target{LSN: c.lsn}}, n)
		r.make(ResolveBranchInput{Of: "app", Name: fmt.Sprintf("xid-%d", n), At: topology.Target{XID: c.xid}}, n)
	}
	half := r.make(ResolveBranchInput{Of: "app", Name: "half", At: topology.Target{Name: "half"}}, 5)
	if half.Base.At.LSN <= r.rows[5].lsn {
		r.t.Errorf("the restore point is at %s", half.Base.At)
	}
	again := r.make(ResolveBranchInput{Of: "half", Name: "again"}, 5)
	if again.Base != half.Base || again.From != "half" || again.Database != "app" {
		r.t.Errorf("a branch of a branch is %+v", again)
	}
	r.make(ResolveBranchInput{Of: "half", Name: "earlier", At: topology.Target{Time: r.rows[3].at}}, 3)
	r.make(ResolveBranchInput{Of: "half", Name: "same", At: topology.Target{Time: r.rows[7].at}}, 5) // nothing was written to it since
	if unnamed := r.make(ResolveBranchInput{Of: "app", At: topology.Target{Time: r.rows[4].at}}, 4); !strings.HasPrefix(unnamed.Name, "app-20") {
		r.t.Errorf("the name is %q", unnamed.Name)
	}
	r.refused(ResolveBranchInput{Of: "half", At: topology.Target{LSN: r.rows[7].lsn}}, "lies behind the end")
	r.refused(ResolveBranchInput{Of: "app", At: topology.Target{Time: r.rows[0].at.Add(-time.Hour)}}, "")
	r.refused(ResolveBranchInput{Of: "app", At: topology.Target{LSN: 1 << 40}}, "")
	r.refused(ResolveBranchInput{Of: "app", At: topology.Target{XID: 1 << 30}}, "")
	r.refused(ResolveBranchInput{Of: "app", At: topology.Target{Time: time.Now().Add(time.Hour)}}, "is in the future")
	r.refused(ResolveBranchInput{Of: "nothing"}, `no database "nothing"`)
	r.refused(ResolveBranchInput{Of: "app", Workspace: "side"}, `no workspace "side"`)
	r.refused(ResolveBranchInput{Of: "app", Name: "half"}, "already")
	r.refused(ResolveBranchInput{Of: "half", Region: "east"}, `lies in the bucket of "west"`)
	r.refused(ResolveBranchInput{Of: "app", Region: "north"}, `no region "north"`)
}

// ofAWrittenBranch has the lineage be what was written to a branch that was made at the end. late writes more to it.
func (r *recorded) ofAWrittenBranch(own topology.Lineage, late func()) {
	r.t.Helper()
	written := topology.Branch{Name: "written", Workspace: "main", Database: "app", Region: "west", Base: *own.Parent, Line: []topology.Lineage{own}, Own: 1, CreatedAt: time.Now().UTC()}
	r.update(r.t, func(g *topology.Group) { g.Branches = append(g.Branches, written) })
	plan := r.plans(written, own.Parent.At)
	if legs := plan.Legs; len(legs) != 2 || legs[1].Lineage.ID != own.ID || plan.Point.Lineage != own.ID {
		r.t.Errorf("its way is %+v", legs)
	}
	g := r.group()
	entry, bytes, err := BranchBytes(r.t.Context(), r.stores["west"], g, "written")
	if err != nil || entry == 0 || bytes == 0 {
		r.t.Errorf("a written branch adds %d bytes, its entry %d: %v", bytes, entry, err)
	}
	tip, err := as(r.t, r.target.ResolveBranch, ResolveBranchInput{Group: "prod", Region: "west", Of: "written", Name: "on-top"})
	check(r.t, err)
	if tip.Base.Lineage != own.ID || tip.Base.At.LSN != plan.Point.RecordEnd || len(tip.Line) != 1 || tip.Own != 0 {
		r.t.Errorf("a branch of it is %+v", tip)
	}
	_, err = as(r.t, r.target.RecordBranch, RecordBranchInput{Group: "prod", Branch: tip})
	check(r.t, err)
	r.plans(tip, tip.Base.At)
	below := r.make(ResolveBranchInput{Of: "written", Name: "below", At: topology.Target{LSN: r.rows[6].lsn}}, 6)
	if below.Base.Lineage != r.l1.ID || below.Line != nil {
		r.t.Errorf("a branch at a point before it was made is %+v", below)
	}
	r.discarded(written, plan.Point, late)
	g = r.group()
	written = *g.Branch("written")
	own = written.Line[0]
	// Nothing of it has reached the bucket; or what was there when it was given up is gone.
	empty := own
	empty.ID, empty.Parent, empty.End = topology.NewLineageID(2), &topology.Fork{Lineage: own.ID, At: tip.Base.At}, nil
	written.Line, written.Own = []topology.Lineage{own, empty}, 2
	r.update(r.t, func(g *topology.Group) { *g.Branch("written") = written })
	if plan := r.plans(written, tip.Base.At); plan.Point.Lineage != own.ID || plan.Point.At != tip.Base.At {
		r.t.Errorf("without a byte of its newest lineage it is planned to %+v", plan.Point)
	}
	empty.End = &topology.LineageEnd{At: wal.Position{Timeline: 3, LSN: tip.Base.At.LSN + 8}}
	written.Line = []topology.Lineage{own, empty}
	if _, err := r.target.planBranch(r.t.Context(), r.group(), written); !fault.Is(err, fault.Missing) {
		r.t.Errorf("what was there is not missed: %v", err)
	}
	_, err = r.Catalog.Update(r.t.Context(), "prod", func(g *topology.Group) error {
		return errors.Join(g.RemoveBranch("written"), g.RemoveBranch("on-top"))
	})
	check(r.t, err)
}

// discarded has something behind a hole at the end of a branch, which is missed unless it was detached with discard. What comes later then is
// on nobody's way.
func (r *recorded) discarded(written topology.Branch, end topology.RecoveryPoint, late func()) {
	r.t.Helper()
	own := written.Line[0]
	from := own.SegmentSize.Start(end.At.LSN) + 2*wal.LSN(own.SegmentSize)
	a := archive.Open(r.stores["west"], "prod", "main", own.ID)
	key := a.Key(end.At.Timeline, wal.Range{Start: from, End: from + 100})
	_, err := r.stores["west"].Put(r.t.Context(), key, []byte("arrived before the one before it"), objectstore.PutOptions{})
	check(r.t, err)
	if _, err := r.target.planBranch(r.t.Context(), r.group(), written); !fault.Is(err, fault.Missing) {
		r.t.Errorf("what is missing before %s is no error: %v", from, err)
	}
	attached := topology.Attachment{ID: "0badcafe", State: topology.Detaching, Lineage: own.ID, Host: "west-1", Since: time.Now().UTC()}
	r.update(r.t, func(g *topology.Group) { g.Branch("written").Attached = &attached })
	in := RecordDetachedInput{BranchInput: BranchInput{Group: "prod", Branch: "written", Attachment: attached.ID, Discard: true}}
	for range 2 { // another attempt changes nothing
		b, err := as(r.t, (&Control{Site: r.Site}).RecordDetached, in)
		check(r.t, err)
		if b.Attached != nil || b.Line[0].Ends().LSN != end.RecordEnd || !b.Line[0].End.LastCommit.Equal(end.LastCommit) || b.Line[0].End.Announced {
			r.t.Errorf("detached with discard it is %+v, and ends at %+v", b, b.Line[0].End)
		}
	}
	r.endsAt(end.RecordEnd)
	check(r.t, r.stores["west"].Delete(r.t.Context(), key))
	late()
	tip, err := a.Tip(r.t.Context(), own)
	if err != nil || tip.RecordEnd <= end.RecordEnd {
		r.t.Fatalf("nothing came later than %s: %s, %v", end.RecordEnd, tip.RecordEnd, err)
	}
	r.endsAt(end.RecordEnd)
	r.refused(ResolveBranchInput{Of: "written", At: topology.Target{LSN: tip.RecordEnd}}, "lies behind all")
	inv, err := a.List(r.t.Context())
	check(r.t, err)
	_, err = a.Merge(r.t.Context(), inv.Entries) // across the end
	check(r.t, err)
	r.endsAt(end.RecordEnd)
}

// endsAt checks where branch written and the one on top of it end, by all that look for it.
func (r *recorded) endsAt(end wal.LSN) {
	r.t.Helper()
	g := r.group()
	for _, name := range []string{"written", "on-top"} {
		b := *g.Branch(name)
		if plan := r.plans(b, wal.Position{LSN: end, Timeline: b.Base.At.Timeline}); plan.Point.At.LSN != end || plan.Legs[len(plan.Legs)-1].To != end {
			r.t.Errorf("%s is planned to %+v, want %s", name, plan.Point, end)
		}
	}
	made, err := as(r.t, r.target.ResolveBranch, ResolveBranchInput{Group: "prod", Region: "west", Of: "written"})
	if err != nil || made.Base.At.LSN != end {
		r.t.Errorf("it is branched at %s, want %s: %v", made.Base.At, end, err)
	}
	all, err := history.Read(r.t.Context(), r.stores["west"], "west", g, "main")
	check(r.t, err)
	windows := all.Timeline().Windows
	if last := windows[len(windows)-1]; last.Lineage != made.Base.Lineage || last.To.LSN != end {
		r.t.Errorf("its window is %+v, want one to %s", last, end)
	}
}

// ofWhatWasLeft has the lineage be that of a failover.
func (r *recorded) ofWhatWasLeft(next topology.Lineage) {
	r.t.Helper()
	r.update(r.t, func(g *topology.Group) {
		g.Active, g.Epoch = "west", 2
		w := &g.Workspaces[0]
		w.Lineage, w.Lineages = next.ID, append(w.Lineages, next)
		g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: r.l1.ID, Fork: next.Parent.At, Region: "east"}}
	})
	tail := ResolveBranchInput{Of: "app_20261122T221000Z", Name: "rescue"}
	rescue := r.make(tail, len(r.rows)-1)
	if rescue.Base.Lineage != r.l1.ID || rescue.From != tail.Of || rescue.Base.At.LSN <= next.Parent.At.LSN {
		r.t.Errorf("what was left is branched as %+v", rescue)
	}
	r.make(ResolveBranchInput{Of: tail.Of, At: topology.Target{Time: r.rows[10].at}}, 10)
	r.make(ResolveBranchInput{Of: tail.Of, At: topology.Target{XID: r.rows[10].xid}}, 10)
	r.make(ResolveBranchInput{Of: "app", Name: "before", At: topology.Target{Time: r.rows[8].at}}, 8)
	now, err := as(r.t, r.target.ResolveBranch, ResolveBranchInput{Group: "prod", Region: "west", Of: "app"})
	check(r.t, err)
	if now.Base.Lineage != next.ID {
		r.t.Errorf("what serves is branched at %+v", now.Base)
	}
	r.belowTheFloor()
}

func (r *recorded) belowTheFloor() {
	r.t.Helper()
	found := r.resolve(ResolveBranchInput{Of: "app", Name: "late", At: topology.Target{LSN: r.rows[7].lsn}}, 7)
	r.update(r.t, func(g *topology.Group) {
		g.Workspaces[0].Floors = map[string]topology.Floors{"west": {r.l1.ID: r.rows[8].lsn}}
	})
	at6 := ResolveBranchInput{Of: "app", At: topology.Target{LSN: r.rows[6].lsn}}
	r.resolve(at6, 6) // as long as others need it too
	for _, name := range []string{"time-6", "lsn-6", "xid-6", "below"} {
		_, err := as(r.t, (&Control{Site: r.Site}).ForgetBranch, ForgetBranchInput{Group: "prod", Name: name})
		check(r.t, err)
	}
	r.refused(at6, "lies before all that can be restored")
	r.make(ResolveBranchInput{Of: "half", Name: "kept"}, 5) // a branch is there that needs it
	r.make(ResolveBranchInput{Of: "app_20261122T221000Z", Name: "above"}, len(r.rows)-1)
	found.Base.At.LSN-- // nobody else is there
	_, err := as(r.t, r.target.RecordBranch, RecordBranchInput{Group: "prod", Branch: found})
	refusedWith(r.t, err, "retention has given up")
}

// Of a branch and a floor above it, each of which is written as long as the other one is not there, one is refused.
func TestABranchAndARaisedFloorSeeEachOther(t *testing.T) {
	for n := range 12 {
		w := newWorld(t)
		l := topology.Lineage{ID: "0001-0000000a", Epoch: 1, Region: "east", SegmentSize: 16 << 20}
		w.update(t, func(g *topology.Group) {
			g.SmartDR = true
			g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = l.ID, []topology.Lineage{l}
		})
		b := topology.Branch{Name: "test", Workspace: "main", Region: "west", Base: topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: 1, LSN: 100}}, CreatedAt: time.Unix(int64(n), 0)}
		raised := make(chan error)
		go func() {
			_, err := w.process().Update(context.Background(), "prod", func(g *topology.Group) error {
				if len(g.Branches) > 0 {
					return fault.Newf(fault.Invalid, "raise", "it is needed")
				}
				g.Workspaces[0].Floors = map[string]topology.Floors{"west": {l.ID: 200}}
				return nil
			})
			raised <- err
		}()
		target := &Target{Site: w.Site}
		target.Catalog = w.process()
		_, made := as(t, target.RecordBranch, RecordBranchInput{Group: "prod", Branch: b})
		if err := <-raised; (made == nil) == (err == nil) {
			t.Errorf("the branch: %v; the floor: %v", made, err)
		}
	}
}

// An attempt whose answer was lost finds its own work; a branch that is dropped is dropped once.
func TestBranchesAreRecordedAndForgottenOnce(t *testing.T) {
	w := newWorld(t)
	l := topology.Lineage{ID: "0001-0000000a", Epoch: 1, Region: "east", SegmentSize: 16 << 20}
	w.update(t, func(g *topology.Group) {
		g.SmartDR = true
		g.Operation = &topology.OperationRef{ID: "op", Kind: "Failover"}
		g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = l.ID, []topology.Lineage{l}
		g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: l.ID}}
	})
	target, control := &Target{Site: w.Site}, &Control{Site: w.Site}
	b := topology.Branch{Name: "test", Workspace: "main", Region: "west", Base: topology.Fork{Lineage: l.ID, At: wal.Position{Timeline: 1, LSN: 100}}, CreatedAt: time.Unix(1, 0).UTC()}
	before := documentBytes(t, w)
	for range 2 {
		made, err := as(t, target.RecordBranch, RecordBranchInput{Group: "prod", Branch: b})
		check(t, err)
		if added := documentBytes(t, w) - before; made.Bytes != added || added > 1000 {
			t.Errorf("%d bytes are said, the bucket has %d more", made.Bytes, added)
		}
	}
	b.CreatedAt = time.Unix(2, 0).UTC()
	_, err := as(t, target.RecordBranch, RecordBranchInput{Group: "prod", Branch: b})
	refusedWith(t, err, "already")
	for range 2 {
		g, err := as(t, control.ForgetBranch, ForgetBranchInput{Group: "prod", Name: "test"})
		if err != nil || len(g.Branches) != 0 {
			t.Errorf("%v, %v", g.Branches, err)
		}
	}
	sys := ForgetBranchInput{Group: "prod", Name: "app_20261122T221000Z"}
	_, err = as(t, control.ForgetBranch, sys)
	refusedWith(t, err, "not all of app_20261122T221000Z has arrived")
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: l.ID, Complete: true}))
	g, err := as(t, control.ForgetBranch, sys)
	if err != nil || len(g.SystemManaged) != 0 {
		t.Errorf("%v, %v", g.SystemManaged, err)
	}
}

func documentBytes(t *testing.T, w *world) int64 {
	t.Helper()
	b, _, err := w.stores["west"].Get(t.Context(), "groups/prod/group.json")
	check(t, err)
	return int64(len(b))
}
