package restore_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// taken is a snapshot of a server that nobody changes.
type taken struct {
	source  *postgres.Server
	gateway *devenv.Gateway
	store   objectstore.Store
	m       *snapshot.Manifest
}

// snapshotOf makes a server with two databases and a tablespace and takes a snapshot of the databases named; none
// means all.
func snapshotOf(t testing.TB, bin postgres.Binaries, databases ...string) taken {
	t.Helper()
	s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off", "allow_in_place_tablespaces": "on", "max_wal_size": "8GB"})
	for _, db := range []string{"app", "scratch"} {
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
		postgrestest.Exec(t, s, db, "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 4) AS x FROM generate_series(1, 50000) i")
	}
	postgrestest.Exec(t, s, "app", "CREATE TABLESPACE far LOCATION '"+postgrestest.TempDir(t)+"'")
	postgrestest.Exec(t, s, "app", "CREATE TABLE far TABLESPACE far AS SELECT * FROM t")
	near := "" // PostgreSQL 15 leaves in-place tablespaces out of backups
	if bin.Major() > 15 {
		postgrestest.Exec(t, s, "app", "CREATE TABLESPACE near LOCATION ''")
		near = "TABLESPACE near"
	}
	postgrestest.Exec(t, s, "app", "CREATE TABLE near "+near+" AS SELECT * FROM t")
	postgrestest.Exec(t, s, "app", "SELECT pg_create_physical_replication_slot('keep', true)") // WAL for startAndCount
	postgrestest.Exec(t, s, "app", "CREATE TABLE empty(i int); SELECT count(*) FROM t")
	g := devtest.Gateway(t)
	k := taken{source: s, gateway: g, store: devtest.Open(t, g)}
	res, err := ship.TakeSnapshot(t.Context(), ship.Snapshot{
		Source: s.Source("postgres"), Group: "g", Workspace: "w", Lineage: topology.Lineage{ID: "0001-0000abcd"}, Databases: ship.Choice{Only: len(databases) > 0, Names: databases},
		Destinations: []ship.Destination{{Region: "a", Store: k.store}},
	})
	postgrestest.Check(t, err)
	k.m, err = snapshot.Load(t.Context(), k.store, "g", "w", res.ID)
	postgrestest.Check(t, err)
	return k
}

func (k taken) input(dir string) restore.FilesInput {
	in := restore.FilesInput{Store: k.store, Manifest: k.m, DataDir: dir}
	if a := k.source.Account; a != nil {
		in.UID, in.GID = int(a.UID), int(a.GID)
	}
	return in
}

func files(t testing.TB, in restore.FilesInput) restore.FilesResult {
	t.Helper()
	res, err := restore.Files(t.Context(), in)
	if err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	return res
}

func TestFilesAreAsOnTheServer(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		k := snapshotOf(t, bin)
		dir := filepath.Join(postgrestest.TempDir(t), "data")
		var done, total int64
		in := k.input(dir)
		in.Progress = func(d, n int64) { done, total = d, n }
		res := files(t, in)
		if done != total || total != k.m.TotalBytes || res.Reused != 0 || res.Bytes != total {
			t.Errorf("progress %d of %d, %d bytes in the manifest, result %+v", done, total, k.m.TotalBytes, res)
		}
		compareWithServer(t, k, dir)
		again := files(t, k.input(dir))
		if again.Fetched != 0 {
			t.Errorf("a finished restore fetched %d bytes", again.Fetched)
		}
		startAndCount(t, k, dir, "app", "scratch")
	})
}

// volatile are files that a running server and a backup of it have different.
func volatile(path string) bool {
	switch path {
	case "backup_label", "tablespace_map", "postmaster.pid", "postmaster.opts", "global/pg_control", "postgresql.auto.conf", "current_logfiles":
		return path != "postgresql.auto.conf"
	}
	for _, prefix := range []string{"pg_wal/", "pg_replslot/", "pg_stat_tmp/", "pg_subtrans/", "pg_notify/", "pg_stat/"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return strings.HasSuffix(path, "pg_internal.init") || strings.HasPrefix(path, "pg_tblspc/") && strings.Count(path, "/") == 1
}

// compareWithServer holds every file of an idle server, all of whose pages the backup's checkpoint wrote, against its
// restored twin.
func compareWithServer(t *testing.T, k taken, dir string) {
	t.Helper()
	compared, bytesCompared := 0, int64(0)
	for i := range k.m.Files {
		f := &k.m.Files[i]
		if volatile(f.Path) || f.Omitted {
			continue
		}
		// the server reaches its tablespaces through links, the restored files lie beside the data directory
		want, got := filepath.Join(k.source.DataDir, f.Path), restoredPath(k.m, dir, f.Path)
		if f.Dir {
			sameMode(t, want, got)
			continue
		}
		a, err := os.ReadFile(want)
		postgrestest.Check(t, err)
		b, err := os.ReadFile(got)
		postgrestest.Check(t, err)
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d bytes on the server, %d restored", f.Path, len(a), len(b))
		}
		sameMode(t, want, got)
		compared, bytesCompared = compared+1, bytesCompared+int64(len(a))
	}
	if compared < 900 || bytesCompared < 40<<20 {
		t.Errorf("only %d files of %d bytes were compared", compared, bytesCompared)
	}
	noneMissing(t, k, dir)
}

func sameMode(t *testing.T, want, got string) {
	t.Helper()
	a, err := os.Stat(want)
	postgrestest.Check(t, err)
	b, err := os.Stat(got)
	postgrestest.Check(t, err)
	owner := func(i fs.FileInfo) uint32 { return i.Sys().(*syscall.Stat_t).Uid }
	if a.Mode() != b.Mode() || owner(a) != owner(b) {
		t.Errorf("%s: mode %s of %d on the server, %s of %d restored", want, a.Mode(), owner(a), b.Mode(), owner(b))
	}
}

// noneMissing looks for files of the server that were not restored.
func noneMissing(t *testing.T, k taken, dir string) {
	t.Helper()
	postgrestest.Check(t, filepath.WalkDir(k.source.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(k.source.DataDir, path)
		if d.IsDir() || volatile(rel) {
			return nil
		}
		_, err = os.Stat(restoredPath(k.m, dir, rel))
		return err
	}))
}

func restoredPath(m *snapshot.Manifest, dir, path string) string {
	for _, ts := range m.Tablespaces {
		rest, ok := strings.CutPrefix(path, snapshot.TablespacePath(ts.OID))
		if ok && !ts.InPlace {
			return filepath.Join(filepath.Dir(dir), "tablespaces", strings.TrimPrefix(snapshot.TablespacePath(ts.OID), "pg_tblspc/"), rest)
		}
	}
	return filepath.Join(dir, path)
}

// startAndCount adds the server's own WAL, recovers, promotes, and counts. The source is stopped first: its WAL is
// copied as files.
func startAndCount(t *testing.T, k taken, dir string, databases ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	postgrestest.Check(t, k.source.Stop(ctx, postgres.Fast))
	copyWAL(t, k, dir)
	s := postgrestest.NewServer(t, k.source.Bin)
	s.DataDir = dir
	s.Settings["allow_in_place_tablespaces"] = "on"
	s.Settings["ignore_invalid_pages"] = "on"
	postgrestest.Check(t, os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600))
	postgrestest.Check(t, s.WriteHBA(postgrestest.TrustLocal))
	postgrestest.Check(t, s.Start(ctx))
	postgrestest.Check(t, s.Promote(ctx))
	for _, db := range databases {
		tables := []string{"t"}
		if db == "app" {
			tables = []string{"t", "far", "near"}
		}
		for _, table := range tables {
			if got := postgrestest.Query(t, s, db, "SELECT count(*) || ' ' || sum(i) FROM "+table); got != "50000 1250025000" {
				t.Errorf("%s.%s holds %s", db, table, got)
			}
		}
	}
}

func copyWAL(t *testing.T, k taken, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(k.source.DataDir, "pg_wal"))
	postgrestest.Check(t, err)
	for _, e := range entries {
		if len(e.Name()) != 24 {
			continue
		}
		b, err := os.ReadFile(filepath.Join(k.source.DataDir, "pg_wal", e.Name()))
		postgrestest.Check(t, err)
		path := filepath.Join(dir, "pg_wal", e.Name())
		postgrestest.Check(t, os.WriteFile(path, b, 0o600))
		if a := k.source.Account; a != nil {
			postgrestest.Check(t, errors.Join(os.Chown(path, int(a.UID), int(a.GID))))
		}
	}
}
