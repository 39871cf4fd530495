package missing_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// race are tables that a merge and writers contend for. Writers count up n, which the old line never changed; so no count may get lost.
const race = `
create schema h91; set search_path = h91;
create table parent (id int primary key, v text);
create table child (id int primary key, parent int not null references parent, v text);
create table number (id int primary key, u int unique, v text, n int not null default 0);
insert into parent select i, 'fork' from generate_series(1, 300) i;
insert into number (id, u, v) select i, i, 'fork' from generate_series(1, 300) i`

// raceMissing is what the old line did: children of parents that writers delete, parents deleted that writers want children of, unique values
// that writers take, updates of rows that writers count in.
const raceMissing = `set search_path = h91;
insert into child select i, i, 'theirs' from generate_series(1, 100) i;
delete from parent where id > 200;
insert into parent select i, 'theirs' from generate_series(301, 400) i;
update number set v = 'theirs' where id <= 150;
insert into number (id, u, v) select i, i, 'theirs' from generate_series(301, 400) i;
delete from number where id > 250 and id <= 300`

// While clients write to the tables that are merged, keys hold, nothing that a client committed is lost, and what is said to be merged is.
func TestWritersDuringAMerge(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		o := &opening{line: startLine(t, bin, variant{}), bin: bin}
		d := databases[0]
		postgrestest.Exec(t, o.old, d, race)
		fork := o.position()
		postgrestest.Exec(t, o.old, d, raceMissing)
		end := o.end()
		check(t, o.old.Kill(t.Context()))
		o.fork = o.recordEnd(fork)
		found := o.find(tip{at: end})
		o.active = o.activeAt(o.fork)
		o.mergeAmongWriters(d, found[d])
	})
}

// counted is what writers have committed.
type counted [401]atomic.Int64

func (o *opening) mergeAmongWriters(database string, set []byte) {
	t := o.t
	var counts counted
	var written atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	for n := range 4 {
		g.Go(func() error { return o.write(ctx, database, n, &counts, &written) })
	}
	more := func() {
		from := written.Load()
		devtest.Until(t, "writers write", func() bool { return written.Load() > from+60 })
	}
	more()
	var undos []*missing.Undo
	applied := map[string]bool{}
	for range 3 {
		done := o.merge(set, database, missing.MergeInput{Apply: true, Merged: merged(undos...), Undo: func(context.Context, missing.Undo) error { more(); return nil }})
		undos = append(undos, done.undo)
		for _, c := range done.changes {
			if c.Applied {
				applied[c.Table+" "+*c.Key[0]] = true
			}
		}
		more()
	}
	cancel()
	check(t, g.Wait())
	o.sound(database)
	o.nothingLost(database, &counts, applied)
}

// write does what contends with the merge, until ctx ends.
func (o *opening) write(ctx context.Context, database string, n int, counts *counted, written *atomic.Int64) error {
	conn, err := o.active.Open(o.t.Context(), database)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(o.t.Context(), "set search_path = h91; set lock_timeout = '50ms'").ReadAll(); err != nil {
		return err
	}
	r := random(o.t.Name(), "writer", n)
	for ctx.Err() == nil {
		id := 1 + r.IntN(400)
		sql := []string{
			fmt.Sprintf("delete from parent where id = %d and id <= 50", id),
			fmt.Sprintf("insert into child values (%d, %d, 'ours')", 1000+r.IntN(1000), id),
			fmt.Sprintf("delete from child where id >= 1000 and parent = %d", id),
			fmt.Sprintf("insert into number (id, u, v) values (%d, %d, 'ours')", 1000+r.IntN(1000), 300+r.IntN(20)),
			fmt.Sprintf("delete from number where id >= 1000 and u = %d", 300+r.IntN(20)),
		}[r.IntN(5)]
		count := r.IntN(2) == 0 && id%5 == 0
		if count {
			sql = fmt.Sprintf("update number set n = n + 1 where id = %d", id)
		}
		results, err := conn.PgConn().Exec(o.t.Context(), sql).ReadAll()
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused): // a key, a lock, a deadlock
		case err != nil:
			return err
		case count && results[0].CommandTag.RowsAffected() == 1:
			counts[id].Add(1)
		}
		written.Add(1)
	}
	return nil
}

// nothingLost checks that each count is there, and each row that is said to be merged.
func (o *opening) nothingLost(database string, counts *counted, applied map[string]bool) {
	st := stateOf(o.t, o.active, database)
	number := st["h91.number"].byKey([]string{"id"}, []string{"v", "n"})
	kept := 0
	for id := 1; id <= 400; id++ {
		row := number[fmt.Sprintf("%d|", id)]
		merged := applied[fmt.Sprintf("number %d", id)]
		theirs := id <= 150 || id > 300
		gone := id > 250 && id <= 300
		switch {
		case gone && merged:
			if row != nil {
				o.t.Errorf("number %d was deleted by a merge, and is there", id)
			}
		case id > 300 && !merged:
			if row != nil {
				o.t.Errorf("number %d was not merged, and is there", id)
			}
		case row == nil:
			o.t.Errorf("number %d is not there", id)
		case *row[1] != fmt.Sprint(counts[id].Load()):
			o.t.Errorf("number %d has counted to %s, and clients to %d", id, *row[1], counts[id].Load())
		case (*row[0] == "theirs") != (theirs && merged):
			o.t.Errorf("number %d says %s, and was merged: %t", id, *row[0], merged)
		default:
			kept++
		}
	}
	parents := st["h91.parent"].byKey([]string{"id"}, []string{"v"})
	children := st["h91.child"].byKey([]string{"id"}, []string{"v"})
	for id := 1; id <= 100; id++ {
		if key := fmt.Sprintf("%d|", id); applied["child "+fmt.Sprint(id)] != (children[key] != nil) {
			o.t.Errorf("child %d: merged %t, and there %t (its parent: %t)", id, applied["child "+fmt.Sprint(id)], children[key] != nil, parents[key] != nil)
		}
	}
	o.t.Logf("%d changes were merged among writers; %d numbers are as they should be", len(applied), kept)
	if len(applied) < 200 {
		o.t.Errorf("only %d changes were merged", len(applied))
	}
}
