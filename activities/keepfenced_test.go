package activities

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// checkOften is checkFences in tests.
const checkOften = 500 * time.Millisecond

// fenced is a group whose adopted server in east writes lineage l1 of epoch 1.
type fenced struct {
	*world
	testing.TB
	server   *postgres.Server
	systemID string
	l1       topology.Lineage
}

func newFenced(t *testing.T) *fenced {
	t.Helper()
	f := &fenced{world: newWorld(t), TB: t, server: startServer(t)}
	f.systemID = postgrestest.Query(t, f.server, "postgres", "SELECT system_identifier FROM pg_control_system()")
	f.Region, f.Host = "east", "e1"
	f.l1 = f.lineage(1, "east")
	src := postgrestest.Source(f.server, "postgres", "postgres")
	f.update(t, func(g *topology.Group) {
		w := &g.Workspaces[0]
		w.Sites["east"] = topology.Site{Kind: topology.Adopted, Source: src}
		w.Lineage, w.Lineages = f.l1.ID, []topology.Lineage{f.l1}
	})
	return f
}

func (f *fenced) lineage(epoch topology.Epoch, region string) topology.Lineage {
	l := topology.Lineage{ID: topology.NewLineageID(epoch), Epoch: epoch, Region: region, SystemID: f.systemID, SegmentSize: 16 << 20, CreatedAt: now()}
	l.Start.Timeline, l.Start.LSN = 1, 16<<20
	return l
}

// worker is a worker of east that nobody has told anything.
func (f *fenced) worker(answers bool) (*Source, *Target) {
	site := f.Site
	site.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s := &Source{Site: site, Answers: func(context.Context) error {
		if !answers {
			return fmt.Errorf("nobody answers")
		}
		return nil
	}}
	return s, &Target{Site: site, Hosting: Hosting{DataDir: f.TempDir()}}
}

// keep runs KeepFenced until the test ends, or the returned function is called.
func (f *fenced) keep(s *Source, t *Target) (stop func()) { return f.keepEvery(s, t, checkOften) }

func (f *fenced) keepEvery(s *Source, t *Target, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { keepFenced(ctx, s, t, every) })
	stop = func() { cancel(); loop.Wait() }
	f.Cleanup(stop)
	return stop
}

// liftByHand undoes a fence as somebody would who has found its settings. What guards the fence may end sessions at any moment.
func (f *fenced) liftByHand() {
	f.Helper()
	postgrestest.Check(f, f.server.WriteHBA(postgrestest.TrustLocal))
	for _, sql := range []string{"ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()"} {
		devtest.Until(f, sql, func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
			defer cancel()
			conn, err := f.server.Open(ctx, "postgres")
			if err != nil {
				return false
			}
			defer conn.Close(ctx)
			_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
			return err == nil
		})
	}
}

// client reports whether an ordinary client can write.
func (f *fenced) client() error {
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	conn, err := postgres.OpenAsClient(ctx, postgrestest.Source(f.server, "postgres", "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS c (n int); INSERT INTO c VALUES (1)")
	return err
}

func (f *fenced) awaitClient(in bool) {
	f.Helper()
	devtest.Until(f, fmt.Sprintf("clients get in: %t", in), func() bool { return (f.client() == nil) == in })
}

// checkClient fails the test unless clients get in, or do not, at once.
func (f *fenced) checkClient(in bool) {
	f.Helper()
	if err := f.client(); (err == nil) != in {
		f.Fatalf("clients get in: %t (%v)", !in, err)
	}
}

func (f *fenced) record() topology.Fence {
	f.Helper()
	got, err := f.process().Fence(context.Background(), "prod", "main", f.l1.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		f.Fatal(err)
	}
	return got
}

func (f *fenced) awaitState(want topology.FenceState) topology.Fence {
	f.Helper()
	var got topology.Fence
	devtest.Until(f, "the record to say "+string(want), func() bool { got = f.record(); return got.State == want })
	return got
}

func (f *fenced) input(op string, before bool) FenceInput {
	return FenceInput{Group: "prod", Workspace: "main", Lineage: f.l1.ID, Operation: op, Before: before}
}

// A newer epoch ends the writers of a server within seconds, with one bucket dead and without Temporal; one that comes back unfenced is
// fenced again.
func TestKeepFencedOfAnEpochThatIsOver(t *testing.T) {
	f := newFenced(t)
	f.keep(f.worker(false))
	f.awaitClient(true)
	f.claim(t, 2, "op-2")
	f.faults["east"].Add(objectstore.Rule{Dead: true})
	begin := time.Now()
	f.awaitClient(false)
	t.Logf("fenced after %s", time.Since(begin))
	got := f.awaitState(topology.FenceCommitted)
	if got.Worth != topology.FenceProven || got.Operation != "op-2" || got.End.LSN == 0 || got.Site.Kind != topology.Adopted {
		t.Errorf("%+v", got)
	}
	f.liftByHand()
	f.awaitClient(false)
	devtest.Until(t, "it is fenced as a whole", func() bool {
		in, err := fence.Check(t.Context(), postgrestest.Source(f.server, "postgres", "postgres"), fence.Options{Lineage: f.l1, ForGood: true})
		return in && err == nil
	})
}

// A fence of an operation that died before its claim is lifted; whoever held it learns of that before it could claim.
func TestKeepFencedLiftsWhatNobodyHolds(t *testing.T) {
	f := newFenced(t)
	s, target := f.worker(true)
	op := topology.Operation{ID: "op-1", Kind: "Switchover", Group: "prod", State: topology.OperationActive, StartedAt: now(), RecordedAt: now()}
	check(t, f.Catalog.BeginOperation(t.Context(), op))
	held, err := as(t, s.Fence, f.input("op-1", true))
	if err != nil || held.State != topology.FenceHolding || held.Worth != topology.FenceProven {
		t.Fatalf("%+v, %v", held, err)
	}
	stop := f.keep(s, target)
	time.Sleep(4 * checkOften) // a look that lifts too early would have come
	f.checkClient(false)
	stop()
	op.RecordedAt = now().Add(-2 * topology.AbandonedAfter)
	check(t, f.Catalog.PutOperation(t.Context(), op))
	f.keep(s, target)
	f.awaitClient(true)
	f.awaitState(topology.FenceLifted)
	if _, err := as(t, s.CommitFence, f.input("op-1", true)); err == nil || !strings.Contains(err.Error(), "fence") {
		t.Errorf("committed all the same: %v", err)
	}
	if _, err := as(t, s.Fence, f.input("op-1", true)); err == nil {
		t.Error("the same operation fenced again")
	}
}

// A fence for good needs a claim. One that somebody has let clients in to is not one to claim upon; what is committed stays, though
// its operation dies before it has claimed.
func TestACommittedFenceStays(t *testing.T) {
	f := newFenced(t)
	s, target := f.worker(true)
	if _, err := as(t, s.Fence, f.input("op-1", false)); err == nil {
		t.Error("fenced for good under the newest epoch")
	}
	f.checkClient(true)
	_, err := as(t, s.Fence, f.input("op-1", true))
	check(t, err)
	postgrestest.Exec(t, f.server, "postgres", "ALTER SYSTEM RESET session_preload_libraries")
	if _, err := as(t, s.CommitFence, f.input("op-1", true)); err == nil {
		t.Error("committed a fence that is not in force")
	}
	lifted, err := as(t, s.LiftFence, f.input("op-1", true))
	if err != nil || lifted.State != topology.FenceLifted {
		t.Fatalf("%+v, %v", lifted, err)
	}
	f.awaitClient(true)

	_, err = as(t, s.Fence, f.input("op-2", true))
	check(t, err)
	for range 2 { // a retry finds its own
		if got, err := as(t, s.CommitFence, f.input("op-2", true)); err != nil || got.State != topology.FenceCommitted {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := as(t, s.LiftFence, f.input("op-2", true)); err == nil {
		t.Error("it was lifted")
	}
	f.keep(s, target)
	time.Sleep(4 * checkOften) // a look that lifts it would have come
	f.checkClient(false)
}

// The side that serves under the newest epoch is never fenced, also while it is being published; its folders of older epochs are.
func TestKeepFencedLeavesTheNewSideAlone(t *testing.T) {
	f := newFenced(t)
	f.Region, f.Host = "west", "w1"
	l2 := f.lineage(2, "west")
	f.claim(t, 2, "op-2")
	dir := instanceDir(postgrestest.TempDir(t), "prod", "main", 2)
	root := serveFrom(t, f.server, dir)
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "main", Epoch: 2, Operation: "op-2", Published: true, Plan: WorkspacePlan{Lineage: l2.ID}}))
	s, target := f.worker(true)
	target.DataDir = root
	f.keep(s, target)
	time.Sleep(4 * checkOften) // a look that fences it would have come
	f.checkClient(true)
	f.update(t, func(g *topology.Group) {
		g.Active, g.Epoch = "west", 2
		w := &g.Workspaces[0]
		w.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "w1", Instance: dir, Source: f.server.Source("postgres")}
		w.Lineage, w.Lineages = l2.ID, append(w.Lineages, l2)
	})
	time.Sleep(4 * checkOften)
	f.checkClient(true)
	_, err := f.Catalog.ClaimEpoch(t.Context(), catalog.Claim{Group: "prod", Epoch: 3, Region: "east", Operation: "op-3", Claimant: "test"})
	check(t, err)
	f.awaitClient(false)
	f.update(t, func(g *topology.Group) { // another folder serves there by now
		g.Active, g.Epoch = "west", 3
		w := &g.Workspaces[0]
		l3 := f.lineage(3, "west")
		w.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "w1", Instance: dir + "x"}
		w.Lineage, w.Lineages = l3.ID, append(w.Lineages, l3)
	})
	f.liftByHand()
	f.awaitClient(false)
}

// A managed server that is down stays down, and its next start is a fenced one.
func TestKeepFencedOfAServerThatIsDown(t *testing.T) {
	f := newFenced(t)
	dir := f.server.InstanceDir()
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "main", Epoch: 1, Published: true}))
	f.update(t, func(g *topology.Group) {
		g.Workspaces[0].Sites["east"] = topology.Site{Kind: topology.Managed, Host: "e1", Instance: dir, Source: f.server.Source("postgres")}
	})
	check(t, f.server.Stop(t.Context(), postgres.Fast))
	f.claim(t, 2, "op-2")
	f.keep(f.worker(true))
	if got := f.awaitState(topology.FenceCommitted); got.Worth != topology.FenceProven {
		t.Errorf("%+v", got)
	}
	if _, running := f.server.Running(t.Context()); running {
		t.Error("it was started")
	}
	check(t, f.server.Start(t.Context()))
	f.checkClient(false)
}

// A server that SmartDR runs, and that was left, runs on until all that it wrote is in both buckets, and no longer: its port is kept
// for the one that the workspace comes back as.
func TestAServerThatWasLeftRestsWhenItsTailIsHome(t *testing.T) {
	f := newFenced(t)
	dir := instanceDir(postgrestest.TempDir(t), "prod", "main", 1)
	root := serveFrom(t, f.server, dir)
	check(t, writeState(dir, ownerFile, owner{Group: "prod", Workspace: "main", Epoch: 1, Published: true, Port: f.server.Port}))
	f.update(t, func(g *topology.Group) {
		g.Workspaces[0].Sites["east"] = topology.Site{Kind: topology.Managed, Host: "e1", Instance: dir, Source: f.server.Source("postgres")}
	})
	s, target := f.worker(true)
	target.DataDir, target.FirstPort, target.LastPort = root, f.server.Port, f.server.Port
	runs := func() bool { _, running := f.server.Running(t.Context()); return running }
	target.makeRoom(t.Context(), "prod")
	if !runs() {
		t.Fatal("the server that serves was stopped")
	}
	f.claim(t, 2, "op-2")
	l2 := f.lineage(2, "west")
	l2.Parent = &topology.Fork{Lineage: f.l1.ID, At: f.l1.Start}
	f.update(t, func(g *topology.Group) {
		g.Active, g.Epoch = "west", 2
		w := &g.Workspaces[0]
		w.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "w1", Instance: "/elsewhere"}
		w.Lineage, w.Lineages = l2.ID, append(w.Lineages, l2)
	})
	f.keep(s, target)
	f.awaitState(topology.FenceCommitted)
	tail := topology.Tail{Workspace: "main", Lineage: f.l1.ID, Fork: f.l1.Start, At: f.l1.Start, Region: "east", SeenAt: now()}
	check(t, f.Catalog.PutTail(t.Context(), "prod", tail))
	time.Sleep(4 * checkOften) // a look that stops it would have come
	if !runs() {
		t.Fatal("it was stopped before all that it wrote was home")
	}
	tail.Complete, tail.SeenAt = true, now()
	check(t, f.Catalog.PutTail(t.Context(), "prod", tail))
	devtest.Until(t, "the server to be stopped", func() bool { return !runs() })
	port, err := target.freePort(owner{Group: "prod", Workspace: "main"}, f.server.Port, nil)
	if err != nil || port != f.server.Port {
		t.Errorf("its port is not to be had again: %d, %v", port, err)
	}
}
