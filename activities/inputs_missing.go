package activities

import (
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// PlaceMissingInput asks what is compared, and where.
type PlaceMissingInput struct {
	Group     string `json:"group"`
	Of        string `json:"of,omitempty"` // a system-managed database, or a database; empty: all that the last failover left behind
	Workspace string `json:"workspace,omitempty"`
	Full      bool   `json:"full,omitempty"`
}

// PlaceMissingResult is what is compared, workspace by workspace.
type PlaceMissingResult struct {
	Jobs  []MissingJob `json:"jobs"`
	Notes []string     `json:"notes,omitempty"`
}

// MissingJob is the comparison of what one server wrote behind a fork.
type MissingJob struct {
	Group     string         `json:"group"`
	Epoch     topology.Epoch `json:"epoch"` // under which it was placed; a merge is made under it alone
	Workspace string         `json:"workspace"`
	Serves    string         `json:"serves"`           // region that serves, whose bucket gets what is found
	On        string         `json:"on,omitempty"`     // host of the server that serves; empty: any of the region reaches it
	Lineage   string         `json:"lineage"`          // that was left
	Fork      wal.Position   `json:"fork"`             // where the lineage that serves left it
	Tip       wal.Position   `json:"tip"`              // end of the last record that a bucket has of it
	End       wal.Position   `json:"end"`              // of what that bucket has
	UpTo      wal.Timeline   `json:"upTo,omitempty"`   // its newer timelines do not go on from the fork; 0: they do
	Bucket    string         `json:"bucket"`           // region whose bucket has all of it
	Region    string         `json:"region,omitempty"` // of Host
	Host      string         `json:"host,omitempty"`   // that reads it; empty: all sets are there
	Full      bool           `json:"full,omitempty"`
	Databases []MissingOf    `json:"databases"`
}

// MissingOf is a database that is compared.
type MissingOf struct {
	Name     string `json:"name"` // of the system-managed database
	Database string `json:"database"`
}

// ReadMissingResult says what reading a copy of a server found.
type ReadMissingResult struct {
	Notes []string `json:"notes,omitempty"`
}

// MissingProgress is the detail of a heartbeat of ReadMissing and MergeMissing: how far what is.
type MissingProgress struct {
	Phase    string `json:"phase"` // as "read WAL"
	Database string `json:"database,omitempty"`
	Table    string `json:"table,omitempty"`
	Done     int64  `json:"done"` // bytes, of files and WAL; else rows
	Total    int64  `json:"total"`
}

// MergeMissingInput asks to compare a set with the database that serves, and perhaps to merge it.
type MergeMissingInput struct {
	Job       MissingJob     `json:"job"`
	Of        MissingOf      `json:"of"`
	Run       string         `json:"run"` // part of the keys of what is written
	Apply     bool           `json:"apply,omitempty"`
	Policy    missing.Policy `json:"policy,omitempty"`
	Decisions string         `json:"decisions,omitempty"` // key of an object
	Whole     bool           `json:"whole,omitempty"`     // transactions stay whole
}

// MergeMissingResult says what was found, or merged, without contents of rows.
type MergeMissingResult struct {
	Summary missing.Summary `json:"summary"`
	Report  string          `json:"report"`         // key
	Undo    string          `json:"undo,omitempty"` // key
	// Merged is what there is to record after a merge.
	Merged *topology.Merged `json:"merged,omitempty"`
}

// RecordMergedInput says up to where what a system-managed database has was merged.
type RecordMergedInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace"`
	Name      string          `json:"name"`
	Merged    topology.Merged `json:"merged"`
}
