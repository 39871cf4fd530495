package activities

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// of is the site of another control plane's worker.
func (w *world) of(controller string) Site {
	s := w.Site
	s.Controller, s.Catalog = controller, &catalog.Catalog{Stores: w.Stores, Timeout: slow, Controller: controller, Log: w.Log}
	return s
}

// What a control plane does for a group ends when another one has taken it over: looking, shipping, beginning, recording.
func TestWhoWasReplacedLetsTheGroupBe(t *testing.T) {
	w := newWorld(t)
	old, young := w.of("old"), w.of("young")
	status, err := as(t, (&Control{Site: old}).ObserveStatus, ReadGroupInput{Group: "prod"})
	check(t, err)
	if again, err := as(t, (&Control{Site: old}).ReadGroup, ReadGroupInput{Group: "prod"}); err != nil || status.Group.Controller != nil || again.Controller == nil || again.Controller.ID != "old" {
		t.Fatalf("the first one that acted is not the controller: %+v, %v", again.Controller, err)
	}
	over := old.turnOver("prod", 1)
	check(t, over(t.Context()))
	op := topology.Operation{ID: "a", Kind: "Failover", Group: "prod", State: topology.OperationActive, To: "west", StartedAt: time.Now().Add(-time.Hour), Phases: []topology.Phase{}}
	check(t, old.Catalog.BeginOperation(t.Context(), op))
	g, err := as(t, (&Target{Site: young}).TakeControl, TakeControlInput{Group: "prod", By: "me"})
	check(t, err)
	if g.Controller.ID != "young" {
		t.Errorf("got %+v", g.Controller)
	}
	target := &Target{Site: old}
	_, looks := as(t, (&Control{Site: old}).ObserveStatus, ReadGroupInput{Group: "prod"})
	_, begins := as(t, target.BeginOperation, BeginOperationInput{Operation: op})
	_, claims := as(t, target.ClaimEpoch, ClaimEpochInput{Group: "prod", Region: "west", Operation: "a"})
	_, records := as(t, none(target.RecordOperation), RecordOperationInput{Operation: op})
	_, ships := (&Source{Site: old}).subject(t.Context(), SourceInput{Group: "prod", Workspace: "main", Epoch: 1})
	for what, err := range map[string]error{"looks": looks, "begins": begins, "claims": claims, "records": records, "ships": ships, "goes on shipping": old.turnOver("prod", 1)(t.Context())} {
		if err == nil || !fencedKind(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAProtectionIsNewsOnce(t *testing.T) {
	w := newWorld(t)
	c := &Control{Site: w.Site}
	found := topology.Protection{Protected: true, Region: "west", Epoch: 1, Since: time.Unix(1, 0).UTC()}
	for i, want := range []bool{true, false} {
		r, err := as(t, c.ObserveProtection, ProtectionInput{Group: "prod", Found: found})
		check(t, err)
		if r.Changed != want {
			t.Errorf("look %d: changed is %t", i, r.Changed)
		}
	}
	found.Protected, found.Epoch, found.Region = false, 2, "east"
	if r, err := as(t, c.ObserveProtection, ProtectionInput{Group: "prod", Found: found}); err != nil || !r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
	found.Epoch = 1
	if r, err := as(t, c.ObserveProtection, ProtectionInput{Group: "prod", Found: found}); err != nil || r.Changed || r.Protection.Epoch != 2 {
		t.Errorf("who came late is heard: %+v, %v", r, err)
	}
}

// The decision follows the side that does not serve, and no operation loses it.
func TestTheDecisionStaysWhereAnOperationNeedsIt(t *testing.T) {
	w := newWorld(t)
	c := &Control{Site: w.Site}
	move := MoveAuthorityInput{Group: "prod", To: "east", Epoch: 2}
	op := topology.Operation{ID: "a", Kind: "Failover", Group: "prod", State: topology.OperationActive, StartedAt: time.Now(), Phases: []topology.Phase{}}
	_, serves := as(t, c.MoveAuthority, MoveAuthorityInput{Group: "prod", To: "east", Epoch: 1})
	check(t, w.Catalog.BeginOperation(t.Context(), op))
	w.claim(t, 0, "a")
	_, held := as(t, c.MoveAuthority, move)
	op.State = topology.OperationFailed
	check(t, w.Catalog.EndOperation(t.Context(), op))
	_, claimed := as(t, c.MoveAuthority, MoveAuthorityInput{Group: "prod", To: "east", Epoch: 1})
	for what, err := range map[string]error{"its region serves": serves, "an operation holds the group": held, "an epoch is claimed": claimed} {
		if err == nil {
			t.Errorf("it moved although %s", what)
		}
	}
	w.update(t, func(g *topology.Group) { g.Active, g.Epoch = "west", 2 })
	if g, err := as(t, c.MoveAuthority, move); err != nil || g.Authority != "east" {
		t.Errorf("%+v, %v", g, err)
	}
}

// A bucket that was away learns within seconds of its return what was decided meanwhile, without Temporal.
func TestABucketThatComesBackIsToldAtOnce(t *testing.T) {
	w := newWorld(t)
	revive := w.faults["east"].Add(objectstore.Rule{Dead: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		KeepMirroring(ctx, w.Site)
	}()
	w.claim(t, 2, "a")
	revive()
	began := time.Now()
	old := &catalog.Catalog{Stores: map[string]objectstore.Store{"east": w.stores["east"]}}
	devtest.Until(t, "the old side to learn of the epoch from its own bucket", func() bool {
		return fault.Is(old.CheckEpoch(t.Context(), "prod", 1), fault.Fenced)
	})
	t.Logf("after %s", time.Since(began))
	cancel()
	<-done
}

// none gives an activity without a result one that says nothing.
func none[In any](activity func(context.Context, In) error) func(context.Context, In) (struct{}, error) {
	return func(ctx context.Context, in In) (struct{}, error) { return struct{}{}, activity(ctx, in) }
}

// fencedKind reports whether an error, also one that went through Temporal, is fault.Fenced.
func fencedKind(err error) bool {
	var app *temporal.ApplicationError
	return fault.Is(err, fault.Fenced) || errors.As(err, &app) && app.Type() == string(fault.Fenced)
}

// What was announced while a bucket was away comes to it as soon, although nobody announces it again.
func TestABucketThatComesBackIsToldWhatWasAnnounced(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		KeepMirroring(ctx, w.Site)
	}()
	revive := w.faults["west"].Add(objectstore.Rule{Dead: true})
	check(t, w.Catalog.PutSnapshotProgress(t.Context(), "prod", "main", topology.SnapshotProgress{
		ID: "20261122T221000Z-0a1b", Lineage: "0001-89abcdef", MeasuredAt: time.Now().UTC(), Complete: []string{"east", "west"}}))
	revive()
	alone := &catalog.Catalog{Stores: map[string]objectstore.Store{"west": w.stores["west"]}}
	devtest.Until(t, "the bucket to learn that its snapshot is complete", func() bool {
		p, err := alone.SnapshotProgress(t.Context(), "prod", "main")
		return err == nil && len(p.Complete) == 2
	})
	cancel()
	<-done
}
