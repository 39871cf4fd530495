package activities

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// recorded is group prod with a server that ships to both buckets as it writes, and what was committed when.
type recorded struct {
	*world
	t      *testing.T
	target *Target
	source *Source
	server *postgres.Server
	l1     topology.Lineage
	rows   []committed
}

// committed is a row of table t of database app: n is its index. Behind it nothing was written before at.
type committed struct {
	before, lsn wal.LSN // the commit record lies between them
	xid         uint32
	at          time.Time
}

func newRecorded(t *testing.T) *recorded {
	t.Helper()
	w, source, server := replicated(t)
	r := &recorded{world: w, t: t, source: source, server: server, target: &Target{Site: w.Site}}
	g := r.group()
	r.l1 = *g.Workspaces[0].CurrentLineage()
	postgrestest.Exec(t, server, "postgres", "CREATE DATABASE app")
	postgrestest.Exec(t, server, "app", "CREATE TABLE t (n int)")
	postgrestest.Exec(t, server, "app", "CREATE FUNCTION add(n int) RETURNS xid8 LANGUAGE sql AS 'INSERT INTO t VALUES (n); SELECT pg_current_xact_id()'")
	r.ship()
	return r
}

func (r *recorded) group() topology.Group {
	r.t.Helper()
	loaded, err := r.Catalog.Load(r.t.Context(), "prod")
	check(r.t, err)
	return loaded.Group
}

// ship ships until the test ends.
func (r *recorded) ship() {
	ctx, stop := context.WithCancel(context.Background())
	w := ship.WAL{
		Source: r.server.Source("postgres"), Slot: SlotName("prod", "main"), Group: "prod", Workspace: "main", Lineage: r.l1, Epoch: 1,
		CutAfter: 50 * time.Millisecond, AnnounceEvery: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Destinations: []ship.Destination{{Region: "east", Store: r.stores["east"]}, {Region: "west", Store: r.stores["west"]}},
		Announce: func(ctx context.Context, p topology.WALProgress) error {
			return r.Catalog.PutWALProgress(ctx, "prod", "main", p)
		},
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.Run(ctx); err != nil && ctx.Err() == nil {
			r.t.Errorf("shipping: %v", err)
		}
	})
	r.t.Cleanup(func() { stop(); done.Wait() })
}

// shipped waits until both buckets have all of the server.
func (r *recorded) shipped() {
	r.t.Helper()
	end := r.lsn(r.server)
	devtest.Until(r.t, "all is shipped", func() bool {
		p, err := r.Catalog.WALProgress(r.t.Context(), "prod", "main")
		check(r.t, err)
		east, west := p.Cursor("east"), p.Cursor("west")
		return east != nil && west != nil && east.Point.RecordEnd >= end && west.Point.RecordEnd >= end
	})
}

func (r *recorded) lsn(s *postgres.Server) wal.LSN {
	r.t.Helper()
	l, err := wal.ParseLSN(postgrestest.Query(r.t, s, "app", "SELECT pg_current_wal_flush_lsn()"))
	check(r.t, err)
	return l
}

// commit commits rows to a server, one by one.
func (r *recorded) commit(s *postgres.Server, rows int) {
	r.t.Helper()
	for range rows {
		c := committed{before: r.lsn(s)}
		xid, err := strconv.ParseUint(postgrestest.Query(r.t, s, "app", fmt.Sprintf("SELECT add(%d)", len(r.rows))), 10, 32)
		check(r.t, err)
		c.xid, c.lsn, c.at = uint32(xid), r.lsn(s), time.Now()
		r.rows = append(r.rows, c)
	}
}

func (r *recorded) snapshot() {
	r.t.Helper()
	r.shipped()
	_, err := as(r.t, r.source.TakeSnapshot, TakeSnapshotInput{SourceInput: main1})
	check(r.t, err)
	r.shipped()
}

// resolve asks for a branch and checks that the last commit in it is that of row n.
func (r *recorded) resolve(in ResolveBranchInput, n int) topology.Branch {
	r.t.Helper()
	in.Group = "prod"
	if in.Region == "" {
		in.Region = "west"
	}
	b, err := as(r.t, r.target.ResolveBranch, in)
	if err != nil {
		r.t.Errorf("%+v: %v", in, err)
		return b
	}
	c := r.rows[n]
	later := wal.LSN(1 << 62)
	if n+1 < len(r.rows) && r.rows[n+1].before > c.before {
		later = r.rows[n+1].lsn
	}
	if b.Base.At.LSN <= c.before || b.Base.At.LSN >= later || b.Moment.After(c.at) || n > 0 && !b.Moment.After(r.rows[n-1].at) {
		r.t.Errorf("%+v: it begins at %s, %s; row %d was committed before %s, %s", in, b.Base.At, b.Moment, n, c.lsn, c.at)
	}
	return b
}

// make records a branch and checks that it is planned to exactly where it begins.
func (r *recorded) make(in ResolveBranchInput, n int) topology.Branch {
	r.t.Helper()
	b := r.resolve(in, n)
	made, err := as(r.t, r.target.RecordBranch, RecordBranchInput{Group: "prod", Branch: b})
	check(r.t, err)
	r.plans(b, b.Base.At)
	if made.Bytes < 300 || made.Bytes > 1500 {
		r.t.Errorf("branch %s adds %d bytes", b.Name, made.Bytes)
	}
	return made.Branch
}

func (r *recorded) plans(b topology.Branch, to wal.Position) WorkspacePlan {
	r.t.Helper()
	plan, err := r.target.planBranch(r.t.Context(), r.group(), b)
	if err != nil || plan.Point.At.LSN < to.LSN || b.Own == 0 && plan.Point.At != to {
		r.t.Errorf("branch %s, of %s: planned to %s, %v", b.Name, to, plan.Point.At, err)
	}
	return plan
}

// refused checks that a request is refused with a sentence and a hint.
func (r *recorded) refused(in ResolveBranchInput, says string) {
	r.t.Helper()
	if in.Group = "prod"; in.Region == "" {
		in.Region = "west"
	}
	_, err := as(r.t, r.target.ResolveBranch, in)
	refusedWith(r.t, err, says)
}
