package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// AppName is the application_name of SmartDR's own sessions where the connection string gives none.
const AppName = "smartdr"

// missingFile is the SQLSTATE of a session that a library is to be loaded into which is not there: so a fence refuses.
const missingFile = "58P01"

// Open connects for SQL. A server that is fenced lets a superuser in all the same. Errors are judged by dsn.ConnectError.
func Open(ctx context.Context, src topology.Source) (*pgx.Conn, error) {
	conn, err := OpenAsClient(ctx, src)
	if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.Code == missingFile {
		if past, pastErr := OpenPast(ctx, src); pastErr == nil {
			return past, nil
		}
	}
	return conn, err
}

// OpenAsClient connects for SQL as any client would: a fence keeps it out.
func OpenAsClient(ctx context.Context, src topology.Source) (*pgx.Conn, error) {
	return open(ctx, src, nil)
}

// OpenPast connects for SQL past a fence, which takes a superuser; another role connects as any
// client would.
func OpenPast(ctx context.Context, src topology.Source) (*pgx.Conn, error) {
	conn, err := open(ctx, src, map[string]string{"session_preload_libraries": "", "default_transaction_read_only": "off"})
	if refused := new(pgconn.PgError); errors.As(err, &refused) && refused.Code == noPrivilege {
		return open(ctx, src, map[string]string{"default_transaction_read_only": "off"})
	}
	return conn, err
}

// noPrivilege is the SQLSTATE of a setting that the role may not choose.
const noPrivilege = "42501"

func open(ctx context.Context, src topology.Source, params map[string]string) (*pgx.Conn, error) {
	resolved, err := dsn.ConnConfig(src)
	if err != nil {
		return nil, err
	}
	cfg, err := pgx.ParseConfig(src.ConnString)
	if err != nil {
		return nil, fault.Newf(fault.Invalid, "connect", "%s", dsn.Redact(err.Error()))
	}
	cfg.Config = *resolved
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = AppName
	}
	maps.Copy(cfg.RuntimeParams, params)
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 15 * time.Second // a host that is gone swallows packets
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, dsn.ConnectError("connect", err)
	}
	return conn, nil
}

// Source returns how this host reaches a database of the server: as its superuser, through the socket.
func (s *Server) Source(database string) topology.Source {
	return topology.Source{ConnString: fmt.Sprintf("host=%s port=%d user=%s dbname=%s",
		quoteValue(s.SocketDir), s.Port, quoteValue(s.Superuser), quoteValue(database))}
}

// quoteValue quotes a value of a keyword/value connection string.
func quoteValue(v string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
}

// Open connects to a database of the server as its superuser, past everything that could keep a superuser out: a
// library that is not here, a login trigger, a fence.
func (s *Server) Open(ctx context.Context, database string) (*pgx.Conn, error) {
	params := map[string]string{
		"application_name": AppName, "session_preload_libraries": "", "local_preload_libraries": "",
		"default_transaction_read_only": "off", "statement_timeout": "0", "lock_timeout": "0",
	}
	if s.Bin.Major() >= 17 {
		params["event_triggers"] = "off"
	}
	return open(ctx, s.Source(database), params)
}

// Ready returns nil when the server takes connections.
func (s *Server) Ready(ctx context.Context) error {
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := conn.Ping(ctx); err != nil {
		return fault.New(fault.Transient, "ask whether the server is ready", err)
	}
	return nil
}

// Reload makes the server read its configuration files again.
func (s *Server) Reload(ctx context.Context) error {
	pid, running := s.Running(ctx)
	if !running {
		return fault.Newf(fault.Transient, "reload server", "it does not run")
	}
	if err := signalPID(pid, syscall.SIGHUP); err != nil {
		return fault.New(fault.Transient, "reload server", err)
	}
	return nil
}
