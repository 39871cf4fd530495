package snapshot

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// smallFile is the size in bytes up to which a relation's file counts as Essential: catalogs mostly, which every new
// connection reads.
const smallFile = 64 << 10

// Cutter reads a base backup's tar archives and gives their files, chunk by chunk, to a Writer.
type Cutter struct {
	Writer *Writer
	// Omit tells whether the files of a database, by OID, are left out: listed with their size, without content.
	Omit func(database uint32) bool
	// Before returns the chunks that a file had in the last snapshot, nil if it was not there. It may be nil.
	Before func(path string) Chunks
	// Read is told how many bytes of a database's files were read; 0 stands for everything else.
	Read func(database uint32, n int64)

	files []File
	total int64
}

// Files returns what was read so far. The chunks' names are complete after the Writer was flushed.
func (c *Cutter) Files() []File { return c.files }

// TotalBytes returns the size of all files so far, those left out too.
func (c *Cutter) TotalBytes() int64 { return c.total }

// Archive reads one archive to its end. prefix is put before every path: "" or "pg_tblspc/<oid>".
func (c *Cutter) Archive(r io.Reader, prefix string) error {
	const op = "read base backup"
	if prefix != "" {
		c.files = append(c.files, File{Path: prefix, Dir: true, Mode: 0o700})
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // the padding behind the last entry
			return err
		}
		if errors.Is(err, tar.ErrHeader) {
			return fault.New(fault.Transient, op, err)
		}
		if err != nil {
			return err
		}
		if err := c.entry(h, tr, prefix); err != nil {
			return err
		}
	}
}

func (c *Cutter) entry(h *tar.Header, r io.Reader, prefix string) error {
	f := File{Path: path.Join(prefix, h.Name), Mode: uint32(h.Mode) & 0o777}
	if !fs.ValidPath(f.Path) {
		return fault.Newf(fault.Invalid, "read base backup", "the server sent the path %q", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if f.Dir = true; f.Path != "." {
			c.files = append(c.files, f)
		}
		return nil
	case tar.TypeReg:
		f.Size = h.Size
		return c.file(f, r)
	}
	return fault.Newf(fault.Invalid, "read base backup", "%s is neither file nor folder (tar type %q)", f.Path, h.Typeflag).
		WithHint("SmartDR asks for TABLESPACE_MAP, so that no links are sent; a proxy or a fork of PostgreSQL may not honour it.")
}

func (c *Cutter) file(f File, r io.Reader) error {
	db := DatabaseOf(f.Path)
	f.Omitted = db != 0 && c.Omit != nil && c.Omit(db)
	c.total += f.Size
	if f.Omitted {
		c.files = append(c.files, f)
		n, err := io.Copy(io.Discard, r)
		c.tell(db, n)
		return err
	}
	f.Chunks = make(Chunks, ChunkCount(f.Size))
	c.files = append(c.files, f)
	class := classOf(&f, db)
	before := c.before(&f)
	for i := range f.Chunks {
		buf, err := c.Writer.Buffer()
		if err != nil {
			return err
		}
		*buf = (*buf)[:ChunkLen(f.Size, i)]
		if _, err := io.ReadFull(r, *buf); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
		c.tell(db, int64(len(*buf)))
		if err := c.Writer.Add(buf, class, before[i], &f.Chunks[i]); err != nil {
			return err
		}
	}
	return nil
}

// before returns the chunks that were at the places of a file's chunks.
func (c *Cutter) before(f *File) Chunks {
	before := make(Chunks, len(f.Chunks))
	if c.Before != nil {
		copy(before, c.Before(f.Path))
	}
	return before
}

func (c *Cutter) tell(db uint32, n int64) {
	if c.Read != nil {
		c.Read(db, n)
	}
}

func classOf(f *File, db uint32) Class {
	if db == 0 || f.Size <= smallFile {
		return Essential
	}
	return Bulk
}

// DatabaseOf returns the OID of the database that a file belongs to, or 0: what lies in base/<oid>/ or
// pg_tblspc/<oid>/PG_<version>/<oid>/ (storage/file layout in the manual).
func DatabaseOf(filePath string) uint32 {
	parts := strings.Split(filePath, "/")
	switch {
	case len(parts) >= 3 && parts[0] == "base":
		return parseOID(parts[1])
	case len(parts) >= 5 && parts[0] == "pg_tblspc":
		return parseOID(parts[3])
	}
	return 0
}

// parseOID returns 0 for what is no OID, as pgsql_tmp.
func parseOID(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}
