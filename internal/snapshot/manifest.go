package snapshot

import (
	"time"

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
	Files         []File          `json:"files"`      // folders before what lies in them
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

// Summary is what a list of snapshots shows of each.
type Summary struct {
	ID  string
	Key string
}
