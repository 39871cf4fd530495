package activities

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// checkServers is how long a server that SmartDR runs stays down when it, or its host, has died.
	checkServers = 5 * time.Second
	// checkFailed is how long to wait after one could not be started: trying again seldom helps soon.
	checkFailed = 15 * time.Second
	// startWithin is how long a server may hold up the look at the others; it goes on starting meanwhile.
	startWithin = 30 * time.Second
	// compareEvery is how often servers that run are compared with the catalog: whoever suspends one also stops it, so that
	// this finds only what went on elsewhere meanwhile.
	compareEvery = time.Minute
	// ranWell is how long a server must have run for its next end to be a new one.
	ranWell = 2 * time.Minute
	// slowest is the longest wait between two starts of a server that ends again and again.
	slowest = 5 * time.Minute
)

// KeepServing makes the servers of this host follow the catalog until ctx is done: those that serve run, those that are
// suspended or terminated do not. It is no method, since every method of a Target is an activity.
func KeepServing(ctx context.Context, t *Target) {
	k := &keeper{Target: t, starts: map[string]starts{}}
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		pause := checkServers
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "not all servers of this host are as the catalog says", "error", err)
			pause = checkFailed
		}
		next.Reset(pause)
	}
}

// keeper is what one KeepServing remembers from look to look.
type keeper struct {
	*Target
	starts   map[string]starts // by instance folder
	compared time.Time         // when running servers were compared last
	groups   map[string]read   // of one look
}

// starts is how often a server was started that would not stay.
type starts struct {
	last   time.Time
	failed int // starts since it last ran well
}

// read is a group as read in one look, for all of its servers.
type read struct {
	catalog.Loaded
	err error
}

// look compares every server of this host that has served with the catalog; one that cannot be started does not keep the
// others down.
func (k *keeper) look(ctx context.Context) error {
	files, err := ownerFiles(k.DataDir, "*", "*")
	if err != nil {
		return err
	}
	k.groups = map[string]read{}
	all := time.Since(k.compared) >= compareEvery
	var errs []error
	for _, f := range files {
		var o owner
		_, err := readState(filepath.Dir(f), ownerFile, &o)
		if err == nil && o.Published {
			err = describe(k.keep(ctx, filepath.Dir(f), o, all), "workspace %s of %s", o.Workspace, o.Group)
		}
		errs = append(errs, err)
	}
	errs = append(errs, k.lookAtBranches(ctx, all))
	if all {
		errs = append(errs, k.sweepMissing(ctx))
		k.compared = time.Now()
	}
	return errors.Join(errs...)
}

// keep makes one server follow the catalog. One that runs is only looked at now and then.
func (k *keeper) keep(ctx context.Context, dir string, o owner, all bool) error {
	s, err := postgres.Load(dir)
	if fault.Is(err, fault.Missing) {
		return nil // it is being made
	}
	if err != nil {
		return err
	}
	_, running := s.Running(ctx)
	if running && !all {
		return nil
	}
	l := k.load(ctx, o.Group)
	if l.err != nil {
		return l.err
	}
	switch k.duty(l.Loaded, dir, o) {
	case serve:
		if !running {
			return k.start(ctx, s, dir, o)
		}
	case rest:
		delete(k.starts, dir)
		if running {
			k.Log.InfoContext(ctx, "stopping a server whose workspace is suspended or terminated", "instance", dir)
			return stopFast(ctx, s)
		}
	}
	return nil
}

func (k *keeper) load(ctx context.Context, group string) read {
	l, known := k.groups[group]
	if !known {
		l.Loaded, l.err = k.Catalog.Load(ctx, group)
		k.groups[group] = l
	}
	return l
}

// duty is what a server is to do.
type duty int

const (
	leave duty = iota // as it is: another one serves, or somebody is about to change it
	serve
	rest
)

// duty judges by the catalog alone. One that was stopped by hand is started again: suspending it is the way to keep it
// down. None is stopped on the word of a bucket that may be behind.
func (t *Target) duty(l catalog.Loaded, dir string, o owner) duty {
	w := l.Group.Workspace(o.Workspace)
	if w == nil {
		return leave
	}
	site := w.Sites[t.Region]
	if site.Instance != dir || site.Host != "" && site.Host != t.Host {
		return leave
	}
	decided := slices.Contains(l.From, l.Group.Authority)
	switch {
	case w.State == topology.WorkspaceTerminated && decided:
		return rest
	case l.Group.Active != t.Region:
		return leave
	case w.State == topology.WorkspaceActive:
		return serve
	case w.State == topology.WorkspaceSuspended && decided:
		return rest
	}
	return leave
}

// start starts a server that ought to run. One of an older epoch, or one that no bucket vouches for, is left as it is.
func (k *keeper) start(ctx context.Context, s *postgres.Server, dir string, o owner) error {
	if o.Branch == "" { // branches have no epoch
		if err := k.Catalog.CheckEpoch(ctx, o.Group, o.Epoch); err != nil {
			return err
		}
	}
	began := k.starts[dir]
	if time.Since(began.last) > ranWell+began.wait() {
		began.failed = 0
	}
	if time.Since(began.last) < began.wait() {
		return nil
	}
	began.last, began.failed = time.Now(), began.failed+1
	k.starts[dir] = began
	k.Log.InfoContext(ctx, "starting a server that did not run", "instance", dir, "try", began.failed, "ended", s.WhyEnded())
	if began.failed > 3 {
		k.Log.WarnContext(ctx, "a server ends again and again", "instance", dir, "log", s.LogFile, "next try in", began.wait())
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return s.Start(ctx)
}

// wait is how long to wait from one start to the next: nothing for the first two, then twice as long each time.
func (s starts) wait() time.Duration {
	if s.failed < 2 {
		return 0
	}
	return min(checkServers<<min(s.failed-1, 10), slowest)
}
