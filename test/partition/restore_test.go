package partition_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// checkAllCommits checks every workspace's commits in each of some regions.
func (w *world) checkAllCommits(regions ...string) {
	w.t.Helper()
	w.t.Run("commits", func(t *testing.T) {
		for name := range w.old {
			for _, region := range regions {
				t.Run(name+" from "+region, func(t *testing.T) {
					each := *w
					each.t = t
					each.checkCommits(region, name)
				})
			}
		}
	})
}

// checkCommits restores the old lineage of a workspace to its end from a region's bucket, and compares it with what the cut-off
// clients were told: every acknowledged commit is there.
func (w *world) checkCommits(region, workspace string) {
	w.t.Helper()
	commits := w.stuck[workspace].Commits()
	fetched, server := w.restoreLeft(region, workspace)
	conn, err := server.Open(w.t.Context(), estate.Database)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	r, err := ledger.Verify(w.t.Context(), conn, commits, fetched.RecordEnd, time.Now())
	check(w.t, err)
	for _, b := range r.Broken {
		w.t.Error(b)
	}
	if r.Kept != len(commits) || len(commits) < 60 {
		w.t.Errorf("%s, from the bucket of %s: of %d acknowledged commits %d are in lineage %s", workspace, region, len(commits), r.Kept, w.left[workspace].ID)
	}
}

// restoreLeft restores the newest snapshot and all WAL of a workspace's old lineage, and nothing else.
func (w *world) restoreLeft(region, workspace string) (restore.FetchedWAL, *postgres.Server) {
	w.t.Helper()
	ctx, store, l := w.t.Context(), w.store(region), w.left[workspace]
	m := w.newestSnapshot(store, workspace, l)
	server := w.elsewhere(workspace)
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: server.DataDir}
	if a := server.Account; a != nil {
		files.UID, files.GID = int(a.UID), int(a.GID)
	}
	_, err := restore.Files(ctx, files)
	check(w.t, err)
	leg := restore.Leg{Archive: w.archive(region, workspace, l.ID), Lineage: l, From: m.Start}
	fetched, err := restore.FetchWAL{Legs: []restore.Leg{leg}, Dir: filepath.Join(server.DataDir, "pg_wal"), SegmentSize: l.SegmentSize}.Run(ctx)
	check(w.t, err)
	check(w.t, server.OwnTree(server.InstanceDir()))
	check(w.t, server.WriteHBA(""))
	_, err = restore.Attach(ctx, restore.AttachInput{Server: server, Superuser: server.Superuser, ReplayFrom: m.Start.LSN,
		Plan: restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd}, Minimums: fetched.MaxParameters,
		Overrides: map[string]string{"shared_buffers": "16MB", "shared_preload_libraries": "", "hba_file": server.HBAFile(), "ident_file": server.IdentFile()}})
	check(w.t, err)
	return fetched, server
}

func (w *world) newestSnapshot(store objectstore.Store, workspace string, l topology.Lineage) *snapshot.Manifest {
	w.t.Helper()
	all, err := snapshot.List(w.t.Context(), store, estate.Group, workspace)
	check(w.t, err)
	var id string
	for _, m := range all {
		if m.Lineage == l.ID {
			id = m.ID
		}
	}
	m, err := snapshot.Load(w.t.Context(), store, estate.Group, workspace, id)
	check(w.t, err)
	return m
}

// elsewhere describes a server like a workspace's old one, in a folder and on a port of its own.
func (w *world) elsewhere(workspace string) *postgres.Server {
	w.t.Helper()
	s := *w.old[workspace]
	dir := devtest.Dir(w.t)
	port, err := devenv.FreePort()
	check(w.t, err)
	s.DataDir, s.SocketDir, s.LogFile = filepath.Join(dir, "data"), filepath.Join(dir, "s"), filepath.Join(dir, "postgresql.log")
	s.Port, s.Listen, s.Settings, s.DieWithParent = port, "", nil, true
	check(w.t, s.Own(dir))
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.Kill(ctx) // it may never have run
		if b, err := os.ReadFile(s.LogFile); w.t.Failed() && err == nil {
			w.t.Logf("%s ends with:\n%s", s.LogFile, b[max(0, len(b)-1500):])
		}
	})
	return &s
}
