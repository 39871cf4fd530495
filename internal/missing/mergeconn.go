package missing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// quote writes an identifier.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal writes a constant; standard_conforming_strings does not matter to it.
func literal(s string) string {
	q := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// script runs statements without parameters.
func (m *merger) script(ctx context.Context, sql string) error {
	return m.conn.PgConn().Exec(ctx, sql).Close()
}

// exec runs one statement, and says how many rows it touched. Nothing is prepared: temporary tables of the same names have other columns the
// next time.
func (m *merger) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	tag, err := m.conn.Exec(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	return tag.RowsAffected(), err
}

// rows runs a query, and calls visit for each row after it was scanned.
func (m *merger) rows(ctx context.Context, sql string, args []any, to []any, visit func() error) error {
	rows, err := m.conn.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, to, visit)
	return err
}

// within runs steps behind a savepoint, and goes back there when they fail.
func (m *merger) within(ctx context.Context, name string, steps func() error) error {
	if err := m.script(ctx, "savepoint smartdr_"+name); err != nil {
		return err
	}
	err := steps()
	if err == nil {
		return m.script(ctx, "release savepoint smartdr_"+name)
	}
	if m.conn.IsClosed() {
		return err
	}
	return errors.Join(err, m.script(ctx, "rollback to savepoint smartdr_"+name+"; release savepoint smartdr_"+name))
}

// code returns the SQLSTATE of an error, or "".
func code(err error) string {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// condition names what a server refused, without its words: they have the value, and summaries and errors are read by many.
func condition(err error) string {
	var said *pgconn.PgError
	if errors.As(err, &said) && said.ConstraintName != "" {
		return fmt.Sprintf("SQLSTATE %s, constraint %s", said.Code, said.ConstraintName)
	}
	return "SQLSTATE " + code(err)
}

// refused reports whether a value, or a row, was refused by its type, by a constraint, or since it names a role that is not there.
func refused(err error) bool {
	c := code(err)
	return strings.HasPrefix(c, "22") || strings.HasPrefix(c, "23") || c == "42704"
}

// raced reports whether somebody else took a key between the look and the write.
func raced(err error) bool { return code(err) == "23505" || code(err) == "23P01" }

// judge gives an error its kind.
func (m *merger) judge(ctx context.Context, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	switch c := code(err); {
	case c == "55P03":
		return m.locked(ctx, err)
	case c == "42501":
		return fault.New(fault.Invalid, opMerge, err).WithHint("Connect as a superuser.")
	case c == serverFull:
		return fault.New(fault.Full, opMerge, err)
	case refused(err):
		return fault.Newf(fault.Invalid, opMerge, "the active database refuses a row: %s", condition(err))
	}
	return fault.New(fault.Transient, opMerge, err)
}

// locked says who holds what a merge waited for in vain.
func (m *merger) locked(ctx context.Context, err error) error {
	m.rollback(ctx)
	var names []string
	var gid string
	if askErr := m.rows(ctx, `select gid from pg_prepared_xacts where database = current_database() order by prepared`, nil, []any{&gid}, func() error {
		names = append(names, fmt.Sprintf("%q", gid))
		return nil
	}); askErr != nil {
		err = errors.Join(err, askErr)
	}
	said := fault.Newf(fault.Taken, opMerge, "somebody held a row that it needs for more than %s: %w", m.in.LockWait, err)
	if len(names) == 0 {
		return said.WithHint("Look into pg_locks for a transaction that stays open, and merge again when it has ended.")
	}
	return said.WithHint("Prepared transactions hold their rows until they end: COMMIT PREPARED or ROLLBACK PREPARED %s, and merge again.", strings.Join(names, ", "))
}
