package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// askServer is how long an older server may take to say where its files are.
const askServer = 5 * time.Second

// reuse returns older data directories on this host that may hold what a restore wants: those of the workspace's earlier
// servers here, and that of an adopted server of this region, if it says where it is and this worker can read it. Nothing is
// trusted of them but chunks whose content is what is wanted.
func (t *Target) reuse(ctx context.Context, in RestoreInput) (dirs []string) {
	files, err := ownerFiles(t.DataDir, in.Group, in.Plan.Workspace)
	if err != nil {
		t.Log.WarnContext(ctx, "older data directories were not looked for", "error", err)
	}
	for _, f := range files {
		if dir := filepath.Dir(f); dir != in.Place.Instance {
			dirs = append(dirs, filepath.Join(dir, "data"))
		}
	}
	dir, err := t.adoptedDir(ctx, in)
	if err != nil {
		t.Log.InfoContext(ctx, "the data directory of the adopted server is not known, and nothing of it is used", "workspace", in.Plan.Workspace, "error", err)
	}
	if filepath.IsAbs(dir) && readableCluster(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

// adoptedDir asks the workspace's adopted server of this region, if there is one, where its files are. Of one that is down, as it ought
// to be as soon as nobody needs it, its fence says it.
func (t *Target) adoptedDir(ctx context.Context, in RestoreInput) (string, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return "", err
	}
	w := loaded.Group.Workspace(in.Plan.Workspace)
	if w == nil || w.Sites[in.To].Kind != topology.Adopted {
		return "", nil
	}
	dir, err := askDir(ctx, w.Sites[in.To].Source, slotName(in.Group, w.Name))
	if err == nil {
		return dir, nil
	}
	fences, unread := t.Catalog.Fences(ctx, in.Group)
	for _, f := range fences { // newest first
		if f.Workspace == w.Name && sameServer(f.Site, w.Sites[in.To]) && f.DataDir != "" {
			return f.DataDir, nil
		}
	}
	return "", errors.Join(err, unread)
}

func askDir(ctx context.Context, src topology.Source, application string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askServer)
	defer cancel()
	conn, err := replication.Connect(ctx, src, application)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	return conn.DataDirectory(ctx)
}

// readableCluster reports whether a data directory can be read by whoever runs this.
func readableCluster(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "global", "pg_control"))
	if err != nil {
		return false
	}
	return f.Close() == nil
}
