package missing_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// session is one of several that write by turns, each to rows of its own, so that none waits for another.
type session struct {
	w        *writer
	conn     *pgx.Conn
	rand     *rand.Rand
	n        int // which
	next     int // key
	open     bool
	points   int      // savepoints
	prepared []string // transactions that wait
	top      uint32   // the open transaction
	removed  map[version]uint32
}

const sessions = 5

// key is a row of this session that may be there.
func (s *session) key() int { return s.rand.IntN(s.next/sessions+100)*sessions + s.n }

func (s *session) fresh() int { s.next++; return (s.next+100)*sessions + s.n }

func (s *session) begin() {
	if s.open {
		return
	}
	run(s.w.t, s.conn, "begin")
	s.open, s.points = true, 0
	s.top = uint32(value[int64](s.w.t, s.conn, "select pg_current_xact_id()::text::bigint"))
}

func (s *session) end(how string) {
	if s.open {
		run(s.w.t, s.conn, how)
	}
	s.open = false
}

// remember notes which row versions the next statement removes.
func (s *session) remember(table, where string) {
	node := s.w.before.node(s.w, table)
	for _, v := range s.w.versions(s.conn, table, node, where) {
		s.removed[v] = s.top
	}
}

func (s *session) change(table, where, sql string) {
	s.remember(table, where)
	run(s.w.t, s.conn, fmt.Sprintf(sql, where))
}

// step does one thing.
func (s *session) step() {
	t := s.w.t
	if len(s.prepared) > 0 { // their rows are locked
		if s.rand.IntN(8) == 0 {
			s.resolve()
		}
		return
	}
	s.begin()
	id := fmt.Sprintf("id = %d", s.key())
	some := fmt.Sprintf("id %% %d = %d and id between %d and %d", sessions, s.n, s.key(), s.key())
	switch s.rand.IntN(20) {
	case 0, 1:
		run(t, s.conn, fmt.Sprintf("insert into t values (%d, 1, 'v', nullif(repeat('%d', %d), ''))", s.fresh(), s.n+10, s.rand.IntN(3)*3000))
	case 2:
		rows := make([][]any, 1+s.rand.IntN(300))
		for i := range rows {
			rows[i] = []any{int32(s.fresh()), int32(i), "copied"}
		}
		_, err := s.conn.CopyFrom(t.Context(), pgx.Identifier{"t"}, []string{"id", "n", "v"}, pgx.CopyFromRows(rows))
		postgrestest.Check(t, err)
	case 3, 4:
		s.change("t", id, "update t set n = n + 1 where %s") // often on the same page (HOT)
	case 5:
		s.change("t", some, "update t set v = v || 'x' where %s")
	case 6:
		s.change("t", id, "update t set big = repeat(md5(random()::text), 200) where %s")
	case 7:
		s.change("t", id, "delete from t where %s")
	case 8:
		s.change("t", some, "delete from t where %s")
	case 9, 10:
		k := s.key()
		s.remember("u", fmt.Sprintf("k = %d", k))
		run(t, s.conn, fmt.Sprintf("insert into u values (%d, 1) on conflict (k) do update set n = u.n + 1", k))
	case 11:
		run(t, s.conn, fmt.Sprintf("select from t where %s for update", some))
	case 12, 13:
		s.points++
		run(t, s.conn, fmt.Sprintf("savepoint p%d", s.points))
	case 14:
		if s.points > 0 {
			run(t, s.conn, fmt.Sprintf("rollback to p%d", 1+s.rand.IntN(s.points)))
			s.end([]string{"commit", "rollback"}[s.rand.IntN(2)])
		}
	case 15, 16:
		s.end("commit")
	case 17:
		s.end("rollback")
	case 18, 19:
		name := fmt.Sprintf("g%d-%d", s.n, s.rand.Uint32())
		s.end("prepare transaction '" + name + "'")
		s.prepared = append(s.prepared, name)
	}
}

// resolve ends what was prepared.
func (s *session) resolve() {
	for _, name := range s.prepared {
		run(s.w.t, s.conn, []string{"commit", "rollback"}[s.rand.IntN(2)]+" prepared '"+name+"'")
	}
	s.prepared = nil
}

// upkeep is what a server does beside.
func (w *writer) upkeep(r *rand.Rand) {
	w.do([]string{"checkpoint", "vacuum t", "vacuum (freeze) u", "select pg_switch_wal()", "vacuum (freeze) t", "select nextval('s')", "analyze t"}[r.IntN(7)])
}

// node is a table's file, which the test does not replace.
func (s state) node(w *writer, table string) missing.Node {
	if s.files == nil {
		return missing.Node{}
	}
	return s.files[w.oids[table]]
}

func histories() int {
	if os.Getenv(postgrestest.FullVariable) != "" {
		return 60
	}
	return 2
}

func TestAScanFindsWhatRandomHistoriesDid(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		for name, settings := range map[string]map[string]string{
			"replica": {}, "logical": {"wal_level": "logical", "wal_compression": "on", "full_page_writes": "on"},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWriter(t, bin, settings, scanTables)
				for i := range histories() {
					w.history(uint64(i), name)
				}
			})
		}
	})
}

// history is one that is drawn by a seed: sessions by turns, the fork somewhere, more, and the tip.
func (w *writer) history(seed uint64, name string) {
	t := w.t
	r := rand.New(rand.NewPCG(seed, uint64(len(name))))
	w.before = w.look()
	removed := map[version]uint32{}
	all := make([]*session, sessions)
	for i := range all {
		all[i] = &session{w: w, conn: w.open(), rand: r, n: i, next: int(seed) * 10000, removed: removed}
	}
	turns := func(n int) {
		for range n {
			all[r.IntN(len(all))].step()
			if r.IntN(15) == 0 {
				w.upkeep(r)
			}
		}
	}
	turns(150)
	w.part()
	turns(150)
	for _, s := range all {
		s.end("commit")
		s.resolve()
		postgrestest.Check(t, s.conn.Close(t.Context()))
	}
	w.tip = w.at()
	c := w.scan()
	appeared, vanished := w.compare(c)
	t.Logf("%s, seed %d: from %s, fork %s, tip %s: %d appeared, %d vanished", name, seed, c.From, c.Fork, c.Tip, appeared, vanished)
	if c.Expired || appeared == 0 || vanished == 0 || c.From > c.Fork {
		t.Errorf("expired %t, %d row versions appeared, %d vanished", c.Expired, appeared, vanished)
	}
	w.removers(c, removed)
}

// removers checks that the scan knows who removed what was there at the fork.
func (w *writer) removers(c *missing.Changes, removed map[version]uint32) {
	after := w.look()
	var wrong []string
	for v := range w.before.rows {
		if want := removed[v]; !after.rows[v] && want != 0 {
			if got := c.Tables[v.node].Old.XID(v.tid); c.Commits[got].Top != want {
				wrong = append(wrong, fmt.Sprintf("%v was removed by %d: the scan says %d of %+v", v, want, got, c.Commits[got]))
			}
		}
	}
	if len(wrong) > 0 {
		w.t.Errorf("%d removers are wrong:\n%s", len(wrong), strings.Join(wrong[:min(5, len(wrong))], "\n"))
	}
}
