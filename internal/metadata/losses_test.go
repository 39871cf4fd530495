package metadata_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

func TestSettingNotes(t *testing.T) {
	got := metadata.SettingNotes([]metadata.SettingDifference{
		{Name: "port", Here: "1", Primary: "2", Why: "each has its own", Cause: metadata.OfPlace},
		{Name: "huge_pages", Here: "try", Primary: "on", Why: "this host has none"},
		{Name: "hba_file", Here: "/a", Primary: "/b", Why: "each has its own", Cause: metadata.OfPlace},
		{Name: "wal_keep_size", Here: "64MB", Primary: "not set", Cause: metadata.OfRecovery},
		{Name: "jit", Here: "on", Primary: "off"},
	})
	want := []string{
		"huge_pages is try here and on on the primary: this host has none",
		"jit is on here and off on the primary, and nothing explains why: set it by ALTER SYSTEM",
		"these settings are the place's, not the primary's: port, hba_file",
		"these settings are what recovery needed, and the primary's from the server's next start on: wal_keep_size",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestLossNotes looks at a server that has what no copy brings back as it was, and a database that nobody gets into.
func TestLossNotes(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"max_prepared_transactions": "5"})
		open := func(ctx context.Context, database string) (*pgx.Conn, error) { return s.Open(ctx, database) }
		checkNotes := func(ask func(context.Context, metadata.Opener) ([]string, error), parts ...string) {
			t.Helper()
			got, err := ask(t.Context(), open)
			if err != nil || len(got) != len(parts) {
				t.Fatalf("%q, %v, want %q", got, err, parts)
			}
			for i, part := range parts {
				if !strings.Contains(got[i], part) {
					t.Errorf("%q does not say %q", got[i], part)
				}
			}
		}
		postgrestest.Exec(t, s, "postgres", `create table kept (); create unlogged table gone (id int)`)
		postgrestest.Exec(t, s, "postgres", `create database app`)
		postgrestest.Exec(t, s, "app", `begin; create table x (); prepare transaction 'a ''gid'''`)
		postgrestest.Exec(t, s, "app", `begin; create table y (); prepare transaction 'b'`)
		checkNotes(metadata.LossNotes, `in database app and hold their locks`, `of database postgres are empty, as after a crash, since WAL holds nothing of them: public.gone`)
		checkNotes(metadata.LossNotes, `'a ''gid''', 'b'. Whoever`, `public.gone`)

		postgrestest.Exec(t, s, "postgres", `create database broken`)
		closeDatabase(t, s, "broken")
		checkNotes(metadata.LossNotes, `app`, `tables of database broken`, `public.gone`)
		checkNotes(func(ctx context.Context, o metadata.Opener) ([]string, error) { return metadata.CollationNotes(ctx, o) }, `indexes of database broken`)
	})
}

// closeDatabase lets nobody into a database any more, as damage does.
func closeDatabase(t *testing.T, s *postgres.Server, name string) {
	t.Helper()
	version := filepath.Join(s.DataDir, "base", postgrestest.Query(t, s, "postgres", "select oid from pg_database where datname = '"+name+"'"), "PG_VERSION")
	postgrestest.Check(t, os.Rename(version, version+".away"))
}
