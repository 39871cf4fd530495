package ship_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

const snapshotChildVariable = "SMARTDR_TEST_SNAPSHOT_CHILD"

// snapshotOrder is what a child process is told, by environment.
type snapshotOrder struct {
	S3     []objectstore.S3Config
	Source topology.Source
	Packs  int // that a bucket may hold; a child that wants to store more waits, until it is killed
}

// killPack is small, so that a small database fills several packs.
const killPack = 4 << 20

// TestSnapshotChild is no test: it is what a child process runs.
func TestSnapshotChild(t *testing.T) {
	text := os.Getenv(snapshotChildVariable)
	if text == "" {
		t.Skip("runs in child processes only")
	}
	var o snapshotOrder
	postgrestest.Check(t, json.Unmarshal([]byte(text), &o))
	r := ship.Snapshot{Source: o.Source, Group: "g", Workspace: "w", Lineage: topology.Lineage{ID: "0001-0000abcd"}, PackSize: killPack}
	for i, cfg := range o.S3 {
		store, err := objectstore.Open(t.Context(), cfg)
		postgrestest.Check(t, err)
		r.Destinations = append(r.Destinations, ship.Destination{Region: string(rune('a' + i)), Store: &narrow{Store: store, t: t, packs: o.Packs}})
	}
	take(t, r)
}

// narrow takes so many packs, and nothing that would publish a snapshot.
type narrow struct {
	objectstore.Store
	t     *testing.T
	packs int
	mu    sync.Mutex
}

func (n *narrow) Put(ctx context.Context, key string, body []byte, o objectstore.PutOptions) (objectstore.Info, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	isPack := strings.HasPrefix(key, snapshot.Prefix("g", "w")+"packs/")
	if !isPack || strings.HasSuffix(key, ".idx") && indexes(n.t, n.Store) >= n.packs {
		<-ctx.Done()
		return objectstore.Info{}, ctx.Err()
	}
	return n.Store.Put(ctx, key, body, o)
}

func TestAKilledSnapshotDoesNotSendAgain(t *testing.T) {
	s := source(t, postgrestest.Installations(t)[0])
	// 48 MB that do not compress
	postgrestest.Exec(t, s, "app", `CREATE TABLE noise AS SELECT i, (SELECT string_agg(sha512((i * 16 + j)::text::bytea), '') FROM generate_series(0, 15) j) AS x
		FROM generate_series(1, 48000) i`)
	postgrestest.Exec(t, s, "app", "SELECT count(*) FROM noise") // sets hint bits, which change every page
	a, b := devtest.Gateway(t), devtest.Gateway(t)
	order := snapshotOrder{S3: []objectstore.S3Config{a.S3Config(), b.S3Config()}, Source: s.Source("postgres")}
	stores := []objectstore.Store{devtest.Open(t, a), devtest.Open(t, b)}
	stored := 0
	for _, packs := range []int{3, 6} {
		killSnapshot(t, order, stores[1], packs)
		stored = indexes(t, stores[1])
	}
	if list, err := snapshot.List(t.Context(), stores[0], "g", "w"); err != nil || len(list) != 0 {
		t.Fatal("a killed snapshot was published:", list, err)
	}
	r := request(s, stores...)
	r.PackSize = killPack
	res := take(t, r)
	if min := int64(stored) * killPack * 3 / 4; res.SharedBytes < min {
		t.Errorf("%d packs were stored, %d bytes were not sent again, want %d", stored, res.SharedBytes, min)
	}
	for _, store := range stores {
		if _, err := snapshot.Locate(t.Context(), store, "g", "w", load(t, store, res.ID).Wanted()); err != nil {
			t.Error(err)
		}
	}
	killedAmongDeltas(t, s, order, r, stores)
	t.Logf("%d packs when killed; then shared %d of %d, sent %d", stored, res.SharedBytes, res.RawBytes, res.SentBytes)
}

// killedAmongDeltas kills the next snapshot when some of its changed pages are stored. The one after it builds on them.
func killedAmongDeltas(t *testing.T, s *postgres.Server, order snapshotOrder, r ship.Snapshot, stores []objectstore.Store) {
	t.Helper()
	postgrestest.Exec(t, s, "app", "UPDATE noise SET i = -i WHERE i % 60 = 0; CHECKPOINT")
	before := indexes(t, stores[1])
	killSnapshot(t, order, stores[1], before+1)
	there := map[snapshot.Hash]bool{}
	postgrestest.Check(t, snapshot.EachIndex(t.Context(), stores[1], "g", "w", func(p snapshot.Index) {
		for _, e := range p.Entries {
			there[e.Hash] = there[e.Hash] || e.IsDelta()
		}
	}))
	res := take(t, r)
	m, deltas := load(t, stores[1], res.ID), 0
	for h := range m.Wanted() {
		if there[h] {
			deltas++
		}
	}
	if deltas == 0 || m.Format != snapshot.DeltaFormat {
		t.Errorf("%d deltas of the killed snapshot are in the next one, of format %d", deltas, m.Format)
	}
	d := snapshot.NewDecoder(1)
	defer d.Close()
	for _, store := range stores {
		parts, err := snapshot.Locate(t.Context(), store, "g", "w", m.Wanted())
		postgrestest.Check(t, err)
		for _, at := range snapshot.Places(parts) {
			_, err := d.ReadChunk(t.Context(), store, "g", "w", at)
			postgrestest.Check(t, err)
		}
	}
	t.Logf("%d deltas from the killed snapshot, then sent %d for %d of chunks that changed", deltas, res.SentBytes, res.DeltaBytes)
}

// killSnapshot runs a child and kills it once a bucket holds so many packs.
func killSnapshot(t *testing.T, order snapshotOrder, store objectstore.Store, packs int) {
	t.Helper()
	order.Packs = packs
	text, err := json.Marshal(order)
	postgrestest.Check(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestSnapshotChild$")
	cmd.Env = append(os.Environ(), snapshotChildVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	postgrestest.Check(t, cmd.Start())
	devtest.Until(t, "packs in the bucket", func() bool { return indexes(t, store) >= packs })
	postgrestest.Check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended before it was killed: %v", cmd.ProcessState)
	}
}

func indexes(t *testing.T, store objectstore.Store) (n int) {
	t.Helper()
	for info, err := range store.List(t.Context(), snapshot.Prefix("g", "w")+"packs/", "") {
		postgrestest.Check(t, err)
		if strings.HasSuffix(info.Key, ".idx") {
			n++
		}
	}
	return n
}
