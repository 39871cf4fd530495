package missing_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
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
		w := newWriter(t, bin, map[string]string{"wal_level": "logical"}, scanTables+"; create sequence quiet; "+
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
		w.do("truncate a", "vacuum full c", "alter table d add x int default random() * 10", "refresh materialized view m", "select nextval('s')", "create unlogged sequence off", "begin; truncate keep")
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
		for name, moved := range map[string]bool{"s": true, "young": true, "quiet": false, "off": false} {
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
		devtest.Until(t, "the insertion waits", func() bool {
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
