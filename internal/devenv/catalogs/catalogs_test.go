package catalogs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/catalogs"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// TestTheComparisonSeesWhatDiffers changes one thing of each kind on one server: a comparison that lists nothing would show
// nothing otherwise.
func TestTheComparisonSeesWhatDiffers(t *testing.T) {
	t.Parallel()
	devtest.EachMajor(t, func(t *testing.T, major int) {
		t.Parallel()
		s := devtest.Postgres(t, devenv.PostgresOptions{Major: major})
		run := func(statements ...string) {
			if err := s.Exec(t.Context(), "postgres", statements...); err != nil {
				t.Fatal(err)
			}
		}
		run("create role a login password 'one'", "create role b", "create table t (id int primary key, x text)", "create table u (id int)",
			"create function f() returns int language sql as 'select 1'", "create sequence q", "select lo_from_bytea(7, 'x')", "insert into t values (1, 'x')",
			"create policy p on t using (true)")
		take := func() catalogs.Inventory {
			v, err := catalogs.Take(t.Context(), s.Server, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		before := take()
		if found := catalogs.Differences(before, take()); len(found) > 0 {
			t.Fatalf("nothing was changed, and this differs:\n%s", strings.Join(found, "\n"))
		}
		for _, c := range []struct{ statement, heading string }{
			{"alter role a password 'two'", "roles: "},
			{"grant a to b", "memberships: "},
			{"alter role a set work_mem = '5MB'", "settings of roles and databases: "},
			{"grant connect on database postgres to b with grant option", "databases: "},
			{"comment on role b is 'b'", "comments: "},
			{"grant select on t to a", "postgres: relations: "},
			{"grant update (x) on t to b", "postgres: columns: "},
			{"grant usage on sequence q to a", "postgres: sequences: "},
			{"revoke execute on function f() from public", "postgres: functions: "},
			{"grant create on schema public to b", "postgres: schemas: "},
			{"alter default privileges for role a grant select on tables to b", "postgres: default privileges: "},
			{"alter policy p on t using (id > 0)", "postgres: policies: "},
			{"alter table u owner to b", "postgres: relations: "},
			{"create index t_x on t (x)", "postgres: indexes: "},
			{"select lo_put(7, 0, 'y')", "postgres: large objects: "},
			{"update t set x = 'y'", "postgres: contents of t: "},
			{"create operator === (leftarg = int, rightarg = int, function = int4eq)", "postgres: rows of pg_operator: "},
		} {
			run(c.statement)
			after := take()
			if found := catalogs.Differences(before, after); !slices.ContainsFunc(found, func(d string) bool { return strings.HasPrefix(d, c.heading) }) {
				t.Errorf("%s: want a difference of %s, found:\n%s", c.statement, c.heading, strings.Join(found, "\n"))
			}
			before = after
		}
		run("create schema smartdr", "create view smartdr.databases as select 'app' as name", "grant select on smartdr.databases to public")
		if found := catalogs.Differences(before, take()); len(found) > 0 {
			t.Errorf("SmartDR's own view is not to be compared, and this differs:\n%s", strings.Join(found, "\n"))
		}
		run("create table smartdr.other ()")
		if _, err := catalogs.Take(t.Context(), s.Server, nil, nil); err == nil {
			t.Error("what else there is in the schema of SmartDR's view was passed over")
		}
	})
}
