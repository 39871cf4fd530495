package missing_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// A transaction with so many subtransactions that neither the server's memory nor 64 KiB of its commit record hold them.
func TestAScanKnowsEverySubtransaction(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables)
		many := `do $$ begin for i in %d..%d loop begin insert into t values (i, 1); if i %% 3 = 0 then raise 'no'; end if;
			exception when raise_exception then null; end; end loop; end $$`
		early := w.open()
		run(t, early, "begin", fmt.Sprintf(many, 10000, 10150))
		w.do("checkpoint", "update t set n = 0 where id = 7")
		w.part()
		run(t, early, fmt.Sprintf(many, 20000, 45000), "commit")
		w.tip = w.at()
		c := w.scan()
		if appeared, _ := w.compare(c); appeared != 16768 || len(c.Commits) != 16768+2 {
			t.Errorf("%d row versions appeared, %d commits", appeared, len(c.Commits))
		}
		for xid, commit := range c.Commits {
			if top := c.Commits[commit.Top]; commit.XID != xid || top.Top != top.XID || top.Time != commit.Time || time.Since(top.Time) > time.Hour {
				t.Fatalf("%+v of %+v", commit, top)
			}
		}
	})
}

func TestAScanKnowsWhatBecameOfPreparedTransactions(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, scanTables+"; create table gone (i int); insert into gone values (1)")
		prepare := func(name, sql string) {
			w.do("begin; savepoint p; " + sql + "; release p; " + "prepare transaction '" + name + "'")
		}
		gone := w.file("gone")
		w.before = w.look()                                                  // before a table is locked
		prepare("committed", "insert into t values (1001); drop table gone") // with files and statistics that go
		prepare("rolled back", "insert into t values (1002)")
		prepare("left", "insert into t values (1003)")
		w.fork = w.at()
		prepare("doubt", "insert into t values (1004)")
		prepare("behind", "insert into t values (1005)")
		w.do("commit prepared 'behind'", "commit prepared 'committed'", "rollback prepared 'rolled back'")
		w.tip = w.at()
		c := w.scan()
		w.compare(c)
		database := value[uint32](t, w.conn, "select oid from pg_database where datname = 'postgres'")
		want := []missing.Prepared{
			{GID: "committed", Database: database, Fate: missing.Committed, AtFork: true},
			{GID: "rolled back", Database: database, Fate: missing.RolledBack, AtFork: true},
			{GID: "doubt", Database: database, Fate: missing.InDoubt},
		}
		if d := cmp.Diff(want, c.Prepared, cmpopts.IgnoreFields(missing.Prepared{}, "XID")); d != "" {
			t.Error(d)
		}
		if !c.Replaced[gone] {
			t.Errorf("the file %v of a table that was dropped is not named", gone)
		}
	})
}

// file is where a table is, also while somebody has locked it.
func (w *writer) file(table string) missing.Node {
	return missing.Node{
		Tablespace: 1663,
		Database:   value[uint32](w.t, w.conn, "select oid from pg_database where datname = current_database()"),
		Relation:   value[uint32](w.t, w.conn, "select relfilenode from pg_class where relname = '"+table+"'"),
	}
}

func TestAScanNamesReplacedFilesAndSequences(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, map[string]string{"wal_level": "logical"}, scanTables+"; create sequence quiet; create unlogged sequence off;"+
			"create table a as select 1 i; create table b (i int primary key); create table c as select 1 i; create table d as select 1 i; create table keep as select 1 i;"+
			"create materialized view m as select * from a")
		early := w.open()
		w.before = w.look() // before a table is locked
		run(t, early, "begin; create sequence young; truncate b; insert into b values (1)")
		w.fork = w.at()
		files := map[string]missing.Node{}
		for _, name := range []string{"a", "c", "d", "m", "keep"} {
			files[name] = w.file(name)
		}
		run(t, early, "commit")
		w.do("truncate a", "vacuum full c", "alter table d add x int default random() * 10", "refresh materialized view m", "select nextval('s')", "select nextval('off')", "begin; truncate keep")
		undone := w.file("keep") // the file that is not to be
		w.do("rollback")
		w.tip = w.at()
		c := w.scan()
		w.compare(c)
		for name, file := range files {
			if c.Replaced[file] != (name != "keep") {
				t.Errorf("%s: replaced %t", name, c.Replaced[file])
			}
		}
		if c.Replaced[undone] {
			t.Error("a file that was rolled back is named")
		}
		for name, moved := range map[string]bool{"s": true, "young": true, "quiet": false} {
			if c.Sequences[w.file(name)] != moved {
				t.Errorf("sequence %s: moved %t", name, c.Sequences[w.file(name)])
			}
		}
	})
}

// An insertion that a conflict found behind its back is taken back: it is nobody's row.
func TestAScanKnowsSpeculativeInsertions(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWriter(t, bin, nil, `create sequence calls; create table s (k text);
			create function slow(k text) returns text language plpgsql immutable as $$ begin
				if coalesce(current_setting('test.wait', true), '') = 'on' and nextval('calls') = 2 then perform pg_advisory_lock(1); end if;
				return k; end $$;
			create unique index on s (slow(k)); insert into s values ('other')`)
		slow := w.open()
		w.part()
		w.do("select pg_advisory_lock(1)")
		run(t, slow, "set test.wait = on")
		done := make(chan error, 1)
		go func() {
			_, err := slow.Exec(context.Background(), "begin; insert into s values ('x') on conflict do nothing; insert into s values ('y'); commit", pgx.QueryExecModeSimpleProtocol)
			done <- err
		}()
		postgrestest.WaitFor(t, "the insertion waits", func() bool {
			return value[bool](t, w.conn, "select exists (select from pg_locks where locktype = 'advisory' and not granted)")
		})
		w.do("insert into s values ('x') on conflict do nothing", "select pg_advisory_unlock(1)")
		postgrestest.Check(t, <-done)
		w.tip = w.at()
		var taken int
		postgrestest.Check(t, w.walk(t.Context(), w.fork, w.tip, func(r wal.Record) error {
			c, ok, err := r.RowChange()
			if ok && c.New.Len()+c.Old.Len() == 0 {
				taken++
			}
			return err
		}))
		if appeared, vanished := w.compare(w.scan()); appeared != 2 || vanished != 0 || taken != 1 {
			t.Errorf("%d row versions appeared, %d vanished, %d insertions were taken back", appeared, vanished, taken)
		}
	})
}

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
		whole := w.scan()
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
