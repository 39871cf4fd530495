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
	w.Helper()
	w.Run("commits", func(t *testing.T) {
		for name := range w.Old {
			for _, region := range regions {
				t.Run(name+" from "+region, func(t *testing.T) {
					w.on(t).checkCommits(region, name)
				})
			}
		}
	})
}

// on lets the checks of a case fail that case.
func (w *world) on(t *testing.T) *world {
	cut, in := *w.CutOff, w.World.On(t)
	cut.World = in
	return &world{CutOff: &cut, serves: w.serves}
}

// checkCommits restores the old lineage of a workspace to its end from a region's bucket, and compares it with what the cut-off
// clients were told: every acknowledged commit is there.
func (w *world) checkCommits(region, workspace string) {
	w.Helper()
	commits := w.Stuck[workspace].Commits()
	fetched, server := w.restoreLeft(region, workspace)
	r, err := ledger.Verify(w.Context(), w.Connect(server, estate.Database), commits, fetched.RecordEnd, time.Now())
	w.Check(err)
	for _, b := range r.Broken {
		w.Error(b)
	}
	if r.Kept != len(commits) || len(commits) < 60 {
		w.Errorf("%s, from the bucket of %s: of %d acknowledged commits %d are in lineage %s", workspace, region, len(commits), r.Kept, w.Left[workspace].ID)
	}
}

// restoreLeft restores the newest snapshot and all WAL of a workspace's old lineage, and nothing else.
func (w *world) restoreLeft(region, workspace string) (restore.FetchedWAL, *postgres.Server) {
	w.Helper()
	ctx, store, l := w.Context(), w.Store(region), w.Left[workspace]
	m := w.newestSnapshot(store, workspace, l)
	server := w.elsewhere(workspace)
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: server.DataDir}
	if a := server.Account; a != nil {
		files.UID, files.GID = int(a.UID), int(a.GID)
	}
	_, err := restore.Files(ctx, files)
	w.Check(err)
	leg := restore.Leg{Archive: w.Archive(region, workspace, l.ID), Lineage: l, From: m.Start}
	fetched, err := restore.FetchWAL{Legs: []restore.Leg{leg}, Dir: filepath.Join(server.DataDir, "pg_wal"), SegmentSize: l.SegmentSize}.Run(ctx)
	w.Check(err)
	w.Check(server.OwnTree(server.InstanceDir()))
	w.Check(server.WriteHBA(""))
	_, err = restore.Attach(ctx, restore.AttachInput{Server: server, Superuser: server.Superuser, ReplayFrom: m.Start.LSN,
		Plan: restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd}, Minimums: fetched.MaxParameters,
		Overrides: map[string]string{"shared_buffers": "16MB", "shared_preload_libraries": "", "hba_file": server.HBAFile(), "ident_file": server.IdentFile()}})
	w.Check(err)
	return fetched, server
}

func (w *world) newestSnapshot(store objectstore.Store, workspace string, l topology.Lineage) *snapshot.Manifest {
	w.Helper()
	all, err := snapshot.List(w.Context(), store, estate.Group, workspace)
	w.Check(err)
	var id string
	for _, m := range all {
		if m.Lineage == l.ID {
			id = m.ID
		}
	}
	m, err := snapshot.Load(w.Context(), store, estate.Group, workspace, id)
	w.Check(err)
	return m
}

// elsewhere describes a server like a workspace's old one, in a folder and on a port of its own.
func (w *world) elsewhere(workspace string) *postgres.Server {
	w.Helper()
	s := *w.Old[workspace]
	dir := devtest.Dir(w)
	port, err := devenv.FreePort()
	w.Check(err)
	s.DataDir, s.SocketDir, s.LogFile = filepath.Join(dir, "data"), filepath.Join(dir, "s"), filepath.Join(dir, "postgresql.log")
	s.Port, s.Listen, s.Settings, s.DieWithParent = port, "", nil, true
	w.Check(s.Own(dir))
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		_ = s.Kill(ctx) // it may never have run
		if b, err := os.ReadFile(s.LogFile); w.Failed() && err == nil {
			w.Logf("%s ends with:\n%s", s.LogFile, b[max(0, len(b)-1500):])
		}
	})
	return &s
}
