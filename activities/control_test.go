package activities

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// What was decided while a bucket was away is there after the next look at the group.
func TestObserveStatusMirrorsWhatABucketMissed(t *testing.T) {
	w := newWorld(t)
	control := &Control{Site: w.Site}
	back := w.faults["east"].Add(objectstore.Rule{Dead: true})
	w.claim(t, 2, "failover")
	w.update(t, func(g *topology.Group) {
		g.Active, g.Epoch = "west", 2
		g.Workspaces[0].Sites["west"] = g.Workspaces[0].Sites["east"]
	})
	if _, err := as(t, control.ObserveStatus, ReadGroupInput{Group: "prod"}); err != nil {
		t.Errorf("while a bucket is away: %v", err)
	}
	back()
	control.Catalog = w.process() // one that does not remember who was silent
	_, err := as(t, control.ObserveStatus, ReadGroupInput{Group: "prod"})
	check(t, err)

	want, err := control.Catalog.Load(t.Context(), "prod")
	check(t, err)
	east := &catalog.Catalog{Stores: map[string]objectstore.Store{"east": w.stores["east"]}}
	got, err := east.Load(t.Context(), "prod")
	check(t, err)
	if diff := cmp.Diff(want.Group, got.Group); diff != "" {
		t.Errorf("the document in east (-want +got):\n%s", diff)
	}
	if epoch, err := east.NewestEpoch(t.Context(), "prod"); err != nil || epoch != 2 {
		t.Errorf("newest epoch in east is %d: %v", epoch, err)
	}
}
