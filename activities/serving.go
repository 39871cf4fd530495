package activities

import (
	"context"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
)

// checkServers is how long a server that SmartDR runs stays down after its host has started again.
const checkServers = 15 * time.Second

// KeepServing starts the servers of this host that the catalog says serve and that do not run, until ctx is done. It is
// no method, since every method of a Target is an activity.
func KeepServing(ctx context.Context, t *Target) {
	tick := time.NewTicker(checkServers)
	defer tick.Stop()
	for {
		if err := t.startServing(ctx); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "servers of this region were not all checked", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (t *Target) startServing(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(t.DataDir, "*", "*", "e*", ownerFile))
	if err != nil {
		return err
	}
	for _, f := range files {
		var o owner
		if _, err := readState(filepath.Dir(f), ownerFile, &o); err != nil {
			return err
		}
		if !o.Published {
			continue
		}
		if err := t.startOne(ctx, filepath.Dir(f), o); err != nil {
			return describe(err, "workspace %s of %s", o.Workspace, o.Group)
		}
	}
	return nil
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
	return s.Start(ctx)
}
