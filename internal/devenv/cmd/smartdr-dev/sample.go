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
)

// The sample is what a small company would have: two databases, each with a ledger and its owner, and a role that may
// read a part of one.
const (
	appDB, billingDB   = "app", "billing"
	appUser            = "app_rw"     // owns app
	billingUser        = "billing_rw" // owns billing, which is closed to others
	reportUser         = "report_ro"  // reads accounts and transfers of app, and no postings
	insufficientRights = "42501"
	wrongPassword      = "28P01"
)

var owners = map[string]string{appDB: appUser, billingDB: billingUser}

// sample holds the roles' passwords.
type sample struct {
	server    *devenv.Postgres
	passwords map[string]string
}

// createSample makes roles, databases and megabytes of data.
func createSample(ctx context.Context, p *devenv.Postgres, megabytes int) (*sample, error) {
	s := &sample{server: p, passwords: map[string]string{}}
	for _, role := range []string{appUser, billingUser, reportUser} {
		s.passwords[role] = rand.Text()
		if err := p.Exec(ctx, "postgres", fmt.Sprintf("create role %s login password '%s'", role, s.passwords[role])); err != nil {
			return nil, err
		}
	}
	for _, db := range []string{appDB, billingDB} {
		share := megabytes * 3 / 4
		if db == billingDB {
			share = megabytes / 4
		}
		if err := s.createDatabase(ctx, db, share); err != nil {
			return nil, err
		}
	}
	// A server that has run for a while had its checkpoints; without one, all of the loading would be shipped as WAL too.
	return s, p.Exec(ctx, appDB, "grant select on accounts, transfers to "+reportUser, "checkpoint")
}

func (s *sample) createDatabase(ctx context.Context, db string, megabytes int) error {
	err := s.server.Exec(ctx, "postgres",
		fmt.Sprintf("create database %s owner %s", db, owners[db]),
		fmt.Sprintf("revoke connect on database %s from public", db))
	if err == nil && db == appDB {
		err = s.server.Exec(ctx, "postgres", fmt.Sprintf("grant connect on database %s to %s", db, reportUser))
	}
	if err != nil {
		return err
	}
	conn, err := s.connect(ctx, s.server.URL(owners[db], db), owners[db])
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := ledger.Setup(ctx, conn); err != nil {
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
