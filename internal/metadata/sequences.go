package metadata

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

const opSequences = "move sequences ahead"

const (
	// sequencesAtOnce is how many sequences one statement moves. Each is locked until its end, and PostgreSQL has room for some thousands of locks
	// (max_locks_per_transaction).
	sequencesAtOnce = 500
	// leftParts is how many times what a sequence is moved by must be left of it: where keys are few, as those of smallint, a failover uses up no
	// more than a part of them.
	leftParts = 10
)

// SequenceMoves says where the sequences of one database are to be moved.
type SequenceMoves struct {
	Targets []SequenceTarget `json:"targets,omitempty"` // nil once they are there
	Moved   int              `json:"moved,omitempty"`   // how many there were
	Done    bool             `json:"done,omitempty"`
	Short   []string         `json:"short,omitempty"` // names of those that are moved by less than was asked for, with by how much
	Unmoved []string         `json:"unmoved,omitempty"`
	Why     string           `json:"why,omitempty"` // what kept the first of Unmoved
}

// SequenceTarget is where one sequence is to be at least.
type SequenceTarget struct {
	OID    uint32 `json:"oid"`
	To     int64  `json:"to"`
	Called bool   `json:"called,omitempty"` // false: To is the next value that it hands out
}

// sequence is one row of pg_sequence, with its state.
type sequence struct {
	OID       uint32
	Name      string // as SQL writes it
	Increment int64
	Min, Max  int64
	Locked    bool // nobody else can move it now: a prepared transaction changes it
	Last      int64
	Called    bool
}

// OpenDatabases are those that clients can use.
func OpenDatabases(ctx context.Context, open Opener) ([]string, error) {
	return askDatabase(ctx, open, "postgres", func(ctx context.Context, conn *pgx.Conn) ([]string, error) {
		rows, err := conn.Query(ctx, "select datname::text from pg_database where datallowconn and not datistemplate and datconnlimit <> -2 order by 1")
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	})
}

// PlanSequences says where each sequence of a database has to go to be ahead by as many values as gap says, none past its bound. It changes
// nothing. Temporary sequences are nobody's, and unlogged ones began anew with the tables that they are of. conn is a superuser's and of one
// database, in which nobody else draws values yet.
func PlanSequences(ctx context.Context, conn *pgx.Conn, gap int64) (SequenceMoves, error) {
	var m SequenceMoves
	if err := setForSequences(ctx, conn); err != nil {
		return m, err
	}
	all, err := listSequences(ctx, conn)
	if err != nil {
		return m, err
	}
	all = slices.DeleteFunc(all, func(s sequence) bool {
		if s.Locked {
			m.unmoved(s.Name, "a prepared transaction has it locked")
		}
		return s.Locked
	})
	err = inParts(ctx, conn, all, readSequences, func(s sequence, err error) { m.unmoved(s.Name, dsn.Redact(err.Error())) },
		func(s sequence) { m.plan(s, gap) })
	return m, err
}

// Move moves sequences to where a plan says, and leaves alone what is there already: it may be called again after it was killed. What cannot be
// moved is added to Unmoved.
func (m *SequenceMoves) Move(ctx context.Context, conn *pgx.Conn) error {
	if err := setForSequences(ctx, conn); err != nil {
		return err
	}
	moved := 0
	err := inParts(ctx, conn, m.Targets, moveSequences, func(t SequenceTarget, err error) {
		m.unmoved(fmt.Sprintf("the one with OID %d", t.OID), dsn.Redact(err.Error()))
	}, func(SequenceTarget) { moved++ })
	if err == nil {
		m.Targets, m.Moved, m.Done = nil, moved, true
	}
	return err
}

func (m *SequenceMoves) unmoved(name, why string) {
	m.Unmoved = append(m.Unmoved, name)
	if m.Why == "" {
		m.Why = why
	}
}

// setForSequences sees to it that nothing waits for long, for a lock or for a synchronous standby that is not there yet, and that names are
// PostgreSQL's own.
func setForSequences(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "set lock_timeout = '500ms'; set synchronous_commit = local; set search_path = pg_catalog")
	return dsn.ConnectError(opSequences, err)
}

// moving are the modes that keep others from setval(), which takes RowExclusiveLock (src/backend/commands/sequence.c).
const moving = `('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')`

func listSequences(ctx context.Context, conn *pgx.Conn) ([]sequence, error) {
	rows, err := conn.Query(ctx, `select c.oid, format('%I.%I', n.nspname, c.relname), s.seqincrement, s.seqmin, s.seqmax,
		c.oid in (select l.relation from pg_locks l join pg_database d on d.oid = l.database
			where d.datname = current_database() and l.locktype = 'relation' and l.granted and l.pid is null and l.mode in `+moving+`)
		from pg_sequence s join pg_class c on c.oid = s.seqrelid join pg_namespace n on n.oid = c.relnamespace
		where c.relpersistence = 'p' order by c.oid`)
	if err != nil {
		return nil, dsn.ConnectError(opSequences, err)
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (s sequence, err error) {
		err = r.Scan(&s.OID, &s.Name, &s.Increment, &s.Min, &s.Max, &s.Locked)
		return s, err
	})
	return all, dsn.ConnectError(opSequences, err)
}

// readSequences reads where sequences are. Of one that was never used pg_sequences does not say where it begins, so they are asked themselves.
func readSequences(ctx context.Context, conn *pgx.Conn, all []sequence) error {
	var b strings.Builder
	for i, s := range all {
		if i > 0 {
			b.WriteString(" union all ")
		}
		fmt.Fprintf(&b, "select %d, last_value, is_called from %s", i, s.Name)
	}
	rows, err := conn.Query(ctx, b.String(), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	var i int
	var last int64
	var called bool
	_, err = pgx.ForEachRow(rows, []any{&i, &last, &called}, func() error {
		all[i].Last, all[i].Called = last, called
		return nil
	})
	return err
}

// moveSequences never moves back: pg_sequence_last_value is null of a sequence that was not used since it was set.
func moveSequences(ctx context.Context, conn *pgx.Conn, all []SequenceTarget) error {
	oids, to, called := make([]uint32, len(all)), make([]int64, len(all)), make([]bool, len(all))
	for i, t := range all {
		oids[i], to[i], called[i] = t.OID, t.To, t.Called
	}
	_, err := conn.Exec(ctx, `select setval(t.oid::regclass, t.v, t.called) from unnest($1::oid[], $2::int8[], $3::bool[]) t(oid, v, called)
		join pg_sequence s on s.seqrelid = t.oid
		where coalesce(case when s.seqincrement > 0 then pg_sequence_last_value(t.oid) < t.v else pg_sequence_last_value(t.oid) > t.v end, true)`,
		oids, to, called)
	return err
}

// plan notes where a sequence is to go.
func (m *SequenceMoves) plan(s sequence, gap int64) {
	to, by := s.ahead(gap)
	if by < gap {
		m.Short = append(m.Short, fmt.Sprintf("%s by %d", s.Name, by))
	}
	if by > 0 {
		m.Targets = append(m.Targets, SequenceTarget{OID: s.OID, To: to, Called: s.Called})
	}
}

// ahead returns where a sequence is to go, and by how many of its values that is.
func (s sequence) ahead(gap int64) (to, by int64) {
	left, step := uint64(0), uint64(s.Increment)
	switch {
	case s.Increment > 0 && s.Last < s.Max:
		left = uint64(s.Max) - uint64(s.Last) // two's complement: also where the difference is more than an int64 holds
	case s.Increment < 0 && s.Last > s.Min:
		left, step = uint64(s.Last)-uint64(s.Min), -uint64(s.Increment)
	}
	by = int64(min(uint64(gap), left/step/leftParts)) // an increment is never 0
	return s.Last + by*s.Increment, by
}

// inParts does something with sequences, many at a time, and with what is left of a part without the one that fails: one that is damaged or locked
// keeps none of the others back. It ends with an error only when the connection does, or ctx.
func inParts[S any](ctx context.Context, conn *pgx.Conn, all []S, do func(context.Context, *pgx.Conn, []S) error, failed func(S, error), done func(S)) error {
	for part := range slices.Chunk(all, sequencesAtOnce) {
		if err := inHalves(ctx, conn, part, do, failed, done); err != nil {
			return err
		}
	}
	return nil
}

func inHalves[S any](ctx context.Context, conn *pgx.Conn, part []S, do func(context.Context, *pgx.Conn, []S) error, failed func(S, error), done func(S)) error {
	err := do(ctx, conn, part)
	switch {
	case err == nil:
		for _, s := range part {
			done(s)
		}
		return nil
	case ctx.Err() != nil || conn.IsClosed():
		return dsn.ConnectError(opSequences, errors.Join(err, ctx.Err()))
	case len(part) == 1:
		failed(part[0], err)
		return nil
	}
	half := len(part) / 2
	if err := inHalves(ctx, conn, part[:half], do, failed, done); err != nil {
		return err
	}
	return inHalves(ctx, conn, part[half:], do, failed, done)
}

// SequenceNotes says what became of sequences that were to be moved ahead by gap values, by database.
func SequenceNotes(gap int64, moves map[string]SequenceMoves) []string {
	var n, in int
	var odd []string
	for _, database := range slices.Sorted(maps.Keys(moves)) {
		m := moves[database]
		if n += m.Moved; m.Moved > 0 {
			in++
		}
		odd = append(odd, m.notes(database)...)
	}
	if n == 0 {
		return odd
	}
	databases := fmt.Sprintf("%d databases", in)
	if in == 1 {
		databases = "one database"
	}
	return append([]string{fmt.Sprintf("sequences were moved ahead by %d values, so that keys which the other side hands out are not handed out again (%d in %s)", gap, n, databases)}, odd...)
}

func (m SequenceMoves) notes(database string) (notes []string) {
	if len(m.Short) > 0 {
		notes = append(notes, fmt.Sprintf("sequences of database %s that have few values left were moved ahead by a tenth of them: %s", database, shortened(m.Short)))
	}
	if len(m.Unmoved) > 0 {
		notes = append(notes, fmt.Sprintf("needs attention: sequences of database %s were not moved ahead (%s), and may hand out keys that the other side handed out too: %s",
			database, m.Why, shortened(m.Unmoved)))
	}
	return notes
}
