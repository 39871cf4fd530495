package missing_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestAScanThatCannotReachBackSaysSo(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		oldest := w.at()
		early := w.open()
		run(t, early, "begin; insert into t values (1001)")
		for i := range 4 { // some files of WAL
			w.do(fmt.Sprintf("insert into t select i, i, 'v', repeat('x', 1900) from generate_series(%d, %d) i", 2000+2000*i, 2700+2000*i), "select pg_switch_wal()", "checkpoint")
		}
		w.part()
		run(t, early, "commit")
		w.do("truncate u")
		w.tip = w.at()
		in := w.input()
		var told []int64
		in.Progress = func(done, total int64) { told = append(told, done, total) }
		whole, err := missing.Scan(t.Context(), in)
		postgrestest.Check(t, err)
		if n := len(told); n < 4 || told[n-1] != told[n-2] || !slices.IsSorted(told) || told[n-1] < int64(w.tip-whole.From) {
			t.Errorf("progress: %v", told)
		}
		w.compare(whole)
		if whole.From > oldest+wal.LSN(w.size) || whole.Expired {
			t.Errorf("from %s, expired %t", whole.From, whole.Expired)
		}

		late := w.input()
		late.Oldest = w.size.Next(whole.From)
		gone := w.input()
		gone.Walk = func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
			if from < w.size.Next(whole.From) {
				return fault.Newf(fault.Missing, "walk", "gone")
			}
			return w.walk(ctx, from, to, visit)
		}
		part := w.input()
		part.Walk = func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
			if from < w.size.Start(whole.From) {
				return fault.Newf(fault.Missing, "walk", "gone")
			}
			return w.walk(ctx, from, to, visit)
		}
		for name, in := range map[string]missing.ScanInput{"oldest": late, "walk": gone, "part": part} {
			c, err := missing.Scan(t.Context(), in)
			postgrestest.Check(t, err)
			if expired := name != "part"; c.Expired != expired || expired != (len(c.Tables) == 0) || len(c.Commits) != len(whole.Commits) || len(c.Replaced) == 0 {
				t.Errorf("%s: expired %t, %d tables, %d commits", name, c.Expired, len(c.Tables), len(c.Commits))
			}
		}
		w.retention(oldest, whole)
	})
}

// retention checks that what retention would keep, knowing nothing behind a moment before the fork, is enough.
func (w *writer) retention(oldest wal.LSN, whole *missing.Changes) {
	t := w.t
	t.Helper()
	for at := w.size.Next(whole.From); at <= w.fork; at = w.size.Next(at) {
		end := w.recordEnd(at)
		need, err := missing.OldestNeeded(t.Context(), w.walk, end, oldest-wal.LSN(w.size), w.size)
		postgrestest.Check(t, err)
		if need >= whole.From || need+wal.LSN(w.size) < whole.From {
			t.Errorf("at %s WAL from %s is kept, and a scan begins at %s", end, need, whole.From)
		}
		in := w.input()
		in.Oldest = need
		c, err := missing.Scan(t.Context(), in)
		postgrestest.Check(t, err)
		if c.Expired {
			t.Errorf("WAL from %s on is not enough", need)
		}
		if _, err := missing.OldestNeeded(t.Context(), w.walk, end, whole.From, w.size); !fault.Is(err, fault.Missing) {
			t.Errorf("what is needed lies before what is kept: %v", err)
		}
	}
}

// recordEnd is the end of the last record at or before a place.
func (w *writer) recordEnd(at wal.LSN) (end wal.LSN) {
	postgrestest.Check(w.t, w.walk(w.t.Context(), at-wal.LSN(w.size), at, func(r wal.Record) error {
		end = r.End
		return nil
	}))
	return end
}

func TestAScanRefusesWALWithHoles(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		early := w.open()
		w.do("checkpoint")
		run(t, early, "begin; insert into t values (1001)")
		w.do("update t set n = 1 where id < 8")
		w.part()
		run(t, early, "commit")
		w.do("update t set n = 2 where id < 8")
		w.tip = w.at()
		whole := w.scan()
		var ends []wal.LSN
		postgrestest.Check(t, w.walk(t.Context(), whole.From, w.tip, func(r wal.Record) error {
			ends = append(ends, r.End)
			return nil
		}))
		for _, without := range ends {
			in := w.input()
			in.Walk = func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
				return w.walk(ctx, from, to, func(r wal.Record) error {
					if r.End == without {
						return nil
					}
					return visit(r)
				})
			}
			if _, err := missing.Scan(t.Context(), in); err == nil {
				t.Errorf("the record that ends at %s was left out unnoticed", without)
			}
		}
		for name, c := range map[string]struct {
			fork, tip wal.LSN
			kind      fault.Kind
			text      string
		}{
			"torn tail":     {w.fork, w.tip - 8, fault.Missing, "the last whole record ends at"},
			"no record":     {w.fork + 8, w.tip, fault.Missing, "does not follow"},
			"turned around": {w.tip, w.fork, fault.Invalid, "lies before"},
			"beyond":        {w.fork, w.tip + 4*wal.LSN(w.size), fault.Corrupt, ""},
		} {
			in := w.input()
			in.Fork, in.Tip = c.fork, c.tip
			if _, err := missing.Scan(t.Context(), in); !fault.Is(err, c.kind) && name != "beyond" || err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", name, err)
			}
		}
		in := w.input()
		in.Tip = in.Fork
		if c, err := missing.Scan(t.Context(), in); err != nil || len(c.Commits)+len(c.Tables) > 0 || c.From != c.Fork {
			t.Errorf("nothing between fork and tip: %+v, %v", c, err)
		}
		stop := errors.New("stop")
		in = w.input()
		in.Walk = func(context.Context, wal.LSN, wal.LSN, func(wal.Record) error) error { return stop }
		if _, err := missing.Scan(t.Context(), in); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

func TestAScanRefusesWALThatSaysTooLittle(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		w.part()
		postgrestest.Check(t, w.Stop(t.Context(), postgres.Fast))
		w.Settings["wal_level"], w.Settings["max_wal_senders"] = "minimal", "0"
		postgrestest.Check(t, w.Start(t.Context()))
		w.conn = w.open()
		w.tip = w.at()
		if _, err := missing.Scan(t.Context(), w.input()); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "wal_level was minimal") {
			t.Error(err)
		}
	})
}

// A crash that cuts a record leaves what was there of it; the server goes on behind that.
func TestAScanPassesARecordThatACrashCut(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		early := w.open()
		run(t, early, "begin; insert into t values (1001)")
		w.do("begin; insert into t values (1002); prepare transaction 'p'")
		w.crash()
		w.before = w.look()
		w.fork = w.at()
		run(t, w.conn, "commit prepared 'p'", "begin; insert into t values (1003)")
		w.crash()
		w.do("insert into t values (1004)")
		w.tip = w.at()
		c := w.scan()
		if appeared, _ := w.compare(c); appeared != 2 || c.Expired {
			t.Errorf("%d row versions appeared, expired %t", appeared, c.Expired)
		}
		cut := 0
		postgrestest.Check(t, w.walk(t.Context(), c.From, c.Tip, func(r wal.Record) error {
			if r.Behind() != r.Start {
				cut++
			}
			return nil
		}))
		if cut == 0 {
			t.Error("no record was cut")
		}
	})
}

// crash ends the server while a long record is being written, and starts it again.
func (w *writer) crash() {
	t := w.t
	t.Helper()
	w.do("select pg_logical_emit_message(false, 'test', repeat('y', 40000))")
	end, err := wal.ParseLSN(value[string](t, w.conn, "select pg_current_wal_insert_lsn()::text"))
	postgrestest.Check(t, err)
	w.do("select pg_logical_emit_message(true, 'test', 'flushed')")
	postgrestest.Check(t, w.Kill(t.Context()))
	page := (end - 20000) &^ (wal.PageSize - 1)
	f, err := os.OpenFile(filepath.Join(w.DataDir, "pg_wal", w.size.FileName(1, page)), os.O_WRONLY, 0)
	postgrestest.Check(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, w.size.Next(page)-page), int64(page-w.size.Start(page)))
	postgrestest.Check(t, err)
	if next := filepath.Join(w.DataDir, "pg_wal", w.size.FileName(1, w.size.Next(page))); next != "" {
		if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	postgrestest.Check(t, w.Start(t.Context()))
	w.conn = w.open()
}

// Numbers of transactions go round at 2^32.
func TestAScanCrossesTheLastTransactionNumber(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		postgresPath, err := filepath.EvalSymlinks(bin.Path("postgres"))
		postgrestest.Check(t, err)
		reset := filepath.Join(filepath.Dir(postgresPath), "pg_resetwal")
		if _, err := os.Stat(reset); err != nil {
			t.Skipf("this installation has no pg_resetwal: %v", err)
		}
		w := newWriter(t, bin, nil, scanTables)
		w.jump(reset, math.MaxUint32-12)
		early := w.open()
		run(t, early, "begin; insert into t values (1001)")
		w.do("checkpoint")
		w.part()
		for i := range 20 {
			w.do(fmt.Sprintf("update t set n = -1 where id = %d", i+1))
		}
		run(t, early, "delete from t where id = 101", "commit")
		w.tip = w.at()
		c := w.scan()
		if appeared, vanished := w.compare(c); appeared != 21 || vanished != 21 {
			t.Errorf("%d row versions appeared, %d vanished", appeared, vanished)
		}
		var low, high bool
		for xid := range c.Commits {
			low, high = low || xid < 1000, high || xid > math.MaxUint32-100
		}
		if !low || !high || c.Expired {
			t.Errorf("transactions before the turn %t, behind it %t, expired %t", high, low, c.Expired)
		}
	})
}

// jump lets the server go on with a transaction number close to the last one, as if it had given out all before.
func (w *writer) jump(reset string, xid uint32) {
	t := w.t
	t.Helper()
	w.do("vacuum (freeze)")
	postgrestest.Check(t, w.conn.Close(t.Context()))
	postgrestest.Check(t, w.Stop(t.Context(), postgres.Fast))
	status := filepath.Join(w.DataDir, "pg_xact", fmt.Sprintf("%04X", xid>>20))
	postgrestest.Check(t, os.WriteFile(status, make([]byte, 256<<10), 0o600))
	cmd := exec.Command(reset, "-D", w.DataDir, "-x", fmt.Sprint(xid), "-u", fmt.Sprint(xid-1000))
	if w.Account != nil {
		postgrestest.Check(t, os.Chown(status, int(w.Account.UID), int(w.Account.GID)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: w.Account.UID, Gid: w.Account.GID}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	postgrestest.Check(t, w.Start(t.Context()))
	w.conn = w.open()
}
