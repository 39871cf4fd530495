package missing

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	opScan = "scan WAL"
	// progressEvery is how many bytes of WAL lie between two calls of Progress.
	progressEvery = 4 << 20
)

// Scan reads what was committed between fork and tip. WAL behind the fork is read once, keeping what each transaction did until its end is
// seen; then WAL before the fork, backwards from there, as far as a transaction that committed may reach. fault.Missing says that WAL does not
// reach the tip with a whole record; fault.Corrupt that it is not what PostgreSQL writes, or says something about rows that is not
// understood.
func Scan(ctx context.Context, in ScanInput) (*Changes, error) {
	if in.Tip < in.Fork {
		return nil, fault.Newf(fault.Invalid, opScan, "the tip %s lies before the fork %s", in.Tip, in.Fork)
	}
	s := newScan(in)
	if err := s.forwards(ctx); err != nil {
		return nil, judge(err)
	}
	if err := s.backwards(ctx); err != nil {
		return nil, judge(err)
	}
	for _, t := range s.out.Tables {
		t.New.order()
		t.Old.order()
	}
	return s.out, nil
}

// judge gives what the WAL's reader says its kind.
func judge(err error) error {
	var damaged *wal.ScanError
	var known *fault.Error
	if errors.As(err, &damaged) && !errors.As(err, &known) {
		return fault.New(fault.Corrupt, opScan, err)
	}
	return err
}

// scan is a Scan that runs.
type scan struct {
	in       ScanInput
	out      *Changes
	work     work
	prepared map[uint32]*Prepared // that were prepared behind the fork and have not ended, by XID
	ended    []*Prepared          // that were prepared at the fork
	told     int64                // bytes, at the last call of Progress
}

func newScan(in ScanInput) *scan {
	out := &Changes{Fork: in.Fork, Tip: in.Tip, From: in.Fork,
		Commits: map[uint32]Commit{}, Tables: map[Node]*Touched{}, Replaced: map[Node]bool{}, Sequences: map[Node]bool{}}
	return &scan{in: in, out: out, work: work{tables: out.Tables, index: map[Node]uint32{}, open: map[uint32][]deed{}}, prepared: map[uint32]*Prepared{}}
}

// forwards reads from the fork to the tip.
func (s *scan) forwards(ctx context.Context) error {
	if s.in.Tip == s.in.Fork {
		return nil
	}
	at := s.in.Fork
	err := s.in.Walk(ctx, s.in.Fork, s.in.Tip, func(r wal.Record) error {
		if !wal.Adjacent(at, r.Behind()) {
			return fault.Newf(fault.Missing, opScan, "the record at %s does not follow %s", r.Start, at)
		}
		at = r.End
		s.tell(int64(at-s.in.Fork), int64(s.in.Tip-s.in.Fork))
		return s.see(r)
	})
	if err == nil && at != s.in.Tip {
		err = fault.Newf(fault.Missing, opScan, "the last whole record ends at %s, and the tip is %s", at, s.in.Tip)
	}
	s.work.open = nil // what has no end was open at the tip
	return err
}

func (s *scan) tell(done, total int64) {
	if s.in.Progress != nil && (done-s.told >= progressEvery || done == total) {
		s.told = done
		s.in.Progress(done, total)
	}
}

// see takes a record behind the fork.
func (s *scan) see(r wal.Record) error {
	if c, ok, err := r.RowChange(); err != nil {
		return err
	} else if ok {
		return s.work.keep(r, c)
	}
	if e, ok, err := r.WholeEnding(); ok || err != nil {
		if err == nil {
			s.end(r, e)
		}
		return err
	}
	if p, ok, err := r.Preparation(); ok || err != nil {
		s.prepared[p.XID] = &Prepared{XID: p.XID, GID: p.GID, Database: p.Database, Fate: InDoubt}
		return err
	}
	if p := r.Parameters; p != nil && p.WALLevel == 0 {
		return fault.Newf(fault.Invalid, opScan, "wal_level was minimal from %s on: WAL does not say all that was written", r.Start)
	}
	n, ok, err := r.Sequence()
	if ok {
		s.out.Sequences[n] = true
	}
	return err
}

// end takes the end of a transaction, or the end of a subtransaction that failed.
func (s *scan) end(r wal.Record, e wal.Ending) {
	if e.Prepared {
		s.endPrepared(e)
	}
	for _, xid := range e.XIDs {
		if e.Committed {
			s.out.Commits[xid] = Commit{XID: xid, Top: e.Top, Time: e.Time, LSN: r.End}
		}
		s.work.end(xid, e.Committed)
	}
	for _, n := range e.Removed {
		if e.Committed {
			s.out.Replaced[n] = true
		}
	}
}

// endPrepared takes the end of a prepared transaction. One that began and ended behind the fork is like any other.
func (s *scan) endPrepared(e wal.Ending) {
	if s.prepared[e.Top] != nil {
		delete(s.prepared, e.Top)
		return
	}
	fate := RolledBack
	if e.Committed {
		fate = Committed
	}
	s.ended = append(s.ended, &Prepared{XID: e.Top, GID: e.GID, Database: e.Database, Fate: fate, AtFork: true})
}
