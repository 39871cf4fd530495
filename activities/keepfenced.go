package activities

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// checkFences is how long a server that must not be written to may go on before anybody looks: a newer epoch that a bucket
	// shows ends its writers within that time.
	checkFences = 5 * time.Second
	// lookWithin is how long one group may hold up the next look at it.
	lookWithin = 45 * time.Second
	// listGroups is how soon a new group is looked at.
	listGroups = time.Minute
	// readFences is how often the records of fences are read of a group that no operation holds.
	readFences = time.Minute
)

// KeepFenced sees to it, until ctx is done and without Temporal, that servers of this region and host whose epoch is over take no
// writes, also when they come back, or when somebody lets clients in again; that those which SmartDR runs rest when all that they wrote
// is home; that fences of operations that are over without a claim are lifted; and that a region that reaches nobody for as long as its
// group allows (SelfFenceAfter) fences itself.
func KeepFenced(ctx context.Context, s *Source, t *Target) { keepFenced(ctx, s, t, checkFences) }

func keepFenced(ctx context.Context, s *Source, t *Target, every time.Duration) {
	k := &fencer{Source: s, target: t, every: every, groups: map[string]*groupFences{}}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-s.over.rung():
			k.listed = time.Time{} // it may be of a group that was made a moment ago
		case <-ctx.Done():
			return
		}
		k.look(ctx)
		next.Reset(every)
	}
}

// fencer is what one KeepFenced remembers from look to look.
type fencer struct {
	*Source
	target *Target
	every  time.Duration
	listed time.Time
	groups map[string]*groupFences
}

// groupFences is what is known of one group.
type groupFences struct {
	name      string
	last      topology.Group // as it was last read: its buckets may be away
	held      bool           // an operation held it in the last look
	readAt    time.Time      // when the records of its fences were read
	recorded  map[string]topology.Fence
	settled   map[string]bool // lineages whose lifted fence is gone from the server
	isolation isolation
}

// look looks at all groups side by side: a server that does not answer must not hold up another's fence.
func (k *fencer) look(ctx context.Context) {
	if time.Since(k.listed) >= listGroups {
		k.list(ctx)
	}
	var all sync.WaitGroup
	for _, g := range k.groups {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, lookWithin)
			defer cancel()
			if err := k.lookAt(ctx, g); err != nil && ctx.Err() == nil {
				k.Log.WarnContext(ctx, "not all servers are fenced, or let go of, as they ought to be", "group", g.name, "error", err)
			}
		})
	}
	all.Wait()
}

// list finds the groups. Those that are known stay while no bucket tells.
func (k *fencer) list(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	names, _, err := k.Catalog.Groups(ctx)
	if err != nil {
		k.Log.InfoContext(ctx, "no bucket tells which groups there are", "error", err)
		return
	}
	k.listed = time.Now()
	for _, name := range names {
		if k.groups[name] == nil {
			k.groups[name] = &groupFences{name: name, recorded: map[string]topology.Fence{}, settled: map[string]bool{}, isolation: isolation{file: k.isolationFile(name), most: longestStep * k.every}}
		}
	}
}

func (k *fencer) lookAt(ctx context.Context, g *groupFences) error {
	loaded, err := k.Catalog.Load(ctx, g.name)
	if err == nil {
		g.last = loaded.Group
	} else if g.last.Name == "" {
		return err
	}
	if g.last.State == topology.GroupTerminated {
		return nil
	}
	epoch := k.Catalog.CheckEpoch(ctx, g.name, g.last.Epoch)
	over := fault.Is(epoch, fault.Fenced)
	if err := k.readRecords(ctx, g, over); err != nil {
		k.Log.InfoContext(ctx, "what is known of fences could not be read", "group", g.name, "error", err)
	}
	var errs []error
	for _, w := range g.last.Workspaces {
		if w.State == topology.WorkspaceTerminated {
			continue
		}
		errs = append(errs, describe(k.lookAtServers(ctx, g, w, over), "workspace %s", w.Name))
	}
	errs = append(errs, k.lookAtFolders(ctx, g, over), k.target.restAll(ctx, g.last))
	if serves := g.last.Active == k.Region && !over; serves {
		errs = append(errs, k.lookAround(ctx, g))
	}
	return errors.Join(errs...)
}

// readRecords reads which fences there are, often while something is going on.
func (k *fencer) readRecords(ctx context.Context, g *groupFences, over bool) error {
	held := g.last.Operation != nil
	if !held && !g.held && !over && time.Since(g.readAt) < readFences {
		return nil
	}
	all, err := k.Catalog.Fences(ctx, g.name)
	if err != nil {
		return err
	}
	g.held, g.readAt = held, time.Now()
	g.recorded = map[string]topology.Fence{}
	for _, f := range all {
		g.recorded[f.Lineage] = f
	}
	return nil
}

// lookAtServers looks at the servers of a workspace that were written to in this region: the last one of each epoch, and those that were
// replaced within one.
func (k *fencer) lookAtServers(ctx context.Context, g *groupFences, w topology.Workspace, over bool) error {
	var errs []error
	seen := map[topology.Epoch]bool{}
	for _, l := range slices.Backward(w.Lineages) {
		replaced := w.Replaced(l.ID)
		if l.Region != k.Region || seen[l.Epoch] && !replaced {
			continue
		}
		seen[l.Epoch] = true
		b := k.barredOf(g.last, w, l)
		serves := g.last.Active == k.Region && l.Epoch == g.last.Epoch && !over && !replaced
		if b.site.Kind == "" {
			b.site = g.recorded[l.ID].Site
			b.source = b.site.Source
			if b.site.Kind == "" || sameServer(b.site, w.Sites[k.Region]) {
				continue // lookAtFolders finds it, if it is one of this host
			}
		}
		switch {
		case !k.mine(b.site):
		case serves:
			errs = append(errs, k.letGo(ctx, g, b))
		default:
			errs = append(errs, k.keepOut(ctx, g, b))
		}
	}
	return errors.Join(errs...)
}

// sameServer reports whether two sites are one server, as far as they tell: one that serves again must not be fenced for what it
// wrote long ago.
func sameServer(a, b topology.Site) bool {
	if a.Kind != b.Kind {
		return false
	}
	if a.Kind == topology.Managed {
		return a.Host == b.Host && a.Instance == b.Instance
	}
	return a.Source.ConnString == b.Source.ConnString
}

// mine reports whether this host reaches a server of its region.
func (k *fencer) mine(site topology.Site) bool {
	if site.Kind == topology.Managed && site.Host == "" {
		found, err := readState(site.Instance, ownerFile, new(owner))
		return found && err == nil
	}
	return site.Kind == topology.Adopted || site.Host == k.Host
}

// keepOut fences a server whose epoch is over, unless that is in force.
func (k *fencer) keepOut(ctx context.Context, g *groupFences, b barred) error {
	there := g.recorded[b.lineage.ID]
	recorded := there.State == topology.FenceCommitted && there.Worth != topology.FenceNone
	down, err := b.down(ctx)
	if fault.Is(err, fault.Missing) {
		return nil // its folder is gone
	}
	if err != nil || down != nil && recorded {
		return err
	}
	if down == nil && recorded {
		ask := b.options(true)
		ask.By = "" // whoever fenced
		inForce, err := fence.Check(ctx, b.source, ask)
		if err != nil || inForce {
			return err
		}
	}
	b.operation = k.claimant(ctx, g.name, b.lineage.Epoch+1, there)
	f, err := k.commit(ctx, b)
	if err != nil {
		return errors.Join(err, k.unreachable(ctx, g, b, err))
	}
	g.recorded[b.lineage.ID] = f
	k.Log.WarnContext(ctx, "fenced a server whose epoch is over", "group", b.group, "workspace", b.workspace, "lineage", b.lineage.ID, "worth", f.Worth, "reason", f.Reason)
	return nil
}

// claimant returns the operation that ended an epoch, if it is known.
func (k *fencer) claimant(ctx context.Context, group string, next topology.Epoch, there topology.Fence) string {
	if there.State == topology.FenceCommitted {
		return there.Operation
	}
	claim, err := k.Catalog.Claimed(ctx, group, next)
	if err != nil {
		return ""
	}
	return claim.Operation
}

// unreachable records that a server may still take writes.
func (k *fencer) unreachable(ctx context.Context, g *groupFences, b barred, why error) error {
	if g.recorded[b.lineage.ID].State == topology.FenceCommitted {
		return nil
	}
	f := b.record(topology.FenceCommitted)
	f.Worth, f.Reason = topology.FenceNone, why.Error()
	f, err := k.Catalog.PutFence(ctx, f)
	if err == nil {
		g.recorded[b.lineage.ID] = f
	}
	return err
}

// letGo lifts the fence of a server that serves, when its operation is over and has not claimed.
func (k *fencer) letGo(ctx context.Context, g *groupFences, b barred) error {
	f, there := g.recorded[b.lineage.ID]
	switch {
	case !there || f.State == topology.FenceCommitted:
		return nil
	case f.State == topology.FenceLifted:
		return k.settle(ctx, g, b, f)
	case f.Self:
		return nil // see lookAround
	}
	dead, err := k.dead(ctx, g.last, f)
	if err != nil || !dead {
		return err
	}
	k.Log.WarnContext(ctx, "lifting the fence of an operation that is over", "group", b.group, "workspace", b.workspace, "operation", f.Operation)
	b.operation = f.Operation
	lifted := b.record(topology.FenceLifted)
	lifted.LiftedAt = now()
	if lifted, err = k.Catalog.PutFence(ctx, lifted); err != nil {
		return err
	}
	g.recorded[b.lineage.ID] = lifted
	return k.settle(ctx, g, b, lifted)
}

// dead reports whether an operation that holds a fence has ended, or gives no sign of life.
func (k *fencer) dead(ctx context.Context, g topology.Group, f topology.Fence) (bool, error) {
	op, err := k.Catalog.Operation(ctx, g.Name, f.Operation)
	if fault.Is(err, fault.Missing) {
		return now().Sub(f.At) > topology.AbandonedAfter, nil
	}
	return err == nil && !op.Running(now()), err
}

// settle makes sure that a fence that was lifted is gone from the server: whoever lifted it may have died before that.
func (k *fencer) settle(ctx context.Context, g *groupFences, b barred, f topology.Fence) error {
	key := b.lineage.ID + "/" + f.Operation
	if g.settled[key] {
		return nil
	}
	b.operation, b.self = f.Operation, f.Self
	if err := k.lift(ctx, b); err != nil {
		return err
	}
	g.settled[key] = true
	return nil
}
