package activities

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	opPoints = "look for restore points"
	// pointsChunk is how many bytes of a WAL file are read at a time.
	pointsChunk = 1 << 20
)

// unwritten reports whether a branch's server holds nothing that anybody would miss, for certain: nobody has committed anything since the
// first client got in, and nobody has made a restore point. What else writes WAL counts for nothing: checkpoints, running transactions,
// parameters, the images of pages that readers leave hints in. end is where the server's WAL ends.
func (t *Target) unwritten(ctx context.Context, in BranchInput, b topology.Branch, s *postgres.Server, end wal.LSN) (bool, error) {
	fresh, err := stillFresh(ctx, s)
	if err != nil || !fresh {
		return false, err
	}
	at := slices.IndexFunc(b.Line, func(l topology.Lineage) bool { return l.ID == b.Attached.Lineage })
	store, err := t.store(b.Region)
	if at < 0 || err != nil {
		return false, err
	}
	w := &branchWAL{
		lineage: b.Line[at], dir: filepath.Join(s.DataDir, "pg_wal"), end: end,
		archive: archive.Open(store, in.Group, b.Workspace, b.Attached.Lineage),
	}
	named, err := w.holdsPoint(ctx)
	if err != nil {
		t.tellAttachment(ctx, in, "whether a restore point was made in it is not known: "+err.Error(),
			"Detach it again; or with discard (--discard), which gives up what has not reached the bucket.")
		return false, fault.New(fault.KindOf(err), opPoints, err).WithHint("%s", fault.HintOf(err))
	}
	return !named, nil
}

// branchWAL is all WAL of a branch's newest lineage. A restore point leaves no other trace.
type branchWAL struct {
	lineage topology.Lineage
	dir     string           // pg_wal of its server, which drops files that are in the bucket
	archive *archive.Archive // what is there of it
	end     wal.LSN

	scanner *wal.Scanner
	named   bool // a restore point was met
}

// holdsPoint reports whether somebody has made a restore point since the branch began there. Errors: those of the store, fault.Missing for
// an object or a file that goes away again and again, fault.Corrupt.
func (w *branchWAL) holdsPoint(ctx context.Context) (bool, error) {
	for attempt := 0; ; attempt++ {
		err := w.read(ctx)
		// An object that was listed and is gone was merged meanwhile, a file was dropped since its end is in the bucket.
		if !fault.Is(err, fault.Missing) || attempt == 3 {
			return w.named, err
		}
	}
}

func (w *branchWAL) read(ctx context.Context) error {
	w.scanner, w.named = wal.NewScanner(w.lineage.SegmentSize), false
	at, err := w.onDisk()
	if err != nil {
		return err
	}
	if at > w.lineage.Start.LSN {
		if err := w.readBucket(ctx, at); err != nil {
			return err
		}
	}
	for ; at < w.end && !w.named && err == nil; at = w.lineage.SegmentSize.Next(at) {
		err = w.readFile(ctx, at)
	}
	return err
}

// file is where the segment file lies that holds the byte at l. A branch's lineage has one timeline: its server never follows another one.
func (w *branchWAL) file(l wal.LSN) string {
	return filepath.Join(w.dir, w.lineage.SegmentSize.FileName(w.lineage.Start.Timeline, l))
}

// onDisk returns where the files begin that reach the end without a gap.
func (w *branchWAL) onDisk() (wal.LSN, error) {
	size := w.lineage.SegmentSize
	first := w.end
	for first > w.lineage.Start.LSN {
		before := size.Start(first - 1)
		_, err := os.Stat(w.file(before))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return 0, fault.New(fault.Invalid, opPoints, err).WithHint("The worker must be able to read the folder.")
		}
		first = before
	}
	return first, nil
}

// readBucket reads what the disk does not have any more. What the bucket lacks of that too, because the slot was lost, nobody has.
func (w *branchWAL) readBucket(ctx context.Context, to wal.LSN) error {
	inv, err := w.archive.List(ctx)
	if err != nil {
		return err
	}
	line, err := inv.Line(w.lineage.Start.Timeline)
	if err != nil {
		return err
	}
	chain := archive.Path(inv.Entries, line, w.lineage.Start.LSN)
	chain.Steps = slices.DeleteFunc(chain.Steps, func(s archive.Step) bool { return s.Use.Start >= to })
	var bad error
	err = w.archive.Read(ctx, chain, w.lineage.Start.LSN, func(at wal.LSN, b []byte) {
		if bad == nil {
			bad = w.feed(at, b[:min(len(b), int(to-at))])
		}
	})
	if chain.End.LSN < to {
		w.scanner = wal.NewScanner(w.lineage.SegmentSize)
	}
	return errorsOr(err, bad)
}

// readFile reads one file, up to the end.
func (w *branchWAL) readFile(ctx context.Context, at wal.LSN) error {
	f, err := os.Open(w.file(at))
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Missing, opPoints, err)
	}
	if err != nil {
		return fault.New(fault.Invalid, opPoints, err).WithHint("The worker must be able to read the folder.")
	}
	defer f.Close()
	b := make([]byte, pointsChunk)
	for to := min(w.end, w.lineage.SegmentSize.Next(at)); at < to && !w.named; {
		if ctx.Err() != nil {
			return fault.New(fault.Transient, opPoints, ctx.Err())
		}
		n, err := io.ReadFull(f, b[:min(len(b), int(to-at))])
		if err != nil {
			return fault.New(fault.Corrupt, opPoints, err)
		}
		if err := w.feed(at, b[:n]); err != nil {
			return err
		}
		at += wal.LSN(n)
	}
	return nil
}

// feed looks through what comes next. What comes before the fork is its parent's: a branch may begin right behind a restore point.
func (w *branchWAL) feed(at wal.LSN, b []byte) error {
	err := w.scanner.Feed(at, b, func(r wal.Record) {
		w.named = w.named || r.Restore != nil && r.End > w.lineage.Parent.At.LSN
	})
	if err != nil {
		return fault.New(fault.Corrupt, opPoints, err)
	}
	return nil
}
