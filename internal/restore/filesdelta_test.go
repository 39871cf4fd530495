package restore_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// What becomes of a server that is updated here and there, grows, shrinks and has pages emptied.
var updates = []string{
	"UPDATE t SET x = repeat(md5(x), 4) WHERE i % 5000 = 0; CHECKPOINT",
	"INSERT INTO t SELECT i, 'grown' FROM generate_series(50001, 60000) i; UPDATE far SET x = 'moved' WHERE i % 9000 = 0; CHECKPOINT",
	"DELETE FROM t WHERE i > 30000",
	"VACUUM t",
	"UPDATE near SET x = '' WHERE i = 7; CHECKPOINT",
}

// deltas returns the packs of deltas that a snapshot needs, and how many chunks it takes from them.
func (k taken) deltas(t *testing.T) (packs []string, chunks int) {
	t.Helper()
	parts, err := snapshot.Locate(t.Context(), k.store, "g", "w", k.m.Wanted())
	check(t, err)
	for _, p := range parts {
		n := 0
		for _, e := range p.Entries {
			if e.IsDelta() {
				n++
			}
		}
		if chunks += n; n > 0 {
			packs = append(packs, p.ID)
		}
	}
	return packs, chunks
}

func TestEveryGenerationIsRestoredAsItWas(t *testing.T) {
	first := snapshotOf(t, postgrestest.Installations(t)[0])
	then := first.restoredTree(t)
	k := first
	for _, sql := range updates {
		if !strings.HasSuffix(sql, "CHECKPOINT") {
			postgrestest.Exec(t, k.source, "app", sql)
			continue
		}
		k, _ = k.changed(t, sql)
		packs, chunks := k.deltas(t)
		if chunks == 0 {
			t.Errorf("no chunk is a delta after %s", sql)
		}
		var asked objectstore.Counters
		in := k.input(filepath.Join(postgrestest.TempDir(t), "data"))
		in.Store = objectstore.WithCounters(k.store, &asked)
		files(t, in)
		compareWithServer(t, k, in.DataDir)
		t.Logf("%d chunks are deltas, in %d packs; %d requests", chunks, len(packs), asked.Requests())
		if asked.Requests() > 60 {
			t.Error("a restore of some packs takes too many requests")
		}
	}
	startAndCount(t, k, k.restore(t), "scratch")
	again := first.restoredTree(t)
	if len(again) != len(then) {
		t.Errorf("%d files instead of %d", len(again), len(then))
	}
	for path, was := range then {
		if again[path] != was {
			t.Errorf("%s of the first generation is not what it was", path)
		}
	}
}

func (k taken) restore(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(postgrestest.TempDir(t), "data")
	files(t, k.input(dir))
	return dir
}

// restoredTree returns every file of a restored snapshot.
func (k taken) restoredTree(t *testing.T) map[string]string {
	t.Helper()
	dir, tree := k.restore(t), map[string]string{}
	for _, f := range k.m.Files {
		if f.Dir || f.Path == "tablespace_map" { // which says where this restore was
			continue
		}
		b, err := os.ReadFile(restoredPath(k.m, dir, f.Path))
		check(t, err)
		tree[f.Path] = string(b)
	}
	return tree
}

func TestDeltasAreRestored(t *testing.T) {
	first := snapshotOf(t, postgrestest.Installations(t)[0])
	older := first.restore(t)
	k, _ := first.changed(t, updates[0])
	t.Run("after an end among deltas", k.endsAmongDeltas)
	t.Run("on bases of an older folder", func(t *testing.T) { k.takesBasesFrom(t, older) })
	t.Run("unless they are damaged", k.isDamaged)
}

// A restore that ends between bases and deltas has the former where the latter belong. The next attempt takes none of them for what it is
// not, and needs only the deltas.
func (k taken) endsAmongDeltas(t *testing.T) {
	packs, _ := k.deltas(t)
	broken := new(objectstore.Faults)
	lost := fault.Newf(fault.Transient, "get object", "the connection was lost")
	mend := broken.Add(objectstore.Rule{Ops: objectstore.OpGet, Keys: regexp.MustCompile(strings.Join(packs, "|") + `\.pack`), Fail: lost})
	in := k.input(filepath.Join(postgrestest.TempDir(t), "data"))
	in.Store = objectstore.WithFaults(k.store, broken)
	if _, err := restore.Files(t.Context(), in); !fault.Is(err, fault.Transient) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(in.DataDir, "global/pg_control")); err == nil {
		t.Fatal("the directory could be started")
	}
	mend()
	res := files(t, in)
	if res.Fetched > 1<<20 {
		t.Errorf("%d bytes were fetched again", res.Fetched)
	}
	compareWithServer(t, k, in.DataDir)
	startAndCount(t, k, in.DataDir, "app", "scratch")
}

// Where an older folder has a delta's base only the delta is fetched.
func (k taken) takesBasesFrom(t *testing.T, older string) {
	var asked objectstore.Counters
	in := k.input(filepath.Join(postgrestest.TempDir(t), "data"))
	in.Store, in.Reuse = objectstore.WithCounters(k.store, &asked), []string{older}
	res := files(t, in)
	if res.Fetched > 1<<20 {
		t.Errorf("%d bytes were fetched where only some pages had changed", res.Fetched)
	}
	t.Logf("%d bytes fetched, %d local of %d", res.Fetched, res.Local, res.Bytes)
	compareWithServer(t, k, in.DataDir)
}

func (k taken) isDamaged(t *testing.T) {
	packs, _ := k.deltas(t)
	key := snapshot.PackKey("g", "w", packs[0])
	for name, how := range map[string]func([]byte) []byte{
		"a flipped bit": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a lost end":    func(b []byte) []byte { return b[:len(b)-1] },
	} {
		put := damage(t, k.store, key, how)
		dir := filepath.Join(postgrestest.TempDir(t), "data")
		_, err := restore.Files(t.Context(), k.input(dir))
		if !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "global/pg_control")); err == nil {
			t.Errorf("%s: the directory could be started", name)
		}
		_, err = k.store.Put(t.Context(), key, put, objectstore.PutOptions{})
		check(t, err)
	}
	compareWithServer(t, k, k.restore(t))
}
