package restore_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// generations are three lineages, each of which left the one before, on timelines 1, 2 and 3.
func generations(t *testing.T, bin postgres.Binaries) (lines []*line, legs []restore.Leg) {
	t.Helper()
	src := startSource(t, bin, nil)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1 AS n")
	l := newLine(t, src)
	lines, legs = []*line{l}, []restore.Leg{l.leg()}
	for tli := wal.Timeline(2); tli <= 3; tli++ {
		fork := l.all(t)
		in := lines[0].standby(t)
		in.Legs = legs
		got, err := followTimeline(t, in, wal.Position{Timeline: tli - 1, LSN: fork})
		check(t, err)
		promote(t, in, got, tli)
		next := l.successor(t, in.Server, fork, tli)
		next.putHistory(t, tli)
		legs[len(legs)-1].To = fork
		l, lines, legs = next, append(lines, next), append(legs, next.leg())
		postgrestest.Exec(t, in.Server, "postgres", "INSERT INTO t SELECT max(n) + 1 FROM t")
	}
	l.all(t)
	return lines, legs
}

// The last commit of the newest timeline is there after a restore across three of them, from the snapshot of the first; and a
// history file that lacks is a failure, never a shorter restore.
func TestRestoreAcrossThreeTimelinesHasTheLastCommit(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		lines, legs := generations(t, bin)
		in := lines[0].src.restore(t, lines[0].src.start, 0)
		fetch := restore.FetchWAL{Legs: legs, Dir: filepath.Join(in.Server.DataDir, "pg_wal"), SegmentSize: wal.DefaultSegmentSize}
		fetched, err := fetch.Run(t.Context())
		check(t, err)
		in.Plan = restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd}
		got, err := attachNow(t, in)
		check(t, err)
		checkAttached(t, in, got, 4)
		wantCount(t, in.Server, "t", "3")

		for _, l := range lines[1:] {
			key := "groups/prod/workspaces/orders/wal/" + l.lineage.ID + "/" + wal.HistoryFileName(l.tli)
			b, _, err := l.store.Get(t.Context(), key)
			check(t, err)
			check(t, l.store.Delete(t.Context(), key))
			fetch.Dir = t.TempDir()
			if _, err := fetch.Run(t.Context()); !fault.Is(err, fault.Missing) || !strings.Contains(err.Error(), wal.HistoryFileName(l.tli)) {
				t.Errorf("fetched without the history file of timeline %d: %v", l.tli, err)
			}
			follow := lines[0].standby(t)
			follow.Legs = legs
			if _, err := restore.Follow(t.Context(), follow); !fault.Is(err, fault.Missing) {
				t.Errorf("followed without the history file of timeline %d: %v", l.tli, err)
			}
			put(t, l.store, key, b)
		}
	})
}

// Recovery that begins in the segment file in which the lineage left its timeline: after a restart, from a checkpoint right before
// the fork.
func TestRecoveryThatBeginsInTheSegmentOfTheSwitch(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		l := newLine(t, src)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1 AS n")
		postgrestest.Exec(t, src.server, "postgres", "CHECKPOINT")
		fork := l.all(t)
		first, in := l.standby(t), l.standby(t)
		got, err := followTo(t, first, fork)
		check(t, err)
		promote(t, first, got, 2)
		_, err = followTo(t, in, fork)
		check(t, err)
		postgrestest.Exec(t, in.Server, "postgres", "CHECKPOINT")
		check(t, in.Server.Kill(t.Context()))
		control, err := in.Server.ControlData(t.Context())
		check(t, err)
		if size := wal.DefaultSegmentSize; size.Start(control.Redo) != size.Start(fork) {
			t.Fatalf("recovery begins at %s, the fork is at %s", control.Redo, fork)
		}
		next := l.successor(t, first.Server, fork, 2)
		next.putHistory(t, 2)
		postgrestest.Exec(t, first.Server, "postgres", "INSERT INTO t VALUES (2)")
		end := next.all(t)
		in.Legs = []restore.Leg{{Archive: l.archive(), Lineage: l.lineage, From: l.lineage.Start, To: fork}, next.leg()}
		got, err = followTimeline(t, in, wal.Position{Timeline: 2, LSN: end})
		check(t, err)
		promote(t, in, got, 3)
		wantCount(t, in.Server, "t", "2")
	})
}

// What is put together from older, damaged folders replays to the same bytes as what was fetched as a whole.
func TestAFolderFromOlderOnesReplaysToTheSameBytes(t *testing.T) {
	k := snapshotOf(t, postgrestest.Installations(t)[0])
	old := filepath.Join(postgrestest.TempDir(t), "data")
	files(t, k.input(old))
	spoil(t, old)
	now, _ := k.changed(t, someRows)
	postgrestest.Exec(t, k.source, "app", "UPDATE t SET x = md5(x) WHERE i % 7 = 0; CREATE INDEX ON t (x); SELECT pg_switch_wal()")
	whole, pieces := now.input(filepath.Join(postgrestest.TempDir(t), "data")), now.input(filepath.Join(postgrestest.TempDir(t), "data"))
	pieces.Reuse = []string{old}
	files(t, whole)
	if res := files(t, pieces); res.Local == 0 {
		t.Error("nothing was reused")
	}
	replay(t, now, whole.DataDir)
	replay(t, now, pieces.DataDir)
	compared := 0
	check(t, filepath.WalkDir(filepath.Join(whole.DataDir, "base"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "pg_internal.init") {
			return err
		}
		rel, err := filepath.Rel(whole.DataDir, path)
		check(t, err)
		a, err := os.ReadFile(path)
		check(t, err)
		b, err := os.ReadFile(filepath.Join(pieces.DataDir, rel))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs: %v", rel, err)
		}
		compared++
		return nil
	}))
	if compared < 500 {
		t.Errorf("only %d files", compared)
	}
}

// replay lets a standby replay all WAL that its source has, and ends it.
func replay(t *testing.T, k taken, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	copyWAL(t, k, dir)
	s := postgrestest.NewServer(t, k.source.Bin)
	s.DataDir = dir
	s.Settings["allow_in_place_tablespaces"] = "on"
	check(t, os.WriteFile(filepath.Join(dir, "standby.signal"), nil, 0o600))
	check(t, s.WriteHBA(postgrestest.TrustLocal))
	check(t, s.Start(ctx))
	postgrestest.WaitReplayed(t, k.source, s)
	check(t, s.Stop(ctx, postgres.Fast))
}
