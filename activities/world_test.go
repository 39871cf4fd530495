package activities

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// world is group prod, replicated from east to west, with a bucket in each that can be made to fail.
type world struct {
	Site
	stores map[string]objectstore.Store // without faults
	faults map[string]*objectstore.Faults
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := devtest.Store(t)
	w := &world{stores: map[string]objectstore.Store{}, faults: map[string]*objectstore.Faults{}}
	w.Site = Site{Region: "west", Stores: map[string]objectstore.Store{}, Log: slog.New(slog.DiscardHandler)}
	for _, region := range []string{"east", "west"} {
		w.stores[region], w.faults[region] = objectstore.Sub(s, region+"/"), &objectstore.Faults{}
		w.Stores[region] = objectstore.WithFaults(w.stores[region], w.faults[region])
	}
	w.Catalog = w.process()
	_, err := w.Catalog.Create(t.Context(), topology.Group{
		ID: topology.NewGroupID(), Name: "prod", Primary: "east",
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{
			"east": {Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db/postgres"}},
		}}},
	})
	check(t, err)
	_, err = w.Catalog.MoveAuthority(t.Context(), "prod", "west", func(g *topology.Group) error {
		g.Secondary, g.Replication = "west", &topology.Replication{ConfiguredAt: time.Unix(1, 0).UTC()}
		return nil
	})
	check(t, err)
	return w
}

// slow is how long catalogs wait here for a bucket that is dead: long enough for one that is busy.
const slow = 3 * time.Second

// process is another process's view of the buckets.
func (w *world) process() *catalog.Catalog {
	return &catalog.Catalog{Stores: w.Stores, Timeout: slow, Log: w.Log}
}

func (w *world) update(t *testing.T, change func(*topology.Group)) {
	t.Helper()
	_, err := w.Catalog.Update(t.Context(), "prod", func(g *topology.Group) error { change(g); return nil })
	check(t, err)
}

func (w *world) claim(t *testing.T, epoch topology.Epoch, operation string) {
	t.Helper()
	_, err := w.Catalog.ClaimEpoch(t.Context(), catalog.Claim{Group: "prod", Epoch: epoch, Region: "west", Operation: operation, Claimant: "test"})
	check(t, err)
}

// as runs something as an activity.
func as[In, Out any](t *testing.T, activity func(context.Context, In) (Out, error), in In) (out Out, err error) {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.RegisterActivity(activity)
	value, err := env.ExecuteActivity(activity, in)
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

// startServer starts a server with the newest PostgreSQL, in a folder of its own.
func startServer(t *testing.T) *postgres.Server {
	t.Helper()
	all := postgrestest.Installations(t)
	s := postgrestest.Start(t, all[len(all)-1], nil)
	check(t, s.Save())
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
