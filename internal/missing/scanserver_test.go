package missing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// writer is a server that goes on after the fork.
type writer struct {
	*postgres.Server
	t    testing.TB
	conn *pgx.Conn
	size wal.SegmentSize

	fork, tip wal.LSN
	before    state
	oids      map[string]uint32 // of tables
}

// newWriter starts one with small files of WAL, so that records cross them.
func newWriter(t testing.TB, bin postgres.Binaries, settings map[string]string, sql string) *writer {
	t.Helper()
	s := postgrestest.NewServer(t, bin)
	for k, v := range map[string]string{"max_prepared_transactions": "10", "wal_keep_size": "4GB", "autovacuum": "off", "max_connections": "30"} {
		s.Settings[k] = v
	}
	for k, v := range settings {
		s.Settings[k] = v
	}
	w := &writer{Server: s, t: t, size: 1 << 20}
	postgrestest.Check(t, s.Init(t.Context(), postgres.InitOptions{NoSync: true, Checksums: true, SegmentSize: w.size}))
	postgrestest.Check(t, s.WriteHBA(postgrestest.TrustLocal))
	postgrestest.Check(t, s.Start(t.Context()))
	w.conn = w.open()
	w.do("set lock_timeout = '20s'", sql)
	return w
}

func (w *writer) open() *pgx.Conn {
	w.t.Helper()
	c := postgrestest.Open(w.t, w.Server, "postgres")
	w.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func (w *writer) do(sql ...string) { w.t.Helper(); run(w.t, w.conn, sql...) }

// run runs strings, each of which is a transaction unless one is open.
func run(t testing.TB, c *pgx.Conn, sql ...string) {
	t.Helper()
	for _, q := range sql {
		if _, err := c.Exec(t.Context(), q, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func value[T any](t testing.TB, c *pgx.Conn, sql string) (v T) {
	t.Helper()
	if err := c.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// at is the end of the last record that is on disk.
func (w *writer) at() (end wal.LSN) {
	w.t.Helper()
	run(w.t, w.conn, "select pg_logical_emit_message(true, 'test', 'here')")
	flushed, err := wal.ParseLSN(value[string](w.t, w.conn, "select pg_current_wal_flush_lsn()::text"))
	postgrestest.Check(w.t, err)
	// a part of a record may be on disk
	for from := w.size.Start(flushed - 1); end == 0; from -= wal.LSN(w.size) {
		postgrestest.Check(w.t, w.walk(w.t.Context(), from, flushed, func(r wal.Record) error {
			end = r.End
			return nil
		}))
	}
	return end
}

// walk reads the server's own files.
func (w *writer) walk(_ context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
	s := wal.NewScanner(w.size)
	var stop error
	for at := w.size.Start(from); at < to && stop == nil; at = w.size.Next(at) {
		b, err := os.ReadFile(filepath.Join(w.DataDir, "pg_wal", w.size.FileName(1, at)))
		if errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Missing, "walk", err)
		}
		if err != nil {
			return err
		}
		err = s.Feed(at, b[:min(int(to-at), len(b))], func(r wal.Record) {
			if stop == nil && r.End > from && r.End <= to {
				stop = visit(r)
			}
		})
		if stop == nil {
			stop = err
		}
	}
	return stop
}

func (w *writer) input() missing.ScanInput {
	return missing.ScanInput{Walk: w.walk, Fork: w.fork, Tip: w.tip, Segment: w.size}
}

func (w *writer) scan() *missing.Changes {
	w.t.Helper()
	c, err := missing.Scan(w.t.Context(), w.input())
	postgrestest.Check(w.t, err)
	return c
}

// version is a row version. Its place alone is no name: places are used again.
type version struct {
	node missing.Node
	tid  missing.TID
	xmin uint32
}

// state is what can be seen of all tables.
type state struct {
	rows  map[version]bool
	files map[uint32]missing.Node // by table
}

func (w *writer) look() state {
	w.t.Helper()
	s := state{map[version]bool{}, map[uint32]missing.Node{}}
	database := value[uint32](w.t, w.conn, "select oid from pg_database where datname = current_database()")
	rows, err := w.conn.Query(w.t.Context(), `select oid, oid::regclass::text, pg_relation_filenode(oid) from pg_class
		where oid >= 16384 and relkind in ('r', 'm', 't') and relnamespace in ('public'::regnamespace, 'pg_toast'::regnamespace)`)
	postgrestest.Check(w.t, err)
	var oid, file uint32
	var name string
	tables := map[string]missing.Node{}
	w.oids = map[string]uint32{}
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &file}, func() error {
		s.files[oid] = missing.Node{Tablespace: 1663, Database: database, Relation: file}
		tables[name], w.oids[name] = s.files[oid], oid
		return nil
	})
	postgrestest.Check(w.t, err)
	for name, node := range tables {
		for _, v := range w.versions(w.conn, name, node, "true") {
			s.rows[v] = true
		}
	}
	return s
}

func (w *writer) versions(c *pgx.Conn, table string, node missing.Node, where string) (all []version) {
	w.t.Helper()
	rows, err := c.Query(w.t.Context(), fmt.Sprintf("select ctid, xmin from %s where %s", table, where))
	postgrestest.Check(w.t, err)
	var tid pgtype.TID
	var xmin uint32
	_, err = pgx.ForEachRow(rows, []any{&tid, &xmin}, func() error {
		all = append(all, version{node, missing.TID{Block: tid.BlockNumber, Offset: tid.OffsetNumber}, xmin})
		return nil
	})
	postgrestest.Check(w.t, err)
	return all
}

// part is where the new primary parts from it.
func (w *writer) part() {
	w.t.Helper()
	w.before = w.look()
	w.fork = w.at()
}

// compare holds a scan against what can be seen at the fork and now, and returns how many row versions appeared and vanished.
func (w *writer) compare(c *missing.Changes) (appeared, vanished int) {
	t := w.t
	t.Helper()
	after := w.look()
	whole := map[missing.Node]bool{} // files that are not compared by place
	for oid, file := range after.files {
		if old, ok := w.before.files[oid]; !ok || old != file {
			whole[file] = true
		}
	}
	for oid, file := range w.before.files {
		if after.files[oid] != file {
			if whole[file] = true; !c.Replaced[file] {
				t.Errorf("file %v is gone, and the scan does not say so", file)
			}
		}
	}
	wrong := 0
	complain := func(format string, args ...any) {
		if wrong++; wrong < 10 {
			t.Errorf(format, args...)
		}
	}
	for v := range after.rows {
		touched := c.Tables[v.node]
		switch is, says := !w.before.rows[v], touched != nil && touched.New.Has(v.tid); {
		case whole[v.node]:
		case is != says:
			complain("%v: new %t, the scan says %t", v, is, says)
		case is:
			if appeared++; c.Commits[v.xmin].XID != v.xmin || c.Commits[v.xmin].LSN <= w.fork {
				complain("%v: the scan knows %+v of its transaction", v, c.Commits[v.xmin])
			}
		}
	}
	for v := range w.before.rows {
		touched := c.Tables[v.node]
		switch is, says := !after.rows[v], touched != nil && touched.Old.Has(v.tid); {
		case whole[v.node]:
		case is != says:
			complain("%v: removed %t, the scan says %t", v, is, says)
		case is:
			vanished++
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
	return appeared, vanished
}
