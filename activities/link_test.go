package activities

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// links is a server that serves and one of an attached branch, with what both have in database app.
type links struct {
	*world
	t              *testing.T
	serves, branch *postgres.Server
	target         *Target
	source         *Source
	in             LinkInput
}

const linkedApp = `create type mood as enum ('good', 'bad'); create table orders (id int primary key, how mood); alter table orders owner to teller;
	insert into orders select g, 'good' from generate_series(1, 10) g`

func newLinks(t *testing.T, host string, readOnly bool) *links {
	t.Helper()
	w := newWorld(t)
	w.Host = "h1"
	l := &links{world: w, t: t, target: &Target{Site: w.Site}, source: &Source{Site: w.Site}}
	bin := slices.MaxFunc(postgrestest.Installations(t), func(a, b postgres.Binaries) int { return a.Major() - b.Major() })
	for _, s := range []**postgres.Server{&l.serves, &l.branch} {
		*s = postgrestest.Start(t, bin, map[string]string{"log_statement": "all", "log_min_duration_statement": "0"})
		check(t, (*s).Save())
		postgrestest.Exec(t, *s, "postgres", "create role teller login")
		postgrestest.Exec(t, *s, "postgres", "create role clerk login")
		postgrestest.Exec(t, *s, "postgres", "create database app owner teller")
		postgrestest.Exec(t, *s, "app", linkedApp)
	}
	check(t, l.branch.WriteHBA("")) // whom a link needs it lets in itself
	check(t, l.branch.Reload(t.Context()))
	w.update(t, func(g *topology.Group) {
		g.Active = "west"
		serves := topology.Lineage{ID: servedBefore, Epoch: 1, Region: "west", SystemID: "1", SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: 1, LSN: 16 << 20}}
		g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = serves.ID, []topology.Lineage{serves}
		g.Workspaces[0].Sites["west"] = topology.Site{Kind: topology.Managed, Host: "h1", Instance: l.serves.InstanceDir(), Source: l.serves.Source("postgres"), Endpoint: endpointOf("127.0.0.1", l.serves.Port)}
		g.Branches = []topology.Branch{{Name: "look", Workspace: "main", Database: "app", Region: "west", Base: topology.Fork{Lineage: serves.ID, At: serves.Start}, Attached: &topology.Attachment{
			ID: "00000001", State: topology.AttachmentServes, Host: host, Instance: l.branch.InstanceDir(), ReadOnly: readOnly, Endpoint: endpointOf("127.0.0.1", l.branch.Port)}}}
	})
	l.in = LinkInput{Group: "prod", Branch: "look", Of: "app", Database: "app", Schema: "look"}
	return l
}

// link goes the way of the workflow.
func (l *links) link() (FilledLink, error) {
	l.t.Helper()
	access, err := as(l.t, l.target.OpenLink, l.in)
	if err != nil {
		return FilledLink{}, err
	}
	show := ShowLinkInput{l.in, access}
	made, err := as(l.t, l.source.MakeLink, show)
	if err != nil {
		return FilledLink{}, err
	}
	if made.Key != "" {
		second := l.in
		second.Key = made.Key
		if _, err := as(l.t, l.target.OpenLink, second); err != nil {
			return FilledLink{}, err
		}
	}
	return as(l.t, l.source.FillLink, show)
}

func (l *links) remove() error {
	l.t.Helper()
	_, err := as(l.t, none(l.source.RemoveLink), RemoveLinkInput{Group: "prod", Workspace: "main", Link: topology.Link{Database: "app", Schema: "look"}})
	return err
}

// run executes a statement at the server that serves, as a role.
func (l *links) run(role, statement string) error {
	l.t.Helper()
	conn, err := postgres.Open(l.t.Context(), postgrestest.Source(l.serves, role, "app"))
	check(l.t, err)
	defer conn.Close(l.t.Context()) //nolint:errcheck // all was said
	_, err = conn.Exec(l.t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
	return err
}

const bringMissing = `insert into orders select * from look.orders l where not exists (select from orders o where o.id = l.id)`

// One statement joins both, on one host without any password, and brings over what is missing; who may read what is as in the branch.
func TestALinkBringsTheMissingRowsOver(t *testing.T) {
	l := newLinks(t, "h1", false)
	postgrestest.Exec(t, l.branch, "app", `insert into orders values (11, 'bad'), (12, 'good');
		create table secured (id int); alter table secured enable row level security, owner to clerk; grant select on secured to teller;
		create table open_to_all (id int); grant select on open_to_all to public;
		create type only_there as enum ('x'); create table odd (o only_there); create view v as select * from orders;
		create schema "other one"; create table "other one"."parts of" (id int, more int generated always as (id + 1) stored) partition by range (id);
		create table "other one".leaf partition of "other one"."parts of" default; insert into "other one"."parts of" values (7); grant select on "other one"."parts of" to clerk`)
	filled, err := l.link()
	check(t, err)
	if filled.Tables != 4 || len(filled.Notes) != 1 || !strings.Contains(filled.Notes[0], "public.odd") || !strings.Contains(filled.Notes[0], "only_there") {
		t.Errorf("filled %+v", filled)
	}
	check(t, l.run("teller", bringMissing))
	if n := postgrestest.Query(t, l.serves, "app", "select count(*) from orders"); n != "12" {
		t.Errorf("%s orders", n)
	}
	for statement, who := range map[string]string{
		`select * from look.secured`: "clerk", `select * from look.open_to_all`: "clerk teller", `select more / 0 from look."orders" where false`: "",
		`select 1 / (more - 7) from "look_other one"."parts of"`: "clerk",
	} {
		for _, role := range []string{"clerk", "teller"} {
			if err := l.run(role, statement); (err == nil) != strings.Contains(who, role) {
				t.Errorf("%s: %s: %v", role, statement, err)
			}
		}
	}
	if err := l.run("teller", `insert into look.orders values (99, 'bad')`); err == nil {
		t.Error("a link takes writes")
	}
	if super := postgrestest.Query(t, l.branch, "app", "select rolsuper from pg_roles where rolname = 'smartdr_link'"); super != "false" {
		t.Errorf("the link's role is a superuser: %q", super)
	}
}

// Linking again shows what is new, and what a user made of it is not taken away by that, or by its end.
func TestALinkIsMadeAnewAndEnded(t *testing.T) {
	l := newLinks(t, "h1", false)
	_, err := l.link()
	check(t, err)
	postgrestest.Exec(t, l.branch, "app", "create table later as select 1 as one")
	if filled, err := l.link(); err != nil || filled.Tables != 2 {
		t.Fatalf("linked again: %+v, %v", filled, err)
	}
	postgrestest.Exec(t, l.serves, "app", "create table look.mine (id int); create view mine_too as select * from look.orders")
	for range 2 {
		if err := l.remove(); typeOf(err) != string(fault.Invalid) || !strings.Contains(err.Error(), "mine") {
			t.Errorf("removed: %v", err)
		}
		if _, err := l.link(); err == nil || !strings.Contains(err.Error(), "mine") {
			t.Errorf("linked again: %v", err)
		}
		postgrestest.Exec(t, l.serves, "app", "drop view if exists mine_too")
	}
	postgrestest.Exec(t, l.serves, "app", "drop table look.mine")
	check(t, l.remove())
	check(t, l.remove()) // it is gone
	left := postgrestest.Query(t, l.serves, "app", `select (select count(*) from pg_namespace where nspname like 'look%') + (select count(*) from pg_foreign_server) + (select count(*) from pg_user_mapping)`)
	if left != "0" {
		t.Errorf("%s things are left", left)
	}
	_, err = as(t, none(l.target.CloseLink), LinkInput{Group: "prod", Branch: "look", Of: "app"})
	check(t, err)
	if b, err := os.ReadFile(l.branch.HBAFile()); err != nil || strings.Contains(string(b), linkRole) {
		t.Errorf("the branch lets the link in still: %v", err)
	}
	postgrestest.Exec(t, l.serves, "app", "create schema look")
	if _, err := l.link(); typeOf(err) != string(fault.Taken) {
		t.Errorf("into a schema of somebody: %v", err)
	}
}

// Between hosts both sides agree on a password that neither tells anybody.
func TestALinkBetweenHosts(t *testing.T) {
	l := newLinks(t, "h2", false)
	postgrestest.Exec(t, l.branch, "app", "insert into orders values (11, 'bad')")
	for range 2 { // also when it is made again
		_, err := l.link()
		check(t, err)
	}
	check(t, l.run("teller", bringMissing))
	if n := postgrestest.Query(t, l.serves, "app", "select count(*) from orders"); n != "11" {
		t.Errorf("%s orders", n)
	}
	password := strings.TrimSuffix(strings.TrimPrefix(postgrestest.Query(t, l.serves, "app", "select o from pg_user_mappings, unnest(umoptions) o where o like 'password=%'"), "password="), "}")
	if len(password) < 30 {
		t.Fatalf("the password is %q", password)
	}
	for _, s := range []*postgres.Server{l.serves, l.branch} {
		b, err := os.ReadFile(s.LogFile)
		check(t, err)
		if strings.Contains(string(b), password) {
			t.Error("the password is in a log")
		}
		if !strings.Contains(string(b), "smartdr") {
			t.Error("statements are not logged: the test shows nothing")
		}
	}
}

// What PostgreSQL says of a statement that fails inside of another one has the statement in it.
func TestTheFailureOfAMappingDoesNotTellItsPassword(t *testing.T) {
	const password = "half-of-what-nobody-else-knows"
	s := postgrestest.Start(t, postgrestest.Installations(t)[0], map[string]string{"log_statement": "all"})
	conn, err := s.Open(t.Context(), "postgres")
	check(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // all was said
	err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		return makeMapping(t.Context(), tx, "no_such_server", linkRole, "", password)
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "42704" || !strings.Contains(pg.Message, "no_such_server") {
		t.Fatalf("a mapping for a server that is not there: %v", err)
	}
	log, err := os.ReadFile(s.LogFile)
	check(t, err)
	if said := fmt.Sprintf("%+v", *pg); strings.Contains(said, password) || strings.Contains(string(log), password) {
		t.Errorf("the password is in the error, or in the log: %s", pg.Where)
	}
}

// A branch that cannot be written is read as somebody who may read it anyway, on the same host, and never as a superuser.
func TestALinkOfAReadOnlyBranch(t *testing.T) {
	l := newLinks(t, "h1", true)
	access, err := as(t, l.target.OpenLink, l.in)
	check(t, err)
	if access.User != "teller" || !access.Peer {
		t.Errorf("reads as %+v", access)
	}
	_, err = l.link()
	check(t, err)
	check(t, l.run("teller", bringMissing))
	postgrestest.Exec(t, l.branch, "postgres", "alter database app owner to postgres")
	if _, err := l.link(); typeOf(err) != string(fault.Invalid) || !strings.Contains(err.Error(), "superusers") {
		t.Errorf("as a superuser: %v", err)
	}
	l.update(t, func(g *topology.Group) { g.Branches[0].Attached.Host = "h2" })
	if _, err := l.link(); typeOf(err) != string(fault.Invalid) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("from another host: %v", err)
	}
}

func TestGrantees(t *testing.T) {
	for item, want := range map[string][2]string{
		"teller=arwdDxt/teller": {"teller", "arwdDxt"}, "=r/x": {"", "r"}, `"a=""b"=r*w/"c d"`: {`a="b`, "r*w"}, "x=/y": {"x", ""},
	} {
		if role, privileges := grantee(item); role != want[0] || privileges != want[1] {
			t.Errorf("%s: %q, %q", item, role, privileges)
		}
	}
}

func TestALinkIsRecordedWithItsAttachment(t *testing.T) {
	link := topology.Link{Database: "app", Of: "app", Schema: "look", Server: "smartdr_look"}
	g := topology.Group{Branches: []topology.Branch{{Name: "look", Attached: &topology.Attachment{ID: "1", Links: []topology.Link{{Database: "app", Schema: "other"}}}}}}
	in := RecordLinkInput{Branch: "look", Attachment: "1", Link: link}
	for range 2 {
		check(t, in.record(&g))
	}
	if n := len(g.Branches[0].Attached.Links); n != 2 {
		t.Errorf("%d links", n)
	}
	in.Remove = true
	check(t, in.record(&g))
	if links := g.Branches[0].Attached.Links; len(links) != 1 || links[0].Schema != "other" {
		t.Errorf("left are %+v", links)
	}
	in.Attachment, in.Remove = "2", false
	if err := in.record(&g); !fault.Is(err, fault.Invalid) {
		t.Errorf("of another attachment: %v", err)
	}
}
