package restore_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// clock asks a server for its time.
func clock(t *testing.T, s *postgres.Server) time.Time {
	t.Helper()
	us, err := strconv.ParseInt(postgrestest.Query(t, s, "postgres", "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"), 10, 64)
	check(t, err)
	return time.UnixMicro(us)
}

// restorePoint brings a folder to a point, by the plan that FindPoint makes.
func (l *line) restorePoint(t *testing.T, p restore.Point) restore.AttachInput {
	t.Helper()
	in := l.src.restore(t, l.src.start, 0)
	legs := restore.CutLegs([]restore.Leg{l.leg()}, p)
	fetched, err := restore.FetchWAL{Legs: legs, Dir: in.Server.DataDir + "/pg_wal", SegmentSize: wal.DefaultSegmentSize}.Run(t.Context())
	check(t, err)
	if fetched.RecordEnd != p.End.LSN || fetched.LastCommitLSN != p.LastCommit.LSN {
		t.Errorf("fetched up to %s with the last commit at %s, want %+v", fetched.RecordEnd, fetched.LastCommitLSN, p)
	}
	in.Plan = restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd}
	return in
}

// A restore to a time, and to an LSN, has exactly the commits before it, also where it lies within a record.
func TestRestoreToAChosenPoint(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		l := newLine(t, src)
		began := clock(t, src.server)
		early := began.Add(-time.Hour)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t (n int)")
		ends, times := []wal.LSN{}, []time.Time{}
		for n := range 4 {
			postgrestest.Exec(t, src.server, "postgres", fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
			ends, times = append(ends, src.end(t)), append(times, clock(t, src.server))
		}
		end := l.all(t)
		find := func(c restore.PointChoice) (restore.Point, error) {
			c.Consistent, c.StartedAt = src.backupEnd, began
			return restore.FindPoint(t.Context(), []restore.Leg{l.leg()}, wal.DefaultSegmentSize, c)
		}

		byTime, err := find(restore.PointChoice{Time: times[1]})
		check(t, err)
		byLSN, err := find(restore.PointChoice{LSN: ends[2] + 40}) // in the next record
		check(t, err)
		if byTime.Latest || byLSN.Latest || byLSN.End.LSN != ends[2] || !byTime.NextCommit.Time.After(times[1]) || byTime.LastCommit.Time.After(times[1]) {
			t.Errorf("by time %+v, by LSN %+v", byTime, byLSN)
		}
		for want, p := range map[string]restore.Point{"2": byTime, "3": byLSN} {
			in := l.restorePoint(t, p)
			got, err := attachNow(t, in)
			check(t, err)
			wantCount(t, in.Server, "t", want)
			checkAttached(t, in, got, 2)
		}

		latest, err := find(restore.PointChoice{Time: times[3].Add(time.Hour)})
		if err != nil || !latest.Latest || latest.End.LSN != end {
			t.Errorf("a time behind everything: %+v, %v", latest, err)
		}
		for name, c := range map[string]restore.PointChoice{
			"a time before the snapshot": {Time: early}, "an LSN before it": {LSN: src.backupEnd - 8}, "an LSN behind everything": {LSN: end + 1<<20},
		} {
			_, err := find(c)
			if errors.Is(err, restore.ErrTooEarly) == (c.LSN > end) || errors.Is(err, restore.ErrTooLate) != (c.LSN > end) {
				t.Errorf("%s: too early or too late: %v", name, err)
			}
			if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "0/") {
				t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
			}
		}
	})
}

// Commits are counted for the database that they wrote to, whatever kind of transaction it was; those that were rolled back are not.
func TestCountCommits(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil, func(s *postgres.Server) {
			postgrestest.Check(t, s.Stop(t.Context(), postgres.Fast))
			s.Settings["max_prepared_transactions"] = "5"
			postgrestest.Check(t, s.Start(t.Context()))
			for _, db := range []string{"a", "b"} {
				postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
				postgrestest.Exec(t, s, db, "CREATE TABLE t (n int)")
			}
		})
		l := newLine(t, src)
		oid := func(db string) uint32 {
			n, err := strconv.ParseUint(postgrestest.Query(t, src.server, "postgres", "SELECT oid FROM pg_database WHERE datname = '"+db+"'"), 10, 32)
			check(t, err)
			return uint32(n)
		}
		postgrestest.Exec(t, src.server, "a", "INSERT INTO t VALUES (0)")
		from := src.end(t)
		for n := range 3 {
			postgrestest.Exec(t, src.server, "a", fmt.Sprintf("INSERT INTO t VALUES (%d)", n))
		}
		postgrestest.Exec(t, src.server, "b", "INSERT INTO t SELECT generate_series(1, 100000)") // over many pages
		session := postgrestest.Open(t, src.server, "b")
		for _, sql := range []string{
			"BEGIN", "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'p'", "INSERT INTO t VALUES (2)", "COMMIT PREPARED 'p'",
			"BEGIN", "INSERT INTO t VALUES (3)", "ROLLBACK",
			"BEGIN", "SAVEPOINT s", "INSERT INTO t VALUES (4)", "RELEASE s", "COMMIT", // written by a subtransaction alone
		} {
			_, err := session.Exec(t.Context(), sql)
			check(t, err)
		}
		postgrestest.Exec(t, src.server, "postgres", "SELECT pg_logical_emit_message(true, 'smartdr', 'fenced')") // is nobody's
		to := src.end(t)                                                                                          // by a commit that writes to no database
		postgrestest.Exec(t, src.server, "a", "INSERT INTO t VALUES (9)")
		l.all(t)
		total, by, err := restore.CountCommits(t.Context(), []restore.Leg{l.leg()}, wal.DefaultSegmentSize, from, to)
		check(t, err)
		if diff := cmp.Diff(map[uint32]int64{oid("a"): 3, oid("b"): 4, 0: 1}, by); diff != "" || total != 8 {
			t.Errorf("%d commits, by database (-want +got):\n%s", total, diff)
		}
	})
}
