package activities

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// A standby is a restored data directory that goes on replaying. The group's document names it before anything of it is on a
// host, so that a folder which the document does not name is nobody's. One that is kept for the day of a failover belongs to no
// operation; an operation that wants it takes it, and from then on nobody else feeds it.

// PlanStandby says how a workspace's standby is made: the group's document names it from then on. One that is there already
// and can go on with the current lineage is gone on with.
func (t *Target) PlanStandby(ctx context.Context, in StandbyInput) (PlanStandbyResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.planStandby(ctx, in)
	return result, judge(ctx, describe(err, "standby of workspace %s", in.Workspace))
}

func (t *Target) planStandby(ctx context.Context, in StandbyInput) (PlanStandbyResult, error) {
	loaded, w, err := t.followed(ctx, in)
	if err != nil {
		return PlanStandbyResult{}, err
	}
	g := loaded.Group
	plan, err := t.planWorkspace(ctx, g, *w, in.Region)
	if err != nil {
		return PlanStandbyResult{}, err
	}
	there, kept := w.Standbys[in.Region], false
	if there.ID != "" {
		kept, err = t.goesOn(ctx, in, *w, there)
		if err != nil {
			return PlanStandbyResult{}, err
		}
	}
	if !kept {
		if there, err = t.newStandby(ctx, in, g, plan); err != nil {
			return PlanStandbyResult{}, err
		}
	}
	plan.Host = there.Host
	restore := RestoreInput{Group: in.Group, To: in.Region, Operation: in.Operation, Epoch: in.Epoch, Plan: plan, Standby: there.ID}
	return PlanStandbyResult{Restore: restore, Standby: there, Kept: kept}, nil
}

// followed returns the workspace that a standby is to follow, while the epoch is the one it was wanted under.
func (t *Target) followed(ctx context.Context, in StandbyInput) (catalog.Loaded, *topology.Workspace, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return loaded, nil, err
	}
	g := loaded.Group
	w := g.Workspace(in.Workspace)
	switch {
	case w == nil:
		return loaded, nil, noWorkspace(g, in.Workspace)
	case g.Epoch != in.Epoch || g.Active == in.Region:
		return loaded, nil, fault.Newf(fault.Fenced, "plan standby", "group %s is served from %s at epoch %d", g.Name, g.Active, g.Epoch)
	}
	return loaded, w, nil
}

// goesOn reports whether a standby can go on: it follows an ancestor of the current lineage, and its host is there.
func (t *Target) goesOn(ctx context.Context, in StandbyInput, w topology.Workspace, s topology.Standby) (bool, error) {
	current := w.CurrentLineage()
	follows := current != nil && slices.ContainsFunc(ancestry(w, *current), func(l topology.Lineage) bool { return l.ID == s.Lineage })
	if !follows || in.Host != "" && in.Host != s.Host {
		return false, nil
	}
	h, err := t.Catalog.Host(ctx, t.Region, s.Host)
	if fault.Is(err, fault.Missing) {
		return false, nil
	}
	return err == nil && h.Fresh(now()), err
}

// newStandby chooses an id and a host, and records them.
func (t *Target) newStandby(ctx context.Context, in StandbyInput, g topology.Group, plan WorkspacePlan) (topology.Standby, error) {
	made := topology.Standby{ID: uuid.NewString()[:8], Host: in.Host, Lineage: plan.Legs[len(plan.Legs)-1].Lineage.ID, Since: now()}
	if made.Host == "" {
		one := FailoverPlan{To: in.Region, Workspaces: []WorkspacePlan{plan}}
		if err := t.placeAll(ctx, PlanFailoverInput{Group: g.Name, To: in.Region}, &one); err != nil {
			return made, err
		}
		made.Host = one.Workspaces[0].Host
	}
	_, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		if w == nil || g.Epoch != in.Epoch {
			return fault.Newf(fault.Fenced, "record standby", "group %s is at epoch %d", g.Name, g.Epoch)
		}
		if w.Standbys == nil {
			w.Standbys = map[string]topology.Standby{}
		}
		w.Standbys[in.Region] = made
		return nil
	})
	return made, err
}

// recordStandby says in the group's document where a standby lies and how clients will reach it.
func (t *Target) recordStandby(ctx context.Context, in RestoreInput, p Place) error {
	_, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Plan.Workspace)
		if w == nil || w.Standbys[in.To].ID != in.Standby {
			return fault.Newf(fault.Fenced, "record standby", "standby %s of workspace %s is not wanted any more", in.Standby, in.Plan.Workspace)
		}
		s := w.Standbys[in.To]
		s.Host, s.Instance, s.Endpoint = t.Host, p.Instance, p.Endpoint
		w.Standbys[in.To] = s
		return nil
	})
	return err
}

// checkStandby refuses to touch a standby that another operation has, while that is under way, or that serves already.
func (t *Target) checkStandby(ctx context.Context, dir string, in RestoreInput) error {
	var o owner
	found, err := readState(dir, ownerFile, &o)
	switch {
	case err != nil || !found || o.Operation == in.Operation:
		return err
	case o.Published:
		return fault.Newf(fault.Fenced, "take standby", "%s serves, or has served", dir)
	case o.Operation == "" || in.Operation != "": // who holds the group's lock may take what is kept
		return nil
	}
	over, err := t.ended(ctx, in.Group, o.Operation)
	if err == nil && !over {
		err = fault.Newf(fault.Fenced, "take standby", "operation %s has taken standby %s", o.Operation, in.Standby)
	}
	return err
}

// ended reports whether an operation has ended; one without an account never came far.
func (t *Target) ended(ctx context.Context, group, operation string) (bool, error) {
	op, err := t.Catalog.Operation(ctx, group, operation)
	if fault.Is(err, fault.Missing) {
		return true, nil
	}
	return err == nil && op.State != topology.OperationActive, err
}

// HoldStandby takes a kept standby for an operation: from then on it replays nothing more until AdoptStandby says how far.
func (t *Target) HoldStandby(ctx context.Context, in RestoreInput) error {
	p := beat(ctx)
	defer p.end()
	err := t.hold(ctx, in)
	return judge(ctx, describe(err, "standby of workspace %s", in.Plan.Workspace))
}

func (t *Target) hold(ctx context.Context, in RestoreInput) error {
	dir := t.dir(in)
	if err := t.checkStandby(ctx, dir, in); err != nil {
		return err
	}
	var o owner
	if found, err := readState(dir, ownerFile, &o); err != nil || !found {
		return errorsOr(err, noStandby(dir))
	}
	_, release, err := t.followers.take(ctx, dir)
	if err != nil {
		return fault.New(fault.Transient, "hold standby", err)
	}
	defer release()
	o.Operation = in.Operation
	return writeState(dir, ownerFile, o)
}

func noStandby(dir string) error {
	return fault.Newf(fault.Missing, "find standby", "%s holds no standby", dir)
}

// AdoptStandby makes a standby's folder an operation's and lets it replay exactly to the plan's point, after which it is
// attached as a restored one is. It is fault.Diverged when the standby cannot become what is planned: then it is restored.
func (t *Target) AdoptStandby(ctx context.Context, in RestoreInput) (AdoptStandbyResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.adopt(ctx, in, p)
	return result, judge(ctx, describe(err, "standby of workspace %s", in.Plan.Workspace))
}

func (t *Target) adopt(ctx context.Context, in RestoreInput, p *pulse) (AdoptStandbyResult, error) {
	if err := t.hold(ctx, in); err != nil {
		return AdoptStandbyResult{}, err
	}
	dir := t.dir(in)
	var o owner
	if _, err := readState(dir, ownerFile, &o); err != nil {
		return AdoptStandbyResult{}, err
	}
	plan, err := becomes(o.Plan, in.Plan)
	if err != nil {
		return AdoptStandbyResult{}, err
	}
	o.Epoch, o.Plan = in.Epoch, plan
	if err := writeState(dir, ownerFile, o); err != nil {
		return AdoptStandbyResult{}, err
	}
	in.Plan = plan
	if in.Place, err = t.place(dir, o.Port, plan); err != nil {
		return AdoptStandbyResult{}, err
	}
	result := AdoptStandbyResult{Place: in.Place, Plan: plan}
	result.Note, err = t.replayTo(ctx, in, p)
	return result, err
}

// becomes is the plan of a standby that was made of one snapshot and is to reach another plan's point.
func becomes(was, plan WorkspacePlan) (WorkspacePlan, error) {
	for _, o := range was.Omitted {
		if slices.Contains(plan.Databases, o.Name) {
			return plan, fault.Newf(fault.Diverged, "take standby", "database %s was left out when it was made", o.Name)
		}
	}
	plan.Snapshot, plan.SnapshotStart, plan.SnapshotEnd = was.Snapshot, was.SnapshotStart, was.SnapshotEnd
	plan.Omitted, plan.Bytes = was.Omitted, was.Bytes
	if len(was.Legs) > 0 && len(plan.Legs) > 0 {
		plan.Legs = joinLegs(was.Legs, plan.Legs)
	}
	return plan, nil
}

// joinLegs are the legs of a plan, begun where an older one began.
func joinLegs(was, is []Leg) []Leg {
	at := slices.IndexFunc(was, func(l Leg) bool { return l.Lineage.ID == is[0].Lineage.ID })
	if at < 0 {
		return is
	}
	legs := append(slices.Clone(was[:at]), is...)
	legs[at].From = was[at].From
	return legs
}

// RemoveStandby takes a standby away: the group's document forgets it, its server is stopped and its folder removed, unless it
// was promoted, or an operation that is under way has it, or may take it.
func (t *Target) RemoveStandby(ctx context.Context, in StandbyInput) error {
	p := beat(ctx)
	defer p.end()
	err := t.forgetStandby(ctx, in)
	if err == nil {
		err = t.removeStandby(ctx, in)
	}
	return judge(ctx, describe(err, "standby of workspace %s", in.Workspace))
}

// ForgetStandby takes a standby out of the group's document alone: its host is gone, and removes the folder when it comes back.
func (t *Target) ForgetStandby(ctx context.Context, in StandbyInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, describe(t.forgetStandby(ctx, in), "standby of workspace %s", in.Workspace))
}

func (t *Target) forgetStandby(ctx context.Context, in StandbyInput) error {
	_, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		if w == nil || w.Standbys[in.Region].ID != in.ID {
			return nil
		}
		if by := g.Operation; by != nil && by.ID != in.Operation {
			return fault.Newf(fault.Fenced, "forget standby", "operation %s holds the group, and may have taken standby %s", by.ID, in.ID)
		}
		delete(w.Standbys, in.Region)
		return nil
	})
	return err
}

func (t *Target) removeStandby(ctx context.Context, in StandbyInput) error {
	dir := standbyDir(t.DataDir, in.Group, in.Workspace, in.ID)
	var o owner
	found, err := readState(dir, ownerFile, &o)
	switch {
	case err != nil || !found:
		return err
	case o.Standby != in.ID || o.Group != in.Group || o.Workspace != in.Workspace || o.Published:
		return nil // it is a server that serves or served, and no standby
	case o.Operation != "" && o.Operation != in.Operation:
		if over, err := t.ended(ctx, in.Group, o.Operation); err != nil || !over {
			return errorsOr(err, fault.Newf(fault.Fenced, "remove standby", "operation %s has it", o.Operation))
		}
	}
	_, release, err := t.followers.take(ctx, dir)
	if err != nil {
		return fault.New(fault.Transient, "remove standby", err)
	}
	defer release()
	if err := removeWithSocket(ctx, dir); err != nil {
		return err
	}
	t.Log.InfoContext(ctx, "removed a standby", "instance", filepath.Base(dir))
	t.tell(ctx)
	return nil
}

// RecordPreprovision records whether standbys are kept in the region that does not serve.
func (c *Control) RecordPreprovision(ctx context.Context, in RecordPreprovisionInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	updated, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if err := g.Replicable("preprovision"); err != nil {
			return err
		}
		switch {
		case in.Stop:
			g.Preprovision = nil
		case g.Preprovision == nil:
			g.Preprovision = &topology.Preprovision{Since: now()}
		}
		return nil
	})
	return updated.Group, judge(ctx, err)
}

// target is the end of a plan, as a place to replay to.
func (w WorkspacePlan) target() wal.Position {
	return wal.Position{Timeline: w.Point.At.Timeline, LSN: w.Point.RecordEnd}
}
