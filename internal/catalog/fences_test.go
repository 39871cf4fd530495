package catalog

import (
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func fenceOf(op string, state topology.FenceState) topology.Fence {
	return topology.Fence{Group: "prod", Workspace: "main", Lineage: "0001-aaaaaaaa", Region: "east", Epoch: 1, Operation: op, State: state, At: time.Unix(100, 0).UTC()}
}

// Of what may follow on what: a switchover's fence is held, then committed or lifted, never both.
func TestAFenceGoesItsWay(t *testing.T) {
	const held, done, over = topology.FenceHolding, topology.FenceCommitted, topology.FenceLifted
	for _, c := range []struct {
		name string
		put  []topology.Fence
		want topology.FenceState
		kind fault.Kind // of the last one
	}{
		{"held", []topology.Fence{fenceOf("a", held)}, held, ""},
		{"held again by a retry", []topology.Fence{fenceOf("a", held), fenceOf("a", held)}, held, ""},
		{"committed stays", []topology.Fence{fenceOf("a", held), fenceOf("a", done), fenceOf("a", over)}, done, fault.Conflict},
		{"committed is not held", []topology.Fence{fenceOf("a", done), fenceOf("b", held)}, done, fault.Conflict},
		{"lifted is not committed by the same", []topology.Fence{fenceOf("a", held), fenceOf("a", over), fenceOf("a", done)}, over, fault.Conflict},
		{"lifted is not held by the same", []topology.Fence{fenceOf("a", held), fenceOf("a", over), fenceOf("a", held)}, over, fault.Conflict},
		{"lifted before it was ever held", []topology.Fence{fenceOf("a", over), fenceOf("a", held)}, over, fault.Conflict},
		{"lifted twice", []topology.Fence{fenceOf("a", held), fenceOf("a", over), fenceOf("a", over)}, over, ""},
		{"the next operation holds it", []topology.Fence{fenceOf("a", held), fenceOf("a", over), fenceOf("b", held)}, held, ""},
		{"the next operation takes it over", []topology.Fence{fenceOf("a", held), fenceOf("b", held)}, held, ""},
		{"only who holds it lifts it", []topology.Fence{fenceOf("a", held), fenceOf("b", held), fenceOf("a", over)}, held, fault.Conflict},
		{"a failover's over a stale one", []topology.Fence{fenceOf("a", held), fenceOf("b", done)}, done, ""},
		{"the epoch's own", []topology.Fence{fenceOf("", done), fenceOf("", done)}, done, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := configured(t)
			var err error
			for _, f := range c.put {
				_, err = w.PutFence(t.Context(), f)
			}
			got, readErr := w.Fence(t.Context(), "prod", "main", "0001-aaaaaaaa")
			if got.State != c.want || fault.KindOf(err) != c.kind || readErr != nil {
				t.Errorf("%s, %v, %v", got.State, err, readErr)
			}
		})
	}
}

func TestCommitFenceNeedsTheOneThatIsHeld(t *testing.T) {
	w := configured(t)
	if _, err := w.CommitFence(t.Context(), fenceOf("a", "")); !fault.Is(err, fault.Conflict) {
		t.Errorf("never set: %v", err)
	}
	must(w.PutFence(t.Context(), fenceOf("a", topology.FenceHolding)))(t)
	if _, err := w.CommitFence(t.Context(), fenceOf("b", "")); !fault.Is(err, fault.Conflict) {
		t.Errorf("another's: %v", err)
	}
	for range 2 { // a retry finds its own
		if f, err := w.CommitFence(t.Context(), fenceOf("a", "")); err != nil || f.State != topology.FenceCommitted {
			t.Errorf("%+v, %v", f, err)
		}
	}
}

// However often they meet, one of lifting and committing wins, and both sides know which.
func TestLiftingAndCommittingMeet(t *testing.T) {
	w := configured(t)
	for range 20 {
		f := fenceOf(topology.NewLineageID(1), topology.FenceHolding)
		f.Lineage = topology.NewLineageID(1)
		must(w.PutFence(t.Context(), f))(t)
		var commit, lift error
		var both sync.WaitGroup
		both.Go(func() { _, commit = w.process().CommitFence(t.Context(), f) })
		both.Go(func() {
			f := f
			f.State = topology.FenceLifted
			_, lift = w.process().PutFence(t.Context(), f)
		})
		both.Wait()
		got := must(w.Fence(t.Context(), "prod", "main", f.Lineage))(t)
		if (commit == nil) == (lift == nil) || (commit == nil) != (got.State == topology.FenceCommitted) {
			t.Fatalf("%s: commit %v, lift %v", got.State, commit, lift)
		}
	}
}

// What is decided needs the bucket that decides; what only says how things are needs any.
func TestFencesWithADeadBucket(t *testing.T) {
	w := configured(t)
	revive := w.kill("west")
	must(w.PutFence(t.Context(), fenceOf("a", topology.FenceHolding)))(t) // the server's own region decides
	must(w.PutFence(t.Context(), fenceOf("a", topology.FenceLifted)))(t)
	revive()
	revive = w.kill("east")
	if _, err := w.PutFence(t.Context(), fenceOf("b", topology.FenceHolding)); !fault.Is(err, fault.Transient) {
		t.Errorf("held where nobody can decide: %v", err)
	}
	must(w.PutFence(t.Context(), fenceOf("", topology.FenceCommitted)))(t)
	if f := must(w.Fence(t.Context(), "prod", "main", "0001-aaaaaaaa"))(t); f.State != topology.FenceCommitted {
		t.Error(f.State)
	}
	revive()
	self := fenceOf("", topology.FenceCommitted)
	self.Worth = topology.FenceProven
	must(w.process().PutFence(t.Context(), self))(t)
	w.kill("west")
	if f := must(w.process().Fence(t.Context(), "prod", "main", "0001-aaaaaaaa"))(t); f.Worth != topology.FenceProven {
		t.Errorf("%+v", f)
	}
}

func TestFencesOfAGroup(t *testing.T) {
	w := configured(t)
	var ids []string
	must(w.Update(t.Context(), "prod", func(g *topology.Group) error {
		ids = nil
		g.Workspaces[0].Lineages = nil
		for range 3 {
			l := topology.Lineage{ID: topology.NewLineageID(1), Epoch: 1, Region: "east", SegmentSize: 16 << 20}
			l.Start.Timeline, l.Start.LSN = 1, 16<<20
			g.Workspaces[0].Lineages = append(g.Workspaces[0].Lineages, l)
			ids = append(ids, l.ID)
		}
		g.Workspaces[0].Lineage = ids[2]
		return nil
	}))(t)
	for _, id := range []string{ids[0], ids[2]} {
		f := fenceOf("", topology.FenceCommitted)
		f.Lineage = id
		must(w.PutFence(t.Context(), f))(t)
	}
	all := must(w.Fences(t.Context(), "prod"))(t)
	if len(all) != 2 || all[0].Lineage != ids[2] || all[1].Lineage != ids[0] {
		t.Errorf("%+v", all)
	}
}
