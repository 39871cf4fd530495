package missing

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// sequenceValue is where a sequence stands.
type sequenceValue struct {
	Last   int64
	Called bool
}

// readSequences reads where all sequences stand, for a comparison as a whole.
func (c *catalog) readSequences(ctx context.Context, conn *pgx.Conn) error {
	c.Values = map[uint32]sequenceValue{}
	for oid, r := range c.Relations {
		if r.Kind != "S" || r.Persistence != "p" {
			continue
		}
		s, err := readSequence(ctx, conn, r)
		if err != nil {
			return err
		}
		c.Values[oid] = sequenceValue{Last: s.Last, Called: s.Called}
	}
	return nil
}

func readSequence(ctx context.Context, conn *pgx.Conn, r *relation) (Sequence, error) {
	s := Sequence{Schema: r.Schema, Name: r.Name}
	err := conn.QueryRow(ctx, "select last_value, is_called, (select seqincrement from pg_sequence where seqrelid = $1) from "+
		pgx.Identifier{r.Schema, r.Name}.Sanitize(), r.OID).Scan(&s.Last, &s.Called, &s.Increment)
	return s, sqlError(err)
}

// sequences are those that moved, or were made.
func (t *tipReading) sequences(ctx context.Context) ([]Sequence, error) {
	var all []Sequence
	for _, oid := range slices.Sorted(maps.Keys(t.plan.tip.Relations)) {
		r, was := t.plan.tip.Relations[oid], t.plan.fork.Relations[oid]
		if r.Kind != "S" || r.Persistence != "p" || was != nil && !t.mayHaveMoved(was, r) {
			continue
		}
		s, err := readSequence(ctx, t.conn, r)
		if err != nil {
			return nil, err
		}
		if was != nil {
			s.OID, s.Schema, s.Name = was.OID, was.Schema, was.Name
		}
		if before, known := t.plan.fork.Values[oid]; !known || before != (sequenceValue{Last: s.Last, Called: s.Called}) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Sequence) int { return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name)) })
	return all, nil
}

func (t *tipReading) mayHaveMoved(was, now *relation) bool {
	c := t.in.Changes
	return c.Expired || was.Node != now.Node || c.Sequences[was.Node]
}
