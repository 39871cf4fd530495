package metadata_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// TestABranchIsInert cuts subscriptions off from a publisher that cannot be reached, past a trigger that forbids everything.
func TestABranchIsInert(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		bin, err := postgres.Find(major, devenv.PostgresDirs())
		if err != nil {
			t.Fatal(err)
		}
		s := postgrestest.Start(t, bin, map[string]string{"max_logical_replication_workers": "0", "wal_level": "logical", "max_prepared_transactions": "5"})
		const to = `connection 'host=127.0.0.1 port=1 dbname=x password=hunter2' publication p with (connect = false, slot_name = `
		postgrestest.Exec(t, s, "postgres", `create database app`)
		postgrestest.Exec(t, s, "postgres", `create subscription "A b" `+to+`'one', two_phase = true)`)
		postgrestest.Exec(t, s, "app", `create subscription second `+to+`'two')`)
		postgrestest.Exec(t, s, "app", `create subscription third `+to+`'three')`)
		postgrestest.Exec(t, s, "postgres", `alter subscription "A b" enable`)
		postgrestest.Exec(t, s, "app", `alter subscription second enable`)
		if major >= 17 {
			postgrestest.Exec(t, s, "app", `update pg_subscription set subfailover = true where subname = 'second'`)
		}
		postgrestest.Exec(t, s, "app", `create function no() returns event_trigger language plpgsql as $$begin raise 'hands off'; end$$; create event trigger no on ddl_command_start execute function no()`)
		names, err := metadata.MakeInert(t.Context(), s.Open)
		if err != nil || !slices.Equal(names, []string{"app.second", "app.third", "postgres.A b"}) {
			t.Errorf("cut %q, %v", names, err)
		}
		if got := postgrestest.Query(t, s, "postgres", `select count(*) from pg_subscription where subenabled or subslotname is not null`); got != "0" {
			t.Errorf("%s subscriptions are not inert", got)
		}
		if again, err := metadata.MakeInert(t.Context(), s.Open); err != nil || len(again) > 0 {
			t.Errorf("a second time: %q, %v", again, err)
		}
	})
}

// TestJobsOfPgCron needs its package, as Debian's postgresql-15-cron.
func TestJobsOfPgCron(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		bin, err := postgres.Find(major, devenv.PostgresDirs())
		if err != nil {
			t.Fatal(err)
		}
		host, err := metadata.Inspect(t.Context(), bin, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if !host.Extensions["pg_cron"] {
			t.Skipf("pg_cron is not installed for PostgreSQL %d on this machine", major)
		}
		s := postgrestest.Start(t, bin, map[string]string{"shared_preload_libraries": "pg_cron", "cron.database_name": "postgres"})
		postgrestest.Exec(t, s, "postgres", `create extension pg_cron`)
		postgrestest.Exec(t, s, "postgres", `create database app`)
		postgrestest.Exec(t, s, "postgres", `select cron.schedule('nightly', '0 3 * * *', 'select ''hunter2'''); select cron.schedule_in_database('other', '* * * * *', 'select 1', 'app')`)
		conn := postgrestest.Open(t, s, "postgres")
		defer conn.Close(context.Background())
		m, err := metadata.Capture(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		want := []metadata.Job{
			{Database: "postgres", ID: 1, Name: "nightly", Schedule: "0 3 * * *", User: "postgres", Active: true},
			{Database: "app", ID: 2, Name: "other", Schedule: "* * * * *", User: "postgres", Active: true},
		}
		if !slices.Equal(m.Pipelines.Jobs, want) {
			t.Errorf("jobs %+v", m.Pipelines.Jobs)
		}
		b, err := json.Marshal(m)
		if err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("a command was captured: %s (%v)", b, err)
		}
		notes, err := metadata.PipelineNotes(t.Context(), s.Open, m.Pipelines, 1)
		if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "2 jobs of pg_cron") {
			t.Errorf("notes %q, %v", notes, err)
		}
	})
}
