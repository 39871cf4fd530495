package restore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/smartdr/smartdr/internal/fault"
)

// Zeroed reports whether a database's files are zeros: it was left out of the snapshot, or is a copy, made file by file, of
// one that was. Its PG_VERSION tells, without which PostgreSQL lets nobody in; it lies in the
// database's own tablespace alone.
func Zeroed(dataDir string, oid uint32) (bool, error) {
	id := strconv.FormatUint(uint64(oid), 10)
	paths := []string{filepath.Join(dataDir, "base", id, "PG_VERSION")}
	elsewhere, err := filepath.Glob(filepath.Join(dataDir, "pg_tblspc", "*", "PG_*", id, "PG_VERSION"))
	if err != nil {
		return false, fault.New(fault.Invalid, "look at database", err)
	}
	for _, path := range append(paths, elsewhere...) {
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, fault.New(fault.Transient, "look at database", err)
		}
		if len(bytes.Trim(b, "\x00")) == 0 {
			return true, nil
		}
	}
	return false, nil
}
