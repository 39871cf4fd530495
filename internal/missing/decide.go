package missing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

const opDecide = "decide about missing rows"

// checkDecisions refuses decisions that say nothing, or two things.
func checkDecisions(all []Decision) error {
	seen := map[string]bool{}
	for _, d := range all {
		switch {
		case d.ID == "":
			return fault.Newf(fault.Invalid, opDecide, "a decision names no change")
		case seen[d.ID]:
			return fault.Newf(fault.Invalid, opDecide, "change %s is decided twice", d.ID)
		case d.Decide != Keep && d.Decide != Theirs:
			return fault.Newf(fault.Invalid, opDecide, "change %s is to be %q", d.ID, d.Decide).WithHint("Say keep or theirs.")
		case d.Decide == Keep && len(d.Values) > 0:
			return fault.Newf(fault.Invalid, opDecide, "change %s keeps what is active, and has values", d.ID).WithHint("Say theirs to write values.")
		}
		seen[d.ID] = true
	}
	return nil
}

// changeID names a change by its table, its versions and, of rows that are alike, its number.
func changeID(table string, dup int64, versions ...[]*string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d", table, dup)
	for _, v := range versions {
		fmt.Fprintf(h, "\n%v", v != nil)
		for _, s := range v {
			if s == nil {
				fmt.Fprint(h, " -")
			} else {
				fmt.Fprintf(h, " %q", *s)
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// decide says what becomes of conflicts: by policy, and then by what a person chose.
func (m *merger) decide(ctx context.Context) error {
	if m.in.Policy == Theirs {
		if _, err := m.exec(ctx, `update pg_temp.smartdr_s set p = true, forced = true where `+takeable); err != nil {
			return err
		}
	}
	if len(m.in.Decisions) == 0 {
		return nil
	}
	d := &decider{m: m, left: map[string]Decision{}}
	for _, one := range m.in.Decisions {
		d.left[one.ID] = one
	}
	if err := m.changes(ctx, "true", d.visit); err != nil {
		return err
	}
	if err := d.stale(); err != nil {
		return err
	}
	return d.write(ctx)
}

// takeable chooses the conflicts s for which what the old line has can be taken. Of rows without a key these are the ones that were merged before,
// of which it is said.
const takeable = `(class in ('both-inserted', 'both-updated', 'updated-deleted', 'deleted-updated') or class = 'no-key' and why is not null)`

// decider finds the changes that decisions name.
type decider struct {
	m     *merger
	left  map[string]Decision
	rows  [][]any // n, whether theirs is taken
	edits [][]any // n, values
}

func (d *decider) visit(r changeRow) error {
	one, ok := d.left[r.change.ID]
	if !ok {
		return nil
	}
	delete(d.left, one.ID)
	d.rows = append(d.rows, []any{r.n, one.Decide == Theirs})
	if len(one.Values) == 0 {
		return nil
	}
	values, err := edited(r, one)
	d.edits = append(d.edits, []any{r.n, values})
	return err
}

// edited puts a person's values in the place of theirs.
func edited(r changeRow, d Decision) ([]*string, error) {
	if r.change.Theirs == nil {
		return nil, fault.Newf(fault.Invalid, opDecide, "change %s deletes its row, and is to write values", d.ID)
	}
	values := slices.Clone(r.change.Theirs)
	for _, name := range slices.Sorted(maps.Keys(d.Values)) {
		i := slices.IndexFunc(r.table.columns, func(c mergeColumn) bool { return c.name == name && c.written() })
		switch {
		case i < 0:
			return nil, fault.Newf(fault.Invalid, opDecide, "change %s: table %s has no column %s that can be written", d.ID, r.table.said(), name)
		case slices.Contains(r.table.Key, i):
			return nil, fault.Newf(fault.Invalid, opDecide, "change %s: column %s is of the key of table %s, by which the row is named", d.ID, name, r.table.said())
		}
		values[i] = d.Values[name]
	}
	return values, nil
}

// stale refuses decisions that name no change of this run, nor of an earlier one that merged it: somebody changed a version since.
func (d *decider) stale() error {
	maps.DeleteFunc(d.left, func(id string, _ Decision) bool { return d.m.known[id] })
	if len(d.left) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(d.left))
	return fault.Newf(fault.Invalid, opDecide, "%d decisions name no change of now: %s; their rows, or those of the active side, have changed since they were made",
		len(ids), strings.Join(ids[:min(len(ids), 5)], ", ")).WithHint("Compare again, and decide by the new list.")
}

func (d *decider) write(ctx context.Context) error {
	m := d.m
	if err := m.script(ctx, "create temp table smartdr_d (n int8, take bool) on commit drop"); err != nil {
		return err
	}
	if _, err := m.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "smartdr_d"}, []string{"n", "take"}, pgx.CopyFromRows(d.rows)); err != nil {
		return err
	}
	if _, err := m.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "smartdr_w"}, []string{"n", "v"}, pgx.CopyFromRows(d.edits)); err != nil {
		return err
	}
	m.edits = len(d.edits) > 0
	_, err := m.exec(ctx, `update pg_temp.smartdr_s s set p = d.take and (class = 'missing' or `+takeable+`), forced = d.take and `+takeable+`,
		class = case when d.take or s.class in `+there+` then s.class else 'kept' end from pg_temp.smartdr_d d where d.n = s.n`)
	return err
}
