package catalog

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// attempts is how often a conditional write that lost is tried again: enough for 16 writers that contend.
const attempts = 40

// Create stores a new group as revision 1 and claims its epoch for the primary region. It is idempotent by the group's ID;
// another group of that name is fault.Taken. Format, Revision and, where empty, CreatedAt, Active, Authority and Epoch are
// filled in.
func (c *Catalog) Create(ctx context.Context, g topology.Group) (topology.Group, error) {
	g = c.newGroup(g)
	if err := g.Validate(); err != nil {
		return topology.Group{}, err
	}
	if err := c.checkUntaken(ctx, g); err != nil {
		return topology.Group{}, err
	}
	g, err := c.putNew(ctx, g)
	if err != nil {
		return topology.Group{}, err
	}
	c.rememberRegions(&g)
	_, err = c.ClaimEpoch(ctx, Claim{Group: g.Name, Epoch: g.Epoch, Region: g.Active, Operation: "create-" + g.ID, Claimant: "create"})
	return g, err
}

func (c *Catalog) newGroup(g topology.Group) topology.Group {
	g.Format, g.Revision = format, 1
	if g.CreatedAt.IsZero() {
		g.CreatedAt = c.now().UTC()
	}
	if g.Active == "" {
		g.Active = g.Primary
	}
	if g.Authority == "" {
		g.Authority = g.Primary
	}
	if g.Epoch == 0 {
		g.Epoch = 1
	}
	if g.Workspaces == nil {
		g.Workspaces = []topology.Workspace{}
	}
	if g.Controller == nil && c.Controller != "" {
		g.Controller = &topology.Controller{ID: c.Controller, Since: c.now().UTC(), By: "create"}
	}
	g.Claimed = &topology.Claimed{Epoch: g.Epoch, Region: g.Active, Operation: "create-" + g.ID, Claimant: "create", At: c.now().UTC()}
	return g
}

// checkUntaken looks for another group of that name. A bucket that does not answer may hold one: the groups then show as
// diverged once it answers, and neither is written.
func (c *Catalog) checkUntaken(ctx context.Context, g topology.Group) error {
	if _, err := c.store(g.Authority); err != nil {
		return err
	}
	if g.ID == "" {
		return fault.Newf(fault.Invalid, "create group "+g.Name, "it has no ID")
	}
	l, err := c.Load(ctx, g.Name)
	if err == nil && l.Group.ID != g.ID {
		return taken(g.Name)
	}
	if err == nil || fault.Is(err, fault.Missing) || fault.Is(err, fault.Transient) {
		return nil
	}
	return err
}

func taken(name string) error {
	return fault.Newf(fault.Taken, "create group "+name, "there is a workspace group of that name").
		WithHint("Choose another name, or work with the one that is there: smartdr status %s.", name)
}

func (c *Catalog) putNew(ctx context.Context, g topology.Group) (topology.Group, error) {
	s, err := c.store(g.Authority)
	if err != nil {
		return g, err
	}
	b, err := encode(g)
	if err != nil {
		return g, err
	}
	_, err = s.Put(ctx, groupKey(g.Name), b, objectstore.PutOptions{IfAbsent: true})
	if !fault.Is(err, fault.Conflict) {
		return g, err
	}
	there, err := readGroup(ctx, s, g.Name)
	if err != nil {
		return g, err
	}
	if there.group.ID != g.ID {
		return g, taken(g.Name)
	}
	return there.group, nil
}

// Update changes a group: change is applied to the newest revision and the result is written to the authority's bucket if
// nobody else wrote meanwhile, else all over again; then it is copied to the other region's bucket, which may fail (see
// Updated). change may be called several times; its error ends the update and is returned as it is. It must not touch
// Format, Revision, ID, Name, CreatedAt or Authority. A change that changes nothing is not written. It is fault.Fenced when
// another control plane acts for the group.
func (c *Catalog) Update(ctx context.Context, group string, change func(*topology.Group) error) (Updated, error) {
	return c.retry(ctx, group, func(s survey) (Updated, error) { return c.tryUpdate(ctx, s, change) })
}

// lost marks a conditional write that lost, as distinct from a change's own fault.Conflict.
type lost struct{ err error }

func (l *lost) Error() string { return l.err.Error() }
func (l *lost) Unwrap() error { return l.err }

// asLost wraps err if it says that a conditional write lost.
func asLost(err error) error {
	if fault.Is(err, fault.Conflict) {
		return &lost{err}
	}
	return err
}

// retry calls f with a new survey until it does not lose.
func (c *Catalog) retry(ctx context.Context, group string, f func(survey) (Updated, error)) (Updated, error) {
	for n := 0; ; n++ {
		s, err := c.survey(ctx, group)
		if err != nil {
			return Updated{}, err
		}
		u, err := f(s)
		if l, ok := err.(*lost); !ok {
			return u, err
		} else if n+1 == attempts {
			return Updated{}, fault.Newf(fault.Transient, "change group "+group, "others change it all the time: %w", l.err)
		}
		if err := pause(ctx, n); err != nil {
			return Updated{}, err
		}
	}
}

// pause waits for up to 10 ms, 20 ms, ... 200 ms, at random, so that writers that met do not meet again.
func pause(ctx context.Context, n int) error {
	t := time.NewTimer(rand.N(min(200, 10*time.Duration(n+1)) * time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Transient, "change group", ctx.Err())
	}
}

func (c *Catalog) tryUpdate(ctx context.Context, s survey, change func(*topology.Group) error) (Updated, error) {
	current, err := c.atAuthority(ctx, s)
	if err != nil {
		return Updated{}, err
	}
	if err := Controls(&current.group, c.Controller); err != nil {
		return Updated{}, err
	}
	next, changed, err := apply(current, change)
	if err != nil {
		return Updated{}, err
	}
	if changed {
		current, err = c.swap(ctx, current, next)
		if err != nil {
			return Updated{}, err
		}
	}
	return c.mirrored(ctx, current), nil
}

// atAuthority returns the newest document as the authority's bucket has it, after bringing that bucket up to date where it
// became the authority and the last copy to it failed.
func (c *Catalog) atAuthority(ctx context.Context, s survey) (document, error) {
	region := s.Group.Authority
	if _, err := c.store(region); err != nil {
		return document{}, err
	}
	r := s.replies[region]
	if r.err == nil && r.value.group.Revision == s.Group.Revision {
		return r.value, nil
	}
	if r.err != nil && !fault.Is(r.err, fault.Missing) {
		return document{}, fault.Newf(fault.KindOf(r.err), "change group "+s.Group.Name, "the bucket of region %s decides, and cannot be used: %w", region, r.err)
	}
	if err := c.copyTo(ctx, s.From, region, s.newest); err != nil {
		return document{}, err
	}
	return document{}, &lost{fault.Newf(fault.Conflict, "change group "+s.Group.Name, "the authority's bucket was behind")}
}

// apply returns the next revision.
func apply(current document, change func(*topology.Group) error) (next topology.Group, changed bool, err error) {
	if err := decodeStrict(groupKey(current.group.Name), current.raw, (*fields)(&next)); err != nil {
		return next, false, err
	}
	if change != nil {
		if err := change(&next); err != nil {
			return next, false, err
		}
	}
	was := current.group
	next.Format, next.Revision, next.ID, next.Name, next.CreatedAt = was.Format, was.Revision, was.ID, was.Name, was.CreatedAt
	next.Authority, next.Term = was.Authority, was.Term
	if err := next.Validate(); err != nil {
		return next, false, err
	}
	b, err := encode(next)
	if err != nil {
		return next, false, err
	}
	changed = !bytes.Equal(b, current.raw)
	if changed {
		next.Revision++
	}
	return next, changed, nil
}

// swap writes next over current in the bucket that decides for current.
func (c *Catalog) swap(ctx context.Context, current document, next topology.Group) (document, error) {
	return c.swapIn(ctx, current.group.Authority, current, next)
}

func (c *Catalog) swapIn(ctx context.Context, region string, current document, next topology.Group) (document, error) {
	s, err := c.store(region)
	if err != nil {
		return document{}, err
	}
	b, err := encode(next)
	if err != nil {
		return document{}, err
	}
	info, err := s.Put(ctx, groupKey(next.Name), b, objectstore.PutOptions{IfMatch: current.etag})
	if err != nil {
		return document{}, asLost(err)
	}
	c.rememberRegions(&next)
	return document{group: next, raw: b, etag: info.ETag}, nil
}

// fields is a group without its methods: UnmarshalJSON would hide from a strict decoder what it does not know.
type fields topology.Group
