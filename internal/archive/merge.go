package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// mergeLeast is how few objects of a finished cell are left alone: merging them would cost more than it saves.
	mergeLeast = 4
	// mergeMany is how many small objects of an unfinished cell are merged already: an idle server takes hours to fill one.
	mergeMany = 64
	// mergeSmall is the size in bytes of WAL up to which an object of an unfinished cell counts as small.
	mergeSmall = 256 << 10
)

// PlanMerge chooses the runs of objects that are worth merging: those of a finished cell, and long runs of small ones
// in an unfinished cell. Cells are cell bytes long, begin at multiples of that, and keep merged objects small enough to be
// read in one piece. A run has no gap.
func PlanMerge(entries []Entry, cell int64) [][]Entry { return planMerge(entries, cell, false) }

// PlanMergeEnded is PlanMerge for a lineage to which nothing is added any more: its last cells count as finished.
func PlanMergeEnded(entries []Entry, cell int64) [][]Entry { return planMerge(entries, cell, true) }

func planMerge(entries []Entry, cell int64, ended bool) [][]Entry {
	var plan [][]Entry
	for _, cellEntries := range byCell(entries, cell) {
		run, finished := wholeRun(cellEntries, cell)
		finished = finished || ended && run != nil
		if finished && len(run) >= mergeLeast {
			plan = append(plan, run)
		} else if !finished {
			plan = append(plan, smallRuns(cellEntries)...)
		}
	}
	return plan
}

// MergeSmall merges what is worth it of all that the bucket holds of the lineage; ended says that nothing is added to it any more. A run that
// cannot be merged does not hold up the others; the first error is returned. One that somebody else merged meanwhile is none.
func (a *Archive) MergeSmall(ctx context.Context, cell int64, ended bool) error {
	inv, err := a.List(ctx)
	if err != nil {
		return err
	}
	var first error
	for _, run := range planMerge(inv.Entries, cell, ended) {
		if _, err := a.Merge(ctx, run); err != nil && !fault.Is(err, fault.Missing) && first == nil {
			first = err
		}
	}
	return first
}

// byCell groups the entries that lie in one cell of one timeline, in order of start; those that straddle are left out.
func byCell(entries []Entry, cell int64) [][]Entry {
	type key struct {
		t wal.Timeline
		n wal.LSN
	}
	var order []key
	cells := map[key][]Entry{}
	for _, e := range entries {
		k := key{e.Timeline, e.Range.Start / wal.LSN(cell)}
		if (e.Range.End-1)/wal.LSN(cell) != k.n {
			continue
		}
		if cells[k] == nil {
			order = append(order, k)
		}
		cells[k] = append(cells[k], e)
	}
	out := make([][]Entry, 0, len(order))
	for _, k := range order {
		c := cells[k]
		slices.SortFunc(c, func(a, b Entry) int { return int(int64(a.Range.Start) - int64(b.Range.Start)) })
		out = append(out, c)
	}
	return out
}

// wholeRun returns the entries when they leave no gap, and whether they reach the cell's end.
func wholeRun(entries []Entry, cell int64) ([]Entry, bool) {
	end := entries[0].Range.Start
	for _, e := range entries {
		if e.Range.Start > end {
			return nil, false
		}
		end = max(end, e.Range.End)
	}
	return entries, end%wal.LSN(cell) == 0
}

func smallRuns(entries []Entry) (runs [][]Entry) {
	var run []Entry
	flush := func() {
		if len(run) >= mergeMany {
			runs = append(runs, run)
		}
		run = nil
	}
	for _, e := range entries {
		if e.Range.Len() > mergeSmall || len(run) > 0 && e.Range.Start > run[len(run)-1].Range.End {
			flush()
		}
		if e.Range.Len() <= mergeSmall {
			run = append(run, e)
		}
	}
	flush()
	return runs
}

// Merge replaces a run of objects of one timeline by one that holds the same bytes: it is stored before they are
// deleted, so that at every moment a path leads through. Every object is verified on the way. Doing it twice, or by two
// at once, is harmless.
func (a *Archive) Merge(ctx context.Context, run []Entry) (Entry, error) {
	if len(run) < 2 {
		return Entry{}, fault.Newf(fault.Invalid, "merge segments", "%d objects", len(run))
	}
	merged, err := a.join(ctx, run)
	if err != nil {
		return Entry{}, err
	}
	s, err := Seal(merged.Header, merged.Raw)
	if err != nil {
		return Entry{}, err
	}
	e, err := a.Put(ctx, s)
	if err != nil {
		return Entry{}, err
	}
	return e, a.deleteCovered(ctx, run, e)
}

// join reads a run into one segment. It reads only the objects that the shortest path needs.
func (a *Archive) join(ctx context.Context, run []Entry) (*Segment, error) {
	c := Path(run, Line{Timeline: run[0].Timeline}, run[0].Range.Start)
	var out *Segment
	var chain Verifier
	for _, step := range c.Steps {
		s, err := a.Get(ctx, step.Entry)
		if err != nil {
			return nil, err
		}
		raw, err := chain.Next(s, step.Use)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = &Segment{Header: s.Header, Raw: make([]byte, 0, c.End.LSN-step.Use.Start)}
			out.Header.State = s.Header.State
		}
		start, state := out.Header.Start, out.Header.State
		out.Raw = append(out.Raw, raw...)
		out.Header = s.Header
		out.Header.Start, out.Header.State = start, state
	}
	if last := run[len(run)-1]; c.End.LSN < last.Range.End {
		return nil, fault.Newf(fault.Missing, "merge segments", "a gap at %s before %s", c.End.LSN, last.Key)
	}
	return out, nil
}

func (a *Archive) deleteCovered(ctx context.Context, run []Entry, by Entry) error {
	var keys []string
	for _, e := range run {
		if e.Key != by.Key && e.Range.Start >= by.Range.Start && e.Range.End <= by.Range.End {
			keys = append(keys, e.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := a.store.Delete(ctx, keys...); err != nil {
		return fmt.Errorf("delete %d merged segments: %w", len(keys), err)
	}
	return nil
}
