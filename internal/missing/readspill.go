package missing

import (
	"bufio"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
)

// row is one row version of a table.
type row struct {
	Table  uint32 // OID of what it was read from: a partition has its own
	TID    TID
	XID    uint32
	Values [][]byte // nil is NULL; valid until the next row is read
}

// maxValue is more than PostgreSQL lets a value's text be (1 GiB, and twice that for bytea as hex).
const maxValue = 2<<30 + 64

// rowWriter keeps rows in a file, which gets its name when it is complete. Its form is of this package only: it lives as long as a comparison.
type rowWriter struct {
	path string
	file *os.File
	z    *zstd.Encoder
	buf  *bufio.Writer
	n    uint64
	head []byte
}

func newRowWriter(path string) (*rowWriter, error) {
	f, err := os.Create(path + ".part")
	if err != nil {
		return nil, fileError(err)
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<18))
	if err != nil {
		_ = f.Close()
		return nil, fileError(err)
	}
	return &rowWriter{path: path, file: f, z: z, buf: bufio.NewWriterSize(z, 1<<16)}, nil
}

func (w *rowWriter) write(r *row) error {
	w.n++
	head := binary.AppendUvarint(w.head[:0], uint64(r.Table))
	for _, v := range []uint64{uint64(r.TID.Block), uint64(r.TID.Offset), uint64(r.XID), uint64(len(r.Values))} {
		head = binary.AppendUvarint(head, v)
	}
	_, err := w.buf.Write(head)
	for _, v := range r.Values {
		if err != nil {
			break
		}
		size := uint64(0)
		if v != nil {
			size = uint64(len(v)) + 1
		}
		if _, err = w.buf.Write(binary.AppendUvarint(head[:0], size)); err == nil {
			_, err = w.buf.Write(v)
		}
	}
	w.head = head
	return fileError(err)
}

// close ends the file, with how many rows it has, and gives it its name.
func (w *rowWriter) close() error {
	end := binary.AppendUvarint(binary.AppendUvarint(nil, 0), w.n)
	_, err := w.buf.Write(end)
	for _, step := range []func() error{w.buf.Flush, w.z.Close, w.file.Sync, w.file.Close} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return fileError(err)
	}
	return fileError(os.Rename(w.path+".part", w.path))
}

// abandon leaves the file without its name, to be made again. Once it is closed that does nothing.
func (w *rowWriter) abandon() { _ = w.file.Close() } // what was written is not used

// readRows calls visit for each row of a file.
func readRows(path string, visit func(*row) error) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return fault.New(fault.Missing, opRead, err).WithHint("Compare again.")
	}
	if err != nil {
		return fileError(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fault.New(fault.Corrupt, opRead, err)
	}
	defer z.Close()
	in := newRowReader(z)
	for {
		r, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fault.Newf(fault.Corrupt, opRead, "%s: %w", filepath.Base(path), err).WithHint("Compare again.")
		}
		if err := visit(r); err != nil {
			return err
		}
	}
}

type rowReader struct {
	in   *bufio.Reader
	row  row
	data []byte
	ends []int
	n    uint64
	err  error
}

func newRowReader(from io.Reader) *rowReader { return &rowReader{in: bufio.NewReaderSize(from, 1<<16)} }

func (r *rowReader) number(limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(r.in)
	switch {
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	case err == nil && v > limit:
		err = errNumber
	}
	r.err = err
	return v
}

var errNumber = fault.Newf(fault.Corrupt, opRead, "a number is out of range")

// next returns the next row, and io.EOF behind the last one, if as many came as were written.
func (r *rowReader) next() (*row, error) {
	r.row.Table = uint32(r.number(1<<32 - 1))
	if r.err == nil && r.row.Table == 0 {
		if written := r.number(1 << 62); r.err == nil && written != r.n {
			r.err = fault.Newf(fault.Corrupt, opRead, "it has %d rows, and %d were written", r.n, written)
		}
		if r.err == nil {
			r.err = io.EOF
		}
		return nil, r.err
	}
	r.n++
	r.row.TID = TID{Block: uint32(r.number(1<<32 - 1)), Offset: uint16(r.number(1<<16 - 1))}
	r.row.XID = uint32(r.number(1<<32 - 1))
	r.values(int(r.number(1 << 12)))
	return &r.row, r.err
}

// bytes appends so many to data, a piece at a time: a damaged length asks for no more memory than the file has bytes.
func (r *rowReader) bytes(n int) {
	for n > 0 && r.err == nil {
		start, piece := len(r.data), min(n, 1<<20)
		r.data = append(r.data, make([]byte, piece)...)
		if _, r.err = io.ReadFull(r.in, r.data[start:]); r.err == io.EOF {
			r.err = io.ErrUnexpectedEOF
		}
		n -= piece
	}
}

func (r *rowReader) values(n int) {
	r.data, r.ends, r.row.Values = append(r.data[:0], 0)[:0], r.ends[:0], r.row.Values[:0] // an empty value is not nil
	for range n {
		size := int(r.number(maxValue))
		if r.err != nil {
			return
		}
		if size > 0 {
			r.bytes(size - 1)
		}
		r.ends = append(r.ends, size)
	}
	if r.err != nil {
		return
	}
	for at, i := 0, 0; i < len(r.ends); i++ {
		var v []byte
		if r.ends[i] > 0 {
			v = r.data[at : at+r.ends[i]-1 : at+r.ends[i]-1]
			at += r.ends[i] - 1
		}
		r.row.Values = append(r.row.Values, v)
	}
}
