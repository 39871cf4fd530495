package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
)

const (
	packMagic  = "SDRPACK1"
	indexMagic = "SDRPIDX1"
	entrySize  = sha256.Size + 12
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

// encodeIndex returns the index object of a pack.
func encodeIndex(entries []Entry) []byte {
	b := make([]byte, 0, len(indexMagic)+8+len(entries)*entrySize)
	b = append(b, indexMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e.Hash[:]...)
		b = binary.BigEndian.AppendUint32(b, e.Offset)
		b = binary.BigEndian.AppendUint32(b, e.Size)
		b = binary.BigEndian.AppendUint32(b, e.Raw)
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
	body, err := checkedIndex(b)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(body)/entrySize)
	for i := range entries {
		e := body[i*entrySize:][:entrySize]
		entries[i] = Entry{
			Hash:   Hash(e[:sha256.Size]),
			Offset: binary.BigEndian.Uint32(e[sha256.Size:]),
			Size:   binary.BigEndian.Uint32(e[sha256.Size+4:]),
			Raw:    binary.BigEndian.Uint32(e[sha256.Size+8:]),
		}
		if err := entries[i].check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return entries, nil
}

// checkedIndex returns the entries' bytes of an index that is whole.
func checkedIndex(b []byte) ([]byte, error) {
	const head = len(indexMagic) + 4
	if len(b) < head+4 {
		return nil, fmt.Errorf("%d bytes are too short for a pack index", len(b))
	}
	if !bytes.HasPrefix(b, []byte(indexMagic)) {
		return nil, errors.New("not a pack index of this format")
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errors.New("the checksum of the pack index does not match")
	}
	if n := binary.BigEndian.Uint32(b[len(indexMagic):]); int64(n)*entrySize != int64(len(body)-head) {
		return nil, fmt.Errorf("a pack index of %d entries has %d bytes", n, len(b))
	}
	return body[head:], nil
}

func (e Entry) check() error {
	if e.Raw == 0 || e.Raw > ChunkSize || e.Size == 0 || int64(e.Offset)+int64(e.Size) > packLimit {
		return fmt.Errorf("offset %d, size %d, raw size %d are not a chunk's", e.Offset, e.Size, e.Raw)
	}
	return nil
}
