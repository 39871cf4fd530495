package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// A restore in place brings up an earlier state beside the server that serves, recovered and promoted, while that goes on. Only then the old
// one is fenced, and the new one put in its place, within the same epoch: the group's other workspaces are not concerned. The one write of the
// group's document that does so is the point of no return; until then all can go back.

const (
	opInPlace = "restore in place"
	// inPlaceKind is the kind of the operation (workflows.RestoreType).
	inPlaceKind = "Restore"
	// otherShipped is how long the other region's bucket may take for the last WAL, while nobody can write. What it lacks then follows.
	otherShipped = 3 * time.Second
	// askEnd is how often it is looked how far shipping is, while nobody can write.
	askEnd = 200 * time.Millisecond
)

// PlanInPlace finds the point in the bucket of the region that serves, and the host that is to run the state there: that of the server which
// serves, if SmartDR runs it. It changes nothing. A point outside of what can be restored is fault.Invalid, with the nearest ones.
func (t *Target) PlanInPlace(ctx context.Context, in PlanInPlaceInput) (PlanInPlaceResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.planInPlace(ctx, in)
	return result, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) planInPlace(ctx context.Context, in PlanInPlaceInput) (PlanInPlaceResult, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return PlanInPlaceResult{}, err
	}
	g := loaded.Group
	if err := replaceable(&g, in); err != nil {
		return PlanInPlaceResult{}, err
	}
	w := g.Workspace(in.Workspace)
	result := PlanInPlaceResult{Lineage: w.Lineage, Serving: w.Sites[g.Active]}
	if result.Plan, err = t.planPast(ctx, g, in); err != nil {
		return result, err
	}
	result.Notes = notStored(result.Plan)
	one := FailoverPlan{To: g.Active, Workspaces: []WorkspacePlan{result.Plan}}
	if host := result.Serving.Host; host != "" && !slices.Contains(in.Refused, host) {
		result.Plan.Host = host // whose files it can use, and whose memory it takes over
		return result, nil
	}
	place := PlanFailoverInput{Group: g.Name, To: g.Active, Refused: map[string][]string{w.Name: in.Refused}}
	err = t.placeAll(ctx, place, &one)
	result.Plan = one.Workspaces[0]
	return result, err
}

// replaceable refuses what needs no look into a bucket.
func replaceable(g *topology.Group, in PlanInPlaceInput) error {
	w := g.Workspace(in.Workspace)
	switch {
	case w == nil:
		return noWorkspace(*g, in.Workspace)
	case w.State != topology.WorkspaceActive:
		return fault.Newf(fault.Invalid, opInPlace, "it is %s", w.State).WithHint("Resume it first: smartdr workspace resume %s --group %s", w.Name, g.Name)
	case w.Sites[g.Active].Kind == "":
		return fault.Newf(fault.Invalid, opInPlace, "the last failover of group %s has not brought it back", g.Name).
			WithHint("Resume that: smartdr failover --group %s --resume", g.Name)
	case w.Lineage == "" || w.CurrentLineage().Epoch != g.Epoch:
		return fault.Newf(fault.Invalid, opInPlace, "nothing of it is replicated: there is no state to bring back").
			WithHint("`smartdr status --group %s` says how far replication is.", g.Name)
	case in.At.Time.After(now()):
		return fault.Newf(fault.Invalid, opInPlace, "%s is in the future", moment(in.At.Time))
	}
	return in.At.Check()
}

// planPast plans to a point on the way to the end of the serving lineage.
func (t *Target) planPast(ctx context.Context, g topology.Group, in PlanInPlaceInput) (WorkspacePlan, error) {
	ask := ResolveBranchInput{Group: g.Name, Workspace: in.Workspace, Region: g.Active, At: in.At}
	of, err := t.ofWorkspace(ctx, &g, ask)
	if err != nil {
		return WorkspacePlan{}, err
	}
	p, err := t.branchPlanner(ctx, g, of.workspace, g.Active)
	if err != nil {
		return WorkspacePlan{}, err
	}
	p.goal, p.chosen = in.At, g.Replication
	plan, err := p.find(ctx, of)
	if err != nil {
		return plan, t.nearest(ctx, g, of, ask, err)
	}
	b := p.begun(of, plan)
	if !g.Referable(b.Workspace, b.Region, b.Base) {
		return plan, t.nearest(ctx, g, of, ask, g.GivenUp(b))
	}
	plan.Need = Need{Size: p.workspace.Size, DiskBytes: plan.diskBytes()}
	plan.Databases = stillChosen(g, of.workspace, plan.Databases)
	return plan, nil
}

// notStored says which databases are not there afterwards, since no bucket has them.
func notStored(plan WorkspacePlan) (notes []string) {
	var names []string
	for _, d := range plan.Omitted {
		names = append(names, d.Name)
	}
	if len(names) > 0 {
		notes = append(notes, fmt.Sprintf("databases that are left out of replication are stored nowhere and not there afterwards: %s", strings.Join(names, ", ")))
	}
	return notes
}

// RecordInPlace names the server to be in the group's document, before anything of it is on its host: as a standby of the region that serves.
func (t *Target) RecordInPlace(ctx context.Context, in RestoreInput) (topology.Standby, error) {
	p := beat(ctx)
	defer p.end()
	made, err := t.recordInPlace(ctx, in)
	return made, judge(ctx, describe(err, "workspace %s", in.Plan.Workspace))
}

func (t *Target) recordInPlace(ctx context.Context, in RestoreInput) (topology.Standby, error) {
	made := topology.Standby{ID: in.Standby, Host: in.Plan.Host, Lineage: in.Plan.Point.Lineage, Since: now()}
	_, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Plan.Workspace)
		switch {
		case w == nil:
			return noWorkspace(*g, in.Plan.Workspace)
		case g.Epoch != in.Epoch || g.Active != in.To || g.Operation == nil || g.Operation.ID != in.Operation:
			return fault.Newf(fault.Fenced, opInPlace, "operation %s does not hold group %s at epoch %d any more", in.Operation, g.Name, in.Epoch)
		case w.Standbys[in.To].ID == made.ID:
			return nil
		}
		if w.Standbys == nil {
			w.Standbys = map[string]topology.Standby{}
		}
		w.Standbys[in.To] = made
		return nil
	})
	return made, err
}

// replacing reports whether an operation that restores in place holds the group.
func replacing(g *topology.Group) bool { return g.Operation != nil && g.Operation.Kind == inPlaceKind }

// AwaitShipped waits until the bucket of a region has all that a fenced server has told its clients, and for a moment for the other one's.
func (t *Target) AwaitShipped(ctx context.Context, in AwaitShippedInput) (AwaitShippedResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.awaitEnd(ctx, in)
	return result, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) awaitEnd(ctx context.Context, in AwaitShippedInput) (r AwaitShippedResult, err error) {
	for began := time.Now(); ; pauseFor(ctx, askEnd) {
		if ctx.Err() != nil {
			return r, fault.New(fault.Transient, "await shipping", ctx.Err())
		}
		w, err := t.Catalog.WALProgress(ctx, in.Group, in.Workspace)
		if err != nil {
			return r, err
		}
		if w.Lineage != in.Lineage {
			return r, fault.Newf(fault.Diverged, "await shipping", "lineage %s is shipped, and not %s", w.Lineage, in.Lineage)
		}
		r.Regions = nil
		for _, c := range w.Cursors {
			if c.Point.At.LSN >= in.End.LSN {
				r.Regions = append(r.Regions, c.Region)
			}
		}
		whole := len(r.Regions) == len(w.Cursors)
		if slices.Contains(r.Regions, in.Region) && (whole || time.Since(began) > otherShipped) {
			return r, nil
		}
	}
}

// PreviewInPlace is PlanInPlace for whoever only wants to know: it needs no worker.
func PreviewInPlace(ctx context.Context, t *Target, in PlanInPlaceInput) (PlanInPlaceResult, error) {
	return t.planInPlace(ctx, in)
}
