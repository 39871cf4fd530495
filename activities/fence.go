package activities

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
)

// Fence keeps everybody from writing to the server that writes a lineage, and records what that is worth. It is idempotent.
// With Before it is fault.Conflict where the operation's fence was lifted already; without, fault.Invalid where no newer epoch
// was claimed.
func (s *Source) Fence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	f, err := s.fence(ctx, in)
	return f, decided(ctx, describe(err, "workspace %s", in.Workspace))
}

func (s *Source) fence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	b, err := s.barred(ctx, in.Group, in.Workspace, in.Lineage)
	if err != nil {
		return topology.Fence{}, err
	}
	b.operation = in.Operation
	if in.Before {
		return s.hold(ctx, b)
	}
	switch err := s.Catalog.CheckEpoch(ctx, in.Group, b.lineage.Epoch); {
	case err == nil:
		return topology.Fence{}, fault.Newf(fault.Invalid, "fence", "epoch %d of group %s is the newest", b.lineage.Epoch, in.Group)
	case !fault.Is(err, fault.Fenced):
		return topology.Fence{}, err
	}
	return s.commit(ctx, b)
}

// decided is judge, and does not try again what another one has decided.
func decided(ctx context.Context, err error) error {
	if ctx.Err() == nil && fault.Is(err, fault.Conflict) {
		return temporal.NewNonRetryableApplicationError(err.Error(), string(fault.Conflict), nil, fault.HintOf(err))
	}
	return judge(ctx, err)
}

// hold fences for an operation that may still go back. It is recorded first, so that whoever finds the operation dead lifts it.
func (s *Source) hold(ctx context.Context, b barred) (topology.Fence, error) {
	f := b.record(topology.FenceHolding)
	f.Worth, f.Reason = topology.FenceNone, "it is being set"
	if _, err := s.Catalog.PutFence(ctx, f); err != nil {
		return topology.Fence{}, err
	}
	result, err := fence.Apply(ctx, b.source, b.options(false))
	if err != nil {
		return topology.Fence{}, err
	}
	s.guard(b, result)
	f = found(f, result)
	return s.Catalog.PutFence(ctx, f)
}

// commit fences a server whose epoch is over. That no bucket takes the record is no reason to stop: it is written later.
func (s *Source) commit(ctx context.Context, b barred) (topology.Fence, error) {
	f := b.record(topology.FenceCommitted)
	result, err := s.bar(ctx, b)
	if err != nil {
		return topology.Fence{}, err
	}
	s.guard(b, result)
	f = found(f, result)
	recorded, err := s.Catalog.PutFence(ctx, f)
	if err != nil {
		s.Log.WarnContext(ctx, "a server was fenced, and no bucket knows", "group", b.group, "workspace", b.workspace, "error", err)
		return f, nil
	}
	return recorded, nil
}

// found completes a record with what fencing came to.
func found(f topology.Fence, r fence.Result) topology.Fence {
	f.Worth, f.Reason, f.Means, f.End, f.Before, f.DataDir = r.Worth, r.Reason, r.Means, r.End, r.Before, r.DataDir
	return f
}

// bar fences a server for good, also one of this host that is down: that stays down, and its next start is fenced.
func (s *Source) bar(ctx context.Context, b barred) (fence.Result, error) {
	down, err := b.down(ctx)
	if err != nil {
		return fence.Result{}, err
	}
	if down == nil {
		return fence.Apply(ctx, b.source, b.options(true))
	}
	if err := fence.OnDisk(ctx, down, b.options(true)); err != nil {
		return fence.Result{}, err
	}
	return fence.Result{Worth: topology.FenceProven, Means: []string{"the server is down, and its next start is fenced"}}, nil
}

// CommitFence makes a fence that holds one that stays. It is fault.Conflict when the fence was lifted or is not in force any more:
// the server may have taken writes since, so that the epoch must not be claimed.
func (s *Source) CommitFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	f, err := s.commitFence(ctx, in)
	return f, decided(ctx, describe(err, "workspace %s", in.Workspace))
}

func (s *Source) commitFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	b, err := s.barred(ctx, in.Group, in.Workspace, in.Lineage)
	if err != nil {
		return topology.Fence{}, err
	}
	b.operation = in.Operation
	there, err := s.Catalog.Fence(ctx, in.Group, in.Workspace, in.Lineage)
	if err == nil && there.State == topology.FenceCommitted && there.Operation == in.Operation {
		return there, nil // by an attempt whose answer was lost
	}
	inForce, err := fence.Check(ctx, b.source, b.options(false))
	if err != nil {
		return topology.Fence{}, err
	}
	if !inForce {
		return topology.Fence{}, fault.Newf(fault.Conflict, "commit fence", "the fence is not in force any more: somebody else changed the server's settings or access rules").
			WithHint("Find out who manages them, and start the operation again.")
	}
	return s.Catalog.CommitFence(ctx, b.record(topology.FenceCommitted))
}

// LiftFence lets the server take writes again, as it did before. It is fault.Conflict when the fence is committed.
func (s *Source) LiftFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	f, err := s.liftFence(ctx, in)
	return f, decided(ctx, describe(err, "workspace %s", in.Workspace))
}

// liftFence decides first: from then on nobody commits the fence. What is needed of the server is in the record, so that nothing is
// waited for but this region's own bucket.
func (s *Source) liftFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	epoch, err := topology.ParseLineageID(in.Lineage)
	if err != nil {
		return topology.Fence{}, err
	}
	f, err := s.Catalog.PutFence(ctx, topology.Fence{Group: in.Group, Workspace: in.Workspace, Lineage: in.Lineage, Region: s.Region, Epoch: epoch,
		State: topology.FenceLifted, Operation: in.Operation, At: now(), LiftedAt: now()})
	if err != nil || f.Site.Kind == "" { // it was never set, and never will be by that operation
		return f, err
	}
	b := barred{group: in.Group, workspace: in.Workspace, lineage: topology.Lineage{ID: in.Lineage}, source: f.Site.Source, operation: f.Operation}
	return f, s.lift(ctx, b)
}

func (s *Source) lift(ctx context.Context, b barred) error {
	note, err := fence.Lift(ctx, b.source, b.options(false))
	if err == nil && note != "" {
		s.Log.WarnContext(ctx, "lifted a fence; "+note, "group", b.group, "workspace", b.workspace)
	}
	return err
}

// barred is a server that is fenced, or let go of.
type barred struct {
	group, workspace string
	lineage          topology.Lineage
	site             topology.Site
	source           topology.Source
	newer            []topology.Lineage // that left an older one
	stores           map[string]objectstore.Store
	operation        string
	self             bool
}

// barred finds the server that writes, or wrote, a lineage.
func (s *Source) barred(ctx context.Context, group, workspace, lineage string) (barred, error) {
	loaded, err := s.Catalog.Load(ctx, group)
	if err != nil {
		return barred{}, err
	}
	w := loaded.Group.Workspace(workspace)
	if w == nil {
		return barred{}, noWorkspace(loaded.Group, workspace)
	}
	l := w.FindLineage(lineage)
	if l == nil {
		return barred{}, fault.Newf(fault.Missing, "fence", "workspace %s has no lineage %s", workspace, lineage)
	}
	b := s.barredOf(loaded.Group, *w, *l)
	if b.site.Kind == "" {
		if f, err := s.Catalog.Fence(ctx, group, workspace, lineage); err == nil {
			b.site = f.Site
		}
	}
	if b.source = b.site.Source; b.site.Kind == "" {
		return b, fault.Newf(fault.Missing, "fence", "nobody knows the server that wrote lineage %s any more", lineage)
	}
	return b, nil
}

// barredOf leaves the site open where the group's document names a newer server in that region.
func (s *Source) barredOf(g topology.Group, w topology.Workspace, l topology.Lineage) barred {
	b := barred{group: g.Name, workspace: w.Name, lineage: l, stores: s.Stores}
	newestHere, later := l.Epoch, false
	for _, other := range w.Lineages {
		if other.Region == l.Region {
			newestHere = max(newestHere, other.Epoch)
		}
		if later && other.Parent != nil {
			b.newer = append(b.newer, other)
		}
		later = later || other.ID == l.ID
	}
	if newestHere == l.Epoch && !w.Replaced(l.ID) {
		b.site = w.Sites[l.Region]
		b.source = b.site.Source
	}
	return b
}

func (b barred) record(state topology.FenceState) topology.Fence {
	return topology.Fence{Group: b.group, Workspace: b.workspace, Lineage: b.lineage.ID, Region: b.lineage.Region, Epoch: b.lineage.Epoch,
		State: state, Operation: b.operation, Self: b.self, At: now(), Site: b.site}
}

// options name who fences, so that nobody lifts what somebody else has set since.
func (b barred) options(forGood bool) fence.Options {
	by := b.operation
	switch {
	case b.self:
		by = "self"
	case by == "":
		by = fmt.Sprintf("epoch-%d", b.lineage.Epoch+1)
	}
	return fence.Options{Lineage: b.lineage, By: by, ForGood: forGood, Newer: b.newer, Wrote: b.wrote}
}

// wrote compares what the server has written with what a bucket holds of a newer lineage, that of its own region first.
func (b barred) wrote(ctx context.Context, newer topology.Lineage) (bool, error) {
	w := ship.WAL{Source: b.source, Group: b.group, Workspace: b.workspace}
	regions := slices.Sorted(maps.Keys(b.stores))
	slices.SortStableFunc(regions, func(x, y string) int { return cmp.Compare(farther(x, newer), farther(y, newer)) })
	for _, region := range regions {
		w.Destinations = append(w.Destinations, ship.Destination{Region: region, Store: b.stores[region]})
	}
	return w.Wrote(ctx, newer)
}

// farther is 0 for the bucket that has a lineage first.
func farther(region string, l topology.Lineage) int {
	if region == l.Region {
		return 0
	}
	return 1
}

// down returns the server if it is one of this host that does not run.
func (b barred) down(ctx context.Context) (*postgres.Server, error) {
	if b.site.Kind != topology.Managed || b.site.Instance == "" {
		return nil, nil
	}
	server, err := postgres.Load(b.site.Instance)
	if err != nil {
		return nil, err
	}
	if _, running := server.Running(ctx); running {
		return nil, nil
	}
	return server, nil
}

// guards are the fences that are being guarded.
type guards struct {
	mu   sync.Mutex
	open map[string]bool
}

// guardWithin is longer than any sensible authentication_timeout.
const guardWithin = 3 * time.Minute

// guard looks for a while after sessions that were being let in when a fence was set. It does not hold up anybody.
func (s *Source) guard(b barred, result fence.Result) {
	key := b.group + "/" + b.workspace + "/" + b.lineage.ID
	s.guards.mu.Lock()
	defer s.guards.mu.Unlock()
	if s.guards.open[key] {
		result.Close(context.Background())
		return
	}
	if s.guards.open == nil {
		s.guards.open = map[string]bool{}
	}
	s.guards.open[key] = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), guardWithin)
		defer cancel()
		if err := result.Guard(ctx, b.source); err != nil {
			s.Log.Info("a fence is not guarded any more", "group", b.group, "workspace", b.workspace, "error", err)
		}
		s.guards.mu.Lock()
		defer s.guards.mu.Unlock()
		delete(s.guards.open, key)
	}()
}

// selfFenced reports whether a server is fenced already, by whomever.
func (s *Source) selfFenced(ctx context.Context, b barred) (bool, error) {
	o := b.options(false)
	o.By = ""
	return fence.Check(ctx, b.source, o)
}

func (s *Source) applySelf(ctx context.Context, b barred) (fence.Result, error) {
	result, err := fence.Apply(ctx, b.source, b.options(false))
	if err == nil {
		s.guard(b, result)
	}
	return result, err
}
