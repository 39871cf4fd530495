package missing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// TestMergeOfManyChanges merges as many changes as SMARTDR_TEST_CHANGES says, and watches that memory does not grow with them.
func TestMergeOfManyChanges(t *testing.T) {
	n := 20_000
	if wanted := os.Getenv("SMARTDR_TEST_CHANGES"); wanted != "" {
		n, _ = strconv.Atoi(wanted)
	}
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"max_wal_size": "4GB"})
		postgrestest.Exec(t, s, "postgres", fmt.Sprintf(`create table parents (id int8 primary key, email text unique); create table children (id int8 primary key, parent int8 references parents, note text);
			create index on children (parent); insert into parents select i, 'p' || i || '@example.com' from generate_series(1, %d) i; insert into children select i, i, repeat('x', 100) from generate_series(1, %[1]d) i; analyze`, n))
		var set bytes.Buffer
		columns := func(names ...string) (all []missing.Column) {
			for i, name := range names {
				all = append(all, missing.Column{Name: name, Type: map[bool]string{true: "bigint", false: "text"}[name == "id" || name == "parent"], Number: int16(i + 1)})
			}
			return all
		}
		w, err := missing.NewWriter(&set, missing.Header{Tables: []missing.Table{
			{Schema: "public", Name: "parents", Columns: columns("id", "email"), Key: []int{0}},
			{Schema: "public", Name: "children", Columns: columns("id", "parent", "note"), Key: []int{0}}}})
		postgrestest.Check(t, err)
		line := func(table int, side missing.Side, values ...string) {
			l := missing.Line{Table: table, Side: side, XID: 700}
			for _, v := range values {
				l.Values = append(l.Values, &v)
			}
			postgrestest.Check(t, w.Write(l))
		}
		postgrestest.Check(t, w.Write(missing.Line{Commit: &missing.Commit{XID: 700, Time: time.Now(), LSN: 1}}))
		for i := n + 1; i <= n+n/4; i++ {
			line(0, missing.New, strconv.Itoa(i), fmt.Sprintf("p%d@example.com", i))
		}
		for i := 1; i <= n/4; i++ { // updates
			line(1, missing.Old, strconv.Itoa(i), strconv.Itoa(i), string(bytes.Repeat([]byte("x"), 100)))
			line(1, missing.New, strconv.Itoa(i), strconv.Itoa(n+i), string(bytes.Repeat([]byte("y"), 100)))
		}
		for i := n/4 + 1; i <= n/2; i++ { // deletes
			line(1, missing.Old, strconv.Itoa(i), strconv.Itoa(i), string(bytes.Repeat([]byte("x"), 100)))
		}
		for i := n + 1; i <= n+n/4; i++ {
			line(1, missing.New, strconv.Itoa(i), strconv.Itoa(i), "new")
		}
		postgrestest.Check(t, w.Close())
		conn := postgrestest.Open(t, s, "postgres")
		defer conn.Close(context.Background())
		reported, undone, start := 0, 0, time.Now()
		last, phase := start, ""
		in := missing.MergeInput{Conn: conn, Apply: true, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(set.Bytes())), nil },
			Report: func(missing.Change) error { reported++; return nil },
			Progress: func(p string, _, _ int64) {
				t.Logf("%6.2fs %s", time.Since(last).Seconds(), phase)
				last, phase = time.Now(), p
			},
			Undo: func(_ context.Context, u missing.Undo) error {
				t.Logf("%6.2fs %s, report", time.Since(last).Seconds(), phase)
				last = time.Now()
				for _, err := range u.Changes {
					if err != nil {
						return err
					}
					undone++
				}
				t.Logf("%6.2fs undo", time.Since(last).Seconds())
				return nil
			}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		sum, err := missing.Merge(t.Context(), in)
		runtime.ReadMemStats(&after)
		postgrestest.Check(t, err)
		t.Logf("%d changes in %s, %d MiB of memory taken", reported, time.Since(start), (after.Sys-before.Sys)>>20)
		if sum.Applied != int64(n/4*4) || reported != undone || reported != n/4*4 {
			t.Errorf("applied %d, reported %d, undone %d, of %d", sum.Applied, reported, undone, n/4*4)
		}
	})
}
