package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const roles = 12

// crossed makes a dozen roles with passwords that are members of one another, own and may use each other's things.
func crossed(t *testing.T, s *postgres.Server) {
	t.Helper()
	for i := range roles {
		postgrestest.Exec(t, s, "postgres", fmt.Sprintf(`create role r%d login password 'secret-%d' connection limit %d`, i, i, i+1))
	}
	postgrestest.Exec(t, s, "postgres", `create database kept`)
	postgrestest.Exec(t, s, "postgres", `create database "not chosen"`)
	for i := range roles {
		next := (i + 5) % roles
		if next > i {
			postgrestest.Exec(t, s, "postgres", fmt.Sprintf(`grant r%d to r%d with admin option`, next, i))
		}
		postgrestest.Exec(t, s, "kept", fmt.Sprintf(`create schema s%[1]d authorization r%[1]d; grant usage on schema s%[1]d to r%[2]d;
			create table s%[1]d.t (id int, hidden text); alter table s%[1]d.t owner to r%[1]d; grant select (id) on s%[1]d.t to r%[2]d;
			alter default privileges for role r%[1]d in schema s%[1]d grant insert on tables to r%[2]d; alter role r%[1]d in database kept set work_mem = '%[3]dMB'`, i, next, i+1))
	}
	postgrestest.Exec(t, s, "not chosen", `create table gone ()`)
	postgrestest.Exec(t, s, "postgres", `alter database "not chosen" set work_mem = '9MB'`)
}

// promotedCopy is a promoted standby of a primary that is gone.
func promotedCopy(t *testing.T, l *looks) (*postgres.Server, RestoreInput) {
	t.Helper()
	standby := postgrestest.StartStandby(t, l.server)
	postgrestest.WaitReplayed(t, l.server, standby)
	end, err := wal.ParseLSN(postgrestest.Query(t, standby, "postgres", `select pg_last_wal_replay_lsn()`))
	check(t, err)
	check(t, l.server.Kill(t.Context()))
	check(t, standby.Promote(t.Context()))
	check(t, standby.Start(t.Context()))
	check(t, standby.Save())
	return standby, RestoreInput{Group: "prod", Plan: WorkspacePlan{Workspace: "main", Point: topology.RecoveryPoint{RecordEnd: end}}}
}

func TestUsersAndPermissionsAreTheSameAfterAFailover(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t)
		l := &looks{world: w, server: postgrestest.Start(t, bin, nil), capturer: &capturer{Source: &Source{Site: w.Site}}}
		l.sub = subject{source: postgrestest.Source(l.server, "postgres", "postgres")}
		w.update(t, func(g *topology.Group) { g.Replication.Databases = []string{"kept"} })
		crossed(t, l.server)
		postgrestest.Exec(t, l.server, "postgres", `select pg_switch_wal()`)
		l.look(t)
		standby, in := promotedCopy(t, l)
		postgrestest.Exec(t, standby, "postgres", `drop database "not chosen"`)
		target := &Target{Site: w.Site}
		notes, err := target.compareInventory(t.Context(), standby, in)
		if err != nil || len(notes) > 0 {
			t.Fatalf("%v, notes %q", err, notes)
		}
		login(t, standby)
		postgrestest.Exec(t, standby, "postgres", `alter role r3 connection limit 99`)
		postgrestest.Exec(t, standby, "kept", `revoke select (id) on s1.t from r6`)
		wantDifferences(t, target, standby, in, "2 things are not as they were", "which is before the recovery point", "role r3: connection limit 4 on the primary, 99 here", "column s1.t.id of database kept: only on the primary")
		in.Plan.Point.RecordEnd = 1
		wantDifferences(t, target, standby, in, "which is after the recovery point")
		postgrestest.Exec(t, standby, "postgres", `do $$begin for i in 1..50 loop execute format('create role more%s', i); end loop; end$$`)
		wantDifferences(t, target, standby, in, "52 things", "and 12 more")
	})
}

func wantDifferences(t *testing.T, target *Target, s *postgres.Server, in RestoreInput, want ...string) {
	t.Helper()
	notes, err := target.compareInventory(t.Context(), s, in)
	check(t, err)
	for _, text := range want {
		if !strings.Contains(strings.Join(notes, "\n"), text) {
			t.Errorf("no note says %q: %q", text, notes)
		}
	}
}

// login logs every role in with its password, and with another one.
func login(t *testing.T, s *postgres.Server) {
	t.Helper()
	check(t, s.WriteHBA("host all all 127.0.0.1/32 scram-sha-256\n"))
	check(t, s.Reload(t.Context()))
	connect := func(i int, password string) error {
		cfg, err := pgx.ParseConfig(fmt.Sprintf("host=127.0.0.1 port=%d user=r%d dbname=kept sslmode=disable", s.Port, i))
		check(t, err)
		cfg.Password = password
		conn, err := pgx.ConnectConfig(t.Context(), cfg)
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err
	}
	devtest.Until(t, "the rules hold", func() bool { return connect(0, "wrong") != nil })
	for i := range roles {
		if err := connect(i, fmt.Sprintf("secret-%d", i)); err != nil {
			t.Errorf("role r%d cannot log in: %v", i, err)
		}
		if connect(i, "wrong") == nil {
			t.Errorf("role r%d logs in with a wrong password", i)
		}
	}
}

// The comparison finds what to look at; it must not keep a workspace from coming back.
func TestAComparisonThatCannotBeMadeIsANote(t *testing.T) {
	w := newWorld(t)
	s := startServer(t)
	target, in := &Target{Site: w.Site}, RestoreInput{Group: "prod", Plan: WorkspacePlan{Workspace: "main"}}
	wantDifferences(t, target, s, in, "nobody ever captured those")
	revive := []func(){w.faults["east"].Add(objectstore.Rule{Dead: true}), w.faults["west"].Add(objectstore.Rule{Dead: true})}
	wantDifferences(t, target, s, in, "were not compared")
	for _, f := range revive {
		f()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := target.compareInventory(ctx, s, in); err == nil {
		t.Error("a comparison whose time is over says nothing")
	}
}
