package snapshot

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// A delta is what a chunk differs by from its base. Before compression it is
//
//	uint32 page size, a bitmap of the chunk's pages (the first is the lowest bit of the first byte) with those set that are not the
//	base's, the bytes of these pages, CRC-32C of all before
//
// The checksum lets a copy be checked without the base; whether the chunk is right its name says.

const (
	defaultPage = 8192 // BLCKSZ, unless the server was compiled otherwise
	leastPage   = 512
	// deltaLimit bounds what a delta may decompress to beyond the chunk's length.
	deltaLimit = 4 + ChunkSize/leastPage/8 + 4
)

// Span is a range of bytes of a chunk: from, to.
type Span struct{ From, To int }

// pageCount returns how many pages a chunk of so many bytes has; the last one may be short.
func pageCount(raw, page int) int { return (raw + page - 1) / page }

// bitmap has a bit for each page.
type bitmap []byte

func newBitmap(pages int) bitmap { return make(bitmap, (pages+7)/8) }

func (b bitmap) set(i int)      { b[i/8] |= 1 << (i % 8) }
func (b bitmap) has(i int) bool { return b[i/8]&(1<<(i%8)) != 0 }

func (b bitmap) count() (n int) {
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

// appendDelta appends the delta of a chunk, uncompressed, to out.
func appendDelta(out, chunk []byte, page int, changed bitmap) []byte {
	start := len(out)
	out = binary.BigEndian.AppendUint32(out, uint32(page))
	out = append(out, changed...)
	for i := range pageCount(len(chunk), page) {
		if changed.has(i) {
			out = append(out, chunk[i*page:min(len(chunk), (i+1)*page)]...)
		}
	}
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out[start:], castagnoli))
}

// parseDelta finds the parts of a delta of a chunk of raw bytes, and checks that they fit together.
func parseDelta(b []byte, raw int) (page int, changed bitmap, pages []byte, err error) {
	if len(b) < 8 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return 0, nil, nil, errors.New("the checksum of the delta does not match")
	}
	page = int(binary.BigEndian.Uint32(b))
	if page < leastPage || page > ChunkSize {
		return 0, nil, nil, fmt.Errorf("a delta with pages of %d bytes", page)
	}
	n := pageCount(raw, page)
	b = b[4 : len(b)-4]
	if len(b) < (n+7)/8 {
		return 0, nil, nil, errors.New("the delta ends within its bitmap")
	}
	changed, pages = bitmap(b[:(n+7)/8]), b[(n+7)/8:]
	want := 0
	for _, s := range changed.spans(raw, page) {
		want += s.To - s.From
	}
	if want != len(pages) {
		return 0, nil, nil, fmt.Errorf("the delta has %d bytes of pages instead of %d", len(pages), want)
	}
	return page, changed, pages, nil
}

// spans returns the changed bytes of a chunk, adjacent pages in one.
func (b bitmap) spans(raw, page int) (spans []Span) {
	for i := range pageCount(raw, page) {
		if !b.has(i) {
			continue
		}
		from, to := i*page, min(raw, (i+1)*page)
		if n := len(spans); n > 0 && spans[n-1].To == from {
			spans[n-1].To = to
			continue
		}
		spans = append(spans, Span{from, to})
	}
	return spans
}

// Patch turns the base's bytes into the chunk that entry e stores as a delta. chunk has e.Raw bytes: the base's first ones, and where the
// base is shorter anything. It returns what was changed. Its errors say what is wrong and not where: the caller knows the object.
func (d *Decoder) Patch(compressed []byte, e Entry, chunk []byte) ([]Span, error) {
	if len(chunk) != int(e.Raw) {
		return nil, fmt.Errorf("chunk %s has %d bytes, and not %d", e.Hash, e.Raw, len(chunk))
	}
	b, err := d.z.DecodeAll(compressed, make([]byte, 0, len(chunk)+deltaLimit))
	if err != nil {
		return nil, fmt.Errorf("the delta of chunk %s does not decompress: %w", e.Hash, err)
	}
	page, changed, pages, err := parseDelta(b, len(chunk))
	if err != nil {
		return nil, fmt.Errorf("chunk %s: %w", e.Hash, err)
	}
	spans := changed.spans(len(chunk), page)
	for _, s := range spans {
		pages = pages[copy(chunk[s.From:s.To], pages):]
	}
	if got := Hash(sha256.Sum256(chunk)); got != e.Hash {
		return nil, fmt.Errorf("chunk %s, made of its base %s and a delta, has the content of %s", e.Hash, e.Base, got)
	}
	return spans, nil
}

// Check finds out whether the stored form of a chunk is whole: a chunk by its name, a delta, without its base, by its checksum.
func (d *Decoder) Check(compressed []byte, e Entry, buf []byte) ([]byte, error) {
	if !e.IsDelta() {
		return d.Decode(compressed, e.Hash, int(e.Raw), buf)
	}
	b, err := d.z.DecodeAll(compressed, make([]byte, 0, int(e.Raw)+deltaLimit))
	if err != nil {
		return buf, fmt.Errorf("the delta of chunk %s does not decompress: %w", e.Hash, err)
	}
	if _, _, _, err := parseDelta(b, int(e.Raw)); err != nil {
		return buf, fmt.Errorf("chunk %s: %w", e.Hash, err)
	}
	return buf, nil
}
