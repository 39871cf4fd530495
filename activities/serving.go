package activities

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

const (
	// checkServers is how long a server that SmartDR runs stays down when it, or its host, has died.
	checkServers = 5 * time.Second
	// checkFailed is how long to wait after one could not be started: trying again seldom helps soon.
	checkFailed = 15 * time.Second
	// startWithin is how long a server may hold up the look at the others; it goes on starting meanwhile.
	startWithin = 30 * time.Second
)

// KeepServing starts the servers of this host that the catalog says serve and that do not run, until ctx is done. It is
// no method, since every method of a Target is an activity.
func KeepServing(ctx context.Context, t *Target) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		pause := checkServers
		if err := t.startServing(ctx); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "not all servers of this region run", "error", err)
			pause = checkFailed
		}
		next.Reset(pause)
	}
}

// startServing looks at every published server of this host; one that cannot be started does not keep the others down.
func (t *Target) startServing(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(t.DataDir, "*", "*", "e*", ownerFile))
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		var o owner
		_, err := readState(filepath.Dir(f), ownerFile, &o)
		if err == nil && o.Published {
			err = describe(t.startOne(ctx, filepath.Dir(f), o), "workspace %s of %s", o.Workspace, o.Group)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// startOne starts a server that ought to run. One of an older epoch, or one that no bucket vouches for, is left as it is.
func (t *Target) startOne(ctx context.Context, dir string, o owner) error {
	s, err := postgres.Load(dir)
	if err != nil {
		return err
	}
	if _, running := s.Running(ctx); running {
		return nil
	}
	loaded, err := t.Catalog.Load(ctx, o.Group)
	if err != nil {
		return err
	}
	w := loaded.Group.Workspace(o.Workspace)
	if w == nil || loaded.Group.Active != t.Region || w.Sites[t.Region].Instance != dir {
		return nil
	}
	if err := t.Catalog.CheckEpoch(ctx, o.Group, o.Epoch); err != nil {
		return err
	}
	t.Log.InfoContext(ctx, "starting a server that did not run", "instance", dir)
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return s.Start(ctx)
}
