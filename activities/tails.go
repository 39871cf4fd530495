package activities

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// announceTails is how often the catalog hears how far a tail is.
	announceTails = 5 * time.Second
	// announceLeaky is that of a tail that has no end while its server runs.
	announceLeaky = time.Minute
	// askFence is how often the catalog is asked whether a server is fenced by now, and so where its WAL ends.
	askFence = 2 * time.Second
	// copyWithin is how long a bucket may hold up a copy. What was copied by then stays.
	copyWithin = 10 * time.Minute
)

// ListTails says which tails of a group are not complete, and where each one's server is.
func (c *Control) ListTails(ctx context.Context, in ListTailsInput) (ListTailsResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := c.listTails(ctx, in.Group)
	return result, judge(ctx, err)
}

func (c *Control) listTails(ctx context.Context, group string) (r ListTailsResult, err error) {
	loaded, err := c.Catalog.Load(ctx, group)
	if err != nil || loaded.Group.State == topology.GroupTerminated {
		return r, err
	}
	if err := catalog.Controls(&loaded.Group, c.Controller); err != nil {
		return r, err
	}
	for _, w := range loaded.Group.Workspaces {
		tails, err := c.Catalog.Tails(ctx, &loaded.Group, w.Name)
		if err != nil {
			return r, err
		}
		for _, t := range tails {
			left, ok := loaded.Group.FindLeft(w.Name, t.Lineage)
			if !ok || t.Complete || w.State == topology.WorkspaceTerminated {
				continue
			}
			s, err := c.leftServer(ctx, loaded.Group, left)
			if err != nil {
				return r, err
			}
			r.Tails = append(r.Tails, OpenTail{Tail: t, Region: left.Lineage.Region, Host: s.site.Host})
		}
	}
	return r, nil
}

// leftServer is the server that wrote a lineage that was left, as far as anything is known of it.
type leftServer struct {
	topology.Left
	group topology.Group
	site  topology.Site  // without Kind: not known any more
	fence topology.Fence // zero: it is not fenced yet
}

// leftServer finds out which server wrote a lineage. The group's document names it until another one serves in that region; then
// its fence does; and then the hosts, whose folders stay.
func (s *Site) leftServer(ctx context.Context, g topology.Group, left topology.Left) (leftServer, error) {
	found := leftServer{Left: left, group: g}
	fence, err := s.Catalog.Fence(ctx, g.Name, left.Workspace, left.Lineage.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		return found, err
	}
	found.fence, found.site = fence, fence.Site
	w := g.Workspace(left.Workspace)
	if found.site.Kind == "" && newestOfRegion(*w, left.Lineage) {
		found.site = w.Sites[left.Lineage.Region]
	}
	if found.site.Kind != "" {
		return found, nil
	}
	found.site, err = s.keptFolder(ctx, g.Name, left)
	return found, err
}

// newestOfRegion reports whether no later lineage was written in the lineage's region.
func newestOfRegion(w topology.Workspace, l topology.Lineage) bool {
	for _, other := range slices.Backward(w.Lineages) {
		if other.Region == l.Region {
			return other.ID == l.ID
		}
	}
	return false
}

// keptFolder looks for the host that has the folder of an older epoch. A region whose bucket does not answer says nothing now.
func (s *Site) keptFolder(ctx context.Context, group string, left topology.Left) (topology.Site, error) {
	hosts, err := s.Catalog.Hosts(ctx, left.Lineage.Region)
	if err != nil && (fault.Is(err, fault.Transient) || fault.Is(err, fault.Missing) || fault.Is(err, fault.Invalid)) {
		return topology.Site{}, nil
	}
	for _, h := range hosts {
		for _, p := range h.Placed {
			if p.Group == group && p.Workspace == left.Workspace && p.Epoch == left.Lineage.Epoch && p.Branch == "" {
				return topology.Site{Kind: topology.Managed, Host: h.Name}, nil
			}
		}
	}
	return topology.Site{}, err
}

// CopyTail copies what one bucket has of a left lineage's WAL to the other: for when its bucket is all that came back.
func (c *Control) CopyTail(ctx context.Context, in TailInput) (topology.Tail, error) {
	p := beat(ctx)
	defer p.end()
	t, err := c.copyTail(ctx, in)
	return t, judge(ctx, describe(err, "tail of lineage %s", in.Lineage))
}

func (c *Control) copyTail(ctx context.Context, in TailInput) (topology.Tail, error) {
	left, err := c.left(ctx, in)
	if err != nil {
		return topology.Tail{}, err
	}
	w, err := c.tailOf(left)
	if err != nil {
		return topology.Tail{}, err
	}
	within, cancel := context.WithTimeout(ctx, copyWithin)
	defer cancel()
	b, err := w.CopyTail(within)
	if len(b.Points) == 0 {
		return topology.Tail{}, err
	}
	if b.End = left.end(); b.End.LSN == 0 && err == nil && left.leaky() {
		err = left.open()
	} else if b.End.LSN == 0 && err == nil {
		err = fault.Newf(fault.Transient, "copy tail", "the server in region %s was not reached since it was left: what it wrote after %s is not known",
			left.Lineage.Region, b.Points[b.Furthest()].At)
	}
	return c.saveTail(ctx, left, w, b, "bucket", err)
}

// left reads what is known of a lineage that was left. One that is written now is refused.
func (s *Site) left(ctx context.Context, in TailInput) (leftServer, error) {
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return leftServer{}, err
	}
	if err := catalog.Controls(&loaded.Group, s.Controller); err != nil {
		return leftServer{}, err
	}
	l, ok := loaded.Group.FindLeft(in.Workspace, in.Lineage)
	if !ok {
		return leftServer{}, fault.Newf(fault.Invalid, "find lineage", "lineage %s of workspace %s was not left: it is written now, or unknown", in.Lineage, in.Workspace).
			WithHint("See which there are: smartdr status --group %s -o json", in.Group)
	}
	return s.leftServer(ctx, loaded.Group, l)
}

// tailOf returns what ships a lineage's tail: first to the bucket beside its server.
func (s *Site) tailOf(left leftServer) (*ship.WAL, error) {
	l := left.Lineage
	w := &ship.WAL{Slot: slotName(left.group.Name, left.Workspace), Group: left.group.Name, Workspace: left.Workspace, Lineage: l, Epoch: l.Epoch,
		Source: left.site.Source, AnnounceEvery: announceTails, Log: s.Log.With("group", left.group.Name, "workspace", left.Workspace, "lineage", l.ID)}
	if left.leaky() {
		w.AnnounceEvery = announceLeaky
	}
	for _, region := range []string{l.Region, left.group.Other(l.Region)} {
		store, err := s.store(region)
		if err != nil {
			return nil, err
		}
		w.Destinations = append(w.Destinations, ship.Destination{Region: region, Store: store})
	}
	for _, o := range left.group.Workspace(left.Workspace).Lineages {
		if o.Parent != nil && o.Parent.Lineage == l.ID {
			w.Newer = append(w.Newer, o)
		}
	}
	return w, nil
}

// saveTail says in the catalog how far a tail is, and returns that. Why it goes no further is part of it.
func (s *Site) saveTail(ctx context.Context, left leftServer, w *ship.WAL, b ship.Brought, from string, why error) (topology.Tail, error) {
	t := topology.Tail{Workspace: left.Workspace, Lineage: left.Lineage.ID, Fork: left.Fork, SeenAt: now(), From: from}
	before, err := s.Catalog.Tail(ctx, left.group.Name, t.Workspace, t.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) {
		return t, err
	}
	if n := b.Furthest(); b.Points[n].At.LSN != 0 {
		t.At, t.Region = b.Points[n].At, w.Destinations[n].Region
		t.Commits, t.Last = s.countTail(ctx, left, w, b, before)
	}
	if t.At.Compare(before.At) <= 0 && before.From != "" {
		t.From = before.From
	}
	t.Complete = why == nil && b.Whole()
	if why == nil && !t.Complete {
		why = left.lacking(w, b)
	}
	if why != nil {
		t.Error = why.Error()
	}
	t = t.NotBehind(before)
	return t, s.Catalog.PutTail(ctx, left.group.Name, t)
}

// countTail counts the transactions that the newer lineage does not have. Not to know how many is no reason to stop.
func (s *Site) countTail(ctx context.Context, left leftServer, w *ship.WAL, b ship.Brought, before topology.Tail) (int64, time.Time) {
	n := b.Furthest()
	p := b.Points[n]
	if before.Commits > 0 && before.Last.Equal(p.LastCommit) || p.At.LSN <= left.Fork.LSN { // an announcement says how far it is, not how many
		return before.Commits, before.Last
	}
	leg := restore.Leg{Archive: archive.Open(w.Destinations[n].Store, w.Group, w.Workspace, w.Lineage.ID), Lineage: left.Lineage, From: left.Fork}
	count, _, err := restore.CountCommits(ctx, []restore.Leg{leg}, left.Lineage.SegmentSize, left.Fork.LSN, p.At.LSN)
	if err != nil {
		s.Log.WarnContext(ctx, "the transactions of a tail were not counted", "lineage", left.Lineage.ID, "error", err)
		return before.Commits, before.Last
	}
	if count == 0 {
		return 0, time.Time{}
	}
	return count, p.LastCommit
}

// ShipTail ships what the server of a left lineage wrote after it was left, under that lineage's own keys: from the server, which
// is fenced or about to be, or from the files of one that does not run. It ends when all of that is in every bucket that
// answers, or with its turn.
func (s *Source) ShipTail(ctx context.Context, in TailInput) (topology.Tail, error) {
	p := beat(ctx)
	defer p.end()
	t, err := s.shipTail(ctx, in, p)
	return t, judge(ctx, describe(err, "tail of lineage %s", in.Lineage))
}

func (s *Source) shipTail(ctx context.Context, in TailInput, p *pulse) (topology.Tail, error) {
	ctx, release, err := s.turns.take(ctx, in.Group+"/"+in.Workspace+"/"+in.Lineage)
	if err != nil {
		return topology.Tail{}, err
	}
	defer release()
	left, err := s.left(ctx, in)
	if err != nil {
		return topology.Tail{}, err
	}
	w, err := s.tailOf(left)
	if err != nil {
		return topology.Tail{}, err
	}
	w.Announce = s.announceTail(left, p)
	if files, err := s.restingFiles(ctx, left, in.Files); err != nil || files != "" {
		if err != nil {
			return topology.Tail{}, err
		}
		b, err := w.ShipFiles(ctx, files)
		return s.shipped(ctx, left, w, b, "files", err)
	}
	return s.shipFromServer(ctx, in, left, w)
}

func (s *Source) shipFromServer(ctx context.Context, in TailInput, left leftServer, w *ship.WAL) (topology.Tail, error) {
	if left.site.Source.ConnString == "" {
		return topology.Tail{}, fault.Newf(fault.Missing, "ship tail", "where the server is that wrote lineage %s is not known any more", in.Lineage).
			WithHint("If its disk is there, %s.", salvageHint(left))
	}
	turn, cancel := context.WithTimeout(ctx, time.Duration(max(in.TurnSeconds, 1))*time.Second)
	defer cancel()
	b, err := w.ShipTail(turn, s.fencedEnd(&left))
	return s.shipped(ctx, left, w, b, "server", err)
}

// shipped saves how far a tail came. When nothing can be said yet, since no bucket answered, why is the error.
func (s *Source) shipped(ctx context.Context, left leftServer, w *ship.WAL, b ship.Brought, from string, why error) (topology.Tail, error) {
	if len(b.Points) == 0 || ctx.Err() != nil {
		return topology.Tail{}, errors.Join(why, ctx.Err())
	}
	return s.saveTail(ctx, left, w, b, from, why)
}

// announceTail says now and then how far a tail is.
func (s *Source) announceTail(left leftServer, p *pulse) func(context.Context, topology.WALProgress) error {
	var once sync.Mutex
	return func(ctx context.Context, w topology.WALProgress) error {
		once.Lock()
		defer once.Unlock()
		p.say(w)
		t := topology.Tail{Workspace: left.Workspace, Lineage: left.Lineage.ID, Fork: left.Fork, SeenAt: now(), From: "server", Error: w.Error}
		for _, c := range w.Cursors {
			if c.Point.At.Compare(t.At) > 0 {
				t.At, t.Region = c.Point.At, c.Region
			}
		}
		return s.Catalog.PutTail(ctx, left.group.Name, t)
	}
}
