package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// actor is a process that does one thing by the catalog. When it is killed it begins anew, knowing nothing.
type actor struct {
	name       string
	index      int
	controller string
	blind      string // region whose bucket does not answer it
	script     func(ctx context.Context, a *actor) error
	model      *model

	catalog *Catalog
	cancel  context.CancelFunc
	done    chan struct{}
	err     error // how it ended
}

// start starts the actor, or starts it again.
func (a *actor) start(ctx context.Context) {
	ctx, a.cancel = context.WithCancel(ctx)
	c := &Catalog{Stores: map[string]objectstore.Store{}, Controller: a.controller}
	for region := range a.model.net.buckets {
		c.Stores[region] = store{a.model.net, a, region}
	}
	done := make(chan struct{})
	a.catalog, a.done = c, done
	go func() {
		defer close(done)
		err := a.script(ctx, a)
		if ctx.Err() == nil {
			a.err = err
		}
	}()
}

// insist does something as Temporal has activities done: what may pass is tried again, a few times.
func (a *actor) insist(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		passes := fault.Is(err, fault.Transient) || fault.Is(err, fault.Conflict)
		if err == nil || !passes || n == 5 || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// failover is what the workflow of that name does with the catalog. An operation that nobody has heard of for long it takes
// over, as activities.BeginOperation does.
func failover(id, to string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		op := topology.Operation{ID: id, Kind: "Failover", Group: "prod", State: topology.OperationActive, To: to, StartedAt: time.Now().UTC(), Phases: []topology.Phase{}}
		if err := a.insist(ctx, func() error { return a.begin(ctx, &op) }); err != nil {
			return err
		}
		err := a.serve(ctx, &op)
		op.State = topology.OperationCompleted
		if err != nil {
			op.State = topology.OperationFailed
		}
		ended := a.insist(ctx, func() error { return a.catalog.EndOperation(ctx, op) })
		if err == nil {
			err = ended
		}
		return err
	}
}

func (a *actor) begin(ctx context.Context, op *topology.Operation) error {
	op.RecordedAt = time.Now().UTC()
	err := a.catalog.BeginOperation(ctx, *op)
	var busy *Busy
	if !errors.As(err, &busy) {
		return err
	}
	held, err := a.catalog.Operation(ctx, "prod", busy.Held.ID)
	switch {
	case err != nil && !fault.Is(err, fault.Missing):
		return err
	case held.Running(time.Now()):
		return busy
	case held.State == topology.OperationActive && held.Kind == op.Kind && held.To == op.To:
		*op = held
		return nil
	}
	return a.catalog.TakeOverOperation(ctx, busy.Held.ID, *op)
}

// serve claims and publishes: in between a server is promoted, which takes writes from then on.
func (a *actor) serve(ctx context.Context, op *topology.Operation) error {
	err := a.insist(ctx, func() error {
		won, err := a.catalog.ClaimEpoch(ctx, Claim{Group: "prod", Region: op.To, Operation: op.ID, Claimant: a.name, Held: true})
		if err == nil {
			op.Epoch = won.Epoch
			a.model.claimed(a, won)
		}
		return err
	})
	if err != nil {
		return err
	}
	return a.insist(ctx, func() error {
		_, err := a.catalog.Update(ctx, "prod", func(g *topology.Group) error {
			if g.Epoch > op.Epoch {
				return fault.Newf(fault.Fenced, "publish", "epoch %d", g.Epoch)
			}
			g.Active, g.Epoch = op.To, op.Epoch
			return nil
		})
		return err
	})
}

// entity is what Replication does: it brings the buckets together and lets the decision follow the side that does not serve.
func entity(ctx context.Context, a *actor) error {
	for range 3 {
		l, err := a.catalog.Load(ctx, "prod")
		if err == nil && l.Group.Authority == l.Group.Active && l.Group.Operation == nil {
			_, err = a.catalog.FollowAuthority(ctx, "prod", l.Group.Other(l.Group.Active), l.Group.Epoch)
		}
		if err == nil {
			_ = a.catalog.Mirror(ctx, "prod") // the next look tries again
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

// writer adds databases to the choice, which nothing may lose once it was told that they are there.
func writer(name string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		for n := range 2 {
			db := fmt.Sprint(name, n)
			err := a.insist(ctx, func() error {
				_, err := a.catalog.Update(ctx, "prod", func(g *topology.Group) error {
					if !slices.Contains(g.Replication.Databases, db) {
						g.Replication.Databases = append(g.Replication.Databases, db)
					}
					return nil
				})
				return err
			})
			if err != nil {
				return err
			}
			a.model.added = append(a.model.added, db)
		}
		return nil
	}
}

// takeover makes the actor's control plane act for the group, and fails over.
func takeover(id, to string, force bool) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		err := a.insist(ctx, func() error {
			_, err := a.catalog.TakeControl(ctx, "prod", Takeover{Controller: a.controller, By: a.name, Region: to, Force: force})
			return err
		})
		if err != nil {
			return err
		}
		a.model.controls(a)
		return failover(id, to)(ctx, a)
	}
}

// switchover holds a fence over the serving side, commits it and claims; when somebody has lifted the fence it goes back.
func switchover(id, to string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		op := topology.Operation{ID: id, Kind: "Switchover", Group: "prod", State: topology.OperationActive, To: to, StartedAt: time.Now().UTC(), Phases: []topology.Phase{}}
		if err := a.insist(ctx, func() error { return a.begin(ctx, &op) }); err != nil {
			return err
		}
		err := a.insist(ctx, func() error { return a.fence(ctx, id, topology.FenceHolding) })
		if err == nil {
			err = a.insist(ctx, func() error { return a.fence(ctx, id, topology.FenceCommitted) })
		}
		if err == nil {
			err = a.serve(ctx, &op)
		}
		if err != nil && op.Epoch == 0 {
			_ = a.putBack(ctx, id)
		}
		op.State = topology.OperationCompleted
		if err != nil {
			op.State = topology.OperationReverted
		}
		_ = a.insist(ctx, func() error { return a.catalog.EndOperation(ctx, op) })
		return err
	}
}

// putBack lifts the fence; a committed one after it is decided that nobody claims for the operation.
func (a *actor) putBack(ctx context.Context, operation string) error {
	err := a.insist(ctx, func() error { return a.fence(ctx, operation, topology.FenceLifted) })
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	var claimed topology.Epoch
	err = a.insist(ctx, func() (err error) { claimed, err = a.catalog.GoBack(ctx, "prod", operation); return err })
	if err != nil || claimed != 0 {
		return err
	}
	f := topology.Fence{Group: "prod", Workspace: "main", Lineage: firstLineage, Region: "east", Epoch: 1, Operation: operation}
	return a.insist(ctx, func() error { _, err := a.catalog.LiftCommitted(ctx, f); return err })
}

func (a *actor) fence(ctx context.Context, operation string, state topology.FenceState) error {
	f := topology.Fence{
		Group: "prod", Workspace: "main", Lineage: firstLineage, Region: "east", Epoch: 1, State: state, Worth: topology.FenceProven, Operation: operation, At: time.Now().UTC(),
	}
	put := a.catalog.PutFence
	if state == topology.FenceCommitted {
		put = a.catalog.CommitFence
	}
	_, err := put(ctx, f)
	return err
}

// keeper lifts a fence whose operation it takes for dead, as the worker beside the fenced server does.
func keeper(operation string) func(context.Context, *actor) error {
	return func(ctx context.Context, a *actor) error {
		for range 2 {
			if f, err := a.catalog.Fence(ctx, "prod", "main", firstLineage); err == nil && f.State == topology.FenceHolding {
				_ = a.fence(ctx, operation, topology.FenceLifted)
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return nil
	}
}

const firstLineage = "0001-00000001"

// decided judges a write of the group's document. What was not seen before is a decision; the rest are copies.
func (m *model) decided(r *request, before, after []byte) {
	var was, is topology.Group
	if json.Unmarshal(after, &is) != nil {
		m.fail("%s wrote what cannot be read", r)
		return
	}
	first := before == nil
	if !first && json.Unmarshal(before, &was) != nil {
		m.fail("%s wrote over what cannot be read", r)
	}
	if is.Revision <= was.Revision {
		m.fail("%s: revision %d over %d", r, is.Revision, was.Revision)
	}
	if seen, copied := m.revisions[is.Revision]; copied {
		if seen != string(after) {
			m.fail("%s: there are two revisions %d", r, is.Revision)
		}
		return
	}
	m.revisions[is.Revision] = string(after)
	seizes := is.Seized != nil && (was.Seized == nil || !was.Seized.At.Equal(is.Seized.At))
	if !first && !seizes && was.Authority != r.region {
		m.fail("%s: decided where region %s decides", r, was.Authority)
	}
	if !first && !seizes && is.Authority != was.Authority && m.revisionIn(is.Authority) < was.Revision {
		m.fail("%s: region %s decides from now on, and does not know what was decided before", r, is.Authority)
	}
	if !first && was.Controller != nil && was.Controller.ID != r.actor.controller && is.Controller.ID != r.actor.controller {
		m.fail("%s of control plane %s: %s acts for the group", r, r.actor.controller, was.Controller.ID)
	}
	if is.Epoch < was.Epoch || is.NewestEpoch() < was.NewestEpoch() {
		m.fail("%s: epoch %d (newest %d) after %d (newest %d)", r, is.Epoch, is.NewestEpoch(), was.Epoch, was.NewestEpoch())
	}
}

// revisionIn returns the revision of the group's document in a bucket.
func (m *model) revisionIn(region string) int64 {
	var g topology.Group
	_ = json.Unmarshal(m.net.buckets[region].objects[groupKey("prod")], &g) // nothing there is revision 0
	return g.Revision
}

// fenced judges a write of a fence: once its operation has claimed, it is never lifted.
func (m *model) fenced(r *request, after []byte) {
	var f topology.Fence
	if json.Unmarshal(after, &f) != nil || f.State != topology.FenceLifted {
		return
	}
	for epoch, operation := range m.holders {
		if operation == f.Operation {
			m.fail("%s: lifted after operation %s had claimed epoch %d", r, operation, epoch)
		}
	}
}

func (m *model) wrote(r *request, before, after []byte) {
	switch {
	case strings.HasSuffix(r.key, "/group.json"):
		m.decided(r, before, after)
	case strings.Contains(r.key, "/fences/"):
		m.fenced(r, after)
	}
}
