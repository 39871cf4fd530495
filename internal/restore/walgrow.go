package restore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/wal"
)

// grow has a writer's files grow in place, before the eyes of a server that replays them: a file is there at its full length from
// its first byte on, with zeros where there is no WAL yet, which the server takes for the end of its WAL.
type grow struct {
	limit  wal.LSN                            // no record that ends behind it is written; 0: all are
	before func(to wal.LSN) error             // called when the bytes up to there are verified, before they are written
	added  func(to wal.LSN, h archive.Header) // called when a piece was written
	own    func(path string) error
}

func (w *walWriter) beyondLimit(l wal.LSN) bool {
	return w.grow != nil && w.grow.limit != 0 && l > w.grow.limit
}

// limited reports whether all that may be written was: what is left are the bytes of a record that ends behind the limit.
func (w *walWriter) limited() bool {
	return w.scanner != nil && w.beyondLimit(w.scanner.RecordEnd())
}

func (w *walWriter) announce(raw []byte) error {
	if w.grow == nil {
		return nil
	}
	return w.grow.before(w.at + wal.LSN(len(raw)))
}

// readyToGrow opens the file of the next byte's timeline. Where a timeline begins in the middle of a file, its own file
// repeats what comes before.
func (w *walWriter) readyToGrow() error {
	size := w.f.SegmentSize
	name := size.FileName(w.lines[w.leg].At(w.at), w.at)
	if w.file != nil && w.name == name {
		return nil
	}
	before := ""
	if w.file != nil {
		if err := w.endFile(); err != nil {
			return err
		}
		before = w.last
	}
	w.fileAt, w.name = size.Start(w.at), name
	path := filepath.Join(w.f.Dir, name)
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() != int64(size) {
		if err := w.makeFile(path, before); err != nil {
			return diskFault("create "+name, err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return diskFault("open "+name, err)
	}
	w.file = f
	return nil
}

// makeFile makes a file of zeros under its name, with what of it lies before w.at, if anything, from the file of the timeline before.
func (w *walWriter) makeFile(path, before string) error {
	tmp := filepath.Join(w.f.Dir, temporaryWAL)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if before != "" {
		err = copyHead(f, filepath.Join(w.f.Dir, before), int64(w.at-w.fileAt))
	}
	err = errors.Join(err, f.Truncate(int64(w.f.SegmentSize)), w.grow.own(tmp), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(w.f.Dir)
	}
	return err
}

func copyHead(to io.Writer, from string, n int64) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(to, f, n)
	return err
}

// sync makes what was written so far durable.
func (w *walWriter) sync() error {
	if w.file == nil {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return diskFault("write "+w.name, err)
	}
	return nil
}
