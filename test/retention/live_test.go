package retention_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

const (
	liveGroup, liveSpace = devenv.GroupName, "main"
	reader, secret       = "reader", "not-in-any-log"
)

var regions = []string{devenv.Primary, devenv.Secondary}

// live is a replicated group of one workspace, swept by its workers, with a record of what was committed when.
type live struct {
	*testing.T
	env    *devenv.Env
	stores map[string]objectstore.Store
	marks  []mark
}

// mark is one commit of the record: row n of table marks.
type mark struct {
	n   int
	end wal.LSN   // its commit record ends at or before it, and the next mark's begins behind it
	at  time.Time // between its commit and the next mark's
}

func newLive(t *testing.T) *live {
	t.Helper()
	majors, err := devenv.Majors()
	must(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[len(majors)-1]})
	must(t, err)
	t.Cleanup(func() { devtest.End(t, env) })
	l := &live{T: t, env: env, stores: map[string]objectstore.Store{}}
	for _, region := range regions {
		l.stores[region] = objectstore.Sub(devtest.Open(t, env.Regions[region].Gateway), objectstore.Root)
	}
	must(t, env.Server.Exec(t.Context(), "postgres", "create role "+reader+" login password '"+secret+"'", "create database app"))
	l.exec("create table marks (n int primary key)", "grant select on marks to "+reader, "create table bulk (n int primary key, b text)")
	l.ok("group", "create", "-f", env.GroupPath())
	l.ok("group", "change", "--group", liveGroup, "--firewall", "127.0.0.0/8")
	l.ok("configure", "--group", liveGroup, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())
	return l
}

func (l *live) ok(args ...string) string {
	l.Helper()
	out, err := l.env.SmartDR(l.Context(), args...)
	must(l.T, err)
	return out
}

// refused gives a command that must be refused with these words, and with what to do.
func (l *live) refused(words string, args ...string) {
	l.Helper()
	out, err := l.env.SmartDR(l.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "hint: ") {
		l.Errorf("smartdr %s: want a refusal with %q, got %v %s", strings.Join(args, " "), words, err, out)
	}
}

func (l *live) exec(statements ...string) {
	l.Helper()
	must(l.T, l.env.Server.Exec(l.Context(), "app", statements...))
}

// churn replaces some megabytes that do not compress, so that a snapshot has packs of its own, and ends a segment.
func (l *live) churn() {
	l.Helper()
	l.exec("truncate bulk", "insert into bulk select n, (select string_agg(md5(random()::text || k), '') from generate_series(1, 60) k) from generate_series(1, 1500) n", "select pg_switch_wal()")
}

// record commits more marks, and writes down where each is.
func (l *live) record(more int) {
	l.Helper()
	conn, err := l.env.Server.Open(l.Context(), "app")
	must(l.T, err)
	defer conn.Close(context.WithoutCancel(l.Context())) //nolint:errcheck // what it did is committed
	for range more {
		m := mark{n: len(l.marks) + 1}
		_, err := conn.Exec(l.Context(), "insert into marks values ($1)", m.n)
		must(l.T, err)
		var end string
		must(l.T, conn.QueryRow(l.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&end))
		m.end, err = wal.ParseLSN(end)
		must(l.T, err)
		<-time.After(2 * time.Millisecond) // the clock of a commit has microseconds, and moves on
		m.at = time.Now()
		<-time.After(2 * time.Millisecond)
		l.marks = append(l.marks, m)
	}
}

func (l *live) status() (s topology.GroupStatus) {
	l.Helper()
	must(l.T, l.env.SmartDRJSON(l.Context(), &s, "status", "--group", liveGroup))
	return s
}

// shipped waits until both buckets have all marks.
func (l *live) shipped() {
	l.Helper()
	end := l.marks[len(l.marks)-1].end
	devtest.Until(l.T, "the marks to be in both buckets", func() bool {
		p := l.status().Workspaces[0].WAL
		return p != nil && len(p.Cursors) == 2 && p.Cursors[0].Point.RecordEnd >= end && p.Cursors[1].Point.RecordEnd >= end
	})
}

// start begins a round of the workers, for which nothing is too young to go.
func (l *live) start(ctx context.Context, region string) (client.WorkflowRun, func(), error) {
	c, err := l.env.Temporal.Dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	grace := 0
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflows.RetentionID(liveGroup, region) + "/at-once", TaskQueue: workflows.TaskQueue},
		workflows.RetentionType, workflows.RetentionInput{Group: liveGroup, Region: region, GraceMinutes: &grace})
	return run, c.Close, err
}

// round makes one.
func (l *live) round(ctx context.Context, region string) (swept topology.Swept, err error) {
	run, done, err := l.start(ctx, region)
	if err != nil {
		return swept, err
	}
	defer done()
	return swept, run.Get(ctx, &swept)
}

// settle makes rounds until nothing is left to be removed.
func (l *live) settle(region string) {
	l.Helper()
	for range 6 {
		swept, err := l.round(l.Context(), region)
		must(l.T, err)
		if len(swept.Gone) == 0 && swept.Later.Objects == 0 && swept.Anew.Objects == 0 {
			return
		}
	}
	l.Errorf("after six rounds there is something left to be removed in %s", region)
}

// restored brings up what has these marks, looks whether it has them and no other, and takes it away.
func (l *live) restored(ctx context.Context, what string, marks int, args ...string) error {
	var made workflows.BranchResult
	if err := l.env.SmartDRJSON(ctx, &made, args...); err != nil {
		return err
	}
	if a := made.Branch.Attached; a == nil || len(a.Endpoint.Hosts) == 0 {
		l.Errorf("%s is not attached: %+v", what, made.Branch)
		return nil
	}
	if err := l.holds(ctx, what, made.Branch.Attached.Endpoint.Hosts[0], marks); err != nil {
		return err
	}
	_, err := l.env.SmartDR(ctx, "branch", "detach", made.Branch.Name, "--group", liveGroup)
	return err
}

func (l *live) holds(ctx context.Context, what string, at topology.HostPort, marks int) error {
	conn, err := devenv.Connect(ctx, "postgresql://"+reader+fmt.Sprintf("@%s:%d/app", at.Host, at.Port), secret)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read from
	var count, newest int
	if err := conn.QueryRow(ctx, "select count(*), coalesce(max(n), 0) from marks").Scan(&count, &newest); err != nil {
		return err
	}
	if count != marks || newest != marks {
		l.Errorf("%s has %d marks up to %d, want %d", what, count, newest, marks)
	}
	return nil
}

// each does something in both regions at the same time.
func (l *live) each(do func(ctx context.Context, region string) error) {
	l.Helper()
	g, ctx := errgroup.WithContext(l.Context())
	for _, region := range regions {
		g.Go(func() error { return do(ctx, region) })
	}
	must(l.T, g.Wait())
}
