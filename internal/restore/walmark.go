package restore

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// markFile says how far a fetch came. It lies in pg_wal, where PostgreSQL passes over it.
	markFile = "smartdr.wal.json"
	// markEvery is how many files may have to be fetched again after a kill.
	markEvery = 8
)

// mark is the state of a fetch at the end of a segment file.
type mark struct {
	Lineages []string    `json:"lineages"` // of all legs
	Leg      int         `json:"leg"`
	At       wal.LSN     `json:"at"`
	Sum      archive.Sum `json:"sum"` // of the leg's path up to At
	Last     string      `json:"last"`
	Done     int64       `json:"done"`
	Out      FetchedWAL  `json:"out"`
}

func (f *fetch) lineages() []string {
	ids := make([]string, len(f.Legs))
	for i, l := range f.Legs {
		ids[i] = l.Lineage.ID
	}
	return ids
}

// mark remembers how far the fetch came, every few files. s holds the byte before.
func (w *walWriter) mark(s *archive.Segment) error {
	if w.since++; w.since < markEvery && w.grow == nil {
		return nil
	}
	w.since = 0
	d, err := s.DigestAt(w.at)
	if err != nil {
		return err
	}
	b, err := json.Marshal(mark{w.f.lineages(), w.leg, w.at, d.Sum(), w.last, w.done, w.f.out})
	if err != nil {
		return err
	}
	if err := syncDir(w.f.Dir); err != nil {
		return err
	}
	return writeWhole(filepath.Join(w.f.Dir, markFile), b)
}

// resume takes up an interrupted fetch of the same legs, if there is one. A mark that is not understood is no mark.
func (w *walWriter) resume() error {
	b, err := os.ReadFile(filepath.Join(w.f.Dir, markFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskFault("read "+markFile, err)
	}
	var m mark
	if json.Unmarshal(b, &m) != nil || !w.continues(m) {
		return nil
	}
	end, beyond, histories := w.f.out.End, w.f.out.Beyond, w.f.out.Histories
	w.f.out = m.Out
	w.f.out.End, w.f.out.Beyond, w.f.out.Histories, w.f.out.Fetched = end, beyond, histories, 0
	w.leg, w.at, w.last, w.done = m.Leg, m.At, m.Last, m.Done
	w.verify = archive.NewVerifier(m.At, m.Sum)
	return w.resumeScan(m)
}

// continues reports whether m is of a fetch of the same path, or of its beginning, not further than this one is to go, whose last
// file is there.
func (w *walWriter) continues(m mark) bool {
	ids := w.f.lineages()
	if len(ids) < len(m.Lineages) || m.Leg >= len(m.Lineages) || !slices.Equal(ids[:len(m.Lineages)], m.Lineages) {
		return false
	}
	if to := w.f.Legs[m.Leg].To; to != 0 && m.At > to || m.Out.Start != w.f.out.Start || m.At > w.f.out.End.LSN {
		return false
	}
	// The path of this plan must go through the files that are kept: none was renamed for a newer timeline since.
	if w.f.SegmentSize.FileName(w.lines[m.Leg].At(m.At-1), m.At-1) != m.Last {
		return false
	}
	info, err := os.Stat(filepath.Join(w.f.Dir, m.Last))
	return err == nil && info.Size() == int64(w.f.SegmentSize)
}

// resumeScan gives the scanner the record that crosses the mark.
func (w *walWriter) resumeScan(m mark) error {
	end := m.Out.RecordEnd
	if end == 0 || end < w.f.SegmentSize.Start(m.At-1) {
		w.scanner = wal.NewScanner(w.f.SegmentSize) // a record longer than a file: found again at its end
		return nil
	}
	w.scanner = wal.ResumeScanner(w.f.SegmentSize, end)
	if end >= m.At {
		return nil
	}
	f, err := os.Open(filepath.Join(w.f.Dir, m.Last))
	if err != nil {
		return diskFault("read "+m.Last, err)
	}
	defer f.Close()
	b := make([]byte, m.At-end)
	if _, err := f.ReadAt(b, int64(end-w.f.SegmentSize.Start(end))); err != nil && !errors.Is(err, io.EOF) {
		return diskFault("read "+m.Last, err)
	}
	return w.scanner.Feed(end, b, nil)
}

// skip returns what of the pieces is still to do.
func (w *walWriter) skip(pieces []piece) []piece {
	if w.leg < 0 {
		return pieces
	}
	var todo []piece
	for _, p := range pieces {
		if p.leg < w.leg || p.leg == w.leg && p.step.Use.End <= w.at {
			continue
		}
		if p.leg == w.leg {
			p.step.Use.Start = max(p.step.Use.Start, w.at)
		}
		todo = append(todo, p)
	}
	return todo
}
