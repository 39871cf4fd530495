package ship

import (
	"bytes"
	"context"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opForeign = "tell histories apart"

// checkForeign refuses a timeline that is a newer lineage's. One that left at another place, or goes by another number, is another
// one. Two sides that were promoted at the same place to the same number are told apart by the first bytes that they
// wrote: when a promotion happened is among them, in microseconds.
func (s *shipper) checkForeign(ctx context.Context, o origin, at wal.Timeline, h wal.History) error {
	for _, newer := range s.Newer {
		fork := newer.Parent.At
		if next, left := h.LeftFor(fork, at); !left || next != newer.Start.Timeline {
			continue
		}
		theirs, err := s.firstWritten(ctx, newer)
		if err != nil {
			return err
		}
		ours, err := o.firstBytes(ctx, s, wal.Position{Timeline: newer.Start.Timeline, LSN: fork.LSN}, len(theirs))
		if err != nil {
			return err
		}
		same, err := sameBeginning(ours, theirs, newer)
		if err != nil {
			return err
		}
		if same {
			return fault.Newf(fault.Diverged, opForeign, "the server went over to lineage %s at %s: it is not the one that wrote lineage %s any more", newer.ID, fork, s.Lineage.ID).
				WithHint("If what it wrote before lies on a disk or in a copy of its pg_wal, give that folder.")
		}
	}
	return nil
}

// Wrote reports whether w's server is the one that writes a newer lineage, once its history left at that one's fork for that one's
// timeline: by the first bytes there, as in a bucket. Errors: fault.Missing when the server has them no more, fault.Transient
// while a bucket has none of them.
func (w *WAL) Wrote(ctx context.Context, newer topology.Lineage) (bool, error) {
	theirs, err := w.firstWritten(ctx, newer)
	if err != nil {
		return false, err
	}
	ours, err := w.firstBytes(ctx, wal.Position{Timeline: newer.Start.Timeline, LSN: newer.Parent.At.LSN}, len(theirs))
	if err != nil {
		return false, err
	}
	return sameBeginning(ours, theirs, newer)
}

// sameBeginning compares as much as both have.
func sameBeginning(ours, theirs []byte, newer topology.Lineage) (bool, error) {
	n := min(len(ours), len(theirs))
	if n == 0 {
		return false, fault.Newf(fault.Transient, opForeign, "nothing was written to timeline %d yet", newer.Start.Timeline)
	}
	return bytes.Equal(ours[:n], theirs[:n]), nil
}

// firstWritten returns the first bytes of a newer lineage that are its own.
func (w *WAL) firstWritten(ctx context.Context, newer topology.Lineage) ([]byte, error) {
	var last error
	for _, d := range w.Destinations {
		a := archive.Open(d.Store, w.Group, w.Workspace, newer.ID)
		inv, err := a.List(ctx)
		if last = err; err != nil {
			continue
		}
		chain := archive.Path(inv.Entries, archive.Line{Timeline: newer.Start.Timeline}, newer.Parent.At.LSN)
		if len(chain.Steps) == 0 {
			continue
		}
		first := chain.Steps[0]
		seg, err := a.Get(ctx, first.Entry)
		if last = err; err == nil {
			return seg.Raw[first.Use.Start-seg.Header.Start:], nil
		}
	}
	if last == nil {
		last = fault.Newf(fault.Transient, opForeign, "no bucket holds the first WAL of lineage %s yet", newer.ID)
	}
	return nil, last
}

func (k *link) firstBytes(ctx context.Context, s *shipper, from wal.Position, n int) ([]byte, error) {
	return s.WAL.firstBytes(ctx, from, n)
}

// firstBytes reads from the server's stream, over a connection of its own.
func (w *WAL) firstBytes(ctx context.Context, from wal.Position, n int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := replication.Connect(ctx, w.Source, w.appName())
	if err != nil {
		return nil, err
	}
	defer (&link{conn: conn}).close()
	st, err := conn.StartPhysical(ctx, "", from)
	if err != nil {
		return nil, err
	}
	for {
		m, err := st.Receive(ctx)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case replication.Data:
			return bytes.Clone(m.Bytes[:min(n, len(m.Bytes))]), nil
		case replication.EndOfTimeline, replication.Shutdown:
			return nil, nil
		}
	}
}

// firstBytes reads what the files have there: whole records alone.
func (f *walFiles) firstBytes(ctx context.Context, _ *shipper, from wal.Position, n int) ([]byte, error) {
	end, err := f.end(ctx, from.Timeline, from.LSN, 0)
	if err != nil || end <= from.LSN {
		return nil, err
	}
	return f.read(from.Timeline, from.LSN, min(n, int(end-from.LSN)))
}
