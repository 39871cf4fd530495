package activities

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// A server that SmartDR runs, and whose region was cut off while another one took over, is fenced and goes on running, so that the last
// of its WAL is brought home from it. When all of that is there it rests: its port is kept for the one that the workspace comes
// back as, its memory is of use to others, and libpq goes on from a host that refuses it, but not from a server that is fenced.

// restAll stops the servers of a group on this host that nobody needs to run any more.
func (t *Target) restAll(ctx context.Context, g topology.Group) error {
	if t.DataDir == "" {
		return nil
	}
	files, err := ownerFiles(t.DataDir, g.Name, "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if err := t.rest(ctx, g, f); err != nil {
			errs = append(errs, describe(err, "the server in %s", filepath.Dir(f)))
		}
	}
	return errors.Join(errs...)
}

// rest stops the server of a folder if it has served, under an epoch that is over, and all that it wrote is in both buckets.
func (t *Target) rest(ctx context.Context, g topology.Group, file string) error {
	dir, o, err := publishedFolder(file)
	w := g.Workspace(o.Workspace)
	if err != nil || dir == "" || w == nil || o.Group != g.Name || o.Epoch >= g.Epoch || g.Active == t.Region && w.Sites[t.Region].Instance == dir {
		return err
	}
	server, err := runningIn(ctx, dir)
	if err != nil || server == nil {
		return err
	}
	home, err := t.tailComplete(ctx, g, RetireInput{Workspace: o.Workspace, Region: t.Region, Epoch: o.Epoch})
	if err != nil || !home {
		if fault.Is(err, fault.Missing) { // nothing of it has come yet
			return nil
		}
		return err
	}
	if err := stopAnyhow(ctx, server); err != nil {
		return err
	}
	t.Log.InfoContext(ctx, "stopped a server that is fenced: all that it wrote is in both buckets", "group", g.Name, "workspace", o.Workspace, "instance", dir)
	return nil
}

// makeRoom stops what holds the address that is kept for a workspace, if that is a server of it that nobody needs any more. Not to
// know is no reason to stop: then another port is chosen, and the account says so.
func (t *Target) makeRoom(ctx context.Context, group string) {
	loaded, err := t.Catalog.Load(ctx, group)
	if err == nil {
		err = t.restAll(ctx, loaded.Group)
	}
	if err != nil {
		t.Log.WarnContext(ctx, "servers that nobody needs any more were not all stopped", "group", group, "error", err)
	}
}
