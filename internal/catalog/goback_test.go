package catalog

import (
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// holding is a world in which operation "a" holds the group, and has committed its fence.
func holding(t *testing.T) *world {
	w := configured(t)
	if err := w.BeginOperation(t.Context(), topology.Operation{ID: "a", Kind: "Switchover", Group: "prod", State: topology.OperationActive}); err != nil {
		t.Fatal(err)
	}
	must(w.PutFence(t.Context(), fenceOf("a", topology.FenceHolding)))(t)
	must(w.CommitFence(t.Context(), fenceOf("a", "")))(t)
	return w
}

// An operation claims or goes back, never both, however many go on with it at once.
func TestAnOperationClaimsOrGoesBack(t *testing.T) {
	for range 8 {
		w := holding(t)
		claim := claimBy("a", 0)
		claim.Held = true
		var won, back bool
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := w.process().ClaimEpoch(t.Context(), claim)
			if won = err == nil; !won && !fault.Is(err, fault.Fenced) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			claimed, err := w.process().GoBack(t.Context(), "prod", "a")
			if back = err == nil && claimed == 0; err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		_, err := w.LiftCommitted(t.Context(), fenceOf("a", ""))
		if won == back || (err == nil) != back {
			t.Fatalf("claimed %v, went back %v, lifted: %v", won, back, err)
		}
	}
}

// A committed fence is lifted for the operation that has gone back, and for nobody else.
func TestACommittedFenceIsLiftedByWhoHasGoneBack(t *testing.T) {
	w := holding(t)
	if _, err := w.LiftCommitted(t.Context(), fenceOf("a", "")); !fault.Is(err, fault.Conflict) {
		t.Fatalf("lifted before it was decided: %v", err)
	}
	if _, err := w.GoBack(t.Context(), "prod", "b"); !fault.Is(err, fault.Fenced) {
		t.Errorf("another operation goes back: %v", err)
	}
	for range 2 {
		if claimed, err := w.GoBack(t.Context(), "prod", "a"); claimed != 0 || err != nil {
			t.Fatalf("epoch %d, %v", claimed, err)
		}
	}
	if _, err := w.LiftCommitted(t.Context(), fenceOf("b", "")); !fault.Is(err, fault.Conflict) {
		t.Errorf("lifted by another operation: %v", err)
	}
	revive := w.kill("west")
	if _, err := w.process().LiftCommitted(t.Context(), fenceOf("a", "")); !fault.Is(err, fault.Transient) {
		t.Errorf("lifted although the bucket that decides is away: %v", err)
	}
	revive()
	for range 2 {
		if f := must(w.LiftCommitted(t.Context(), fenceOf("a", "")))(t); f.State != topology.FenceLifted {
			t.Errorf("it is %s", f.State)
		}
	}
	if _, err := w.CommitFence(t.Context(), fenceOf("a", "")); !fault.Is(err, fault.Conflict) {
		t.Errorf("committed again by an attempt that comes late: %v", err)
	}
}

func TestWhatHasClaimedDoesNotGoBack(t *testing.T) {
	w := holding(t)
	claim := claimBy("a", 0)
	claim.Held = true
	won := must(w.ClaimEpoch(t.Context(), claim))(t)
	if claimed, err := w.GoBack(t.Context(), "prod", "a"); claimed != won.Epoch || err != nil {
		t.Errorf("epoch %d, %v", claimed, err)
	}
}
