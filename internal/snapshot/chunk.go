package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Hash names a chunk: the SHA-256 of its bytes. The zero value stands for a chunk of zeros, whatever its length.
//
// SHA-256 and not something faster: with the processor's instructions for it, it takes an eighth of the time that
// compression takes, and a name that two contents could be made to share would let one database's chunk stand in for
// another's.
type Hash [sha256.Size]byte

// IsZero reports whether h stands for a chunk of zeros.
func (h Hash) IsZero() bool { return h == Hash{} }

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf returns the name of a chunk.
func HashOf(chunk []byte) Hash {
	if AllZeros(chunk) {
		return Hash{}
	}
	return sha256.Sum256(chunk)
}

var zeros [4096]byte

// AllZeros reports whether b holds nothing but zeros. PostgreSQL extends relations by zeroed pages.
func AllZeros(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// ChunkCount returns how many chunks a file of that size has.
func ChunkCount(size int64) int { return int((size + ChunkSize - 1) / ChunkSize) }

// ChunkLen returns how long chunk n of a file of that size is.
func ChunkLen(size int64, n int) int {
	return int(min(ChunkSize, size-int64(n)*ChunkSize))
}

// newEncoder returns one whose EncodeAll may be called by so many goroutines at once. The frames carry no checksum of
// their own: the chunk's name is one.
func newEncoder(parallel int) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(parallel),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(ChunkSize))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

// newTightEncoder is newEncoder for deltas: they are so small that a better level costs little.
func newTightEncoder(parallel int) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(parallel),
		zstd.WithEncoderCRC(false), zstd.WithWindowSize(ChunkSize))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

// Decoder turns compressed chunks back. It may be used by many goroutines at once.
type Decoder struct{ z *zstd.Decoder }

// NewDecoder returns a Decoder for so many goroutines.
func NewDecoder(parallel int) *Decoder {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(parallel), zstd.WithDecodeAllCapLimit(true), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return &Decoder{z}
}

// Close frees what the Decoder holds.
func (d *Decoder) Close() { d.z.Close() }

// Decode appends the chunk named h, of rawSize bytes, to buf[:0] and returns it. Its errors say what is wrong and not
// where: the caller knows the object.
func (d *Decoder) Decode(compressed []byte, h Hash, rawSize int, buf []byte) ([]byte, error) {
	if cap(buf) < rawSize {
		buf = make([]byte, 0, rawSize)
	}
	raw, err := d.z.DecodeAll(compressed, buf[:0:rawSize])
	if err != nil {
		return nil, fmt.Errorf("chunk %s does not decompress: %w", h, err)
	}
	if got := Hash(sha256.Sum256(raw)); len(raw) != rawSize || got != h {
		return nil, fmt.Errorf("chunk %s has the content of %s, %d bytes", h, got, len(raw))
	}
	return raw, nil
}

// Chunks is a file's content, chunk by chunk. In JSON it is one base64 string of all hashes.
type Chunks []Hash

// MarshalJSON writes the hashes as one base64 string.
func (c Chunks) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(c)*sha256.Size)
	for i := range c {
		b = append(b, c[i][:]...)
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Chunks) UnmarshalJSON(in []byte) error {
	var b []byte
	if err := json.Unmarshal(in, &b); err != nil { // encoding/json reads bytes from base64
		return err
	}
	if len(b)%sha256.Size != 0 {
		return fmt.Errorf("%d bytes are not whole hashes", len(b))
	}
	*c = make(Chunks, len(b)/sha256.Size)
	for i := range *c {
		copy((*c)[i][:], b[i*sha256.Size:])
	}
	return nil
}
