package restore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// event is something that a server did, with the positions between which its record ends.
type event struct {
	xid           uint32
	name          string    // of a restore point
	time          time.Time // when it committed, as the server itself tells later; zero: it did not
	before, after wal.LSN
}

// record lets a server do things and writes down what it says of them.
type record struct {
	t      *testing.T
	src    *source
	conn   *pgx.Conn
	rnd    *rand.Rand
	events []event
	names  map[string]int // newest event of each name
	many   int            // the event that has many subtransactions
}

func (r *record) exec(sql string) {
	r.t.Helper()
	_, err := r.conn.Exec(r.t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	check(r.t, err)
}

func (r *record) ask(sql string) (text string) {
	r.t.Helper()
	check(r.t, r.conn.QueryRow(r.t.Context(), "SELECT ("+sql+")::text").Scan(&text))
	return text
}

func (r *record) at() wal.LSN {
	r.t.Helper()
	l, err := wal.ParseLSN(r.ask("pg_current_wal_insert_lsn()"))
	check(r.t, err)
	return l
}

// transaction runs one and ends it by a statement.
func (r *record) transaction(n int) {
	r.exec("BEGIN")
	r.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, repeat('x', %d))", n, r.rnd.IntN(3000)))
	xid, err := strconv.ParseUint(r.ask("pg_current_xact_id()"), 10, 64)
	check(r.t, err)
	e := event{xid: uint32(xid)}
	ends := "COMMIT"
	switch r.rnd.IntN(8) {
	case 0: // of a subtransaction, which PostgreSQL does not name
		r.exec("SAVEPOINT s; INSERT INTO t VALUES (-1, ''); RELEASE s")
	case 1:
		r.exec("PREPARE TRANSACTION 'p'")
		r.exec("INSERT INTO other VALUES (1)")
		r.events = append(r.events, event{}) // that commit's, which nobody asks for
		ends = "COMMIT PREPARED 'p'"
	case 2:
		ends = "ROLLBACK"
	case 3:
		r.exec("PREPARE TRANSACTION 'p'")
		ends = "ROLLBACK PREPARED 'p'"
	}
	e.before = r.at()
	r.exec(ends)
	if strings.HasPrefix(ends, "ROLLBACK") {
		r.exec("INSERT INTO other VALUES (1)") // which flushes it
		e.after = r.at()
		r.events = append(r.events, e, event{})
		return
	}
	r.committed(e)
}

// committed adds a transaction that has just committed.
func (r *record) committed(e event) {
	r.t.Helper()
	e.after = r.at()
	us, err := strconv.ParseInt(r.ask(fmt.Sprintf("(extract(epoch FROM pg_xact_commit_timestamp('%d'::xid)) * 1000000)::bigint", e.xid)), 10, 64)
	check(r.t, err)
	e.time = time.UnixMicro(us)
	r.events = append(r.events, e)
}

// manySubtransactions commits a prepared transaction with more subtransactions than fit in what is read of most records: the record that ends it
// names itself behind them.
func (r *record) manySubtransactions() {
	r.exec("BEGIN")
	xid, err := strconv.ParseUint(r.ask("pg_current_xact_id()"), 10, 64)
	check(r.t, err)
	r.exec("DO $$ BEGIN FOR i IN 1..20000 LOOP BEGIN INSERT INTO other VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$")
	r.exec("PREPARE TRANSACTION 'p'")
	e := event{xid: uint32(xid), before: r.at()}
	r.exec("COMMIT PREPARED 'p'")
	r.committed(e)
	r.many = len(r.events) - 1
}

func (r *record) restorePoint(name string) {
	e := event{name: name, before: r.at()}
	r.exec("SELECT pg_create_restore_point('" + name + "')")
	e.after = r.at()
	r.names[name] = len(r.events)
	r.events = append(r.events, e)
}

// shipTelling stores WAL as shippers do: each object tells of which times the commits before its end are.
func (l *line) shipTelling(t *testing.T, to wal.LSN, n int) {
	t.Helper()
	scanner := wal.NewScanner(wal.DefaultSegmentSize)
	latest := archive.Latest{Since: l.at}
	for raw := l.src.bytes(t, l.tli, l.at, to); len(raw) > 0; {
		k := min(n, len(raw))
		check(t, scanner.Feed(l.at, raw[:k], func(r wal.Record) {
			if r.Commit != nil && r.Commit.Time.After(latest.Time) {
				latest.Time = r.Commit.Time
			}
		}))
		s := l.seal(t, raw[:k])
		told := latest
		s.Header.Latest = &told
		s, err := archive.Seal(s.Header, raw[:k])
		check(t, err)
		_, err = l.archive().Put(t.Context(), s)
		check(t, err)
		raw = raw[k:]
	}
}

// Every point that is named by a time, a transaction, an LSN or a restore point has exactly the commits that the server itself says are before
// it: plain ones and prepared ones, with those rolled back between them, over several WAL files.
func TestPointsOfARecordedHistory(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil, func(s *postgres.Server) {
			check(t, s.Stop(t.Context(), postgres.Fast))
			s.Settings["max_prepared_transactions"], s.Settings["track_commit_timestamp"] = "5", "on"
			check(t, s.Start(t.Context()))
			postgrestest.Exec(t, s, "postgres", "CREATE TABLE t (n int, s text); CREATE TABLE other (n int)")
		})
		l := newLine(t, src)
		r := &record{t: t, src: src, conn: postgrestest.Open(t, src.server, "postgres"), rnd: rand.New(rand.NewPCG(7, 1)), names: map[string]int{}}
		defer r.conn.Close(context.Background())
		began := clock(t, src.server)
		for n := range 120 {
			switch n % 30 {
			case 10:
				r.restorePoint(fmt.Sprintf("release-%d", n/60)) // each name twice
			case 20:
				r.exec("SELECT pg_switch_wal()")
			case 25:
				r.exec("INSERT INTO other SELECT generate_series(1, 30000)")
				r.events = append(r.events, event{})
			}
			r.transaction(n)
			if n == 60 {
				r.manySubtransactions()
			}
		}
		end := src.end(t)
		l.shipTelling(t, end, 1<<20)
		r.judge(l, began)
	})
}

func (r *record) judge(l *line, began time.Time) {
	t := r.t
	var counters objectstore.Counters
	counted := objectstore.WithCounters(l.store, &counters)
	leg := restore.Leg{Archive: archive.Open(counted, "prod", "orders", l.lineage.ID), Lineage: l.lineage, From: l.lineage.Start}
	find := func(c restore.PointChoice) (restore.Point, error) {
		c.Consistent, c.StartedAt = l.src.backupEnd, began
		return restore.FindPoint(t.Context(), []restore.Leg{leg}, wal.DefaultSegmentSize, c)
	}
	for range 100 {
		i := r.rnd.IntN(len(r.events))
		e := r.events[i]
		if e.before == 0 {
			continue
		}
		choices := []restore.PointChoice{{LSN: e.after}}
		if e.name != "" && r.names[e.name] == i {
			choices = append(choices, restore.PointChoice{Name: e.name})
		}
		if e.xid != 0 {
			choices = append(choices, restore.PointChoice{XID: e.xid})
		}
		if !e.time.IsZero() {
			choices = append(choices, restore.PointChoice{Time: e.time}, restore.PointChoice{Time: e.time.Add(time.Microsecond)})
		}
		c := choices[r.rnd.IntN(len(choices))]
		p, err := find(c)
		if err != nil {
			t.Errorf("event %d, %+v: %v", i, c, err)
			continue
		}
		r.compare(i, c, p)
	}
	many := restore.PointChoice{XID: r.events[r.many].xid}
	if p, err := find(many); err != nil {
		t.Errorf("a transaction of many subtransactions: %v", err)
	} else {
		r.compare(r.many, many, p)
	}
	before := counters.Gets.Load()
	if _, err := find(restore.PointChoice{Time: r.events[len(r.events)-1].time}); err != nil {
		t.Error(err)
	}
	// Of the way to a late moment the headers that bisect it are read, and the end.
	if n, objects := counters.Gets.Load()-before, int64(l.at-l.src.start)>>20; n > objects/2+8 {
		t.Errorf("%d requests to find a late moment among %d objects", n, objects)
	} else {
		t.Logf("%d requests to find a late moment among %d objects", n, objects)
	}
	r.refused(l, find)
}

// compare checks which commits are in.
func (r *record) compare(i int, c restore.PointChoice, p restore.Point) {
	e := r.events[i]
	last, next := event{}, event{}
	for _, o := range r.events[:i+1] {
		if !o.time.IsZero() {
			last = o
		}
	}
	for k := len(r.events) - 1; k > i; k-- {
		if !r.events[k].time.IsZero() {
			next = r.events[k]
		}
	}
	switch {
	case p.End.LSN <= e.before, c.LSN != 0 && p.End.LSN > c.LSN, c.XID+uint32(len(c.Name)) != 0 && p.End.LSN > e.after:
		r.t.Errorf("event %d (%s-%s), %+v: the point is %s", i, e.before, e.after, c, p.End)
	case !e.time.IsZero() && (!p.LastCommit.Time.Equal(e.time) || p.LastCommit.LSN <= e.before || p.LastCommit.LSN > e.after):
		r.t.Errorf("event %d of %s, %+v: the last commit is %+v", i, e.time, c, p.LastCommit)
	case p.LastCommit.Time.Before(last.time), next.before != 0 && p.End.LSN > next.after:
		r.t.Errorf("event %d, %+v: the last commit is %+v, want that of %s and nothing of %s", i, c, p.LastCommit, last.time, next.time)
	case next.before != 0 && p.NextCommit.LSN == 0 && !c.Time.IsZero():
		r.t.Errorf("event %d, %+v: no next commit", i, c)
	}
}

// refused asks for what is not there.
func (r *record) refused(l *line, find func(restore.PointChoice) (restore.Point, error)) {
	t := r.t
	last := r.events[len(r.events)-1]
	for name, c := range map[string]struct {
		choice restore.PointChoice
		hint   string
	}{
		"a transaction that is yet to come":  {restore.PointChoice{XID: last.xid + 1000}, "The first one that ended there is"},
		"a restore point that is not there":  {restore.PointChoice{Name: "Release-9"}, `There are "release-`},
		"an LSN behind the end":              {restore.PointChoice{LSN: l.at + 1<<20}, "0/"},
		"an LSN before the snapshot's end":   {restore.PointChoice{LSN: l.src.backupEnd - 8}, l.src.backupEnd.String()},
		"a time before the snapshot":         {restore.PointChoice{Time: r.events[0].time.Add(-time.Hour)}, l.src.backupEnd.String()},
		"a transaction before the snapshot":  {restore.PointChoice{XID: 3}, "The first one that ended there is"},
		"a restore point that is long named": {restore.PointChoice{Name: strings.Repeat("n", 200)}, "There are"},
	} {
		_, err := find(c.choice)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
		if named := c.choice.XID != 0 || c.choice.Name != ""; named != errors.Is(err, restore.ErrNotFound) || named && !errors.Is(err, restore.ErrTooEarly) {
			t.Errorf("%s: not found or too early: %v", name, err)
		}
	}
	for at := wal.DefaultSegmentSize.Next(l.src.backupEnd); at < l.at; at = wal.DefaultSegmentSize.Next(at) {
		p, err := find(restore.PointChoice{LSN: at})
		if err != nil || p.End.LSN > at {
			t.Errorf("the start of the file at %s: %+v, %v", at, p, err)
		}
	}
	latest, err := find(restore.PointChoice{Time: last.time.Add(time.Hour)})
	if err != nil || !latest.Latest || latest.End.LSN != l.at {
		t.Errorf("a time behind everything: %+v, %v, want %s", latest, err, l.at)
	}
}
