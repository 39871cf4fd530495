package catalog

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// of is a process of one control plane.
func (w *world) of(controller string) *Catalog {
	c := w.process()
	c.Controller = controller
	return c
}

func TestOnlyTheControllerChangesAGroup(t *testing.T) {
	w := configured(t)
	old, young := w.of("old"), w.of("young")
	if err := old.EnsureController(t.Context(), w.at(t, "west")); err != nil {
		t.Fatal(err)
	}
	must(old.Update(t.Context(), "prod", addDatabase("a")))(t)
	_, err := young.Update(t.Context(), "prod", addDatabase("b"))
	wantKind(t, err, fault.Fenced, "another control plane")
	wantKind(t, young.EnsureController(t.Context(), w.at(t, "west")), fault.Fenced)
	for range 2 {
		u := must(young.TakeControl(t.Context(), "prod", Takeover{Controller: "young", By: "me", Region: "west"}))(t)
		if u.Group.Controller.ID != "young" || u.Group.Authority != "west" || u.Group.Seized != nil {
			t.Errorf("got %+v", u.Group)
		}
	}
	for what, err := range map[string]error{
		"update": second(old.Update(t.Context(), "prod", addDatabase("c"))),
		"move":   second(old.MoveAuthority(t.Context(), "prod", "east", nil)),
		"claim":  second(old.ClaimEpoch(t.Context(), claimBy("x", 0))),
		"begin":  old.BeginOperation(t.Context(), operation("x", 1)),
	} {
		if !fault.Is(err, fault.Fenced) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if e := must(w.NewestEpoch(t.Context(), "prod"))(t); e != 1 {
		t.Errorf("epoch %d was claimed", e)
	}
}

func second[T any](_ T, err error) error { return err }

func TestARunningOperationIsNotTakenFrom(t *testing.T) {
	w := configured(t)
	op := operation("a", 0)
	op.StartedAt, op.RecordedAt = time.Now(), time.Now()
	if err := w.of("old").BeginOperation(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	take := Takeover{Controller: "young", Region: "west"}
	wantKind(t, second(w.TakeControl(t.Context(), "prod", take)), fault.Taken, "a since")
	late := w.process()
	late.Now = func() time.Time { return time.Now().Add(2 * topology.AbandonedAfter) }
	must(late.TakeControl(t.Context(), "prod", take))(t)
	if h := w.at(t, "west").Operation; h == nil || h.ID != "a" {
		t.Errorf("the abandoned operation is held by %+v: nobody can go on with it", h)
	}
}

func TestABucketThatDoesNotDecideIsSeizedByForceOnly(t *testing.T) {
	w := configured(t)
	revive := w.kill("west")
	take := Takeover{Controller: "young", By: "me", Region: "east"}
	wantKind(t, second(w.process().TakeControl(t.Context(), "prod", take)), fault.Transient, "region west decides")
	if g := w.at(t, "east"); g.Controller != nil {
		t.Errorf("got %+v", g)
	}
	take.Force = true
	g := must(w.process().TakeControl(t.Context(), "prod", take))(t).Group
	if g.Authority != "east" || g.Seized == nil || g.Seized.From != "west" || g.Seized.Revision != 2 {
		t.Fatalf("got %+v", g)
	}
	c := claimBy("failover", 0)
	won := must(w.of("young").ClaimEpoch(t.Context(), c))(t)
	if won.Epoch != 1+seizedEpochs {
		t.Errorf("claimed epoch %d", won.Epoch)
	}
	for e := range won.Epoch { // whoever wrote under one of them learns of it
		if e > 0 {
			wantKind(t, w.CheckEpoch(t.Context(), "prod", e), fault.Fenced)
		}
	}
	revive()
	if err := w.process().Mirror(t.Context(), "prod"); err != nil {
		t.Fatalf("west has not gone on, and takes what was decided: %v", err)
	}
	if g := w.at(t, "west"); g.Authority != "east" || g.Controller.ID != "young" {
		t.Errorf("got %+v", g)
	}
}

func TestTwoSidesThatBothDecidedAreNeverMerged(t *testing.T) {
	w := configured(t)
	revive := w.kill("west")
	must(w.process().TakeControl(t.Context(), "prod", Takeover{Controller: "young", Region: "east", Force: true}))(t)
	revive()
	revive = w.kill("east")
	must(w.process().ClaimEpoch(t.Context(), claimBy("other", 0)))(t)
	revive()
	before := [2]topology.Group{w.at(t, "east"), w.at(t, "west")}
	for what, err := range map[string]error{
		"load":   second(w.process().Load(t.Context(), "prod")),
		"update": second(w.process().Update(t.Context(), "prod", addDatabase("a"))),
		"mirror": w.process().Mirror(t.Context(), "prod"),
		"claim":  second(w.process().ClaimEpoch(t.Context(), claimBy("third", 0))),
	} {
		if !fault.Is(err, fault.Diverged) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := [2]topology.Group{w.at(t, "east"), w.at(t, "west")}; before[0].Revision != after[0].Revision || before[1].Revision != after[1].Revision {
		t.Error("one was written over the other")
	}
}
