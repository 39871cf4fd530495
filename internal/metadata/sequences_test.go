package metadata_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
)

// sequences are made, used, and then expected to hand out next, after they were moved by 1000.
var sequences = []struct {
	name, make, use string
	next            int64
	short           string // that it is moved by, where that is less
}{
	{"plain", `create sequence plain`, `select nextval('plain') from generate_series(1, 7)`, 1008, ""},
	{"unused", `create sequence unused start 5`, ``, 1005, ""},
	{"set_back", `create sequence set_back`, `select setval('set_back', 40, false)`, 1040, ""},
	{"steps", `create sequence steps increment 10`, `select nextval('steps')`, 10011, ""},
	{"down", `create sequence down increment -5`, `select nextval('down')`, -5006, ""},
	{"small", `create sequence small as smallint`, `select setval('small', 31767)`, 31868, "100"},
	{"full", `create sequence "full" maxvalue 20`, `select setval('"full"', 20)`, 0, "0"},
	{"round", `create sequence round maxvalue 21 cycle`, `select setval('round', 11)`, 13, "1"},
	{"down_small", `create sequence down_small as smallint increment -1`, `select setval('down_small', -32668)`, -32679, "10"},
	{"huge", `create sequence huge increment 9000000000000000000`, `select nextval('huge')`, 9000000000000000001, "0"},
	{"odd \"name", `create sequence "odd ""name"`, `select nextval('"odd ""name"')`, 1002, ""},
	{"t_id_seq", `create table t (id int generated always as identity (cache 50))`, `insert into t default values`, 1051, ""},
}

func TestSequencesAreMovedAhead(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		p := devtest.Postgres(t, devenv.PostgresOptions{Major: major})
		for _, s := range sequences {
			must(t, p.Exec(t.Context(), "postgres", s.make))
			if s.use != "" {
				must(t, p.Exec(t.Context(), "postgres", s.use))
			}
		}
		must(t, p.Exec(t.Context(), "postgres", `create unlogged sequence fleeting`, `alter database postgres set search_path = hostile, pg_catalog`, `create schema hostile`,
			`create function hostile.setval(regclass, bigint, boolean) returns bigint language sql as 'select 1/0::bigint'`))
		conn := openDatabase(t, p, "postgres")
		moves := plan(t, conn, 1000)
		must(t, moves.Move(t.Context(), conn))
		if len(moves.Unmoved) > 0 || !moves.Done || moves.Moved != len(sequences)-2 {
			t.Errorf("moves %+v", moves)
		}
		for _, s := range sequences {
			if next, want := nextOf(t, conn, s.name), s.next; next != want {
				t.Errorf("%s hands out %d next, want %d", s.name, next, want)
			}
			if said := slices.ContainsFunc(moves.Short, func(n string) bool {
				return strings.HasSuffix(n, pgx.Identifier{s.name}.Sanitize()[1:]+" by "+s.short) || strings.HasSuffix(n, "."+s.name+" by "+s.short)
			}); said != (s.short != "") {
				t.Errorf("%s is among %q: %v", s.name, moves.Short, said)
			}
		}
		if got := nextOf(t, conn, "fleeting"); got != 1 {
			t.Errorf("an unlogged sequence hands out %d next", got)
		}
	})
}

// nextOf returns 0 for a sequence that has no value left.
func nextOf(t *testing.T, conn *pgx.Conn, name string) (n int64) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `select nextval($1::text::regclass)`, "public."+pgx.Identifier{name}.Sanitize()).Scan(&n)
	if err != nil && !strings.Contains(err.Error(), "reached m") {
		t.Fatal(err)
	}
	return n
}

func openDatabase(t *testing.T, p *devenv.Postgres, database string) *pgx.Conn {
	t.Helper()
	conn, err := p.Open(t.Context(), database)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// plan is what a plan becomes that was written down and read again.
func plan(t *testing.T, conn *pgx.Conn, gap int64) metadata.SequenceMoves {
	t.Helper()
	moves, err := metadata.PlanSequences(t.Context(), conn, gap)
	must(t, err)
	b, err := json.Marshal(moves)
	must(t, err)
	var again metadata.SequenceMoves
	must(t, json.Unmarshal(b, &again))
	return again
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A plan that is carried out again, since nobody knows how far it came, moves nothing twice, and nothing back.
func TestSequencesAreMovedOnce(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{})
	must(t, p.Exec(t.Context(), "postgres", `create sequence up`, `create sequence unused`, `create sequence down increment -1`, `select nextval('up')`, `select nextval('down')`))
	conn := openDatabase(t, p, "postgres")
	moves := plan(t, conn, 1000)
	first, second := moves, moves
	must(t, first.Move(t.Context(), conn))
	for name, want := range map[string]int64{"up": 1002, "unused": 1001, "down": -1002} {
		if got := nextOf(t, conn, name); got != want {
			t.Errorf("%s hands out %d, want %d", name, got, want)
		}
	}
	must(t, second.Move(t.Context(), conn))
	for name, want := range map[string]int64{"up": 1003, "unused": 1002, "down": -1003} {
		if got := nextOf(t, conn, name); got != want {
			t.Errorf("after another time %s hands out %d, want %d", name, got, want)
		}
	}
}

// What cannot be moved keeps nothing else back, and is named.
func TestSequencesThatCannotBeMovedAreNamed(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{"max_prepared_transactions": "2"}})
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf(`create sequence s%d`, i))
	}
	must(t, p.Exec(t.Context(), "postgres", append(many, `create table t (id int generated always as identity)`, `create sequence changed`, `create sequence gone`, `create sequence held`)...))
	must(t, p.Exec(t.Context(), "postgres", `begin; truncate t restart identity; alter sequence changed increment 2; prepare transaction 'x'`))
	conn, other := openDatabase(t, p, "postgres"), openDatabase(t, p, "postgres")
	moves := plan(t, conn, 1000)
	_, err := other.Exec(t.Context(), `drop sequence gone; begin; lock table held in access exclusive mode`)
	if err != nil && !strings.Contains(err.Error(), "cannot lock") {
		t.Fatal(err)
	}
	if err != nil { // before 17 LOCK takes no sequences: changing one locks it as well
		_, err = other.Exec(t.Context(), `rollback; begin; alter sequence held increment 3`)
		must(t, err)
	}
	must(t, moves.Move(t.Context(), conn))
	slices.Sort(moves.Unmoved)
	if len(moves.Unmoved) != 3 || !strings.Contains(moves.Unmoved[0], "public.changed") || !strings.Contains(moves.Unmoved[1], "public.t_id_seq") || moves.Moved < 21 {
		t.Errorf("not moved: %q (%s), moved %d", moves.Unmoved, moves.Why, moves.Moved)
	}
	for i := range 20 {
		if got := nextOf(t, conn, fmt.Sprintf("s%d", i)); got != 1001 {
			t.Errorf("s%d hands out %d", i, got)
		}
	}
	notes := strings.Join(metadata.SequenceNotes(1000, map[string]metadata.SequenceMoves{"postgres": moves}), "\n")
	wantNotes(t, notes, "moved ahead by 1000 values", "needs attention: sequences of database postgres were not moved ahead (a prepared transaction", "public.changed")
}

// Thousands of sequences are more than PostgreSQL has locks for in one transaction, and hold up a failover for seconds at most.
func TestManySequencesAreMovedInTime(t *testing.T) {
	schemas := 4
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		schemas = 20
	}
	p := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{"max_locks_per_transaction": "10"}})
	for schema := range schemas {
		for part := range 5 {
			must(t, p.Exec(t.Context(), "postgres", fmt.Sprintf("create schema if not exists n%d", schema), fmt.Sprintf(`do $$ begin for i in %d..%d loop
				execute format('create sequence n%d.s%%s', i); if i %% 2 = 0 then execute format('select nextval(''n%d.s%%s'')', i); end if; end loop; end $$`,
				part*100+1, part*100+100, schema, schema)))
		}
	}
	conn := openDatabase(t, p, "postgres")
	began := time.Now()
	moves := plan(t, conn, 1000)
	planned := time.Since(began)
	must(t, moves.Move(t.Context(), conn))
	t.Logf("%d sequences: planned in %s, all in %s", schemas*500, planned, time.Since(began))
	if moves.Moved != schemas*500 || len(moves.Unmoved) > 0 {
		t.Errorf("moved %d, not moved %q: %s", moves.Moved, moves.Unmoved, moves.Why)
	}
	if took := time.Since(began); took > devtest.Patience {
		t.Errorf("it took %s", took)
	}
	var behind int
	must(t, conn.QueryRow(t.Context(), `select count(*) from pg_sequence where coalesce(pg_sequence_last_value(seqrelid), 1001) < 1001`).Scan(&behind))
	if behind > 0 {
		t.Errorf("%d are behind", behind)
	}
}
