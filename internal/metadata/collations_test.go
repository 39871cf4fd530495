package metadata_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

func TestCompareCollations(t *testing.T) {
	host := metadata.Host{LibcVersion: "2.41", ICUVersions: []string{"153.120", "153.120.42"}}
	database := func(provider, collate, actual string) metadata.Database {
		return metadata.Database{Name: "app", Provider: provider, Collate: collate, CollationActual: actual}
	}
	for name, c := range map[string]struct {
		database metadata.Database
		used     []metadata.Collation
		host     metadata.Host
		says     []string
	}{
		"the same ICU, a language with rules": {database: database("i", "C", "153.120.42"), host: host},
		"the same ICU, one without":           {database: database("i", "C", "153.120"), host: host},
		"another ICU":                         {database: database("i", "C", "153.80"), host: host, says: []string{"ICU 153.80", "153.120 and 153.120.42", "database app", "REINDEX"}},
		"another glibc":                       {database: database("c", "de_DE.UTF-8", "2.36"), host: host, says: []string{"2.36", "2.41", "REINDEX"}},
		"a version that was never recorded":   {database: database("c", "de_DE.UTF-8", ""), host: host, says: []string{"not known", "database app"}},
		"by bytes":                            {database: database("c", "C.UTF-8", ""), host: host},
		"PostgreSQL's own":                    {database: database("b", "C.UTF-8", "1"), host: host},
		"a host that nothing is known of":     {database: database("i", "C", "153.80"), host: metadata.Host{}},
		"a collation of an index": {database: database("b", "C", ""), host: host, used: []metadata.Collation{
			{Database: "app", Name: `public."Names"`, Provider: "i", Actual: "153.80"}, {Database: "app", Name: "pg_catalog.\"sv-x-icu\"", Provider: "i", Actual: "153.120.42"},
		}, says: []string{`collation public."Names" in database app`, "153.80"}},
	} {
		problems := metadata.Compare(metadata.Metadata{Databases: []metadata.Database{c.database}, Collations: c.used}, c.host, 0)
		if len(problems) != min(1, len(c.says)) {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		for _, part := range c.says {
			if p := problems[0]; p.Blocking || p.Check != "collations" || !strings.Contains(p.String(), part) {
				t.Errorf("%s: %+v does not say %q", name, p, part)
			}
		}
	}
}

// TestHostSaysWhatICUSortsBy: what is found without a running server is what a running one says, and is kept.
func TestHostSaysWhatICUSortsBy(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		temporary := postgrestest.TempDir(t)
		t.Setenv("TMPDIR", temporary)
		host, err := metadata.Inspect(t.Context(), bin, t.TempDir())
		postgrestest.Check(t, err)
		s := postgrestest.Start(t, bin, nil)
		for _, collation := range []string{"und-x-icu", "sv-x-icu", "de-x-icu"} {
			version := postgrestest.Query(t, s, "postgres", "select pg_collation_actual_version(oid) from pg_collation where collname = '"+collation+"'")
			if version == "" || !slices.Contains(host.ICUVersions, version) {
				t.Errorf("%s sorts by %q, and the host says %q", collation, version, host.ICUVersions)
			}
		}
		if host.LibcVersion == "" {
			t.Error("glibc's version is not known")
		}
		left, err := filepath.Glob(filepath.Join(temporary, "smartdr-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %q, %v", left, err)
		}
	})
}

// TestCollationNotes makes indexes that were sorted by other versions, and does what the notes say.
func TestCollationNotes(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, nil)
		open := func(ctx context.Context, database string) (*pgx.Conn, error) { return s.Open(ctx, database) }
		notes := func(parts ...string) {
			t.Helper()
			got, err := metadata.CollationNotes(t.Context(), open)
			if err != nil || len(got) != len(parts) {
				t.Fatalf("%q, %v, want %d", got, err, len(parts))
			}
			for i, part := range parts {
				if !strings.Contains(got[i], part) {
					t.Errorf("%q does not say %q", got[i], part)
				}
			}
		}
		postgrestest.Exec(t, s, "postgres", `create database geo template template0 locale_provider icu icu_locale 'sv' locale 'C'`)
		if bin.Major() >= 17 {
			postgrestest.Exec(t, s, "postgres", `create database immune template template0 locale_provider builtin builtin_locale 'C.UTF-8' locale 'C'`)
		}
		postgrestest.Exec(t, s, "geo", `create collation "Names" (provider = icu, locale = 'de'); create table t (a text, b text collate "Names", c text collate "C")`)
		notes()
		postgrestest.Exec(t, s, "postgres", `update pg_database set datcollversion = '1.2' where datname = 'geo'`)
		postgrestest.Exec(t, s, "geo", `update pg_collation set collversion = '1.3' where collname in ('Names', 'fr-x-icu')`) // the second is not used
		notes("database geo was sorted by ICU 1.2", `public."Names"`)
		conn := postgrestest.Open(t, s, "postgres")
		m, err := metadata.Capture(t.Context(), conn)
		postgrestest.Check(t, err)
		postgrestest.Check(t, conn.Close(t.Context()))
		if len(m.Collations) != 1 || m.Collations[0].Version != "1.3" || m.Collations[0].Locale != "de" || m.Collations[0].Actual == "" {
			t.Errorf("captured %+v", m.Collations)
		}
		postgrestest.Exec(t, s, "geo", `reindex database geo`)
		postgrestest.Exec(t, s, "geo", `alter database geo refresh collation version; alter collation "Names" refresh version`)
		notes()
		postgrestest.Exec(t, s, "postgres", `update pg_database set datcollversion = null where datname = 'geo'`)
		notes("not known by which version of ICU")
	})
}
