package retention

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opSweep = "remove what nothing needs"

// Catalog is what a Sweep asks of the catalog.
type Catalog interface {
	Load(ctx context.Context, group string) (catalog.Loaded, error)
	Update(ctx context.Context, group string, change func(*topology.Group) error) (catalog.Updated, error)
}

// Sweep removes from one region's bucket what nothing needs of a group. It can be killed at any moment: the next one goes on.
type Sweep struct {
	Store      objectstore.Store // the region's root store
	Catalog    Catalog
	Group      string
	Region     string
	Controller string         // control plane that it acts for; empty: any
	Epoch      topology.Epoch // under which it was asked for; 0: the one that the group has at the beginning
	Grace      time.Duration  // how long something stays that nothing refers to: somebody may be about to
	Slack      time.Duration  // Horizon.Slack
	Window     time.Duration  // 0: the one that the group has chosen for the region
	DryRun     bool           // change nothing
	Claims     func(ctx context.Context, g *topology.Group, workspace string) ([]Claim, error)
	Taking     func(ctx context.Context, workspace string) (bool, error) // whether a snapshot is being taken
	// TailComplete reports whether nothing is missing any more of a lineage that was left.
	TailComplete func(ctx context.Context, workspace, lineage string) (bool, error)
	// Needed returns from where on WAL before the fork of a system-managed database is needed to find missing rows of it; fault.Missing when the
	// bucket does not have it any more. nil: that stays unknown, and all such WAL where it is.
	Needed func(ctx context.Context, g *topology.Group, sm topology.SystemManaged) (wal.LSN, error)
	Clock  func() time.Time // this machine's; default time.Now
	Say    func(what string)
	Log    *slog.Logger
}

// Run makes one round. Errors: fault.Taken while an operation holds the group, fault.Fenced when another epoch or control plane has
// begun, and those of the stores; what was done until then is in the result.
func (s Sweep) Run(ctx context.Context) (topology.Swept, error) {
	s = s.withDefaults()
	swept := topology.Swept{Format: 1, Group: s.Group, Region: s.Region, DryRun: s.DryRun, Gone: map[string]topology.StoredKind{}, Kept: map[string]topology.StoredKind{}, Dropped: []string{}, Workspaces: []topology.SweptWorkspace{}}
	g, err := s.begin(ctx)
	if err != nil {
		return swept, err
	}
	s.Epoch = g.Epoch
	if s.Window == 0 {
		s.Window = g.Retention[s.Region].Window()
	}
	s.Slack = min(s.Slack, s.Window/10) // who keeps an hour keeps no more for the sake of clocks than minutes
	now, err := s.now(ctx)
	if err != nil {
		return swept, err
	}
	swept.At, swept.Epoch, swept.WindowMinutes = now.UTC(), g.Epoch, int(s.Window/time.Minute)
	for _, w := range g.Workspaces {
		r := &round{Sweep: s, workspace: w.Name, now: now, swept: &swept}
		if err := r.run(ctx, g); err != nil {
			return swept, fault.New(fault.KindOf(err), "workspace "+w.Name, err)
		}
	}
	return swept, nil
}

func (s Sweep) withDefaults() Sweep {
	if s.Clock == nil {
		s.Clock = time.Now
	}
	if s.Say == nil {
		s.Say = func(string) {}
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	return s
}

// begin reads the group, if it may be swept.
func (s *Sweep) begin(ctx context.Context) (topology.Group, error) {
	l, err := s.Catalog.Load(ctx, s.Group)
	if err != nil {
		return topology.Group{}, err
	}
	if s.Epoch == 0 {
		s.Epoch = l.Group.Epoch
	}
	return l.Group, s.may(l)
}

// check asks once more, before something is deleted.
func (s *Sweep) check(ctx context.Context) error {
	l, err := s.Catalog.Load(ctx, s.Group)
	if err != nil {
		return err
	}
	return s.may(l)
}

func (s *Sweep) may(l catalog.Loaded) error {
	if why := l.Silent[l.Group.Authority]; why != "" {
		return fault.Newf(fault.Transient, opSweep, "the bucket of region %s decides over group %s, and does not answer: %s", l.Group.Authority, s.Group, why)
	}
	return s.permits(&l.Group)
}

// permits reports whether a group is still as it was when the sweep began.
func (s *Sweep) permits(g *topology.Group) error {
	if err := catalog.Controls(g, s.Controller); err != nil {
		return err
	}
	switch {
	case g.Epoch != s.Epoch || g.Claimed != nil && g.Claimed.Epoch > s.Epoch:
		return fault.Newf(fault.Fenced, opSweep, "group %s has another epoch than %d", g.Name, s.Epoch).WithHint("A later round does it.")
	case g.Operation != nil:
		return fault.Newf(fault.Taken, opSweep, "%s %s of group %s is under way", g.Operation.Kind, g.Operation.ID, g.Name).
			WithHint("Nothing is removed meanwhile. The next round comes by itself.")
	}
	return nil
}

// now returns the bucket's clock, or this machine's if that is behind: one of them alone that is ahead must not make everything old.
func (s *Sweep) now(ctx context.Context) (time.Time, error) {
	key := "check/" + rand.Text()
	if _, err := s.Store.Put(ctx, key, []byte{}, objectstore.PutOptions{}); err != nil {
		return time.Time{}, err
	}
	info, err := s.Store.Head(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.Store.Delete(ctx, key); err != nil {
		return time.Time{}, err
	}
	if here := s.Clock(); here.Before(info.Modified) {
		return here, nil
	}
	return info.Modified, nil
}

// round is what a Sweep does with one workspace.
type round struct {
	Sweep
	workspace string
	now       time.Time
	swept     *topology.Swept
	list      snapshot.Condemned // as it was before the bucket was listed
	etag      string
	notes     []string
}

func (r *round) run(ctx context.Context, g topology.Group) (err error) {
	r.Say("list " + r.workspace)
	if r.list, r.etag, err = snapshot.ReadCondemned(ctx, r.Store, r.Group, r.workspace); err != nil {
		return err
	}
	b, err := Read(ctx, r.Store, r.Group, r.workspace)
	if err != nil {
		return err
	}
	needs, err := r.needs(ctx, g)
	if err != nil {
		return err
	}
	after, err := r.raise(ctx, g, b, needs)
	if err != nil {
		return err
	}
	claims, err := r.claims(ctx, &after)
	if err != nil {
		return err
	}
	m := Mark(&after, r.workspace, r.Region, b, claims)
	v, err := r.condemn(ctx, b, m)
	if err != nil {
		return err
	}
	r.notes = append(r.notes, r.expired(&after)...)
	r.account(b, m, v)
	if r.DryRun {
		return nil
	}
	return r.remove(ctx, b, m, v)
}

func (r *round) claims(ctx context.Context, g *topology.Group) ([]Claim, error) {
	if r.Claims == nil {
		return nil, nil
	}
	return r.Claims(ctx, g, r.workspace)
}

// raise says in the group's document where restorable points begin from now on, and returns it as it is after that. From then on whoever refers to
// something is in a later document, and above the floors.
func (r *round) raise(ctx context.Context, g topology.Group, b *Bucket, needs map[left]need) (topology.Group, error) {
	over, err := r.over(ctx, g)
	if err != nil {
		return g, err
	}
	change := func(g *topology.Group) error {
		if err := r.permits(g); err != nil {
			return err
		}
		g.SystemManaged = slices.DeleteFunc(g.SystemManaged, func(sm topology.SystemManaged) bool { return slices.Contains(over, sm.Name) })
		r.noteNeeds(g, needs)
		w := g.Workspace(r.workspace)
		if w == nil {
			return fault.Newf(fault.Missing, opSweep, "workspace %s is gone", r.workspace)
		}
		next := Floors(g, r.workspace, r.Region, b, Horizon{r.now, r.Window, r.Slack})
		if len(next) > 0 {
			floors := map[string]topology.Floors{}
			for region, f := range w.Floors {
				floors[region] = f
			}
			floors[r.Region] = next
			w.Floors = floors
		}
		return nil
	}
	r.swept.Dropped = append(r.swept.Dropped, over...)
	if r.DryRun {
		would, err := copyOf(g)
		if err != nil {
			return g, err
		}
		return would, change(&would)
	}
	u, err := r.Catalog.Update(ctx, r.Group, change)
	return u.Group, err
}

// over returns the system-managed databases of the workspace whose time is over: no region's window reaches back to their failover, and nothing of them is
// missing.
func (r *round) over(ctx context.Context, g topology.Group) (names []string, err error) {
	window := max(r.Window, g.Retention[g.Primary].Window(), g.Retention[g.Other(g.Primary)].Window())
	if g.Retention == nil {
		window = max(r.Window, topology.Retention{}.Window())
	}
	for _, sm := range g.SystemManaged {
		if sm.Workspace != r.workspace || r.TailComplete == nil || sm.Since.After(r.now.Add(-window-r.Slack)) {
			continue
		}
		complete, err := r.TailComplete(ctx, r.workspace, sm.Lineage)
		if err != nil {
			return nil, err
		}
		if complete {
			names = append(names, sm.Name)
		}
	}
	return names, nil
}

// condemn decides about packs, and says so in the bucket before anything is done.
func (r *round) condemn(ctx context.Context, b *Bucket, m Marks) (Verdict, error) {
	rest := Rest{Now: r.now, Grace: r.Grace}
	if r.Taking != nil {
		var err error
		if rest.Taking, err = r.Taking(ctx, r.workspace); err != nil {
			return Verdict{}, err
		}
	}
	v := Condemn(b, m, r.list, rest)
	if r.DryRun || len(v.List.Packs) == 0 && len(r.list.Packs) == 0 {
		return v, nil
	}
	if err := r.check(ctx); err != nil {
		return v, err
	}
	return v, r.replace(ctx, v.List)
}

// replace writes the list of condemned packs. Who has changed it meanwhile makes a snapshot: the next round sees that.
func (r *round) replace(ctx context.Context, list snapshot.Condemned) error {
	if _, err := snapshot.ReplaceCondemned(ctx, r.Store, r.Group, r.workspace, list, r.etag); err != nil {
		if fault.Is(err, fault.Conflict) {
			return fault.Newf(fault.Transient, opSweep, "somebody stores packs that were to go: %w", err)
		}
		return err
	}
	var err error
	r.list, r.etag, err = snapshot.ReadCondemned(ctx, r.Store, r.Group, r.workspace)
	return err
}
