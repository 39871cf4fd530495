package activities

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// FixRecoveryPoint finds the final recovery point after the claim and writes it into the catalog with the hosts, so that every
// attempt from here on, also one by another Temporal, restores to the same point in the same place.
func (t *Target) FixRecoveryPoint(ctx context.Context, in FixRecoveryPointInput) (FailoverPlan, error) {
	p := beat(ctx)
	defer p.end()
	plan, err := t.fixRecoveryPoint(ctx, in)
	return plan, judge(ctx, err)
}

func (t *Target) fixRecoveryPoint(ctx context.Context, in FixRecoveryPointInput) (FailoverPlan, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return FailoverPlan{}, err
	}
	raw, err := t.Catalog.FixPlan(ctx, in.To, in.Group, in.Operation, func(was []byte) ([]byte, error) {
		plan, err := t.fixed(ctx, loaded, in, was)
		if err != nil {
			return nil, err
		}
		return json.Marshal(plan)
	})
	if err != nil {
		return FailoverPlan{}, err
	}
	plan, err := readPlan(raw)
	markServing(&plan, loaded.Group)
	return plan, err
}

// fixed returns the plan that is to stand: the one that stands already, or, with Resume, that one with another host for what
// could not be brought up, or a new one.
func (t *Target) fixed(ctx context.Context, loaded catalog.Loaded, in FixRecoveryPointInput, was []byte) (FailoverPlan, error) {
	if was == nil {
		return t.firstPlan(ctx, loaded, in)
	}
	plan, err := readPlan(was)
	if err != nil {
		return plan, err
	}
	markServing(&plan, loaded.Group)
	for i := range plan.Workspaces {
		w := &plan.Workspaces[i]
		if in.Resume && w.Serving == nil {
			if err := t.again(ctx, loaded, in, w, plan.Choice); err != nil {
				return plan, err
			}
		}
		w.Serving = nil // it is the group's document that says so
	}
	return plan, nil
}

func (t *Target) firstPlan(ctx context.Context, loaded catalog.Loaded, in FixRecoveryPointInput) (FailoverPlan, error) {
	plan, err := t.plan(ctx, loaded, in.To, in.Choice, true)
	if err != nil {
		return plan, err
	}
	missing := false
	for i := range plan.Workspaces {
		w := &plan.Workspaces[i]
		if w.Error != "" {
			continue
		}
		w.on(in.Hosts[w.Workspace])
		w.Lineage = topology.NewLineageID(in.Epoch)
		missing = missing || w.Host == ""
	}
	if missing { // something became recoverable since hosts were chosen
		err = t.placeAll(ctx, PlanFailoverInput{Group: in.Group, To: in.To}, &plan)
	}
	return plan, err
}

// again gives a workspace that does not serve its new host, and a plan if it never had one. The point stays; the lineage is
// a new one, since the old host may hold a server that was promoted under the first.
func (t *Target) again(ctx context.Context, loaded catalog.Loaded, in FixRecoveryPointInput, w *WorkspacePlan, c topology.Choice) error {
	host := in.Hosts[w.Workspace]
	if host == "" || host == w.Host && w.Error == "" {
		return nil
	}
	if w.Error != "" {
		there := loaded.Group.Workspace(w.Workspace)
		if there == nil {
			return fault.Newf(fault.Missing, "resume failover", "group %s has no workspace %q", in.Group, w.Workspace)
		}
		plan, err := t.planChosen(ctx, loaded, *there, in.To, c)
		if err != nil {
			return err
		}
		*w = plan
	}
	w.on(host)
	w.Lineage = topology.NewLineageID(in.Epoch)
	return nil
}

func readPlan(raw []byte) (plan FailoverPlan, err error) {
	if err := json.Unmarshal(raw, &plan); err != nil {
		return plan, fault.New(fault.Corrupt, "read plan of failover", err)
	}
	return plan, nil
}

// markServing says of each workspace of a plan that stands whether it serves: then it has a lineage of the plan's epoch.
func markServing(plan *FailoverPlan, g topology.Group) {
	for i := range plan.Workspaces {
		w := &plan.Workspaces[i]
		there := g.Workspace(w.Workspace)
		epoch, err := topology.ParseLineageID(w.Lineage)
		if there == nil || err != nil { // not planned yet
			continue
		}
		if slices.ContainsFunc(there.Lineages, func(l topology.Lineage) bool { return l.Epoch == epoch && l.Region == plan.To }) {
			endpoint := there.Sites[plan.To].Endpoint
			w.Serving = &endpoint
		}
	}
}

// standingPlan returns the plan of the operation that is gone on with. It does not stand when that ended before it was fixed.
// What had no plan then is planned again: what was lacking in the bucket may have been put right.
func (t *Target) standingPlan(ctx context.Context, loaded catalog.Loaded, in PlanFailoverInput) (plan FailoverPlan, stands bool, err error) {
	if in.Operation == "" {
		return plan, false, nil
	}
	if plan, stands, err = t.standing(ctx, in.Group, in.To, in.Operation); err != nil || !stands {
		return plan, false, err
	}
	markServing(&plan, loaded.Group)
	for i, w := range plan.Workspaces {
		if there := loaded.Group.Workspace(w.Workspace); w.Error != "" && there != nil {
			again, err := t.planChosen(ctx, loaded, *there, in.To, plan.Choice)
			switch {
			case err == nil:
				plan.Workspaces[i] = again
			case !final(fault.KindOf(err)):
				return plan, false, err
			}
		}
	}
	return plan, true, nil
}

// standing reads the plan of an operation, if it was fixed.
func (t *Target) standing(ctx context.Context, group, to, operation string) (plan FailoverPlan, stands bool, err error) {
	raw, err := t.Catalog.FixPlan(ctx, to, group, operation, func(was []byte) ([]byte, error) {
		if was == nil {
			return nil, errNoPlan
		}
		return was, nil
	})
	if errors.Is(err, errNoPlan) {
		return plan, false, nil
	}
	if err != nil {
		return plan, false, err
	}
	plan, err = readPlan(raw)
	return plan, err == nil, err
}

var errNoPlan = errors.New("no plan stands")
