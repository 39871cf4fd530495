package activities

import (
	"context"
	"os"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
)

// reuse returns older data directories on this host that may hold what a restore wants: those of the workspace's earlier
// servers here, and that of an adopted server, if this worker can read it. Nothing is trusted of them but chunks whose
// content is what is wanted.
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
	m, err := t.metadata(ctx, in.Group, in.Plan.Workspace)
	if err != nil {
		if !fault.Is(err, fault.Missing) {
			t.Log.WarnContext(ctx, "whether the primary's data directory is on this host is not known", "error", err)
		}
		return dirs
	}
	if dir := m.Setting("data_directory"); filepath.IsAbs(dir) && readableCluster(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

// readableCluster reports whether a data directory can be read by whoever runs this.
func readableCluster(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "global", "pg_control"))
	if err != nil {
		return false
	}
	return f.Close() == nil
}
