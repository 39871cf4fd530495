package activities

import (
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// A standby that nobody wants any more is not taken away from an operation that has begun since, and may have planned with it.
func TestAStandbyIsNotTakenFromAnOperation(t *testing.T) {
	w := newWorld(t)
	target := &Target{Site: w.Site, Hosting: Hosting{DataDir: t.TempDir()}}
	w.update(t, func(g *topology.Group) {
		g.Operation = &topology.OperationRef{ID: "move", Kind: "Switchover"}
		g.Workspace("main").Standbys = map[string]topology.Standby{"west": {ID: "064f6b2f", Host: "west-1"}}
	})
	there := func() bool {
		l, err := w.Catalog.Load(t.Context(), "prod")
		check(t, err)
		return l.Group.Workspace("main").Standbys["west"].ID != ""
	}
	in := StandbyInput{Group: "prod", Workspace: "main", Region: "west", ID: "064f6b2f"}
	if err := target.forgetStandby(t.Context(), in); !fault.Is(err, fault.Fenced) || !there() {
		t.Errorf("taken away: %v", err)
	}
	in.Operation = "move"
	if check(t, target.forgetStandby(t.Context(), in)); there() {
		t.Error("the operation cannot take its own standby away")
	}
}
