package restore

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// wholeListEvery is how many lists find nothing before one is of all the lineage: only there is an object that was merged into
	// one that begins earlier. Where something follows such an object, the whole is listed at once.
	wholeListEvery = 60
	// holePatience is how long something may be missing that later objects follow: shippers send several at a time.
	holePatience = 5 * time.Second
)

const hintRemake = "Make the standby anew from a snapshot."

// open reads what an earlier call left, and where the legs lead.
func (f *follow) open(ctx context.Context) error {
	if err := f.loadState(ctx); err != nil {
		return err
	}
	for i, leg := range f.Legs {
		inv, err := leg.whole(ctx)
		if err != nil {
			return err
		}
		line, err := inv.Line(leg.Lineage.Start.Timeline)
		if err != nil {
			return err
		}
		f.histories[i], f.writer.lines = inv.Histories, append(f.writer.lines, line)
		if err := f.writeHistories(inv.Histories); err != nil {
			return err
		}
	}
	if err := f.checkWay(); err != nil {
		return err
	}
	return f.begin()
}

// checkWay fails when the legs do not lead through what an earlier call has written: it may be replayed.
func (f *follow) checkWay() error {
	state := f.server.state
	seen := state.FedRecord
	if seen.LSN == 0 {
		return nil
	}
	for i, leg := range f.Legs {
		if leg.Lineage.ID == state.Lineage && (leg.To == 0 || leg.To >= seen.LSN) && f.writer.lines[i].At(seen.LSN-1) == seen.Timeline {
			return nil
		}
	}
	return fault.Newf(fault.Diverged, opFollow, "this standby has lineage %s up to %s, and that is not on the way it is to follow", state.Lineage, seen).
		WithHint(hintRemake)
}

// begin takes up the newest mark, or begins anew; files that are there already get the same bytes once more.
func (f *follow) begin() error {
	histories := f.fetch.out.Histories
	f.fetch.out = FetchedWAL{Start: f.SegmentSize.Start(f.Legs[0].From.LSN), Histories: histories, End: wal.Position{LSN: math.MaxUint64}}
	f.writer.close()
	f.writer.leg, f.writer.at, f.writer.scanner, f.pending, f.fed = -1, 0, nil, nil, nil
	if err := f.writer.resume(); err != nil {
		return err
	}
	f.fetch.out.End = wal.Position{Timeline: f.timeline(), LSN: max(f.writer.at, f.fetch.out.Start)}
	f.server.Tablespaces, f.server.FileCopies, f.server.Minimums = f.fetch.out.Tablespaces, f.fetch.out.FileCopies, f.fetch.out.MaxParameters
	f.whole, f.listAt = true, time.Time{}
	return nil
}

// look lists what the bucket has behind what was written, and plans the way through it.
func (f *follow) look(ctx context.Context) error {
	leg := max(f.writer.leg, 0)
	if to := f.Legs[leg].To; to != 0 && f.writer.at >= to && leg+1 < len(f.Legs) {
		leg++
	}
	inv, err := f.list(ctx, leg)
	if err != nil {
		return err
	}
	line, err := inv.Line(f.Legs[leg].Lineage.Start.Timeline)
	if err != nil {
		return err
	}
	if err := f.writeHistories(inv.Histories); err != nil {
		return err
	}
	old := f.writer.lines[leg]
	f.histories[leg], f.writer.lines[leg] = inv.Histories, line
	if leg == f.writer.leg && f.writer.at > 0 && line.At(f.writer.at-1) != old.At(f.writer.at-1) {
		return f.leave(old, line)
	}
	chain := archive.Path(inv.Entries, line, f.next(leg))
	if err := f.onTarget(line, chain); err != nil {
		return err
	}
	f.plan(leg, chain)
	return f.hole(leg, chain)
}

// list asks for the end of a lineage where that is enough.
func (f *follow) list(ctx context.Context, leg int) (archive.Inventory, error) {
	if f.whole || leg != f.writer.leg {
		f.whole = false
		return f.Legs[leg].whole(ctx)
	}
	at := f.writer.at
	inv, err := f.Legs[leg].Archive.ListFrom(ctx, wal.Position{Timeline: f.writer.lines[leg].At(at), LSN: at})
	if err == nil {
		maps.Copy(inv.Histories, f.histories[leg])
		err = inv.CheckHistories()
	}
	return inv, err
}

// next is the first byte that is wanted of a leg.
func (f *follow) next(leg int) wal.LSN {
	if leg == f.writer.leg {
		return f.writer.at
	}
	return f.SegmentSize.Start(f.Legs[leg].From.LSN)
}

// leave goes back to the last mark when a lineage has left its timeline before the end of what was written, and fails when a whole
// record lies beyond: it may be replayed.
func (f *follow) leave(old, line archive.Line) error {
	was := old.At(f.writer.at - 1)
	fork, _ := line.History.EndOf(was)
	if seen := f.server.state.FedRecord.LSN; fork < seen {
		return fault.Newf(fault.Diverged, opFollow, "lineage %s left timeline %d at %s, and this standby has it up to %s",
			f.Legs[f.writer.leg].Lineage.ID, was, fork, seen).WithHint(hintRemake)
	}
	f.Log.Info("the lineage left its timeline in the middle of a record", "fork", fork, "timeline", line.Timeline)
	return f.begin()
}

// onTarget fails when the target lies on a timeline that the lineage was not on there.
func (f *follow) onTarget(line archive.Line, chain archive.Chain) error {
	limit := f.writer.grow.limit
	if f.Target == nil || f.AtLeast || chain.End.LSN < limit || f.Target.LSN != limit {
		return nil
	}
	if t := f.Target.Timeline; line.At(limit-1) != t && line.At(limit) != t {
		return fault.Newf(fault.Diverged, opFollow, "the target is %s, and the lineage was on timeline %d there", *f.Target, line.At(limit))
	}
	return nil
}

// plan takes up the steps of a way, up to the leg's end and to the target.
func (f *follow) plan(leg int, chain archive.Chain) {
	end, now := chain.End.LSN, time.Now()
	for _, limit := range []wal.LSN{f.Legs[leg].To, f.writer.grow.limit} {
		if limit != 0 {
			end = min(end, limit)
		}
	}
	for _, s := range chain.Steps {
		if s.Use.End = min(s.Use.End, end); s.Use.Start < s.Use.End {
			f.pending = append(f.pending, piece{leg, s})
			f.fed = append(f.fed, object{end: s.Use.End, seen: now})
		}
	}
	f.tip = leg == len(f.Legs)-1 && chain.Beyond == 0
	f.schedule(now)
}

// schedule says when to list next: often while objects come, more seldom while none do.
func (f *follow) schedule(now time.Time) {
	if len(f.pending) > 0 {
		f.poll, f.idle = f.Poll, 0
	} else {
		f.poll, f.idle = min(f.poll*3/2, 5*f.Poll), f.idle+1
	}
	f.whole = f.idle > 0 && f.idle%wholeListEvery == 0
	f.listAt = now.Add(f.poll)
}

// hole fails when the way ends although there must be more, and does so for longer than a shipper needs.
func (f *follow) hole(leg int, chain archive.Chain) error {
	to, limit := f.Legs[leg].To, f.writer.grow.limit
	ended := to != 0 && chain.End.LSN >= to || limit != 0 && chain.End.LSN >= limit
	switch {
	case len(f.pending) > 0, ended, chain.Beyond == 0 && to == 0:
		f.holeSeen = time.Time{}
		return nil
	case f.holeSeen.IsZero():
		f.holeSeen, f.whole = time.Now(), true
		return nil
	case time.Since(f.holeSeen) < holePatience:
		f.whole = true
		return nil
	}
	return f.fetch.gap(f.Legs[leg], chain)
}

// writeHistories writes the history files that were not there.
func (f *follow) writeHistories(files map[wal.Timeline][]byte) error {
	for t, b := range files {
		if f.written[t] {
			continue
		}
		path := f.server.walPath(wal.HistoryFileName(t))
		if err := writeWhole(path, b); err != nil {
			return err
		}
		if err := f.Server.Own(path); err != nil {
			return diskFault("write "+path, err)
		}
		f.written[t] = true
		f.fetch.out.Histories = append(f.fetch.out.Histories, t)
	}
	return nil
}
