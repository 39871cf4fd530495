package choice_test

import (
	"context"
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestChoice loses a region while the other one's bucket lags, looks at what a failover would lose, is refused what cannot be,
// fails over to a time and then, from there, back to an LSN.
func TestChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replicate()
	lost := w.loseLagging()
	w.refuseLoss()
	w.refusePoints()
	w.forecastLatest(lost)
	w.failOverToTime(lost)
	w.refuseToGoBackTooEarly()
	w.failBackOverToLSN()
}

// load is what was written until a server was lost.
type load struct {
	commits []ledger.Commit
	middle  time.Time // there are commits before it and after it, and all of them are in the other region's bucket
}

// loseLagging lets the away bucket fall behind, and then the server and the worker at home be lost; the bucket at home stays. It
// returns what was acknowledged.
func (w *world) loseLagging() load {
	w.Helper()
	l := w.write(w.env.Server.Server)
	w.written(l, 100)
	middle := time.Now()
	w.written(l, 100)
	w.shipped(away, l.Commits()[len(l.Commits())-1].Before)
	w.must(w.env.Regions[away].Gateway.Kill())
	w.written(l, 200)
	l.Stop()
	w.shipped(home, end(l.Commits()))
	devtest.Until(w, "the lag of "+away+" to be announced", func() bool { return w.cursor(away).LagBytes > 0 })
	w.must(w.env.Regions[home].Worker.Kill())
	w.must(w.env.Server.Kill(w.Context()))
	w.must(w.env.Regions[away].Gateway.Restart(w.Context()))
	return load{l.Commits(), middle}
}

// end is where the last of some commits ends.
func end(commits []ledger.Commit) (last wal.LSN) {
	for _, c := range commits {
		last = max(last, c.After)
	}
	return last
}

// refuseLoss asks for less loss than there is.
func (w *world) refuseLoss() {
	w.Helper()
	for _, limit := range []string{"0", "1kB", "100ms"} {
		w.refused("would lose", "failover", group, "--yes", "--force", "--max-data-loss", limit)
	}
	w.refused("transactions (app ", "failover", group, "--yes", "--force", "--max-data-loss", "0")
	w.refused("is neither a time nor an amount", "failover", group, "--yes", "--force", "--max-data-loss", "much")
	w.untouched()
}

// refusePoints asks for points that cannot be reached.
func (w *world) refusePoints() {
	w.Helper()
	w.refused("lies behind the end", "failover", group, "--yes", "--force", "--to-lsn", "7/0")
	w.refused("the snapshot does not lead to", "failover", group, "--yes", "--force", "--to-lsn", "0/1000000")
	w.refused("earliest point", "failover", group, "--yes", "--force", "--to-time", "2020-01-01T00:00:00Z")
	w.refused("nothing is known of", "failover", group, "--yes", "--force", "--to-time", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	w.refused("no workspace \"other\"", "failover", group, "--yes", "--force", "--to-lsn", "other=0/3000000")
	w.refused("no point in time and no LSN", "failover", group, "--yes", "--force", "--point", "yesterday")
	w.untouched()
}

// forecast looks ahead, and checks that nothing is changed by it. The worker that is left stands still meanwhile: it announces its host
// and more by itself, whenever it is time for that.
func (w *world) forecast(args ...string) (f api.FailoverForecast) {
	w.Helper()
	worker := w.env.Regions[away].Worker.PID()
	w.must(syscall.Kill(worker, syscall.SIGSTOP))
	defer func() { w.must(syscall.Kill(worker, syscall.SIGCONT)) }()
	before := w.settled()
	out := w.ok(append([]string{"failover", group, "--preview", "-o", "json"}, args...)...)
	if diff := cmp.Diff(before, w.objects()); diff != "" {
		w.Errorf("a preview has changed the buckets: %s", diff)
	}
	w.must(json.Unmarshal([]byte(out), &f))
	if len(f.Details) != 1 || f.Details[0].Error != "" || f.Details[0].Loss == nil || f.Seconds <= 0 || f.How == "" || f.Details[0].Host == "" {
		w.Fatalf("foretold %s", out)
	}
	return f
}

// forecastLatest compares what a failover to the latest point would lose with what the ledger knows of it.
func (w *world) forecastLatest(l load) {
	w.Helper()
	d := w.forecast("--force").Details[0]
	gone := slices.IndexFunc(l.commits, func(c ledger.Commit) bool { return c.Before >= d.Point.RecordEnd })
	if gone < 0 {
		w.Fatalf("nothing would be lost at %s: the test shows nothing", d.Point.RecordEnd)
	}
	w.checkCount(d.Loss, len(l.commits)-gone)
}

// checkCount compares the transactions of a loss with commits of the ledger. Each of its two writers may have one acknowledged on the other side
// of the point than it was committed on, and the server commits some of its own.
func (w *world) checkCount(l *topology.Loss, commits int) {
	w.Helper()
	app := l.Databases[appDB]
	if app < int64(commits)-2 || app > int64(commits)+20 || l.Transactions < app || l.Bytes <= 0 || l.Seconds <= 0 || l.UnknownBytes > 1<<16 {
		w.Errorf("the loss is %+v, and the ledger lacks %d commits", l, commits)
	}
}

// failOverToTime goes to a time, and compares what was foretold with what happened.
func (w *world) failOverToTime(l load) {
	w.Helper()
	at := l.middle.UTC().Format(time.RFC3339Nano)
	foretold := w.forecast("--force", "--to-time", at).Details[0]
	w.ok("failover", group, "--yes", "--force", "--to-time", at)
	op := w.operations()[0]
	got := op.Workspaces[0]
	if op.State != topology.OperationCompleted || !op.Choice.Time.Equal(l.middle) || got.Loss == nil {
		w.Fatalf("ended as %+v", op)
	}
	if foretold.Point != got.Point || foretold.Host != got.Host || !cmp.Equal(foretold.Databases, got.Databases) {
		w.Errorf("foretold %+v, got %+v", foretold, got)
	}
	foretold.Loss.AtLeast = got.Loss.AtLeast // the side that is gone has become silent meanwhile
	if diff := cmp.Diff(foretold.Loss, got.Loss); diff != "" {
		w.Errorf("the loss was foretold otherwise: %s", diff)
	}
	after := slices.IndexFunc(l.commits, func(c ledger.Commit) bool { return c.At.After(l.middle) })
	w.checkCount(got.Loss, len(l.commits)-after)
	w.checkLedger(w.server(away), l.commits, got)
	w.checkTime(w.server(away), l)
}

// checkLedger checks that the server has the commits up to the point and no other.
func (w *world) checkLedger(s *postgres.Server, commits []ledger.Commit, got topology.Recovered) {
	w.Helper()
	conn, err := s.Open(w.Context(), appDB)
	w.must(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	r, err := ledger.Verify(w.Context(), conn, commits, got.Point.RecordEnd, time.Now())
	w.must(err)
	for _, b := range r.Broken {
		w.Error(b)
	}
	if r.Due < 50 || r.Kept > r.Due+2 || r.Kept == r.Acknowledged {
		w.Errorf("%d commits acknowledged, %d due, %d kept", r.Acknowledged, r.Due, r.Kept)
	}
}

// checkTime checks that what was acknowledged by the chosen time is there, and nothing that began later.
func (w *world) checkTime(s *postgres.Server, l load) {
	w.Helper()
	conn, err := s.Open(w.Context(), appDB)
	w.must(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	var late, there int
	w.must(conn.QueryRow(w.Context(), `select count(*) filter (where made_at > $1), count(*) from transfers`, l.middle).Scan(&late, &there))
	by := 0
	for _, c := range l.commits {
		if !c.At.After(l.middle) {
			by++
		}
	}
	if late != 0 || there < by {
		w.Errorf("%d transfers are there, %d of them of after the time; %d had been acknowledged by then", there, late, by)
	}
}

// refuseToGoBackTooEarly asks to go back before the bucket at home has anything of the new lineage, by force too: it does not
// decide over the group yet.
func (w *world) refuseToGoBackTooEarly() {
	w.Helper()
	w.must(w.env.Regions[home].Gateway.Kill())
	// It is waited for until it is refused: one that goes on could be done once that bucket is back.
	out, err := w.try("failover", group, "--to", home, "--yes", "--force", "--timeout", devtest.Patience.String())
	if err == nil {
		w.Fatalf("it was not refused: %s", out)
	}
	w.Logf("too early: %v", err)
	if g := w.status().Group; g.Active != away || g.Epoch != 2 || g.Operation != nil {
		w.Errorf("the group is %+v", g)
	}
	w.must(w.env.Regions[home].Gateway.Restart(w.Context()))
}

// failBackOverToLSN lets the group be protected at home, writes, loses the away region, and fails over to an LSN in between.
func (w *world) failBackOverToLSN() {
	w.Helper()
	w.must(w.env.Regions[home].RestartWorkers(w.Context(), w.env.Temporal))
	devtest.Until(w, "the group to be protected at home", func() bool {
		s := w.status()
		return s.Protection != nil && s.Protection.Protected && s.Protection.Region == home && s.Group.Authority == home
	})
	s := w.server(away)
	l := w.write(s)
	w.written(l, 300)
	l.Stop()
	commits := l.Commits()
	w.shipped(home, end(commits))
	w.must(w.env.KillRegion(w.Context(), away))
	chosen := commits[150].After
	w.ok("failover", group, "--yes", "--force", "--to-lsn", chosen.String())
	op := w.operations()[0]
	got := op.Workspaces[0]
	if op.State != topology.OperationCompleted || op.Epoch != 3 || got.Point.RecordEnd > chosen || got.Point.RecordEnd < commits[149].Before {
		w.Fatalf("ended as %+v, chosen was %s", op, chosen)
	}
	w.checkLedger(w.restored(home), commits, got)
}

// restored is the server that a failover has made in a region.
func (w *world) restored(region string) *postgres.Server {
	w.Helper()
	site := w.status().Group.Workspaces[0].Sites[region]
	s, err := postgres.Load(site.Instance)
	w.must(err)
	return s
}
