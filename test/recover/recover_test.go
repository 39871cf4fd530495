// Package recover_test loses a region and the whole control plane with it, brings the group up from the other region's bucket with
// an empty Temporal, and then lets the old control plane come back.
package recover_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/cli"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const (
	group = devenv.GroupName
	lost  = devenv.Primary
	left  = devenv.Secondary
)

// place is a machine of the region that is left, with nothing on it but the programs, and an empty Temporal.
type place struct {
	t        *testing.T
	env      *devenv.Env // that was lost, but for its bucket
	temporal *devenv.Temporal
	worker   *devenv.Process
	dir      string
	port     int
}

// newPlace starts two regions, replicates, and loses one of them with the workers of both and with Temporal.
func newPlace(t *testing.T) *place {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{
		Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true,
		AfterServer: func(ctx context.Context, p *devenv.Postgres) error {
			return p.Exec(ctx, "postgres", "create table t as select g as id from generate_series(1, 1000) g")
		},
	})
	check(t, err)
	t.Cleanup(func() { devtest.End(t, env) })
	p := &place{t: t, env: env, dir: filepath.Join(devtest.Dir(t), "new")}
	check(t, os.MkdirAll(p.dir, 0o755))
	p.port, err = devenv.FreePorts(10)
	check(t, err)
	for _, args := range [][]string{{"group", "create", "-f", env.GroupPath()}, {"configure", "--group", group, "--secondary", left}} {
		_, err := env.SmartDR(t.Context(), args...)
		check(t, err)
	}
	p.waitProtected()
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitProtected waits until the group could fail over, with all that was written until now.
func (p *place) waitProtected() {
	p.t.Helper()
	var at string
	conn, err := p.env.Server.Open(p.t.Context(), "postgres")
	check(p.t, err)
	defer conn.Close(p.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
	check(p.t, conn.QueryRow(p.t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&at))
	devtest.Until(p.t, "the group to be protected with everything up to "+at, func() bool {
		var s topology.GroupStatus
		if p.env.SmartDRJSON(p.t.Context(), &s, "status", "--group", group) != nil || s.Protection == nil || !s.Protection.Protected {
			return false
		}
		c := s.Workspaces[0].WAL.Cursor(left)
		var ahead bool
		check(p.t, conn.QueryRow(p.t.Context(), "select $1::pg_lsn >= $2::pg_lsn", c.Point.At.LSN.String(), at).Scan(&ahead))
		return ahead
	})
}

// lose ends the region that serves, the other one's worker and Temporal: only a bucket is left.
func (p *place) lose() {
	p.t.Helper()
	check(p.t, p.env.KillRegion(p.t.Context(), lost))
	check(p.t, p.env.Regions[left].Worker.Kill())
	check(p.t, p.env.Temporal.Kill())
}

// variables are what the new machine's environment holds: where Temporal is, and the keys to the bucket.
func (p *place) variables() []string {
	s3 := p.env.Regions[left].Gateway.S3Config()
	return []string{
		"TEMPORAL_ADDRESS=" + p.temporal.Addr(), "AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey, "SMARTDR_CONFIG=" + p.config(),
		"PATH=" + strings.Join(append(devenv.PostgresDirs(), os.Getenv("PATH")), string(os.PathListSeparator)),
	}
}

func (p *place) config() string { return filepath.Join(p.dir, "smartdr.yaml") }

// smartdr runs the CLI on the new machine.
func (p *place) smartdr(args ...string) (string, error) {
	path, err := devenv.Tool("smartdr")
	check(p.t, err)
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*devtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), p.variables()...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("smartdr %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), err
}

// startWorker starts a worker by the configuration that `smartdr recover` writes, once it is there.
func (p *place) startWorker() {
	devtest.Until(p.t, "the configuration to be written", func() bool {
		_, err := os.Stat(p.config())
		return err == nil
	})
	path, err := devenv.Tool("smartdr-worker")
	check(p.t, err)
	p.worker, err = devenv.Command{
		Name: "the new worker", Path: path, LogFile: filepath.Join(p.dir, "worker.log"), Env: p.variables(), DieWithParent: true,
		Args: []string{"--region", left, "--host", "new", "--data-dir", filepath.Join(p.dir, "servers"), "--ports", fmt.Sprintf("%d-%d", p.port, p.port+9)},
	}.Start(p.t.Context())
	check(p.t, err)
}

// servers returns those that the new worker has made.
func (p *place) servers() (all []*postgres.Server) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "servers", "*", "*", "*", "instance.json"))
	check(p.t, err)
	for _, f := range files {
		s, err := postgres.Load(filepath.Dir(f))
		check(p.t, err)
		all = append(all, s)
	}
	return all
}

// end ends what the new machine runs.
func (p *place) end() {
	if p.worker != nil {
		_ = p.worker.Kill()
	}
	for _, s := range p.servers() {
		_ = s.Kill(context.WithoutCancel(p.t.Context()))
	}
	_ = p.temporal.Kill()
	if p.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(p.dir, "worker.log"))
		p.t.Logf("the new worker's log ends with:\n%s", log[max(0, len(log)-4000):])
	}
}

// document reads the group as the bucket that is left knows it.
func (p *place) document() topology.Group {
	p.t.Helper()
	c := p.env.Regions[left].Gateway.S3Config()
	c.Prefix = objectstore.Root
	s, err := objectstore.NewS3(p.t.Context(), c)
	check(p.t, err)
	l, err := (&catalog.Catalog{Stores: map[string]objectstore.Store{left: s}}).Load(p.t.Context(), group)
	check(p.t, err)
	return l.Group
}

func TestFromNothingButTheBucket(t *testing.T) {
	p := newPlace(t)
	before := p.document()
	p.lose()
	temporal, err := devenv.StartTemporal(t.Context(), devenv.TemporalOptions{Dir: filepath.Join(p.dir, "temporal"), NoUI: true})
	check(t, err)
	p.temporal = temporal
	t.Cleanup(p.end)

	report := p.recover()
	if len(report.TakenOver) != 1 || len(report.Operations) != 1 || report.Operations[0].State != topology.OperationCompleted {
		t.Fatalf("reported %+v", report)
	}
	g := p.document()
	if g.Controller == nil || before.Controller == nil || g.Controller.ID == before.Controller.ID || g.Active != left || g.Epoch != 2 {
		t.Errorf("the group is %+v; before %+v", g, before.Controller)
	}
	p.checkData(1000)
	p.checkNoSecret()
	p.oldComesBack(g)
	p.checkData(1000)
}

// recover runs the command as an operator would: it shows what is there, waits for the worker, and fails over.
func (p *place) recover() (report cli.RecoverReport) {
	p.t.Helper()
	bucket := p.env.Regions[left].Gateway.S3Config()
	where := []string{"recover", "--region", left, "--bucket", bucket.Bucket, "--endpoint", bucket.Endpoint, "--s3-region", "us-east-1"}
	started := make(chan struct{})
	go func() {
		defer close(started)
		p.startWorker()
	}()
	// The primary shipped until a moment ago, as far as the bucket knows.
	out, err := p.smartdr(append(where, "--yes", "--force", "-o", "json")...)
	<-started
	check(p.t, err)
	check(p.t, json.Unmarshal([]byte(out), &report))
	return report
}

// checkData counts the rows that were there before the loss, through the endpoint that the command names.
func (p *place) checkData(want int) {
	p.t.Helper()
	servers := p.servers()
	if len(servers) != 1 {
		p.t.Fatalf("%d servers", len(servers))
	}
	conn, err := servers[0].Open(p.t.Context(), "postgres")
	check(p.t, err)
	defer conn.Close(p.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
	var n int
	check(p.t, conn.QueryRow(p.t.Context(), "select count(*) from t").Scan(&n))
	if n != want {
		p.t.Errorf("%d rows, want %d", n, want)
	}
}

// checkNoSecret looks for the bucket's keys in what the command wrote.
func (p *place) checkNoSecret() {
	p.t.Helper()
	text, err := os.ReadFile(p.config())
	check(p.t, err)
	s3 := p.env.Regions[left].Gateway.S3Config()
	if strings.Contains(string(text), s3.SecretKey) || strings.Contains(string(text), s3.AccessKey) {
		p.t.Errorf("the configuration holds a key:\n%s", text)
	}
}

// oldComesBack starts everything that was lost again, and demands that it notices.
func (p *place) oldComesBack(g topology.Group) {
	t, ctx := p.t, p.t.Context()
	t.Helper()
	check(t, p.env.Regions[lost].Gateway.Restart(ctx))
	check(t, p.env.Server.Start(ctx))
	check(t, p.env.Temporal.Restart(ctx))
	for _, name := range []string{lost, left} {
		check(t, p.env.Regions[name].Worker.Restart(ctx))
	}
	old, err := p.env.Temporal.Dial(ctx)
	check(t, err)
	defer old.Close()
	ids := []string{workflows.ReplicationID(group), workflows.WorkspaceReplicationID(group, "main", 1)}
	for _, id := range ids {
		devtest.Until(t, "the old control plane's "+id+" to end by itself", func() bool { return ended(ctx, old, id) })
	}
	if _, err := p.env.SmartDR(ctx, "group", "change", group, "--self-fence-after", "2m"); err == nil || !strings.Contains(err.Error(), "control plane") {
		t.Errorf("an order to the old control plane: %v", err)
	}
	now := p.document()
	if now.Controller.ID != g.Controller.ID || now.Epoch != g.Epoch || now.Active != g.Active || now.Operation != nil {
		t.Errorf("the old control plane made it %+v", now)
	}
	young, err := p.temporal.Dial(ctx)
	check(t, err)
	defer young.Close()
	if ended(ctx, young, workflows.ReplicationID(group)) {
		t.Error("the new control plane's Replication has ended")
	}
}

// ended reports whether a workflow has been there and runs no more.
func ended(ctx context.Context, c client.Client, id string) bool {
	d, err := c.DescribeWorkflowExecution(ctx, id, "")
	over := []enumspb.WorkflowExecutionStatus{enumspb.WORKFLOW_EXECUTION_STATUS_FAILED, enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED}
	return err == nil && slices.Contains(over, d.GetWorkflowExecutionInfo().GetStatus())
}

// A region that serves has the bucket that does not decide: with the other one silent it is left alone.
func TestABucketThatDoesNotDecideIsLeftAlone(t *testing.T) {
	p := newPlace(t)
	check(t, p.env.Regions[left].Gateway.Kill())
	out, err := p.env.SmartDR(t.Context(), "recover", "--region", lost, "--yes")
	if err == nil || !strings.Contains(err.Error(), "region "+left+" decides") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("said %s, %v", out, err)
	}
}
