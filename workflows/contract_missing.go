package workflows

import "github.com/smartdr/smartdr/internal/missing"

// MissingRowsType is the workflow type that compares what a failover left behind with what serves: MissingRowsInput -> MissingRowsResult.
const MissingRowsType = "MissingRows"

// MissingRowsID is the workflow id of a comparison, or a merge, in a group: one at a time.
func MissingRowsID(group string) string { return id(group, "missing-rows") }

// MissingRowsInput asks for what a system-managed database has and the one that serves lacks.
type MissingRowsInput struct {
	Group string `json:"group"`
	// Of is a system-managed database, or a database: its newest one. Empty: all that the group's last failover left behind.
	Of        string `json:"of,omitempty"`
	Workspace string `json:"workspace,omitempty"`

	Apply      bool           `json:"apply,omitempty"`
	OnConflict missing.Policy `json:"onConflict,omitempty"` // default: keep
	// Decisions is the key of an object with a person's decisions, in the bucket of the region that serves.
	Decisions string `json:"decisions,omitempty"`
	// WholeTransactions merges all of a transaction or nothing.
	WholeTransactions bool `json:"wholeTransactions,omitempty"`
	Full              bool `json:"full,omitempty"` // compare whole tables, and do not trust WAL
}

// MissingRowsResult says what was found, without contents of rows: these are in the reports.
type MissingRowsResult struct {
	Databases []MissingDatabase `json:"databases"`
	Notes     []string          `json:"notes,omitempty"`
}

// MissingDatabase is what was found of one system-managed database.
type MissingDatabase struct {
	Name    string          `json:"name"` // system-managed
	Summary missing.Summary `json:"summary"`
	Report  string          `json:"report"`         // key of the object that lists each change
	Undo    string          `json:"undo,omitempty"` // key of the object that leads back, of a merge
	Region  string          `json:"region"`         // whose bucket has them
	// Error is why it could not be compared, or merged, while others were.
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}
