package missing_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

func (l *oldLine) in(database, sql string) { postgrestest.Exec(l.t, l.old, database, sql) }

func TestASetOfEachDatabase(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, "select 1")
		for _, d := range []string{"kept", "renamed", "dropped", "closed", "again"} {
			l.in("postgres", "create database "+d)
			l.in(d, "create table t (id int primary key); insert into t values (1)")
		}
		l.fork = l.here()
		for _, d := range []string{"kept", "renamed", "dropped", "closed"} {
			l.in(d, "insert into t values (2)")
		}
		for _, sql := range []string{"alter database renamed rename to other", "drop database dropped", "alter database closed allow_connections false", "create database made",
			"drop database again", "create database again", "create database unseen is_template true"} {
			l.exec(sql)
		}
		l.in("made", "create table t (id int primary key); insert into t values (3)")
		l.in("again", "create table t (id int primary key); insert into t values (4)")
		l.tip = l.here()
		in := l.input(l.scan())
		in.Databases = []string{"renamed", "kept", "dropped", "closed", "again", "typo"}
		all, notes := l.sets(in)
		got := map[string]string{}
		for name, s := range all {
			got[name] = fmt.Sprintf("%s %s", s.rows(t, "t"), s.Tables[s.table(t, "t")].How)
		}
		want := map[string]string{"kept": "[n 2] wal", "renamed": "[n 2] wal", "made": "[n 3] made", "again": "[n 4] made"}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("sets: want -, got +\n%s", d)
		}
		if d := cmp.Diff([]string{"database again was dropped on the old line after the fork", "database closed lets nobody connect, and was not compared",
			"database dropped was dropped on the old line after the fork", "database typo was not there at the fork",
			"database made was made on the old line after the fork", "database again was made on the old line after the fork"}, notes); d != "" {
			t.Errorf("notes: want -, got +\n%s", d)
		}
	})
}

const objectsBefore = `select lo_create(7001); select lo_put(7001, 0, repeat('a', 5000)::bytea); select lo_create(7002); select lo_put(7002, 0, 'b'); create role somebody;
	create table big (id int primary key, v text); alter table big alter v set storage external;
	insert into big select i, repeat(chr(96 + i), 20000) from generate_series(1, 3) i`

func TestASetHasLargeObjectsAndLongValues(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, objectsBefore)
		l.between("select 1", `select lo_put(7001, 2048, 'B')`, `select lo_unlink(7002)`, `select lo_create(7003); alter large object 7003 owner to somebody`,
			`update big set v = v || 'x' where id = 2`, `delete from big where id = 1`, `vacuum big`)
		all, _ := l.sets(l.input(l.scan()))
		s := all["postgres"]
		s.describe(t, "pg_largeobject", "pg_catalog.pg_largeobject wal key [0 1] (loid oid, pageno integer, data bytea)")
		s.describe(t, "pg_largeobject_metadata", "pg_catalog.pg_largeobject_metadata wal key [0] (oid oid, lomowner name, lomacl aclitem[])")
		s.expect(t, "pg_largeobject_metadata", "o 7002|postgres|NULL", "n 7003|somebody|NULL")
		if rows := s.rows(t, "pg_largeobject"); len(rows) != 3 || rows[0][:14] != `n 7001|1|\x426` || rows[1][:14] != `o 7001|1|\x616` || rows[2] != `o 7002|0|\x62` {
			t.Errorf("pages of large objects: %q", rows)
		}
		if rows := s.rows(t, "big"); len(rows) != 3 || len(rows[0]) != 20005 || len(rows[1]) != 20004 || len(rows[2]) != 20004 {
			t.Errorf("long values: %d rows", len(rows))
		}
	})
}

func TestReadingIsRefusedWhereTheCopyStandsElsewhere(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore)
		l.between("select 1", "insert into t values (11)")
		in := l.input(l.scan())
		_, err := missing.ReadTip(t.Context(), in, nil)
		expectKind(t, err, fault.Missing, "before the fork was read")
		l.play(l.tip)
		expectKind(t, missing.ReadFork(t.Context(), in), fault.Invalid, "at the tip")
		if left, _ := filepath.Glob(filepath.Join(in.Dir, "*")); len(left) > 0 {
			t.Errorf("a refused call left %v", left)
		}
		l.copy = l.spare
		l.play(l.fork)
		remains := filepath.Join(in.Dir, "db-1-2.rows.zst.part") // of a call that was killed
		postgrestest.Check(t, os.WriteFile(remains, []byte("part"), 0o600))
		postgrestest.Check(t, missing.ReadFork(t.Context(), in))
		if _, err := os.Stat(remains); err == nil {
			t.Error("what a killed call left is still there")
		}
		_, err = missing.ReadTip(t.Context(), in, func(string) (io.WriteCloser, error) { panic("a set was begun") })
		expectKind(t, err, fault.Invalid, "at the fork")
		l.play(l.tip)
		postgrestest.Check(t, missing.ReadFork(t.Context(), in)) // all that it reads is there
		first, _ := l.tipSets(in)
		second, _ := l.tipSets(in)
		if d := cmp.Diff(first["postgres"].lines, second["postgres"].lines); d != "" {
			t.Errorf("two calls gave two sets:\n%s", d)
		}
		in.Changes.Tip++
		expectKind(t, missing.ReadFork(t.Context(), in), fault.Invalid, "of another tip")
	})
}

func expectKind(t *testing.T, err error, kind fault.Kind, when string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s: got %v, and want it to be %s", when, err, kind)
	}
}

func TestADamagedFolderIsNotRead(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore)
		l.between("select 1", "delete from t")
		in := l.input(l.scan())
		l.play(l.fork)
		postgrestest.Check(t, missing.ReadFork(t.Context(), in))
		l.play(l.tip)
		rows, err := filepath.Glob(filepath.Join(in.Dir, "*.rows.zst"))
		postgrestest.Check(t, err)
		if len(rows) != 1 {
			t.Fatalf("the folder has %v", rows)
		}
		b, err := os.ReadFile(rows[0])
		postgrestest.Check(t, err)
		for n := range b {
			postgrestest.Check(t, os.WriteFile(rows[0], b[:n], 0o600))
			_, err := missing.ReadTip(t.Context(), in, func(string) (io.WriteCloser, error) { return os.Create(filepath.Join(t.TempDir(), "set")) })
			if !fault.Is(err, fault.Corrupt) {
				t.Fatalf("with %d of %d bytes: %v", n, len(b), err)
			}
		}
	})
}

func TestACopyWithALockedTableSaysSo(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, simpleBefore)
		conn := postgrestest.Open(t, l.old, "postgres")
		defer conn.Close(t.Context())
		_, err := conn.Exec(t.Context(), "begin; truncate t; insert into t values (1, 'w', 1)")
		postgrestest.Check(t, err)
		l.fork = l.here()
		_, err = conn.Exec(t.Context(), "commit")
		postgrestest.Check(t, err)
		l.tip = l.here()
		l.here() // recovery ends in front of something
		in := l.input(l.scan())
		l.play(l.fork)
		err = missing.ReadFork(t.Context(), in)
		if !missing.Locked(err) || !fault.Is(err, fault.Taken) {
			t.Fatalf("got %v", err)
		}
		l.promote()
		postgrestest.Check(t, missing.ReadFork(t.Context(), in))
		l.copy = l.spare
		l.play(l.tip)
		l.promote()
		all, _ := l.tipSets(in)
		want := []string{"o 1|v1|1", "n 1|w|1"}
		for i := 2; i <= 10; i++ {
			want = append(want, fmt.Sprintf("o %d|v%d|%d", i, i, i))
		}
		all["postgres"].expect(t, "t", want...)
	})
}

func TestValuesOfOtherEncodings(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		l := newOldLine(t, bin, "select 1")
		for d, encoding := range map[string]string{"latin": "LATIN1", "ascii": "SQL_ASCII", "before": "SQL_ASCII"} {
			l.in("postgres", fmt.Sprintf("create database %s encoding '%s' locale 'C' template template0", d, encoding))
			l.in(d, "create table t (v text)")
		}
		l.in("before", `insert into t values (e'\xe9')`)
		l.fork = l.here()
		l.in("latin", `insert into t values (U&'\00e9')`)
		l.in("ascii", "insert into t values ('é')")
		l.tip = l.here()
		in := l.input(l.scan())
		in.Databases = []string{"latin", "ascii"}
		all, _ := l.sets(in)
		all["latin"].expect(t, "t", "n é")
		all["ascii"].expect(t, "t", "n é")
		l.in("ascii", `insert into t values (e'\xe9')`)
		l.in("before", "delete from t")
		l.tip, l.copy = l.here(), l.spare
		l.untold("latin", "ascii", "before")
	})
}

// untold sees that databases whose text nobody can tell are refused, with what to do and without the text, and that another one is compared.
func (l *oldLine) untold(other string, refused ...string) {
	t := l.t
	in := l.input(l.scan())
	in.Databases = append(refused, other)
	l.play(l.fork)
	postgrestest.Check(t, missing.ReadFork(t.Context(), in))
	l.play(l.tip)
	outs := map[string]*failing{}
	r, err := missing.ReadTip(t.Context(), in, func(database string) (io.WriteCloser, error) {
		outs[database] = &failing{}
		return outs[database], nil
	})
	postgrestest.Check(t, err)
	if out := outs[other]; out == nil || !out.closed || out.err != nil {
		t.Errorf("%s was held up by others: %+v", other, out)
	}
	for _, d := range refused {
		if out := outs[d]; out != nil && (out.closed || out.err == nil) {
			t.Errorf("the set of %s failed, and was closed: %v, with %v", d, out.closed, out.err)
		}
		if no := r.Refused[d]; !strings.Contains(no.Why, "public.t") || strings.Contains(no.Why, "0xe9") || no.Hint == "" {
			t.Errorf("%s is refused with %+v, want its table and what to do, and not its text", d, no)
		}
	}
	if len(r.Refused) != len(refused) {
		t.Errorf("refused are %+v, want %v", r.Refused, refused)
	}
}

// failing is a set's object that learns how it ends.
type failing struct {
	closed bool
	err    error
}

func (f *failing) open(string) (io.WriteCloser, error) { return f, nil }

func (f *failing) Write(b []byte) (int, error)    { return len(b), nil }
func (f *failing) Close() error                   { f.closed = true; return nil }
func (f *failing) CloseWithError(err error) error { f.err = err; return nil }
