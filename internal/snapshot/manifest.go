package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/wal"
)

// Manifest describes one snapshot completely, save for where its chunks lie: the packs' indexes say that.
type Manifest struct {
	Format        int             `json:"format"`
	ID            string          `json:"id"`
	Group         string          `json:"group"`
	Workspace     string          `json:"workspace"`
	Lineage       string          `json:"lineage"`
	Start         wal.Position    `json:"start"` // recovery begins here
	End           wal.Position    `json:"end"`   // and is consistent from here on
	SystemID      string          `json:"systemID"`
	ServerVersion int             `json:"serverVersion"` // server_version_num
	SegmentSize   wal.SegmentSize `json:"segmentSize"`
	StartedAt     time.Time       `json:"startedAt"`
	CompletedAt   time.Time       `json:"completedAt"`
	Tablespaces   []Tablespace    `json:"tablespaces,omitempty"`
	Databases     []Database      `json:"databases"`
	TotalBytes    int64           `json:"totalBytes"` // of all files, those left out too
	FileCount     int             `json:"fileCount"`  // of Files
	Files         []File          `json:"-"`          // folders before what lies in them; nil in what List returns
}

// Tablespace is one besides the default ones.
type Tablespace struct {
	OID      uint32 `json:"oid"`
	Location string `json:"location"`          // on the source
	InPlace  bool   `json:"inPlace,omitempty"` // lies in pg_tblspc itself (allow_in_place_tablespaces)
}

// Database is one that existed when the backup was taken.
type Database struct {
	Name       string `json:"name"`
	OID        uint32 `json:"oid"`
	Replicated bool   `json:"replicated"`
	Bytes      int64  `json:"bytes"` // of its files, left out or not
}

// File is a file or folder, with the path relative to the data directory: slashes, no leading one. What lies in a
// tablespace has a path that begins with pg_tblspc/<oid>/.
type File struct {
	Path    string `json:"path"`
	Dir     bool   `json:"dir,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Mode    uint32 `json:"mode"` // permission bits
	Chunks  Chunks `json:"chunks,omitempty"`
	Omitted bool   `json:"omitted,omitempty"` // belongs to a database that was left out: restored as zeros
}

const manifestMagic = "SDRSNAP1"

// headLimit bounds the head's length, so that a damaged length cannot ask for gigabytes.
const headLimit = 256 << 20

// errNewer says that a manifest was written by a later version.
var errNewer = errors.New("written in a newer format")

// encode returns the manifest object.
func (m *Manifest) encode() ([]byte, error) {
	m.FileCount = len(m.Files)
	head, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	files, err := json.Marshal(m.Files)
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), manifestMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	e := newEncoder(1)
	defer e.Close()
	b = e.EncodeAll(files, b)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// headLen returns how many bytes from the start of a manifest object hold its head, the checksum included. It needs
// the first 12 bytes.
func headLen(b []byte) (int, error) {
	if len(b) < len(manifestMagic)+4 || !bytes.HasPrefix(b, []byte(manifestMagic)) {
		return 0, errors.New("not a snapshot manifest")
	}
	n := binary.BigEndian.Uint32(b[len(manifestMagic):])
	if n > headLimit {
		return 0, fmt.Errorf("the manifest's head claims %d bytes", n)
	}
	return len(manifestMagic) + 4 + int(n) + 4, nil
}

// decodeHead reads a manifest without its files from the object's first bytes.
func decodeHead(b []byte) (*Manifest, error) {
	n, err := headLen(b)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		return nil, errors.New("the manifest ends within its head")
	}
	if crc32.Checksum(b[:n-4], castagnoli) != binary.BigEndian.Uint32(b[n-4:]) {
		return nil, errors.New("the checksum of the manifest's head does not match")
	}
	m := new(Manifest)
	if err := json.Unmarshal(b[len(manifestMagic)+4:n-4], m); err != nil {
		return nil, err
	}
	if m.Format > DeltaFormat {
		return nil, fmt.Errorf("%w: %d, this program knows %d", errNewer, m.Format, DeltaFormat)
	}
	return m, nil
}

// decodeManifest reads what encode wrote.
func decodeManifest(b []byte) (*Manifest, error) {
	m, err := decodeHead(b)
	if err != nil {
		return nil, err
	}
	body, sum := b[:max(0, len(b)-sha256.Size)], b[max(0, len(b)-sha256.Size):]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, errors.New("the checksum of the manifest does not match")
	}
	n, _ := headLen(b)
	if len(body) < n {
		return nil, errors.New("the manifest lists no files")
	}
	if m.Files, err = decodeFiles(body[n:]); err != nil {
		return nil, err
	}
	return m, m.check()
}

func decodeFiles(compressed []byte) ([]File, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	b, err := z.DecodeAll(compressed, nil)
	if err != nil {
		return nil, err
	}
	var files []File
	return files, json.Unmarshal(b, &files)
}

// check finds what would lead a restore astray, as paths that leave the data directory.
func (m *Manifest) check() error {
	if len(m.Files) != m.FileCount {
		return fmt.Errorf("the manifest lists %d files of %d", len(m.Files), m.FileCount)
	}
	for i := range m.Files {
		if err := m.Files[i].check(); err != nil {
			return fmt.Errorf("file %q: %w", m.Files[i].Path, err)
		}
	}
	return nil
}

func (f *File) check() error {
	switch {
	case !fs.ValidPath(f.Path) || f.Path == ".":
		return errors.New("not a path within a data directory")
	case f.Size < 0 || f.Size > 1<<50:
		return fmt.Errorf("impossible size %d", f.Size)
	case f.Mode&^0o777 != 0:
		return fmt.Errorf("impossible mode %o", f.Mode)
	case (f.Dir || f.Omitted) && len(f.Chunks) != 0, f.Dir && f.Size != 0:
		return errors.New("has content where there must be none")
	case !f.Dir && !f.Omitted && len(f.Chunks) != ChunkCount(f.Size):
		return fmt.Errorf("%d bytes in %d chunks", f.Size, len(f.Chunks))
	}
	return nil
}

// Wanted returns the names of all chunks of a snapshot that are stored.
func (m *Manifest) Wanted() map[Hash]struct{} {
	wanted := map[Hash]struct{}{}
	for i := range m.Files {
		for _, h := range m.Files[i].Chunks {
			if !h.IsZero() {
				wanted[h] = struct{}{}
			}
		}
	}
	return wanted
}

// ByPath returns the chunks of every file that has any.
func (m *Manifest) ByPath() map[string]Chunks {
	all := make(map[string]Chunks, len(m.Files))
	for i := range m.Files {
		if f := &m.Files[i]; len(f.Chunks) > 0 {
			all[f.Path] = f.Chunks
		}
	}
	return all
}
