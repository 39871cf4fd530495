package fence_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// TestClientsGoOnFromAFencedServer gives clients a string that names the server that was left before the one that serves.
// docs/fencing.md says of each state of the former where libpq goes on: a test for those who rely on it, and one that tells when
// a newer libpq does better.
func TestClientsGoOnFromAFencedServer(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		left, serves := newWorld(t, bin, nil), newWorld(t, bin, nil)
		given := fmt.Sprintf("postgresql://app@127.0.0.1:%d,127.0.0.1:%d/shop?sslmode=disable&target_session_attrs=read-write&connect_timeout=60",
			left.server.Port, serves.server.Port)
		for _, c := range []struct {
			name    string
			do      func()
			port    int
			refuses string // how libpq stops; empty: it goes on
		}{
			{"it serves", func() {}, left.server.Port, ""},
			{"fenced as far as a role without superuser can", func() { left.fenceAs("limited") }, serves.server.Port, ""},
			{"fenced, and running", func() { left.apply(left.options("op-1")) }, serves.server.Port, "no pg_hba.conf entry"},
			{"fenced, and stopped", left.stop, serves.server.Port, ""},
			{"started again by its service manager", left.start, serves.server.Port, "no pg_hba.conf entry"},
		} {
			c.do()
			finds(t, c.name, given, c.port, c.refuses)
		}
	})
}

// finds checks where pgx and, if it is installed, psql arrive.
func finds(t *testing.T, when, given string, port int, refuses string) {
	t.Helper()
	const ask = "SELECT inet_server_port()"
	conn, err := pgx.Connect(t.Context(), given)
	if err != nil {
		t.Errorf("%s: pgx: %v", when, err)
	} else {
		var at int
		if err := errors.Join(conn.QueryRow(t.Context(), ask).Scan(&at), conn.Close(t.Context())); err != nil || at != port {
			t.Errorf("%s: pgx is at %d, %v; want %d", when, at, err, port)
		}
	}
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Logf("%s: psql is not installed", when)
		return
	}
	b, err := exec.CommandContext(t.Context(), psql, given, "-XAtc", ask).CombinedOutput()
	out := strings.TrimSpace(string(b))
	switch {
	case refuses == "" && (err != nil || out != fmt.Sprint(port)):
		t.Errorf("%s: psql says %s, %v; want %d", when, out, err, port)
	case refuses != "" && (err == nil || !strings.Contains(out, refuses)):
		t.Errorf("%s: psql says %s, %v; want %q: does libpq go on now? Then the documents say too little", when, out, err, refuses)
	}
}

// fenceAs fences by a role that is no superuser, and may make transactions begin read-only.
func (w world) fenceAs(role string) {
	w.Helper()
	postgrestest.Exec(w, w.server, "shop", strings.ReplaceAll(`CREATE ROLE $1 LOGIN IN ROLE clients, pg_signal_backend;
		GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO $1;
		GRANT EXECUTE ON FUNCTION pg_reload_conf(), pg_control_system() TO $1`, "$1", role))
	limited := w
	limited.source = topology.Source{ConnString: strings.Replace(w.source.ConnString, "user=smartdr", "user="+role, 1)}
	if r := limited.apply(limited.options("op-0")); r.Worth != topology.FenceBestEffort {
		w.Errorf("a role without superuser fenced: %s (%s)", r.Worth, r.Reason)
	}
	devtest.Until(w, "new sessions to begin read-only", func() bool {
		conn, err := w.as("app", "")
		return err == nil && conn.PgConn().ParameterStatus("default_transaction_read_only") == "on" && conn.Close(context.Background()) == nil
	})
}

func (w world) stop() {
	w.Helper()
	postgrestest.Check(w, w.server.Stop(context.Background(), postgres.Fast))
}
func (w world) start() { w.Helper(); postgrestest.Check(w, w.server.Start(context.Background())) }
