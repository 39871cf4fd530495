package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// RemoveServer ends whatever runs of a terminated workspace on this host and removes its folders. Folders that do not say
// that they are the workspace's are left alone.
func (t *Target) RemoveServer(ctx context.Context, in ServerInput) error {
	p := beat(ctx)
	defer p.end()
	err := t.removeServer(ctx, in)
	return judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) removeServer(ctx context.Context, in ServerInput) error {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil || w.State != topology.WorkspaceTerminated {
		return fault.Newf(fault.Invalid, "remove server", "workspace %s of %s is not terminated", in.Workspace, in.Group)
	}
	files, err := ownerFiles(t.DataDir, in.Group, in.Workspace)
	if err != nil {
		return err
	}
	for _, f := range files {
		dir := filepath.Dir(f)
		var o owner
		if found, err := readState(dir, ownerFile, &o); err != nil || !found || o.Group != in.Group || o.Workspace != in.Workspace {
			return errors.Join(err, fault.Newf(fault.Diverged, "remove server", "%s does not say that it is of workspace %s", dir, in.Workspace))
		}
		if err := removeWithSocket(ctx, dir); err != nil {
			return err
		}
		t.Log.InfoContext(ctx, "removed the server of a terminated workspace", "instance", dir)
	}
	for _, dir := range []string{filepath.Join(t.DataDir, in.Group, in.Workspace), filepath.Join(t.DataDir, in.Group)} {
		_ = os.Remove(dir) // stays unless it is empty
	}
	t.tell(ctx)
	return nil
}

// removeWithSocket removes an instance's folder, and the one of its socket where that lies elsewhere.
func removeWithSocket(ctx context.Context, dir string) error {
	s, err := postgres.Load(dir)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	if err := removeInstance(ctx, dir); err != nil || s == nil {
		return err
	}
	if strings.HasPrefix(s.SocketDir, dir) {
		return nil
	}
	if err := os.RemoveAll(s.SocketDir); err != nil {
		return fault.New(fault.Transient, "remove folder of socket", err)
	}
	return nil
}
