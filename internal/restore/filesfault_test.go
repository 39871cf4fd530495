package restore_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// childVariable makes this test binary a process that restores, and that a test kills.
const childVariable = "SMARTDR_TEST_RESTORE_CHILD"

// childOrder is what the child is told, by environment.
type childOrder struct {
	S3       objectstore.S3Config
	Snapshot string
	DataDir  string
	UID, GID int
}

// TestRestoreChild is no test: it is what a child process runs.
func TestRestoreChild(t *testing.T) {
	text := os.Getenv(childVariable)
	if text == "" {
		t.Skip("runs in child processes only")
	}
	var o childOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		panic(err)
	}
	ctx := context.Background()
	store, err := objectstore.Open(ctx, o.S3)
	if err != nil {
		panic(err)
	}
	m, err := snapshot.Load(ctx, store, "g", "w", o.Snapshot)
	if err != nil {
		panic(err)
	}
	if _, err := restore.Files(ctx, restore.FilesInput{Store: store, Manifest: m, DataDir: o.DataDir, UID: o.UID, GID: o.GID, Parallel: 1}); err != nil {
		panic(err)
	}
}

func TestAKilledRestoreGoesOn(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	dir := filepath.Join(postgrestest.TempDir(t), "data")
	in := k.input(dir)
	order, err := json.Marshal(childOrder{k.gateway.S3Config(), k.m.ID, dir, in.UID, in.GID})
	postgrestest.Check(t, err)
	kills := 0
	for reach := int64(4); reach <= 32; reach += 7 {
		if killAt(t, string(order), dir, reach<<20) {
			kills++
		}
		if _, err := os.Stat(filepath.Join(dir, "global/pg_control")); err == nil && kills == 0 {
			t.Fatal("the restore ended before it was killed once")
		}
	}
	if kills == 0 {
		t.Fatal("nothing was killed")
	}
	res := files(t, in)
	if res.Reused == 0 {
		t.Error("nothing of what the killed processes wrote was used again")
	}
	t.Logf("%d kills, then reused %d of %d bytes and fetched %d", kills, res.Reused, res.Bytes, res.Fetched)
	compareWithServer(t, k, dir)
	startAndCount(t, k, dir, "app", "scratch")
}

// killAt runs a child that restores, and kills it once the folder holds so many bytes. It reports whether it was in time.
func killAt(t *testing.T, order, dir string, reach int64) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRestoreChild$")
	cmd.Env = append(os.Environ(), childVariable+"="+order)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	postgrestest.Check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Error("the child failed:", err)
			}
			return false
		case <-tick.C:
		}
		if blocks(dir) >= reach {
			postgrestest.Check(t, cmd.Process.Kill())
			<-ended
			return true
		}
	}
}

// blocks returns how many bytes of a folder are no holes.
func blocks(dir string) (n int64) {
	_ = filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil {
			n += i.Sys().(*syscall.Stat_t).Blocks * 512
		}
		return nil // files may come and go
	})
	return n
}

func TestLeftOutDatabasesAreZeros(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0], "app")
	dir := filepath.Join(postgrestest.TempDir(t), "data")
	res := files(t, k.input(dir))
	omitted := int64(0)
	for _, f := range k.m.Files {
		if !f.Omitted {
			continue
		}
		omitted += f.Size
		b, err := os.ReadFile(restoredPath(k.m, dir, f.Path))
		postgrestest.Check(t, err)
		if int64(len(b)) != f.Size || !snapshot.AllZeros(b) {
			t.Errorf("%s: %d bytes, want %d zeros", f.Path, len(b), f.Size)
		}
	}
	if on := blocks(dir); omitted < 10<<20 || on > res.Bytes-omitted+(4<<20) {
		t.Errorf("%d bytes left out, %d of %d on disk", omitted, on, res.Bytes)
	}
	compareWithServer(t, k, dir)
	startAndCount(t, k, dir, "app")
}

func TestForeignFoldersAreRefused(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	parent := postgrestest.TempDir(t)
	dir := filepath.Join(parent, "data")
	precious := filepath.Join(dir, "PG_VERSION")
	postgrestest.Check(t, os.MkdirAll(dir, 0o755))
	postgrestest.Check(t, os.WriteFile(precious, []byte("mine"), 0o644))
	if _, err := restore.Files(t.Context(), k.input(dir)); !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Error("a folder with a file:", err)
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "mine" {
		t.Error("the file was changed:", string(b), err)
	}
	postgrestest.Check(t, os.Remove(precious))
	at := slices.IndexFunc(k.m.Tablespaces, func(ts snapshot.Tablespace) bool { return !ts.InPlace })
	space := filepath.Join(parent, "tablespaces", strconv.FormatUint(uint64(k.m.Tablespaces[at].OID), 10), "PG_precious")
	postgrestest.Check(t, os.MkdirAll(space, 0o755))
	if _, err := restore.Files(t.Context(), k.input(dir)); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "PG_precious") {
		t.Error("a tablespace's folder with something in it:", err)
	}
	postgrestest.Check(t, os.Remove(space))
	files(t, k.input(dir))
	other := *k.m
	other.ID = snapshot.NewID(time.Now())
	in := k.input(dir)
	in.Manifest = &other
	if _, err := restore.Files(t.Context(), in); !fault.Is(err, fault.Invalid) {
		t.Error("a folder with another snapshot:", err)
	}
}

// blocking is a bucket whose ranged reads wait.
type blocking struct {
	objectstore.Store
	asked, free chan struct{}
	once        *atomic.Bool
}

func (b blocking) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if b.once.CompareAndSwap(false, true) {
		close(b.asked)
	}
	<-b.free
	return b.Store.GetRange(ctx, key, off, n)
}

func TestTwoRestoresAtOnce(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	dir := filepath.Join(postgrestest.TempDir(t), "data")
	slow := blocking{k.store, make(chan struct{}), make(chan struct{}), new(atomic.Bool)}
	in := k.input(dir)
	in.Store = slow
	first := make(chan error, 1)
	go func() {
		_, err := restore.Files(t.Context(), in)
		first <- err
	}()
	<-slow.asked
	if _, err := restore.Files(t.Context(), k.input(dir)); !fault.Is(err, fault.Conflict) {
		t.Error("a second restore:", err)
	}
	close(slow.free)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestDamagedObjectsAreNamed(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	var pack, index string
	for info, err := range k.store.List(t.Context(), snapshot.Prefix("g", "w")+"packs/", "") {
		postgrestest.Check(t, err)
		if strings.HasSuffix(info.Key, ".pack") && info.Size > 1<<20 {
			pack, index = info.Key, strings.TrimSuffix(info.Key, ".pack")+".idx"
		}
	}
	manifest := snapshot.ManifestKey("g", "w", k.m.ID)
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for _, c := range []struct {
		name, key string
		damage    func([]byte) []byte
		kind      fault.Kind
	}{
		{"altered pack", pack, flip, fault.Corrupt},
		{"truncated pack", pack, half, fault.Corrupt},
		{"no pack", pack, nil, fault.Missing},
		{"altered index", index, flip, fault.Corrupt},
		{"truncated index", index, half, fault.Corrupt},
		{"altered manifest", manifest, flip, fault.Corrupt},
		{"truncated manifest", manifest, half, fault.Corrupt},
		{"no manifest", manifest, nil, fault.Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := damage(t, k.store, c.key, c.damage)
			defer put(t, k.store, c.key, whole)
			dir := filepath.Join(postgrestest.TempDir(t), "data")
			err := loadAndRestore(t.Context(), k, dir)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), filepath.Base(c.key)) {
				t.Error(fault.KindOf(err), err)
			}
			if _, err := os.Stat(filepath.Join(dir, "global/pg_control")); err == nil {
				t.Error("the directory could start")
			}
		})
	}
	t.Run("healed", func(t *testing.T) {
		if err := loadAndRestore(t.Context(), k, filepath.Join(postgrestest.TempDir(t), "data")); err != nil {
			t.Error(err)
		}
	})
}

func loadAndRestore(ctx context.Context, k taken, dir string) error {
	m, err := snapshot.Load(ctx, k.store, "g", "w", k.m.ID)
	if err != nil {
		return err
	}
	in := k.input(dir)
	in.Manifest = m
	_, err = restore.Files(ctx, in)
	return err
}

// damage replaces or, with nil, deletes an object, and returns what it was.
func damage(t *testing.T, store objectstore.Store, key string, how func([]byte) []byte) []byte {
	t.Helper()
	whole, _, err := store.Get(t.Context(), key)
	postgrestest.Check(t, err)
	if how == nil {
		postgrestest.Check(t, store.Delete(t.Context(), key))
		return whole
	}
	put(t, store, key, how(append([]byte(nil), whole...)))
	return whole
}

func put(t *testing.T, store objectstore.Store, key string, b []byte) {
	t.Helper()
	_, err := store.Put(t.Context(), key, b, objectstore.PutOptions{})
	postgrestest.Check(t, err)
}

func TestFullDisk(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	parent := devtest.Dir(t)
	if err := unix.Mount("tmpfs", parent, "tmpfs", 0, "size=24m,mode=0755"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	mounted := true
	defer func() {
		if mounted {
			postgrestest.Check(t, unix.Unmount(parent, 0))
		}
	}()
	dir := filepath.Join(parent, "data")
	_, err := restore.Files(t.Context(), k.input(dir))
	if !fault.Is(err, fault.Full) || !strings.Contains(fault.HintOf(err), "Make room") {
		t.Error(fault.KindOf(err), err, fault.HintOf(err))
	}
	postgrestest.Check(t, unix.Mount("tmpfs", parent, "tmpfs", unix.MS_REMOUNT, "size=512m,mode=0755"))
	res := files(t, k.input(dir))
	if res.Reused == 0 {
		t.Error("what fitted at first was fetched again")
	}
	compareWithServer(t, k, dir)
}
