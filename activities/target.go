package activities

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// Target acts where a group is brought up.
type Target struct {
	Site
	Hosting

	machine  string // ID of the data folder
	programs programs
	ports    sync.Mutex // held while one is chosen
}

// abandonedAfter is how long an operation must have said nothing before another run may go on with it. A running one
// records itself every 30 s, so that two writes may fail.
const abandonedAfter = 90 * time.Second

// PlanFailover says what a failover would bring back, and refuses what can be refused before anything is changed.
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
	g := loaded.Group
	if why := t.alive(ctx, loaded); why != "" && !in.Force {
		return FailoverPlan{}, fault.Newf(fault.Invalid, "plan failover", "region %q looks alive: %s", g.Active, why).
			WithHint("a failover loses what it has not shipped yet; add force (--force) if that is what you want")
	}
	plan, err := t.plan(ctx, g, in.To)
	if err != nil {
		return plan, err
	}
	for i := range plan.Workspaces {
		notes, err := t.ready(ctx, g, plan.Workspaces[i])
		if err != nil {
			return plan, err
		}
		plan.Workspaces[i].Notes = append(plan.Workspaces[i].Notes, notes...)
	}
	return plan, nil
}

func (t *Target) plan(ctx context.Context, g topology.Group, to string) (FailoverPlan, error) {
	plan := FailoverPlan{From: g.Active, To: to, Epoch: g.Epoch}
	for _, w := range g.Workspaces {
		p, err := t.planner(ctx, g, w, to)
		if err != nil {
			return plan, err
		}
		wp, err := p.plan(ctx)
		if err != nil {
			return plan, err
		}
		plan.Workspaces = append(plan.Workspaces, wp)
	}
	return plan, nil
}

// ready checks that this host can run the workspace: programs of its version, extensions, libraries, disk space.
func (t *Target) ready(ctx context.Context, g topology.Group, w WorkspacePlan) (notes []string, err error) {
	bin, err := postgres.Find(w.ServerVersion/10000, t.BinDirs)
	if err != nil {
		return nil, err
	}
	m, err := t.metadata(ctx, g.Name, w.Workspace)
	if fault.Is(err, fault.Missing) {
		return []string{"settings and extensions of the primary were never captured: not compared"}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := makeDataDir(t.DataDir); err != nil {
		return nil, err
	}
	host, err := metadata.Inspect(ctx, bin, t.DataDir)
	if err != nil {
		return nil, err
	}
	if host.FreeBytes > 0 {
		host.FreeBytes += t.reclaimable(ctx, g.Name, w.Workspace)
	}
	return problems(w, metadata.Compare(m, host, w.Bytes))
}

func problems(w WorkspacePlan, all []metadata.Problem) (notes []string, err error) {
	var blocking, todo []string
	for _, p := range all {
		if p.Blocking {
			blocking, todo = append(blocking, p.Text), append(todo, p.Todo)
			continue
		}
		notes = append(notes, p.String())
	}
	if len(blocking) > 0 {
		return nil, fault.Newf(fault.Invalid, "plan failover", "workspace %s cannot run here: %s", w.Workspace, strings.Join(blocking, "; ")).
			WithHint("%s", strings.Join(todo, "; "))
	}
	return notes, nil
}

func (t *Target) metadata(ctx context.Context, group, workspace string) (m metadata.Metadata, err error) {
	document, err := t.Catalog.Metadata(ctx, group, workspace)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(document.Server, &m); err != nil {
		return m, fault.New(fault.Corrupt, "read metadata", err)
	}
	return m, nil
}

// BeginOperation takes the group's lock, or goes on with the operation that holds it when nobody else does.
func (t *Target) BeginOperation(ctx context.Context, in BeginOperationInput) (BeginOperationResult, error) {
	p := beat(ctx)
	defer p.end()
	op := in.Operation
	op.RecordedAt = time.Now().UTC()
	err := t.Catalog.BeginOperation(ctx, op)
	var busy *catalog.Busy
	if !errors.As(err, &busy) {
		return BeginOperationResult{Operation: op}, judge(ctx, err)
	}
	result, err := t.takeOver(ctx, op, busy)
	return result, judge(ctx, err)
}

// takeOver goes on with the operation that holds the lock, or takes the lock from it if that is over.
func (t *Target) takeOver(ctx context.Context, op topology.Operation, busy *catalog.Busy) (BeginOperationResult, error) {
	held, err := t.Catalog.Operation(ctx, op.Group, busy.Held.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		return BeginOperationResult{}, err
	}
	sign := held.RecordedAt
	if sign.IsZero() {
		sign = busy.Held.StartedAt
	}
	if held.State == topology.OperationActive && time.Since(sign) < abandonedAfter {
		return BeginOperationResult{}, fault.Newf(fault.Invalid, "begin operation", "%s, and it is running", busy.Error()).
			WithHint("wait for it; if its Temporal is lost, it can be taken over %.0f s after its last sign of life", abandonedAfter.Seconds())
	}
	if held.State == topology.OperationActive && held.Kind == op.Kind && held.To == op.To {
		held.RecordedAt = time.Now().UTC()
		return BeginOperationResult{Operation: held, Resumed: true}, t.Catalog.PutOperation(ctx, held)
	}
	return BeginOperationResult{Operation: op}, t.Catalog.TakeOverOperation(ctx, busy.Held.ID, op)
}

// ClaimEpoch claims the group's next epoch, or finds the one that this operation has claimed.
func (t *Target) ClaimEpoch(ctx context.Context, in ClaimEpochInput) (ClaimEpochResult, error) {
	p := beat(ctx)
	defer p.end()
	claim := catalog.Claim{Group: in.Group, Region: in.Region, Operation: in.Operation, Claimant: in.Claimant}
	got, err := t.Catalog.ClaimEpoch(ctx, claim) // epoch 0: the next one, or the one that the operation has already
	return ClaimEpochResult{Epoch: got.Epoch}, judge(ctx, err)
}

// FixRecoveryPoint finds the final recovery point after the claim and writes it down on this host, so that every
// attempt from here on restores to the same point.
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
	plan, err := t.plan(ctx, loaded.Group, in.To)
	if err != nil {
		return plan, err
	}
	for i, w := range plan.Workspaces {
		if plan.Workspaces[i], err = t.fix(in, w); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// fix keeps the plan that an earlier attempt has written down, else writes down this one.
func (t *Target) fix(in FixRecoveryPointInput, w WorkspacePlan) (WorkspacePlan, error) {
	dir := instanceDir(t.DataDir, in.Group, w.Workspace, in.Epoch)
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil || found && o.Operation == in.Operation {
		return o.Plan, err
	}
	if found {
		return w, fault.Newf(fault.Diverged, "fix recovery point", "%s belongs to operation %s", dir, o.Operation)
	}
	w.Lineage = topology.NewLineageID(in.Epoch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return w, fault.New(diskKind(err), "make instance folder", err)
	}
	return w, writeState(dir, ownerFile, owner{Group: in.Group, Workspace: w.Workspace, Epoch: in.Epoch, Operation: in.Operation, Plan: w})
}

// PublishEndpoint makes the restored servers the serving ones: from here on the catalog names them. It sees to it that
// they run.
func (t *Target) PublishEndpoint(ctx context.Context, in PublishEndpointInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := t.publish(ctx, in)
	return g, judge(ctx, err)
}

func (t *Target) publish(ctx context.Context, in PublishEndpointInput) (topology.Group, error) {
	for _, a := range in.Workspaces {
		if _, err := t.running(ctx, in.Group, a.Place.Instance, in.Epoch); err != nil {
			return topology.Group{}, describe(err, "workspace %s", a.Workspace)
		}
	}
	updated, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if g.Epoch > in.Epoch {
			return fault.Newf(fault.Fenced, "publish endpoint", "group %s is at epoch %d already, and this is epoch %d", g.Name, g.Epoch, in.Epoch)
		}
		g.Active, g.Epoch = in.To, in.Epoch
		return publishAll(g, in)
	})
	if err == nil {
		err = t.markPublished(in)
	}
	return updated.Group, err
}

func publishAll(g *topology.Group, in PublishEndpointInput) error {
	for _, a := range in.Workspaces {
		w := g.Workspace(a.Workspace)
		if w == nil {
			return fault.Newf(fault.Missing, "publish endpoint", "group %s has no workspace %q", g.Name, a.Workspace)
		}
		w.Sites[in.To] = topology.Site{Kind: topology.Managed, Source: a.Source, Endpoint: a.Place.Endpoint, Instance: a.Place.Instance}
		w.Lineage = a.Lineage.ID
		if !slices.ContainsFunc(w.Lineages, func(l topology.Lineage) bool { return l.ID == a.Lineage.ID }) {
			w.Lineages = append(w.Lineages, a.Lineage)
		}
	}
	return nil
}

// markPublished says in the instances' folders that they have served: nothing of them is ever thrown away.
func (t *Target) markPublished(in PublishEndpointInput) error {
	for _, a := range in.Workspaces {
		var o owner
		if _, err := readState(a.Place.Instance, ownerFile, &o); err != nil {
			return err
		}
		o.Published = true
		if err := writeState(a.Place.Instance, ownerFile, o); err != nil {
			return err
		}
	}
	return nil
}

// RecordOperation writes an operation's account as it stands.
func (t *Target) RecordOperation(ctx context.Context, in RecordOperationInput) error {
	p := beat(ctx)
	defer p.end()
	in.Operation.RecordedAt = time.Now().UTC()
	return judge(ctx, t.Catalog.PutOperation(ctx, in.Operation))
}

// EndOperation writes an operation's end and releases the group's lock.
func (t *Target) EndOperation(ctx context.Context, in RecordOperationInput) error {
	p := beat(ctx)
	defer p.end()
	in.Operation.RecordedAt = time.Now().UTC()
	return judge(ctx, t.Catalog.EndOperation(ctx, in.Operation))
}

func endpointOf(host string, port int) topology.Endpoint {
	return topology.Endpoint{Hosts: []topology.HostPort{{Host: host, Port: port}}}
}
