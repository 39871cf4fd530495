package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Target acts where a group is brought up.
type Target struct {
	Site
	Hosting

	machine   string // ID of the data folder
	programs  programs
	ports     sync.Mutex // held while one is chosen
	followers turns      // by instance folder: one feeds a standby
}

// PlanFailover says what a failover would bring back, and on which hosts, and refuses what can be refused before anything is
// changed.
func (t *Target) PlanFailover(ctx context.Context, in PlanFailoverInput) (FailoverPlan, error) {
	p := beat(ctx)
	defer p.end()
	plan, err := t.planFailover(ctx, in)
	return plan, judge(ctx, err)
}

func (t *Target) planFailover(ctx context.Context, in PlanFailoverInput) (FailoverPlan, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return FailoverPlan{}, err
	}
	plan, stands, err := t.standingPlan(ctx, loaded, in)
	if err != nil {
		return plan, err
	}
	if !stands {
		if plan, err = t.newPlan(ctx, loaded, in); err != nil {
			return plan, err
		}
	}
	t.tell(ctx)
	return plan, t.placeAll(ctx, in, &plan)
}

// Preview is PlanFailover for whoever only wants to know: it writes nothing, and needs no worker. refused says why a failover would
// be refused for what it would lose, or because the region is not in sync; a plan that is refused can still be looked at.
func Preview(ctx context.Context, t *Target, in PlanFailoverInput) (plan FailoverPlan, refused, err error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return plan, nil, err
	}
	if plan, err = t.plan(ctx, loaded, in.To, in.Choice, true); err != nil {
		return plan, nil, err
	}
	if refused = inSync(loaded, plan, in.Force); refused == nil {
		refused = acceptable(plan, in.MaxDataLoss, in.Force, now())
	}
	return plan, refused, nil
}

// newPlan plans anew, from what the bucket holds now.
func (t *Target) newPlan(ctx context.Context, loaded catalog.Loaded, in PlanFailoverInput) (FailoverPlan, error) {
	if in.Planned {
		return t.planMove(ctx, loaded, in)
	}
	g := loaded.Group
	if why := t.alive(ctx, loaded); why != "" && !in.Force && in.Operation == "" {
		return FailoverPlan{}, fault.Newf(fault.Invalid, "plan failover", "region %q looks alive: %s", g.Active, why).
			WithHint("a failover loses what it has not shipped yet; add force (--force) if that is what you want")
	}
	plan, err := t.plan(ctx, loaded, in.To, in.Choice, in.Force || in.Operation != "")
	if err == nil {
		err = inSync(loaded, plan, in.Force || in.Operation != "")
	}
	if err == nil {
		err = acceptable(plan, in.MaxDataLoss, in.Force, now())
	}
	return plan, err
}

// plan says how each workspace is restored. With partly, workspaces that cannot be brought back are in it with the reason, as
// long as one can.
func (t *Target) plan(ctx context.Context, loaded catalog.Loaded, to string, c topology.Choice, partly bool) (FailoverPlan, error) {
	g := loaded.Group
	plan := FailoverPlan{From: g.Active, To: to, Epoch: g.Epoch, Choice: c}
	for _, w := range g.Workspaces {
		if w.Recoverable() {
			plan.Workspaces = append(plan.Workspaces, WorkspacePlan{Workspace: w.Name})
		}
	}
	errs := make([]error, len(plan.Workspaces))
	var all sync.WaitGroup
	for i, w := range plan.Workspaces {
		all.Go(func() {
			plan.Workspaces[i], errs[i] = t.planChosen(ctx, loaded, *g.Workspace(w.Workspace), to, c)
			plan.Workspaces[i].Workspace = w.Workspace
		})
	}
	all.Wait()
	var lost []error
	for i, err := range errs {
		if err != nil && !final(fault.KindOf(err)) {
			return plan, err
		}
		if err != nil {
			lost = append(lost, err)
			plan.Workspaces[i] = WorkspacePlan{Workspace: plan.Workspaces[i].Workspace, Error: err.Error(), Hint: fault.HintOf(err)}
		}
	}
	return plan, unplanned(plan, lost, partly)
}

// unplanned refuses a plan that lacks workspaces.
func unplanned(plan FailoverPlan, lost []error, partly bool) error {
	switch {
	case len(plan.Workspaces) == 0:
		return fault.Newf(fault.Invalid, "plan failover", "the group has no workspace that could be brought back").
			WithHint("terminated workspaces are over, and pending ones never served")
	case len(lost) == 0 || partly && len(lost) < len(plan.Workspaces):
		return nil
	case len(lost) == len(plan.Workspaces):
		return lost[0]
	}
	hint := fmt.Sprintf("force (--force) brings up the other workspaces; this one can follow by resuming the failover. %s", fault.HintOf(lost[0]))
	return fault.New(fault.KindOf(lost[0]), "plan failover", lost[0]).WithHint("%s", hint)
}

// planWorkspace says how one workspace is restored to its latest recovery point.
func (t *Target) planWorkspace(ctx context.Context, g topology.Group, w topology.Workspace, to string) (WorkspacePlan, error) {
	p, err := t.planner(ctx, catalog.Loaded{Group: g}, w, to, topology.Choice{})
	if err != nil {
		return WorkspacePlan{Workspace: w.Name}, err
	}
	plan, err := p.complement(ctx, g)
	plan.keepPlace(w, to)
	return plan, err
}

// planChosen says how one workspace is restored to a chosen point, and what stays behind.
func (t *Target) planChosen(ctx context.Context, loaded catalog.Loaded, w topology.Workspace, to string, c topology.Choice) (WorkspacePlan, error) {
	p, err := t.planner(ctx, loaded, w, to, c)
	if err != nil {
		return WorkspacePlan{Workspace: w.Name}, err
	}
	plan, err := p.complement(ctx, loaded.Group)
	plan.keepPlace(w, to)
	if err == nil {
		plan.Loss = p.loss(ctx, &plan)
		plan.promote(w.Standbys[to], c)
	}
	return plan, err
}

// promote plans with a standby, which has restored most already. One that may be beyond the point, or follows another line, is of
// no use; neither is one whose host has no place for it any more, which placeAll finds out.
func (w *WorkspacePlan) promote(s topology.Standby, c topology.Choice) {
	follows := slices.ContainsFunc(w.Legs, func(l Leg) bool { return l.Lineage.ID == s.Lineage })
	if s.ID == "" || s.Instance == "" || !c.Latest() || w.Behind != "" || !follows {
		return
	}
	w.Host, w.Standby = s.Host, &s
}

// on says where a workspace is to run. A standby is of use on its own host alone.
func (w *WorkspacePlan) on(host string) {
	if w.Host = host; w.Standby != nil && w.Standby.Host != host {
		w.Standby = nil
	}
}

// complement plans, and says what the plan needs of a host and which databases it brings back.
func (p *planner) complement(ctx context.Context, g topology.Group) (WorkspacePlan, error) {
	plan, err := p.plan(ctx)
	plan.Need = Need{Size: p.workspace.Size, DiskBytes: plan.diskBytes()}
	plan.Databases = stillChosen(g, p.workspace.Name, plan.Databases)
	if r, kept := p.workspace.Reservations[p.region]; kept {
		plan.Reserved = &r
	}
	return plan, err
}

// stillChosen leaves out databases that were taken from the choice after the snapshot: they are dropped after the promotion.
func stillChosen(g topology.Group, workspace string, names []string) []string {
	if g.Replication == nil {
		return names
	}
	chosen, all := g.Replication.Chosen(workspace)
	return slices.DeleteFunc(names, func(n string) bool { return !all && n != "postgres" && !slices.Contains(chosen, n) })
}

// diskBytes is what a restore needs of a disk: files and WAL, a tenth more for what recovery writes, and for a small server
// what it takes to run at all.
func (w WorkspacePlan) diskBytes() int64 {
	return topology.RestoreBytes(w.Bytes, int64(w.Point.At.LSN-w.SnapshotStart.LSN))
}

// placeAll chooses hosts for the workspaces of a plan. Those that have one keep it, if its worker is there and it has room
// still.
func (t *Target) placeAll(ctx context.Context, in PlanFailoverInput, plan *FailoverPlan) error {
	hosts, err := t.Catalog.Hosts(ctx, in.To)
	if err != nil {
		return err
	}
	hosts = slices.DeleteFunc(hosts, func(h topology.Host) bool { return slices.Contains(in.Without, h.Name) })
	placed, err := topology.Place(plan.needs(in.Group, in.Refused, hosts, true), hosts, now())
	if err != nil {
		placed, err = topology.Place(plan.needs(in.Group, in.Refused, hosts, false), hosts, now())
	}
	if err != nil {
		if placed, err = besideBranches(plan.needs(in.Group, in.Refused, hosts, false), hosts, plan, err); err != nil {
			return err
		}
	}
	for i, w := range plan.Workspaces {
		if host := placed[w.Workspace]; host != "" {
			plan.Workspaces[i].on(host)
		}
	}
	return nil
}

// besideBranches places workspaces as if no branches were there: they must not keep what is to serve from coming back. The plan says which
// ones share a host with what does. full is why there is no room otherwise.
func besideBranches(needs []topology.Need, hosts []topology.Host, plan *FailoverPlan, full error) (map[string]string, error) {
	without, branches := make([]topology.Host, len(hosts)), map[string][]string{}
	for i, h := range hosts {
		without[i], branches[h.Name] = h.WithoutBranches(), h.Branches()
	}
	placed, err := topology.Place(needs, without, now())
	if err != nil {
		return nil, full
	}
	for i, w := range plan.Workspaces {
		host := placed[w.Workspace]
		if names := branches[host]; len(names) > 0 {
			plan.Workspaces[i].Notes = append(plan.Workspaces[i].Notes, fmt.Sprintf("host %s has room for it only without the branches that are attached there: detach %s soon", host, strings.Join(names, ", ")))
		}
	}
	return placed, nil
}

// HostThere reports whether a host of this region has announced itself since it could last have taken work.
func (t *Target) HostThere(ctx context.Context, in HostInput) (HostThereResult, error) {
	p := beat(ctx)
	defer p.end()
	h, err := t.Catalog.Host(ctx, t.Region, in.Host)
	if fault.Is(err, fault.Missing) {
		return HostThereResult{}, nil
	}
	return HostThereResult{There: now().Sub(h.AnnouncedAt) < presentFor}, judge(ctx, err)
}

func endpointOf(host string, port int) topology.Endpoint {
	return topology.Endpoint{Hosts: []topology.HostPort{{Host: host, Port: port}}}
}
