package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// isolation counts for how long this host has reached neither the other region's bucket nor Temporal. It adds up the time between
// looks that found nobody, by a clock that does not jump, and little for each: time in which nobody looked, as while the worker
// was down or the machine slept, says nothing about who could have been reached, and is not counted. What was counted is kept in
// a file, so that a worker that is started again and again in a region that is cut off fences it all the same.
type isolation struct {
	file   string
	most   time.Duration // that one look adds
	read   bool
	last   time.Time // of the last look, with its monotonic clock
	silent time.Duration
	fenced bool // this host has fenced servers of its own accord
	lifted bool // since this process began it was seen that none of them is fenced by itself
}

// isolationState is the content of the file.
type isolationState struct {
	SilentSeconds float64 `json:"silentSeconds"`
	Fenced        bool    `json:"fenced"`
}

// longestStep is how much one look that found nobody can add, in intervals of looks.
const longestStep = 3

// isolationFile is empty where a worker has no data folder: then it forgets when it ends.
func (k *fencer) isolationFile(group string) string {
	if k.target.DataDir == "" {
		return ""
	}
	return filepath.Join(k.target.DataDir, ".fences", group+".json")
}

// count adds what one look found.
func (s *isolation) count(heard bool, at time.Time) {
	step := at.Sub(s.last)
	switch {
	case heard:
		s.silent = 0
	case !s.last.IsZero():
		s.silent += min(max(step, 0), s.most)
	}
	s.last = at
}

func (s *isolation) load() error {
	if s.read || s.file == "" {
		return nil
	}
	var state isolationState
	if _, err := readState(filepath.Dir(s.file), filepath.Base(s.file), &state); err != nil && !fault.Is(err, fault.Corrupt) {
		return err
	}
	s.silent, s.fenced, s.read = time.Duration(state.SilentSeconds*float64(time.Second)), state.Fenced, true
	return nil
}

func (s *isolation) save() error {
	if s.file == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return fault.New(diskKind(err), "remember for how long nobody was reached", err)
	}
	return writeState(filepath.Dir(s.file), filepath.Base(s.file), isolationState{s.silent.Seconds(), s.fenced})
}

// lookAround finds out whether anybody can be reached, for a group that this region serves and that wants to know, and fences or
// lets go of the servers.
func (k *fencer) lookAround(ctx context.Context, g *groupFences) error {
	s := &g.isolation
	if err := s.load(); err != nil {
		return err
	}
	after := time.Duration(g.last.SelfFenceAfter) * time.Second
	if after == 0 && !s.fenced && s.lifted || g.last.Secondary == "" {
		return nil
	}
	other := g.last.Other(k.Region)
	bucket := k.Catalog.CheckEpochIn(ctx, g.name, other, g.last.Epoch)
	if fault.Is(bucket, fault.Fenced) {
		k.over.ring()
		return nil
	}
	before := *s
	s.count(bucket == nil || k.heard(ctx, g, other), time.Now())
	var err error
	switch {
	case bucket == nil && (s.fenced || !s.lifted):
		err = k.liftSelf(ctx, g)
	case after > 0 && s.silent >= after:
		err = k.fenceSelf(ctx, g)
	}
	if s.silent != before.silent || s.fenced != before.fenced {
		err = errors.Join(err, s.save())
	}
	return err
}

// shippedLately is how old an announcement of the region's shipper may be to show that it reaches the other bucket.
const shippedLately = 15 * time.Second

// heard reports whether anybody but the other region's bucket says that this region is not cut off: Temporal, or another worker of the
// region, whose shipper reached that bucket a moment ago.
func (k *fencer) heard(ctx context.Context, g *groupFences, other string) bool {
	if k.Answers != nil && k.Answers(ctx) == nil {
		return true
	}
	for _, w := range g.last.Workspaces {
		p, err := k.Catalog.WALProgress(ctx, g.name, w.Name)
		if err != nil || p.Epoch != g.last.Epoch || now().Sub(p.MeasuredAt) > shippedLately {
			continue
		}
		if slices.ContainsFunc(p.Cursors, func(c topology.Cursor) bool {
			return c.Region == other && c.Error == "" && c.Mode == "live" && c.LagSeconds < shippedLately.Seconds()
		}) {
			return true
		}
	}
	return false
}

// own are the servers of a group that this host reaches and that serve.
func (k *fencer) own(g *groupFences) (all []barred) {
	for _, w := range g.last.Workspaces {
		l := w.CurrentLineage()
		if l == nil || l.Region != k.Region || w.State == topology.WorkspaceTerminated {
			continue
		}
		b := k.barredOf(g.last, w, *l)
		if b.site.Kind == "" || !k.mine(b.site) {
			continue
		}
		b.self = true
		all = append(all, b)
	}
	return all
}

// fenceSelf fences the servers, and does so again for those that clients were let in to since.
func (k *fencer) fenceSelf(ctx context.Context, g *groupFences) error {
	if !g.isolation.fenced {
		k.Log.WarnContext(ctx, "fencing the servers of a group: neither the other region's bucket nor Temporal was reached", "group", g.name, "silent", g.isolation.silent)
	}
	g.isolation.fenced, g.isolation.lifted = true, false
	var errs []error
	for _, b := range k.own(g) {
		if g.recorded[b.lineage.ID].State == topology.FenceHolding && !g.recorded[b.lineage.ID].Self {
			continue // an operation has
		}
		errs = append(errs, describe(k.fenceOne(ctx, g, b), "workspace %s", b.workspace))
	}
	return errors.Join(errs...)
}

func (k *fencer) fenceOne(ctx context.Context, g *groupFences, b barred) error {
	if down, err := b.down(ctx); err != nil || down != nil {
		return err // it takes no writes; when it is started again it is fenced
	}
	// One that is fenced, while no record says so, is fenced once more: whoever did it was killed before it could say that.
	in, err := k.selfFenced(ctx, b)
	if err != nil || in && g.recorded[b.lineage.ID].State == topology.FenceHolding {
		return err
	}
	result, err := k.applySelf(ctx, b)
	if err != nil {
		return err
	}
	f := b.record(topology.FenceHolding)
	f = found(f, result)
	if f, err = k.Catalog.PutFence(ctx, f); err != nil { // nobody may be there to be told
		k.Log.InfoContext(ctx, "no bucket knows that a server was fenced", "group", b.group, "workspace", b.workspace, "error", err)
		return nil
	}
	g.recorded[b.lineage.ID] = f
	return nil
}

// liftSelf lets go of servers that this region has fenced by itself: the other region's bucket answers, and the epoch is still ours.
func (k *fencer) liftSelf(ctx context.Context, g *groupFences) error {
	var errs []error
	for _, b := range k.own(g) {
		if down, err := b.down(ctx); err != nil || down != nil {
			errs = append(errs, err)
			if down != nil {
				errs = append(errs, fault.Newf(fault.Transient, "lift fence", "the server of workspace %s is down", b.workspace))
			}
			continue
		}
		if err := k.lift(ctx, b); err != nil {
			errs = append(errs, err)
			continue
		}
		if f := g.recorded[b.lineage.ID]; f.Self && f.State == topology.FenceHolding {
			f.State, f.LiftedAt = topology.FenceLifted, now()
			lifted, err := k.Catalog.PutFence(ctx, f)
			if err == nil {
				g.recorded[b.lineage.ID] = lifted
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if g.isolation.fenced {
		k.Log.InfoContext(ctx, "the other region's bucket answers again: the servers of the group take writes", "group", g.name)
	}
	g.isolation.fenced, g.isolation.lifted = false, true
	return nil
}
