package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Format is the version of segment objects that this package writes; docs/format.md describes it.
const Format = 1

const (
	magic = "SDRSEG1\n"
	// maxHeader bounds what a damaged length can make a reader allocate.
	maxHeader = 64 << 10
	// maxRaw bounds what a damaged rawSize can make a reader allocate: the largest segment file PostgreSQL knows.
	maxRaw = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header says what a segment object holds. It stands uncompressed before the data.
type Header struct {
	Format     int            `json:"format"`
	Group      string         `json:"group"`
	Workspace  string         `json:"workspace"`
	Lineage    string         `json:"lineage"`
	Epoch      topology.Epoch `json:"epoch"`
	SystemID   string         `json:"systemID"`
	Timeline   wal.Timeline   `json:"timeline"`
	Start      wal.LSN        `json:"start"`
	End        wal.LSN        `json:"end"`
	State      []byte         `json:"state"`               // SHA-256 midstate of the path before Start
	Digest     Sum            `json:"digest"`              // SHA-256 of the path up to End
	RawSize    int64          `json:"rawSize"`             // bytes of WAL: End-Start
	BodySize   int64          `json:"bodySize"`            // bytes after the header: the zstd frame
	RecordEnd  wal.LSN        `json:"recordEnd"`           // end of the last complete record before End (Scanner.RecordEnd); 0: none yet
	LastCommit Commit         `json:"lastCommit,omitzero"` // last one at or before RecordEnd
	Latest     *Latest        `json:"latest,omitempty"`    // bounds the times of commits; nil: not known
	AsOf       time.Time      `json:"asOf,omitzero"`       // shipper's clock: everything flushed by then lies before End
	CreatedAt  time.Time      `json:"createdAt"`           // shipper's clock
}

// Commit is a commit record.
type Commit struct {
	LSN  wal.LSN   `json:"lsn"`  // its end
	Time time.Time `json:"time"` // primary's clock
}

// Latest bounds the times of commits on a lineage's path, which are nearly but not quite in the order of the commits, and jump with the
// primary's clock: no commit record that ends behind Since, and at or before the segment's end, is of a later time. With it a moment is found
// without reading all that came before.
type Latest struct {
	Since wal.LSN   `json:"since"`
	Time  time.Time `json:"time,omitzero"` // primary's clock; zero when there was no commit
}

// Range returns the bytes that the segment holds.
func (h Header) Range() wal.Range { return wal.Range{Start: h.Start, End: h.End} }

// Sealed is a segment in its stored form.
type Sealed struct {
	Header Header
	Bytes  []byte // the whole object
}

// Segment is a segment read back and found whole: Raw hashed from State gives Digest.
type Segment struct {
	Header Header
	Raw    []byte
}

// encoder compresses at the fastest level: one core then makes several hundred MB/s, and object storage is cheaper than
// falling behind. A window that fits the cache costs no ratio on WAL and saves a third of the time. zstd's own checksum
// is left out since the chain's digest covers every byte.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic("archive: zstd options: " + err.Error())
	}
	return e
})

var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderMaxMemory(maxRaw))
	if err != nil {
		panic("archive: zstd options: " + err.Error())
	}
	return d
})

// Seal makes the stored form of raw. h must be filled in save for Format, RawSize and BodySize. It neither keeps nor
// changes raw.
func Seal(h Header, raw []byte) (Sealed, error) {
	if h.Start >= h.End || int64(len(raw)) != h.Range().Len() {
		return Sealed{}, fault.Newf(fault.Invalid, "seal segment", "%d bytes do not fill %s", len(raw), h.Range())
	}
	// Room for the header in front, so that the body is not copied; compressed WAL is mostly a quarter or less.
	const room = 4 << 10
	buf := encoder().EncodeAll(raw, make([]byte, room, room+len(raw)/4+512))
	h.Format, h.RawSize, h.BodySize = Format, int64(len(raw)), int64(len(buf)-room)
	head, err := encodeHeader(h)
	if err != nil {
		return Sealed{}, err
	}
	if len(head) > room {
		return Sealed{}, fault.Newf(fault.Invalid, "seal segment", "header of %d bytes", len(head))
	}
	b := buf[room-len(head):]
	copy(b, head)
	return Sealed{h, b}, nil
}

func encodeHeader(h Header) ([]byte, error) {
	j, err := json.Marshal(h)
	if err != nil {
		return nil, fault.New(fault.Invalid, "encode segment header", err)
	}
	b := append(make([]byte, 0, len(magic)+8+len(j)), magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(j)))
	b = append(b, j...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(j, castagnoli)), nil
}

// DecodeHeader reads a segment object's header and returns it with the bytes that follow. It does not look at those.
func DecodeHeader(b []byte) (Header, []byte, error) {
	h, rest, err := decodeHeader(b)
	if err != nil {
		return Header{}, nil, fault.New(fault.Corrupt, "read segment header", err)
	}
	if h.Format != Format {
		return Header{}, nil, fault.Newf(fault.Invalid, "read segment header", "format %d is not known", h.Format).
			WithHint("It was written by a newer SmartDR: upgrade this one.")
	}
	if h.Start >= h.End || h.RawSize != h.Range().Len() || h.RawSize > maxRaw {
		return Header{}, nil, fault.Newf(fault.Corrupt, "read segment header", "%d bytes do not fill %s", h.RawSize, h.Range())
	}
	return h, rest, nil
}

func decodeHeader(b []byte) (h Header, rest []byte, err error) {
	if len(b) < len(magic)+4 {
		return h, nil, fmt.Errorf("%d bytes are too few", len(b))
	}
	if string(b[:len(magic)]) != magic {
		return h, nil, fmt.Errorf("magic %q", b[:len(magic)])
	}
	n := int64(binary.BigEndian.Uint32(b[len(magic):]))
	b = b[len(magic)+4:]
	if n > maxHeader || int64(len(b)) < n+4 {
		return h, nil, fmt.Errorf("a header of %d bytes in %d bytes", n, len(b))
	}
	if binary.BigEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return h, nil, errors.New("checksum of the header is wrong")
	}
	d := json.NewDecoder(bytes.NewReader(b[:n]))
	if err := d.Decode(&h); err != nil {
		return h, nil, err
	}
	return h, b[n+4:], nil
}

// Decode reads a segment object and verifies it: errors are of kind fault.Corrupt, or fault.Invalid when a newer format
// wrote it. That it belongs where it was found is for the caller to check; Archive.Get does.
func Decode(b []byte) (*Segment, error) {
	h, body, err := DecodeHeader(b)
	if err != nil {
		return nil, err
	}
	raw, err := unpack(h, body)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "read segment "+h.Range().String(), err)
	}
	return &Segment{h, raw}, nil
}

func unpack(h Header, body []byte) ([]byte, error) {
	if int64(len(body)) != h.BodySize {
		return nil, fmt.Errorf("%d bytes of data, the header says %d", len(body), h.BodySize)
	}
	raw, err := decoder().DecodeAll(body, make([]byte, 0, h.RawSize))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != h.RawSize {
		return nil, fmt.Errorf("%d bytes of WAL, the header says %d", len(raw), h.RawSize)
	}
	d, err := ResumeDigest(h.State)
	if err != nil {
		return nil, err
	}
	d.Write(raw)
	if got := d.Sum(); got != h.Digest {
		return nil, fmt.Errorf("digest is %s, the header says %s", got, h.Digest)
	}
	return raw, nil
}

// DigestAt returns the digest of the path up to l, which must lie in the segment or at its end.
func (s *Segment) DigestAt(l wal.LSN) (*Digest, error) {
	if l < s.Header.Start || l > s.Header.End {
		return nil, fault.Newf(fault.Invalid, "digest of segment", "%s is not in %s", l, s.Header.Range())
	}
	d, err := ResumeDigest(s.Header.State)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "digest of segment "+s.Header.Range().String(), err)
	}
	d.Write(s.Raw[:l-s.Header.Start])
	return d, nil
}
