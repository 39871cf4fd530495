package metadata_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// estate are statements that leave something of every kind behind; secrets in them begin with hunter.
var estate = map[string][]string{
	"postgres": {
		`create role owner login createdb connection limit 10 valid until '2031-02-03 04:05:06+02' password 'hunter-owner'`,
		`create role "Read Only" nologin`, `create role app login inherit in role "Read Only" password 'hunter-app'`, `create role old login`,
		`create role admin createrole noinherit`, `grant "Read Only" to admin with admin option`, `grant admin to owner`, `grant pg_read_all_data to old`,
		`set password_encryption = md5`, `alter role old password 'hunter-old'`, `reset password_encryption`,
		`alter role app set work_mem = '5MB'`, `alter role app set app.jwt_secret = 'hunter-jwt'`, `alter role all set statement_timeout = '61s'`,
		`create database app owner owner connection limit 7`, `create database other`, `grant temporary on database app to app`, `revoke connect on database other from public`,
		`alter database app set search_path = s, public`, `alter role app in database app set lock_timeout = '3s'`,
		`grant set on parameter log_min_duration_statement to app`, `grant execute on function pg_ls_waldir() to app`, `select pg_replication_origin_create('from elsewhere')`,
		`create subscription sub connection 'host=127.0.0.1 dbname=x password=hunter-sub' publication p with (connect = false, slot_name = 'sub_slot')`,
	},
	"app": {
		`create schema s authorization owner`, `grant usage on schema s to "Read Only"`, `revoke create on schema public from public`,
		`create table s.t (id int primary key, secret text, shown text)`, `alter table s.t owner to owner`, `grant select (shown), update (shown) on s.t to app`, `grant insert on s.t to "Read Only" with grant option`,
		`create unlogged table s.u (id serial)`, `create view s.v as select id from s.t where secret <> 'hunter-view'`, `grant select on s.v to public`, `create materialized view s.m as select 1`,
		`create sequence s.q`, `grant usage on sequence s.q to app`,
		`alter default privileges for role owner in schema s grant select on tables to "Read Only"`, `alter default privileges for role owner revoke execute on functions from public`,
		`alter table s.t enable row level security`, `alter table s.t force row level security`, `create policy p on s.t for select to app, "Read Only" using (secret <> 'hunter-policy')`,
		`create function s.f(int, text) returns text language sql security definer set search_path = s as $$select 'hunter-function'$$`, `revoke execute on function s.f from public`,
		`create procedure s.p() language sql as ''`, `create aggregate s.agg(int) (sfunc = int4pl, stype = int)`,
		`create type s.e as enum ('a')`, `create domain s.d as int check (value > 0)`, `create type s.c as (a int)`, `create type s.r as range (subtype = int)`, `revoke usage on type s.e from public`,
		`create operator s.@@@ (leftarg = int, rightarg = int, function = int4pl)`, `create collation s.coll (provider = libc, locale = 'C')`, `create statistics s.st on id, secret from s.t`,
		`create text search dictionary s.dict (template = simple)`, `create text search configuration s.conf (copy = simple)`,
		`create foreign data wrapper w options (debug 'hunter-wrapper')`, `create server srv type 'x' foreign data wrapper w options (host 'hunter-host')`, `grant usage on foreign server srv to app`,
		`create user mapping for app server srv options (user 'u', password 'hunter-mapping')`, `create user mapping for public server srv`,
		`create publication pub for table s.t where (id > 5), tables in schema public with (publish = 'insert')`, `create publication pubcols for table s.t (id, shown)`,
		`create function s.trigger() returns event_trigger language plpgsql as 'begin end'`, `create event trigger et on ddl_command_start when tag in ('CREATE TABLE') execute function s.trigger()`,
		`select lo_create(0), lo_create(0)`, `select lo_create(4711)`, `grant select on large object 4711 to app`,
		`create temporary table tmp (id int)`,
	},
}

// furnish fills a server and returns a connection as its superuser.
func furnish(t *testing.T, s *postgres.Server) {
	t.Helper()
	for _, database := range []string{"postgres", "app"} {
		conn := postgrestest.Open(t, s, database)
		for _, statement := range estate[database] {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the temporary table lives as long as this
	}
}

func inventory(t *testing.T, conn *pgx.Conn, o metadata.InventoryOptions) metadata.Inventory {
	t.Helper()
	v, notes, err := metadata.CaptureInventory(t.Context(), conn, o)
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, notes %q", err, notes)
	}
	return v
}

func open(t *testing.T, s *postgres.Server) *pgx.Conn {
	t.Helper()
	conn := postgrestest.Open(t, s, "postgres")
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// changes are made one after the other on a copy; each must be found, in these words, and nothing else.
var changes = []struct{ database, change, undo, want string }{
	{"postgres", `alter role owner connection limit 11`, `alter role owner connection limit 10`, `role owner: connection limit 10 on the primary, 11 here`},
	{"postgres", `alter role owner password 'hunter-other'`, ``, `password owner: another secret on the primary than here`},
	{"postgres", `revoke admin option for "Read Only" from admin`, `grant "Read Only" to admin with admin option`, `membership of admin in "Read Only", granted by postgres: admin true on the primary, false here`},
	{"postgres", `alter role app set app.jwt_secret = 'hunter-x'`, `alter role app set app.jwt_secret = 'hunter-jwt'`, `setting app.jwt_secret of role app: another content on the primary than here`},
	{"postgres", `alter database other set work_mem = '1MB'`, `alter database other reset work_mem`, `setting work_mem in database other: only here`},
	{"postgres", `revoke set on parameter log_min_duration_statement from app`, `grant set on parameter log_min_duration_statement to app`, `parameter log_min_duration_statement: only on the primary`},
	{"app", `revoke update (shown) on s.t from app`, `grant update (shown) on s.t to app`, `column s.t.shown of database app: privileges app=rw/owner on the primary, app=r/owner here`},
	{"app", `alter table s.t no force row level security`, `alter table s.t force row level security`, `table s.t of database app: forced row security true on the primary, not set here`},
	{"app", `alter policy p on s.t using (secret <> 'hunter-x')`, `alter policy p on s.t using (secret <> 'hunter-policy')`, `policy p on s.t of database app: another expressions on the primary than here`},
	{"app", `create or replace function s.f(int, text) returns text language sql security definer set search_path = s as 'select null'`, `create or replace function s.f(int, text) returns text language sql security definer set search_path = s as $$select 'hunter-function'$$`,
		`function s.f(integer, text) of database app: another body on the primary than here`},
	{"app", `alter user mapping for app server srv options (set password 'hunter-x')`, `alter user mapping for app server srv options (set password 'hunter-mapping')`, `user mapping for app on server srv of database app: another content on the primary than here`},
	{"app", `alter default privileges for role owner in schema s revoke select on tables from "Read Only"`, `alter default privileges for role owner in schema s grant select on tables to "Read Only"`, `default privileges of owner on tables in schema s of database app: only on the primary`},
	{"app", `alter statistics s.st owner to owner`, `alter statistics s.st owner to postgres`, `statistics s.st of database app: owner postgres on the primary, owner here`},
	{"app", `alter large object 4711 owner to owner`, ``, ``},
}

func TestTheInventoryOfACopyIsTheSame(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		bin, err := postgres.Find(major, devenv.PostgresDirs())
		if err != nil {
			t.Fatal(err)
		}
		a := postgrestest.Start(t, bin, map[string]string{"max_logical_replication_workers": "0"})
		furnish(t, a)
		if err := a.Stop(t.Context(), postgres.Fast); err != nil {
			t.Fatal(err)
		}
		b := postgrestest.Copy(t, a)
		for _, s := range []*postgres.Server{a, b} {
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		onA, onB := open(t, a), open(t, b)
		wantMismatches(t, onA, onB)
		for _, c := range changes {
			postgrestest.Exec(t, b, c.database, c.change)
			if c.want != "" {
				wantMismatches(t, onA, onB, c.want)
			} else if len(mismatches(t, onA, onB)) == 0 {
				t.Errorf("%s is not found", c.change)
			}
			if c.undo == "" {
				c.undo, c.change = c.change, ""
				postgrestest.Exec(t, a, c.database, c.undo)
				if strings.Contains(c.undo, "password") {
					copyPassword(t, a, b)
				}
				continue
			}
			postgrestest.Exec(t, b, c.database, c.undo)
		}
		wantMismatches(t, onA, onB)
	})
}

// copyPassword gives role owner the same secret on both: its salt is random.
func copyPassword(t *testing.T, a, b *postgres.Server) {
	t.Helper()
	secret := postgrestest.Query(t, a, "postgres", `select rolpassword from pg_authid where rolname = 'owner'`)
	postgrestest.Exec(t, b, "postgres", fmt.Sprintf("alter role owner password '%s'", secret))
}

func mismatches(t *testing.T, a, b *pgx.Conn) (texts []string) {
	t.Helper()
	found, notes, err := metadata.CompareServers(t.Context(), a, b)
	if err != nil || len(notes) > 0 {
		t.Fatalf("%v, notes %q", err, notes)
	}
	for _, m := range found {
		texts = append(texts, m.String())
	}
	return texts
}

func wantMismatches(t *testing.T, a, b *pgx.Conn, want ...string) {
	t.Helper()
	if got := mismatches(t, a, b); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestWhatAnInventoryHolds looks for one item of each kind, and for the secrets that must not be there.
func TestWhatAnInventoryHolds(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		bin, err := postgres.Find(major, devenv.PostgresDirs())
		if err != nil {
			t.Fatal(err)
		}
		s := postgrestest.Start(t, bin, map[string]string{"max_logical_replication_workers": "0"})
		furnish(t, s)
		v := inventory(t, open(t, s), metadata.InventoryOptions{})
		content, _, err := metadata.EncodeInventory(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"hunter", "SCRAM-SHA-256$"} {
			if i := strings.Index(string(content), secret); i >= 0 {
				t.Errorf("the inventory holds %s: %s", secret, content[max(0, i-200):i+40])
			}
		}
		wantKinds(t, v)
		if look := v.OldestLook(); look.LSN == 0 || look.At.IsZero() {
			t.Errorf("when and where was it read: %+v", look)
		}
		again, _, err := metadata.EncodeInventory(inventory(t, open(t, s), metadata.InventoryOptions{}))
		if err != nil || string(again) != string(content) {
			t.Errorf("the inventory of an idle server changes (%v)", err)
		}
		t.Run("too many", func(t *testing.T) { checkSums(t, s, v) })
		t.Run("as an ordinary role", func(t *testing.T) { checkOrdinary(t, s, v) })
	})
}

func wantKinds(t *testing.T, v metadata.Inventory) {
	t.Helper()
	for _, want := range []string{
		"/role/owner", "/password/old", "/membership/of app in \"Read Only\", granted by postgres", "/setting/lock_timeout of role app in database app", "/database/app",
		"/tablespace/pg_default", "/parameter/log_min_duration_statement", "/replication origin/from elsewhere", "/subscription/sub in database postgres",
		"app/schema/s", "app/extension/plpgsql", "app/default privileges/of owner on functions", "app/language/plpgsql", "app/foreign data wrapper/w", "app/foreign server/srv",
		"app/user mapping/for public on server srv", "app/event trigger/et", "app/publication/pub", "app/large objects/owned by postgres", "app/policy/p on s.t",
		"app/column/s.t.shown", "app/table/s.u", "app/view/s.v", "app/materialized view/s.m", "app/sequence/s.q", "app/function/s.f(integer, text)", "app/procedure/s.p()",
		"app/aggregate/s.agg(integer)", "app/type/s.e", "app/type/s.d", "app/type/s.c", "app/type/s.r", "app/operator/s.@@@(integer, integer)", "app/collation/s.coll", "app/statistics/s.st",
		"app/text search configuration/s.conf", "app/text search dictionary/s.dict", "postgres/function/pg_catalog.pg_ls_waldir(",
	} {
		if !slices.ContainsFunc(v.Parts, func(p metadata.Part) bool {
			return slices.ContainsFunc(p.Items, func(i metadata.Item) bool { return strings.HasPrefix(p.Database+"/"+i.Kind+"/"+i.Name, want) })
		}) {
			t.Errorf("no %s", want)
		}
	}
	for _, p := range v.Parts {
		for _, i := range p.Items {
			if strings.Contains(i.Name, "tmp") || i.Kind == "function" && strings.Contains(i.Name, "int4pl") {
				t.Errorf("%s %s ought not to be there", i.Kind, i.Name)
			}
		}
	}
}

// checkSums: with hardly any room the groups with many objects are counted, and a change in one is still seen.
func checkSums(t *testing.T, s *postgres.Server, whole metadata.Inventory) {
	conn := open(t, s)
	small := inventory(t, conn, metadata.InventoryOptions{Limit: 22})
	app := small.Part("app")
	if len(app.Summed) == 0 || len(app.Items) >= len(whole.Part("app").Items) || len(small.Part("postgres").Summed) > 0 {
		t.Fatalf("counted %q of database app, %q of postgres, which has %v", app.Summed, small.Part("postgres").Summed, whole.Part("postgres").Items)
	}
	like := inventory(t, conn, metadata.InventoryOptions{Like: &small})
	if found := metadata.CompareInventories(small, like); len(found) > 0 {
		t.Errorf("the same server: %v", found)
	}
	postgrestest.Exec(t, s, "app", `alter function s.f(int, text) owner to app; create table s.another ()`)
	found := metadata.CompareInventories(small, inventory(t, conn, metadata.InventoryOptions{Like: &small}))
	if !slices.ContainsFunc(found, func(m metadata.Mismatch) bool { return strings.Contains(m.String(), "every function in schema") }) || len(found) > 12 {
		t.Errorf("a new owner and a new table: %v", found)
	}
	postgrestest.Exec(t, s, "app", `alter function s.f(int, text) owner to postgres; drop table s.another`)
}

func checkOrdinary(t *testing.T, s *postgres.Server, whole metadata.Inventory) {
	postgrestest.Exec(t, s, "postgres", `create role plain login; grant pg_monitor to plain`)
	conn, err := postgres.Open(t.Context(), postgrestest.Source(s, "plain", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	v, notes, err := metadata.CaptureInventory(t.Context(), conn, metadata.InventoryOptions{})
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "database other") {
		t.Errorf("notes %q, %v", notes, err)
	}
	if got := v.Part("").Unseen; !slices.Equal(got, []metadata.Group{"passwords"}) || len(v.Part("app").Unseen) != 1 {
		t.Errorf("unseen: %q of the server, %q of the database", got, v.Part("app").Unseen)
	}
	for _, m := range metadata.CompareInventories(whole, v) {
		if !strings.Contains(m.String(), "plain") && !strings.Contains(m.String(), "what is in database other") {
			t.Errorf("seen otherwise by an ordinary role: %s", m)
		}
	}
}

func TestAnInventoryIsRefusedByAClosedConnection(t *testing.T) {
	s := postgrestest.Start(t, newest(t), nil)
	conn := postgrestest.Open(t, s, "postgres")
	_ = conn.Close(t.Context())
	_, _, err := metadata.CaptureInventory(t.Context(), conn, metadata.InventoryOptions{})
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := json.Marshal(metadata.Inventory{}); err != nil {
		t.Error(err)
	}
}

func newest(t *testing.T) postgres.Binaries {
	t.Helper()
	bin, err := postgres.FindAny(devenv.PostgresDirs())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
