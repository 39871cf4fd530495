package activities

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/topology"
)

// lookAtFolders fences servers of this host that the group's document names no more, and that run all the same.
func (k *fencer) lookAtFolders(ctx context.Context, g *groupFences, over bool) error {
	files, err := ownerFiles(k.target.DataDir, g.name, "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		dir, o, err := publishedFolder(file)
		w := g.last.Workspace(o.Workspace)
		if err != nil || dir == "" || w == nil || o.Group != g.name || o.Epoch > g.last.Epoch || o.Epoch == g.last.Epoch && !over {
			errs = append(errs, err)
			continue
		}
		if site := w.Sites[k.Region]; site.Instance == dir {
			continue // see lookAtServers
		}
		errs = append(errs, k.keepFolderOut(ctx, g, *w, o, dir))
	}
	return errors.Join(errs...)
}

// publishedFolder returns the folder of a server that has served; none if it has not.
func publishedFolder(file string) (dir string, o owner, err error) {
	dir = filepath.Dir(file)
	found, err := readState(dir, ownerFile, &o)
	if err != nil || !found || !o.Published {
		return "", o, err
	}
	return dir, o, nil
}

func (k *fencer) keepFolderOut(ctx context.Context, g *groupFences, w topology.Workspace, o owner, dir string) error {
	server, err := runningIn(ctx, dir)
	if err != nil || server == nil { // nobody starts it again
		return err
	}
	for _, l := range slices.Backward(w.Lineages) {
		other := g.recorded[l.ID].Site.Instance // of two servers of one epoch each has a lineage of its own
		if l.Region == k.Region && l.Epoch == o.Epoch && (other == "" || other == dir) {
			b := k.barredOf(g.last, w, l)
			b.site = topology.Site{Kind: topology.Managed, Host: k.Host, Instance: dir, Source: server.Source("postgres")}
			b.source = b.site.Source
			return k.keepOut(ctx, g, b)
		}
	}
	return nil
}
