package missing

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
)

const opSet = "read change set"

// Writer writes a set.
type Writer struct {
	z   *zstd.Encoder
	enc *json.Encoder
}

// NewWriter begins a set.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	h.Format = SetFormat
	s := &Writer{z: z, enc: json.NewEncoder(z)}
	s.enc.SetEscapeHTML(false)
	return s, s.enc.Encode(h)
}

// Write adds a line.
func (w *Writer) Write(l Line) error { return w.enc.Encode(l) }

// Close ends the set; what lies below stays open.
func (w *Writer) Close() error { return w.z.Close() }

// Reader reads a set.
type Reader struct {
	Header Header
	z      *zstd.Decoder
	dec    *json.Decoder
}

// NewReader reads a set's header; fault.Corrupt when it is none, fault.Invalid when it is of a later version.
func NewReader(r io.Reader) (*Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	s := &Reader{z: z, dec: json.NewDecoder(bufio.NewReaderSize(z, 1<<16))}
	if err := s.dec.Decode(&s.Header); err != nil {
		z.Close()
		return nil, fault.New(fault.Corrupt, opSet, err)
	}
	if s.Header.Format != SetFormat {
		z.Close()
		return nil, fault.Newf(fault.Invalid, opSet, "it has format %d, and this version reads %d", s.Header.Format, SetFormat).WithHint("Compare again.")
	}
	return s, nil
}

// Next returns the next line, and io.EOF behind the last one.
func (r *Reader) Next() (l Line, err error) {
	if err = r.dec.Decode(&l); err != nil && !errors.Is(err, io.EOF) {
		err = fault.New(fault.Corrupt, opSet, err)
	}
	return l, err
}

// Close ends reading; what lies below stays open.
func (r *Reader) Close() { r.z.Close() }
