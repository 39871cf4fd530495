package activities

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// stopWithin is how long the server of a failover that failed may take to end, by a signal that asks for no checkpoint.
const stopWithin = 20 * time.Second

// leftovers returns the folders of a workspace that failovers have left which failed before they came to serve. What is
// doubtful is none: an operation that may go on, one without an account, and a lineage that the group's document knows,
// since it was published once. Nothing is one while the bucket that decides over the group is silent.
func (t *Target) leftovers(ctx context.Context, group, workspace string) ([]string, error) {
	files, err := ownerFiles(t.DataDir, group, workspace)
	if err != nil || !slices.ContainsFunc(files, unserved) {
		return nil, err
	}
	loaded, err := t.Catalog.Load(ctx, group)
	if err != nil {
		return nil, err
	}
	w := loaded.Group.Workspace(workspace)
	if w == nil || !slices.Contains(loaded.From, loaded.Group.Authority) {
		return nil, nil
	}
	var dirs []string
	for _, f := range files {
		dir := filepath.Dir(f)
		failed, err := t.failed(ctx, dir, group, *w)
		if err != nil {
			t.Log.WarnContext(ctx, "left alone", "instance", dir, "error", err)
		}
		if failed {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// unserved reports whether a folder, named by its owner's file, is not known to have served.
func unserved(file string) bool {
	var o owner
	found, err := readState(filepath.Dir(file), ownerFile, &o)
	return err == nil && found && !o.Published
}

// failed reports whether a folder belongs to a failover that is over and did not make it serve: it failed, or brought the
// workspace up on another host.
func (t *Target) failed(ctx context.Context, dir, group string, w topology.Workspace) (bool, error) {
	var o owner
	if _, err := readState(dir, ownerFile, &o); err != nil {
		return false, err
	}
	site := w.Sites[t.Region]
	switch {
	case o.Published, o.Group != group, o.Workspace != w.Name, o.Plan.Lineage == "" && o.Standby == "":
		return false, nil
	case o.Standby != "" && w.Standbys[t.Region].ID == o.Standby && w.State != topology.WorkspaceTerminated:
		return false, nil
	case w.FindLineage(o.Plan.Lineage) != nil, site.Instance == dir && (site.Host == "" || site.Host == t.Host):
		return false, nil
	case o.Standby != "" && o.Operation == "": // the document names it before its folder is made
		return true, nil
	}
	op, err := t.Catalog.Operation(ctx, group, o.Operation)
	if fault.Is(err, fault.Missing) {
		return false, nil
	}
	return err == nil && op.State != topology.OperationActive, err
}

// sweep removes leftovers, since their disk space is needed. One that cannot be removed is no reason to stop.
func (t *Target) sweep(ctx context.Context, in RestoreInput) {
	dirs, err := t.leftovers(ctx, in.Group, in.Plan.Workspace)
	if err != nil {
		t.Log.WarnContext(ctx, "what earlier failovers left was not looked for", "error", err)
	}
	for _, dir := range dirs {
		if dir == in.Place.Instance || dir == t.dir(in) {
			continue
		}
		if err := removeWithSocket(ctx, dir); err != nil {
			t.Log.WarnContext(ctx, "what an earlier failover left was not removed", "instance", dir, "error", err)
			continue
		}
		t.Log.InfoContext(ctx, "removed what an earlier failover left that failed", "instance", dir)
	}
}

// sweepStandbys removes standbys of this host that nobody wants any more: their servers would run for ever.
func (t *Target) sweepStandbys(ctx context.Context) {
	files, err := filepath.Glob(filepath.Join(t.DataDir, "*", "*", "s-*", ownerFile))
	if err != nil || t.DataDir == "" {
		return
	}
	for _, f := range slices.DeleteFunc(files, func(f string) bool { return !unserved(f) }) {
		workspace := filepath.Dir(filepath.Dir(f))
		group := filepath.Base(filepath.Dir(workspace))
		t.sweep(ctx, RestoreInput{Group: group, Plan: WorkspacePlan{Workspace: filepath.Base(workspace)}})
	}
}

// removeInstance removes a folder when no server runs in it. What says whose it is goes last, so that a removal that was
// cut short is gone on with.
func removeInstance(ctx context.Context, dir string) error {
	s, err := postgres.Load(dir)
	if err == nil {
		err = stopNow(ctx, s)
	}
	if err != nil && !fault.Is(err, fault.Missing) { // no description: nobody ever started one
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != ownerFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fault.New(fault.Transient, "remove instance that never served", err)
	}
	return nil
}

func stopNow(ctx context.Context, s *postgres.Server) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	return s.Stop(ctx, postgres.Immediate)
}

// reclaimable returns the bytes on disk that sweep would set free. What cannot be read counts as nothing.
func (t *Target) reclaimable(ctx context.Context, group, workspace string) (bytes int64) {
	dirs, err := t.leftovers(ctx, group, workspace)
	if err != nil {
		t.Log.WarnContext(ctx, "what earlier failovers left does not count as free", "error", err)
	}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return ctx.Err()
			}
			if info, err := d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					bytes += st.Blocks * 512 // stat(2): always of 512 bytes
				}
			}
			return nil
		})
	}
	return bytes
}
