package restore_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// changed is a server's second snapshot, and how many bytes of chunks it has that the first one does not have in their place.
func (k taken) changed(t *testing.T, sql string) (taken, int64) {
	t.Helper()
	postgrestest.Exec(t, k.source, "app", sql)
	res, err := ship.TakeSnapshot(t.Context(), ship.Snapshot{
		Source: k.source.Source("postgres"), Group: "g", Workspace: "w", Lineage: topology.Lineage{ID: "0001-0000abcd"},
		Destinations: []ship.Destination{{Region: "a", Store: k.store}},
	})
	check(t, err)
	before := map[string]snapshot.Chunks{}
	for _, f := range k.m.Files {
		before[f.Path] = f.Chunks
	}
	k.m, err = snapshot.Load(t.Context(), k.store, "g", "w", res.ID)
	check(t, err)
	var bytes int64
	for _, f := range k.m.Files {
		for n, h := range f.Chunks {
			if old := before[f.Path]; !h.IsZero() && (n >= len(old) || old[n] != h) {
				bytes += int64(snapshot.ChunkLen(f.Size, n))
			}
		}
	}
	return k, bytes
}

const someRows = "UPDATE t SET x = repeat(md5(x), 4) WHERE i % 10000 = 0; CHECKPOINT"

// What an older folder has is not fetched, wherever its tablespaces lie and whoever runs on it.
func TestOnlyWhatChangedIsFetched(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	old := filepath.Join(postgrestest.TempDir(t), "data")
	files(t, k.input(old))
	now, changed := k.changed(t, someRows)
	for name, older := range map[string]string{"a folder that was restored once": old, "a running server's": k.source.DataDir} {
		in := now.input(filepath.Join(postgrestest.TempDir(t), "data"))
		in.Reuse = []string{filepath.Join(t.TempDir(), "gone"), older}
		res := files(t, in)
		t.Logf("%s: %d bytes, %d changed, %d local, %d fetched", name, res.Bytes, changed, res.Local, res.Fetched)
		if res.Fetched > changed || res.Local < res.Bytes-changed-(1<<20) && older == old {
			t.Errorf("%s: of %d bytes, %d of which changed, %d were fetched and %d found", name, res.Bytes, changed, res.Fetched, res.Local)
		}
		compareWithServer(t, now, in.DataDir)
	}
}

// spoil makes a folder what a crashed disk, or a person in haste, leaves.
func spoil(t *testing.T, dir string) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch rnd.IntN(8) {
		case 0:
			check(t, os.Truncate(path, rnd.Int64N(100000)))
		case 1:
			scribble(path, rnd)
		case 2:
			check(t, os.Remove(path))
			check(t, unix.Mkfifo(path, 0o600))
		case 3:
			check(t, os.Remove(path))
			check(t, os.Mkdir(path, 0o700))
		case 4:
			check(t, os.Remove(path))
			check(t, os.Symlink("/dev/zero", path))
		case 5:
			check(t, os.Chmod(path, 0))
		}
		return nil
	}))
}

// scribble changes some bytes of a file, if it is one.
func scribble(path string, rnd *rand.Rand) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		_, _ = f.WriteAt([]byte{byte(rnd.IntN(256))}, rnd.Int64N(info.Size())) // any outcome is as good
	}
}

// Damaged folders, and such as change while they are read, never lead to wrong bytes.
func TestOlderFoldersAreNotTrusted(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	old := filepath.Join(postgrestest.TempDir(t), "data")
	files(t, k.input(old))
	now, _ := k.changed(t, someRows)
	same := func(name string, older string) {
		t.Helper()
		in := now.input(filepath.Join(postgrestest.TempDir(t), "data"))
		in.Reuse = []string{older}
		res := files(t, in)
		if res.Local == 0 {
			t.Errorf("%s: nothing was reused", name)
		}
		compareWithServer(t, now, in.DataDir)
	}
	restore.CloneBy(t, func(to, from *os.File, at, n int64) error { // whose source changes at the last moment
		b := make([]byte, n)
		if _, err := from.ReadAt(b, at); err != nil {
			return err
		}
		b[n/2] ^= 1
		_, err := to.WriteAt(b, at)
		return err
	})
	same("cloned otherwise", old)

	copied := filepath.Join(postgrestest.TempDir(t), "data")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", filepath.Dir(old)+"/.", filepath.Dir(copied)).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	spoil(t, copied)
	same("spoilt", copied)

	var paths []string
	for _, f := range now.m.Files {
		if !f.Dir && strings.HasPrefix(f.Path, "base/") {
			paths = append(paths, filepath.Join(old, f.Path))
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for rnd := rand.New(rand.NewPCG(3, 4)); ; scribble(paths[rnd.IntN(len(paths))], rnd) {
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	same("changing", old)
	close(stop)
	wg.Wait()
}
