package activities

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// planMove plans a switchover: both regions are there, every workspace can be brought up where it goes, at what is shipped now,
// and nothing that an old server there has written would be lost for it.
func (t *Target) planMove(ctx context.Context, loaded catalog.Loaded, in PlanFailoverInput) (FailoverPlan, error) {
	g := loaded.Group
	for _, region := range []string{g.Active, in.To} {
		if !slices.Contains(loaded.From, region) {
			return FailoverPlan{}, fault.Newf(fault.Invalid, "plan switchover", "the bucket of %q does not answer: %s", region, loaded.Silent[region]).
				WithHint("A switchover needs both regions. If %s is lost, fail over: smartdr failover --group %s", g.Active, g.Name)
		}
	}
	plan, err := t.plan(ctx, loaded, in.To, topology.Choice{}, false)
	if err == nil {
		err = inSync(loaded, plan, false)
	}
	if err == nil && !in.Force {
		err = t.tailsAreHome(ctx, g, in.To)
	}
	return plan, err
}

// tailsAreHome refuses to bring a group to a region in which an old server has written what nobody has brought home yet: its
// files may be needed for that.
func (t *Target) tailsAreHome(ctx context.Context, g topology.Group, to string) error {
	for _, left := range g.LeftLineages() {
		if left.Lineage.Region != to {
			continue
		}
		tail, err := t.Catalog.Tail(ctx, g.Name, left.Workspace, left.Lineage.ID)
		if err != nil && !fault.Is(err, fault.Missing) {
			return err
		}
		if !tail.Complete {
			why := tail.Error
			if why == "" {
				why = "its server was not fenced and read to its end yet"
			}
			return fault.Newf(fault.Invalid, "plan switchover", "what the old server of workspace %s in %s wrote last (lineage %s) is not all in a bucket: %s",
				left.Workspace, to, left.Lineage.ID, why).
				WithHint("`smartdr status --group %s` shows how far it is. A server whose fence is best effort goes on writing: give SmartDR's role superuser, or stop the server and bring its pg_wal home (smartdr salvage). If the server, its disk and its bucket are gone for good, add force (--force)", g.Name)
		}
	}
	return nil
}
