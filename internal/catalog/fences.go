package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// fencesShown is how many of a workspace's lineages, from the newest on, are asked for their fences: what was left longer ago
// stays as it is.
const fencesShown = 8

// fenceDocument is a fence with the number of its changes: the higher one of two buckets is the newer one.
type fenceDocument struct {
	Revision int64 `json:"revision"`
	topology.Fence
}

func fenceKey(group, workspace, lineage string) string {
	return workspaceKey(group, workspace, "fences/"+lineage+".json")
}

// PutFence records how a fence stands, and returns what stands then. A committed fence never goes back, and one that was lifted
// is not held or committed again by the same operation: fault.Conflict. Of a fence that an operation sets before it claims an
// epoch, of lifting it and of committing it, the bucket of f.Region decides, so that one of lifting and committing wins, and that
// the server can take writes again without the other region; anything else is recorded wherever a bucket answers.
func (c *Catalog) PutFence(ctx context.Context, f topology.Fence) (topology.Fence, error) {
	decided := f.Operation != "" && f.State != topology.FenceCommitted
	return c.changeFence(ctx, f, decided, nextFence)
}

// CommitFence makes a fence stay that f.Operation holds. It is fault.Conflict when that holds it no longer: it must not claim.
func (c *Catalog) CommitFence(ctx context.Context, f topology.Fence) (topology.Fence, error) {
	f.State = topology.FenceCommitted
	return c.changeFence(ctx, f, true, func(there *topology.Fence, f topology.Fence) (topology.Fence, error) {
		if there == nil || there.State == topology.FenceLifted || there.Operation != f.Operation {
			return f, fault.Newf(fault.Conflict, "commit fence", "operation %s does not hold the fence of lineage %s any more", f.Operation, f.Lineage).
				WithHint("The server may have taken writes since. Start the operation again.")
		}
		kept := *there
		kept.State = topology.FenceCommitted
		return kept, nil
	})
}

// nextFence returns the record that follows on there, which is nil if there is none yet.
func nextFence(there *topology.Fence, f topology.Fence) (topology.Fence, error) {
	const op = "record fence"
	if there == nil {
		return f, nil
	}
	same := there.Operation == f.Operation && there.Self == f.Self
	switch {
	case there.State == topology.FenceCommitted && f.State != topology.FenceCommitted:
		return f, fault.Newf(fault.Conflict, op, "the fence of lineage %s is committed", f.Lineage).
			WithHint("Another region serves, or is about to.")
	case there.State == topology.FenceLifted && f.State == topology.FenceLifted:
		return *there, nil
	case there.State == topology.FenceLifted && same && f.Operation != "":
		return f, fault.Newf(fault.Conflict, op, "the fence of lineage %s was lifted at %s, since operation %s gave no sign of life or went back", f.Lineage, there.LiftedAt, f.Operation).
			WithHint("Start the operation again.")
	case f.State == topology.FenceLifted && !same:
		return f, fault.Newf(fault.Conflict, op, "the fence of lineage %s is held by operation %q", f.Lineage, there.Operation)
	}
	return f.Following(*there), nil
}

// changeFence changes the document in the bucket that decides, and then in the other one. Where the authority's bucket does not
// answer and needs not to, another one is as good.
func (c *Catalog) changeFence(ctx context.Context, f topology.Fence, decided bool, next func(*topology.Fence, topology.Fence) (topology.Fence, error)) (topology.Fence, error) {
	f.Format = format
	if err := checkNames(f.Group, f.Workspace); err != nil {
		return f, err
	}
	if _, err := topology.ParseLineageID(f.Lineage); err != nil {
		return f, err
	}
	order, err := c.fenceOrder(ctx, f)
	if err != nil {
		return f, err
	}
	var won fenceDocument
	var silent error
	for i, region := range order {
		s, err := c.store(region)
		if err == nil {
			won, err = c.changeFenceAt(ctx, region, s, f, next)
		}
		if err == nil {
			c.copyLater(ctx, slices.Delete(slices.Clone(order), i, i+1), won, decided)
			return won.Fence, nil
		}
		if decided || final(err) {
			return f, err
		}
		silent = err
	}
	return f, fault.Newf(fault.Transient, "record fence", "no bucket took it: %w", silent)
}

// final reports whether a bucket answered, and refused.
func final(err error) bool {
	return fault.Is(err, fault.Conflict) || fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Invalid)
}

// fenceOrder returns a group's regions, the one of the server first. Those that are known do, however long ago that was: lifting a
// fence must not wait for anybody.
func (c *Catalog) fenceOrder(ctx context.Context, f topology.Fence) ([]string, error) {
	known, _ := c.knownRegions(f.Group)
	if len(known) == 0 {
		var err error
		if known, err = c.regionsOf(ctx, f.Group); err != nil {
			return nil, err
		}
	}
	order := []string{f.Region}
	for _, r := range known {
		if r != f.Region {
			order = append(order, r)
		}
	}
	return order, nil
}

func (c *Catalog) changeFenceAt(ctx context.Context, region string, s objectstore.Store, f topology.Fence, next func(*topology.Fence, topology.Fence) (topology.Fence, error)) (fenceDocument, error) {
	ctx, done := c.patiently(ctx, region)
	defer done()
	key := fenceKey(f.Group, f.Workspace, f.Lineage)
	var won fenceDocument
	var refusal error // it must not look like a conditional write that lost, which is tried again
	err := c.put(ctx, region, s, write{key: key, next: func(b []byte) ([]byte, error) {
		var there *topology.Fence
		var d fenceDocument
		if b != nil {
			if err := decode(key, b, &d); err != nil {
				return nil, err
			}
			there = &d.Fence
		}
		following, err := next(there, f)
		if err != nil {
			refusal = err
			return nil, errors.New("refused")
		}
		won = fenceDocument{d.Revision + 1, following}
		return json.MarshalIndent(won, "", "  ")
	}})
	return won, cmp.Or(refusal, err)
}

// copyLater is copyFence, beside the caller where nobody writes to the server until he goes on.
func (c *Catalog) copyLater(ctx context.Context, regions []string, d fenceDocument, urgent bool) {
	if urgent {
		go c.copyFence(context.WithoutCancel(ctx), regions, d)
		return
	}
	c.copyFence(ctx, regions, d)
}

// copyFence brings other buckets up to d, as far as they answer soon.
func (c *Catalog) copyFence(ctx context.Context, regions []string, d fenceDocument) {
	key := fenceKey(d.Group, d.Workspace, d.Lineage)
	body, err := json.MarshalIndent(d, "", "  ")
	if err != nil || len(regions) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout()) // a longer wait would only hold up what comes next
	defer cancel()
	err = c.spread(ctx, regions, write{key: key, next: func(b []byte) ([]byte, error) {
		var there fenceDocument
		if b != nil && decode(key, b, &there) == nil && there.Revision > d.Revision {
			return b, nil
		}
		return body, nil
	}})
	if err != nil {
		c.log().Warn("a fence was recorded in one bucket alone", "group", d.Group, "lineage", d.Lineage, "error", err)
	}
}

// Fence returns the fence of a lineage's server, from the buckets that answer; fault.Missing when there was none.
func (c *Catalog) Fence(ctx context.Context, group, workspace, lineage string) (topology.Fence, error) {
	if err := checkNames(group, workspace); err != nil {
		return topology.Fence{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.Fence{}, err
	}
	return c.fenceIn(ctx, regions, group, workspace, lineage)
}

func (c *Catalog) fenceIn(ctx context.Context, regions []string, group, workspace, lineage string) (topology.Fence, error) {
	key := fenceKey(group, workspace, lineage)
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (fenceDocument, error) {
		b, _, err := s.Get(ctx, key)
		if err != nil {
			return fenceDocument{}, err
		}
		var d fenceDocument
		return d, decode(key, b, &d)
	})
	var newest fenceDocument
	for _, r := range replies {
		d := r.value
		if r.err == nil && (d.Revision > newest.Revision || d.Revision == newest.Revision && d.State == topology.FenceCommitted) {
			newest = d
		}
	}
	switch err := noneAnswered("read "+key, present(replies)); {
	case newest.Revision > 0:
		return newest.Fence, nil
	case err != nil:
		return topology.Fence{}, err
	}
	return topology.Fence{}, fault.Newf(fault.Missing, "read "+key, "no fence was recorded")
}

// present counts a bucket that has no such object as one that answered.
func present[T any](replies map[string]reply[T]) map[string]reply[T] {
	out := map[string]reply[T]{}
	for region, r := range replies {
		if fault.Is(r.err, fault.Missing) {
			r.err = nil
		}
		out[region] = r
	}
	return out
}

// Fences returns the fences of the newest lineages of a group, as far as there are any, by workspace and then newest first.
func (c *Catalog) Fences(ctx context.Context, group string) ([]topology.Fence, error) {
	l, err := c.Load(ctx, group)
	if err != nil {
		return nil, err
	}
	regions := slices.DeleteFunc(groupRegions(&l.Group), func(r string) bool { return l.Silent[r] != "" })
	var all []topology.Fence
	for i := range l.Group.Workspaces {
		fences, err := c.fencesIn(ctx, regions, group, &l.Group.Workspaces[i])
		if err != nil {
			return nil, err
		}
		all = append(all, fences...)
	}
	return all, nil
}

// fencesIn returns a workspace's fences, newest first.
func (c *Catalog) fencesIn(ctx context.Context, regions []string, group string, w *topology.Workspace) ([]topology.Fence, error) {
	newest := w.Lineages[max(0, len(w.Lineages)-fencesShown):]
	fences, errs := make([]topology.Fence, len(newest)), make([]error, len(newest))
	var wg sync.WaitGroup
	for i, l := range newest {
		wg.Go(func() { fences[i], errs[i] = c.fenceIn(ctx, regions, group, w.Name, l.ID) })
	}
	wg.Wait()
	var all []topology.Fence
	for i := len(newest) - 1; i >= 0; i-- {
		switch err := known(errs[i]); {
		case err != nil:
			return nil, err
		case errs[i] == nil:
			all = append(all, fences[i])
		}
	}
	return all, nil
}

// CheckEpochIn is CheckEpoch of one region's bucket alone: fault.Transient when that does not answer.
func (c *Catalog) CheckEpochIn(ctx context.Context, group, region string, epoch topology.Epoch) error {
	key := epochKey(group, epoch+1)
	r := askOne(ctx, c, region, func(ctx context.Context, _ string, s objectstore.Store) (bool, error) {
		_, err := s.Head(ctx, key)
		if fault.Is(err, fault.Missing) {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case r.err != nil:
		return fault.Newf(fault.Transient, "check epoch of group "+group, "the bucket of region %s does not answer: %w", region, r.err)
	case r.value:
		return c.fenced(ctx, group, region, epoch)
	}
	return nil
}

// Claimed returns who claimed an epoch, from the buckets that answer; fault.Missing when nobody has.
func (c *Catalog) Claimed(ctx context.Context, group string, epoch topology.Epoch) (Claim, error) {
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return Claim{}, err
	}
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (Claim, error) {
		return readClaim(ctx, s, group, epoch)
	})
	for _, r := range replies {
		if r.err == nil {
			return r.value, nil
		}
	}
	if err := noneAnswered("read claim", present(replies)); err != nil {
		return Claim{}, err
	}
	return Claim{}, fault.Newf(fault.Missing, "read claim", "epoch %d of group %s was not claimed", epoch, group)
}
