package catalog

import (
	"context"
	"iter"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// world is two regions, east and west, with a bucket each that can be made to fail.
type world struct {
	*Catalog
	stores map[string]objectstore.Store // without faults
	faults map[string]*objectstore.Faults
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := devtest.Store(t)
	w := &world{stores: map[string]objectstore.Store{}, faults: map[string]*objectstore.Faults{}}
	for _, region := range []string{"east", "west"} {
		w.stores[region] = objectstore.Sub(s, region+"/")
		w.faults[region] = &objectstore.Faults{}
	}
	w.Catalog = w.process()
	return w
}

// process is another process's view of the same buckets.
func (w *world) process() *Catalog {
	c := &Catalog{Stores: map[string]objectstore.Store{}, Timeout: 2 * time.Second}
	for region, s := range w.stores {
		c.Stores[region] = objectstore.WithFaults(s, w.faults[region])
	}
	return c
}

func (w *world) kill(region string) (revive func()) {
	return w.faults[region].Add(objectstore.Rule{Dead: true})
}

func newGroup(name string) topology.Group {
	return topology.Group{
		ID: topology.NewGroupID(), Name: name, Primary: "east",
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{
			"east": {Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db/postgres"}},
		}}},
	}
}

// configured returns a world with group prod, replicated from east to west.
func configured(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	must(w.Create(t.Context(), newGroup("prod")))(t)
	must(w.MoveAuthority(t.Context(), "prod", "west", configure))(t)
	return w
}

func configure(g *topology.Group) error {
	g.Secondary = "west"
	g.Replication = &topology.Replication{ConfiguredAt: time.Unix(1, 0).UTC()}
	return nil
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, err error, kind fault.Kind, texts ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v (%s), want %s", err, fault.KindOf(err), kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// at reads a group as one bucket has it.
func (w *world) at(t *testing.T, region string) topology.Group {
	t.Helper()
	return must(readGroup(t.Context(), w.stores[region], "prod"))(t).group
}

func (w *world) overwrite(t *testing.T, region, key string, body []byte) {
	t.Helper()
	must(w.stores[region].Put(t.Context(), key, body, objectstore.PutOptions{}))(t)
}

func addDatabase(name string) func(*topology.Group) error {
	return func(g *topology.Group) error {
		g.Replication.Databases = append(g.Replication.Databases, name)
		return nil
	}
}

// waits is a bucket that notes for how long each request that reads may wait for it.
type waits struct {
	objectstore.Store
	mu    sync.Mutex
	given []time.Duration
}

func (w *waits) note(ctx context.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := time.Duration(math.MaxInt64)
	if end, ends := ctx.Deadline(); ends {
		d = time.Until(end)
	}
	w.given = append(w.given, d)
}

func (w *waits) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	w.note(ctx)
	return w.Store.Get(ctx, key)
}

func (w *waits) Head(ctx context.Context, key string) (objectstore.Info, error) {
	w.note(ctx)
	return w.Store.Head(ctx, key)
}

func (w *waits) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objectstore.Info, error] {
	w.note(ctx)
	return w.Store.List(ctx, prefix, startAfter)
}

func (w *waits) Put(ctx context.Context, key string, body []byte, o objectstore.PutOptions) (objectstore.Info, error) {
	w.note(ctx)
	return w.Store.Put(ctx, key, body, o)
}
