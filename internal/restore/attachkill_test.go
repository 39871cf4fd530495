package restore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// TestKilledAtAnyMoment interrupts the attach and kills PostgreSQL after ever longer times, until one call comes through.
func TestKilledAtAnyMoment(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 200) FROM generate_series(1, 200000) n")
		in := src.restore(t, src.end(t), 0)
		kills := 0
		for limit := 10 * time.Millisecond; ; limit += limit * time.Duration(10+rand.IntN(30)) / 100 { // as fine on a fast machine as on a slow one
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			got, err := restore.Attach(ctx, in)
			cancel()
			if err == nil {
				checkAttached(t, in, got, 2)
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("interrupted after %s: %v", limit, err)
			}
			kills++
			if kills%3 != 0 { // else only the attach died
				postgrestest.Check(t, in.Server.Kill(t.Context()))
			}
		}
		t.Logf("%d kills", kills)
		if kills < 5 {
			t.Errorf("only %d kills", kills)
		}
		if n := postgrestest.Query(t, in.Server, "postgres", "SELECT count(*) FROM t"); n != "200000" {
			t.Errorf("%s rows", n)
		}
	})
}

// TestServerKilledDuringRecovery kills PostgreSQL alone: the attach says so at once, and the next one goes on.
func TestServerKilledDuringRecovery(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n, repeat('x', 200) FROM generate_series(1, 200000) n")
	in := src.restore(t, src.end(t), 0)
	in.Progress = func(p restore.AttachProgress) {
		if p.Phase == restore.Recovering {
			postgrestest.Check(t, in.Server.Kill(t.Context()))
		}
	}
	if _, err := attachNow(t, in); !fault.Is(err, fault.Transient) {
		t.Errorf("killed: %v", err)
	}
	in.Progress = nil
	got, err := attachNow(t, in)
	postgrestest.Check(t, err)
	checkAttached(t, in, got, 2)
}

// TestPromotionThatDidNotCount leaves what a server leaves that dies between its new history file and its first record on
// the new timeline.
func TestPromotionThatDidNotCount(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		in := src.restore(t, src.end(t), 0)
		ctx, cancel := context.WithCancel(t.Context())
		in.Progress = func(p restore.AttachProgress) {
			if p.Phase == restore.Promoting {
				cancel()
			}
		}
		if _, err := restore.Attach(ctx, in); err == nil {
			t.Fatal("should have been interrupted")
		}
		postgrestest.Check(t, in.Server.Kill(t.Context()))
		control, err := in.Server.ControlData(t.Context())
		postgrestest.Check(t, err)
		if control.Timeline() != 1 {
			t.Skip("the promotion counted already")
		}
		postgrestest.Check(t, in.Server.RemoveStandbySignal())
		stray := filepath.Join(in.Server.DataDir, "pg_wal", wal.HistoryFileName(2))
		postgrestest.Check(t, os.WriteFile(stray, []byte(fmt.Sprintf("1\t%s\tno recovery target specified\n", in.Plan.RecordEnd)), 0o600))
		in.Progress = nil
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 2)
	})
}

// TestWALThatStopsShort takes away the end of the WAL, more and more of it.
func TestWALThatStopsShort(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		backupEnd := src.backupEnd
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
		middle := src.end(t)
		postgrestest.Exec(t, src.server, "postgres", "INSERT INTO t SELECT n FROM generate_series(1, 1000) n")
		for name, cut := range map[string]wal.LSN{"a record's middle": middle + 20, "a record's end": middle, "before it is consistent": backupEnd - 8} {
			t.Run(name, func(t *testing.T) {
				in := src.restore(t, src.end(t), 0)
				eraseFrom(t, in.Server, cut)
				_, err := attachNow(t, in)
				if !fault.Is(err, fault.Corrupt) || fault.HintOf(err) == "" {
					t.Fatalf("want Corrupt with a hint, got %v", err)
				}
				if cut != backupEnd-8 && (!strings.Contains(err.Error(), middle.String()) || !strings.Contains(err.Error(), in.Plan.RecordEnd.String())) {
					t.Errorf("the error does not name %s and %s: %v", middle, in.Plan.RecordEnd, err)
				}
				t.Log(err)
				control, err := in.Server.ControlData(t.Context())
				postgrestest.Check(t, err)
				if control.Timeline() != 1 || control.State == postgres.InProduction {
					t.Errorf("it was promoted short: %+v", control)
				}
			})
		}
	})
}

// TestKilledAfterThePromotion forgets that all was done, as an attach does that dies before it can write it down.
func TestKilledAfterThePromotion(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		in := src.restore(t, src.end(t), 0)
		first, err := attachNow(t, in)
		postgrestest.Check(t, err)
		postgrestest.Exec(t, in.Server, "postgres", "CREATE TABLE on_the_new_timeline AS SELECT 1")
		for _, crash := range []bool{false, true} {
			forgetTheEnd(t, in.Server)
			if crash {
				postgrestest.Check(t, in.Server.Kill(t.Context()))
			}
			again, err := attachNow(t, in)
			if diff := cmp.Diff(first, again); err != nil || diff != "" {
				t.Fatalf("crashed %v: %v (-first +again):\n%s", crash, err, diff)
			}
			if n := postgrestest.Query(t, in.Server, "postgres", "SELECT count(*) FROM on_the_new_timeline"); n != "1" {
				t.Errorf("crashed %v: the new timeline's writes are gone", crash)
			}
		}
		checkAttached(t, in, first, 2)
	})
}

func forgetTheEnd(t *testing.T, s *postgres.Server) {
	t.Helper()
	path := filepath.Join(s.InstanceDir(), "attach.json")
	b, err := os.ReadFile(path)
	postgrestest.Check(t, err)
	var state map[string]any
	postgrestest.Check(t, json.Unmarshal(b, &state))
	delete(state, "attached")
	b, err = json.Marshal(state)
	postgrestest.Check(t, errors.Join(err, os.WriteFile(path, b, 0o600)))
}
