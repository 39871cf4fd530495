package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
)

// The sample is what a small company would have: three databases on two servers, each with a ledger and its owner, a role that
// may read a part of one, and a database that is not worth replicating.
const (
	mainSpace, reportSpace = "main", "reports" // adopted, and managed

	appDB, billingDB = "app", "billing" // of main
	reportDB         = "warehouse"      // of reports
	scratchDB        = "scratch"        // of main, left out

	appUser       = "app_rw"       // owns app
	billingUser   = "billing_rw"   // owns billing, which is closed to others
	warehouseUser = "warehouse_rw" // owns warehouse
	reportUser    = "report_ro"    // reads accounts and transfers of app, and no postings

	insufficientRights = "42501"
	wrongPassword      = "28P01"
	notLetIn           = "28000"
)

// By replicated database.
var (
	owners     = map[string]string{appDB: appUser, billingDB: billingUser, reportDB: warehouseUser}
	workspaces = map[string]string{appDB: mainSpace, billingDB: mainSpace, reportDB: reportSpace}
)

// sample holds the servers that serve now, by workspace, and the roles' passwords.
type sample struct {
	servers   map[string]*postgres.Server
	passwords map[string]string
}

// rules of the server that is adopted: SmartDR's firewall begins to hold for it when SmartDR runs it.
const rules = "host all,replication " + devenv.ReplicationRole + " 127.0.0.1/32 scram-sha-256\nhost all all " + firewall + " scram-sha-256\n"

// createSample fills the server that is adopted later with roles, databases and megabytes of data.
func createSample(ctx context.Context, p *devenv.Postgres, megabytes int) (*sample, error) {
	s := &sample{servers: map[string]*postgres.Server{mainSpace: p.Server}, passwords: map[string]string{}}
	if err := errors.Join(p.WriteHBA(rules), p.Reload(ctx)); err != nil {
		return nil, err
	}
	for _, role := range []string{appUser, billingUser, warehouseUser, reportUser} {
		s.passwords[role] = rand.Text()
	}
	// Only through a superuser can SmartDR fence a server beyond doubt, and know where its last commit lies.
	if err := p.Exec(ctx, "postgres", "alter role "+devenv.ReplicationRole+" superuser", s.role(reportUser), "create role readers", "grant readers to "+reportUser, "create database "+scratchDB); err != nil {
		return nil, err
	}
	for db, share := range map[string]int{appDB: megabytes * 3 / 4, billingDB: megabytes / 4} {
		if err := s.createDatabase(ctx, db, share); err != nil {
			return nil, err
		}
	}
	err := p.Exec(ctx, scratchDB, fmt.Sprintf("create table logs as select g as id, repeat(md5(g::text), 30) as line from generate_series(1, %d) g", megabytes*500))
	if err != nil {
		return nil, err
	}
	// A server that has run for a while had its checkpoints; without one, all of the loading would be shipped as WAL too.
	return s, p.Exec(ctx, appDB, "grant select on accounts, transfers to readers", "checkpoint", "select pg_switch_wal()", "checkpoint")
}

func (s *sample) role(name string) string {
	return fmt.Sprintf("create role %s login password '%s'", name, s.passwords[name])
}

// url is where a database is before the loss.
func (s *sample) url(role, db string) string {
	return fmt.Sprintf("postgresql://%s@127.0.0.1:%d/%s?sslmode=disable", role, s.servers[workspaces[db]].Port, db)
}

// exec runs statements as the superuser of a workspace.
func (s *sample) exec(ctx context.Context, workspace, db string, statements ...string) error {
	p := devenv.Postgres{Server: s.servers[workspace]}
	return p.Exec(ctx, db, statements...)
}

// touched has each account say when it was changed last: two sides that happen to take the same amount from it do not look alike then.
const touched = `alter table accounts add column changed_at timestamptz not null default clock_timestamp();
	create function touch() returns trigger language plpgsql as $$ begin new.changed_at = clock_timestamp(); return new; end $$;
	create trigger touch before update on accounts for each row execute function touch()`

// createDatabase makes a database with its owner, a ledger and megabytes of documents.
func (s *sample) createDatabase(ctx context.Context, db string, megabytes int) error {
	err := s.exec(ctx, workspaces[db], "postgres", s.role(owners[db]),
		fmt.Sprintf("create database %s owner %s", db, owners[db]),
		fmt.Sprintf("revoke connect on database %s from public", db))
	if err == nil && workspaces[db] == mainSpace { // so that what is in it can be looked at
		err = s.exec(ctx, mainSpace, "postgres", fmt.Sprintf("grant connect on database %s to %s", db, devenv.ReplicationRole))
	}
	if err == nil && db == appDB {
		err = s.exec(ctx, workspaces[db], "postgres", fmt.Sprintf("grant connect on database %s to readers", db))
	}
	if err != nil {
		return err
	}
	conn, err := s.connect(ctx, s.url(owners[db], db), owners[db])
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := ledger.Setup(ctx, conn); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, touched); err != nil {
		return err
	}
	// Text that compresses about as well as business data does; 3500 rows are a megabyte.
	_, err = conn.Exec(ctx, fmt.Sprintf(`create table documents (id int primary key, body text);
		insert into documents select g, repeat(md5(g::text), 2) || md5((g*7)::text) || md5((g*11)::text) || md5((g*13)::text) || md5((g*17)::text)
		from generate_series(1, %d) g`, megabytes*3500))
	return err
}

func (s *sample) connect(ctx context.Context, url, role string) (*pgx.Conn, error) {
	return devenv.Connect(ctx, url, s.passwords[role])
}

// writePgpass writes the passwords for psql and other clients, in the form of ~/.pgpass.
func (s *sample) writePgpass(dir string) (string, error) {
	var b strings.Builder
	for role, password := range s.passwords {
		fmt.Fprintf(&b, "127.0.0.1:*:*:%s:%s\n", role, password)
	}
	path := filepath.Join(dir, "pgpass")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// rights checks at the server behind url that roles may do what they could, and nothing else. It returns what is not so.
func (s *sample) rights(ctx context.Context, url func(role, db string) (string, error)) (broken []string) {
	for _, c := range []struct {
		what, role, password, db, query, code string
	}{
		{"read accounts", reportUser, s.passwords[reportUser], appDB, "select count(*) from accounts", ""},
		{"write transfers", reportUser, s.passwords[reportUser], appDB, "insert into transfers (id) values ('x')", insufficientRights},
		{"read postings", reportUser, s.passwords[reportUser], appDB, "select count(*) from postings", insufficientRights},
		{"enter billing", appUser, s.passwords[appUser], billingDB, "select 1", insufficientRights},
		{"enter billing", billingUser, s.passwords[billingUser], billingDB, "select count(*) from postings", ""},
		{"enter the warehouse", warehouseUser, s.passwords[warehouseUser], reportDB, "select count(*) from postings", ""},
		{"enter with a wrong password", appUser, "guess", appDB, "select 1", wrongPassword},
	} {
		u, err := url(c.role, c.db)
		if err == nil {
			err = try(ctx, u, c.password, c.query)
		}
		if got := sqlState(err); got != c.code || (err != nil && got == "") {
			broken = append(broken, fmt.Sprintf("%s tries to %s: want SQLSTATE %q, got %v", c.role, c.what, c.code, err))
		}
	}
	return broken
}

func try(ctx context.Context, url, password, query string) error {
	conn, err := devenv.Connect(ctx, url, password)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, query)
	return err
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
