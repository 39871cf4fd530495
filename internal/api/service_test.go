package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// place is a service over two real object stores and a real Temporal.
type place struct {
	*Service
	gateways map[string]*devenv.Gateway
	temporal *devenv.Temporal
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{temporal: devtest.Temporal(t), gateways: map[string]*devenv.Gateway{}}
	var b strings.Builder
	fmt.Fprintf(&b, "temporal: {address: %q}\nregions:\n", p.temporal.Addr())
	for _, region := range []string{"east", "west"} {
		g := devtest.Gateway(t)
		s3 := g.S3Config()
		p.gateways[region] = g
		upper := strings.ToUpper(region)
		t.Setenv(upper+"_KEY", s3.AccessKey)
		t.Setenv(upper+"_SECRET", s3.SecretKey)
		fmt.Fprintf(&b, "  %s: {bucket: %s, endpoint: %q, pathStyle: true, credentials: {accessKeyEnv: %s_KEY, secretKeyEnv: %s_SECRET}}\n",
			region, s3.Bucket, s3.Endpoint, upper, upper)
	}
	path := filepath.Join(t.TempDir(), "smartdr.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p.Service = New(cfg, Options{BucketTimeout: 2 * time.Second})
	t.Cleanup(p.Close)
	return p
}

// work starts a worker with workflows of the test under the names of the real ones.
func (p *place) work(t *testing.T, register func(worker.Worker)) {
	t.Helper()
	c, err := p.temporal.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(c, workflows.TaskQueue, worker.Options{Identity: "test worker"})
	register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Stop(); c.Close() })
	devtest.Until(t, "the worker polls", func() bool { return p.someWorker(t.Context(), c) == nil })
}

func named(name string) workflow.RegisterOptions { return workflow.RegisterOptions{Name: name} }

// replicated writes a group that can fail over: its shipper has been silent for an hour.
func (p *place) replicated(t *testing.T, name string) {
	t.Helper()
	ctx := t.Context()
	c, err := p.openCatalog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g := aGroup()
	g.ID, g.Name, g.Authority, g.CreatedAt = "7b0d9c6e-0c1d-4b9e-9a53-6f1f2f3e4d5c", name, "east", time.Now().UTC()
	if _, err := c.Create(ctx, g); err != nil {
		t.Fatal(err)
	}
	_, err = c.Update(ctx, name, func(g *topology.Group) error {
		g.Replication = &topology.Replication{Databases: []string{"app"}}
		w := &g.Workspaces[0]
		w.Lineage = "0001-89abcdef"
		w.Lineages = []topology.Lineage{{
			ID: w.Lineage, Epoch: 1, Region: "east", SystemID: "7123456789012345678", SegmentSize: 16 << 20,
			Start: wal.Position{Timeline: 1, LSN: 0x1000000}, CreatedAt: time.Now().UTC(),
		}}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().UTC().Add(-time.Hour)
	err = c.PutSnapshotProgress(ctx, name, "main", topology.SnapshotProgress{
		ID: "20261122T221000Z-0a1b", Lineage: "0001-89abcdef", MeasuredAt: past, Complete: []string{"east", "west"},
		Databases: []topology.DatabaseProgress{{Name: "app", Replicated: true}},
	})
	if err == nil {
		err = c.PutWALProgress(ctx, name, "main", shipped(past, 0x200))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func shipped(at time.Time, lsn wal.LSN) topology.WALProgress {
	point := topology.RecoveryPoint{Lineage: "0001-89abcdef", At: wal.Position{Timeline: 1, LSN: lsn}, RecordEnd: lsn, LastCommit: at, AsOf: at}
	return topology.WALProgress{
		Lineage: "0001-89abcdef", Epoch: 1, MeasuredAt: at, Server: point.At,
		Cursors: []topology.Cursor{{Region: "east", Point: point, Mode: "live"}, {Region: "west", Point: point, Mode: "live"}},
	}
}

// A bucket that has a snapshot is failed over to, although nobody announced that it is complete there.
func TestAFailoverGoesByTheBucketAndNotByWhatWasAnnounced(t *testing.T) {
	p := newPlace(t)
	p.replicated(t, "prod")
	p.Service = New(p.cfg, Options{})
	t.Cleanup(p.Close)
	c, err := p.openCatalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = c.PutSnapshotProgress(t.Context(), "prod", "main", topology.SnapshotProgress{ID: "20261122T221000Z-0a1b", Lineage: "0001-89abcdef",
		MeasuredAt: time.Now().UTC(), Complete: []string{"east"}})
	if err != nil {
		t.Fatal(err)
	}
	ready := func() bool {
		got, err := p.PreviewFailover(t.Context(), FailoverRequest{Group: "prod"})
		if err != nil {
			t.Fatal(err)
		}
		return got.Ready
	}
	if ready() {
		t.Error("no snapshot is there")
	}
	err = snapshot.Publish(t.Context(), c.Stores["west"], &snapshot.Manifest{Format: snapshot.Format, ID: "20261122T221000Z-0a1b", Group: "prod", Workspace: "main",
		Lineage: "0001-89abcdef", ServerVersion: 180001, Start: wal.Position{Timeline: 1, LSN: 0x1000100}, End: wal.Position{Timeline: 1, LSN: 0x1000200},
		SegmentSize: 16 << 20, CompletedAt: time.Now(), TotalBytes: 1, Files: []snapshot.File{{Path: "base", Dir: true, Mode: 0o700}}})
	if err != nil {
		t.Fatal(err)
	}
	if !ready() {
		t.Error("a snapshot is there")
	}
	for _, s := range c.Stores {
		if err := s.Delete(t.Context(), "groups/prod/workspaces/main/progress/snapshot.json"); err != nil {
			t.Fatal(err)
		}
	}
	if !ready() {
		t.Error("a snapshot is there, of which nobody has said anything")
	}
}

func specOf(name string) GroupSpec {
	return GroupSpec{Name: name, Primary: "east", Workspaces: []WorkspaceSpec{{Name: "main", Connection: "host=db"}}}
}

func TestWhatAWorkflowSaysIsSaidAgain(t *testing.T) {
	p := newPlace(t)
	if _, err := p.CreateGroup(t.Context(), specOf("prod")); ClassOf(err) != Unreachable || fault.HintOf(err) == "" {
		t.Errorf("without a worker: %v", err)
	}
	release := make(chan struct{})
	p.work(t, func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(func(_ workflow.Context, in workflows.CreateGroupInput) (r workflows.CreateGroupResult, err error) {
			r.Group.Name, r.Warnings = in.Name, []string{in.Workspaces[0].Source.ConnString}
			if in.Name == "good" {
				return r, nil
			}
			return r, temporal.NewNonRetryableApplicationError("a sentence", in.Name, nil, "a hint")
		}, named(workflows.CreateGroupType))
		w.RegisterActivityWithOptions(func(context.Context) error { <-release; return nil }, activity.RegisterOptions{Name: "hold"})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ workflows.ConfigureInput) (workflows.ConfigureResult, error) {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
			return workflows.ConfigureResult{Replication: "r"}, workflow.ExecuteActivity(ctx, "hold").Get(ctx, nil)
		}, named(workflows.ConfigureType))
	})
	created, err := p.CreateGroup(t.Context(), specOf("good"))
	if err != nil || created.Group.Name != "good" || created.Warnings[0] != "host=db" {
		t.Errorf("%+v, %v", created, err)
	}
	// A name of a group cannot have upper-case letters, so the workflow is asked directly.
	for kind, want := range map[string]Class{
		"Invalid": Invalid, "Missing": NotFound, "Conflict": Conflict, "Taken": Conflict, "Corrupt": Failed, "NoWorker": Unreachable, "Hole": Failed, "Transient": Failed,
	} {
		in := workflows.CreateGroupInput{Name: kind, Workspaces: []workflows.WorkspaceInput{{}}}
		err := p.perform(t.Context(), "test/"+kind, workflows.CreateGroupType, "", in, nil)
		if ClassOf(err) != want || err.Error() != "a sentence" || fault.HintOf(err) != "a hint" {
			t.Errorf("%s: class %s, %v, hint %q", kind, ClassOf(err), err, fault.HintOf(err))
		}
	}

	p.replicated(t, "held")
	first := make(chan error, 1)
	go func() {
		_, err := p.Configure(t.Context(), ConfigureRequest{Group: "held", Secondary: "west"})
		first <- err
	}()
	devtest.Until(t, "a second configuration is refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := p.Configure(ctx, ConfigureRequest{Group: "held", Secondary: "west"})
		return ClassOf(err) == Conflict
	})
	close(release)
	if err := <-first; err != nil && ClassOf(err) != Conflict {
		t.Error(err)
	}
}

func TestRegionsCountsWorkers(t *testing.T) {
	p := newPlace(t)
	if err := p.gateways["west"].Kill(); err != nil {
		t.Fatal(err)
	}
	c, err := p.temporal.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := worker.New(c, workflows.RegionQueue("east"), worker.Options{DisableWorkflowWorker: true})
	w.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: "nothing"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	devtest.Until(t, "east has a worker and a bucket, west neither", func() bool {
		r := p.Regions(t.Context())
		return len(r) == 2 && r[0].Reachable && !r[1].Reachable && r[1].Error != "" &&
			r[0].Workers != nil && *r[0].Workers == 1 && r[1].Workers != nil && *r[1].Workers == 0
	})
}

// A Temporal that was restarted has forgotten its workers until they are back: what is ordered meanwhile waits for them.
func TestAnOrderWaitsForWorkersThatComeBack(t *testing.T) {
	p := newPlace(t)
	c, err := p.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ordered := make(chan error, 1)
	go func() { ordered <- p.someWorker(t.Context(), c) }()
	select {
	case err := <-ordered:
		t.Fatalf("without a worker it was said at once: %v", err)
	case <-time.After(time.Second):
	}
	p.work(t, func(w worker.Worker) { w.RegisterWorkflowWithOptions(fakeFailover, named("any")) })
	if err := <-ordered; err != nil {
		t.Error(err)
	}
}

func TestStatusShowsTheNewestWord(t *testing.T) {
	p := newPlace(t)
	p.replicated(t, "prod")
	live := shipped(time.Now().UTC().Truncate(time.Millisecond), 0x300)
	p.work(t, func(w worker.Worker) {
		w.RegisterActivityWithOptions(func(ctx context.Context) error {
			for ctx.Err() == nil {
				activity.RecordHeartbeat(ctx, live)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
			return nil
		}, activity.RegisterOptions{Name: "ShipSegments"})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
			ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: 2 * time.Second})
			return workflow.ExecuteActivity(ctx, "ShipSegments").Get(ctx, nil)
		}, named(workflows.WorkspaceReplicationType))
	})
	before, err := p.Status(t.Context(), "prod")
	if err != nil || before.Workspaces[0].WAL.Server.LSN != 0x200 || before.Workspaces[0].Databases[0].State != topology.Inactive {
		t.Fatalf("%+v, %v", before, err)
	}
	c, err := p.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: workflows.WorkspaceReplicationID("prod", "main", 1), TaskQueue: workflows.TaskQueue,
	}, workflows.WorkspaceReplicationType)
	if err != nil {
		t.Fatal(err)
	}
	devtest.Until(t, "the heartbeat is seen", func() bool {
		st, err := p.Status(t.Context(), "prod")
		return err == nil && st.Workspaces[0].WAL.Server.LSN == 0x300 && st.Workspaces[0].Databases[0].State == topology.Active
	})
	if err := c.TerminateWorkflow(t.Context(), run.GetID(), "", "end of test"); err != nil {
		t.Error(err)
	}

	// Temporal goes away: what the buckets say is enough.
	if err := p.temporal.Kill(); err != nil {
		t.Fatal(err)
	}
	st, err := p.Status(t.Context(), "prod")
	if err != nil || st.Workspaces[0].WAL.Server.LSN != 0x200 {
		t.Errorf("without Temporal: %+v, %v", st, err)
	}
}

// fakeFailover goes through two phases and ends as the group's name says.
func fakeFailover(ctx workflow.Context, in workflows.FailoverInput) (workflows.FailoverResult, error) {
	op := topology.Operation{
		ID: workflow.GetInfo(ctx).WorkflowExecution.RunID, Kind: "Failover", Group: in.Group, From: "east", To: in.To,
		State: topology.OperationActive, StartedAt: workflow.Now(ctx),
	}
	if err := workflow.SetQueryHandler(ctx, workflows.ProgressQuery, func() (topology.Operation, error) { return op, nil }); err != nil {
		return workflows.FailoverResult{}, err
	}
	if in.Group == "refused" {
		return workflows.FailoverResult{}, temporal.NewNonRetryableApplicationError("no", string(fault.Invalid), nil, "do not")
	}
	for _, name := range []string{"Plan", "Restore snapshot"} {
		op.Phases = append(op.Phases, topology.Phase{Name: name, StartedAt: workflow.Now(ctx)})
		if err := workflow.Sleep(ctx, time.Second); err != nil {
			return workflows.FailoverResult{}, err
		}
		op.Phases[len(op.Phases)-1].EndedAt = workflow.Now(ctx)
	}
	op.State, op.EndedAt = topology.OperationCompleted, workflow.Now(ctx)
	if in.Group == "failed" {
		op.State, op.Error = topology.OperationFailed, "a chunk is damaged"
		return workflows.FailoverResult{}, temporal.NewNonRetryableApplicationError(op.Error, string(fault.Corrupt), nil)
	}
	return workflows.FailoverResult{Operation: op}, nil
}

func TestWatchOperation(t *testing.T) {
	p := newPlace(t)
	p.work(t, func(w worker.Worker) { w.RegisterWorkflowWithOptions(fakeFailover, named(workflows.FailoverType)) })
	for _, name := range []string{"good", "failed", "refused"} {
		p.replicated(t, name)
		started, err := p.StartFailover(t.Context(), FailoverRequest{Group: name})
		if err != nil {
			t.Fatal(err)
		}
		if name == "good" {
			if _, err := p.StartFailover(t.Context(), FailoverRequest{Group: name}); ClassOf(err) != Conflict {
				t.Errorf("a second failover: %v", err)
			}
		}
		var last topology.Operation
		var seen int
		var ended error
		for op, err := range p.WatchOperation(t.Context(), started) {
			if err != nil {
				ended = err
				break
			}
			last, seen = op, seen+1
		}
		switch name {
		case "good":
			if ended != nil || last.State != topology.OperationCompleted || seen < 3 || last.To != "west" || last.ID != started.Operation {
				t.Errorf("good: %d looks, %+v, %v", seen, last, ended)
			}
		case "failed":
			if ended != nil || last.State != topology.OperationFailed || last.Error != "a chunk is damaged" {
				t.Errorf("failed: %+v, %v", last, ended)
			}
		case "refused":
			if ClassOf(ended) != Invalid || fault.HintOf(ended) != "do not" {
				t.Errorf("refused: %v", ended)
			}
		}
	}
}

func TestStartFailoverRefusesByItself(t *testing.T) {
	p := newPlace(t)
	p.replicated(t, "prod")
	c, err := p.openCatalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PutWALProgress(t.Context(), "prod", "main", shipped(time.Now().UTC(), 0x300)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.StartFailover(t.Context(), FailoverRequest{Group: "prod"}); ClassOf(err) != Unsafe {
		t.Errorf("while the region is alive: %v", err)
	}
	if _, err := p.StartFailover(t.Context(), FailoverRequest{Group: "prod", Force: true}); ClassOf(err) != Unreachable {
		t.Errorf("with force, and without a worker: %v", err)
	}
}

func TestAnAbandonedOperationIsNoObstacle(t *testing.T) {
	p := newPlace(t)
	p.replicated(t, "prod")
	c, err := p.openCatalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	op := topology.Operation{
		ID: "old", Kind: "Failover", Group: "prod", State: topology.OperationActive, From: "east", To: "west",
		StartedAt: time.Now().UTC().Add(-time.Hour), RecordedAt: time.Now().UTC(),
	}
	if err := c.BeginOperation(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	if _, err := p.PreviewFailover(t.Context(), FailoverRequest{Group: "prod"}); ClassOf(err) != Conflict {
		t.Errorf("while it runs: %v", err)
	}
	p.opts.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if _, err := p.PreviewFailover(t.Context(), FailoverRequest{Group: "prod"}); err != nil {
		t.Errorf("two minutes after its last word: %v", err)
	}
}
