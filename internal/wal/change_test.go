package wal_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// say is what a record says of rows and transactions: its kind, and the rest.
func say(r wal.Record) (kind, text string, err error) {
	if c, ok, err := r.RowChange(); ok || err != nil {
		raw, _ := r.Raw()
		kind = fmt.Sprintf("row-%d-%02X", raw[17], raw[16])
		if len(raw) > 25 && raw[25]&0x10 != 0 {
			kind += "-image"
		}
		return kind, fmt.Sprintf("%d %v new %s old %s", c.XID, c.Node, rows(c.New), rows(c.Old)), err
	}
	if e, ok, err := r.WholeEnding(); ok || err != nil {
		return fmt.Sprintf("end-%t-%t-%t-%t", e.Committed, e.Prepared, len(e.Removed) > 0, len(e.XIDs) > 1),
			fmt.Sprintf("%s top %d of %v in %d removed %v %s", e.Time.Format("2006"), e.Top, e.XIDs, e.Database, e.Removed, e.GID), err
	}
	if p, ok, err := r.Preparation(); ok || err != nil {
		return "prepare", fmt.Sprintf("%+v", p), err
	}
	if x, ok, err := r.Running(); ok || err != nil {
		return fmt.Sprintf("running-%t", x.OldestXID != 0), fmt.Sprintf("%+v", x), err
	}
	if n, ok, err := r.Sequence(); ok || err != nil {
		return "sequence", fmt.Sprintf("%v", n), err
	}
	return "", "", nil
}

func rows(r wal.Rows) string {
	return fmt.Sprintf("%d:%v", r.Block, slices.Collect(r.Offsets()))
}

// example is a record that a server wrote.
type example struct {
	kind, text string
	magic      uint16
	raw        []byte
}

func examples(t testing.TB) (all []example) {
	t.Helper()
	files, err := filepath.Glob("testdata/records-*.txt")
	postgrestest.Check(t, err)
	for _, name := range files {
		f, err := os.Open(name)
		postgrestest.Check(t, err)
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			part := strings.SplitN(lines.Text(), " ", 4)
			x := example{kind: part[0], text: part[3]}
			_, err := fmt.Sscanf(part[1], "%X", &x.magic)
			postgrestest.Check(t, err)
			x.raw, err = hex.DecodeString(part[2])
			postgrestest.Check(t, err)
			all = append(all, x)
		}
		postgrestest.Check(t, lines.Err())
	}
	if len(all) < 20 {
		t.Fatalf("%d examples", len(all))
	}
	return all
}

func TestARecordSaysWhatItDid(t *testing.T) {
	for _, x := range examples(t) {
		kind, text, err := say(wal.RecordOf(x.raw, x.magic))
		if err != nil || kind != x.kind || text != x.text {
			t.Errorf("%s (%04X): want %s\ngot %s %s %v", x.kind, x.magic, x.text, kind, text, err)
		}
	}
}

// A record of which something is missing is refused: it never says less than it did.
func TestARecordThatIsCutIsRefused(t *testing.T) {
	for _, x := range examples(t) {
		needed, main := len(x.raw), len(wal.MainData(x.raw))
		switch {
		case strings.HasPrefix(x.kind, "row"):
			needed -= max(0, main-3) // the shortest says all in 3 bytes
		case strings.HasPrefix(x.kind, "running"), x.kind == "prepare":
			needed -= main
		case x.kind == "sequence":
			needed = 24 + 20 // its block's header
		}
		for n := 24; n < needed; n++ {
			if kind, text, err := say(wal.RecordOf(x.raw[:n], x.magic)); err == nil {
				t.Errorf("%d of %d bytes of a %s record say %s %s", n, len(x.raw), x.kind, kind, text)
			}
		}
	}
}

// Statistics that a transaction drops have another size from PostgreSQL 18 on.
func TestAnEndingOfAnotherVersionIsRefused(t *testing.T) {
	other := 0
	for _, x := range examples(t) {
		if !strings.HasPrefix(x.kind, "end-true") || !strings.Contains(x.kind[len("end-true-true"):], "true-") {
			continue
		}
		wrong := uint16(0xD118)
		if x.magic == wrong {
			wrong = 0xD116
		}
		for _, magic := range []uint16{wrong, 0} {
			if _, text, err := say(wal.RecordOf(x.raw, magic)); err == nil {
				t.Errorf("written by %04X, read as %04X: %s", x.magic, magic, text)
			}
			other++
		}
	}
	if other == 0 {
		t.Error("no transaction dropped a table")
	}
}

var kinds = []string{
	"row-10-00", "row-10-80", "row-10-00-image", "row-10-10", "row-10-10-image", "row-10-20", "row-10-A0", "row-10-40", "row-9-50", "row-9-D0", "row-9-50-image",
	"end-true-false-false-false", "end-true-false-true-false", "end-true-false-false-true", "end-false-false-false-true", "end-true-true-true-true", "end-false-true-false-false",
	"prepare", "running-true", "running-false", "sequence",
}

// RecordsVariable asks for the examples in testdata to be written anew.
const RecordsVariable = "SMARTDR_TEST_WRITE_RECORDS"

func TestServersWriteRecordsThatAreUnderstood(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"wal_level": "logical", "max_prepared_transactions": "5", "wal_compression": "on", "autovacuum": "off"})
		conn := postgrestest.Open(t, s, "postgres")
		defer conn.Close(context.Background())
		write(t, conn)
		found := map[string]example{}
		scanner, size := wal.NewScanner(wal.DefaultSegmentSize), wal.DefaultSegmentSize
		end := flushed(t, conn)
		for at := size.Next(0); at < end; at = size.Next(at) {
			b, err := os.ReadFile(filepath.Join(s.DataDir, "pg_wal", size.FileName(1, at)))
			postgrestest.Check(t, err)
			postgrestest.Check(t, scanner.Feed(at, b[:min(int(end-at), len(b))], func(r wal.Record) {
				kind, text, err := say(r)
				if err != nil {
					t.Error(err)
				}
				raw, magic := r.Raw()
				if old, ok := found[kind]; kind != "" && (!ok || r.XID != 0 && len(old.raw) > len(raw)) {
					found[kind] = example{kind, text, magic, slices.Clone(raw)}
				}
			}))
		}
		for _, kind := range kinds {
			if found[kind].kind == "" {
				t.Errorf("no record of kind %s", kind)
			}
		}
		if os.Getenv(RecordsVariable) != "" {
			keep(t, bin.Major(), found)
		}
	})
}

// write makes the server write a record of each kind.
func write(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, sql := range []string{
		"create table a (i int primary key, s text)", "create table b (i int)", "create table c (i int)", "create sequence q",
		"insert into a select i, repeat('x', i % 50) from generate_series(1, 600) i", "checkpoint", "insert into a values (601)", "update a set i = -1 where i = 1",
		"select count(*) from a", "checkpoint", "delete from a where i = 300", "delete from a where i = 3", "update a set s = 'y' where i > 590", "update a set s = repeat('z', 1900) where i < 20",
		"begin; savepoint x; insert into a values (1000); release x; insert into a values (1001); commit", "begin; savepoint x; insert into a values (1002); release x; rollback",
		"begin; savepoint x; drop table b; release x; prepare transaction 'drop'", "commit prepared 'drop'", "begin; insert into a values (1003); prepare transaction 'not'",
		"rollback prepared 'not'", "drop table c", "checkpoint", "select nextval('q')",
		"begin; insert into a values (1004); savepoint x; insert into a values (1005); rollback to x; rollback",
	} {
		if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for from := int32(2000); from < 2800; from += 200 {
		list := [][]any{}
		for i := from; i < from+[]int32{3, 200}[from/200%2]; i++ {
			list = append(list, []any{i, "copied"})
		}
		if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"a"}, []string{"i", "s"}, pgx.CopyFromRows(list)); err != nil {
			t.Fatal(err)
		}
	}
}

func flushed(t *testing.T, conn *pgx.Conn) wal.LSN {
	t.Helper()
	var text string
	postgrestest.Check(t, conn.QueryRow(t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&text))
	l, err := wal.ParseLSN(text)
	postgrestest.Check(t, err)
	return l
}

func keep(t *testing.T, major int, found map[string]example) {
	t.Helper()
	var out strings.Builder
	for _, kind := range kinds {
		x := found[kind]
		fmt.Fprintf(&out, "%s %04X %x %s\n", kind, x.magic, x.raw, x.text)
	}
	postgrestest.Check(t, os.MkdirAll("testdata", 0o755))
	postgrestest.Check(t, os.WriteFile(fmt.Sprintf("testdata/records-%d.txt", major), []byte(out.String()), 0o644))
}

func FuzzRecord(f *testing.F) {
	for _, x := range examples(f) {
		f.Add(x.raw, x.magic)
	}
	f.Fuzz(func(t *testing.T, raw []byte, magic uint16) {
		if len(raw) < 24 {
			return
		}
		r := wal.RecordOf(raw, magic)
		c, ok, err := r.RowChange()
		if ok && err == nil {
			for o := range c.New.Offsets() {
				if o == 0 {
					t.Error("row version 0")
				}
			}
			if c.New.Len()+c.Old.Len() > len(raw)+1<<16 {
				t.Errorf("%d bytes name %d row versions", len(raw), c.New.Len()+c.Old.Len())
			}
		}
		_, _, _ = say(r)
		_, _ = r.Ending()
		_, _ = r.Behind(), r.Database()
	})
}
