package topology_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// mainRules are the access rules of the adopted server. Order matters: the first rule that fits decides.
const mainRules = `host replication,all smartdr 127.0.0.1/32 scram-sha-256
local shop app peer map=ops
host shop app 127.0.0.10/32 reject
host shop app 127.0.0.8/29 scram-sha-256
host shop +readers 127.0.0.16 255.255.255.240 scram-sha-256
host shop "Strange ""Name""" 127.0.0.33/32 scram-sha-256
host "shop","bank" dba 127.0.0.34/32 trust
host all app 127.0.0.48/28 reject
host all all 127.0.0.1/32 scram-sha-256
`

// firewall is who may reach the servers that SmartDR runs. The adopted server has its own rules until it is lost, and none of
// these is wider.
const firewall = "127.0.0.0/26"

// laterRule is added while replication runs.
const laterRule = "host shop auditor 127.0.0.40/32 scram-sha-256\n"

// knock is one attempt to get in.
type knock struct {
	space, role, database, from string
	code                        string // SQLSTATE; empty: it gets in
}

var knocks = []knock{
	{mainSpace, teller, bankDB, "127.0.0.1", ""},
	{mainSpace, "app", shopDB, "127.0.0.9", ""},
	{mainSpace, "app", shopDB, "127.0.0.10", notLetIn},
	{mainSpace, "app", shopDB, "127.0.0.15", ""},
	{mainSpace, "app", shopDB, "127.0.0.50", notLetIn},
	{mainSpace, "app", bankDB, "127.0.0.9", notLetIn},
	{mainSpace, "report", shopDB, "127.0.0.17", ""}, // a member of readers
	{mainSpace, "tenant_a", shopDB, "127.0.0.200", notLetIn},
	{mainSpace, "batch", shopDB, "127.0.0.17", notLetIn}, // no member
	{mainSpace, `Strange "Name"`, shopDB, "127.0.0.33", ""},
	{mainSpace, "dba", shopDB, "127.0.0.34", ""},
	{mainSpace, "dba", "postgres", "127.0.0.34", notLetIn},
	{mainSpace, "auditor", shopDB, "127.0.0.40", ""},
	{mainSpace, "auditor", shopDB, "127.0.0.41", notLetIn},
	{ordersSpace, teller, bankDB, "127.0.0.1", ""},
	{ordersSpace, teller, bankDB, "127.0.0.63", ""},
	{ordersSpace, teller, bankDB, "127.0.0.5", notLetIn}, // by a rule of its own
	{ordersSpace, teller, bankDB, "127.0.0.64", notLetIn},
	{reportSpace, teller, bankDB, "127.0.0.5", ""},
	{reportSpace, teller, bankDB, "127.0.0.77", notLetIn},
}

func (w *world) createAccess() {
	w.t.Helper()
	w.setAccess(mainRules)
}

func (w *world) changeAccess() {
	w.t.Helper()
	w.setAccess(mainRules + laterRule)
	w.knockAll(func(s *space) *postgres.Server { return s.was })
}

// setAccess writes the rules of the adopted server, and maps this process's account to role app.
func (w *world) setAccess(rules string) {
	w.t.Helper()
	p := w.space(mainSpace).was
	if err := p.WriteHBA(rules); err != nil {
		w.t.Fatal(err)
	}
	inForceSince := func() (at time.Time) { w.scan(p, "postgres", "select pg_conf_load_time()", &at); return at }
	before := inForceSince()
	me, err := user.Current()
	if err == nil {
		err = appendTo(p.IdentFile(), fmt.Sprintf("ops %s app\nops somebody_else dba\n", me.Username))
	}
	if err == nil {
		err = p.Reload(w.t.Context())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	devtest.Until(w.t, "the access rules to be in force", func() bool { return inForceSince().After(before) })
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// checkAccess knocks again where the workspaces are now.
func (w *world) checkAccess(topology.Operation) {
	w.knockAll(func(s *space) *postgres.Server { return s.is })
}

func (w *world) knockAll(at func(*space) *postgres.Server) {
	w.t.Helper()
	for _, k := range knocks {
		err := w.attempt(at(w.space(k.space)), k.from, k.role, w.passwords[k.role], k.database, "select 1")
		if got := sqlState(err); got != k.code {
			w.t.Errorf("%s knocks at database %s of %s from %s: SQLSTATE %q, want %q: %v", k.role, k.database, k.space, k.from, got, k.code, err)
		}
	}
	s := at(w.space(mainSpace))
	if err := w.attempt(s, s.SocketDir, "app", "", shopDB, "select 1"); err != nil {
		w.t.Errorf("this process's account is mapped to role app, and does not get in by the socket: %v", err)
	}
}

// attempt connects as a role from an address of this host, or by the socket in a folder, and runs a statement.
func (w *world) attempt(s *postgres.Server, from, role, password, database, statement string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), devtest.Patience)
	defer cancel()
	cfg, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = "127.0.0.1", uint16(s.Port), role, password, database
	if ip := net.ParseIP(from); ip != nil {
		cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext
	} else {
		cfg.Host = from
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
	_, err = conn.PgConn().Exec(ctx, statement).ReadAll()
	return err
}

// sqlState returns the code of a server's error, the text of another error, and "" for none.
func sqlState(err error) string {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Code
	case err != nil:
		return err.Error()
	}
	return ""
}
