package ship

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opFiles = "read WAL files"

// fileChunk is how much of a segment file is read at a time.
const fileChunk = 1 << 20

// walFiles is the pg_wal folder of a server that does not run. What is in it was flushed, as far as its records are whole: a
// server that crashed would recover to the same end.
type walFiles struct {
	dir    string
	size   wal.SegmentSize
	system uint64
	newest wal.Timeline
}

// openFiles looks at a pg_wal folder, or at the one of a data directory. Errors: fault.Missing without WAL of the lineage's timeline or a
// later one, fault.Conflict while its server runs, fault.Invalid when the folder cannot be read.
func openFiles(ctx context.Context, dir string, l topology.Lineage) (*walFiles, error) {
	system, err := strconv.ParseUint(l.SystemID, 10, 64)
	if err != nil {
		return nil, fault.Newf(fault.Corrupt, opFiles, "lineage %s has system identifier %q", l.ID, l.SystemID)
	}
	f := &walFiles{dir: dir, size: l.SegmentSize, system: system}
	if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err == nil {
		f.dir = filepath.Join(dir, "pg_wal")
	}
	server := &postgres.Server{DataDir: filepath.Dir(f.dir)}
	if pid, running := server.Running(ctx); running {
		return nil, fault.Newf(fault.Conflict, opFiles, "the server of %s runs (process %d)", server.DataDir, pid).
			WithHint("Its WAL is read over its own connection; or stop it first.")
	}
	if f.newest, err = f.newestTimeline(ctx, server); err != nil {
		return nil, err
	}
	if f.newest < l.Start.Timeline {
		return nil, fault.Newf(fault.Missing, opFiles, "%s holds no WAL of timeline %d or a later one", f.dir, l.Start.Timeline).
			WithHint("Name the pg_wal folder, or the data directory, of the server that wrote lineage %s.", l.ID)
	}
	return f, nil
}

// newestTimeline asks pg_control, which says what the server had committed itself to: a history file may be there of a promotion
// that never came to its end. Without a data directory around it the folder's own files count.
func (f *walFiles) newestTimeline(ctx context.Context, server *postgres.Server) (newest wal.Timeline, err error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return 0, fault.New(fault.Invalid, opFiles, err).WithHint("The worker must be able to read the folder.")
	}
	if c, err := server.ControlData(ctx); err == nil {
		return c.Timeline(), nil
	}
	for _, e := range entries {
		if len(e.Name()) != 24 {
			continue
		}
		if t, err := wal.ParseTimelineKey(e.Name()[:8]); err == nil {
			newest = max(newest, t)
		}
	}
	return newest, nil
}

func (f *walFiles) timeline() wal.Timeline { return f.newest }

func (f *walFiles) close() {}

// TimelineHistory reads a history file; fault.Missing when it is not there.
func (f *walFiles) TimelineHistory(_ context.Context, t wal.Timeline) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(f.dir, wal.HistoryFileName(t)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Missing, opFiles, err)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, opFiles, err)
	}
	return b, nil
}

// openSegment opens the segment file that holds the byte at l of timeline t. Where a timeline has ended its last file may have
// been renamed, and the next timeline's first file begins with a copy of it.
func (f *walFiles) openSegment(t wal.Timeline, l wal.LSN) (*os.File, error) {
	name := filepath.Join(f.dir, f.size.FileName(t, l))
	names := []string{name}
	if t != f.newest {
		names = append(names, name+".partial", filepath.Join(f.dir, f.size.FileName(f.newest, l)))
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err == nil {
			return file, f.checkOwner(file)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Invalid, opFiles, err).WithHint("The worker must be able to read the folder.")
		}
	}
	return nil, fault.Newf(fault.Missing, opFiles, "%s is not there", name)
}

// checkOwner reads the system identifier in the long header of a segment file's first page (XLogLongPageHeaderData). A file that was
// made beforehand and never written to has none.
func (f *walFiles) checkOwner(file *os.File) error {
	var h [40]byte
	if _, err := file.ReadAt(h[:], 0); err != nil {
		return nil //nolint:nilerr // a file that is cut short is judged by its records
	}
	if id := binary.LittleEndian.Uint64(h[24:]); id != 0 && id != f.system {
		_ = file.Close() // it was only read from
		return fault.Newf(fault.Diverged, opFiles, "%s is of the server with system identifier %d, and the lineage of %d", file.Name(), id, f.system).
			WithHint("Name the pg_wal folder of the server that wrote the lineage.")
	}
	return nil
}

// read returns up to n bytes of timeline t from l on, none of them beyond the end of the segment file; none at all where that ends
// early. Errors: fault.Missing when there is no such file.
func (f *walFiles) read(t wal.Timeline, l wal.LSN, n int) ([]byte, error) {
	file, err := f.openSegment(t, l)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b := make([]byte, min(n, int(f.size.Next(l)-l)))
	got, err := file.ReadAt(b, int64(l-f.size.Start(l)))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Transient, opFiles, err)
	}
	return b[:got], nil
}

// end returns the end of the last whole record of timeline t at or after from, or 0 when there is none. It goes no further than
// limit, unless that is 0.
func (f *walFiles) end(ctx context.Context, t wal.Timeline, from, limit wal.LSN) (wal.LSN, error) {
	at := f.size.Start(from)
	scan := wal.NewScanner(f.size)
	for limit == 0 || at < limit {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		b, err := f.read(t, at, fileChunk)
		if fault.Is(err, fault.Missing) && at >= from {
			return scan.RecordEnd(), f.checkEnd(t, at, err)
		}
		if err != nil {
			return 0, err
		}
		if limit != 0 {
			b = b[:min(len(b), int(limit-at))]
		}
		var bad *wal.ScanError
		if err := scan.Feed(at, b, nil); errors.As(err, &bad) || len(b) == 0 {
			return scan.RecordEnd(), nil
		}
		at += wal.LSN(len(b))
	}
	return limit, nil
}

// checkEnd finds out whether WAL goes on after a file that is not there: files of the future are made beforehand, but none of them
// says in its first page that it is what its name says.
func (f *walFiles) checkEnd(t wal.Timeline, at wal.LSN, missing error) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fault.New(fault.Invalid, opFiles, err)
	}
	for _, e := range entries {
		l, ok := f.startOf(t, e.Name())
		if !ok || l <= at {
			continue
		}
		if b, err := f.read(t, l, wal.PageSize); err == nil && len(b) >= 16 && wal.LSN(binary.LittleEndian.Uint64(b[8:])) == l {
			return &Hole{Stored: wal.Position{Timeline: t, LSN: at}, Available: l, Err: missing}
		}
	}
	return nil
}

// startOf returns where a segment file of timeline t begins, by its name (XLogFileName).
func (f *walFiles) startOf(t wal.Timeline, name string) (wal.LSN, bool) {
	if len(name) != 24 || name[:8] != t.Key() {
		return 0, false
	}
	hi, err1 := strconv.ParseUint(name[8:16], 16, 32)
	lo, err2 := strconv.ParseUint(name[16:], 16, 32)
	l := wal.LSN(hi<<32 + lo*uint64(f.size))
	return l, err1 == nil && err2 == nil && f.size.FileName(t, l) == name
}

// feed gives a leg what the files have of its timeline.
func (f *walFiles) feed(ctx, work context.Context, l *leg) error {
	l.w.welcomed = true // what is wrong with the files from here on, nobody has to put right
	limit, ends := l.line.History.EndOf(l.timeline)
	end, err := f.end(ctx, l.timeline, l.board.start, limit)
	var hole *Hole
	switch {
	case errors.As(err, &hole):
		hole.Lineage, hole.Silent = l.w.Lineage.ID, l.silent
		return err
	case err != nil:
		return err
	case ends && end < limit:
		return &Hole{Lineage: l.w.Lineage.ID, Stored: wal.Position{Timeline: l.timeline, LSN: max(end, l.board.start)}, Available: limit, Silent: l.silent,
			Err: fault.Newf(fault.Missing, opFiles, "the files of timeline %d do not reach its end", l.timeline)}
	}
	if err := f.feedUpTo(ctx, l, end); err != nil {
		return l.finish(ctx, work, err)
	}
	if ends {
		return l.finish(ctx, work, errRejudge)
	}
	l.w.setEnd(wal.Position{Timeline: l.timeline, LSN: max(end, l.board.start)})
	<-ctx.Done()
	return l.finish(ctx, work, nil)
}

// feedUpTo reads from where the leg stands. What comes before that in its segment file must be what is stored.
func (f *walFiles) feedUpTo(ctx context.Context, l *leg, end wal.LSN) error {
	at, check := l.from()
	for at < end {
		b, err := f.read(l.timeline, at, min(fileChunk, int(end-at)))
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return fault.Newf(fault.Transient, opFiles, "the file that holds %s has become shorter", at)
		}
		if check, err = l.take(ctx, replication.Data{Start: at, ServerEnd: end, Bytes: b}, check); err != nil {
			return err
		}
		at += wal.LSN(len(b))
	}
	return nil
}
