package restore

import (
	"errors"
	"io"
	"os"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// putBase puts a base where the chunks belong that are deltas on it: as much of it as they are long. That is not their content yet; if the restore
// is killed now, the next attempt sees that by their names.
func (f *files) putBase(base snapshot.Hash, raw []byte) error {
	for _, h := range f.plan.onto[base] {
		err := f.plan.each(h, func(file, chunk int) error {
			n := min(len(raw), snapshot.ChunkLen(f.m.Files[file].Size, chunk))
			return f.write(file, chunk, raw[:n], snapshot.Span{To: n})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// putDelta turns the base that lies where a chunk belongs into the chunk, verifies it, and writes what the delta changes.
func (f *files) putDelta(d *snapshot.Decoder, key string, e snapshot.Entry, stored, buf []byte) error {
	buf = buf[:e.Raw]
	var spans []snapshot.Span
	patched := false
	return f.plan.each(e.Hash, func(file, chunk int) (err error) {
		if mf := &f.m.Files[file]; len(buf) != snapshot.ChunkLen(mf.Size, chunk) {
			return fault.Newf(fault.Corrupt, opFiles, "chunk %d of %s has %d bytes", chunk, mf.Path, len(buf))
		}
		if !patched {
			if err := f.readBase(file, chunk, buf); err != nil {
				return err
			}
			if spans, err = d.Patch(stored, e, buf); err != nil {
				return f.corrupt(key, e, err)
			}
			patched = true
		}
		if err := f.write(file, chunk, buf, spans...); err != nil {
			return err
		}
		f.plan.settle(file, chunk, false)
		return nil
	})
}

// readBase reads what putBase has put to a place. Where the base was shorter, the delta has the rest.
func (f *files) readBase(file, chunk int, buf []byte) error {
	if file == f.plan.controlFile {
		copy(buf, f.plan.control)
		return nil
	}
	in, err := os.OpenFile(f.place.path(f.m.Files[file].Path), os.O_RDONLY|noFollow, 0)
	if err != nil {
		return err
	}
	_, err = in.ReadAt(buf, int64(chunk)*snapshot.ChunkSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, in.Close())
}
