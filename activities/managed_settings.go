package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// applySettings brings the server's own settings file in line with what is wanted: names that were applied before, or are
// given in reset, and are not wanted any more go back to their defaults. It returns the settings that SmartDR no longer
// fixes on the command line, since they wait for a restart too. The server follows after reload.
func applySettings(ctx context.Context, s *postgres.Server, wanted map[string]string, reset []string) (freed []string, err error) {
	dir := s.InstanceDir()
	var before made
	if _, err := readState(dir, madeFile, &before); err != nil {
		return nil, err
	}
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	for _, name := range slices.Concat(settingNames(before.Settings), reset) {
		if _, ok := wanted[name]; !ok {
			if err := alterSystem(ctx, conn, "reset "+settingIdentifier(name)); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range settingNames(wanted) {
		if err := setSetting(ctx, conn, name, wanted[name]); err != nil {
			return nil, err
		}
	}
	if freed, err = unfix(s, wanted); err != nil {
		return nil, err
	}
	return freed, writeState(dir, madeFile, made{Settings: wanted})
}

// unfix takes settings that are chosen now from those that the server is started with by -c, where a restore has put them.
func unfix(s *postgres.Server, wanted map[string]string) (freed []string, err error) {
	for _, name := range settingNames(wanted) {
		if value, fixed := s.Settings[name]; fixed && value != wanted[name] {
			freed = append(freed, name)
		}
		delete(s.Settings, name)
	}
	return freed, s.Save()
}

// setSetting sets a setting of the whole server. One of an extension, or of an application, is made known to the session
// first: until version 17 ALTER SYSTEM refuses names that nothing has defined yet.
func setSetting(ctx context.Context, conn *pgx.Conn, name, value string) error {
	if strings.Contains(name, ".") {
		if _, err := conn.Exec(ctx, "select set_config($1, $2, false)", name, value); err != nil {
			return sqlError("set "+name, err)
		}
	}
	return alterSystem(ctx, conn, "set "+settingIdentifier(name)+" = "+literal(value))
}

func alterSystem(ctx context.Context, conn *pgx.Conn, what string) error {
	_, err := conn.Exec(ctx, "alter system "+what)
	return sqlError("alter system "+what, err)
}

// settingIdentifier quotes each part of a setting's name.
func settingIdentifier(name string) string {
	return pgx.Identifier(strings.Split(name, ".")).Sanitize()
}

// literal quotes a string; standard_conforming_strings may be off.
func literal(s string) string {
	if strings.Contains(s, `\`) {
		return "E'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(s) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// sqlError judges what a server answered: what it refuses is fault.Invalid, and everything else may pass.
func sqlError(op string, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && !strings.HasPrefix(pg.Code, "57") && !strings.HasPrefix(pg.Code, "08") && !strings.HasPrefix(pg.Code, "53") {
		return fault.Newf(fault.Invalid, op, "%s", pg.Message).WithHint("%s", pg.Hint)
	}
	return dsn.ConnectError(op, err)
}

// reloadWithin is how long a server may take to read its files; one that finds an error in them never says that it did.
const reloadWithin = 20 * time.Second

// reload makes the server read its files again, waits until it has, and returns the settings that wait for a restart.
func reload(ctx context.Context, s *postgres.Server) (waiting []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reloadWithin)
	defer cancel()
	before, err := loadedAt(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := s.Reload(ctx); err != nil {
		return nil, err
	}
	for {
		after, err := loadedAt(ctx, s)
		if err != nil {
			return nil, err
		}
		if after.After(before) {
			return awaitRestart(ctx, s)
		}
		if pauseFor(ctx, 20*time.Millisecond); ctx.Err() != nil {
			return nil, fault.Newf(fault.Transient, "reload server", "it does not read its files: %w", ctx.Err()).WithHint("Its log, %s, says why.", s.LogFile)
		}
	}
}

// loadedAt asks when the server has read its files: a new session knows it from the postmaster.
func loadedAt(ctx context.Context, s *postgres.Server) (at time.Time, err error) {
	err = ask(ctx, s, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, "select pg_conf_load_time()").Scan(&at) })
	return at, err
}

// awaitRestart returns the names of the settings that wait for a restart.
func awaitRestart(ctx context.Context, s *postgres.Server) (waiting []string, err error) {
	err = ask(ctx, s, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, "select name from pg_settings where pending_restart order by 1")
		if err == nil {
			waiting, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return waiting, err
}

func ask(ctx context.Context, s *postgres.Server, question func(*pgx.Conn) error) error {
	conn, err := s.Open(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read from
	return sqlError("ask server", question(conn))
}

// restartWithin is how long clients wait for a restart: beyond it something keeps the server from ending.
const restartWithin = 2 * time.Minute

func restart(ctx context.Context, s *postgres.Server) error {
	ctx, cancel := context.WithTimeout(ctx, restartWithin)
	defer cancel()
	if err := s.Stop(ctx, postgres.Fast); err != nil {
		return err
	}
	if err := s.Start(ctx); err != nil {
		return fault.Newf(fault.KindOf(err), "restart server", "%w", err)
	}
	return nil
}

func waitingNote(names []string) string {
	return fmt.Sprintf("waits for a restart: %s", strings.Join(names, ", "))
}

func settingNames(settings map[string]string) []string { return slices.Sorted(maps.Keys(settings)) }
