package missing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

const opMerge = "merge missing rows"

// lockWait is how long a merge waits for a row or a table that somebody else holds, where its input does not say.
const lockWait = 30 * time.Second

// merger is one merge at work. All of its tables are temporary, in the schema pg_temp, and named by a letter and the table's number:
// c changes, paired; a the rows of the active database that they meet; f what rows are to become, with the types of the active side.
type merger struct {
	in      MergeInput
	conn    *pgx.Conn
	replica bool // session_replication_role is set
	header  Header
	tables  []*mergeTable
	foreign []foreignKey
	waiting map[uint32]string // transactions that are prepared on the active side, with their names
	server  serverState
	edits   bool            // somebody chose other values
	decided map[string]bool // the changes that somebody decided about
	known   map[string]bool // of these, those that an earlier merge had
	earlier int64           // changes of earlier merges
	sum     Summary
}

// Merge compares a set with the active database, and merges it if asked to, in one transaction. Without Apply nothing is changed: the
// transaction, with its temporary tables, is rolled back. It may be killed at any moment and called again, also after it has committed.
//
// Values are compared by their text (Session). Rows that it looks at are locked in order of their keys before they are compared, so that nobody
// changes them until it commits; a key that somebody else takes meanwhile makes it compare anew. What a merge writes fires no trigger, no rule
// and no foreign key, since the old line's rows have what these did there; it is checked instead that no key is held twice and no reference
// hangs. Errors are fault.Taken when somebody holds a lock for too long, fault.Invalid when the input or the rights do not allow it, and
// fault.Transient when it may do better the next time.
func Merge(ctx context.Context, in MergeInput) (Summary, error) {
	m := &merger{in: in, conn: in.Conn, waiting: map[uint32]string{}, decided: map[string]bool{}, known: map[string]bool{}}
	m.sum.Classes = map[Class]int64{}
	for _, d := range in.Decisions {
		m.decided[d.ID] = true
	}
	err := m.run(ctx)
	if err != nil {
		return Summary{}, m.judge(ctx, err)
	}
	return m.sum, nil
}

func (m *merger) run(ctx context.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	// transaction_timeout is known to PostgreSQL 17 and later.
	if err := m.script(ctx, Session+`; select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout'`); err != nil {
		return err
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.rollback(ctx)
	if err := m.stage(ctx); err != nil {
		return err
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	return m.conclude(ctx)
}

// check refuses an input that nothing can come of.
func (m *merger) check() error {
	switch m.in.Policy {
	case "":
		m.in.Policy = Keep
	case Keep, Theirs:
	default:
		return fault.Newf(fault.Invalid, opMerge, "%q is no policy", m.in.Policy).WithHint("Say keep or theirs.")
	}
	if m.in.LockWait == 0 {
		m.in.LockWait = lockWait
	}
	if m.in.Apply && m.in.Undo == nil {
		return fault.Newf(fault.Invalid, opMerge, "nobody would keep what leads back")
	}
	return checkDecisions(m.in.Decisions)
}

// begin opens the transaction. A comparison sees one state of the database and holds no lock on rows; a merge has to see what others committed
// while it waited for theirs.
func (m *merger) begin(ctx context.Context) error {
	level := "repeatable read"
	if m.in.Apply {
		level = "read committed"
	}
	if err := m.script(ctx, "begin isolation level "+level+" read write"); err != nil {
		return err
	}
	if err := m.script(ctx, fmt.Sprintf("set local lock_timeout = %d", m.in.LockWait.Milliseconds())); err != nil {
		return err
	}
	if err := m.readServer(ctx); err != nil {
		return err
	}
	if err := m.beAlone(ctx); err != nil {
		return err
	}
	return m.beReplica(ctx)
}

// beAlone waits for a merge whose client is gone while the server has not noticed, or still commits: what it merged has to be known to this one.
// 0x736d61727464726d is "smartdrm".
func (m *merger) beAlone(ctx context.Context) error {
	if !m.in.Apply {
		return nil
	}
	return m.script(ctx, "select pg_advisory_xact_lock(x'736d61727464726d'::int8)")
}

// beReplica keeps triggers, rules and foreign keys from firing, also the event triggers of temporary tables.
func (m *merger) beReplica(ctx context.Context) error {
	err := m.within(ctx, "replica", func() error { return m.script(ctx, "set local session_replication_role = replica") })
	m.replica = err == nil
	if err == nil || code(err) != "42501" {
		return err
	}
	if m.in.Apply {
		return fault.Newf(fault.Invalid, opMerge, "the role %q may not set session_replication_role, without which triggers and foreign keys would act a second time on rows that have what they did", m.server.User).
			WithHint("Connect as a superuser, or: grant set on parameter session_replication_role to %s", quote(m.server.User))
	}
	m.note("The role %q may not set session_replication_role. It can compare, but not merge.", m.server.User)
	return nil
}

// settle decides what is to be merged, and merges it; anew when somebody else took a key meanwhile. The last time nobody can.
func (m *merger) settle(ctx context.Context) error {
	const tries = 5
	for try := 1; ; try++ {
		if try == tries {
			if err := m.lockTables(ctx); err != nil {
				return err
			}
		}
		err := m.within(ctx, "settle", func() error { return m.settleOnce(ctx) })
		if err == nil || try == tries || !raced(err) {
			return err
		}
	}
}

func (m *merger) settleOnce(ctx context.Context) error {
	for _, step := range []func(context.Context) error{m.classify, m.decide, m.form, m.converge} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if !m.in.Apply {
		return nil
	}
	return m.apply(ctx)
}

// conclude reports, moves what no transaction can take back, and commits.
func (m *merger) conclude(ctx context.Context) error {
	if err := m.summarize(ctx); err != nil {
		return err
	}
	if err := m.firing(ctx); err != nil {
		return err
	}
	if err := m.report(ctx); err != nil {
		return err
	}
	if err := m.moveSequences(ctx); err != nil || !m.in.Apply {
		return err
	}
	if err := m.giveUndo(ctx); err != nil {
		return err
	}
	return m.script(ctx, "commit")
}

// rollback ends a transaction that did not commit. Of a connection that is broken the server does it.
func (m *merger) rollback(ctx context.Context) {
	if !m.conn.IsClosed() && m.conn.PgConn().TxStatus() != 'I' {
		_ = m.script(context.WithoutCancel(ctx), "rollback")
	}
}

func (m *merger) progress(phase string, done, total int) {
	if m.in.Progress != nil {
		m.in.Progress(phase, int64(done), int64(total))
	}
}

func (m *merger) note(format string, args ...any) {
	m.sum.Notes = append(m.sum.Notes, fmt.Sprintf(format, args...))
}
