package activities

import (
	"cmp"
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
)

// kept refuses a chosen point that retention has given up, with the nearest ones that it keeps. What led there may be gone, be about to go, or
// be there for the sake of a branch; err is what planning to it said.
func (p *planner) kept(ctx context.Context, plan WorkspacePlan, err error) error {
	floors := p.workspace.Floors[p.region]
	if p.goal.Latest() || len(floors) == 0 || p.of == nil {
		return err
	}
	at := plan.Point
	if err == nil && at.RecordEnd >= floors[at.Lineage] {
		return nil
	}
	if err == nil {
		err = fault.Newf(fault.Invalid, p.op(), "workspace %s: retention has given up %s of lineage %s in the bucket of %q", p.workspace.Name, at.RecordEnd, at.Lineage, p.region).
			WithHint("`smartdr timeline --group %s` shows what can be restored.", p.group)
	}
	if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Missing) {
		return err
	}
	all, readErr := history.Read(ctx, p.store, p.region, *p.of, p.workspace.Name)
	if readErr != nil {
		return err // which is reason enough; only the nearest points are not known
	}
	return cmp.Or(history.Check(all.Along(p.workspace.Lineage), p.goal), err)
}
