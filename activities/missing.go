package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
)

const opMissing = "find missing rows"

// PlaceMissing says what is compared of what a failover left behind, up to where a bucket has it, and which host has room for a copy of the old
// server. It refuses where there is nothing to compare.
func (t *Target) PlaceMissing(ctx context.Context, in PlaceMissingInput) (PlaceMissingResult, error) {
	p := beat(ctx)
	defer p.end()
	r, err := t.placeMissing(ctx, in)
	return r, judge(ctx, err)
}

func (t *Target) placeMissing(ctx context.Context, in PlaceMissingInput) (r PlaceMissingResult, err error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return r, err
	}
	g := loaded.Group
	if err := catalog.Controls(&g, t.Controller); err != nil {
		return r, err
	}
	chosen, err := in.chosen(&g)
	if err != nil {
		return r, err
	}
	var nothing error
	for _, all := range byLineage(chosen) {
		job, notes, err := t.missingJob(ctx, g, in, all)
		r.Notes = append(r.Notes, notes...)
		switch {
		case errors.Is(err, errNothing):
			nothing = err
		case err != nil:
			return r, describe(err, "workspace %s", all[0].Workspace)
		default:
			r.Jobs = append(r.Jobs, job)
		}
	}
	if len(r.Jobs) == 0 {
		return r, nothing
	}
	if nothing != nil {
		r.Notes = append(r.Notes, nothing.Error())
	}
	return r, nil
}

// chosen are the system-managed databases that are meant.
func (in PlaceMissingInput) chosen(g *topology.Group) ([]topology.SystemManaged, error) {
	all := slices.DeleteFunc(slices.Clone(g.SystemManaged), func(s topology.SystemManaged) bool {
		return in.Workspace != "" && s.Workspace != in.Workspace
	})
	if len(all) == 0 {
		return nil, fault.Newf(fault.Invalid, opMissing, "no failover of group %s has left anything behind", g.Name).
			WithHint("`smartdr databases --group %s` lists what a failover leaves behind as system-managed.", g.Name)
	}
	newest := slices.MaxFunc(all, func(a, b topology.SystemManaged) int { return a.Since.Compare(b.Since) })
	if in.Of == "" {
		return slices.DeleteFunc(all, func(s topology.SystemManaged) bool { return s.Operation != newest.Operation }), nil
	}
	return in.named(g, all)
}

// named is the one of a name, or the newest one of the database of that name.
func (in PlaceMissingInput) named(g *topology.Group, all []topology.SystemManaged) (found []topology.SystemManaged, err error) {
	workspace, plain := topology.SplitDatabase(in.Of)
	for _, s := range all {
		switch {
		case s.Name == in.Of, s.Workspace == workspace && s.Name == plain:
			return []topology.SystemManaged{s}, nil
		case s.Database == in.Of, s.Workspace == workspace && s.Database == plain:
			found = append(slices.DeleteFunc(found, func(o topology.SystemManaged) bool { return o.Workspace == s.Workspace && o.Since.Before(s.Since) }), s)
		}
	}
	switch len(found) {
	case 0:
		return nil, fault.Newf(fault.Missing, opMissing, "group %s has no system-managed database %q, and none of a database of that name", g.Name, in.Of).
			WithHint("See which there are: smartdr databases --group %s", g.Name)
	case 1:
		return found, nil
	}
	return nil, fault.Newf(fault.Invalid, opMissing, "%d workspaces have a system-managed database of %s", len(found), in.Of).
		WithHint("Name one as %s/%s.", found[0].Workspace, in.Of)
}

// byLineage groups what one server wrote.
func byLineage(all []topology.SystemManaged) (groups [][]topology.SystemManaged) {
	for _, s := range all {
		i := slices.IndexFunc(groups, func(of []topology.SystemManaged) bool {
			return of[0].Workspace == s.Workspace && of[0].Lineage == s.Lineage
		})
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// errNothing: there is nothing to compare.
var errNothing = errors.New("nothing is missing")

// missingJob finds out what there is of a lineage that was left, and where it is read.
func (t *Target) missingJob(ctx context.Context, g topology.Group, in PlaceMissingInput, of []topology.SystemManaged) (job MissingJob, notes []string, err error) {
	s := of[0]
	w := g.Workspace(s.Workspace)
	if w == nil || w.State != topology.WorkspaceActive || w.Sites[g.Active].Source.ConnString == "" {
		return job, nil, fault.Newf(fault.Invalid, opMissing, "workspace %s has no server that serves", s.Workspace)
	}
	job = MissingJob{Group: g.Name, Epoch: g.Epoch, Workspace: s.Workspace, Serves: g.Active, On: w.Sites[g.Active].Host, Lineage: s.Lineage, Fork: s.Fork, Full: in.Full}
	for _, each := range of {
		job.Databases = append(job.Databases, MissingOf{each.Name, each.Database})
	}
	plan, notes, err := t.planMissing(ctx, g, s, &job)
	if err != nil {
		return job, notes, err
	}
	late, err := t.late(ctx, g, s, job)
	if notes = append(notes, late...); err != nil {
		return job, notes, err
	}
	there, err := t.setsThere(ctx, job)
	if err != nil || there {
		return job, notes, err
	}
	plan.Need = Need{Size: w.Size, DiskBytes: plan.diskBytes() + int64(job.Tip.LSN-plan.SnapshotStart.LSN)}
	job.Region = t.Region
	job.Host, err = t.placeBranch(ctx, PlanAttachInput{Group: g.Name}, plan)
	return job, notes, err
}

// late says what is known to be missing still of what the old server wrote.
func (t *Target) late(ctx context.Context, g topology.Group, s topology.SystemManaged, job MissingJob) ([]string, error) {
	tail, err := t.Catalog.Tail(ctx, g.Name, s.Workspace, s.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) || tail.Complete {
		return nil, err
	}
	f, err := t.Catalog.Fence(ctx, g.Name, s.Workspace, s.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	if f.State == topology.FenceCommitted && f.End.LSN > job.End.LSN {
		return []string{fmt.Sprintf("%s of what region %s wrote in workspace %s has not arrived yet: compare again when it has",
			megabytes(int64(f.End.LSN-job.End.LSN)), s.Region, s.Workspace)}, nil
	}
	return []string{fmt.Sprintf("workspace %s: more of what region %s wrote may arrive: compare again then", s.Workspace, s.Region)}, nil
}

// setsThere reports whether all that is to be read of a copy was read before.
func (s *Site) setsThere(ctx context.Context, job MissingJob) (bool, error) {
	store, err := s.store(job.Serves)
	if err != nil {
		return false, err
	}
	for _, of := range job.Databases {
		_, err := missing.ReadObject(ctx, store, job.place(of).SetKey(job.Full))
		if fault.Is(err, fault.Missing) || fault.Is(err, fault.Corrupt) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// place is where the objects of a database lie.
func (j MissingJob) place(of MissingOf) missing.Place {
	return missing.Place{Group: j.Group, Workspace: j.Workspace, Lineage: j.Lineage, Tip: j.Tip.LSN, Database: of.Database}
}
