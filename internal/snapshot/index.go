package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

const (
	packMagic  = "SDRPACK1"
	indexMagic = "SDRPIDX1" // whole chunks only
	deltaMagic = "SDRPIDX2" // each entry with its base
	entrySize  = sha256.Size + 12
	deltaEntry = entrySize + sha256.Size
	// packLimit bounds what an index may say, so that a damaged one cannot ask for gigabytes.
	packLimit = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Entry says where in its pack a chunk lies, whole or as what it differs by from another one.
type Entry struct {
	Hash   Hash
	Offset uint32 // in the pack
	Size   uint32 // compressed
	Raw    uint32 // of the chunk, also where only its difference is stored
	Base   Hash   // of a delta: the chunk that it differs from, which is stored whole; zero for a whole chunk
}

// IsDelta reports whether only the difference from Base is stored.
func (e Entry) IsDelta() bool { return !e.Base.IsZero() }

// Index is one pack's index, or why it could not be read.
type Index struct {
	ID      string // of the pack
	Entries []Entry
	Err     error // fault.Corrupt
}

// Bases returns the chunks that the pack's deltas need, each once. None of them is a delta itself. They normally lie in other packs:
// a pack that holds one of them whole is needed as long as the delta is.
func (p Index) Bases() []Hash {
	var bases []Hash
	seen := map[Hash]bool{}
	for _, e := range p.Entries {
		if e.IsDelta() && !seen[e.Base] {
			seen[e.Base] = true
			bases = append(bases, e.Base)
		}
	}
	return bases
}

// encodeIndex returns the index object of a pack. One without deltas is as it was before there were any.
func encodeIndex(entries []Entry) []byte {
	magic := indexMagic
	if slices.ContainsFunc(entries, Entry.IsDelta) {
		magic = deltaMagic
	}
	b := make([]byte, 0, len(magic)+8+len(entries)*deltaEntry)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, e.Offset)
		b = binary.BigEndian.AppendUint32(b, e.Size)
		b = binary.BigEndian.AppendUint32(b, e.Raw)
		if magic == deltaMagic {
			b = append(b, e.Base[:]...)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// packID names a pack by its index.
func packID(index []byte) string {
	sum := sha256.Sum256(index)
	return hex.EncodeToString(sum[:16])
}

// decodeIndex reads what encodeIndex wrote.
func decodeIndex(b []byte) ([]Entry, error) {
	body, size, err := checkedIndex(b)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(body)/size)
	for i := range entries {
		e := body[i*size:][:size]
		entries[i] = Entry{
			Hash:   Hash(e[:sha256.Size]),
			Offset: binary.BigEndian.Uint32(e[sha256.Size:]),
			Size:   binary.BigEndian.Uint32(e[sha256.Size+4:]),
			Raw:    binary.BigEndian.Uint32(e[sha256.Size+8:]),
		}
		copy(entries[i].Base[:], e[entrySize:])
		if err := entries[i].check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if size == deltaEntry && !slices.ContainsFunc(entries, Entry.IsDelta) {
		return nil, errors.New("a pack index for deltas has none")
	}
	return entries, nil
}

// checkedIndex returns the entries' bytes of an index that is whole, and how long an entry is.
func checkedIndex(b []byte) (entries []byte, size int, err error) {
	const head = len(indexMagic) + 4
	if len(b) < head+4 {
		return nil, 0, fmt.Errorf("%d bytes are too short for a pack index", len(b))
	}
	switch {
	case bytes.HasPrefix(b, []byte(indexMagic)):
		size = entrySize
	case bytes.HasPrefix(b, []byte(deltaMagic)):
		size = deltaEntry
	default:
		return nil, 0, errors.New("not a pack index of a format that this program knows")
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, 0, errors.New("the checksum of the pack index does not match")
	}
	if n := binary.BigEndian.Uint32(b[len(indexMagic):]); int64(n)*int64(size) != int64(len(body)-head) {
		return nil, 0, fmt.Errorf("a pack index of %d entries has %d bytes", n, len(b))
	}
	return body[head:], size, nil
}

func (e Entry) check() error {
	if e.Raw == 0 || e.Raw > ChunkSize || e.Size == 0 || int64(e.Offset)+int64(e.Size) > packLimit || e.Hash.IsZero() || e.Base == e.Hash {
		return fmt.Errorf("offset %d, size %d, raw size %d are not a chunk's", e.Offset, e.Size, e.Raw)
	}
	return nil
}
