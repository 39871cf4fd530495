package activities

import (
	"context"
	"fmt"

	"github.com/smartdr/smartdr/internal/missing"
)

// summaryListed is how many tables, and how many of everything else that a summary lists, go through Temporal. The report has all of them.
const summaryListed = 200

// brief returns a summary that is not too long for a payload.
func brief(s missing.Summary) missing.Summary {
	s.Tables = atMost(&s, s.Tables, "tables")
	s.Sequences = atMost(&s, s.Sequences, "sequences")
	s.Prepared = atMost(&s, s.Prepared, "prepared transactions")
	s.Drift = atMost(&s, s.Drift, "differences of the schema")
	s.Blind = atMost(&s, s.Blind, "things that cannot be compared")
	if n := len(s.Notes); n > summaryListed {
		s.Notes = append(s.Notes[:summaryListed:summaryListed], fmt.Sprintf("%d more notes are in the report.", n-summaryListed))
	}
	return s
}

func atMost[T any](s *missing.Summary, list []T, what string) []T {
	if len(list) <= summaryListed {
		return list
	}
	s.Notes = append([]string{fmt.Sprintf("%d more %s are in the report.", len(list)-summaryListed, what)}, s.Notes...)
	return list[:summaryListed]
}

// retold is the summary of a merge that an earlier attempt has made, by its report: what is compared anew finds that all of it is there.
func (m *merging) retold(ctx context.Context, s missing.Summary) (missing.Summary, error) {
	h, changes, err := missing.ReadReport(ctx, m.store, m.reportKey())
	if err != nil {
		return s, err
	}
	type name struct{ schema, table string }
	at := map[name]int{}
	now := s.Tables
	s.Tables, s.Classes, s.Applied, s.Conflicts = nil, map[missing.Class]int64{}, 0, 0
	for _, t := range h.Tables {
		at[name{t.Schema, t.Name}] = len(s.Tables)
		s.Tables = append(s.Tables, missing.TableSummary{Schema: t.Schema, Table: t.Name, How: t.How, Classes: map[missing.Class]int64{}})
	}
	for c, err := range changes {
		if err != nil {
			return s, err
		}
		if i, known := at[name{c.Schema, c.Table}]; known {
			count(&s.Tables[i], c)
		}
		s.Classes[c.Class]++
		switch {
		case c.Applied:
			s.Applied++
		case c.Class.Conflict():
			s.Conflicts++
		}
	}
	if len(s.Tables) == 0 {
		s.Tables = now
	}
	return s, nil
}

func count(t *missing.TableSummary, c missing.Change) {
	t.Classes[c.Class]++
	if c.Class.There() {
		return
	}
	switch c.Op {
	case missing.Insert:
		t.Inserts++
	case missing.Update:
		t.Updates++
	case missing.Delete:
		t.Deletes++
	}
}
