package ship_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// source is a server with two databases of users.
func source(t testing.TB, bin postgres.Binaries) *postgres.Server {
	t.Helper()
	s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off"})
	for _, db := range []string{"app", "scratch"} {
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
		postgrestest.Exec(t, s, db, "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 4) AS x FROM generate_series(1, 50000) i")
	}
	return s
}

func request(s *postgres.Server, stores ...objectstore.Store) ship.Snapshot {
	r := ship.Snapshot{Source: s.Source("postgres"), Group: "g", Workspace: "w", Lineage: topology.Lineage{ID: "0001-0000abcd"}}
	for i, store := range stores {
		r.Destinations = append(r.Destinations, ship.Destination{Region: string(rune('a' + i)), Store: store})
	}
	return r
}

func take(t testing.TB, r ship.Snapshot) ship.SnapshotResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	res, err := ship.TakeSnapshot(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestSnapshotGoesToBothBucketsAndSharesWhatIsThere(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := source(t, bin)
		a, b := devtest.Store(t), devtest.Store(t)
		r := request(s, a, b)
		var waited wal.LSN
		r.WaitStored = func(ctx context.Context, l wal.LSN) error {
			waited = l
			if list, err := snapshot.List(ctx, a, "g", "w"); err != nil || len(list) != 0 {
				t.Errorf("published before the WAL was stored: %v, %v", list, err)
			}
			return nil
		}
		var last topology.SnapshotProgress
		r.Progress = func(p topology.SnapshotProgress) { last = p }
		first := take(t, r)
		if diff := cmp.Diff([]string{"a", "b"}, first.Complete); diff != "" {
			t.Error(diff)
		}
		if waited != first.End.LSN || waited <= first.Start.LSN {
			t.Errorf("waited for %s, snapshot from %s to %s", waited, first.Start, first.End)
		}
		checkProgress(t, last, first)
		r.WaitStored, r.Progress = nil, nil
		ma, mb := load(t, a, first.ID), load(t, b, first.ID)
		if diff := cmp.Diff(ma, mb); diff != "" {
			t.Error("the buckets differ:", diff)
		}
		second := take(t, r)
		if second.SentBytes > first.SentBytes/10 || second.SharedBytes < first.RawBytes/2 {
			t.Errorf("the second snapshot of an idle server sent %d bytes, the first %d", second.SentBytes, first.SentBytes)
		}
		t.Logf("%+v\n%+v", first, second)
	})
}

func checkProgress(t *testing.T, p topology.SnapshotProgress, res ship.SnapshotResult) {
	t.Helper()
	if p.ID != res.ID || p.DoneBytes != res.RawBytes || p.TotalBytes != p.DoneBytes || len(p.Complete) != 2 {
		t.Errorf("last progress %+v of %+v", p, res)
	}
	for _, d := range p.Databases {
		if d.DoneBytes == 0 || d.DoneBytes != d.TotalBytes || !d.Replicated {
			t.Errorf("last progress of a database: %+v", d)
		}
	}
	if len(p.Databases) != 5 {
		t.Errorf("%d databases, want 5", len(p.Databases))
	}
}

func load(t *testing.T, store objectstore.Store, id string) *snapshot.Manifest {
	t.Helper()
	m, err := snapshot.Load(t.Context(), store, "g", "w", id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDatabasesLeftOutAreListedWithTheirSize(t *testing.T) {
	bin := postgrestest.Installations(t)[0]
	s, store := source(t, bin), devtest.Store(t)
	space := postgrestest.TempDir(t)
	postgrestest.Exec(t, s, "scratch", "CREATE TABLESPACE far LOCATION '"+space+"'")
	postgrestest.Exec(t, s, "scratch", "CREATE TABLE u TABLESPACE far AS SELECT * FROM t")
	r := request(s, store)
	r.Databases = ship.Choice{Only: true, Names: []string{"app"}}
	res := take(t, r)
	m := load(t, store, res.ID)
	omitted := map[string]int64{}
	for _, f := range m.Files {
		if f.Omitted {
			omitted[names(m)[snapshot.DatabaseOf(f.Path)]] += f.Size
		}
	}
	if len(omitted) != 1 || omitted["scratch"] < 10<<20 || omitted["scratch"] != res.OmittedBytes {
		t.Errorf("left out: %v, the result says %d", omitted, res.OmittedBytes)
	}
	for _, d := range m.Databases {
		if d.Replicated != (d.Name != "scratch") {
			t.Errorf("database %+v", d)
		}
	}
}

func names(m *snapshot.Manifest) map[uint32]string {
	out := map[uint32]string{}
	for _, d := range m.Databases {
		out[d.OID] = d.Name
	}
	return out
}

// A chosen database that was dropped since must not stop the others' snapshots; with none chosen, what PostgreSQL needs and
// the templates that databases are made of are still there.
func TestChosenDatabasesThatAreNotThere(t *testing.T) {
	s, store := source(t, postgrestest.Installations(t)[0]), devtest.Store(t)
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE mould IS_TEMPLATE true")
	r := request(s, store)
	for name, c := range map[string]struct {
		chosen, kept, absent []string
	}{
		"one is gone":      {[]string{"app", "nowhere"}, []string{"template1", "template0", "postgres", "app", "mould"}, []string{"nowhere"}},
		"none is chosen":   {nil, []string{"template1", "template0", "postgres", "mould"}, nil},
		"all that are not": {[]string{"nowhere"}, []string{"template1", "template0", "postgres", "mould"}, []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			r.Databases = ship.Choice{Only: true, Names: c.chosen}
			res := take(t, r)
			var kept []string
			for _, d := range load(t, store, res.ID).Databases {
				if d.Replicated {
					kept = append(kept, d.Name)
				}
			}
			if diff := cmp.Diff([][]string{c.kept, c.absent}, [][]string{kept, res.Absent}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheSnapshotOfAnotherServerIsRefused(t *testing.T) {
	s, store := source(t, postgrestest.Installations(t)[0]), devtest.Store(t)
	r := request(s, store)
	r.Lineage.SystemID = "42"
	if _, err := ship.TakeSnapshot(t.Context(), r); !fault.Is(err, fault.Diverged) {
		t.Error("another server's lineage:", err)
	}
}

// What a database costs that is left out: nothing but its place in the manifest.
func TestDatabasesLeftOutCostNothing(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"autovacuum": "off"})
		stored := func() int64 {
			store := devtest.Store(t)
			r := request(s, store)
			r.Databases = ship.Choice{Only: true, Names: []string{"app"}}
			take(t, r)
			return storedBytes(t, store)
		}
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE big")
		without := stored()
		postgrestest.Exec(t, s, "big", "CREATE TABLE t AS SELECT i, sha512(i::text::bytea) AS x, sha512((-i)::text::bytea) AS y FROM generate_series(1, 400000) i")
		with := stored()
		t.Logf("%d bytes stored without, %d with %s left out", without, with, postgrestest.Query(t, s, "postgres", "SELECT pg_size_pretty(pg_database_size('big'))"))
		if with > without+64<<10 {
			t.Errorf("%d bytes became %d by a database that is left out", without, with)
		}
	})
}

func storedBytes(t *testing.T, store objectstore.Store) (n int64) {
	t.Helper()
	for info, err := range store.List(t.Context(), "", "") {
		postgrestest.Check(t, err)
		n += info.Size
	}
	return n
}

func TestABucketThatFailsIsDroppedAndMirroredLater(t *testing.T) {
	s := source(t, postgrestest.Installations(t)[0])
	good, bad := devtest.Store(t), devtest.Gateway(t)
	broken := devtest.Open(t, bad)
	r := request(s, good, dying{broken, new(atomic.Int64)})
	res := take(t, r)
	if diff := cmp.Diff([]string{"a"}, res.Complete); diff != "" || res.Failed["b"] == nil {
		t.Error(diff, res.Failed)
	}
	if list, err := snapshot.List(t.Context(), broken, "g", "w"); err != nil || len(list) != 0 {
		t.Error("published in a bucket that lacks some of it:", list, err)
	}
	from, to := ship.Destination{Region: "a", Store: good}, ship.Destination{Region: "b", Store: broken}
	sent, err := ship.MirrorSnapshot(t.Context(), from, to, "g", "w", res.ID)
	if err != nil || sent == 0 {
		t.Fatal(sent, err)
	}
	if diff := cmp.Diff(load(t, good, res.ID), load(t, broken, res.ID)); diff != "" {
		t.Error(diff)
	}
	lacking, wanted := 0, load(t, broken, res.ID).Wanted()
	if _, err := snapshot.Locate(t.Context(), broken, "g", "w", wanted); err != nil {
		t.Error(lacking, err)
	}
	if sent, err := ship.MirrorSnapshot(t.Context(), from, to, "g", "w", res.ID); err != nil || sent != 0 {
		t.Error("mirrored again:", sent, err)
	}
}

// dying is a bucket that takes one object and no more.
type dying struct {
	objectstore.Store
	puts *atomic.Int64
}

func (d dying) Put(ctx context.Context, key string, body []byte, o objectstore.PutOptions) (objectstore.Info, error) {
	if d.puts.Add(1) > 1 {
		return objectstore.Info{}, fault.Newf(fault.Full, "put object "+key, "no room")
	}
	return d.Store.Put(ctx, key, body, o)
}

func TestNoBucketLeft(t *testing.T) {
	s := source(t, postgrestest.Installations(t)[0])
	store := devtest.Store(t)
	r := request(s, dying{store, new(atomic.Int64)}, dying{store, new(atomic.Int64)})
	_, err := ship.TakeSnapshot(t.Context(), r)
	if !fault.Is(err, fault.Full) {
		t.Error(err)
	}
}

func TestInPlaceTablespacesAreInOrRefused(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"allow_in_place_tablespaces": "on"})
		postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE near LOCATION ''")
		postgrestest.Exec(t, s, "postgres", "CREATE TABLE near TABLESPACE near AS SELECT 1")
		store := devtest.Store(t)
		res, err := ship.TakeSnapshot(t.Context(), request(s, store))
		if bin.Major() == 15 {
			if !fault.Is(err, fault.Invalid) {
				t.Error(err)
			}
			return
		}
		postgrestest.Check(t, err)
		if spaces := load(t, store, res.ID).Tablespaces; len(spaces) != 1 || !spaces[0].InPlace {
			t.Error(spaces)
		}
	})
}
