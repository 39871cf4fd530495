package missing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// TestMergeBeyondWorkMem merges more changes than fit in the memory of one step of a query: rows without a key, and transactions that are held
// since a part of them conflicts. What a query then looks through for each row again takes hours, where it takes seconds.
func TestMergeBeyondWorkMem(t *testing.T) {
	const n = 60_000
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"work_mem": "64kB", "max_wal_size": "4GB"})
		postgrestest.Exec(t, s, "postgres", fmt.Sprintf(`create table log (text text, n int); insert into log select 'line ' || i, i from generate_series(1, %d) i;
			create table items (id int primary key, v int); insert into items select i, case when i %% 2 = 0 then 0 else 7 end from generate_series(1, %[1]d / 2) i; analyze`, 2*n))
		set := manyTransactions(t, n)
		conn := postgrestest.Open(t, s, "postgres")
		defer conn.Close(context.Background())
		ctx, cancel := context.WithTimeout(t.Context(), 3*devtest.Patience)
		defer cancel()
		sum, err := missing.Merge(ctx, missing.MergeInput{Conn: conn, Apply: true, Whole: true, Undo: func(context.Context, missing.Undo) error { return nil },
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(set)), nil }})
		postgrestest.Check(t, err)
		if c := sum.Classes; c[missing.Missing] != n || c[missing.BothUpdated] != n/2 || c[missing.Held] != n/2 || sum.Applied != n {
			t.Errorf("merged %+v", sum)
		}
		if got := postgrestest.Query(t, s, "postgres", "select count(*) from log where n % 2 = 0"); got != fmt.Sprint(n-n/2) {
			t.Errorf("%s rows without a key are left", got)
		}
	})
}

// manyTransactions is a set of transactions that each change an item from 0 to 1, and remove a line of a log.
func manyTransactions(t *testing.T, n int) []byte {
	t.Helper()
	var set bytes.Buffer
	w, err := missing.NewWriter(&set, missing.Header{Tables: []missing.Table{
		{Schema: "public", Name: "items", Key: []int{0}, Columns: []missing.Column{{Name: "id", Type: "integer"}, {Name: "v", Type: "integer"}}},
		{Schema: "public", Name: "log", Columns: []missing.Column{{Name: "text", Type: "text"}, {Name: "n", Type: "integer"}}}}})
	postgrestest.Check(t, err)
	line := func(table int, side missing.Side, i int, values ...string) {
		l := missing.Line{Table: table, Side: side, XID: uint32(1000 + i)}
		for _, v := range values {
			l.Values = append(l.Values, &v)
		}
		postgrestest.Check(t, w.Write(l))
	}
	for i := 1; i <= n; i++ {
		postgrestest.Check(t, w.Write(missing.Line{Commit: &missing.Commit{XID: uint32(1000 + i), Time: time.Now(), LSN: 1}}))
		line(0, missing.Old, i, fmt.Sprint(i), "0")
		line(0, missing.New, i, fmt.Sprint(i), "1")
	}
	for i := 1; i <= n; i++ {
		line(1, missing.Old, i, fmt.Sprintf("line %d", i), fmt.Sprint(i))
	}
	postgrestest.Check(t, w.Close())
	return set.Bytes()
}
