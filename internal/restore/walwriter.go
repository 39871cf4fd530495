package restore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// walWriter verifies the path as it comes, scans its records, and writes it as segment files.
type walWriter struct {
	f       *fetch
	lines   []archive.Line
	leg     int
	verify  *archive.Verifier
	scanner *wal.Scanner
	at      wal.LSN // end of what was added
	done    int64   // bytes of WAL

	file   *os.File // the segment file being written, under a temporary name
	fileAt wal.LSN  // its first byte
	name   string   // its name when it is whole
	last   string   // the name of the file finished before
	since  int      // files since the last mark
	grow   *grow    // nil: files appear when they are whole
}

// add takes the next piece.
func (w *walWriter) add(p piece, s *archive.Segment) error {
	if p.leg != w.leg {
		if err := w.nextLeg(p); err != nil {
			return err
		}
	}
	raw, err := w.verify.Next(s, p.step.Use)
	if err != nil {
		return fault.New(fault.KindOf(err), p.step.Entry.Key, err)
	}
	for len(raw) > 0 && !w.limited() {
		n := min(len(raw), int(w.f.SegmentSize.Next(w.at)-w.at))
		if err := w.addPart(p, s, raw[:n]); err != nil {
			return err
		}
		raw = raw[n:]
	}
	w.f.out.Fetched += p.step.Entry.Size
	w.done += p.step.Use.Len()
	if w.grow != nil {
		w.grow.added(p.step.Use.End, s.Header)
	}
	if w.f.Progress != nil {
		w.f.Progress(w.done, w.f.total)
	}
	return nil
}

// addPart takes what of a piece lies in one segment file. Nothing is written before its records were found sound.
func (w *walWriter) addPart(p piece, s *archive.Segment, raw []byte) error {
	if err := w.ready(); err != nil {
		return err
	}
	if err := w.agrees(raw); err != nil {
		return err
	}
	raw, err := w.scan(p, raw)
	if err != nil {
		return err
	}
	if err := w.announce(raw); err != nil {
		return err
	}
	if err := w.write(raw); err != nil || w.file != nil {
		return err
	}
	return w.mark(s)
}

// nextLeg ends the file of the leg before, and begins where the next one does: at the start of a segment file, whose
// bytes before the fork are in both lineages.
func (w *walWriter) nextLeg(p piece) error {
	if err := w.endFile(); err != nil {
		return err
	}
	w.leg, w.at = p.leg, p.step.Use.Start
	w.verify, w.scanner = new(archive.Verifier), wal.NewScanner(w.f.SegmentSize)
	if start := w.f.Legs[p.leg].Lineage.Start.LSN; w.at == start {
		w.verify = archive.NewVerifier(start, archive.NewDigest().Sum())
	}
	return nil
}

// scan reads the records in raw, which begins at w.at, and returns what of it may be written.
func (w *walWriter) scan(p piece, raw []byte) ([]byte, error) {
	out, cut := &w.f.out, w.at+wal.LSN(len(raw))
	err := w.scanner.Feed(w.at, raw, func(r wal.Record) {
		if w.beyondLimit(r.End) {
			cut = min(cut, max(r.Start, w.at))
			return
		}
		switch {
		case r.Commit != nil:
			out.LastCommit, out.LastCommitLSN = r.Commit.Time, r.End
		case r.Parameters != nil:
			out.MaxParameters = out.MaxParameters.Max(*r.Parameters)
		case r.Tablespace != nil:
			out.Tablespaces = append(out.Tablespaces, CreatedTablespace{r.Tablespace.OID, r.Tablespace.Location, r.Start})
		case r.FileCopy != nil:
			out.FileCopies = append(out.FileCopies, *r.FileCopy)
		}
	})
	if err != nil {
		return nil, fault.New(fault.Corrupt, p.step.Entry.Key, err).
			WithHint("The bytes are as the server sent them, and recovery would stop there.")
	}
	if e := w.scanner.RecordEnd(); e != 0 && !w.beyondLimit(e) {
		out.RecordEnd = e
	}
	return raw[:cut-w.at], nil
}

// write writes what lies in one segment file; the file is nil once it is whole.
func (w *walWriter) write(raw []byte) error {
	if _, err := w.file.WriteAt(raw, int64(w.at-w.fileAt)); err != nil {
		return diskFault("write "+w.name, err)
	}
	if w.at += wal.LSN(len(raw)); w.at%wal.LSN(w.f.SegmentSize) != 0 {
		return nil
	}
	return w.endFile()
}

// ready opens the file that the next byte goes to.
func (w *walWriter) ready() error {
	switch {
	case w.grow != nil:
		return w.readyToGrow()
	case w.file == nil:
		return w.beginFile()
	}
	return nil
}

// agrees compares what a leg has in its first segment file with what the leg before has there: up to the fork it is the
// same WAL.
func (w *walWriter) agrees(raw []byte) error {
	if w.leg == 0 || w.fileAt != w.f.SegmentSize.Start(w.f.Legs[w.leg].From.LSN) || w.last == "" || w.forkAt() <= w.at {
		return nil
	}
	n := min(len(raw), int(w.forkAt()-w.at))
	old := make([]byte, n)
	before, err := os.Open(filepath.Join(w.f.Dir, w.last))
	if err != nil {
		return diskFault("read "+w.last, err)
	}
	defer before.Close()
	if _, err := before.ReadAt(old, int64(w.at-w.fileAt)); err != nil {
		return diskFault("read "+w.last, err)
	}
	if !bytes.Equal(old, raw[:n]) {
		return fault.Newf(fault.Diverged, opFetch, "lineage %s does not continue lineage %s: their WAL differs between %s and %s",
			w.f.Legs[w.leg].Lineage.ID, w.f.Legs[w.leg-1].Lineage.ID, w.at, w.at+wal.LSN(n))
	}
	return nil
}

// forkAt returns where the leg before ends.
func (w *walWriter) forkAt() wal.LSN { return w.f.Legs[w.leg-1].To }

// temporaryWAL is the name of a segment file until it is whole: then it is renamed, so that a file with a segment's
// name is verified. PostgreSQL passes over it.
const temporaryWAL = "smartdr.wal.tmp"

// beginFile creates the file that holds w.at, padded with zeros. It is named for the newest timeline that has bytes in
// it.
func (w *walWriter) beginFile() error {
	size := w.f.SegmentSize
	w.fileAt = size.Start(w.at)
	lastByte := min(size.Next(w.at), w.f.out.End.LSN)
	if w.leg+1 < len(w.f.Legs) && w.f.Legs[w.leg].To != 0 {
		lastByte = min(lastByte, w.f.Legs[w.leg].To)
	}
	w.name = size.FileName(w.lines[w.leg].At(lastByte-1), w.at)
	f, err := os.OpenFile(filepath.Join(w.f.Dir, temporaryWAL), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return diskFault("create "+w.name, err)
	}
	w.file = f
	if err := f.Truncate(int64(size)); err != nil {
		return diskFault("create "+w.name, err)
	}
	return nil
}

func (w *walWriter) endFile() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	if err == nil && w.grow == nil {
		err = os.Rename(filepath.Join(w.f.Dir, temporaryWAL), filepath.Join(w.f.Dir, w.name))
	}
	if err != nil {
		return diskFault("write "+w.name, err)
	}
	w.last = w.name
	w.f.out.Files++
	return nil
}

func (w *walWriter) finish() error {
	if err := w.endFile(); err != nil {
		return err
	}
	if w.at != w.f.out.End.LSN {
		return fault.Newf(fault.Corrupt, opFetch, "the path ends at %s, not at %s as planned", w.at, w.f.out.End.LSN)
	}
	return syncDir(w.f.Dir)
}

// close lets go of a file that was not finished.
func (w *walWriter) close() {
	if w.file != nil {
		w.file.Close()
		if w.grow == nil {
			os.Remove(w.file.Name())
		}
		w.file = nil
	}
}

// writeWhole writes a small file so that it is there whole or not at all.
func writeWhole(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return diskFault("create "+path, err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return diskFault("write "+path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return diskFault("open "+dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return diskFault("sync "+dir, err)
	}
	return nil
}

// diskFault judges an error of the local file system.
func diskFault(op string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Full, op, err).WithHint("Make room on the disk; the restore goes on from where it stopped.")
	case errors.Is(err, os.ErrPermission):
		return fault.New(fault.Invalid, op, err).WithHint("The worker must be allowed to write there.")
	}
	return fault.New(fault.Transient, op, err)
}
