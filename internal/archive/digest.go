package archive

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"hash"
)

// Sum is the SHA-256 of every byte of a lineage's path up to a position.
type Sum [sha256.Size]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes 64 lower-case hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(s[:], b); err != nil || n != len(s) || len(b) != 2*len(s) {
		return fmt.Errorf("digest %q: want %d hexadecimal digits", b, 2*len(s))
	}
	return nil
}

// Digest is a SHA-256 that can be put down at any byte and taken up again elsewhere: what chains segments
// independently of where they are cut.
type Digest struct{ h hash.Hash }

// NewDigest returns the digest of no bytes: where a lineage begins.
func NewDigest() *Digest { return &Digest{sha256.New()} }

// ResumeDigest takes up what State put down. The format is that of crypto/sha256's encoding.BinaryMarshaler, which
// Go's compatibility promise covers.
func ResumeDigest(state []byte) (*Digest, error) {
	h := sha256.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("SHA-256 midstate of %d bytes: %w", len(state), err)
	}
	return &Digest{h}, nil
}

// Write adds bytes; it never fails.
func (d *Digest) Write(b []byte) (int, error) { return d.h.Write(b) }

// Sum returns the digest of what was written so far.
func (d *Digest) Sum() (s Sum) {
	d.h.Sum(s[:0])
	return s
}

// State returns what ResumeDigest takes.
func (d *Digest) State() []byte {
	b, err := d.h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("archive: SHA-256 midstate: " + err.Error()) // the standard library documents none
	}
	return b
}

// Clone returns an independent copy.
func (d *Digest) Clone() *Digest {
	c, err := ResumeDigest(d.State())
	if err != nil {
		panic("archive: own SHA-256 midstate refused: " + err.Error())
	}
	return c
}
