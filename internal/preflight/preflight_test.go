package preflight_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/preflight"
	"github.com/smartdr/smartdr/internal/topology"
)

var options = preflight.Options{SlotName: "smartdr_prod_main", AppName: "smartdr_prod_main"}

func TestServersThatCannotBeReplicated(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		p := devtest.Postgres(t, devenv.PostgresOptions{Major: major, Settings: map[string]string{
			"max_prepared_transactions": "5", "max_replication_slots": "2", "max_wal_senders": "3",
		}})
		good := p.RemoteSource("postgres")
		for _, c := range []struct {
			name    string
			prepare []string
			undo    []string
			change  func(*topology.Source, *preflight.Options)
			want    []string // codes
			says    string
		}{
			{name: "nothing is wrong"},
			{name: "wrong password", change: func(s *topology.Source, _ *preflight.Options) { s.PasswordFile = passwordFile(t, "wrong") },
				want: []string{"connect"}, says: "password"},
			{name: "nobody listens", change: func(s *topology.Source, _ *preflight.Options) {
				s.ConnString = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", unusedPort(t))
			}, want: []string{"connect"}, says: "refused"},
			{name: "no such database to connect to", change: func(s *topology.Source, _ *preflight.Options) {
				s.ConnString = strings.Replace(s.ConnString, "/postgres", "/nowhere", 1)
			}, want: []string{"connect"}, says: "nowhere"},
			{name: "a role without REPLICATION", prepare: []string{`create role plain login password 'plain'`}, undo: []string{`drop role plain`},
				change: asRole(t, p, "plain"), want: []string{"replication-privilege"}, says: "ALTER ROLE"},
			{name: "no free slot", prepare: []string{`select pg_create_physical_replication_slot('a')`, `select pg_create_physical_replication_slot('b')`},
				undo: []string{`select pg_drop_replication_slot('a')`, `select pg_drop_replication_slot('b')`},
				want: []string{"slots"}, says: "max_replication_slots"},
			{name: "our slot is there already", prepare: []string{`select pg_create_physical_replication_slot('smartdr_prod_main')`, `select pg_create_physical_replication_slot('b')`},
				undo: []string{`select pg_drop_replication_slot('smartdr_prod_main')`, `select pg_drop_replication_slot('b')`}},
			{name: "a prepared transaction in a database that is left out",
				prepare: []string{`create database left_out`, `\c left_out`, `begin; create table t(); prepare transaction 'p1'`}, undo: []string{`\c left_out`, `rollback prepared 'p1'`, `\c postgres`, `drop database left_out`},
				change: func(_ *topology.Source, o *preflight.Options) { o.Only = true }, want: []string{"prepared-left-out"}, says: "p1"},
			{name: "an interrupted DROP DATABASE", prepare: []string{`create database half`, `update pg_database set datconnlimit = -2 where datname = 'half'`}, undo: []string{`drop database half`},
				want: []string{"invalid-database"}, says: `DROP DATABASE "half"`},
		} {
			t.Run(c.name, func(t *testing.T) {
				run(t, p, c.prepare)
				defer run(t, p, c.undo)
				src, opts := good, options
				if c.change != nil {
					c.change(&src, &opts)
				}
				r := check(t, src, opts)
				if diff := cmp.Diff(c.want, codes(r.Problems)); diff != "" {
					t.Fatalf("problems (-want +got):\n%s%v", diff, r.Problems)
				}
				if len(c.want) == 0 {
					return
				}
				err := r.Err()
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error()+fault.HintOf(err), c.says) {
					t.Errorf("error %v, hint %q: want fault.Invalid that says %q", err, fault.HintOf(err), c.says)
				}
			})
		}
	})
}

func TestServersWhoseSettingsForbidReplication(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings map[string]string
		want     string
	}{
		{"wal_level minimal", map[string]string{"wal_level": "minimal", "max_wal_senders": "0"}, "wal-level"},
		{"too few senders", map[string]string{"max_wal_senders": "1"}, "senders"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := devtest.Postgres(t, devenv.PostgresOptions{Settings: c.settings})
			r := check(t, p.RemoteSource("postgres"), options)
			if got := codes(r.Problems); len(got) == 0 || got[0] != c.want {
				t.Errorf("problems %v, want %s first", got, c.want)
			}
		})
	}
}

func TestWithoutARuleForReplicationTheServerCannotBeAdopted(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{})
	if err := p.WriteHBA("host all all 127.0.0.1/32 scram-sha-256\n"); err != nil {
		t.Fatal(err)
	}
	run(t, p, []string{`select pg_reload_conf()`})
	devtest.Until(t, "the rule to be gone", func() bool {
		return cmp.Equal(codes(check(t, p.RemoteSource("postgres"), options).Problems), []string{"replication-connection"})
	})
}

func TestWhatWorksButShouldBeKnown(t *testing.T) {
	p := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{
		"full_page_writes": "off", "max_slot_wal_keep_size": "-1", "synchronous_standby_names": "*", "synchronous_commit": "local",
	}})
	r := check(t, p.RemoteSource("postgres"), options)
	if diff := cmp.Diff([]string{"full-page-writes", "slot-limit", "synchronous"}, codes(r.Warnings)); diff != "" || len(r.Problems) > 0 {
		t.Errorf("warnings (-want +got):\n%sproblems %v", diff, r.Problems)
	}
	if r.Facts.SystemID == "" {
		t.Error("the system identifier was not read")
	}
}

func check(t *testing.T, src topology.Source, opts preflight.Options) preflight.Report {
	t.Helper()
	r, err := preflight.Check(devtest.Context(t), src, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run executes statements in the database "postgres", or in the one that `\c name` chose.
func run(t *testing.T, p *devenv.Postgres, statements []string) {
	t.Helper()
	database := "postgres"
	for _, s := range statements {
		if name, ok := strings.CutPrefix(s, `\c `); ok {
			database = name
			continue
		}
		if err := p.Exec(context.WithoutCancel(t.Context()), database, s); err != nil {
			t.Fatal(err)
		}
	}
}

func codes(findings []preflight.Finding) (codes []string) {
	for _, f := range findings {
		codes = append(codes, f.Code)
	}
	return codes
}

func asRole(t *testing.T, p *devenv.Postgres, role string) func(*topology.Source, *preflight.Options) {
	return func(s *topology.Source, _ *preflight.Options) {
		s.ConnString = fmt.Sprintf("postgres://%s@%s/postgres", role, p.Addr())
		s.PasswordFile = passwordFile(t, role)
	}
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func unusedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
