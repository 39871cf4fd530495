package snapshot

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Hash names a chunk: the SHA-256 of its bytes. The zero value stands for a chunk of zeros, whatever its length.
type Hash [sha256.Size]byte

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
	var s string
	if err := json.Unmarshal(in, &s); err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
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
