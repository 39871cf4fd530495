package missing

import (
	"context"
	"fmt"
)

// activeSequence is a sequence of the active side.
type activeSequence struct {
	oid          uint32
	schema, name string
	last         int64
	called       bool
	increment    int64
}

// moveSequences moves sequences on that the old line moved further. No rollback takes it back, which does no harm: numbers are left out.
func (m *merger) moveSequences(ctx context.Context) error {
	for _, theirs := range m.header.Sequences {
		a, err := m.findSequence(ctx, theirs)
		if err != nil {
			return err
		}
		if a.oid == 0 {
			m.sum.Drift = append(m.sum.Drift, Drift{Object: "sequence " + theirs.Schema + "." + theirs.Name, Text: "the active database has no such sequence"})
			continue
		}
		to := moveTo(a, theirs)
		if to == a.last {
			continue
		}
		m.sum.Sequences = append(m.sum.Sequences, MovedValue{Schema: a.schema, Name: a.name, From: a.last, To: to})
		if err := m.moveSequence(ctx, a, to); err != nil {
			return err
		}
	}
	return nil
}

// moveTo returns what the sequence is to have given last, or what it has.
func moveTo(a activeSequence, theirs Sequence) int64 {
	to, has := theirs.Last, a.last
	if !theirs.Called {
		to -= theirs.Increment
	}
	if !a.called {
		has -= a.increment
	}
	if a.increment > 0 && to > has || a.increment < 0 && to < has {
		return to
	}
	return a.last
}

func (m *merger) findSequence(ctx context.Context, s Sequence) (a activeSequence, err error) {
	const sql = `select c.oid, n.nspname::text, c.relname::text, q.seqincrement from pg_class c join pg_namespace n on n.oid = c.relnamespace
		join pg_sequence q on q.seqrelid = c.oid where c.relpersistence <> 't' and `
	to := []any{&a.oid, &a.schema, &a.name, &a.increment}
	set := func() error { return nil }
	if s.OID != 0 {
		err = m.rows(ctx, sql+"c.oid = $1", []any{s.OID}, to, set)
	}
	if err == nil && a.oid == 0 {
		err = m.rows(ctx, sql+"n.nspname = $1 and c.relname = $2", []any{s.Schema, s.Name}, to, set)
	}
	if err != nil || a.oid == 0 {
		return a, err
	}
	err = m.rows(ctx, fmt.Sprintf("select last_value, is_called from %s.%s", quote(a.schema), quote(a.name)), nil, []any{&a.last, &a.called}, set)
	return a, err
}

// near is up to how many steps a sequence is moved by stepping, in which it cannot go back before what somebody was given meanwhile.
const near = 1000

// moveSequence moves a sequence. A setval could go back before numbers that others were given since last was read, if they are given many; from
// near by it steps instead.
func (m *merger) moveSequence(ctx context.Context, a activeSequence, to int64) error {
	if !m.in.Apply {
		return nil
	}
	name := fmt.Sprintf("%s::regclass", literal(quote(a.schema)+"."+quote(a.name)))
	has := a.last
	if !a.called {
		has -= a.increment
	}
	steps := (to - has + a.increment - sign(a.increment)) / a.increment
	if steps <= near {
		_, err := m.exec(ctx, fmt.Sprintf("select count(nextval(%s)) from generate_series(1, %d)", name, steps))
		return err
	}
	_, err := m.exec(ctx, fmt.Sprintf(`select setval(%s, case when %d > 0 then greatest(%d, last_value) else least(%[3]d, last_value) end) from %s.%s`,
		name, a.increment, to, quote(a.schema), quote(a.name)))
	return err
}

func sign(n int64) int64 {
	if n < 0 {
		return -1
	}
	return 1
}
