package restore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// switchTo has a standby of the source take its place, as a high-availability pair does without asking anybody. What the source
// wrote and the standby does not have is shipped up to more bytes behind the standby's end.
func (l *line) switchTo(t *testing.T, standby *postgres.Server, more wal.LSN) {
	t.Helper()
	postgrestest.WaitReplayed(t, l.src.server, standby)
	end := l.all(t)
	at, digest := l.at, l.digest.Clone()
	check(t, standby.Stop(t.Context(), postgres.Fast))
	if more > 0 {
		postgrestest.Exec(t, l.src.server, "postgres", "SELECT pg_logical_emit_message(true, 'lost', repeat('y', 60000))")
		l.ship(t, end+more, 1<<20)
	}
	check(t, l.src.server.Kill(t.Context()))
	delete(standby.Settings, "primary_conninfo")
	check(t, standby.Start(t.Context()))
	check(t, standby.Promote(t.Context()))
	l.src.server = standby
	if switched := l.putHistory(t, 2); switched != at {
		t.Fatalf("the standby was promoted at %s, not at %s", switched, at)
	}
	l.tli, l.at, l.digest = 2, at, digest
}

// putHistory stores the history file of the source's timeline, and returns where that begins.
func (l *line) putHistory(t *testing.T, tli wal.Timeline) wal.LSN {
	t.Helper()
	c := l.src.connect(t)
	defer c.Close(t.Context()) //nolint:errcheck // nothing depends on it any more
	b, err := c.TimelineHistory(t.Context(), tli)
	check(t, err)
	check(t, l.archive().PutHistory(t.Context(), tli, b))
	h, err := wal.ParseHistory(b)
	check(t, err)
	return h[len(h)-1].LSN
}

func TestFollowAcrossALocalFailover(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		for name, more := range map[string]wal.LSN{"at a record's end": 0, "in the head of a record that was lost": 40, "pages of it": 30000} {
			if more != 40 && !full() {
				continue
			}
			t.Run(name, func(t *testing.T) {
				src := startSource(t, bin, nil)
				postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
				standby := postgrestest.StartStandby(t, src.server)
				l := newLine(t, src)
				in := l.standby(t)
				l.switchTo(t, standby, more)
				// Until the history is there nothing is known of the other timeline.
				check(t, l.store.Delete(t.Context(), l.historyKey()))
				in.LagBelow = time.Second
				got, err := restore.Follow(t.Context(), in)
				if err != nil || got.RecordEnd != l.at || got.End.Timeline != 1 {
					t.Fatalf("on the old timeline: %+v, %v", got, err)
				}
				l.putHistory(t, 2)
				in.LagBelow = 0
				f := startFollowing(t, in)
				postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t VALUES (2)")
				l.all(t)
				f.await(t, in, "SELECT count(*)::text FROM t", "2")
				f.stop(t)
				got, err = followTimeline(t, in, wal.Position{Timeline: 2, LSN: l.at})
				check(t, err)
				promote(t, in, got, 3)
				wantCount(t, in.Server, "t", "2")
			})
		}
	})
}

func (l *line) historyKey() string {
	return "groups/prod/workspaces/orders/wal/" + l.lineage.ID + "/" + wal.HistoryFileName(2)
}

func followTimeline(t *testing.T, in restore.FollowInput, to wal.Position) (restore.Followed, error) {
	t.Helper()
	in.Target, in.Turn = &to, time.Minute
	got, err := restore.Follow(t.Context(), in)
	if err == nil && !got.Reached {
		t.Errorf("not reached in a minute: %+v", got)
	}
	return got, err
}

// A standby that has replayed what a local failover lost must be made anew, and says so; nothing may be promoted on top of it.
func TestFollowHasReplayedWhatALocalFailoverLost(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	standby := postgrestest.StartStandby(t, src.server)
	l := newLine(t, src)
	in := l.standby(t)
	l.all(t)
	f := startFollowing(t, in)
	f.await(t, in, "SELECT count(*)::text FROM pg_class WHERE relname = 't'", "0")
	f.stop(t)
	postgrestest.WaitReplayed(t, src.server, standby)
	l.all(t)
	at, digest := l.at, l.digest.Clone()
	check(t, standby.Stop(t.Context(), postgres.Fast))
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
	l.all(t)
	f = startFollowing(t, in)
	f.await(t, in, "SELECT count(*)::text FROM pg_class WHERE relname = 't'", "1")
	check(t, src.server.Kill(t.Context()))
	delete(standby.Settings, "primary_conninfo")
	check(t, standby.Start(t.Context()))
	check(t, standby.Promote(t.Context()))
	src.server = standby
	l.putHistory(t, 2)
	l.tli, l.at, l.digest = 2, at, digest
	l.all(t)
	select {
	case <-f.done:
	case <-time.After(devtest.Patience):
		t.Fatal("it goes on")
	}
	if !fault.Is(f.err, fault.Diverged) || fault.HintOf(f.err) == "" {
		t.Errorf("it ended with %v", f.err)
	}
	if got, err := restore.Follow(t.Context(), in); !fault.Is(err, fault.Diverged) {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// successor is the lineage of a server that was promoted at a fork, with nothing in the bucket yet.
func (l *line) successor(t *testing.T, s *postgres.Server, fork wal.LSN, tli wal.Timeline) *line {
	t.Helper()
	postgrestest.Exec(t, s, "postgres", "DROP TABLE after_attach")
	check(t, s.WriteHBA(postgrestest.TrustLocal))
	check(t, s.Stop(t.Context(), postgres.Fast))
	check(t, s.Start(t.Context()))
	start := wal.DefaultSegmentSize.Start(fork)
	next := &line{src: &source{server: s, start: start}, store: l.store, tli: tli, at: start, digest: archive.NewDigest()}
	next.lineage = topology.Lineage{ID: fmt.Sprintf("%04d-0000000%d", tli, tli), Epoch: topology.Epoch(tli), SystemID: "1",
		SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: tli, LSN: start}}
	return next
}

// A standby goes on along a lineage that forked off where it is, or later, and along no other.
func TestFollowTheNextLineage(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		l := newLine(t, src)
		l.all(t)
		in, other := l.standby(t), l.standby(t)
		in.LagBelow = time.Second
		got, err := restore.Follow(t.Context(), in)
		check(t, err)
		fork := got.RecordEnd

		// Another copy is promoted, and goes on.
		first, err := followTo(t, other, fork)
		check(t, err)
		promote(t, other, first, 2)
		next := l.successor(t, other.Server, fork, 2)
		in.Legs = []restore.Leg{{Archive: l.archive(), Lineage: l.lineage, From: l.lineage.Start, To: fork}, next.leg()}
		in.LagBelow = 0
		f := startFollowing(t, in) // the new lineage has nothing yet, not even its history
		next.putHistory(t, 2)
		postgrestest.Exec(t, other.Server, "postgres", "INSERT INTO t VALUES (2)")
		next.all(t)
		f.await(t, in, "SELECT count(*)::text FROM t", "2")
		f.stop(t)

		// What the old one still writes is no part of it.
		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t SELECT generate_series(1, 1000)")
		l.all(t)
		got, err = followTimeline(t, in, wal.Position{Timeline: 2, LSN: next.at})
		check(t, err)
		promote(t, in, got, 3)
		wantCount(t, in.Server, "t", "2")

		// One that has replayed what the old one wrote after the fork cannot.
		late := l.standby(t)
		late.LagBelow = time.Second
		_, err = restore.Follow(t.Context(), late)
		check(t, err)
		late.Legs, late.LagBelow = in.Legs, 0
		if got, err := restore.Follow(t.Context(), late); !fault.Is(err, fault.Diverged) {
			t.Errorf("it left the line: %+v, %v", got, err)
		}
	})
}
